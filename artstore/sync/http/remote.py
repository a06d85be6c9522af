"""Remote: the logs of a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import msgspec

from artstore.errors import Conflict
from artstore.storage.root import Root
from artstore.sync.http.connection import Connection, decode
from artstore.sync.http.shelf import HttpShelf
from artstore.sync.http.wire import JSON, LONGEST_SLOTS, About, Claimed, Head, Slots
from artstore.sync.objects.pacing import Pace
from artstore.sync.protocol import Shelf, corrupt

_HOLES: Final = 3
"""Times in a row that a server may lack what it was sent."""
_AHEAD: Final = 64 << 20
"""Bytes of manifests that came with slots and wait to be taken."""


def open_server(url: str, token: str | None, pace: Pace | None) -> HttpRemote:
    """See `artstore.sync.http.opening`."""
    return HttpRemote(Connection(url, token, pace))


class HttpRemote:
    """A remote that is a server. See Remote."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heads: dict[str, Head] | None = None
        self._slots: dict[tuple[str, int], bytes] = {}
        self._manifests: dict[str, bytes] = {}
        self._holes: dict[str, int] = {}

    @property
    def url(self) -> str:
        """See Remote."""
        return self._connection.url

    def about(self) -> About:
        """What the server says of itself. Raises Unreachable (not-a-server), Denied."""
        answer = self._connection.ask("GET", "", doing="asking what it is")
        found: About = decode(answer.data, About, self.url)
        return found

    def projects(self) -> Iterator[str]:
        """See Remote."""
        yield from list(self._ask_for_heads())

    def stands(self, project: str, number: int, digest: str) -> bool:
        """See Remote."""
        heads = self._ask_for_heads() if self._heads is None else self._heads
        # Known for one look only: what is asked for again may have changed.
        head = heads.pop(project, None)
        return head is not None and (head.slot, head.digest) == (number, digest)

    def _ask_for_heads(self) -> dict[str, Head]:
        answer = self._connection.ask("GET", "projects", doing="asking for its projects")
        heads: dict[str, Head] = decode(answer.data, dict[str, Head], self.url)
        self._heads = heads
        return heads

    def slot(self, project: str, number: int) -> bytes | None:
        """See Remote."""
        found = self._slots.pop((project, number), None)
        if found is not None:
            return found
        path = f"{_of(project)}/slots/{number}"
        answer = self._connection.ask("GET", path, doing=f"reading the log of {project!r}")
        if len(answer.data) > LONGEST_SLOTS:
            raise corrupt(f"{self.url} answers with {len(answer.data)} bytes of slots, and no server gives as many")
        try:
            together = msgspec.msgpack.decode(answer.data, type=Slots)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise corrupt(f"slot {number} of project {project!r} at {self.url} cannot be read: {error}") from error
        # What is read ahead is read in order, or not at all.
        self._slots.clear()
        if sum(map(len, self._manifests.values())) > _AHEAD:
            # They are asked for again.
            self._manifests.clear()
        for place, (data, objects) in enumerate(together, start=number):
            self._slots[project, place] = data
            self._manifests.update(objects)
        return self._slots.pop((project, number), None)

    def claim(self, project: str, number: int, data: bytes) -> bool:
        """See Remote. False also where the server lacks what the slot needs: it is asked anew what that is."""
        path = f"{_of(project)}/slots/{number}"
        try:
            answer = self._connection.ask("PUT", path, data, doing=f"writing to {project!r}", kind=JSON)
        except Conflict as error:
            if error.code != "not-the-next":
                raise
            return False
        found: Claimed = decode(answer.data, Claimed, self.url)
        lacks = [*found.lacks.manifests, *found.lacks.blobs]
        if not lacks:
            self._holes.pop(project, None)
            return found.claimed
        self._holes[project] = self._holes.get(project, 0) + 1
        if self._holes[project] >= _HOLES:
            message = (
                f"{self.url} does not take what was offered of {project!r}: it lacks {len(lacks)} objects that were "
                f"sent, {lacks[0]} among them. Ask whoever keeps it to run `artstore verify` there"
            )
            raise Conflict(message, code="hole")
        return False

    def lost(self, project: str) -> list[int]:
        """See KeepsLogs."""
        answer = self._connection.ask("GET", f"{_of(project)}/lost", doing=f"asking for the log of {project!r}")
        found: list[int] = decode(answer.data, list[int], self.url)
        return found

    def put_back(self, project: str, number: int, data: bytes) -> None:
        """See KeepsLogs."""
        if not self.claim(project, number, data):
            message = (
                f"{self.url} does not take slot {number} of project {project!r} back: there is another one in its "
                "place that can be read, or what this store has is not what it was. Whoever keeps the server can take "
                "that file away, keeping a copy; then repeat"
            )
            raise Conflict(message, code="forked")

    def claimed(self, project: str, number: int) -> None:
        """See Remote. A server gives many slots in one answer."""

    def shelf(self, root: Root, project: str, log: str) -> Shelf:  # noqa: ARG002 - a project has one log there
        """See Remote."""
        return HttpShelf(self._connection, root, project, _of(project), self._manifests)


def _of(project: str) -> str:
    return f"projects/{quote(project, safe='')}"
