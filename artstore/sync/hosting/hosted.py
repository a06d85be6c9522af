"""Hosted: the logs that a store keeps for others, with the objects that their slots name."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from artstore.errors import Conflict, Corrupt, Invalid, MissingObject, StorageFull
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.upstream import HOSTED, OWN_LOGS, followed
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.model.names import project_name
from artstore.storage.blob_reader import BlobReader
from artstore.storage.blobs import SMALL
from artstore.storage.files import make_directory
from artstore.storage.granted import Granted
from artstore.storage.marking import Marking
from artstore.storage.places import Place
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session
from artstore.store import Store
from artstore.sync.delta.chunks import SMALLEST, Range, can_cut, chunks_of
from artstore.sync.depot import Depot, part_of
from artstore.sync.hosting.closure import blobs_of, holes, live_manifests
from artstore.sync.hosting.incoming import PatchWriter, Upload, Uploads, Writer
from artstore.sync.hosting.lists import Lists
from artstore.sync.hosting.pins import TURN_S, Pins
from artstore.sync.hosting.spool import Spool
from artstore.sync.http.packing import pack
from artstore.sync.http.stretches import Measured, Stretch, measure
from artstore.sync.http.wire import ABSENT, BODY, LARGE, Claimed, Head, Lacks, Stand, header
from artstore.sync.known import collecting
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.protocol import Sent, Slot, Tell, decode_manifests, decode_slot, read_slot
from artstore.sync.pull import pull
from artstore.sync.push import next_offer, push
from artstore.sync.received import take_manifests
from artstore.sync.remotes import read_remotes
from artstore.sync.shelf import DepotShelf
from artstore.sync.way import Way

_CACHE_KIB: Final = 8_000
_LOOK_S: Final = 60.0
"""How long what a project may give back is not looked for again, unless `gc` has begun meanwhile."""


class Hosted:
    """The logs of a store. Any number of threads may ask; one process at a time keeps them.

    Raises Conflict (locked) where another process does.
    """

    def __init__(self, store: Store, quotas: Mapping[str, int] | None = None) -> None:
        """`quotas` has the bytes that projects may take, by name, and under "" that of each other one."""
        self._root = store.root
        self._quotas = quotas or {}
        self._reserved: dict[str, int] = {}
        self._looked: dict[str, tuple[int, float]] = {}
        """The epoch of `gc`, and when, at which it was looked what a project can give back."""
        self._root.catalog.check_writable()
        folder = store.path / HOSTED
        make_directory(folder)
        self._ending = contextlib.ExitStack()
        self._ending.enter_context(Exclusive(store.path, "hosting"))
        self._objects = FolderObjects(folder)
        self._granted = Granted(folder)
        self._ending.callback(self._granted.close)
        # Each thread that answers has a connection to both: with the usual cache they took 1 GB where much is kept.
        self._root.catalog.cache_kib = self._granted.cache_kib = _CACHE_KIB
        self._uploads = Uploads(folder / "uploads")
        self._lists = Lists(self._objects, folder)
        self._heavy = threading.Lock()
        self._pins = Pins(self._root)
        self._ending.callback(self._pins.close)
        self._remote = _Own(self._objects, self._granted)
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._ready: set[str] = set()

    @property
    def store_id(self) -> str:
        """The id of the store."""
        return self._root.format.store_id

    def close(self) -> None:
        """Let others keep the logs."""
        self._ending.close()

    # The logs.

    def heads(self, only: str | None = None) -> dict[str, Head]:
        """The last slot of each project's log, or of one's; of projects that follow a log elsewhere there is none."""
        catch_up(self._root)
        names = {*(project.name for project in self._root.catalog.projects()), *self._remote.projects()}
        found: dict[str, Head] = {}
        for name in sorted(names if only is None else names & {only}):
            with contextlib.suppress(Conflict), self._way(name) as way:
                last = way.followed
                if last is not None and last.head is not None:
                    found[name] = Head(log=last.log, slot=last.slot, digest=last.head)
        return found

    def slots(self, project: str, number: int) -> list[tuple[bytes, dict[str, bytes]]]:
        """The slots from one on, as far as they go together, each with its objects of manifests while those fit."""
        with self._way(project) as way:
            last = way.followed
        found: list[tuple[bytes, dict[str, bytes]]] = []
        size = 0
        while last is not None and number <= last.slot and size < BODY:
            data = self._remote.slot(project, number)
            assert data is not None
            objects: dict[str, bytes] = {}
            size += len(data)
            for name in decode_slot(data, project, number, self._remote.url).slot.manifests:
                if size < BODY:
                    objects[name] = self.manifests(project, name)
                    size += len(objects[name])
            found.append((data, objects))
            number += 1
        return found

    def claim(self, project: str, number: int, body: Spool) -> Claimed:
        """Claim the next slot of a log, if it is whole. Raises Invalid (bad-slot), UpgradeNeeded."""
        with self._whole(body) as data, self._way(project) as way:
            slot = _read(project, number, data)
            last = way.followed
            if last is not None and number <= last.slot:
                return Claimed(claimed=False)
            expected = (slot.log, 1, None) if last is None else (last.log, last.slot + 1, last.head)
            if (slot.log, number, slot.before) != expected:
                message = f"slot {number} does not follow the last one of {project!r}: pull, and claim the next"
                raise Conflict(message, code="not-the-next")
            shelf = way.shelf(slot.log)
            shelf.follow(self._remote, number - 1)
            encodings, absent = self._encodings(slot)
            missing = holes(self._root, self._granted, slot, encodings)
            if absent or missing.manifests or missing.blobs:
                manifests = [*absent, *map(str, missing.manifests)]
                return Claimed(
                    claimed=False, lacks=Lacks(manifests=manifests, blobs=[digest.hex() for digest in missing.blobs])
                )
            try:
                take_manifests(self._root, f"slot {number}", encodings, shelf.manifest)
            except Corrupt as error:
                raise Invalid(error.message, code="bad-slot") from error
            claimed = self._remote.claim(project, number, data)
            pull(way)
            self._mark(way)
            return Claimed(claimed=claimed)

    # Manifests.

    def put_manifests(self, project: str, name: str, body: Spool) -> None:
        """Keep an object of manifests, to be named by a slot. Raises Invalid (bad-manifests), StorageFull."""
        project_name(project)
        with self.reserved(project, body.size), self._whole(body) as data:
            self._lists.put(project, name, data)

    def manifests(self, project: str, name: str) -> bytes:
        """The bytes of an object of manifests. Raises MissingObject."""
        return self._lists.read(project_name(project), name)

    def holder(self, project: str, digest: Digest) -> bytes:
        """The object that has a manifest. Raises MissingObject."""
        with self._way(project) as way:
            last = way.followed
            if last is not None:
                shelf = self._shelf(project, last.log)
                shelf.follow(self._remote, last.slot)
                name = shelf.holder(digest)
                if name is not None:
                    return self.manifests(project, name)
        message = f"project {project!r} has no manifest {digest}"
        raise MissingObject(message, code="object-missing")

    # Blobs.

    def lacks(
        self, project: str, manifests: Sequence[Digest], blobs: Sequence[Digest]
    ) -> tuple[list[Digest], list[Digest], int | None]:
        """Those that are not there for a project, and how many bytes it may still take, if that is limited.

        What is there stays for an hour at least, so that it can be named.
        """
        self._pins.session()
        live = live_manifests(self._root, project)
        may, here = self._granted.among(project, blobs), self._root.blobs.known(blobs)
        return (
            [digest for digest in manifests if digest not in live],
            [digest for digest in blobs if digest not in may or digest not in here],
            self._room(project),
        )

    def measured(self, project: str, stretches: Sequence[Stretch]) -> list[Measured | None]:
        """What stretches of blobs are here, for a project; these stay for an hour at least. Raises as `measure`."""
        self._pins.session()
        may = self._granted.among(project, [Digest(each.digest) for each in stretches])
        found = iter(measure(self._root, [each for each in stretches if each.digest in may]))
        return [next(found) if each.digest in may else None for each in stretches]

    def spool(self) -> Spool:
        """Where a body is kept until all of it has come."""
        return Spool(self._root)

    def take_packed(self, project: str, body: Spool) -> int:
        """Store small blobs, durably. Raises as Spool.take."""
        with self.reserved(project, body.size):
            taken = body.take(self._root, self._pins.session())
            self._granted.add(project, taken)
        return len(taken)

    def packed(self, project: str, digests: Sequence[Digest]) -> bytes:
        """Frames of blobs, in their order, of as many as go together."""
        may = self._granted.among(project, digests)
        places = self._root.blobs.locate([digest for digest in digests if digest in may])
        parts: list[bytes] = []
        together: list[Place] = []
        size = 0
        for digest in digests:
            place = places.get(digest)
            if place is not None and place.size <= SMALL:
                together.append(place)
                size += place.size
            else:
                parts += (pack(self._root, together), header(digest, ABSENT if place is None else LARGE))
                together = []
            if size >= BODY:
                break
        return b"".join([*parts, pack(self._root, together)])

    def open(self, project: str, digest: Digest) -> BlobReader:
        """A blob that a project may read. Raises MissingObject."""
        if not self._granted.among(project, [digest]):
            message = f"project {project!r} has no blob {digest}"
            raise MissingObject(message, code="object-missing")
        return self._root.blobs.open(digest)

    @staticmethod
    def begun(digest: Digest, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """What is read of a blob, with the first block read already. Raises MissingObject where that is damaged."""
        with _as_missing(digest):
            first = next(blocks, b"")
        return itertools.chain([first], blocks)

    def stand(self, project: str, digest: Digest) -> Stand:
        """How much has come of a large blob."""
        if not self.lacks(project_name(project), [], [digest])[1]:
            return Stand(offset=0, checksum="", done=True)
        return self.upload(project, digest).stand()

    def upload(self, project: str, digest: Digest) -> Upload:
        """A large blob that is being received."""
        return self._uploads.of(part_of(project_name(project)), digest)

    def begin(self, project: str, digest: Digest, start: int, size: int, base: Digest | None) -> Writer | PatchWriter:
        """Go on with a large blob of so many bytes; with a base, by a patch of that.

        Raises Conflict as Upload.begin; MissingObject where the project has no such base.
        """
        if base is None:
            return self.upload(project, digest).begin(start, size)
        reader = self.open(project, base)
        try:
            return PatchWriter(self.upload(project, digest).begin(start, size), reader, size - start)
        except BaseException:
            reader.close()
            raise

    def chunks(self, project: str, digest: Digest, mean: int, ranges: Sequence[Range]) -> tuple[int, list[bytes]]:
        """The size of a large blob, and the chunks of some of its stretches. Raises MissingObject."""
        with self.open(project, digest) as reader, _as_missing(digest):
            if reader.size < SMALLEST or not can_cut():
                message = f"blob {digest} is not cut into chunks here: ask for all of it"
                raise MissingObject(message, code="object-missing")
            return reader.size, chunks_of(reader, mean, ranges)

    def finish(self, project: str, digest: Digest, size: int) -> bool:
        """Store a large blob if all of it has come; False if not. Raises Invalid (digest-mismatch), StorageFull."""
        has_ended = self.upload(project, digest).finish(self._root, self._pins.session(), size)
        if has_ended:
            self._granted.add(project, [(digest, size)])
        return has_ended

    def sizes(self) -> dict[str, int]:
        """The bytes that each project takes: of its blobs, of its lists of files, and of what is on its way."""
        return {project.name: self._size(project.name) for project in self._root.catalog.projects()}

    @contextlib.contextmanager
    def reserved(self, project: str, size: int) -> Iterator[None]:
        """Keep so many bytes of a project's quota for what comes. Raises StorageFull (quota-exceeded)."""
        quota = self._quotas.get(project_name(project), self._quotas.get(""))
        taken = self._reserve(project, size, quota)
        if taken is not None and self._is_news(project):
            self._give_back(project)
            taken = self._reserve(project, size, quota)
        if taken is not None:
            message = (
                f"project {project!r} may have {quota} bytes and has {taken}: {size} more do not fit. Delete versions "
                "everywhere, which gives back what `artstore gc` frees on the server, or ask whoever keeps it for more"
            )
            raise StorageFull(message, code="quota-exceeded")
        try:
            yield
        finally:
            with self._lock:
                self._reserved[project] -= size
                if not self._reserved[project]:
                    del self._reserved[project]

    def _reserve(self, project: str, size: int, quota: int | None) -> int | None:
        """Reserve if it fits; answers how much is taken where it does not."""
        with self._lock:
            reserved = self._reserved.get(project, 0)
            if quota is not None and (taken := self._size(project) + reserved) + size > quota:
                return taken
            self._reserved[project] = reserved + size
            return None

    def _room(self, project: str) -> int | None:
        quota = self._quotas.get(project, self._quotas.get(""))
        if quota is None:
            return None
        if self._is_news(project):
            self._give_back(project)
        with self._lock:
            return max(0, quota - self._size(project) - self._reserved.get(project, 0))

    def _is_news(self, project: str) -> bool:
        """Whether `gc` may have freed something since it was looked at last: it takes a while, and anybody may ask."""
        epoch, now = self._root.catalog.epoch(), time.monotonic()
        with self._lock:
            before, at = self._looked.get(project, (-1, 0.0))
            is_news = epoch != before or now - at > _LOOK_S
            if is_news:
                self._looked[project] = epoch, now
        return is_news

    def _give_back(self, project: str) -> None:
        """Let a project's quota be free of what its versions do not need any more and `gc` has freed."""
        # Nothing is named meanwhile: who would name what is taken back is told to send it again.
        with contextlib.suppress(Conflict), self._way(project):
            self._take_back(project)

    def _take_back(self, project: str) -> None:
        needed = self._needed(project)
        for some in self._granted.all_of(project):
            free = [digest for digest in some if digest not in needed]
            here, others = self._root.blobs.locate(free), self._granted.among_others(project, free)
            # What another project has too stays for that one's sake, and counts there.
            self._granted.remove(project, [each for each in free if each not in here or each in others])

    def _needed(self, project: str) -> dict[bytes, int]:
        found = self._root.catalog.project(project)
        return {} if found is None else Marking(self._root.catalog).needed_by(found.id)

    def _size(self, project: str) -> int:
        return self._granted.size(project) + self._lists.size(project) + self._uploads.sizes(part_of(project))

    def rest(self, after_s: float = 2 * TURN_S) -> None:
        """Let go of what was sent so long ago and never named; called from time to time."""
        self._pins.rest(after_s)
        self._uploads.tidy()
        for project in self._remote.projects():
            with contextlib.suppress(Conflict), self._way(project) as way:
                if self._is_news(project):
                    self._take_back(project)
                last = way.followed
                if last is not None:
                    shelf = self._shelf(project, last.log)
                    shelf.follow(self._remote, last.slot)
                    self._lists.tidy(project, shelf.known.manifests)

    # Inside.

    @contextlib.contextmanager
    def _whole(self, body: Spool) -> Iterator[bytes]:
        """All of a body in memory: of long ones only one at a time is."""
        with self._heavy if body.is_long else contextlib.nullcontext():
            yield body.read()

    @contextlib.contextmanager
    def _way(self, project: str) -> Iterator[Way]:
        """The way into a project's log, alone, with all that was committed on this machine claimed.

        Raises Conflict (not-the-owner) where the project follows a log elsewhere.
        """
        project_name(project)
        with self._lock:
            lock = self._locks.setdefault(project, threading.Lock())
        with lock, self._root.session("serve") as session:
            way = Way(self._root, session, self._remote, project, join=True, progress=None)
            if project not in self._ready:
                self._prepare(way)
                self._ready.add(project)
            if next_offer(self._root, project) is not None:
                push(way)
                self._mark(way)
            yield way

    def _mark(self, way: Way) -> None:
        """Let it be known in the store that others rely on this log: what is deleted here goes for all of them."""
        last = way.followed
        if last is not None:
            make_directory(self._root.path / OWN_LOGS)
            (self._root.path / OWN_LOGS / last.log).touch()

    def _prepare(self, way: Way) -> None:
        last = followed(self._root, way.project)
        if last is not None:
            first = read_slot(self._remote, way.project, 1)
            if first is None or first.slot.log != last.log:
                message = (
                    f"project {way.project!r} follows a log that is kept elsewhere, and so has none here: ask for it "
                    "where that is"
                )
                raise Conflict(message, code="not-the-owner")
        elif upstream := next((name for name, each in read_remotes(self._root.path).items() if each.upstream), None):
            message = (
                f"project {way.project!r} is on its way to {upstream!r}, the upstream of this store, and so has no log "
                "here: ask for it where that is"
            )
            raise Conflict(message, code="not-the-owner")
        # A claim may have been the last thing that was done.
        pull(way)
        self._mark(way)
        if not self._granted.size(way.project):
            needed = self._needed(way.project)
            self._granted.add(way.project, ((Digest(digest), size) for digest, size in needed.items()))

    def _encodings(self, slot: Slot) -> tuple[list[Encoding], list[str]]:
        """The manifests that a slot brings, and the digests of those whose object is not there."""
        encodings: list[Encoding] = []
        absent: list[str] = []
        for name, digests in slot.manifests.items():
            try:
                found = decode_manifests(self.manifests(slot.project, name), f"the object {name!r}")
            except MissingObject:
                absent += digests
                continue
            if [str(encoding.digest) for encoding in found] != digests:
                message = f"the object {name!r} has other manifests than the slot says"
                raise Invalid(message, code="bad-slot")
            encodings += found
        return encodings, absent

    def _shelf(self, project: str, log: str) -> DepotShelf:
        return DepotShelf(self._objects, self._root.path, project, part_of(project), log)


