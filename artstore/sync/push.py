"""Push: the ops of this store that no upstream has accepted are offered to it, in order and in whole transactions.

First the upstream's slots are counted here, so that what is offered is known to apply where it comes to stand; own ops
that would change nothing there stay here, as conflicts. Then objects, then the slot. Where somebody else claims it
first, all begins again with theirs. A lost answer is read back: an op counts once, however often it is offered. What
needs bytes that are missing, or more than the other side may take, stays, with what builds on it (`held`), and all else
goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict, Invalid, StorageFull
from artstore.lifecycle.before import accepted_once
from artstore.lifecycle.conflicts import unplaced
from artstore.lifecycle.progress import Tick
from artstore.lifecycle.upstream import Followed, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, Entry, blob_of, encode_difference, encode_full
from artstore.model.records import decode_op
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.files import random_hex
from artstore.storage.journal import Waiting
from artstore.storage.quarantine import judge
from artstore.storage.root import Root
from artstore.sync.apart import twin_of
from artstore.sync.choice import Choice
from artstore.sync.claim import claim_next
from artstore.sync.cut import SLOT_FILES, Offer, cut, endless, uncut
from artstore.sync.held import Missing, left_behind, parted
from artstore.sync.protocol import Shelf, Tell
from artstore.sync.pull import counted, pull
from artstore.sync.remotes import adding_again
from artstore.sync.reports import Moved
from artstore.sync.room import Room, only_ends
from artstore.sync.selection import select
from artstore.sync.way import Way

_FRAME_BYTES: Final = 1 << 10
"""What a slot is beside its ops, with room to spare."""
_LISTS_BYTES: Final = 24 << 20
"""Lists of files of one slot, at most but for one: they are in memory together on both sides."""
_TRIES: Final = 100
"""Slots that others may claim first before it is an error."""


_UNREADABLE: Final = frozenset({"blob-damaged", "digest-mismatch", "io-error"})
"""What is said of a blob whose place is known, and that cannot be had from there."""


class _Long(NamedTuple):
    """What is said of an offer whose lists of files are too long together."""

    files: int
    """How many files might do."""


class Pushed(NamedTuple):
    """What a push came to."""

    pulled: Moved
    """What was counted first."""
    pushed: Moved
    left: ArtstoreError | None = None
    """Why some of it stays here, if some does."""


def push(way: Way) -> Pushed:
    """Offer what waits, but for what needs bytes that are missing, and what builds on that.

    Raises as `pull`; Conflict (busy, case-twin).
    """
    pulled = pushed = Moved()
    if way.followed is None:
        _refuse_twin(way)
    overtaken = 0
    files = SLOT_FILES
    while overtaken < _TRIES:
        pulled = pulled.plus(pull(way))
        missing = Missing()
        while made := offers(way.root, way.project, way.only, missing, renumber=way.renumber, files=files):
            offer = made[0]
            sent = endless(offer) or _offer(way, offer, is_least=files == 1)
            if sent is None:
                overtaken += 1
                break
            if isinstance(sent, Missing):
                missing = missing.plus(sent)
            elif isinstance(sent, _Long):
                # Less each time: one list may be long enough alone, and come behind short ones.
                files = max(1, min(sent.files, files // 2))
            else:
                pushed, files = pushed.plus(sent), min(2 * files, SLOT_FILES)
        else:
            return Pushed(pulled, pushed, what_is_left(way, missing))
    message = f"{overtaken} times in a row others wrote to {way.place} first: repeat later"
    raise Conflict(message, code="busy")


def _refuse_twin(way: Way) -> None:
    """Raise Conflict (case-twin) before a project begins a log beside one that no store could have with it."""
    name = way.project
    twin = twin_of(name, way.remote)
    if twin is not None:
        again = adding_again(way.root.path, way.remote.url)
        message = (
            f"project {name!r} differs only in case from {twin!r}, which is there, and nobody can have both: `{again} "
            f"--as {name}=ANOTHER` gives the one that was made here another name"
        )
        raise Conflict(message, code="case-twin")


def next_offer(root: Root, project: str, only: Choice | None = None) -> Offer | None:
    """The next of what waits, up to a slot full of it; None if nothing is to be offered."""
    return next(iter(offers(root, project, only)), None)


def offers(
    root: Root,
    project: str,
    only: Choice | None = None,
    missing: Missing = Missing(),  # noqa: B008 - it never changes
    *,
    renumber: bool = False,
    apart: bool = False,
    files: int = SLOT_FILES,
) -> list[Offer]:
    """All that waits and would change something, cut where one slot has enough, as with so many files.

    With `only`, what these collections need of it, and what the log had before it was set back; raises Conflict
    (name-freed) as `select`. What needs bytes that are missing is left, with what builds on it. With `apart` it goes to
    where it may come behind other ops than here, and mean something else; what makes versions and has no place here
    goes too, until somebody has decided; and all of it is one offer.
    """
    with root.catalog.snapshot():
        found = root.catalog.project(project)
        if found is None:
            return []
        transactions = _transactions(root, found, only, apart=apart)
        going = parted(root, found, transactions, missing, renumber=renumber).going
        view = ProjectView(root.catalog, found.id)
        if not going:
            return []
        return [uncut(root, view, going, missing)] if apart else cut(root, view, going, missing, files)


def what_is_left(way: Way, missing: Missing, *, apart: bool = False) -> ArtstoreError | None:
    """The error that says what stays here where this is missing, and why; None where nothing does."""
    found = way.root.catalog.project(way.project)
    if found is None or not missing:
        return None
    with way.root.catalog.snapshot():
        transactions = _transactions(way.root, found, way.only, apart=apart)
        return left_behind(way.root, found, transactions, missing, renumber=way.renumber)


def _transactions(root: Root, project: Project, only: Choice | None, *, apart: bool = False) -> list[list[Waiting]]:
    """All that waits and would change something, or what is chosen of it, as it holds together.

    With `apart` also what makes versions that have no place, for which somebody is to decide.
    """
    undecided = unplaced(root, project.name) if apart else frozenset[str]()
    ops = [op for op in waiting(root, project.name) if op.void is None or op.id in undecided]
    if only is not None:
        chosen = {op.id for op in select(root, project, ops, only)}
        if len(chosen) < len(ops):
            # It had these before, whatever is chosen to be sent there now.
            chosen |= accepted_once(root.catalog, project)
        ops = [op for op in ops if op.id in chosen]
    made: list[list[Waiting]] = []
    for op in ops:
        if not made or op.seq is None or op.seq != made[-1][-1].seq:
            made.append([])
        made[-1].append(op)
    return made


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


def what_is_missing(
    root: Root, shelf: Shelf, manifests: Sequence[Digest], blobs: Sequence[Digest], why: ArtstoreError
) -> Missing:
    """What is to be sent of these, and is neither whole here nor there; `why` says so of the first of it.

    A list of files is gone here where a version was forgotten. Where an upstream was lost, each of the stores that
    followed it may have some of the bytes. A disk may have lost or changed others.
    """
    here = root.blobs.locate(blobs)
    if why.code in _UNREADABLE:
        here = {digest: place for digest, place in here.items() if judge(place) == "whole"}
    freed = [digest for digest in manifests if root.manifests.find(digest) is None]
    lost = shelf.lacks_manifests(freed) if freed else []
    return Missing(frozenset(lost), frozenset(digest for digest in blobs if digest not in here), why=why)


def _offer(way: Way, offer: Offer, *, is_least: bool) -> Moved | Missing | _Long | None:
    """Put objects there and claim the next slot; None if somebody else did. Or answers what is missing for that.

    Or that its lists are too long together, unless it has the least already.
    """
    last = way.followed or Followed(random_hex(16), 0, None)
    shelf = way.shelf(last.log)
    shelf.follow(way.remote, last.slot)
    blobs: list[Digest] = []
    try:
        cargo = lacking(way.root, shelf, offer.manifests)
        blobs = list(cargo.blobs)
        if too_long := what_is_too_long(way, shelf, cargo) or _too_long_together(
            way.root, offer, cargo, is_least=is_least
        ):
            return too_long
        # It was said with what is lacking there; where nothing was asked, it is when there turns out to be too little.
        room = shelf.room() if offer.manifests else None
        if room is not None and (too_large := what_does_not_fit(way, room, offer, cargo)):
            return too_large
        # What came from another upstream may not be here.
        way.root.blobs.bring(blobs)
        objects = shelf.send(way.root, way.session, cargo.manifests, blobs, _telling(way, cargo))
    except ArtstoreError as error:
        missing = what_is_missing(way.root, shelf, offer.manifests, blobs, error)
        if not missing:
            raise
        return missing
    bodies = [[op.body for op in transaction] for transaction in offer.transactions]
    try:
        slot = claim_next(way, last, bodies, objects, bases=cargo.bases)
    except StorageFull as error:
        room = shelf.room() if error.code == "quota-exceeded" else None
        if room is None or not (too_large := what_does_not_fit(way, room, offer, cargo, refused=True)):
            raise
        return too_large
    if slot is None:
        return None
    shelf.note(slot)
    shelf.save()
    return counted([slot]).plus(Moved(blobs=len(blobs), bytes=cargo.bytes, saved_bytes=objects.saved))


def _too_long_together(root: Root, offer: Offer, cargo: Cargo, *, is_least: bool) -> _Long | None:
    is_long = len(cargo.manifests) > 1 and sum(len(each.data) for each in cargo.manifests) > _LISTS_BYTES
    if not is_long or is_least:
        return None
    last = next(some for some in reversed(offer.needs) if some)
    before = offer.files - sum(root.manifests.get(digest).entries for digest in last)
    return _Long(min(offer.files // 2, before))


def what_is_too_long(way: Way, shelf: Shelf, cargo: Cargo) -> Missing:
    """The lists of files that are longer than one may be there."""
    why = {each.digest: said for each in cargo.manifests if (said := shelf.why_too_long(each)) is not None}
    if not why:
        return Missing()
    message = f"{way.place} takes {next(iter(why.values()))}: put them as several artifacts and delete this one"
    return Missing(frozenset(why), why=Invalid(message, code="too-many-files"))


def what_does_not_fit(way: Way, room: Room, offer: Offer, cargo: Cargo, *, refused: bool = False) -> Missing:
    """The ops of an offer, in its order, for which there is too little room; none where all fits.

    What only ends things comes first, since it makes room. Where the slot was `refused`, it is some at least, unless
    there is nothing else.
    """
    lists = {each.digest: len(each.data) for each in cargo.manifests}
    of_ops = [sum(len(op.body) + 1 for op in ops) for ops in offer.transactions]
    if not refused and _FRAME_BYTES + cargo.bytes + sum(lists.values()) + sum(of_ops) <= room.left:
        return Missing()
    ends = [only_ends(decode_op(op.body) for op in ops) for ops in offer.transactions]
    left = room.left - _FRAME_BYTES - sum(itertools.compress(of_ops, ends))
    over: dict[int, int] = {}
    sent = set[Digest]()
    for place, needs in enumerate(offer.needs):
        entries = itertools.chain.from_iterable(map(way.root.manifests.entries, needs))
        new = {blob.digest for entry in entries if (blob := blob_of(entry)) is not None} & cargo.blobs.keys() - sent
        size = of_ops[place] + sum(lists.get(each, 0) for each in needs) + sum(cargo.blobs[digest] for digest in new)
        if not ends[place] and size > left:
            over[place] = size
        elif not ends[place]:
            left, sent = left - size, sent | new
    if refused and not over:
        # Others have taken it meanwhile.
        over = {place: size for place, size in enumerate(of_ops) if not ends[place]}
    ops = frozenset(id_ for place in over for id_ in _too_large(offer.transactions[place]))
    return Missing(ops=ops, why=room.too_little(way.place, sum(over.values())))


def _too_large(ops: Sequence[Waiting]) -> list[str]:
    """The ids of ops, but for those that make a collection for the others: what is behind may need it."""
    brings = [op.id for op in ops if op.version is not None]
    return brings or [op.id for op in ops]


def _telling(way: Way, cargo: Cargo) -> Tell:
    blobs, size = len(cargo.blobs), cargo.bytes
    return lambda done, done_size: way.tell(Tick("push", done, done_size, blobs, size))
