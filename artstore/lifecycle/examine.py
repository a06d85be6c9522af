"""Examine: whether the bytes in some places are what their digests say.

A look at many places only raises suspicion: it takes long, and what it saw may have been put aside and stored again
since. `judge` looks at one place again and says what is so.

Packs are read in long stretches into a buffer that is used again, and two threads take turns with the batches. Large
files are hashed by as many threads as there are processors.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Final, Literal, NamedTuple

from blake3 import blake3
from xxhash import xxh3_64_digest

from artstore.lifecycle.progress import Progress, Tick
from artstore.storage import whole
from artstore.storage.blobs import Place
from artstore.storage.files import read_into_at

THREADS: Final = 2
STRETCH: Final = 4 << 20
"""Bytes of a pack that are read at once."""
_BATCH: Final = 2_000
_BATCH_BYTES: Final = 32 << 20
_MMAP_FROM: Final = 16 << 20
_PART: Final = 64 << 20
"""Bytes of a large file whose checksums one thread makes."""
_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO})
"""What the system says where there is no file. All else says nothing about the bytes: another time they may be read."""


class Examined(NamedTuple):
    """What was found."""

    blobs: int
    bytes: int
    suspects: list[Place]
    """Places that did not give the bytes that they should, for whatever reason."""


def examine(places: Iterable[Place], *, fast: bool, progress: Progress | None = None) -> Examined:
    """Read every place, each file's in order, and name those that did not give what they should.

    With `fast` the bytes are compared with the checksums kept beside them, where there are some.
    """
    blobs = size = 0
    suspects: list[Place] = []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="artstore-examine") as pool:
        waiting: deque[Future[Examined]] = deque()
        batches = _batches(places)
        while True:
            # A few batches ahead, not all of them: a million places do not fit into the memory that there is for them.
            batch = next(batches, None)
            if batch is not None:
                waiting.append(pool.submit(_examine_batch, batch, fast=fast))
            if not waiting:
                return Examined(blobs, size, suspects)
            if batch is None or len(waiting) > 2 * THREADS:
                found = waiting.popleft().result()
                blobs += found.blobs
                size += found.bytes
                suspects += found.suspects
                if progress is not None:
                    progress(Tick("verify", blobs, size))


def judge(place: Place) -> Literal["whole", "damaged"] | OSError:
    """Read one place again, all of it: whether its bytes are what its digest says, or why that cannot be said now."""
    try:
        fd = os.open(place.path, _OPEN_FLAGS)
        try:
            if place.is_whole and os.fstat(fd).st_size != place.size:
                return "damaged"
            hasher = blake3()
            buffer = memoryview(bytearray(min(place.size, STRETCH)))
            for start in range(0, place.size, STRETCH):
                got = read_into_at(fd, buffer[: place.size - start], place.offset + start)
                hasher.update(buffer[:got])
        finally:
            os.close(fd)
    except OSError as error:
        return "damaged" if error.errno in NO_FILE else error
    return "whole" if hasher.digest() == place.digest else "damaged"


def _batches(places: Iterable[Place]) -> Iterator[list[Place]]:
    batch: list[Place] = []
    total = 0
    for place in places:
        batch.append(place)
        total += place.size
        if len(batch) >= _BATCH or total >= _BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _examine_batch(batch: Sequence[Place], *, fast: bool) -> Examined:
    suspects: list[Place] = []
    buffer = memoryview(bytearray(STRETCH))
    for path, places in groupby(batch, key=lambda place: place.path):
        try:
            fd = os.open(path, _OPEN_FLAGS)
        except OSError:
            suspects += places
            continue
        try:
            for stretch in _stretches(places):
                if stretch[0].is_whole:
                    suspects += [place for place in stretch if not _is_file_whole(fd, place, buffer, fast=fast)]
                else:
                    suspects += _examine_stretch(fd, stretch, buffer, fast=fast)
        finally:
            os.close(fd)
    return Examined(len(batch), sum(place.size for place in batch), suspects)


def _stretches(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Neighbours that are read together: of one file, within STRETCH bytes of each other."""
    stretch: list[Place] = []
    for place in places:
        if stretch and place.offset + place.size - stretch[0].offset > STRETCH:
            yield stretch
            stretch = []
        stretch.append(place)
    yield stretch


def _examine_stretch(fd: int, stretch: Sequence[Place], buffer: memoryview, *, fast: bool) -> list[Place]:
    start = stretch[0].offset
    length = stretch[-1].offset + stretch[-1].size - start
    try:
        got = read_into_at(fd, buffer[:length], start)
    except OSError:
        got = 0
    suspects: list[Place] = []
    for place in stretch:
        at = place.offset - start
        data = buffer[at : at + place.size]
        if fast and place.sums is not None:
            is_whole = xxh3_64_digest(data) == place.sums
        else:
            is_whole = blake3(data).digest() == place.digest
        if not is_whole or at + place.size > got:
            suspects.append(place)
    return suspects


def _is_file_whole(fd: int, place: Place, buffer: memoryview, *, fast: bool) -> bool:
    try:
        if os.fstat(fd).st_size != place.size:
            return False
        if fast and place.sums is not None:
            return _sums(fd, place.size, buffer) == place.sums
        if place.size >= _MMAP_FROM:
            return whole.digest_of_bytes(place.path) == place.digest
        hasher = blake3()
        for start in range(0, place.size, len(buffer)):
            hasher.update(buffer[: read_into_at(fd, buffer[: place.size - start], start)])
    except OSError:
        return False
    return hasher.digest() == place.digest


def _sums(fd: int, size: int, buffer: memoryview) -> bytes:
    if size <= _PART:
        return _sums_of_part(fd, 0, size, buffer)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="artstore-sum") as pool:

        def part(start: int) -> bytes:
            return _sums_of_part(fd, start, min(size, start + _PART), memoryview(bytearray(whole.BLOCK)))

        return b"".join(pool.map(part, range(0, size, _PART)))


def _sums_of_part(fd: int, start: int, end: int, buffer: memoryview) -> bytes:
    sums: list[bytes] = []
    for at in range(start, end, whole.BLOCK):
        block = buffer[: min(whole.BLOCK, end - at)]
        got = read_into_at(fd, block, at)
        sums.append(xxh3_64_digest(block[:got]))
    return b"".join(sums)
