"""Progress: how far a verb has come, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Tick(msgspec.Struct, frozen=True):
    """Where a phase stands. Counts are since the phase began; a total is None while it is unknown."""

    phase: str
    """A word for what is being done now, for example `store` or `write`."""
    files: int = 0
    bytes: int = 0
    total_files: int | None = None
    total_bytes: int | None = None


Progress = Callable[[Tick], None]
"""Called from any thread, one call at a time, a few dozen times a second at most; it returns soon and never raises."""


def telling(progress: Progress | None, phase: str) -> Callable[[int, int], None] | None:
    """What to call with counts of files and bytes, for who knows of no phases."""
    if progress is None:
        return None
    return lambda files, size: progress(Tick(phase, files, size))
