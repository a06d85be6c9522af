"""Upstream: how a project follows a log that is somebody else's.

What brings the log's slots here, and this store's ops there, is not known here (see artstore.sync). These are the steps
of it that change the store: each is one transaction of the journal, durable when it returns, and none is done twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from artstore.errors import Conflict
from artstore.lifecycle.before import with_others
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.ordering import is_own
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import FollowInfo
from artstore.model.digest import Digest
from artstore.model.fold import Void, fold
from artstore.model.notes import Accepted, Attached, Forget, TakenIn
from artstore.model.records import (
    AnyOp,
    Commit,
    Create,
    Delete,
    Op,
    Part,
    Relog,
    StartRun,
    brings,
    decode_op,
    encode_op,
    kind_of,
    made_by,
)
from artstore.storage.catalog import FoldView, Project, ProjectView
from artstore.storage.files import random_hex
from artstore.storage.journal import Journal, Waiting
from artstore.storage.marking import Hiding
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import Session

HOSTED: Final = "hosted"
"""Folder in a store's that has what it keeps for others."""
OWN_LOGS: Final = f"{HOSTED}/own"
"""Folder in a store's that has a file for each log which is kept there, called by its id."""


class Followed(NamedTuple):
    """How far a log was followed."""

    log: str
    """Its random id."""
    slot: int
    """The last slot that is counted here; 0: none yet."""
    head: str | None
    """Its digest."""


class TakenSlot(NamedTuple):
    """A slot of the upstream, as it is to be counted here."""

    number: int
    digest: str
    ops: list[msgspec.Raw]
    frame: msgspec.Raw
    """What it is beside its ops."""


class Taken(NamedTuple):
    """What became of ops that another store offered."""

    ops: int
    versions: int
    void: int
    """Those that would have changed nothing, and were left."""


def followed(root: Root, project: str) -> Followed | None:
    """The log that a project follows, if it follows one."""
    found = root.catalog.project(project)
    return None if found is None or found.upstream is None else Followed(found.upstream, found.slot, found.slot_head)


def following(root: Root) -> list[FollowInfo]:
    """The projects that follow a log, by name."""
    found: list[FollowInfo] = []
    for project in root.catalog.projects():
        last = followed(root, project.name)
        if last is not None:
            pending = sum(op.void is None for op in waiting(root, project.name))
            found.append(FollowInfo(project=project.name, log=last.log, slot=last.slot, pending_ops=pending))
    return found


def waiting(root: Root, project: str) -> list[Waiting]:
    """The ops of a project that no upstream has accepted, in order; all of them while it follows none."""
    catch_up(root)
    found = root.catalog.project(project)
    return [] if found is None else Journal(root.catalog, found).waiting()


def accept(
    root: Root,
    session: Session,
    project: str,
    log: str,
    slots: Sequence[TakenSlot],
    *,
    attachments: Attachments | None = None,
    awaited: Sequence[str] = (),
) -> None:
    """Count slots of a log next, in their order, and begin to follow it where the project follows none yet.

    Slots that were counted already are passed over. The versions in `awaited` came without their lists of files, and
    are not seen until these come (see `see`). Raises Conflict (other-upstream) where the project follows another
    log, Conflict (slot-gap) where a slot between is missing.
    """

    def plan(view: ProjectView) -> list[Op]:
        there = root.catalog.project(project)
        assert there is not None
        notes: list[Op] = []
        if there.upstream is None:
            notes.append(Attached(at_us=now_us(), nonce=nonce(), log=log))
        elif there.upstream != log:
            message = f"project {project!r} follows another log by now: repeat"
            raise Conflict(message, code="other-upstream")
        _keep(root, attachments)
        # One that was deleted on this machine stays so.
        new = [version for version in awaited if not view.is_forgotten(version)]
        ends = [Forget(at_us=now_us(), nonce=nonce(), version=each, forgotten=True, awaited=True) for each in new]
        return [*notes, *_notes(there, project, log, slots), *ends]

    commit(root, session, project, plan, attachments)


