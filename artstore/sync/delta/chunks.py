"""Chunks: a blob in stretches that are cut where its content says, each with a checksum.

What was moved inside a file is so cut alike: after a byte more at the beginning all but the first chunk are the same.
A chunk is written as its size (4 bytes, big-endian) and its XXH3-128.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from xxhash import xxh3_128_digest

from artstore.model.digest import Digest
from artstore.storage.blob_reader import BlobReader
from artstore.storage.root import Root

SMALLEST: Final = 8 << 20
"""Bytes that a blob has at least for it to be worth the trouble."""
MEANS: Final = tuple(64 << 10 << doubled for doubled in range(7))
"""Bytes that chunks may have in the middle."""
SPAN: Final = 256 << 20
"""Bytes that one list of chunks goes over, at most."""
RANGES: Final = 64
"""Stretches of a blob that are asked about at once, at most."""
RECORD: Final = struct.Struct(">I16s")

_SHORTEST: Final = 4
"""How many times shorter a chunk may be than those in the middle, but for the last of a blob."""
_MANY: Final = 1 << 17
"""Chunks of a blob, about: what is known of a chunk takes 200 bytes of memory."""
_WINDOW: Final = 4 << 20


class Range(NamedTuple):
    """Bytes of a blob, from one up to another."""

    start: int
    end: int


class Chunked(Protocol):
    """A blob, here or elsewhere, that can be asked for its chunks."""

    @property
    def size(self) -> int:
        """Bytes."""

    def chunks(self, mean: int, ranges: Sequence[Range]) -> list[bytes]:
        """The chunks of each of some stretches, written. Raises NotFound where the blob is not there, Unreachable."""


class LocalBlob:
    """A blob that is here. See Chunked."""

    def __init__(self, root: Root, digest: Digest, size: int) -> None:
        self._root = root
        self._digest = digest
        self._size = size

    @property
    def size(self) -> int:
        """See Chunked."""
        return self._size

    def chunks(self, mean: int, ranges: Sequence[Range]) -> list[bytes]:
        """See Chunked. Raises Corrupt."""
        with self.open() as reader:
            return chunks_of(reader, mean, ranges)

    def open(self) -> BlobReader:
        """Its bytes. Raises Corrupt."""
        return self._root.blobs.open(self._digest)


def can_cut() -> bool:
    """Whether it can be done here in a time that is worth it: where it was not compiled it would take 200 times it."""
    return _cutter() is not None


def mean_for(size: int) -> int:
    """How long chunks of a blob are in the middle: so that there are not too many, however large it is."""
    return next((mean for mean in MEANS if size <= mean * _MANY), MEANS[-1])


def most_chunks(where: Range, mean: int) -> int:
    """How many chunks there can be of a stretch."""
    return (where.end - where.start) // (mean // _SHORTEST) + 1


def chunks_of(reader: BlobReader, mean: int, ranges: Sequence[Range]) -> list[bytes]:
    """The chunks of some stretches of a blob that is here, written; the last of each only where the blob ends too.

    Each list so ends where a next one can begin. Raises Corrupt.
    """
    return [b"".join(_cut(reader, mean, each)) for each in ranges]


def sizes(chunks: bytes) -> Iterator[int]:
    """How long each of some chunks is."""
    return (size for size, _ in RECORD.iter_unpack(chunks))


def _cut(reader: BlobReader, mean: int, where: Range) -> Iterator[bytes]:
    cutter = _cutter()
    assert cutter is not None
    chunker = cutter(mean, min_size=mean // _SHORTEST)
    end = min(where.end, reader.size)
    buffer = memoryview(bytearray(min(max(_WINDOW, 8 * mean), max(0, end - where.start))))
    at, filled = where.start, 0
    while at + filled < end:
        reader.seek(at + filled)
        while filled < len(buffer) and at + filled < end:
            filled += reader.readinto(buffer[filled : filled + end - at - filled])
        is_last = at + filled == end
        cut = [(each.offset, each.length) for each in chunker.cut_buf(buffer[:filled])]
        # What the window ends, and not the content, is no chunk.
        rest = filled if is_last and end == reader.size else cut.pop()[0]
        for start, size in cut:
            yield RECORD.pack(size, xxh3_128_digest(buffer[start : start + size]))
        if is_last:
            return
        buffer[: filled - rest] = bytes(buffer[rest:filled])
        at, filled = at + rest, filled - rest


@functools.cache
def _cutter() -> Callable[..., Any] | None:
    # 40 ms, which only those wait for who have a large blob that was changed.
    from pyfastcdc import FastCDC  # noqa: PLC0415

    return FastCDC if ".cy." in FastCDC.__module__ else None
