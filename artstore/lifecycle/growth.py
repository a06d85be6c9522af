"""Growth: what the versions would take if each were kept whole, and what they do take, from the first commit on."""

from __future__ import annotations

from typing import Final

from artstore.lifecycle.reports import GrowthPoint, GrowthReport
from artstore.lifecycle.resolve import find_project
from artstore.storage.queries import Queries
from artstore.storage.root import Root

POINTS: Final = 200
"""A curve needs no more, however many versions there are."""


def growth(root: Root, project: str | None, points: int = POINTS) -> GrowthReport:
    """The versions that are live, of one project or of all, in the order of their dates.

    Of more versions than `points` some stand for those before them; the last one is always there. Raises NotFound
    (project-not-found).
    """
    with root.catalog.snapshot():
        only = None if project is None else find_project(root, project)[0].id
        queries = Queries(root.catalog)
        dated = queries.dated(only)
        brought = queries.brought([each.manifest for each in dated])
        logical = stored = 0
        found: list[GrowthPoint] = []
        for number, (version, news) in enumerate(zip(dated, brought, strict=True), start=1):
            logical += version.bytes
            stored += news.bytes
            if number == len(dated) or number * points // len(dated) > (number - 1) * points // len(dated):
                found.append(
                    GrowthPoint(
                        at=version.created_us / 1e6, versions=number, logical_bytes=logical, stored_bytes=stored
                    )
                )
    return GrowthReport(points=found)