def want_again(root: Root, session: Session, project: str, version: str) -> None:
    """Await a version that was forgotten here: it is seen again when its list of files comes or is here: `see`."""
    note = Forget(at_us=now_us(), nonce=nonce(), version=version, forgotten=True, awaited=True)
    commit(root, session, project, lambda view: [note] if view.is_forgotten(version) else [])


def see(root: Root, session: Session, project: str, versions: Sequence[str], attachments: Attachments) -> None:
    """Let versions be seen that were awaited, whose lists of files have come."""

    def plan(view: ProjectView) -> list[Op]:
        _keep(root, attachments)
        there = [version for version in versions if view.is_awaited(version)]
        return [Forget(at_us=now_us(), nonce=nonce(), version=version, forgotten=False) for version in there]

    commit(root, session, project, plan, attachments)


def keeps_log(root: Root, project: str) -> bool:
    """Whether the log that a project follows is kept in this store, so that others rely on what it has."""
    found = root.catalog.project(project)
    return found is not None and found.upstream is not None and (root.path / OWN_LOGS / found.upstream).exists()


def hiding(root: Root) -> Hiding:
    """Which ends of versions free nothing here unasked: those that were decided elsewhere."""
    keeping = [project.id for project in root.catalog.projects() if keeps_log(root, project.name)]
    return Hiding(root.format.store_id, keeping)


def take(
    root: Root,
    session: Session,
    project: str,
    ops: Sequence[msgspec.Raw],
    *,
    attachments: Attachments | None = None,
    undecided: bool = False,
    told: Callable[[Sequence[AnyOp]], list[Op]] | None = None,
) -> Taken:
    """Let ops that another store offers come behind what is here, in one transaction.

    Those that were here ever are passed over, and so are those that would change nothing. With `undecided` those of
    them are taken too that make a collection or a version which has no place where this store's log is not the order,
    with what hangs on it: nobody else may have it by the time that somebody decides. `told` says what is noted of those
    that are taken; else it is that they came from another store.
    """
    found = Taken(0, 0, 0)

    def plan(_view: ProjectView) -> list[Op]:
        nonlocal found
        there = root.catalog.project(project)
        assert there is not None
        journal = Journal(root.catalog, there)
        new = [op for op in map(bytes, ops) if not journal.has(str(Digest.of(op)))]
        kept = _that_change(root, there, new, undecided=undecided and not is_own(root.path, there))
        found = Taken(len(kept), sum(kind_of(op) == "commit" for op in kept), len(new) - len(kept))
        if not kept:
            return []
        _keep(root, attachments)
        return [*kept, *(_taken_in if told is None else told)(kept)]

    commit(root, session, project, plan, attachments)
    return found


def _taken_in(ops: Sequence[AnyOp]) -> list[Op]:
    making = [str(Digest.of(encode_op(op))) for op in ops if isinstance(op, Create | Commit | Relog | Part | StartRun)]
    return [TakenIn(at_us=now_us(), nonce=nonce(), ops=making)] if making else []


@contextlib.contextmanager
def foreseen(root: Root, project: str, bodies: Iterable[bytes]) -> Iterator[Project]:
    """While this lasts, the tables show what would be there if these ops came behind what is here; then nothing of it.

    Ops that were here ever are passed over.
    """
    with root.catalog.write(), contextlib.suppress(_Tried), root.catalog.step():
        found = root.catalog.project(project) or root.catalog.add_project(project, random_hex(16))
        journal = Journal(root.catalog, found)
        _fold_behind(root, found, (body for body in bodies if not journal.has(str(Digest.of(body)))))
        yield found
        raise _Tried


def ends_of(
    root: Root,
    project: str,
    view: ProjectView,
    versions: Sequence[str],
    *,
    everywhere: bool = False,
    forced: bool = True,
) -> list[Op]:
    """What ends versions: what others have or made (see `with_others`) is forgotten here only, unless `everywhere`.

    The end of what nobody else has seen travels with it, and frees nobody of more than a number. Where it is not
    `forced`, it is void behind what others have said of a version meanwhile.
    """
    ended = frozenset(ending(root, project, view, versions, everywhere=everywhere))
    return [
        Delete(at_us=now_us(), nonce=nonce(), version=version, store=root.format.store_id, forced=forced)
        if version in ended
        else Forget(at_us=now_us(), nonce=nonce(), version=version, forgotten=True)
        for version in versions
    ]


