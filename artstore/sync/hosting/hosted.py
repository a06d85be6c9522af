"""Hosted: the logs that a store keeps for others, with the objects that their slots name."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from artstore.errors import ArtstoreError, Conflict, Corrupt, Invalid, MissingObject
from artstore.lifecycle.commit import refuse_twin
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.served import live_manifests
from artstore.lifecycle.upstream import HOSTED, OWN_LOGS, followed, keeps_log
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.model.names import project_name
from artstore.model.parts import part_of
from artstore.model.records import decode_op
from artstore.storage.files import make_directory
from artstore.storage.granted import Granted
from artstore.storage.sessions import Exclusive
from artstore.store import Store
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.hosting.blobs import HostedBlobs
from artstore.sync.hosting.closure import holes, needed_blobs, read_claim
from artstore.sync.hosting.incoming import Uploads
from artstore.sync.hosting.lists import Lists
from artstore.sync.hosting.mend import Mending, is_needed, mend_list, mend_lists
from artstore.sync.hosting.own import OwnLogs
from artstore.sync.hosting.pins import TURN_S, Pins
from artstore.sync.hosting.quotas import Quotas
from artstore.sync.hosting.spool import Spool
from artstore.sync.hosting.usage import Usage
from artstore.sync.http.wire import BODY, MANY, Claimed, Head, Lacks
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.objects.interface import STALE_S
from artstore.sync.protocol import GONE, LEAST_OBJECT, Slot, decode_manifests, encode_manifests, read_slot
from artstore.sync.pull import pull
from artstore.sync.push import next_offer, push
from artstore.sync.received import take_manifests
from artstore.sync.remotes import read_remotes
from artstore.sync.room import Room, only_ends
from artstore.sync.way import Way

_CACHE_KIB: Final = 8_000


class Hosted:
    """The logs of a store. Any number of threads may ask; one process at a time keeps them.

    Raises Conflict (locked) where another process does.
    """

    def __init__(self, store: Store, quotas: Mapping[str, int] | None = None) -> None:
        """`quotas` has the bytes that projects may take, by name, and under "" that of each other one."""
        self._root = store.root
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
        self._long = threading.Lock()
        self._pins = Pins(self._root)
        self._ending.callback(self._pins.close)
        self._remote = OwnLogs(self._objects, folder, self._granted, self._lists)
        usage = Usage(self._granted, self._lists, self._uploads, self._remote)
        self.quotas = Quotas(self._root, quotas or {}, self._granted, usage, self._pins, alone=self._way)
        self.blobs = HostedBlobs(self._root, self._granted, self._uploads, self._pins, self.quotas)
        self._mending = Mending(self._root, self._remote)
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._ready: set[str] = set()
        self._tidied_s = -math.inf

    @property
    def store_id(self) -> str:
        """The id of the store."""
        return self._root.format.store_id

    def close(self) -> None:
        """Let others keep the logs."""
        self._ending.close()

    # The logs.

    def heads(self, only: str | None = None) -> dict[str, Head]:
        """The last slot of each project's log, or of one's; of projects that follow a log elsewhere there is none.

        A log that has lost a slot goes as far as it did, and whoever reads it is told.
        """
        catch_up(self._root)
        names = {*(project.name for project in self._root.catalog.projects()), *self._remote.projects()}
        found: dict[str, Head] = {}
        for name in sorted(names if only is None else names & {only}):
            with contextlib.suppress(ArtstoreError), self._way(name):
                pass
            last = followed(self._root, name) if keeps_log(self._root, name) else None
            if last is not None and last.head is not None:
                found[name] = Head(log=last.log, slot=last.slot, digest=last.head)
        return found

    def slots(self, project: str, number: int) -> list[tuple[bytes, dict[str, bytes]]]:
        """The slots from one on, as far as they go together, each with its objects of manifests while those fit.

        Raises Corrupt (slot-lost, remote-corrupt) where the first one is lost or damaged.
        """
        with self._way(project) as way:
            last = way.followed
        found: list[tuple[bytes, dict[str, bytes]]] = []
        size, before = 0, None
        while last is not None and number <= last.slot and size < BODY and len(found) < MANY:
            try:
                data, slot, before = self._remote.whole_slot(project, number, before, last)
            except Corrupt:
                if not found:
                    raise
                # Those before it are of use.
                break
            objects: dict[str, bytes] = {}
            size += len(data)
            for name in slot.manifests:
                # What is lost is said to who asks for it.
                with contextlib.suppress(MissingObject):
                    length, blocks = self.manifests(project, name)
                    if LEAST_OBJECT <= length <= BODY - size:
                        objects[name] = b"".join(blocks)
                        size += length
            found.append((data, objects))
            number += 1
        return found

    def claim(self, project: str, number: int, body: Spool) -> Claimed:
        """Claim the next slot of a log, if it is whole, or one that was lost, with the bytes that it had.

        Raises Invalid (bad-slot), UpgradeNeeded, StorageFull, Corrupt where another one is lost that is needed.
        """
        with self._whole(body) as data:
            slot = read_claim(project, number, data)
            try:
                with self._way(project) as way:
                    last = way.followed
                    if last is None or number > last.slot:
                        return self._claim_next(way, slot, data)
            except Corrupt:
                if not self._put_back(project, number, data):
                    raise
                return Claimed(claimed=True)
            return Claimed(claimed=self._put_back(project, number, data))

    def lost(self, project: str) -> list[int]:
        """The slots of a log that are lost or damaged. Lists of files that are, it makes again first."""
        lost = self._mending.lost(project_name(project))
        if not lost and mend_lists(self._root, self._objects, self._remote, project).mended:
            self._lists.recount(project)
        return lost

    def _put_back(self, project: str, number: int, data: bytes) -> bool:
        with self._alone(project):
            is_back = self._mending.put_back(project, number, data)
            if is_back:
                # It may have kept those behind it from being counted.
                self._ready.discard(project)
            return is_back

    def _claim_next(self, way: Way, slot: Slot, data: bytes) -> Claimed:
        project, number, last = way.project, slot.number, way.followed
        expected = (slot.log, 1, None) if last is None else (last.log, last.slot + 1, last.head)
        if (slot.log, number, slot.before) != expected:
            message = f"slot {number} does not follow the last one of {project!r}: pull, and claim the next"
            raise Conflict(message, code="not-the-next")
        if not slot.transactions:
            # Whoever sends lost bytes again needs none here, and there could be any number of them.
            message = f"slot {number} has no ops"
            raise Invalid(message, code="bad-slot")
        if last is None and self._root.catalog.project(project) is None:
            # What was claimed and cannot be counted would stand there for ever.
            refuse_twin(self._root, project)
        self.quotas.check_slot(project, len(data), ends=only_ends(decode_op(bytes(raw)) for raw in slot.ops))
        shelf = way.shelf(slot.log)
        shelf.follow(self._remote, number - 1)
        encodings, absent = self._encodings(slot)
        # All entries of a long list are in memory while it is read: of such lists one at a time.
        with self._long if sum(each.entries for each in encodings) > MANY else contextlib.nullcontext():
            missing = holes(self._root, self._granted, slot, encodings)
            if absent or missing.manifests or missing.blobs:
                manifests = [*absent, *map(str, missing.manifests)]
                blobs = [digest.hex() for digest in missing.blobs]
                return Claimed(claimed=False, lacks=Lacks(manifests=manifests, blobs=blobs))
            try:
                take_manifests(self._root, f"slot {number}", encodings, shelf.manifest)
            except Corrupt as error:
                raise Invalid(error.message, code="bad-slot") from error
        claimed = self._remote.claim(project, number, data)
        pull(way)
        self._mark(way)
        self._granted.note_named(project, missing.named)
        self.quotas.note_slot(project)
        return Claimed(claimed=claimed)

    # Manifests.

    def put_manifests(self, project: str, name: str, body: Spool) -> None:
        """Keep an object of manifests, to be named by a slot. Raises Invalid (bad-manifests), StorageFull."""
        project_name(project)
        with self.quotas.reserved(project, body.size), self._whole(body) as data:
            self._lists.put(project, name, data)

    def manifests(self, project: str, name: str) -> tuple[int, Iterator[bytes]]:
        """The size of an object of manifests, which is made again where it is lost, and its bytes.

        Raises MissingObject; with the code object-gone where some of what it had can be made no more, and no version
        needs that: the rest is had one by one (`holder`).
        """
        try:
            return self._lists.open(project_name(project), name)
        except MissingObject as error:
            if not mend_list(self._root, self._objects, self._remote, project, name):
                if not is_needed(self._root, self._objects, self._remote, project, name):
                    raise MissingObject(error.message, code=GONE) from error
                raise
        self._lists.recount(project)
        return self._lists.open(project, name)

    def holder(self, project: str, digest: Digest) -> tuple[int, Iterator[bytes]]:
        """An object that has a manifest, as `manifests`; that of a version has it whole. Raises MissingObject."""
        with self._way(project) as way:
            if digest in live_manifests(self._root, project):
                lines = (entry.line() for entry in self._root.manifests.entries(digest))
                data = encode_manifests([encode_full(digest, lines)])
                return len(data), iter([data])
            last = way.followed
            if last is not None:
                shelf = self._shelf(project, last.log)
                shelf.follow(self._remote, last.slot)
                name = shelf.holder(digest)
                if name is not None:
                    return self.manifests(project, name)
        message = f"project {project!r} has no manifest {digest}"
        raise MissingObject(message, code="object-missing")

    def lacks(
        self, project: str, manifests: Sequence[Digest], blobs: Sequence[Digest]
    ) -> tuple[list[Digest], list[Digest], Room | None]:
        """Those that are not there for a project, and how it is with its quota, if it has one.

        What is there stays for an hour at least, so that it can be named.
        """
        missing = self.blobs.lacks(project, blobs)
        live = live_manifests(self._root, project)
        return [digest for digest in manifests if digest not in live], missing, self.quotas.room(project)

    def spool(self) -> Spool:
        """Where a body is kept until all of it has come."""
        return Spool(self._root)

    def rest(self, after_s: float = 2 * TURN_S) -> None:
        """Let go of what was sent so long ago and never named; called from time to time."""
        self._pins.rest(after_s)
        self._uploads.tidy()
        now_s = time.monotonic()
        if now_s - self._tidied_s > STALE_S:
            # What was being written when a server was killed; all that lies there is looked at for that.
            with contextlib.suppress(ArtstoreError):
                self._objects.tidy()
                self._tidied_s = now_s
        # Of some nothing but blobs may ever have come.
        for project in sorted({*self._remote.projects(), *self._granted.projects()}):
            # What has lost something is told to who asks for it, and holds up no other.
            with contextlib.suppress(ArtstoreError), self._way(project) as way:
                self.quotas.take_back(project)
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

        Raises Conflict (not-the-owner) where the project follows a log elsewhere, Corrupt (slot-lost, remote-corrupt).
        """
        with self._alone(project), self._root.session("serve") as session:
            way = Way(self._root, session, self._remote, project, join=True, progress=None)
            with self._losing(way):
                if project not in self._ready:
                    self._prepare(way)
                    self._ready.add(project)
                if next_offer(self._root, project) is not None:
                    push(way)
                    self._mark(way)
                    self.quotas.note_slot(project)
            yield way

    @contextlib.contextmanager
    def _alone(self, project: str) -> Iterator[None]:
        with self._lock:
            lock = self._locks.setdefault(project_name(project), threading.Lock())
        with lock:
            yield

    @contextlib.contextmanager
    def _losing(self, way: Way) -> Iterator[None]:
        """A log that is kept here was not set back where it lacks what the journal has: its last slot is lost."""
        try:
            yield
        except Conflict as error:
            last = way.followed
            if error.code != "rolled-back" or last is None:
                raise
            self._remote.whole_slot(way.project, last.slot, None, last)
            raise

    def _mark(self, way: Way) -> None:
        """Let it be known in the store that others rely on this log: what is deleted here goes for all of them."""
        last = way.followed
        if last is not None:
            make_directory(self._root.path / OWN_LOGS)
            (self._root.path / OWN_LOGS / last.log).touch()

    def _prepare(self, way: Way) -> None:
        last = followed(self._root, way.project)
        if last is not None and not keeps_log(self._root, way.project):
            first = read_slot(self._remote, way.project, 1)
            if first is None or first.slot.log != last.log:
                message = (
                    f"project {way.project!r} follows a log that is kept elsewhere, and so has none here: ask for it "
                    "where that is"
                )
                raise Conflict(message, code="not-the-owner")
        upstream = next((name for name, each in read_remotes(self._root.path).items() if each.upstream), None)
        if last is None and upstream is not None:
            message = (
                f"project {way.project!r} is on its way to {upstream!r}, the upstream of this store, and so has no log "
                "here: ask for it where that is"
            )
            raise Conflict(message, code="not-the-owner")
        # A claim may have been the last thing that was done, and its name not be certain yet.
        self._remote.settle(way.project)
        pull(way)
        last = way.followed
        self._remote.check_end(way.project, 1 if last is None else last.slot + 1)
        self._mark(way)
        if not self._granted.size(way.project):
            needed = needed_blobs(self._root, way.project)
            self._granted.add(way.project, ((Digest(digest), size) for digest, size in needed.items()))

    def _encodings(self, slot: Slot) -> tuple[list[Encoding], list[str]]:
        """The manifests that a slot brings, and the digests of those whose object is not there."""
        encodings: list[Encoding] = []
        absent: list[str] = []
        for name, digests in slot.manifests.items():
            try:
                found = decode_manifests(self._lists.read(slot.project, name), f"the object {name!r}")
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
