"""Charts: figures as drawings, in SVG that needs no script and takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from artstore.lifecycle.reports import GrowthPoint
from artstore.units import moment, size

SIDE: Final = 1000
"""Width and height of a drawing's own coordinates; the page says how large it is."""
_RECENT: Final = 970
"""Where the last date stands: behind it one sees what is now."""
_LINES: Final = 4


class Tick(NamedTuple):
    """A place on an axis, and what stands there."""

    at: float
    label: str


class Curves(NamedTuple):
    """What would be, and what is kept, over time: paths of SVG in the drawing's own coordinates."""

    logical: str
    stored: str
    area: str
    first: str
    """The dates at both ends."""
    last: str
    up: list[Tick]


def growth(points: Sequence[GrowthPoint]) -> Curves | None:
    """Curves in steps, since a commit is one; None where there is nothing to draw."""
    if not points or points[-1].logical_bytes == 0:
        return None
    first, last = points[0].at, points[-1].at
    span = max(last - first, 1.0)
    step = _step(points[-1].logical_bytes)
    top = step * math.ceil(points[-1].logical_bytes / step)

    def y(bytes_: float) -> float:
        return round(SIDE - bytes_ / top * SIDE, 1)

    def curve(heights: Iterable[int]) -> str:
        path = f"M0 {SIDE}"
        for point, height in zip(points, heights, strict=True):
            path += f"H{round((point.at - first) / span * _RECENT, 1)}V{y(height)}"
        return f"{path}H{SIDE}"

    stored = curve(each.stored_bytes for each in points)
    up = [Tick(y(step * number), size(step * number)) for number in range(round(top / step) + 1)]
    logical = curve(each.logical_bytes for each in points)
    return Curves(logical, stored, f"{stored}V{SIDE}Z", moment(first)[:10], moment(last)[:10], up)


def share(part: int, whole: int) -> float:
    """How much of something a part is, from 0 to 100."""
    return round(100 * part / whole, 2) if whole else 0.0


def _step(most: int) -> int:
    """A round number of bytes, of which a few are as much as the most."""
    unit = 1
    while most / unit > 1024:  # noqa: PLR2004 - the next prefix
        unit *= 1024
    for number in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        if most / (unit * number) <= _LINES:
            return unit * number
    return unit * 1024