@contextlib.contextmanager
def _as_missing(digest: Digest) -> Iterator[None]:
    """What is damaged cannot be built upon, and is no failure of who asks."""
    try:
        yield
    except Corrupt as error:
        message = f"blob {digest} cannot be read here: {error.message}"
        raise MissingObject(message, code="object-missing") from error


class _Own(Depot):
    """A store's own logs, as it follows them itself: blobs have not to be moved."""

    def __init__(self, objects: FolderObjects, granted: Granted) -> None:
        super().__init__(objects)
        self._granted = granted

    def claimed(self, project: str, number: int) -> None:
        """See Remote. A server gives many slots in one answer."""

    def shelf(self, root: Root, project: str, log: str) -> DepotShelf:
        """See Remote."""
        return _OwnShelf(self._objects, root.path, project, part_of(project), log, granted=self._granted)


class _OwnShelf(DepotShelf):
    """The objects of a log of the store's own."""

    def __init__(self, *args: object, granted: Granted) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._granted = granted

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:  # noqa: ARG002 - they are where they have to be
        """See Shelf."""
        return []

    def send(
        self,
        root: Root,
        session: Session,
        manifests: Sequence[Encoding],
        blobs: Sequence[Digest],
        tell: Tell | None = None,
    ) -> Sent:
        """See Shelf."""
        named = [(blob.digest, blob.size) for blob in blobs_of(manifests)]
        root.blobs.check_stored([digest for digest, _ in named])
        self._granted.add(self._project, named)
        return super().send(root, session, manifests, blobs, tell)


def _read(project: str, number: int, data: bytes) -> Slot:
    """Read what is to be claimed. Raises Invalid (bad-slot), UpgradeNeeded."""
    try:
        slot = decode_slot(data, project, number, "its sender").slot
    except Corrupt as error:
        raise Invalid(error.message, code="bad-slot") from error
    if slot.packs or slot.blobs:
        message = f"slot {number} names objects of a depot, which a server has not"
        raise Invalid(message, code="bad-slot")
    if any(collecting(slot)):
        message = f"slot {number} is about the objects of a depot, which a server collects by itself"
        raise Invalid(message, code="bad-slot")
    return slot
