"""Shelf: the objects of a log on a server. What it has is asked of it, and nothing of that is kept."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from blake3 import blake3

from artstore.errors import MissingObject
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.files import random_hex
from artstore.storage.intake import Intake
from artstore.storage.places import Place
from artstore.storage.relatives import relatives
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync import lengths
from artstore.sync.http.connection import Connection
from artstore.sync.http.receiving import Receiver
from artstore.sync.http.sending import send_blobs
from artstore.sync.http.stretches import Measured, Stretch, choose, together
from artstore.sync.http.uploading import find_patch
from artstore.sync.http.wire import MANY, MESSAGES
from artstore.sync.protocol import (
    Fetched,
    Remote,
    Sent,
    Slot,
    Tell,
    corrupt,
    decode_manifests,
    encode_manifests,
    in_objects,
)
from artstore.sync.room import Room


class HttpShelf:
    """See Shelf."""

    def __init__(self, connection: Connection, root: Root, project: str, path: str, ahead: dict[str, bytes]) -> None:
        """`path` is the project's on the server; `ahead` has objects of manifests that came with slots."""
        self._connection = connection
        self._project = project
        self._path = path
        self._ahead = ahead
        self._reads_alone = False
        self._root = root
        self._room: Room | None = None
        self._is_room_known = False

    def why_too_long(self, encoding: Encoding) -> str | None:
        """See Shelf."""
        why = lengths.why_too_long(encoding)
        return None if why is None else f"{why} (a depot may take it)"

    def room(self) -> Room | None:
        """See Shelf."""
        if not self._is_room_known:
            self._ask([], 0)
        return self._room

    def lacks_manifests(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        return self._lacks(list(dict.fromkeys(digests)), 0)

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:
        """See Shelf."""
        return self._lacks(list(dict.fromkeys(digests)), 1)

    def send(
        self,
        root: Root,
        session: Session,  # noqa: ARG002 - nothing has to be put together on the disk
        manifests: Sequence[Encoding],
        blobs: Sequence[Digest],
        tell: Tell | None = None,
    ) -> Sent:
        """See Shelf."""
        saved = send_blobs(self._connection, self._path, root, blobs, tell)
        sent: dict[str, list[str]] = {}
        for some in in_objects(manifests):
            name = random_hex(16)
            path = f"{self._path}/manifests/{name}"
            self._connection.ask("PUT", path, encode_manifests(some), doing="sending manifests")
            sent[name] = [str(encoding.digest) for encoding in some]
        return Sent(sent, [], [], saved)

    def patch_size(self, root: Root, place: Place) -> int | None:
        """The bytes that would be sent of a blob that is changed from one that is there; None where it would go whole.

        Found out as a push does: both are cut into chunks. Raises Unreachable, Denied.
        """
        bases = relatives(root, [place.digest])[place.digest]
        patch = find_patch(self._connection, self._path, root, place, bases)
        return None if patch is None else patch.size

    def manifests(self, name: str) -> list[Encoding]:
        """See Shelf."""
        data = None if self._reads_alone else self._ahead.pop(name, None)
        if data is None:
            data = self._connection.ask("GET", f"{self._path}/manifests/{name}", doing="reading manifests").data
        return decode_manifests(data, self._called(name))

    def read_alone(self) -> None:
        """See Shelf."""
        self._reads_alone = True

    def manifest(self, digest: Digest) -> list[Encoding]:
        """See Shelf."""
        with contextlib.suppress(MissingObject):
            path = f"{self._path}/holders/{digest.hex()}"
            data = self._connection.ask("GET", path, doing="reading a manifest").data
            return decode_manifests(data, self._called(str(digest)))
        return []

    def whole(self, digest: Digest) -> Encoding | None:
        """See Shelf."""
        return next((each for each in self.manifest(digest) if each.digest == digest and each.base is None), None)

    def fetch(self, intake: Intake, digests: Sequence[Digest], tell: Tell | None = None) -> Fetched:
        """See Shelf."""
        receiver = Receiver(self._connection, self._path, self._root, intake, tell)
        receiver.receive(digests)
        return Fetched(receiver.absent, receiver.bad)

    def prove(self, root: Root, digests: Sequence[Digest], *, read_all: bool) -> list[Digest]:
        """See Shelf."""
        places = root.blobs.locate(digests)
        sizes = {digest: places[digest].size for digest in dict.fromkeys(digests) if digest in places}
        other: set[bytes] = set()
        chosen = [each for digest, size in sizes.items() for each in choose(digest, size, read_all=read_all)]
        for some in together(chosen):
            for stretch, there in zip(some, self._measured(some), strict=True):
                size = sizes[Digest(stretch.digest)]
                if there is None or there.size != size or there.digest != _hashed(root, stretch, size):
                    other.add(stretch.digest)
        return [digest for digest in sizes if digest not in other]

    def follow(self, remote: Remote, until: int) -> None:
        """See Shelf."""

    def note(self, slot: Slot) -> None:
        """See Shelf."""

    def save(self) -> None:
        """See Shelf."""

    def _lacks(self, digests: Sequence[Digest], which: int) -> list[Digest]:
        return [lacking for some in _portions(digests) for lacking in self._ask(some, which)]

    def _ask(self, digests: Sequence[Digest], which: int) -> list[Digest]:
        asked: list[Sequence[bytes]] = [[], []]
        asked[which] = digests
        body = msgspec.msgpack.encode([list(map(bytes, each)) for each in asked])
        path = f"{self._path}/lacks"
        answer = self._connection.ask("POST", path, body, doing="asking what it has", kind=MESSAGES)
        try:
            *found, self._room = msgspec.msgpack.decode(answer.data, type=tuple[list[bytes], list[bytes], Room | None])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise corrupt(f"{self._connection.url} answers what cannot be read: {error}") from error
        self._is_room_known = True
        lacking = set(found[which])
        return [digest for digest in digests if digest in lacking]

    def _measured(self, stretches: Sequence[Stretch]) -> list[Measured | None]:
        body = msgspec.msgpack.encode(stretches)
        path = f"{self._path}/proofs"
        answer = self._connection.ask("POST", path, body, doing="having shown that it has bytes", kind=MESSAGES)
        try:
            found = msgspec.msgpack.decode(answer.data, type=list[Measured | None])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise corrupt(f"{self._connection.url} answers what cannot be read: {error}") from error
        if len(found) != len(stretches):
            raise corrupt(f"{self._connection.url} answers for {len(found)} blobs and was asked for {len(stretches)}")
        return found

    def _called(self, name: str) -> str:
        return f"the object {name!r} of {self._project!r} at {self._connection.url}"


def _hashed(root: Root, stretch: Stretch, size: int) -> bytes:
    """What a stretch hashes to here. Raises Corrupt where it is damaged."""
    if stretch.length == size:
        return stretch.digest
    with contextlib.closing(root.blobs.open(Digest(stretch.digest))) as here:
        here.seek(stretch.start)
        # Buffered, since the reader alone stops where a block ends.
        return blake3(io.BufferedReader(here).read(stretch.length)).digest()


def _portions(digests: Sequence[Digest]) -> Iterator[Sequence[Digest]]:
    for start in range(0, len(digests), MANY):
        yield digests[start : start + MANY]
