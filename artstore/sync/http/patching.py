"""Patching: a large blob that is made from one that is here, and from what a server has of it that is new."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final

import msgspec

from artstore.errors import Corrupt, MissingObject
from artstore.model.digest import Digest
from artstore.storage.root import Root
from artstore.sync.delta.chunks import SMALLEST, LocalBlob
from artstore.sync.delta.patch import copied
from artstore.sync.delta.plan import Piece, between, find_pieces
from artstore.sync.http.chunked import RemoteBlob
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import MANY, MESSAGES
from artstore.sync.protocol import corrupt

_BLOCK: Final = 1 << 20


class Patching:
    """A blob of a server, in pieces of which some are here in another one."""

    def __init__(self, connection: Connection, path: str, digest: Digest, base: LocalBlob, pieces: list[Piece]) -> None:
        self._connection = connection
        self._path = path
        self._digest = digest
        self._base = base
        self._pieces = pieces
        self._size = sum(piece.size for piece in pieces)

    def go_on(self, start: int, write: Callable[[bytes | memoryview], None]) -> None:
        """Give what comes from a byte on. Raises MissingObject, Unreachable; Corrupt where one of the two is damaged.

        What is new is asked for together, as much of it as one question holds.
        """
        while start < self._size:
            some = list(itertools.islice(between(self._pieces, start, self._size), MANY))
            wanted: list[tuple[int, int]] = []
            for size, source in some:
                if source is None:
                    wanted.append((start, start + size))
                start += size
            with self._base.open() as base, contextlib.closing(self._ranges(wanted)) as coming:
                rest = _Rest(coming)
                for size, source in some:
                    for block in rest.take(size) if source is None else copied(base, source, size):
                        write(block)

    def _ranges(self, wanted: Sequence[tuple[int, int]]) -> Generator[bytes]:
        if wanted:
            body = msgspec.msgpack.encode([bytes(self._digest), wanted])
            doing = "reading parts of a large blob"
            with self._connection.open("POST", f"{self._path}/ranges", body, doing=doing, kind=MESSAGES) as answer:
                yield from self._connection.blocks(answer, _BLOCK, doing)
        raise corrupt(f"{self._connection.url} gives less of blob {self._digest} than was asked for")


class _Rest:
    """What still comes of an answer."""

    def __init__(self, coming: Iterator[bytes]) -> None:
        self._coming = coming
        self._block = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next bytes, so many of them."""
        while size:
            if not self._block:
                self._block = memoryview(next(self._coming))
            some, self._block = self._block[:size], self._block[size:]
            size -= len(some)
            yield some


def find_patching(
    connection: Connection, path: str, root: Root, digest: Digest, bases: Sequence[Digest]
) -> Patching | None:
    """How to make a blob from the first of some others that is here; None where all of it has to come."""
    here = root.blobs.locate(bases)
    place = next((here[base] for base in bases if base in here and here[base].size >= SMALLEST), None)
    if place is not None:
        base = LocalBlob(root, place.digest, place.size)
        # Where it cannot be asked about, or ours is damaged, there is the other way.
        with contextlib.suppress(MissingObject, Corrupt):
            pieces = find_pieces(base, RemoteBlob(connection, path, digest, root.blobs.size_of(digest)))
            return None if pieces is None else Patching(connection, path, digest, base, pieces)
    return None
