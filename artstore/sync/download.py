"""Download: blobs on their way from a depot or a bundle into the store, each verified.

What lies together is read together. Large blobs are taken in as they come.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Final, NamedTuple, Protocol, cast

from artstore.errors import ArtstoreError, Corrupt, MissingObject
from artstore.model.digest import Digest
from artstore.storage.whole import Measure, Stored
from artstore.sync.objects.interface import BLOCK, Source
from artstore.sync.protocol import Tell, corrupt

STRETCH: Final = 8 << 20
"""Bytes that are read at once, at most."""
GAP: Final = 256 << 10
"""Bytes that are read and not needed, rather than asked around."""
_AT_ONCE: Final = 6


class Sink(Protocol):
    """What is given the bytes of blobs. See Intake."""

    def take(self, data: bytes | memoryview, *, only: Digest | None) -> Digest:
        """See Intake."""

    def take_stream(self, stream: BinaryIO, *, only: Digest | None) -> Stored:
        """See Intake."""


class Sieve:
    """Says what bytes are, and keeps none. See Sink."""

    def take(self, data: bytes | memoryview, *, only: Digest | None) -> Digest:  # noqa: ARG002 - nothing is kept
        return Digest.of(data)

    def take_stream(self, stream: BinaryIO, *, only: Digest | None) -> Stored:  # noqa: ARG002 - as above
        measure = Measure()
        while block := stream.read(BLOCK):
            measure.add(block)
        return measure.stored()


class Wanted(NamedTuple):
    """A blob, and where it lies."""

    name: str
    """Of the object."""
    offset: int
    size: int | None
    """None: all of the object."""
    digest: Digest


def download(objects: Source, sink: Sink, wanted: Sequence[Wanted], tell: Tell | None) -> dict[Digest, ArtstoreError]:
    """Take blobs in; answers those that are gone or damaged there, with what was said of each.

    Of what is damaged nothing is kept.
    """
    bad: dict[Digest, ArtstoreError] = {}
    done = size = 0
    small = sorted((each for each in wanted if each.size is not None), key=lambda each: (each.name, each.offset))
    large = (each for each in wanted if each.size is None)
    for some in itertools.chain(_take_small(objects, sink, small), _take_large(objects, sink, large)):
        for blob, came in some:
            if isinstance(came, ArtstoreError):
                bad[blob.digest] = came
            else:
                done, size = done + 1, size + came
        if tell is not None:
            tell(done, size)
    return bad


_Came = list[tuple[Wanted, "int | ArtstoreError"]]
"""Blobs with the bytes that each has, or what was said of it."""


def _take_small(objects: Source, sink: Sink, small: Sequence[Wanted]) -> Iterator[_Came]:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artstore-download") as pool:
        try:
            for stretch, future in _read(pool, objects, list(_stretches(small))):
                pieces: Iterable[memoryview | ArtstoreError]
                try:
                    pieces = _cut(stretch, memoryview(future.result()))
                except MissingObject as error:
                    pieces = [error] * len(stretch)
                except Corrupt:
                    # The object ends too early, perhaps behind some of them.
                    pieces = (_read_one(objects, blob) for blob in stretch)
                yield [(blob, _take_one(objects, sink, blob, it)) for blob, it in zip(stretch, pieces, strict=True)]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _take_large(objects: Source, sink: Sink, large: Iterable[Wanted]) -> Iterator[_Came]:
    for blob in large:
        try:
            stream = cast("BinaryIO", _Stream(objects.stream(blob.name)))
            stored = sink.take_stream(stream, only=blob.digest)
        except (MissingObject, Corrupt) as error:
            yield [(blob, error)]
        else:
            yield [(blob, stored.size if stored.digest == blob.digest else _other(objects, blob))]


def _take_one(objects: Source, sink: Sink, blob: Wanted, piece: memoryview | ArtstoreError) -> int | ArtstoreError:
    if isinstance(piece, ArtstoreError):
        return piece
    return len(piece) if sink.take(piece, only=blob.digest) == blob.digest else _other(objects, blob)


def _cut(stretch: Sequence[Wanted], data: memoryview) -> Iterator[memoryview]:
    for blob in stretch:
        assert blob.size is not None
        start = blob.offset - stretch[0].offset
        yield data[start : start + blob.size]


def _read_one(objects: Source, blob: Wanted) -> memoryview | ArtstoreError:
    try:
        return memoryview(objects.read(blob.name, blob.offset, blob.size))
    except (MissingObject, Corrupt) as error:
        return error


def _read(
    pool: ThreadPoolExecutor, objects: Source, stretches: Sequence[Sequence[Wanted]]
) -> Iterator[tuple[Sequence[Wanted], Future[bytes]]]:
    """Stretches with their bytes, a few read ahead."""
    ahead: list[tuple[Sequence[Wanted], Future[bytes]]] = []
    for stretch in stretches:
        first, last = stretch[0], stretch[-1]
        assert last.size is not None
        length = last.offset + last.size - first.offset
        ahead.append((stretch, pool.submit(objects.read, first.name, first.offset, length)))
        if len(ahead) > _AT_ONCE:
            yield ahead.pop(0)
    yield from ahead


def _stretches(small: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    stretch: list[Wanted] = []
    for blob in small:
        if stretch:
            first, last = stretch[0], stretch[-1]
            assert last.size is not None
            assert blob.size is not None
            is_next = blob.name == first.name and blob.offset - (last.offset + last.size) <= GAP
            if not is_next or blob.offset + blob.size - first.offset > STRETCH:
                yield stretch
                stretch = []
        stretch.append(blob)
    if stretch:
        yield stretch


class _Stream(io.RawIOBase):
    """Blocks as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to so many bytes; none at the end."""
        if not self._rest:
            self._rest = next(self._blocks, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def _other(objects: Source, blob: Wanted) -> Corrupt:
    return corrupt(f"{objects.url} has other bytes in {blob.name!r} than those of blob {blob.digest}")
