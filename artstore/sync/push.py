"""Push: the ops of this store that no upstream has accepted are offered to it, in order and in whole transactions.

First the upstream's slots are counted here, so that what is offered is known to apply where it comes to stand; own ops
that would change nothing there stay here, as conflicts. Then objects, then the slot. Where somebody else claims it
first, all begins again with theirs. A lost answer is read back: an op counts once, however often it is offered. Where
bytes are missing, all goes that comes before what needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict
from artstore.lifecycle.progress import Tick
from artstore.lifecycle.upstream import Followed, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, Entry, blob_of, encode_difference, encode_full
from artstore.model.records import Relog, decode_op, manifest_of
from artstore.storage.catalog import ProjectView
from artstore.storage.files import random_hex
from artstore.storage.journal import Waiting
from artstore.storage.root import Root
from artstore.sync.claim import claim_next
from artstore.sync.protocol import Shelf, Tell
from artstore.sync.pull import counted, pull
from artstore.sync.reports import Moved
from artstore.sync.selection import select
from artstore.sync.way import Way

_SLOT_BYTES: Final = 4 << 20
"""Ops in one slot, at most but for the last transaction."""
_TRIES: Final = 100
"""Slots that others may claim first before it is an error."""


class Offer(NamedTuple):
    """What goes into the next slot."""

    transactions: list[list[Waiting]]
    manifests: list[Digest]
    """Those that versions need which are to be seen there."""

    def counted(self) -> Moved:
        """How much it is, without blobs."""
        ops = [op for transaction in self.transactions for op in transaction]
        return Moved(slots=1, ops=len(ops), versions=sum(op.version is not None for op in ops))


def push(way: Way) -> tuple[Moved, Moved]:
    """Offer what waits; answers what was pulled first, and what was pushed.

    Raises as `pull`; Corrupt (blob-missing, blob-damaged) where what is to be sent is not whole here, Conflict (busy).
    """
    pulled = pushed = Moved()
    overtaken = 0
    while overtaken < _TRIES:
        pulled = pulled.plus(pull(way))
        while (offer := next_offer(way.root, way.project, way.only)) is not None:
            sent = _offer(way, offer)
            if sent is None:
                overtaken += 1
                break
            pushed = pushed.plus(sent)
        else:
            return pulled, pushed
    message = f"{overtaken} times in a row others wrote to {way.place} first: repeat later"
    raise Conflict(message, code="busy")


def next_offer(root: Root, project: str, only: frozenset[str] | None = None) -> Offer | None:
    """The next of what waits, up to a slot full of it; None if nothing is to be offered."""
    return next(iter(offers(root, project, only)), None)


def offers(root: Root, project: str, only: frozenset[str] | None = None) -> list[Offer]:
    """All that waits and would change something, cut where one slot has enough and no version is left without end.

    With `only`, what collections of these names need of it; raises Conflict (name-freed) as `select`.
    """
    with root.catalog.snapshot():
        ops = [op for op in waiting(root, project) if op.void is None]
        found = root.catalog.project(project)
        if found is None or not ops:
            return []
        if only is not None:
            ops = select(root, found, ops, only)
        view = ProjectView(root.catalog, found.id)
        made = [Offer([], [])]
        size = 0
        ends_later = False
        for op in ops:
            transactions = made[-1].transactions
            if not transactions or op.seq is None or op.seq != transactions[-1][-1].seq:
                if size >= _SLOT_BYTES and not ends_later:
                    made.append(Offer([], []))
                    size = 0
                made[-1].transactions.append([])
            made[-1].transactions[-1].append(op)
            size += len(op.body)
            needed, has_an_end = _needed(view, op)
            made[-1].manifests.extend(needed)
            ends_later |= has_an_end
        return made if made[0].transactions else []


class Cargo(NamedTuple):
    """What a remote lacks of an offer."""

    manifests: list[Encoding]
    blobs: dict[Digest, int]
    """With their sizes."""

    @property
    def bases(self) -> list[str]:
        """What the manifests are differences to, and is there."""
        coming = {encoding.digest for encoding in self.manifests}
        return sorted({str(each.base) for each in self.manifests if each.base is not None and each.base not in coming})

    @property
    def bytes(self) -> int:
        """Of the blobs."""
        return sum(self.blobs.values())


def lacking(root: Root, shelf: Shelf, manifests: Sequence[Digest]) -> Cargo:
    """What has to be put there for versions with these manifests to be whole.

    A manifest is sent as a difference to one that is there, where the store keeps it so; the blobs of that one are
    there too, and are not asked for.
    """
    wanted = list(dict.fromkeys(manifests))
    bases = [base for digest in wanted if (base := root.manifests.base_of(digest)) is not None]
    # Asked of all at once: it may be a question over a network.
    lacks = set(shelf.lacks_manifests([*wanted, *bases]))
    sending: dict[Digest, Encoding] = {}
    sizes: dict[Digest, int] = {}
    for digest in (digest for digest in wanted if digest in lacks):
        built = root.manifests.difference(digest)
        entries: Iterable[Entry]
        if built is not None and (built[0] in sending or built[0] not in lacks):
            base, difference = built
            sending[digest] = encode_difference(digest, base, difference, root.manifests.get(digest).entries)
            entries = difference.come
        else:
            entries = list(root.manifests.entries(digest))
            sending[digest] = encode_full(digest, (entry.line() for entry in entries))
        sizes.update((blob.digest, blob.size) for entry in entries if (blob := blob_of(entry)) is not None)
    return Cargo(list(sending.values()), {digest: sizes[digest] for digest in shelf.lacks_blobs(sizes)})


def _offer(way: Way, offer: Offer) -> Moved | None:
    """Put objects there and claim the next slot; None if somebody else did."""
    last = way.followed or Followed(random_hex(16), 0, None)
    shelf = way.shelf(last.log)
    shelf.follow(way.remote, last.slot)
    blobs: list[Digest] = []
    try:
        cargo = lacking(way.root, shelf, offer.manifests)
        blobs = list(cargo.blobs)
        # What came from another upstream may not be here.
        way.root.blobs.bring(blobs)
        objects = shelf.send(way.root, way.session, cargo.manifests, blobs, _telling(way, cargo))
    except ArtstoreError:
        part = _before_what_is_missing(way, shelf, offer, blobs)
        if part is None:
            raise
        return _offer(way, part)
    bodies = [[op.body for op in transaction] for transaction in offer.transactions]
    slot = claim_next(way, last, bodies, objects, bases=cargo.bases)
    if slot is None:
        return None
    shelf.note(slot)
    shelf.save()
    return counted([slot]).plus(Moved(blobs=len(blobs), bytes=cargo.bytes, saved_bytes=objects.saved))


def _needed(view: ProjectView, op: Waiting) -> tuple[list[Digest], bool]:
    """The manifests that have to be there with an op, and whether its end has to come along instead."""
    if op.version is None:
        return [], False
    decoded = decode_op(op.body)
    named = manifest_of(decoded)
    assert named is not None
    if not _is_gone(view, op.version):
        return [Digest.parse(named)], False
    # Its bytes are not needed any more, and it must not be seen without them.
    return [], not isinstance(decoded, Relog) or view.version(op.version) is not None


def _before_what_is_missing(way: Way, shelf: Shelf, offer: Offer, blobs: Sequence[Digest]) -> Offer | None:
    """The part of an offer that comes before what needs bytes which are nowhere to be had; None if there is none.

    So it is with a list of files that is gone, as of a version that was forgotten here.

    Where an upstream was lost, each of the stores that followed it may have some of the bytes, and has to wait for the
    others with the rest.
    """
    absent = {*blobs} - {*way.root.blobs.locate(blobs)}
    freed = {digest for digest in offer.manifests if way.root.manifests.find(digest) is None}
    lost = set(shelf.lacks_manifests(freed)) if freed else set()
    found = way.root.catalog.project(way.project)
    if not (absent or lost) or found is None:
        return None
    view = ProjectView(way.root.catalog, found.id)
    part = Offer([], [])
    for transaction in offer.transactions:
        needs = [_needed(view, op) for op in transaction]
        manifests = [digest for needed, _has_an_end in needs for digest in needed]
        here = (digest for digest in manifests if digest not in freed)
        entries = (entry for digest in here for entry in way.root.manifests.entries(digest))
        if (
            not lost.isdisjoint(manifests)
            or any(has_an_end for _needed, has_an_end in needs)
            or any((blob := blob_of(entry)) is not None and blob.digest in absent for entry in entries)
        ):
            break
        part.transactions.append(transaction)
        part.manifests.extend(manifests)
    return part if part.transactions else None


def _is_gone(view: ProjectView, id_: str) -> bool:
    """Whether what an op brought is not there any more, or never was, as where a relog made no version."""
    version = view.version(id_)
    return (version is None or version.deleted) and view.part(id_) is None


def _telling(way: Way, cargo: Cargo) -> Tell:
    blobs, size = len(cargo.blobs), cargo.bytes
    return lambda done, done_size: way.tell(Tick("push", done, done_size, blobs, size))
