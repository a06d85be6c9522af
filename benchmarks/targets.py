"""Targets: what artstore has to reach, row by row, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What is compared with the limit."""

    VALUE = "value"
    RATIO = "ratio"
    DIFFERENCE = "difference"


@dataclass(frozen=True)
class Target:
    """A limit for the median."""

    kind: Kind
    limit: float
    rival: str | None = None
    """The tool that artstore is compared with; None for a limit on artstore's own figure."""

    is_floor: bool = False
    """Whether more is better."""

    def is_reached(self, figure: float) -> bool:
        """Whether this figure is good enough."""
        return figure >= self.limit if self.is_floor else figure <= self.limit


def _most(limit: float) -> Target:
    return Target(Kind.VALUE, limit)


def _least(limit: float) -> Target:
    return Target(Kind.VALUE, limit, is_floor=True)


def _times(limit: float, rival: str) -> Target:
    return Target(Kind.RATIO, limit, rival)


TARGETS: Final[dict[tuple[str, str], tuple[Target, ...]]] = {
    ("put", "S"): (_times(1.0, "cp"),),
    ("put", "T"): (_times(0.75, "cp"),),
    ("put", "M"): (_times(1.2, "cp"),),
    ("put", "L"): (_times(1.4, "cp"),),
    ("put cpu", "L"): (Target(Kind.DIFFERENCE, 0.7, "cp"),),
    ("reput", "S"): (_most(0.4), _times(0.4, "restic")),
    ("reput", "T"): (_most(1.2), _times(0.25, "restic")),
    ("reput", "M"): (_most(0.3),),
    ("reput", "L"): (_most(0.3),),
    ("put1", "S"): (_times(0.4, "restic"),),
    ("put1", "T"): (_times(0.3, "restic"),),
    ("put1", "M"): (_times(0.4, "restic"),),
    ("put1", "L"): (_times(1.5, "borg"),),
    ("get", "S"): (_times(1.2, "cp"),),
    ("get", "T"): (_times(1.1, "cp"),),
    ("get", "M"): (_times(1.2, "cp"),),
    ("get", "L"): (_times(1.2, "cp"),),
    ("get reflink", "L"): (_most(0.6),),
    ("verify", "S"): (_least(0.8),),
    ("verify", "M"): (_least(2.5),),
    ("verify", "L"): (_least(4.0),),
    ("verify-fast", "L"): (_least(7.0),),
    ("disk", "S"): (_most(1.25),),
    ("disk", "T"): (_most(2.2),),
    ("disk", "M"): (_most(1.01),),
    ("disk", "L"): (_most(1.01),),
    ("catalog", "S"): (_most(0.03),),
    ("catalog", "T"): (_most(0.03),),
    ("inodes", "S"): (_most(0.02),),
    ("inodes", "T"): (_most(0.01),),
    ("help", "startup"): (_most(0.25),),
    ("ls", "startup"): (_most(0.4),),
    ("listing", "references"): (_times(1.5, "s3fs find"), _times(1.5, "bare pages")),
    ("table", "tables"): (_times(3.0, "pandas"),),
    ("add_file", "facade"): (_times(2.0, "add_dir"),),
    ("import", "facade"): (Target(Kind.DIFFERENCE, 0.15, "bare Python"),),
    ("small first", "reading"): (_times(2.0, "files on disk"),),
    ("small next", "reading"): (_times(2.0, "files on disk"),),
    ("large read", "reading"): (_times(1.66, "files on disk"),),
    ("large readinto", "reading"): (_times(1.66, "files on disk"),),
    ("large whole", "reading"): (_times(1.66, "files on disk"),),
    ("quiet", "watching"): (_most(10),),
    **{(f"page {name}", "pages"): (_most(0.5),) for name in ("home", "versions", "version", "folder", "changes")},
    **{(f"page {name}", "pages"): (_most(0.5),) for name in ("runs", "remotes", "search", "space")},
    ("push server S", "sync"): (_times(1.2, "rsync"),),
    ("pull server S", "sync"): (_times(1.2, "rsync"),),
    ("push depot S", "sync"): (_times(1.0, "cp"),),
    ("push server L", "sync"): (_times(2.0, "rsync"),),
    ("push rate", "sync"): (_least(250),),
    ("sent in place", "sync"): (_most(0.025),),
    ("sent at its start", "sync"): (_most(0.01),),
    ("push nothing", "sync"): (_most(0.5),),
    ("sync nothing", "sync"): (_most(0.5),),
    ("push requests", "sync"): (_most(1),),
    ("sync requests", "sync"): (_most(1),),
    ("objects", "sync"): (_most(60),),
    ("crowd", "sync"): (_most(300),),
    ("requests", "cold"): (_most(200),),
    ("get one", "scale"): (_most(0.4),),
    ("put peak", "scale"): (_most(700e6),),
    ("get peak", "scale"): (_most(700e6),),
}
"""By row and workload, for the median of the laps."""
