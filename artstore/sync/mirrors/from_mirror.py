"""From mirror: slots count as they do from the upstream, and what waits in others waits here too.

That comes behind what is here, until somebody reaches the upstream; in the store that owns the log it counts at once.
Its bytes come along, since whoever has them may be out of reach by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from artstore.errors import ArtstoreError, Conflict, Corrupt, Denied, MissingObject, Unreachable
from artstore.lifecycle.ordering import Ordering, ordering
from artstore.lifecycle.progress import Tick, telling
from artstore.lifecycle.upstream import Followed, accept, take, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.model.notes import Attached
from artstore.model.records import brings, decode_op, kind_of, manifest_of
from artstore.storage.catalog import Project
from artstore.storage.intake import Intake
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.sync.awaited import looking_at, lost_lists, see_awaited, take_awaited
from artstore.sync.held import Missing, lists_in_doubt
from artstore.sync.history import History, history
from artstore.sync.mirrors.mirror import Mirror, MirrorShelf
from artstore.sync.mirrors.pages import Page, Pending
from artstore.sync.mirrors.way import MirrorWay, check_same, other_log, together
from artstore.sync.offered import blobs_not_here, lists_not_here, needed, new_in, parted
from artstore.sync.protocol import ReadSlot, corrupt, read_slot
from artstore.sync.pull import counted, refuse_apart, slots_to_take
from artstore.sync.received import take_each
from artstore.sync.remotes import adding_again
from artstore.sync.reports import Moved
from artstore.sync.way import Way


def pull_from_mirror(there: MirrorWay, *, dry_run: bool = False) -> tuple[Moved, ArtstoreError | None]:
    """Take what a mirror has of a log and of what waits in other stores; answers how much it was.

    What waits there and would be a version without its list of files or its bytes is left there, with what builds on
    it, and all else is taken; the error that comes along says so: Corrupt (offer-incomplete). A version of the log
    whose list of files is lost there is awaited, and named by Corrupt (blob-missing). Raises Conflict (other-log,
    needs-join), Corrupt (remote-corrupt), UpgradeNeeded.
    """
    moved, lost = _pull_slots(there, dry_run=dry_run)
    waiting_there, left = _pull_pending(there, dry_run=dry_run)
    return moved.plus(waiting_there), together(lost, left)


def _pull_slots(there: MirrorWay, *, dry_run: bool) -> tuple[Moved, ArtstoreError | None]:
    way, mirror = there.way, there.mirror
    log = mirror.log(way.project)
    project = way.root.catalog.project(way.project)
    if log is None:
        # It may be another remote that was the upstream, with lists that are awaited here.
        return (Moved(), None) if dry_run else (see_awaited(way)[0], None)
    known = None if project is None or not project.seq else history(way.root, project)
    if known is not None and (known.log == log or way.followed is not None):
        check_same(there, known, min(mirror.last(way.project), len(known.slots)))
    elif project is not None and not way.join and _is_left(way, project, log):
        raise other_log(way)
    elif known is not None and not way.join:
        again = adding_again(way.root.path, mirror.url)
        refuse_apart(mirror, way.project, {op.id for op in waiting(way.root, way.project)}, again)
    if known is not None and known.log == log and way.followed is None:
        return _pull_own(there, known, dry_run=dry_run), None
    moved = Moved()
    lists = _Lists(lambda: there.shelf)
    last = way.followed or Followed(log, 0, None)
    while (page := mirror.page(way.project, last.slot + 1)) is not None:
        slots, last = _behind(way, mirror, page.first, page.page, last)
        if not dry_run:
            _take_page(way, lists, slots, page.page)
        moved = moved.plus(counted(each.slot for each in slots))
        way.tell(Tick("pull", moved.ops))
    if dry_run:
        return moved, None
    seen, said = take_awaited(way.root, way.session, way.project, way.place, lists.find)
    elsewhere, _not_there_either = see_awaited(way)
    return moved.plus(seen).plus(elsewhere), lost_lists(way, lists.error or said)


def _is_left(way: Way, project: Project, log: str) -> bool:
    """Whether a log was followed until another upstream was noted, whose log nobody has met yet."""
    if ordering(way.root.path, project) is not Ordering.AWAITED:
        return False
    return any(note.log == log for note in Journal(way.root.catalog, project).notes_of(Attached))


def _pull_own(there: MirrorWay, known: History, *, dry_run: bool) -> Moved:
    """Take again what this store had put there of the log that it owns, and has lost since, as in a backup."""
    way, mirror = there.way, there.mirror
    moved, before = Moved(), known.head(len(known.slots))
    for number in range(len(known.slots) + 1, mirror.last(way.project) + 1):
        found = read_slot(mirror, way.project, number)
        if found is None or found.slot.before != before:
            raise corrupt(f"slot {number} of {way.place} does not follow the one before")
        before = found.digest
        moved = moved.plus(counted([found.slot]))
        _refuse_set_aside(way, found)
        if not dry_run:
            # One by one: they must come to the same slots as they were.
            taken = take_pending(there, way.root.format.store_id, Pending(transactions=found.slot.transactions))
            moved = moved.plus(Moved(blobs=taken.moved.blobs, bytes=taken.moved.bytes))
            if taken.error is not None:
                raise taken.error
    return moved


def _refuse_set_aside(way: Way, found: ReadSlot) -> None:
    """Raise Conflict (not-its-own) where what a slot has was given up here: what builds on it would be lost."""
    project = way.root.catalog.project(way.project)
    assert project is not None
    journal = Journal(way.root.catalog, project)
    counts = {op.id for op in journal.ops()}
    ids = [str(Digest.of(bytes(raw))) for raw in found.slot.ops]
    if any(journal.has(id_) and id_ not in counts for id_ in ids):
        message = (
            f"{way.place} goes on with what this store had of that project before it got another name here "
            "(`remote add --as`): nothing was taken. What others have put there since stays there and in their "
            "stores: let these follow an upstream of their own"
        )
        raise Conflict(message, code="not-its-own")


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


def _take_page(way: Way, lists: _Lists, slots: Sequence[ReadSlot], page: Page) -> None:
    root = way.root
    live = _live(root, way.project)
    bodies = [bytes(raw) for each in slots for raw in each.slot.ops]
    needed_here: dict[Digest, Encoding] = {}
    versions: dict[str, Digest] = {}
    for body in bodies:
        op = decode_op(body)
        if (named := manifest_of(op)) is None:
            continue
        digest = Digest.parse(named)
        versions[str(brings(str(Digest.of(body)), op))] = digest
        if digest not in needed_here and (digest not in live or root.manifests.find(digest) is None):
            needed_here.update((each.digest, each) for each in _found(root, lists, digest))
    taken, lists.error = take_each(root, way.place, list(needed_here.values()), lists.find, lists.error)
    # What is lost of one version keeps nobody from what is behind it.
    lost = {digest for digest in versions.values() if root.manifests.find(digest) is None}
    # Somebody may have put there since what did not come along with the page.
    lost.update({versions[each] for each in page.absent if each in versions} - {each.digest for each in taken})
    accept(
        root,
        way.session,
        way.project,
        slots[0].slot.log,
        slots_to_take(slots),
        attachments=Attachments(manifests=taken),
        awaited=[version for version, digest in versions.items() if digest in lost],
    )


def _pull_pending(there: MirrorWay, *, dry_run: bool) -> tuple[Moved, ArtstoreError | None]:
    way, mirror = there.way, there.mirror
    moved = Moved()
    left: ArtstoreError | None = None
    # What waits in other stores does not wait for one of which something is lost.
    for store, count, pending in mirror.said.pending(way.project):
        if isinstance(pending, Corrupt):
            left = left or pending
            continue
        if dry_run:
            ops = [op for ops in new_in(way.root, way.project, pending.transactions) for op in ops]
            versions = sum(kind_of(decode_op(op.body)) == "commit" for op in ops)
            moved = moved.plus(Moved(ops=len(ops), versions=versions))
            continue
        taken = take_pending(there, store, pending)
        moved = moved.plus(taken.moved)
        # What is not told yet is being put there: before it is told, that store looks what was swept meanwhile.
        if taken.error is not None and count <= there.shelf.known.waits.get(store, 0):
            left = left or taken.error
    return moved, left


_DAMAGED: Final = frozenset({"remote-corrupt", "object-short"})
"""What is said of what lies there and is not as it should be."""


class TakenPending(NamedTuple):
    """What became of what waits in another store."""

    moved: Moved
    left: list[list[msgspec.Raw]]
    """Transactions that stay where they are, since something is missing for them."""
    error: ArtstoreError | None
    """What to say of these."""


def take_pending(there: MirrorWay, store: str, pending: Pending) -> TakenPending:
    """Take what of it is whole: lists of files first, then bytes, then ops."""
    way, root = there.way, there.way.root
    new = new_in(root, way.project, pending.transactions)
    if not new:
        return TakenPending(Moved(), [], None)
    # What it builds on may have come there since it was looked.
    shelf = there.look().beside()
    shelf.put(pending)
    lists = needed(root, way.project, new)
    attachments: Attachments | None
    # What may turn out not to end with them is taken as far as it is there.
    doubtful = [each for some in lists_in_doubt(new) for each in some if each not in lists]
    attachments, why = _take_lists(there, shelf, [*lists, *doubtful])
    gone = lists_not_here(root, lists)
    if gone and why is None:
        why = _nowhere(f"the list of files {gone[0]}")
    wanted = [each for each in lists if each not in gone]
    brought, lost = _bring(there, shelf, [*wanted, *(each for each in doubtful if root.manifests.find(each))])
    lacking = blobs_not_here(root, wanted)
    lost = {digest: said for digest, said in lost.items() if digest in lacking}
    missing = Missing(frozenset(gone), frozenset(lost), why=why or next(iter(lost.values()), None))
    whole, left, what = parted(root, way.project, new, missing)
    moved = brought
    for ops in whole:
        raws = [msgspec.Raw(op.body) for op in ops]
        taken = take(root, way.session, way.project, raws, attachments=attachments, undecided=True)
        if taken.ops:
            attachments = None
        moved = moved.plus(Moved(ops=taken.ops, versions=taken.versions))
    error: ArtstoreError | None = None
    if left:
        assert missing.why is not None
        bad = [*gone, *lost] if missing.why.code in _DAMAGED else []
        then = f"remote recover NAME{looking_at(bad)}" if bad else "push NAME"
        message = (
            f"of what waits in store {store}, {what or 'something'} is not whole at {way.place}: {missing.why.message}"
            f"; it was left there, and all else was taken. In that store, `artstore {then}`, NAME being what this "
            "mirror is called there, puts it there again; or push from there to the upstream"
        )
        error = Corrupt(message, code="offer-incomplete")
    return TakenPending(moved, [[msgspec.Raw(op.body) for op in ops] for ops in left], error)


def _take_lists(
    there: MirrorWay, shelf: MirrorShelf, lists: Sequence[Digest]
) -> tuple[Attachments, ArtstoreError | None]:
    """Make rows of lists of files, as far as they are there and right; answers what the journal has to carry."""
    root = there.way.root
    live = _live(root, there.way.project)
    wanted = [each for each in lists if each not in live or root.manifests.find(each) is None]
    read = _Lists(lambda: shelf)
    came = {each.digest: each for digest in wanted for each in _found(root, read, digest)}
    taken, read.error = take_each(root, there.way.place, list(came.values()), read.find, read.error)
    return Attachments(manifests=taken), read.error


def _live(root: Root, project: str) -> set[Digest]:
    """The manifests that versions here need, and so the journal has.

    Of others it may say nothing, though they have rows: somebody was killed behind these.
    """
    found = root.catalog.project(project)
    return set[Digest]() if found is None else Marking(root.catalog).live_manifests(found.id)


def _found(root: Root, lists: _Lists, digest: Digest) -> list[Encoding]:
    """A list of files as it lies there, or else as it is here; none where it is nowhere."""
    there = [each for each in lists.find(digest) if each.digest == digest]
    if there or root.manifests.find(digest) is None:
        return there
    return [encode_full(digest, (entry.line() for entry in root.manifests.entries(digest)))]


class _Lists:
    """The lists of files on a shelf, which is opened where one is needed.

    What is gone there or cannot be read is as if it were not there.
    """

    def __init__(self, open_: Callable[[], MirrorShelf]) -> None:
        self.error: ArtstoreError | None = None
        """What was said of the first that was gone or damaged."""
        self._open = open_
        self._read: dict[str, list[Encoding]] = {}

    def find(self, digest: Digest) -> list[Encoding]:
        """Those that lie together with one, and it; empty where it is not there."""
        shelf = self._open()
        name = shelf.holder(digest)
        if name is None:
            return []
        if name not in self._read:
            self._read[name] = []
            try:
                self._read[name] = shelf.manifests(name)
            except (MissingObject, Corrupt) as error:
                self.error = self.error or error
        return self._read[name]


def _bring(there: MirrorWay, shelf: MirrorShelf, lists: Sequence[Digest]) -> tuple[Moved, dict[Digest, ArtstoreError]]:
    """Fetch what is not here of the bytes of these; answers what cannot be had, and what was said of it."""
    way, root = there.way, there.way.root
    absent = blobs_not_here(root, lists)
    with Intake(root, way.session) as intake:
        fetched = shelf.fetch(intake, list(absent), telling(way.progress, "pull"))
        intake.settle()
    said: ArtstoreError | None = None
    try:
        # What waits there may build on what is at the upstream alone.
        root.blobs.bring(fetched.all)
    except (Unreachable, Denied, Corrupt) as error:
        said = error
    here = root.blobs.locate(fetched.all)
    lost = {
        digest: fetched.bad.get(digest) or said or _nowhere(f"blob {digest}")
        for digest in fetched.all
        if digest not in here
    }
    came = [size for digest, size in absent.items() if digest not in lost]
    return Moved(blobs=len(came), bytes=sum(came)), lost


def _nowhere(what: str) -> Corrupt:
    return Corrupt(f"{what} is not there", code="blob-missing")
