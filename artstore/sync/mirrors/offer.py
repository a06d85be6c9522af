"""Offer: what waits in a store for its upstream is said in a mirror, with its bytes, as far as it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from artstore.errors import ArtstoreError
from artstore.lifecycle.progress import telling
from artstore.model.digest import Digest
from artstore.storage.catalog import Project
from artstore.sync.foresee import unsound
from artstore.sync.held import Missing
from artstore.sync.mirrors.from_mirror import TakenPending, take_pending
from artstore.sync.mirrors.mirror import MirrorShelf
from artstore.sync.mirrors.pages import Pending, joined
from artstore.sync.mirrors.way import MirrorWay
from artstore.sync.protocol import Sent
from artstore.sync.push import Cargo, lacking, offers, what_is_missing, what_is_too_long
from artstore.sync.reports import Moved
from artstore.sync.way import Way


class Offered(NamedTuple):
    """What is there of what waits in this store."""

    moved: Moved
    error: ArtstoreError | None
    """Says which ops of this store were there alone and could not be taken."""
    number: int
    """How often it was said by then what waits; 0: nothing does."""
    before: int = 0
    """Up to where that was said before, and is there still."""


def offer_waiting(
    there: MirrorWay, project: Project, missing: Missing, *, dry_run: bool, unlisted: frozenset[int] = frozenset()
) -> Offered | Missing:
    """Say there what waits here and can be sent; or answers what more is missing for that.

    What was said under numbers that are `unlisted` is there, though a listing may lack it.
    """
    way, mirror, own = there.way, there.mirror, there.way.root.format.store_id
    numbers = {*mirror.said.waits(way.project).get(own, []), there.shelf.known.waits.get(own, 0), *unlisted} - {0}
    read = {number: mirror.said.waiting(way.project, own, number) for number in sorted(numbers)}
    said, last = {number: each for number, each in read.items() if each is not None}, max(numbers, default=0)
    # What cannot be read any more is said anew.
    before = joined(each for each in said.values() if isinstance(each, Pending))
    # Where this store is an older copy of itself, or one of two, what only the mirror has must not end now.
    taken = TakenPending(Moved(), [], None) if dry_run else take_pending(there, own, before)
    waits = there.has_upstream or project.upstream is not None
    offered = offers(way.root, way.project, None, missing, renumber=way.renumber, apart=True) if waits else []
    transactions = [[msgspec.Raw(op.body) for op in ops] for offer in offered for ops in offer.transactions]
    pending = Pending(transactions=[*taken.left, *transactions])
    if not pending.transactions:
        if last and not dry_run:
            mirror.said.drop_waits(way.project, own, last)
        return Offered(Moved(), taken.error, 0)
    manifests = [digest for offer in offered for digest in offer.manifests]
    shelf = there.shelf.beside()
    shelf.put(before)
    gone = shelf.look() | shelf.known.swept
    if gone or mirror.damaged.blobs:
        shelf.doubt(way.root, [digest for digest in manifests if way.root.manifests.find(digest) is not None])
    if list(said) == [last] and before.ids == pending.ids and not shelf.lacks_manifests(manifests):
        return Offered(Moved(), taken.error, last)
    put = _put(way, shelf, manifests, dry_run=dry_run)
    if isinstance(put, Missing):
        return put
    moved, sent = put
    for offer in offered:
        moved = moved.plus(msgspec.structs.replace(offer.counted(), slots=0))
    pending = Pending(
        transactions=pending.transactions,
        manifests={name: of for name, of in before.manifests.items() if f"manifests/{name}" not in gone}
        | sent.manifests,
        packs=[*(name for name in before.packs if f"packs/{name}" not in gone), *sent.packs],
        blobs=[*(name for name in before.blobs if f"blobs/{name}" not in gone), *sent.blobs],
    )
    # Also behind what was told of, and removed since: what has the same number would be taken for told.
    number = last + 1
    if dry_run or mirror.said.offer(way.project, own, number, pending):
        return Offered(moved, taken.error, number, last)
    return offer_waiting(there, project, missing, dry_run=dry_run, unlisted=unlisted | {number})


def send(way: Way, shelf: MirrorShelf, cargo: Cargo) -> Sent:
    """Put objects in a mirror. Raises as `Shelf.send` does, and where bytes cannot be had."""
    blobs = list(cargo.blobs)
    # Not all that a version has must be here.
    way.root.blobs.bring(blobs)
    return shelf.send(way.root, way.session, cargo.manifests, blobs, telling(way.progress, "push"))


def _put(way: Way, shelf: MirrorShelf, manifests: Sequence[Digest], *, dry_run: bool) -> tuple[Moved, Sent] | Missing:
    """Put there what it lacks of manifests and their blobs; or answers what is missing for that."""
    cargo = Cargo([], {})
    try:
        cargo = lacking(way.root, shelf, manifests)
        missing = what_is_too_long(way, shelf, cargo) or (unsound(way, list(cargo.blobs)) if dry_run else None)
        if missing:
            return missing
        sent = Sent({}, [], []) if dry_run else send(way, shelf, cargo)
    except ArtstoreError as error:
        missing = what_is_missing(way.root, shelf, manifests, list(cargo.blobs), error)
        if not missing:
            raise
        return missing
    return Moved(blobs=len(cargo.blobs), bytes=cargo.bytes), sent
