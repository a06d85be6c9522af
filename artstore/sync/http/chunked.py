"""Chunked: the chunks of a large blob that a server has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from artstore.model.digest import Digest
from artstore.sync.delta.chunks import RANGES, RECORD, Range, most_chunks
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import MESSAGES
from artstore.sync.protocol import corrupt

_Lists = Annotated[list[bytes], msgspec.Meta(max_length=RANGES)]
_UNKNOWN: Final = 0
"""What is that short is never cut into chunks."""


class RemoteBlob:
    """A blob of a project on a server, which is not believed where it says more than can be. See Chunked."""

    def __init__(self, connection: Connection, path: str, digest: Digest, size: int | None) -> None:
        """`path` is the project's on the server; `size` is what lists of files say here, if any does."""
        self._connection = connection
        self._path = path
        self._digest = digest
        self._size = _UNKNOWN if size is None else size

    @property
    def size(self) -> int:
        """See Chunked."""
        return self._size

    def chunks(self, mean: int, ranges: Sequence[Range]) -> list[bytes]:
        """See Chunked. Raises MissingObject, Unreachable, Corrupt (remote-corrupt)."""
        size, found = self._ask(mean, ranges)
        if size != self._size:
            # What it makes of that would be copied, and fill a disk.
            raise corrupt(f"{self._connection.url} says that blob {self._digest} has {size} bytes, not {self._size}")
        if len(found) != len(ranges) or any(
            len(each) % RECORD.size or len(each) > RECORD.size * most_chunks(where, mean)
            for each, where in zip(found, ranges, strict=True)
        ):
            raise corrupt(f"{self._connection.url} answers with chunks of other stretches than were asked for")
        return found

    def _ask(self, mean: int, ranges: Sequence[Range]) -> tuple[int, list[bytes]]:
        body = msgspec.msgpack.encode([bytes(self._digest), mean, ranges])
        doing = "asking what a large blob consists of"
        answer = self._connection.ask("POST", f"{self._path}/chunks", body, doing=doing, kind=MESSAGES)
        try:
            return msgspec.msgpack.decode(answer.data, type=tuple[int, _Lists])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise corrupt(f"{self._connection.url} answers what cannot be read: {error}") from error
