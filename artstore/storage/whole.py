"""Whole blobs: a file of its own for each large one.

`blobs/blake3/<2 hex>/<62 hex>`, read-only, so that a checkout can share its bytes (reflink) or its name (hardlink).
The checksums of a blob are the XXH3-64 of each of its 1 MiB blocks, 8 bytes each, big-endian: enough to tell damage
from health at 20 GB/s, and to check the part of a file that a reader touches.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from blake3 import blake3
from xxhash import xxh3_64, xxh3_64_digest

from artstore.errors import Refused
from artstore.model.digest import ALGORITHM, SIZE, Digest
from artstore.storage.files import read_into, read_into_at, reflink, write_all, write_at
from artstore.storage.holes import Holes

BLOCK: Final = 1 << 20
"""Bytes that one checksum covers; also what is read at a time."""

ZEROS: Final = bytes(BLOCK)
SUM_OF_ZEROS: Final = xxh3_64_digest(ZEROS)

_O_BINARY: Final = getattr(os, "O_BINARY", 0)
_TOLD: Final = 64 << 20
"""Bytes that are hashed by all threads between two words of how far it is."""
_WRITE_BEHIND: Final = 8 << 20
"""Bytes after which the disk is told to begin: the sync at the end then has little left to wait for."""


class _Forked:
    """Whether this process is a child that was forked, and did not begin anew."""

    is_so = False

    @classmethod
    def note(cls) -> None:
        """Called in every child."""
        cls.is_so = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Forked.note)


Fill = Callable[[memoryview], int]
"""Fills a buffer and says how far: less than all of it only at the end, and then nothing."""

Told = Callable[[int], None]
"""Called with the bytes that are done so far, a block at a time."""


class Stored(NamedTuple):
    """What a stretch of bytes turned out to be."""

    digest: Digest
    size: int
    sums: bytes


class Measure:
    """Says what bytes are that come one after the other, however they are cut."""

    def __init__(self) -> None:
        self.size = 0
        self._hasher = blake3()
        self._all = xxh3_64()
        self._block = xxh3_64()
        self._sums = bytearray()

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """The next ones."""
        self._hasher.update(data)
        self._all.update(data)
        view = memoryview(data)
        while view:
            some = view[: BLOCK - self.size % BLOCK]
            self._block.update(some)
            self.size += len(some)
            view = view[len(some) :]
            if not self.size % BLOCK:
                self._sums += self._block.digest()
                self._block.reset()

    def checksum(self) -> str:
        """XXH3-64 of all that came so far, in hexadecimal."""
        return self._all.hexdigest()

    def stored(self) -> Stored:
        """What all of them are."""
        rest = self._block.digest() if self.size % BLOCK else b""
        return Stored(Digest(self._hasher.digest()), self.size, bytes(self._sums) + rest)


def path_of(root: Path, digest: Digest) -> Path:
    """Where a whole blob lies."""
    text = digest.hex()
    return root / "blobs" / ALGORITHM / text[:2] / text[2:]


def digest_of(path: Path) -> Digest | None:
    """Which blob a file below `blobs/` is, by its name; None if it is none."""
    try:
        raw = bytes.fromhex(path.parent.name + path.name)
    except ValueError:
        return None
    return Digest(raw) if len(raw) == SIZE and path.parent.parent.name == ALGORITHM else None


def store(source: int, target: int, *, limit: int, told: Told | None = None) -> Stored:
    """Copy an open file into another, and say what arrived there.

    Shares the bytes where the file system can (then hashes the target), else copies and hashes what it writes. Holes
    stay holes. Stops one block behind `limit`, so that a file that grows for ever does not: the caller compares sizes.
    Raises Refused (unreadable) where the source fails.
    """
    if reflink(source, target):
        return measure(target, told=told)
    return copy_file(source, target, limit=limit, told=told)


def copy_file(source: int, target: int, *, limit: int, told: Told | None = None) -> Stored:
    """Copy an open file into another, hashing what is written; see store."""
    holes = Holes(source)
    # From its beginning: what is taken out of the middle of a file lies in no hole.
    if holes.may_exist and not os.lseek(source, 0, os.SEEK_CUR):
        return _copy_sparse(partial(_read_source, source), target, holes, limit=limit, told=told)

    return copy(lambda buffer: _read_source(source, buffer, None), target, limit=limit, told=told)


def copy(fill: Fill, target: int | None, *, limit: int = 1 << 62, told: Told | None = None) -> Stored:
    """Write what `fill` gives, a block at a time, and say what it was. Without a target it is only measured."""
    hasher = blake3()
    sums: list[bytes] = []
    buffer = memoryview(bytearray(BLOCK))
    size = behind = 0
    while size <= limit and (got := fill(buffer)):
        block = buffer[:got]
        hasher.update(block)
        sums.append(xxh3_64_digest(block))
        size += got
        if told is not None:
            told(size)
        if target is None:
            continue
        write_all(target, block)
        behind = write_behind(target, behind, size)
    return Stored(Digest(hasher.digest()), size, b"".join(sums))


def chained(head: bytes, stream: BinaryIO) -> Fill:
    """Blocks of what was read of a stream already, and of the rest of it."""
    source = io.BytesIO(head)

    def fill(buffer: memoryview) -> int:
        got = 0
        while got < len(buffer):
            data = source.read(len(buffer) - got) or stream.read(len(buffer) - got)
            if not data:
                break
            buffer[got : got + len(data)] = data
            got += len(data)
        return got

    return fill


def digest_of_bytes(path: str | Path, *, told: Told | None = None) -> Digest:
    """The digest of what a file holds, by as many threads as there are processors; it is not empty if there is `told`.

    Raises OSError.

    In a child of a fork by its own thread: BLAKE3 keeps its threads for the life of a process, they do not come along,
    and a child that handed them work would wait for ever.
    """
    hasher = blake3(max_threads=1 if _Forked.is_so else blake3.AUTO)
    if told is None:
        hasher.update_mmap(path)
    else:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
            memoryview(held) as data,
        ):
            for start in range(0, len(data), _TOLD):
                with data[start : start + _TOLD] as some:
                    hasher.update(some)
                    told(start + len(some))
    return Digest(hasher.digest())


def measure(fd: int, *, told: Told | None = None) -> Stored:
    """Say what an open file holds, from its beginning."""
    holes = Holes(fd)
    if holes.may_exist:
        return _copy_sparse(partial(read_into_at, fd), None, holes, limit=1 << 62, told=told)
    os.lseek(fd, 0, os.SEEK_SET)
    return copy(lambda buffer: read_into(fd, buffer), None, told=told)


def _copy_sparse(
    fill_at: Callable[[memoryview, int], int], target: int | None, holes: Holes, *, limit: int, told: Told | None
) -> Stored:
    """As `copy`, of a file with holes: they are not read, and they and other blocks of zeros are not written."""
    hasher = blake3()
    sums: list[bytes] = []
    buffer = memoryview(bytearray(BLOCK))
    size = behind = 0
    while size <= limit:
        is_hole = holes.cover(size, size + BLOCK)
        block = ZEROS if is_hole else buffer[: fill_at(buffer, size)]
        if not block:
            break
        hasher.update(block)
        sums.append(SUM_OF_ZEROS if is_hole else xxh3_64_digest(block))
        # To compare a memoryview takes forty times as long as bytes: a byte at a time.
        if target is not None and not is_hole and (sums[-1] != SUM_OF_ZEROS or bytes(block) != ZEROS):
            write_at(target, [block], size)
        size += len(block)
        if told is not None:
            told(size)
        if target is not None:
            behind = write_behind(target, behind, size)
    if target is not None:
        os.ftruncate(target, size)
    return Stored(Digest(hasher.digest()), size, b"".join(sums))


def _read_source(fd: int, buffer: memoryview, at: int | None) -> int:
    """Read from a place, or from where the file stands. Raises Refused (unreadable)."""
    try:
        return read_into(fd, buffer) if at is None else read_into_at(fd, buffer, at)
    except OSError as error:
        raise Refused(error.strerror or str(error), code="unreadable") from error


def write_behind(fd: int, behind: int, size: int) -> int:
    """Have the disk begin with what lies between, once that is enough; answers up to where it has begun."""
    if size - behind < _WRITE_BEHIND:
        return behind
    # POSIX_FADV_DONTNEED begins the write-back of dirty pages; it cannot drop them, so they can still be read.
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, behind, size - behind, os.POSIX_FADV_DONTNEED)
    return size
