"""Tally: how many bytes are done by now, by this process, its threads and its children together."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from artstore.lifecycle.progress import Progress, Tick

_NUMBER: Final = struct.Struct("=Q")
_PAUSE_S: Final = 0.05


class Tally:
    """Counts of some parts of a work, in memory that all who do it share; whoever began it tells of them."""

    def __init__(self, phase: str, parts: int, files: int | None, size: int | None, progress: Progress) -> None:
        """Begin to count for so many parts, which together have so many files and bytes, where that is known."""
        self._files = 0
        self._left = parts
        self._done = memoryview(mmap.mmap(-1, max(1, parts) * _NUMBER.size)).cast("Q")
        self._totals = phase, files, size
        self._progress = progress
        self._teller = os.getpid(), threading.get_ident()
        self._told_s = time.monotonic()

    def counter(self, part: int) -> Callable[[int], None]:
        """What is to be called with the bytes of a part that are done, again and again, by who does it."""

        def count(done: int) -> None:
            # What is done anew, since a child died or a place was damaged, counts once.
            self._done[part] = max(done, self._done[part])
            if self._teller == (os.getpid(), threading.get_ident()):
                self.tell()

        return count

    def add(self, part: int, files: int, size: int) -> None:
        """Note that a part is done."""
        self._done[part] = size
        self._files += files
        self._left -= 1
        if not self._left:
            self._tell_now()
        else:
            self.tell()

    def tell(self) -> None:
        """Say how far all of it is, unless that was said just now."""
        if time.monotonic() - self._told_s > _PAUSE_S:
            self._tell_now()

    def _tell_now(self) -> None:
        phase, files, size = self._totals
        self._told_s = time.monotonic()
        self._progress(Tick(phase, self._files, sum(self._done), files, size))
