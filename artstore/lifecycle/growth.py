"""Growth: what the versions would take if each were kept whole, and what they do take, from the first commit on."""

from __future__ import annotations

from typing import Final

from artstore.lifecycle.reports import GrowthPoint, GrowthReport
from artstore.lifecycle.usage import measured
from artstore.storage.root import Root

POINTS: Final = 200
"""A curve needs no more, however many versions there are."""


def growth(root: Root, project: str | None, points: int = POINTS) -> GrowthReport:
    """The live versions of one project, or of all, in the order of their dates, and what they hold now.

    Of more versions than `points` some stand for those before them; the last one is always there. Raises NotFound
    (project-not-found).
    """
    usage, moments = measured(root, project)
    logical = stored = 0
    found: list[GrowthPoint] = []
    for number, moment in enumerate(moments, start=1):
        logical += moment.bytes
        stored += moment.new_bytes
        if number == len(moments) or number * points // len(moments) > (number - 1) * points // len(moments):
            at = moment.created_us / 1e6
            found.append(GrowthPoint(at=at, versions=number, logical_bytes=logical, stored_bytes=stored))
    return GrowthReport(usage=usage, points=found)
