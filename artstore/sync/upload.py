"""Upload: manifests and blobs on their way to a depot, or into a bundle.

Small blobs go together in packs. A pack of the store's own that holds nothing but what is wanted goes as it is; of
others a new one is put together. All bytes are verified before they are named there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3
from xxhash import xxh3_64_intdigest

from artstore.errors import Corrupt
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage import packs, whole
from artstore.storage.files import random_hex, read_exactly, storage_errors
from artstore.storage.gather import PACK_SIZE
from artstore.storage.packs import Member, PackWriter
from artstore.storage.places import WHAT_NOW, Place, gone
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.depots.index import encode_index
from artstore.sync.objects.interface import Target
from artstore.sync.protocol import Tell, encode_manifests, in_objects

UNREADABLE: Final = frozenset({"blob-damaged", "blob-missing", "digest-mismatch", "io-error"})
"""What is said of a blob that was to be sent, and that is not here as it should be."""
_AT_ONCE: Final = 4
"""Objects on their way at a time: each waits for a disk or a network."""
_WINDOW: Final = 8 << 20


class Packed(NamedTuple):
    """Where a small blob lies in a depot."""

    pack: str
    offset: int
    size: int


class Upload:
    """Puts objects of one project into a depot or a bundle."""

    def __init__(
        self,
        objects: Target,
        part: str,
        root: Root,
        session: Session,
        *,
        note: Callable[[str], None],
        tell: Tell | None,
        keep: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """`note` is called with the name of each object that is there, so that a killed upload goes on behind it.

        `keep` is called with the name and the index of each pack, from any thread.
        """
        self.packs: list[str] = []
        """Names of what was put there."""
        self.blobs: list[str] = []
        self._objects = objects
        self._part = part
        self._root = root
        self._session = session
        self._note = note
        self._keep = keep
        self._tell = tell
        self._done = self._bytes = 0
        self._on_way: list[tuple[Future[None], str, int, int]] = []

    def send_manifests(self, encodings: Sequence[Encoding]) -> dict[str, list[str]]:
        """Answers the names of the objects that they are in, with the digests."""
        sent: dict[str, list[str]] = {}
        for some in in_objects(encodings):
            name = random_hex(16)
            data = encode_manifests(some)
            self._objects.write(f"manifests/{self._part}/{name}", [data], len(data))
            sent[name] = [str(encoding.digest) for encoding in some]
        return sent

    def send_blobs(self, digests: Sequence[Digest]) -> None:
        """Send blobs, which must be here. Raises Corrupt (blob-missing, blob-damaged)."""
        if not digests:
            return
        found = self._root.blobs.locate(digests)
        # Of what is nowhere, `places` says so.
        places = [found.get(digest) or self._root.blobs.places(digest)[0] for digest in digests]
        small = sorted((p for p in places if not p.is_whole), key=lambda place: (place.path, place.offset))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artstore-upload") as pool:
            try:
                self._send_small(pool, small)
                for place in places:
                    if place.is_whole:
                        self._send_whole(pool, place)
                self._wait(0)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def send_pack(self, path: Path, members: list[Member]) -> None:
        """Send a pack that was put together in the session's own folder. Raises Corrupt (blob-damaged)."""
        with ThreadPoolExecutor(1, thread_name_prefix="artstore-upload") as pool:
            self._send_pack(pool, path, members)
            self._wait(0)

    def _send_whole(self, pool: ThreadPoolExecutor, place: Place) -> None:
        name = f"{place.digest.hex()}.{random_hex(8)}"

        def send() -> None:
            with storage_errors("reading a blob"):
                try:
                    digest = whole.digest_of_bytes(place.path)
                except FileNotFoundError as error:
                    self._root.blobs.doubt(place.digest)
                    raise gone(place) from error
                if digest != place.digest:
                    self._root.blobs.doubt(place.digest)
                    raise damaged(place.digest)
                self._objects.write_file(f"blobs/{self._part}/{name}", Path(place.path))

        self.blobs.append(name)
        self._begin(pool.submit(send), name, 1, place.size)

    def _send_small(self, pool: ThreadPoolExecutor, places: Sequence[Place]) -> None:
        by_pack: dict[str, list[Place]] = {}
        for place in places:
            by_pack.setdefault(place.path, []).append(place)
        loose: list[Place] = []
        for path, some in by_pack.items():
            members = _members(path)
            if {member.digest for member in members} == {place.digest for place in some}:
                self._send_pack(pool, Path(path), members)
            else:
                loose += some
        start = size = 0
        for at, place in enumerate(loose):
            size += place.size
            if size >= PACK_SIZE or at == len(loose) - 1:
                self._send_pack(pool, *self._packed(loose[start : at + 1]))
                start, size = at + 1, 0

    def _packed(self, places: Sequence[Place]) -> tuple[Path, list[Member]]:
        """A new pack of these blobs, in the session's own folder."""
        with storage_errors("putting a pack together"):
            pack = PackWriter(self._session.scratch() / f"send-{random_hex(4)}{packs.SUFFIX}")
            try:
                for place in places:
                    data = self._root.blobs.read(place.digest)
                    pack.add(place.digest, data, xxh3_64_intdigest(data))
                pack.finish()
            finally:
                pack.close()
        return pack.path, pack.members

    def _send_pack(self, pool: ThreadPoolExecutor, path: Path, members: list[Member]) -> None:
        name = random_hex(16)

        def send() -> None:
            with storage_errors("reading a pack"):
                bad = _first_damaged(path, members)
            if bad is not None:
                self._root.blobs.doubt(bad)
                raise damaged(bad)
            index = encode_index(members)
            self._objects.write_file(f"packs/{self._part}/{name}.tar", path)
            # Last: a pack without its index is not there.
            self._objects.write(f"packs/{self._part}/{name}.idx", [index], len(index))
            if self._keep is not None:
                self._keep(name, index)
            if path.parent == self._session.scratch():
                path.unlink()

        self.packs.append(name)
        self._begin(pool.submit(send), name, len(members), sum(member.size for member in members))

    def _begin(self, future: Future[None], name: str, count: int, size: int) -> None:
        self._on_way.append((future, name, count, size))
        self._wait(2 * _AT_ONCE)

    def _wait(self, most: int) -> None:
        """Return when no more than so many objects are on their way."""
        while len(self._on_way) > most:
            future, name, count, size = self._on_way.pop(0)
            future.result()
            self._note(name)
            self._done += count
            self._bytes += size
            if self._tell is not None:
                self._tell(self._done, self._bytes)


def _members(path: str) -> list[Member]:
    try:
        return list(packs.members(Path(path)))
    except (Corrupt, OSError):
        # Its blobs are read one by one, and what is damaged is named.
        return []


def _first_damaged(path: Path, members: Sequence[Member]) -> Digest | None:
    """The first blob of a pack that is not what its header says, if any."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        start = 0
        window = memoryview(b"")
        for member in members:
            size, offset = member.size, member.offset
            if offset + size > start + len(window):
                start, window = offset, memoryview(read_exactly(fd, max(size, _WINDOW), offset))
            if blake3(window[offset - start : offset - start + size]).digest() != member.digest:
                return member.digest
    finally:
        os.close(fd)
    return None


def damaged(digest: Digest) -> Corrupt:
    """The error for a blob that is not here as it should be."""
    message = f"blob {digest} is damaged, so it was not sent. {WHAT_NOW}"
    return Corrupt(message, code="blob-damaged")
