"""To mirror: the slots of the log that a project follows, or of its own, go there, and all that no upstream has yet.

Where some bytes cannot be had, the slots go all the same, and say there which versions lack theirs: whoever has them
puts them there with a later push. So it is with what was lost there since. What waits goes as far as it is whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict, Corrupt
from artstore.lifecycle.upstream import TakenSlot
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.records import brings, decode_op, manifest_of
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.root import Root
from artstore.sync.foresee import unsound
from artstore.sync.held import Missing, called
from artstore.sync.history import History, brought, ending_here, history
from artstore.sync.mirrors.mirror import FAR, MirrorShelf
from artstore.sync.mirrors.offer import Offered, offer_waiting, send
from artstore.sync.mirrors.pages import More, encode_page
from artstore.sync.mirrors.way import MirrorWay, check_joins, check_same, together
from artstore.sync.protocol import Sent, decode_slot, slot_again
from artstore.sync.pull import counted
from artstore.sync.push import lacking, what_is_left, what_is_missing
from artstore.sync.reports import Moved

_PAGE_BYTES: Final = 4 << 20
"""Slots of one page, at most but for the last slot."""
_TRIES: Final = 100


def push_to_mirror(there: MirrorWay, *, dry_run: bool = False) -> tuple[Moved, ArtstoreError | None]:
    """Bring a mirror what it lacks of a project's log, and say there what waits here.

    Answers how much it was, and the error that says what of it did not go, where bytes are missing. Raises Conflict
    (other-log) where it has another log of that project, or another slot in one place of it.
    """
    project = there.way.root.catalog.project(there.way.project)
    if project is None or not project.seq:
        return Moved(), None
    if dry_run:
        moved, _offered, error = _push(there, project, dry_run=True)
        return moved, error
    moved = Moved()
    for _ in range(_TRIES):
        known = there.shelf.known.more
        pushed, offered, error = _push(there, project, dry_run=False)
        moved = moved.plus(pushed)
        if _may_stay(there, known, offered, is_new=moved != Moved()):
            return moved, error
        # What was swept meanwhile it may have relied on: the bytes of that go there again.
    raise _busy(there)


def _may_stay(there: MirrorWay, known: int, offered: Offered, *, is_new: bool) -> bool:
    """Say that what is named there is to stay; False: something was swept that is said behind `known`.

    Whatever is said goes behind all that was read, so nothing can have been swept meanwhile where it could be said.
    Where it was said by then already of all that is there, and nothing `is_new`, whoever swept since has read that.
    """
    way, own, shelf = there.way, there.way.root.format.store_id, there.shelf
    for _ in range(_TRIES):
        now = shelf.known
        if now.swept_at > known:
            return False
        is_said = not is_new and now.slot <= now.marked and offered.number == now.waits.get(own, 0)
        if not is_said and shelf.tell(More(until=now.slot, waits={own: offered.number})):
            shelf.save()
            is_said = True
        if is_said:
            if offered.before:
                # Not before: of what it had said then all has to stay until this is said.
                there.mirror.said.drop_waits(way.project, own, offered.before)
            return True
        there.look()
    raise _busy(there)


def _busy(there: MirrorWay) -> Conflict:
    message = f"{_TRIES} times in a row others wrote to {there.way.place} first: repeat later"
    return Conflict(message, code="busy")


def _push(there: MirrorWay, project: Project, *, dry_run: bool) -> tuple[Moved, Offered, ArtstoreError | None]:
    moved, bare = Moved(), _Bare()
    # A log of its own that is to end with the first push to the upstream is not one for others to follow.
    if project.upstream is not None or not there.has_upstream:
        moved = _push_slots(there, project, bare, dry_run=dry_run)
    missing = Missing()
    while isinstance(offered := offer_waiting(there, project, missing, dry_run=dry_run), Missing):
        missing = missing.plus(offered)
    error = together(bare.error(there, project), what_is_left(there.way, missing, apart=True), offered.error)
    return moved.plus(offered.moved), offered, error


class _Bare:
    """Manifests that are there, or would be, without some of their blobs."""

    def __init__(self) -> None:
        self.manifests: set[str] = set()
        self._why: ArtstoreError | None = None

    def add(self, manifests: Iterable[Digest], why: ArtstoreError | None) -> None:
        """These are such."""
        self.manifests.update(map(str, manifests))
        self._why = self._why or why

    def error(self, there: MirrorWay, project: Project) -> ArtstoreError | None:
        """The error that names the versions; None where there are none."""
        if self._why is None:
            return None
        root, why = there.way.root, self._why
        bodies = [bytes(raw) for slot in history(root, project).slots for raw in slot.ops]
        ids = [
            brings(str(Digest.of(body)), op)
            for body, op in ((body, decode_op(body)) for body in bodies)
            if manifest_of(op) in self.manifests
        ]
        message = (
            f"the bytes of {called(ProjectView(root.catalog, project.id), ids)} did not go to {there.way.place}: "
            f"{why.message}. All else is there; push there again once they can be had, here or from another store"
        )
        return Corrupt(message, code=why.code if isinstance(why, Corrupt) else "blob-missing")


def _push_slots(there: MirrorWay, project: Project, bare: _Bare, *, dry_run: bool) -> Moved:
    way, mirror = there.way, there.mirror
    known, shelf, numbers = history(way.root, project), there.shelf, mirror.numbers(way.project)
    put_back = None if dry_run else _put_pages_back(there, project, known, bare, numbers)
    moved, is_changed = put_back or Moved(), put_back is not None
    for _ in range(_TRIES):
        if is_changed:
            shelf, numbers = there.look(), mirror.numbers(way.project)
        done = mirror.last(way.project, numbers)
        if shelf.known.slot < done:
            # Others were quicker, and what their pages name has to be known before those that come behind.
            there.look()
        check_same(there, known, min(done, len(known.slots)))
        moved = moved.plus(_mend(there, project, shelf, known.slots[:done], bare, dry_run=dry_run))
        for slots in _pages(known.slots[done:]):
            pushed = _push_page(there, project, shelf, slots, bare, dry_run=dry_run)
            if pushed is None:
                break
            moved = moved.plus(pushed)
        else:
            return moved
        is_changed = True
    raise _busy(there)


def _push_page(
    there: MirrorWay,
    project: Project,
    shelf: MirrorShelf,
    slots: Sequence[TakenSlot],
    bare: _Bare,
    *,
    dry_run: bool,
    is_lost: bool = False,
) -> Moved | None:
    """Put slots there, with what they bring; None where somebody else was first."""
    way, mirror = there.way, there.mirror
    whole = [slot_again(slot.frame, slot.ops) for slot in slots]
    ending = ending_here(way.root, project)
    came = brought(way.root, project, (bytes(raw) for slot in slots for raw in slot.ops), ending)
    load = _load(there, shelf, list(came.manifests), dry_run=dry_run)
    if not dry_run:
        absent = {
            version: str(digest)
            for version, digest in came.forgotten.items()
            if digest not in came.manifests and shelf.holder(digest) is None
        }
        lacks = sorted({*load.lacks, *absent.values()})
        page = encode_page(whole, load.sent, list(absent), lacks, shelf.known.more)
        if not mirror.claim(way.project, slots[0].number, page):
            return None
    bare.add(load.bare, load.why)
    read = [
        decode_slot(data, way.project, slot.number, way.place).slot for data, slot in zip(whole, slots, strict=True)
    ]
    if not dry_run:
        for slot in read:
            shelf.note(slot)
        if is_lost:
            # Who has followed the page that was lost reads none in its place.
            _tell(there, shelf, load)
        shelf.save()
    return counted(read).plus(load.moved)


def _put_pages_back(
    there: MirrorWay, project: Project, known: History, bare: _Bare, numbers: Sequence[int]
) -> Moved | None:
    """Put pages there again that are gone or cannot be read, as far as this store has their slots.

    None: there are none of those. Raises Conflict (other-log) where what is left there is of another log.
    """
    mirror, shelf = there.mirror, there.shelf
    moved: Moved | None = None
    gaps, damaged = mirror.gaps(there.way.project, shelf.known.pages, numbers)
    for first, last in gaps:
        bad = [page for page in damaged if first <= page <= last]
        slots = known.slots[first - 1 : last]
        if len(known.slots) < (max(bad) if last == FAR else last):
            continue
        check_joins(there, known, first, last)
        for page in bad:
            mirror.drop_page(there.way.project, page)
        # What the lost pages named may lie there still, and has to be named anew.
        shelf.begin_again()
        shelf.follow(mirror, first - 1)
        for some in _pages(slots):
            pushed = _push_page(there, project, shelf, some, bare, dry_run=False, is_lost=True)
            moved = (moved or Moved()).plus(pushed or Moved())
    return moved


def _mend(
    there: MirrorWay, project: Project, shelf: MirrorShelf, slots: Sequence[TakenSlot], bare: _Bare, *, dry_run: bool
) -> Moved:
    """Put there what slots that are there lack, as far as it can be had."""
    root = there.way.root
    is_doubted = bool(shelf.look() or there.mirror.damaged.blobs or shelf.is_doubtful)
    if not is_doubted and not shelf.known.dead:
        return Moved()
    ending = ending_here(root, project)
    manifests = list(brought(root, project, (bytes(raw) for slot in slots for raw in slot.ops), ending).manifests)
    if is_doubted:
        # Also of what slots to come may bring again.
        shelf.doubt(root, shelf.held())
        shelf.known.sure = shelf.known.more
    load = _load(there, shelf, shelf.lacks_manifests(manifests), dry_run=dry_run)
    bare.add(load.bare, load.why)
    if not dry_run:
        if not _tell(there, shelf, load):
            return load.moved.plus(_mend(there, project, shelf, slots, bare, dry_run=dry_run))
        shelf.save()
    return load.moved.plus(Moved(lists=len(load.sent.manifests)))


class _Load(NamedTuple):
    """What was put there for some manifests, or would be."""

    sent: Sent
    moved: Moved
    bare: list[Digest]
    """Those of the manifests some of whose blobs cannot be had."""
    why: ArtstoreError | None
    """What was said of the first of these."""

    @property
    def lacks(self) -> list[str]:
        """The bare ones, of which the list of files was put there."""
        came = {digest for digests in self.sent.manifests.values() for digest in digests}
        return [str(digest) for digest in self.bare if str(digest) in came]


def _load(there: MirrorWay, shelf: MirrorShelf, manifests: Sequence[Digest], *, dry_run: bool) -> _Load:
    """Put there what it lacks of manifests, which must be here, and of their blobs as far as these can be had."""
    way, missing = there.way, Missing()
    while True:
        bare = [digest for digest in manifests if missing and _needs(way.root, digest, missing.blobs)]
        # Where only blobs are lacking that cannot be had, there is nothing to put there.
        sending = [digest for digest in manifests if digest not in bare or shelf.holder(digest) is None]
        cargo = lacking(way.root, shelf, sending)
        blobs = {digest: size for digest, size in cargo.blobs.items() if digest not in missing.blobs}
        cargo = cargo._replace(blobs=blobs)
        if dry_run and (more := unsound(way, list(blobs))):
            missing = missing.plus(more)
            continue
        try:
            sent = Sent({}, [], []) if dry_run else send(way, shelf, cargo)
        except ArtstoreError as error:
            more = what_is_missing(way.root, shelf, sending, list(blobs), error)
            if not more.blobs:
                raise
            missing = missing.plus(more)
        else:
            return _Load(sent, Moved(blobs=len(blobs), bytes=cargo.bytes), bare, missing.why)


def _tell(there: MirrorWay, shelf: MirrorShelf, load: _Load) -> bool:
    """Say what was put there; False: something was swept meanwhile, on which it may rely, and it was not said."""
    sent, swept_at = load.sent, shelf.known.swept_at
    if not any(sent[:3]):
        return True
    more = More(manifests=sent.manifests, packs=sent.packs, blobs=sent.blobs, lacks=load.lacks)
    while not shelf.tell(more):
        there.look()
        if shelf.known.swept_at != swept_at:
            return False
    return True


def _needs(root: Root, manifest: Digest, blobs: Collection[Digest]) -> bool:
    return any(
        (blob := blob_of(entry)) is not None and blob.digest in blobs for entry in root.manifests.entries(manifest)
    )


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
