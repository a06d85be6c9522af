"""Examine: whether the bytes in some places are what their digests say.

A look at many places only raises suspicion: it takes long, and what it saw may have been put aside and stored again
since. `Blobs.put_aside` looks at one place again and does what has to be done.

Packs are read in long stretches into a buffer that is used again, headers and all. Large files are hashed by as many
threads as there are processors.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Final

import msgspec
from blake3 import blake3
from xxhash import xxh3_64_digest

from artstore.storage import packs, whole
from artstore.storage.blob_index import Lying
from artstore.storage.files import read_into_at
from artstore.storage.holes import Holes
from artstore.storage.places import Place

STRETCH: Final = 4 << 20
"""Bytes of a pack that are read at once."""
_THREADS: Final = 2
_BATCH: Final = 2_000
_BATCH_BYTES: Final = 32 << 20
_MMAP_FROM: Final = 16 << 20
_PART: Final = 64 << 20
"""Bytes of a large file whose checksums one thread makes."""
_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Examined(msgspec.Struct):
    """What was found."""

    blobs: int
    size: int
    """Bytes."""
    suspects: list[bytes]
    """Digests of what was not, for whatever reason, where it should be."""
    is_plain: bool = True
    """Of a pack: whether it is, from its first byte to its last, what holds these blobs and nothing else."""


def examine(places: Iterable[Place], *, fast: bool, told: whole.Told | None = None) -> Examined:
    """Read every place, each file's in order, and name those that did not give what they should.

    With `fast` the bytes are compared with the checksums kept beside them, where there are some. `told` is called with
    the bytes that are done, within large files too.
    """
    found = Examined(0, 0, [])
    for path, some in groupby(places, key=lambda place: place.path):
        same = list(some)
        if same[0].is_whole:
            seen = _examine_file(path, same[0], fast=fast, told=told and partial(_tell_beyond, told, found.size))
        else:
            seen = examine_pack(path, [(each.offset, each.size, each.digest, each.sums) for each in same], fast=fast)
        found.blobs += seen.blobs
        found.size += seen.size
        found.suspects += seen.suspects
        if told is not None:
            told(found.size)
    return found


def examine_pack(path: str, members: Sequence[Lying], *, fast: bool) -> Examined:
    """As `examine`, what lies in a pack, in its order."""
    found = Examined(len(members), sum(size for _, size, _, _ in members), [], is_plain=False)
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except OSError:
        found.suspects += [digest for _, _, digest, _ in members]
        return found
    raw = bytearray(STRETCH)
    # Where the next header has to be; nowhere, once something else was between.
    at = 0
    try:
        for stretch in _stretches(members):
            at = _examine_stretch(fd, stretch, raw, at, found.suspects, fast=fast)
        with contextlib.suppress(OSError):
            found.is_plain = at >= 0 and packs.ends(fd, at)
    finally:
        os.close(fd)
    return found


def batches(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Places in parts of which none takes long."""
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


def _stretches(members: Sequence[Lying]) -> Iterator[Sequence[Lying]]:
    """Neighbours that are read together, with their headers: within STRETCH bytes of each other."""
    first = 0
    start = members[0][0] - packs.BLOCK if members else 0
    for number, (offset, size, _, _) in enumerate(members):
        if offset + size - start > STRETCH and number > first:
            yield members[first:number]
            first, start = number, offset - packs.BLOCK
    if members:
        yield members[first:]


def _examine_stretch(
    fd: int, stretch: Sequence[Lying], raw: bytearray, at: int, suspects: list[bytes], *, fast: bool
) -> int:
    """Answers where the next header has to be, as far as each was where the one before it says; else -1."""
    start = stretch[0][0] - packs.BLOCK
    buffer = memoryview(raw)
    try:
        got = read_into_at(fd, buffer[: stretch[-1][0] + stretch[-1][1] - start], start)
    except OSError:
        got = 0
    for offset, size, digest, sums in stretch:
        here = offset - start
        data = buffer[here : here + size]
        is_whole = xxh3_64_digest(data) == sums if fast and sums is not None else blake3(data).digest() == digest
        if not is_whole or here + size > got:
            suspects.append(digest)
        if at == offset - packs.BLOCK and sums is not None and _has_header(raw, here, digest, size, sums):
            at = offset + size + (-size % packs.BLOCK)
        else:
            at = -1
    return at


def _has_header(raw: bytearray, here: int, digest: bytes, size: int, sums: bytes) -> bool:
    return raw.startswith(packs.header(digest, size, int.from_bytes(sums)), here - packs.BLOCK)


def _tell_beyond(told: whole.Told, before: int, done: int) -> None:
    told(before + done)


def _examine_file(path: str, place: Place, *, fast: bool, told: whole.Told | None) -> Examined:
    found = Examined(1, place.size, [place.digest])
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except OSError:
        return found
    try:
        buffer = memoryview(bytearray(min(STRETCH, max(place.size, 1))))
        if _is_file_whole(fd, place, buffer, fast=fast, told=told):
            found.suspects.clear()
    finally:
        os.close(fd)
    return found


def _is_file_whole(fd: int, place: Place, buffer: memoryview, *, fast: bool, told: whole.Told | None) -> bool:
    try:
        if os.fstat(fd).st_size != place.size:
            return False
        if fast and place.sums is not None:
            return _sums(fd, place.size, buffer, told) == place.sums
        if Holes(fd).may_exist:
            return whole.measure(fd, told=told).digest == place.digest
        if place.size >= _MMAP_FROM:
            return whole.digest_of_bytes(place.path, told=told) == place.digest
        hasher = blake3()
        for start in range(0, place.size, len(buffer)):
            hasher.update(buffer[: read_into_at(fd, buffer[: place.size - start], start)])
    except OSError:
        return False
    return hasher.digest() == place.digest


def _sums(fd: int, size: int, buffer: memoryview, told: whole.Told | None) -> bytes:
    if size <= _PART:
        return _sums_of_part(fd, 0, size, buffer)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="artstore-sum") as pool:

        def part(start: int) -> bytes:
            return _sums_of_part(fd, start, min(size, start + _PART), memoryview(bytearray(whole.BLOCK)))

        found: list[bytes] = []
        for sums in pool.map(part, range(0, size, _PART)):
            found.append(sums)
            if told is not None:
                told(min(size, len(found) * _PART))
        return b"".join(found)


def _sums_of_part(fd: int, start: int, end: int, buffer: memoryview) -> bytes:
    sums: list[bytes] = []
    # What another thread asks of the same file disturbs nobody: all bytes are read by their place.
    holes = Holes(fd)
    for at in range(start, end, whole.BLOCK):
        block = buffer[: min(whole.BLOCK, end - at)]
        if holes.cover(at, at + whole.BLOCK):
            sums.append(whole.SUM_OF_ZEROS)
            continue
        got = read_into_at(fd, block, at)
        sums.append(xxh3_64_digest(block[:got]))
    return b"".join(sums)
