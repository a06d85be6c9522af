"""Handles: packs that stay open between reads of what lies in them.

Opening a file costs as much as reading a small blob. A handle that others still read from outlives its place here, so
one thread never closes what another reads; after a fork both sides go on with it, since reads name their offset.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from artstore.storage.files import read_exactly

_MOST: Final = 64
_read_at: Final = getattr(os, "pread", read_exactly)
_O_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Handle:
    """An open file, closed when the last who holds it lets go."""

    def __init__(self, path: str) -> None:
        self.fd = -1
        self.fd = os.open(path, _O_FLAGS)

    def read(self, size: int, offset: int) -> bytes:
        """Read `size` bytes at `offset`, fewer only where the file ends."""
        data = _read_at(self.fd, size, offset)
        return data if len(data) == size else read_exactly(self.fd, size, offset)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Handles:
    """The open packs of a store. Without a lock, which a fork could leave locked: at worst a file is opened twice."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open: dict[str, Handle] = {}

    def get(self, name: str) -> Handle:
        """The handle of the file of this name. Raises OSError."""
        found = self._open.get(name)
        if found is None:
            found = self._open[name] = Handle(os.path.join(self._folder, name))
            while len(self._open) > _MOST:
                with contextlib.suppress(StopIteration, KeyError, RuntimeError):
                    del self._open[next(iter(self._open))]
        return found

    def drop(self, name: str) -> None:
        """Let go of a file that may no longer be the one of its name."""
        self._open.pop(name, None)

    def close(self) -> None:
        """Let go of all."""
        self._open.clear()
