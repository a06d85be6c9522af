"""Patch: a blob as what is copied from another one and what is new, in frames.

A frame is two numbers of eight bytes, big-endian: where in the other blob a stretch begins, and how long it is. Where
the first is NEW, the bytes come behind it. What came of a patch makes the beginning of the blob, wherever it was cut.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from artstore.errors import Corrupt, Invalid
from artstore.storage.blob_reader import BlobReader
from artstore.sync.delta.plan import Piece, new_bytes

FRAME: Final = struct.Struct(">QQ")
NEW: Final = (1 << 64) - 1
MOST_TIMES: Final = 2
"""How often a blob may be copied into one that is made from it: what is damaged, or made so, must not fill a disk."""
_BLOCK: Final = 1 << 20


def patch_size(pieces: Iterable[Piece]) -> int:
    """The bytes of a patch."""
    pieces = list(pieces)
    return FRAME.size * len(pieces) + new_bytes(pieces)


def is_plausible(size: int, base: int, patch: int) -> bool:
    """Whether a patch may make so many bytes of another blob."""
    return size <= MOST_TIMES * base + patch


def write_patch(pieces: Iterable[Piece], start: int, read: Callable[[int, int], Iterator[bytes]]) -> Iterator[bytes]:
    """The bytes of a patch for what of a blob begins with one of its bytes; `read` gives those between two."""
    for size, source in pieces:
        if source is None:
            yield FRAME.pack(NEW, size)
            yield from read(start, start + size)
        else:
            yield FRAME.pack(source, size)
        start += size


def copied(base: BlobReader, source: int, size: int) -> Iterator[memoryview]:
    """A stretch of a blob, in blocks that hold until the next one. Raises Corrupt."""
    buffer = memoryview(bytearray(min(size, _BLOCK)))
    base.seek(source)
    while size:
        got = base.readinto(buffer[:size])
        if not got:
            message = "a stretch is to be copied that is not in the other blob"
            raise Corrupt(message, code="bad-patch")
        yield buffer[:got]
        size -= got


class Patcher:
    """Makes a blob anew, from another one and from frames as they come."""

    def __init__(
        self,
        base: BlobReader,
        left: int,
        write: Callable[[memoryview], None],
        copying: Callable[[int], None] = lambda _size: None,
    ) -> None:
        """`left` is how many bytes there are to be made; `write` is given them in their order.

        `copying` is told how many are to be copied, before they are, and may raise.
        """
        self._base = base
        self._copying = copying
        self._left = left
        self._write = write
        self._head = bytearray()
        self._new = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Go on with what came. Raises Invalid (bad-patch) before anything is made of a frame that cannot be."""
        view = memoryview(data)
        while view:
            if self._new:
                some = view[: self._new]
                self._write(some)
                self._new -= len(some)
                view = view[len(some) :]
                continue
            wanted = FRAME.size - len(self._head)
            self._head += view[:wanted]
            view = view[wanted:]
            if len(self._head) == FRAME.size:
                source, size = FRAME.unpack(self._head)
                self._head.clear()
                self._begin(source, size)

    def _begin(self, source: int, size: int) -> None:
        if not 0 < size <= self._left:
            message = f"it has a frame of {size} bytes where {self._left} are left"
            raise _bad(message)
        self._left -= size
        if source == NEW:
            self._new = size
            return
        if source + size > self._base.size:
            message = f"it takes {size} bytes from byte {source} on of a blob that has {self._base.size}"
            raise _bad(message)
        self._copying(size)
        for block in copied(self._base, source, size):
            self._write(block)


def _bad(why: str) -> Invalid:
    message = f"what was sent is no patch: {why}. Send the whole blob"
    return Invalid(message, code="bad-patch")