def ending(
    root: Root, project: str, view: ProjectView, versions: Sequence[str], *, everywhere: bool = False
) -> list[str]:
    """Those of some versions that `ends_of` ends for all who have them; the others are forgotten here only."""
    others = frozenset[str]() if everywhere else with_others(root, project, view, versions)
    return [version for version in versions if version not in others]


def attach(root: Root, session: Session, project: str, log: str | None) -> None:
    """Follow a log from its beginning, or none. What another one has accepted waits again, in the same order."""
    commit(root, session, project, lambda _view: [Attached(at_us=now_us(), nonce=nonce(), log=log)])


def _keep(root: Root, attachments: Attachments | None) -> None:
    for encoding in () if attachments is None else attachments.manifests:
        root.manifests.keep(encoding.digest)


def _that_change(root: Root, project: Project, bodies: Iterable[bytes], *, undecided: bool) -> list[AnyOp]:
    """Those of some ops that change something where they come now, one after the other."""
    kept: list[AnyOp] = []
    with contextlib.suppress(_Tried), root.catalog.step():
        kept = _fold_behind(root, project, bodies, undecided=undecided)
        raise _Tried
    return kept


def _fold_behind(root: Root, project: Project, bodies: Iterable[bytes], *, undecided: bool = False) -> list[AnyOp]:
    """Let the tables show what some ops come to, and no more; answers those that change something.

    With `undecided` also those of collections and versions that have no place.
    """
    unplaced: set[str] | None = None
    view = FoldView(root.catalog, project.id)
    kept: list[AnyOp] = []
    for position, body in enumerate(bodies, start=1 << 40):
        op = decode_op(body)
        outcome = fold(view, str(Digest.of(body)), op, position)
        if not isinstance(outcome, Void):
            view.apply(outcome)
            kept.append(op)
        elif undecided:
            if unplaced is None:
                # What came before these may be what they hang on, such as what they end.
                before = [(id_, decode_op(known)) for id_, known in Journal(root.catalog, project).unplaced()]
                unplaced = set[str]().union(*(_made(id_, known) for id_, known in before if _is_away(view, id_, known)))
            if _makes(view, op) or not unplaced.isdisjoint(named_by(op)):
                unplaced |= _made(str(Digest.of(body)), op)
                kept.append(op)
    return kept


def _made(id_: str, op: AnyOp) -> set[str]:
    """An op by its id, and what it makes."""
    return {each for each in (id_, brings(id_, op), made_by(id_, op) if isinstance(op, Create) else None) if each}


def _makes(view: FoldView, op: AnyOp) -> bool:
    """Whether a void op was to make a collection or a version, which is not there."""
    if isinstance(op, Commit | Relog):
        return view.version(str(op.record.id)) is None
    return isinstance(op, Create)


def _is_away(view: FoldView, id_: str, op: AnyOp) -> bool:
    """Whether what an op was to make is not there either by another one."""
    return view.collection(made_by(id_, op)) is None if isinstance(op, Create) else _makes(view, op)


def named_by(op: AnyOp) -> list[str]:
    """Ids of the collections and versions that an op is about, and does not make."""
    named = [getattr(op, field, None) for field in ("collection", "target", "version", "portfolio")]
    if isinstance(op, Commit | Relog):
        named.append(op.record.collection)
    return [each for each in named if isinstance(each, str)]


class _Tried(Exception):
    """It was done only to see what would come of it."""


def _notes(there: Project, project: str, log: str, slots: Iterable[TakenSlot]) -> list[Op]:
    last = there.slot if there.upstream is not None else 0
    notes: list[Op] = []
    for slot in slots:
        if slot.number <= last:
            continue
        if slot.number != last + 1:
            message = f"slot {slot.number} of the log that {project!r} follows came before slot {last + 1}: repeat"
            raise Conflict(message, code="slot-gap")
        number, digest, ops, frame = slot
        notes.append(Accepted(at_us=now_us(), nonce=nonce(), log=log, slot=number, digest=digest, ops=ops, frame=frame))
        last = slot.number
    return notes
