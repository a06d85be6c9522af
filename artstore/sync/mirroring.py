"""Mirroring: a log is taken to a mirror and from it, with what waits.

A push brings the slots of the log that a project follows, or of its own where it follows none, and all that no upstream
has accepted yet. A pull takes both: slots count as they do from the upstream, and what waits in others waits here too,
behind what is here, until somebody reaches the upstream; in the store that owns the log it counts at once. Their bytes
come along, since whoever has them may be out of reach by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from artstore.errors import ArtstoreError, Conflict
from artstore.lifecycle.progress import Tick, telling
from artstore.lifecycle.upstream import Followed, TakenSlot, accept, take, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Encoding, blob_of
from artstore.model.records import Relog, brings, decode_op, kind_of, manifest_of
from artstore.storage.catalog import Project
from artstore.storage.intake import Intake
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.sync.held import Missing
from artstore.sync.history import History, brought, history
from artstore.sync.mirror import Mirror, MirrorShelf, Page, Pending, encode_page
from artstore.sync.offered import holes, new_ops
from artstore.sync.protocol import ReadSlot, Sent, corrupt, decode_slot, read_slot, slot_again
from artstore.sync.pull import counted, refuse_apart, slots_to_take
from artstore.sync.push import Cargo, lacking, offers, what_is_left, what_is_missing
from artstore.sync.received import take_manifests
from artstore.sync.reports import Moved
from artstore.sync.way import Way

_PAGE_BYTES: Final = 4 << 20
"""Slots of one page, at most but for the last slot."""
_TRIES: Final = 100
_SHOWN: Final = 3


class MirrorWay(NamedTuple):
    """Between one project of a store and a mirror."""

    way: Way
    mirror: Mirror
    has_upstream: bool
    """Whether the store names one, so that what no log has accepted waits for it."""

    @property
    def shelf(self) -> MirrorShelf:
        """What lies there, as far as the pages say so."""
        log = self.mirror.log(self.way.project)
        shelf = self.mirror.shelf(self.way.root, self.way.project, log or "none")
        shelf.follow(self.mirror, self.mirror.last(self.way.project))
        return shelf


def push_to_mirror(there: MirrorWay, *, dry_run: bool = False) -> tuple[Moved, ArtstoreError | None]:
    """Bring a mirror what it lacks of a project's log, and say there what waits here.

    Answers how much it was, and why some of what waits stays here, where bytes are missing. Raises Conflict (other-log)
    where it has another log of that project, or another slot in one place of it.
    """
    project = there.way.root.catalog.project(there.way.project)
    if project is None or not project.seq:
        return Moved(), None
    owns = project.upstream is None
    # A log of its own that is to end with the first push to the upstream is not one for others to follow.
    moved = Moved() if owns and there.has_upstream else _push_slots(there, project, dry_run=dry_run)
    missing = Missing()
    while isinstance(offered := _push_pending(there, project, missing, dry_run=dry_run), Missing):
        missing = missing.plus(offered)
    return moved.plus(offered), what_is_left(there.way, missing)


def pull_from_mirror(there: MirrorWay, *, dry_run: bool = False) -> Moved:
    """Take what a mirror has of a log and of what waits in other stores; answers how much it was.

    What waits in a store and would be a version without its list of files is left there, with all that waits in that
    store, and all else is taken. Raises Conflict (offer-incomplete) then, Conflict (other-log, needs-join), Corrupt
    (remote-corrupt), UpgradeNeeded.
    """
    moved = _pull_slots(there, dry_run=dry_run)
    return moved.plus(_pull_pending(there, dry_run=dry_run))


def _push_slots(there: MirrorWay, project: Project, *, dry_run: bool) -> Moved:
    way, mirror, _ = there
    known = history(way.root, project)
    moved = Moved()
    for _ in range(_TRIES):
        done = mirror.last(way.project)
        _check_same(there, known, min(done, len(known.slots)))
        shelf = there.shelf
        for slots in _pages(known.slots[done:]):
            whole = [slot_again(slot.frame, slot.ops) for slot in slots]
            came = brought(way.root, project, (bytes(raw) for slot in slots for raw in slot.ops))
            cargo = lacking(way.root, shelf, list(came.manifests))
            if not dry_run:
                sent = _send(way, shelf, cargo)
                if not mirror.claim(way.project, slots[0].number, encode_page(whole, sent, list(came.forgotten))):
                    break
            read = [
                decode_slot(data, way.project, slot.number, way.place).slot
                for data, slot in zip(whole, slots, strict=True)
            ]
            moved = moved.plus(counted(read)).plus(Moved(blobs=len(cargo.blobs), bytes=cargo.bytes))
            if not dry_run:
                for slot in read:
                    shelf.note(slot)
                shelf.save()
        else:
            return moved
    message = f"{_TRIES} times in a row others wrote to {way.place} first: repeat later"
    raise Conflict(message, code="busy")


def _push_pending(there: MirrorWay, project: Project, missing: Missing, *, dry_run: bool) -> Moved | Missing:
    """Say there what waits here and can be sent; or answers what more is missing for that."""
    way, mirror, has_upstream = there
    own = way.root.format.store_id
    count, before = next(((n, said) for store, n, said in mirror.pending(way.project) if store == own), (0, None))
    if before is not None and not dry_run and (new := _new_in(way, before)):
        # This store is an older copy of itself, or one of two: what only the mirror has must not end now.
        _take_pending(there, own, before, new)
    waits = has_upstream or project.upstream is not None
    offered = offers(way.root, way.project, None, missing, renumber=way.renumber, apart=True) if waits else []
    moved = Moved()
    pending: Pending | None = None
    if offered:
        transactions = [[msgspec.Raw(op.body) for op in ops] for offer in offered for ops in offer.transactions]
        pending = Pending(transactions=transactions)
        if before is not None and before.ids == pending.ids:
            return moved
        shelf = there.shelf
        if before is not None:
            shelf.borrow(before)
        manifests = [digest for offer in offered for digest in offer.manifests]
        cargo = Cargo([], {})
        try:
            cargo = lacking(way.root, shelf, manifests)
            sent = Sent({}, [], []) if dry_run else _send(way, shelf, cargo)
        except ArtstoreError as error:
            more = what_is_missing(way.root, shelf, manifests, list(cargo.blobs), error)
            if not more:
                raise
            return more
        for offer in offered:
            moved = moved.plus(msgspec.structs.replace(offer.counted(), slots=0))
        moved = moved.plus(Moved(blobs=len(cargo.blobs), bytes=cargo.bytes))
        lying = before or Pending(transactions=[])
        pending = Pending(
            transactions=transactions,
            manifests={**lying.manifests, **sent.manifests},
            packs=[*lying.packs, *sent.packs],
            blobs=[*lying.blobs, *sent.blobs],
        )
    is_said = dry_run or (pending is None and before is None) or mirror.offer(way.project, own, count, pending)
    return moved if is_said else _push_pending(there, project, missing, dry_run=dry_run)


def _send(way: Way, shelf: MirrorShelf, cargo: Cargo) -> Sent:
    blobs = list(cargo.blobs)
    # Not all that a version has must be here.
    way.root.blobs.bring(blobs)
    return shelf.send(way.root, way.session, cargo.manifests, blobs, telling(way.progress, "push"))


def _check_same(there: MirrorWay, known: History, number: int) -> None:
    """Raise Conflict (other-log) where the mirror has another log than this, or another slot of this number."""
    way, mirror, _ = there
    log = mirror.log(way.project)
    if log is None or number == 0:
        return
    found = read_slot(mirror, way.project, number)
    if log != known.log or found is None or found.digest != known.head(number):
        message = (
            f"{way.place} has another log than the one of this store, or the same one in another state: nothing was "
            "moved. A mirror has one log of a project; name a place of its own for this one"
        )
        raise Conflict(message, code="other-log")


def _pull_slots(there: MirrorWay, *, dry_run: bool) -> Moved:
    way, mirror, _ = there
    log = mirror.log(way.project)
    project = way.root.catalog.project(way.project)
    if log is None:
        return Moved()
    known = None if project is None or not project.seq else history(way.root, project)
    if known is not None and (known.log == log or way.followed is not None):
        _check_same(there, known, min(mirror.last(way.project), len(known.slots)))
    elif known is not None and not way.join:
        refuse_apart(mirror, way.project, {op.id for op in waiting(way.root, way.project)})
    if known is not None and known.log == log and way.followed is None:
        # It is this store's own, which nobody else writes to.
        return Moved()
    moved = Moved()
    shelf = there.shelf
    last = way.followed or Followed(log, 0, None)
    while (page := mirror.page(way.project, last.slot + 1)) is not None:
        slots, last = _behind(way, mirror, page.first, page.page, last)
        if not dry_run:
            _take_page(way, shelf, slots, page.page)
        moved = moved.plus(counted(each.slot for each in slots))
        way.tell(Tick("pull", moved.ops))
    return moved


def _behind(way: Way, mirror: Mirror, first: int, page: Page, last: Followed) -> tuple[list[ReadSlot], Followed]:
    """The slots of a page that come behind the last one that is counted, each checked to follow the one before."""
    slots: list[ReadSlot] = []
    for number in range(last.slot + 1, first + len(page.slots)):
        found = read_slot(mirror, way.project, number)
        if found is None or (found.slot.log, found.slot.before) != (last.log, last.head):
            raise corrupt(f"slot {number} of {way.place} does not follow the one before")
        slots.append(found)
        last = Followed(last.log, number, found.digest)
    return slots, last


def _take_page(way: Way, shelf: MirrorShelf, slots: Sequence[ReadSlot], page: Page) -> None:
    root = way.root
    bodies = [bytes(raw) for each in slots for raw in each.slot.ops]
    came = {encoding.digest: encoding for encoding in shelf.encodings(page)}
    needed: dict[Digest, Encoding] = {}
    for named in filter(None, (manifest_of(decode_op(body)) for body in bodies)):
        digest = Digest.parse(named)
        if root.manifests.find(digest) is None and digest not in needed:
            found = [came[digest]] if digest in came else shelf.manifest(digest)
            needed.update({each.digest: each for each in found if each.digest == digest})
    taken = take_manifests(root, way.place, list(needed.values()), shelf.manifest)
    versions = {brings(str(Digest.of(body)), decode_op(body)) for body in bodies}
    accept(
        root,
        way.session,
        way.project,
        slots[0].slot.log,
        slots_to_take(slots),
        attachments=Attachments(manifests=taken),
        forget=[version for version in page.forgotten if version in versions],
    )


def _pull_pending(there: MirrorWay, *, dry_run: bool) -> Moved:
    way, mirror, _ = there
    moved = Moved()
    refused: Conflict | None = None
    for store, _count, pending in mirror.pending(way.project):
        new = _new_in(way, pending)
        if not new:
            continue
        if dry_run:
            ops = [decode_op(bytes(raw)) for transaction in pending.transactions for raw in transaction]
            moved = moved.plus(Moved(ops=len(ops), versions=sum(kind_of(op) == "commit" for op in ops)))
            continue
        try:
            moved = moved.plus(_take_pending(there, store, pending, new))
        except Conflict as error:
            if error.code != "offer-incomplete":
                raise
            # What waits in other stores does not wait for this one.
            refused = refused or error
    if refused is not None:
        raise refused
    return moved


def _new_in(way: Way, pending: Pending) -> list[bytes]:
    return new_ops(way.root, way.project, (bytes(raw) for each in pending.transactions for raw in each))


def _take_pending(there: MirrorWay, store: str, pending: Pending, new: Sequence[bytes]) -> Moved:
    """Bytes first, then lists of files, then ops."""
    way, root = there.way, there.way.root
    shelf = there.shelf
    shelf.borrow(pending)
    where = f"what waits in store {store}, as {way.place} has it,"
    encodings = {encoding.digest: encoding for encoding in shelf.encodings(pending)}
    # What is equal to a version of the log was brought with that one.
    equal = {Digest.parse(op.record.manifest) for op in map(decode_op, new) if isinstance(op, Relog)}
    for digest in sorted(equal):
        if digest not in encodings and root.manifests.find(digest) is None:
            encodings.update({each.digest: each for each in shelf.manifest(digest) if each.digest == digest})
    attachments: Attachments | None = Attachments(
        manifests=take_manifests(root, where, list(encodings.values()), shelf.manifest)
    )
    missing = holes(root, way.project, new)
    if missing:
        message = (
            f"{where} names lists of files that are not there and not here: {', '.join(map(str, missing[:_SHOWN]))}. "
            "Nothing of it was taken: push to the mirror from that store again, or to the upstream"
        )
        raise Conflict(message, code="offer-incomplete")
    manifests = {*encodings, *(digest for digest in equal if root.manifests.find(digest) is not None)}
    blobs = {blob.digest: blob.size for each in sorted(manifests) for blob in _blobs_of(root, each)}
    here = root.blobs.known(list(blobs))
    absent = [digest for digest in blobs if digest not in here]
    with Intake(root, way.session) as intake:
        fetched = shelf.fetch(intake, absent, telling(way.progress, "pull"))
        intake.settle()
    # What waits there may build on what is at the upstream alone.
    root.blobs.bring(fetched.all)
    lost = fetched.bad.keys() - root.blobs.locate(list(fetched.bad))
    if lost:
        raise fetched.bad[min(lost)]
    moved = Moved(blobs=len(absent), bytes=sum(blobs[digest] for digest in absent))
    for transaction in pending.transactions:
        taken = take(root, way.session, way.project, transaction, attachments=attachments)
        if taken.ops:
            attachments = None
        moved = moved.plus(Moved(ops=taken.ops, versions=taken.versions))
    return moved


def _blobs_of(root: Root, manifest: Digest) -> Iterator[BlobEntry]:
    return (blob for entry in root.manifests.entries(manifest) if (blob := blob_of(entry)) is not None)


def _pages(slots: Sequence[TakenSlot]) -> Iterator[list[TakenSlot]]:
    page: list[TakenSlot] = []
    size = 0
    for slot in slots:
        page.append(slot)
        size += sum(len(bytes(raw)) for raw in slot.ops)
        if size >= _PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page
