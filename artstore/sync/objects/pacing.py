"""Pacing: no more bytes a second than somebody allows, so that others on the same line can work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from artstore.sync.objects.interface import BLOCK, Objects

_SLICE_S: Final = 0.2
"""How much time's worth of bytes is let through at once, so that a line is used evenly."""


class Pace:
    """How fast bytes may go, of all threads together, both ways."""

    def __init__(self, rate: int) -> None:
        """`rate` is in bytes a second."""
        self.block = max(1, min(BLOCK, int(rate * _SLICE_S)))
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, size: int) -> None:
        """Return when so many bytes may go."""
        with self._lock:
            at = max(self._free_at, time.monotonic())
            self._free_at = at + size / self._rate
        time.sleep(max(0.0, at - time.monotonic()))

    def paced(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same bytes, as fast as they may go."""
        for chunk in chunks:
            for start in range(0, len(chunk), self.block):
                piece = chunk[start : start + self.block]
                self.wait(len(piece))
                yield piece


class PacedObjects:
    """Objects whose bytes go at a pace. See Objects."""

    def __init__(self, objects: Objects, pace: Pace) -> None:
        self.url = objects.url
        self._objects = objects
        self._pace = pace

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        data = self._objects.read(name, start, length)
        # It has come already; the next one waits for it.
        self._pace.wait(len(data))
        return data

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        return self._pace.paced(self._objects.stream(name, start))

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        self._objects.write(name, self._pace.paced(chunks), size)

    def write_file(self, name: str, source: Path) -> None:
        size = source.stat().st_size
        with source.open("rb", buffering=0) as file:
            self.write(name, iter(lambda: file.read(BLOCK), b""), size)

    def claim(self, name: str, data: bytes) -> bool:
        return self._objects.claim(name, data)

    def size(self, name: str) -> int | None:
        return self._objects.size(name)

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        return self._objects.names(prefix, after)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._objects.sizes(prefix)

    def remove(self, name: str) -> None:
        self._objects.remove(name)

    def tidy(self) -> int:
        return self._objects.tidy()
