"""Download: blobs on their way from a depot or a bundle into the store, each verified.

What lies together is read together. Large blobs are taken in as they come.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Final, NamedTuple, cast

from artstore.model.digest import Digest
from artstore.storage.intake import Intake
from artstore.sync.objects.interface import Source
from artstore.sync.protocol import Tell, corrupt

STRETCH: Final = 8 << 20
"""Bytes that are read at once, at most."""
GAP: Final = 256 << 10
"""Bytes that are read and not needed, rather than asked around."""
_AT_ONCE: Final = 6


class Wanted(NamedTuple):
    """A blob, and where it lies."""

    name: str
    """Of the object."""
    offset: int
    size: int | None
    """None: all of the object."""
    digest: Digest


def download(objects: Source, intake: Intake, wanted: Sequence[Wanted], tell: Tell | None) -> None:
    """Take blobs in. Raises Corrupt (remote-corrupt) where other bytes come; none of those is kept under that name."""
    done = size = 0
    small = sorted((each for each in wanted if each.size is not None), key=lambda each: (each.name, each.offset))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artstore-download") as pool:
        try:
            for stretch, future in _read(pool, objects, list(_stretches(small))):
                data = memoryview(future.result())
                for blob in stretch:
                    assert blob.size is not None
                    start = blob.offset - stretch[0].offset
                    piece = data[start : start + blob.size]
                    _check(objects, blob, intake.take(piece, only=blob.digest))
                    size += blob.size
                done += len(stretch)
                if tell is not None:
                    tell(done, size)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for blob in wanted:
        if blob.size is None:
            stored = intake.take_stream(cast("BinaryIO", _Stream(objects.stream(blob.name))))
            _check(objects, blob, stored.digest)
            done, size = done + 1, size + stored.size
            if tell is not None:
                tell(done, size)


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


def _check(objects: Source, blob: Wanted, found: Digest) -> None:
    if found != blob.digest:
        raise corrupt(f"{objects.url} has other bytes in {blob.name!r} than those of blob {blob.digest}")
