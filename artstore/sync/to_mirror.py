"""To mirror: the slots of the log that a project follows, or of its own, go there, and all that no upstream has yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from artstore.errors import ArtstoreError, Conflict
from artstore.lifecycle.progress import telling
from artstore.lifecycle.upstream import TakenSlot
from artstore.storage.catalog import Project
from artstore.sync.from_mirror import take_pending
from artstore.sync.held import Missing
from artstore.sync.history import brought, history
from artstore.sync.mirror import MirrorShelf, Pending, encode_page
from artstore.sync.mirroring import MirrorWay, check_same
from artstore.sync.protocol import Sent, decode_slot, slot_again
from artstore.sync.pull import counted
from artstore.sync.push import Cargo, lacking, offers, what_is_left, what_is_missing
from artstore.sync.reports import Moved
from artstore.sync.way import Way

_PAGE_BYTES: Final = 4 << 20
"""Slots of one page, at most but for the last slot."""
_TRIES: Final = 100


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


def _push_slots(there: MirrorWay, project: Project, *, dry_run: bool) -> Moved:
    way, mirror, _ = there
    known = history(way.root, project)
    moved = Moved()
    for _ in range(_TRIES):
        done = mirror.last(way.project)
        check_same(there, known, min(done, len(known.slots)))
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
    count, said = next(((n, said) for store, n, said in mirror.pending(way.project) if store == own), (0, None))
    # What cannot be read any more is said anew.
    before = said if isinstance(said, Pending) else None
    # Where this store is an older copy of itself, or one of two, what only the mirror has must not end now.
    left = [] if before is None or dry_run else take_pending(there, own, before).left
    waits = has_upstream or project.upstream is not None
    offered = offers(way.root, way.project, None, missing, renumber=way.renumber, apart=True) if waits else []
    moved = Moved()
    pending: Pending | None = None
    if offered or left:
        transactions = [[msgspec.Raw(op.body) for op in ops] for offer in offered for ops in offer.transactions]
        transactions = [*left, *transactions]
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
    is_said = dry_run or (pending is None and not count) or mirror.offer(way.project, own, count, pending)
    return moved if is_said else _push_pending(there, project, missing, dry_run=dry_run)


def _send(way: Way, shelf: MirrorShelf, cargo: Cargo) -> Sent:
    blobs = list(cargo.blobs)
    # Not all that a version has must be here.
    way.root.blobs.bring(blobs)
    return shelf.send(way.root, way.session, cargo.manifests, blobs, telling(way.progress, "push"))


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
