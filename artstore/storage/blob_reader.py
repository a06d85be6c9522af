"""Blob readers: a blob as a file, of which every block is verified before it is handed out."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from blake3 import blake3
from xxhash import xxh3_64_digest

from artstore.errors import Corrupt
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.files import read_exactly, read_into_at
from artstore.storage.holes import Holes
from artstore.storage.places import OPEN_FLAGS, Place, damaged, reading

_AT_ONCE: Final = 1 << 30
"""Bytes that one call reads; Linux has a limit of 2 GiB. A whole number of blocks."""


class BlobReader(io.RawIOBase):
    """A blob as a read-only, seekable file. Reads verify the blocks that they touch."""

    def __init__(
        self,
        place: Place,
        *,
        others: Sequence[Place],
        called: str,
        doubt: Callable[[Digest], None],
    ) -> None:
        """Open one place. The others are for where it is damaged, and `doubt` is told of a blob that is so in all."""
        super().__init__()
        self._doubt = doubt
        self._called = called
        self._fd = -1
        self._place = place
        self._others = list(others)
        self._at = 0
        self._block_number = -1
        self._block = b""
        self._sums = place.sums
        self._holes: Holes | None = None
        try:
            self._open(place)
        except Corrupt:
            if not self._go_on_elsewhere():
                raise

    @property
    def size(self) -> int:
        """Bytes."""
        return self._place.size

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; a place behind the end reads nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._place.size}[whence]
        if base + offset < 0:
            message = f"negative seek position {base + offset}"
            raise ValueError(message)
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        """Fill the buffer from where the file stands, up to the end of a block."""
        if self._at >= self._place.size:
            return 0
        number, within = divmod(self._at, whole.BLOCK)
        if not within and number != self._block_number and self._read_direct(number, buffer):
            return min(whole.BLOCK, self._place.size - number * whole.BLOCK)
        block = self._verified_block(number)
        part = block[within : within + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def readall(self) -> bytes:
        """All that is left, in one piece."""
        size = self._place.size
        at = self._at
        parts: list[bytes] = []
        if at % whole.BLOCK and at < size:
            parts.append(self._verified_block(at // whole.BLOCK)[at % whole.BLOCK :])
            at += len(parts[0])
        while at < size and (many := self._read_many(at // whole.BLOCK)):
            parts.append(many)
            at += len(many)
        if at < size:
            parts += map(self._verified_block, range(at // whole.BLOCK, -(-size // whole.BLOCK)))
        self._at = max(self._at, size)
        # Of one part alone this makes no copy.
        return b"".join(parts)

    def blocks(self) -> Iterator[bytes]:
        """All bytes, a verified block at a time."""
        for number in range(-(-self._place.size // whole.BLOCK)):
            yield self._verified_block(number)

    def close(self) -> None:
        """Let the file go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()

    def _read_direct(self, number: int, buffer: bytearray | memoryview) -> bool:
        """Read a whole block of a large blob to where it is wanted, which spares a copy; False if it has to be got."""
        wanted = min(whole.BLOCK, self._place.size - number * whole.BLOCK)
        if self._sums is None or self._holes is not None or len(buffer) < wanted:
            return False
        view = memoryview(buffer)[:wanted]
        try:
            got = read_into_at(self._fd, view, self._place.offset + number * whole.BLOCK)
        except OSError:
            return False
        if got < wanted or xxh3_64_digest(view) != self._sums[number * 8 : number * 8 + 8]:
            return False
        self._at += wanted
        return True

    def _read_many(self, first: int) -> bytes:
        """Every block from one on, as far as one call goes; nothing if they have to be got one by one."""
        if self._sums is None or self._holes is not None:
            return b""
        start = first * whole.BLOCK
        wanted = min(_AT_ONCE, self._place.size - start)
        try:
            data = read_exactly(self._fd, wanted, self._place.offset + start)
        except OSError:
            return b""
        view = memoryview(data)
        sums = b"".join(xxh3_64_digest(view[at : at + whole.BLOCK]) for at in range(0, len(data), whole.BLOCK))
        return data if len(data) == wanted and self._sums.startswith(sums, first * 8) else b""

    def _verified_block(self, number: int) -> bytes:
        if number == self._block_number:
            return self._block
        try:
            block = self._read_block(number)
        except Corrupt:
            if not self._go_on_elsewhere():
                raise
            return self._verified_block(number)
        self._block_number, self._block = number, block
        return block

    def _read_block(self, number: int) -> bytes:
        start = number * whole.BLOCK
        wanted = min(whole.BLOCK, self._place.size - start)
        with reading(self._place):
            is_hole = self._holes is not None and self._holes.cover(start, start + whole.BLOCK)
            block = whole.ZEROS if is_hole else read_exactly(self._fd, wanted, self._place.offset + start)
        if self._place.size <= whole.BLOCK:
            # The digest itself costs no more here.
            is_whole = len(block) == wanted and blake3(block).digest() == self._place.digest
        else:
            assert self._sums is not None
            is_whole = len(block) == wanted and xxh3_64_digest(block) == self._sums[number * 8 : number * 8 + 8]
        if not is_whole:
            raise damaged(self._place, start, called=self._called)
        return block

    def _open(self, place: Place) -> None:
        with reading(place):
            fd = os.open(place.path, OPEN_FLAGS)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._place = fd, place
        holes = Holes(fd) if place.is_whole else None
        self._holes = holes if holes is not None and holes.may_exist else None
        if self._sums is None:
            self._sums = self._verified_sums()

    def _go_on_elsewhere(self) -> bool:
        """Take the next place that opens, if there is one: the one so far is damaged."""
        while self._others:
            place = self._others.pop(0)
            noted = self._sums
            if place == self._place:
                # Perhaps it is the checksums that are.
                self._sums = None
            with contextlib.suppress(FileNotFoundError, Corrupt):
                self._open(place)
                if self._sums != noted:
                    self._doubt(place.digest)
                return True
            self._sums = noted
        self._doubt(self._place.digest)
        return False

    def _verified_sums(self) -> bytes | None:
        if self._place.size <= whole.BLOCK:
            return None
        with reading(self._place):
            found = whole.measure(self._fd)
        if found.digest != self._place.digest:
            raise damaged(self._place, called=self._called)
        return found.sums
