"""Chunked: the chunks of a large blob that a server has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec

from artstore.model.digest import Digest
from artstore.sync.delta.chunks import MEANS, RECORD, Range
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import MESSAGES
from artstore.sync.protocol import corrupt


class RemoteBlob:
    """A blob of a project on a server. See Chunked."""

    def __init__(self, connection: Connection, path: str, digest: Digest) -> None:
        """`path` is the project's on the server."""
        self._connection = connection
        self._path = path
        self._digest = digest

    @cached_property
    def size(self) -> int:
        """See Chunked. Raises MissingObject, Unreachable."""
        return self._ask(MEANS[0], [])[0]

    def chunks(self, mean: int, ranges: Sequence[Range]) -> list[bytes]:
        """See Chunked. Raises MissingObject, Unreachable, Corrupt (remote-corrupt)."""
        found = self._ask(mean, ranges)[1]
        if len(found) != len(ranges) or any(len(each) % RECORD.size for each in found):
            raise corrupt(f"{self._connection.url} answers with chunks of other stretches than were asked for")
        return found

    def _ask(self, mean: int, ranges: Sequence[Range]) -> tuple[int, list[bytes]]:
        body = msgspec.msgpack.encode([bytes(self._digest), mean, ranges])
        doing = "asking what a large blob consists of"
        answer = self._connection.ask("POST", f"{self._path}/chunks", body, doing=doing, kind=MESSAGES)
        try:
            return msgspec.msgpack.decode(answer.data, type=tuple[int, list[bytes]])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise corrupt(f"{self._connection.url} answers what cannot be read: {error}") from error
