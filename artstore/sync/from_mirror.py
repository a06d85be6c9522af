"""From mirror: slots count as they do from the upstream, and what waits in others waits here too.

That comes behind what is here, until somebody reaches the upstream; in the store that owns the log it counts at once.
Its bytes come along, since whoever has them may be out of reach by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from artstore.errors import Conflict
from artstore.lifecycle.progress import Tick, telling
from artstore.lifecycle.upstream import Followed, accept, take, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Encoding, blob_of
from artstore.model.records import Relog, brings, decode_op, kind_of, manifest_of
from artstore.storage.intake import Intake
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.sync.history import history
from artstore.sync.mirror import Mirror, MirrorShelf, Page, Pending
from artstore.sync.mirroring import MirrorWay, check_same
from artstore.sync.offered import holes, new_ops
from artstore.sync.protocol import ReadSlot, corrupt, read_slot
from artstore.sync.pull import counted, refuse_apart, slots_to_take
from artstore.sync.received import take_manifests
from artstore.sync.reports import Moved
from artstore.sync.way import Way

_SHOWN: Final = 3


def pull_from_mirror(there: MirrorWay, *, dry_run: bool = False) -> Moved:
    """Take what a mirror has of a log and of what waits in other stores; answers how much it was.

    What waits in a store and would be a version without its list of files is left there, with all that waits in that
    store, and all else is taken. Raises Conflict (offer-incomplete) then, Conflict (other-log, needs-join), Corrupt
    (remote-corrupt), UpgradeNeeded.
    """
    moved = _pull_slots(there, dry_run=dry_run)
    return moved.plus(_pull_pending(there, dry_run=dry_run))


def _pull_slots(there: MirrorWay, *, dry_run: bool) -> Moved:
    way, mirror, _ = there
    log = mirror.log(way.project)
    project = way.root.catalog.project(way.project)
    if log is None:
        return Moved()
    known = None if project is None or not project.seq else history(way.root, project)
    if known is not None and (known.log == log or way.followed is not None):
        check_same(there, known, min(mirror.last(way.project), len(known.slots)))
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
        new = new_in(way, pending)
        if not new:
            continue
        if dry_run:
            ops = [decode_op(bytes(raw)) for transaction in pending.transactions for raw in transaction]
            moved = moved.plus(Moved(ops=len(ops), versions=sum(kind_of(op) == "commit" for op in ops)))
            continue
        try:
            moved = moved.plus(take_pending(there, store, pending, new))
        except Conflict as error:
            if error.code != "offer-incomplete":
                raise
            # What waits in other stores does not wait for this one.
            refused = refused or error
    if refused is not None:
        raise refused
    return moved


def new_in(way: Way, pending: Pending) -> list[bytes]:
    return new_ops(way.root, way.project, (bytes(raw) for each in pending.transactions for raw in each))


def take_pending(there: MirrorWay, store: str, pending: Pending, new: Sequence[bytes]) -> Moved:
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
