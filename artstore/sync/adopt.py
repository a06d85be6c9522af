"""Adopt: a store comes to follow another log than it did, or one that was set back.

What the new log lacks waits then, in the order so far, others' ops included. So a log that is new and empty keeps all
numbers; where others have written to it before, their ops come first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from artstore.errors import ArtstoreError, Conflict, Corrupt, Denied, Invalid, Unreachable
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.set_aside import check_can_be_set_aside, set_aside
from artstore.lifecycle.upstream import accepted, attach, keeps_log, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.records import decode_op, manifest_of
from artstore.storage.catalog import Project
from artstore.storage.journal import Journal, Waiting
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive
from artstore.store import Store
from artstore.sync.absent import sweep_absent
from artstore.sync.apart import apart
from artstore.sync.depot import Depot
from artstore.sync.history import History, history
from artstore.sync.protocol import Remote, read_slot
from artstore.sync.pull import new_slots, refuse_apart
from artstore.sync.push import Pushed, push
from artstore.sync.put_back import put_back
from artstore.sync.remotes import Settings, add_remote, open_remote, upstream_of
from artstore.sync.reports import Moved, ProjectReport, RemoteInfo, SyncReport
from artstore.sync.way import Way


def add_upstream(
    store: Store,
    name: str,
    url: str,
    *,
    join: bool,
    background: bool = False,
    only: Sequence[str] = (),
    aside: Mapping[str, str] | None = None,
    token_file: Path | None = None,
) -> RemoteInfo:
    """Note a remote as the upstream; projects that followed another log follow the one there from now on.

    Nothing is moved yet, and projects that its token is not for are passed over. Raises Conflict (needs-join), before
    anything is changed, where a project has ops that the log there lacks, and the other way round, unless `join`: then
    its own wait behind those there. `aside` has new names for such projects: what was made here has that name from now
    on, here and there, and the old one is that of the log there. "" stands for the only such project.

    Raises Conflict (not-the-owner) in a store that keeps logs for others, Conflict (project-exists, not-its-own) and
    Invalid (nothing-to-rename) for what `aside` names, and as add_remote.
    """
    _refuse_chain(store)
    file = None if token_file is None else str(token_file.absolute())
    root, remote = store.root, open_remote(Settings(url=url, token_file=file))
    with Exclusive(root.path, "sync", patience_s=PATIENCE_S), root.session("adopt") as session:
        reachable = _reachable(remote, root.catalog.projects())
        others = [project for project in reachable if _is_another(remote, project)]
        for project in others:
            if not join:
                refuse_apart(remote, project.name, {op.id for op in Journal(root.catalog, project).ops()})
        renamed = _renamed(root, remote, reachable, aside or {}, join=join)
        info = add_remote(
            store.path,
            name,
            url,
            upstream=True,
            join=join,
            background=background,
            only=only,
            token_file=token_file,
        )
        for project in others:
            attach(root, session, project.name, None)
        for before, after in renamed.items():
            set_aside(root, session, before, after)
    return info


def _reachable(remote: Remote, projects: Sequence[Project]) -> list[Project]:
    """Those projects that may be asked about there: a token may be for one, and the others are then none of its."""
    found: list[Project] = []
    for project in projects:
        with contextlib.suppress(Denied):
            read_slot(remote, project.name, 1)
            found.append(project)
    return found


def _renamed(
    root: Root, remote: Remote, projects: Sequence[Project], aside: Mapping[str, str], *, join: bool
) -> dict[str, str]:
    """The new names of projects that began apart from the log there. Raises as add_upstream."""
    alone = [project for project in projects if project.upstream is None]
    found = [each for project in alone if (each := apart(root, remote, project)) is not None]
    names = {each.project for each in found}
    chosen = {(found[0].project if len(found) == 1 and not old else old): new for old, new in aside.items()}
    for old, new in chosen.items():
        if old not in names:
            which = "several projects differ" if not old and found else f"there is nothing that {new!r} could stand for"
            message = (
                f"{which}: those that have versions both here and at {remote.url}, made apart, are "
                f"{', '.join(sorted(names)) or 'none'}; write --as PROJECT={new} for one"
            )
            raise Invalid(message, code="nothing-to-rename")
        check_can_be_set_aside(root, old, new)
        if read_slot(remote, new, 1) is not None:
            message = f"there is a project {new!r} at {remote.url} already: choose another name for what {old!r} has"
            raise Conflict(message, code="project-exists")
    left = next((each for each in found if each.project not in chosen), None)
    if left is not None and not join:
        message = (
            f"project {left.project!r} has a log at {remote.url}, and this store another one: {left.words}. With "
            "--join this store follows that one, and what was made here comes behind it; with --as NAME what was made "
            "here becomes the project NAME, here and there"
        )
        raise Conflict(message, code="needs-join")
    return chosen


def _refuse_chain(store: Store) -> None:
    """Raise Conflict (not-the-owner) where others follow this store: its log would have two orders."""
    kept = next((each.name for each in store.root.catalog.projects() if keeps_log(store.root, each.name)), None)
    if kept is not None:
        message = (
            f"this store serves the log of {kept!r}, which others follow, so it cannot follow another one itself: let "
            "them follow that one as well, or serve from a store that has no upstream"
        )
        raise Conflict(message, code="not-the-owner")


def _is_another(remote: Remote, project: Project) -> bool:
    """Whether a project follows a log, and not the one at a place."""
    if project.upstream is None:
        return False
    first = read_slot(remote, project.name, 1)
    return first is None or first.slot.log != project.upstream


def recover(store: Store, *, progress: Progress | None = None) -> SyncReport:
    """Give an upstream that was set back what it has lost, as far as this store knows it.

    Slots that a depot has lost in the middle are put back as they were; what is lost at the end is offered again, in
    the same order. What waited before is sent too, as with a push, and what needs bytes that are missing here stays.
    What goes wrong with one project is in its report, as that the place has another log by now (other-log).

    Raises Conflict (nothing-to-recover) where it has all that was ever taken from it, NotFound (no-upstream),
    Unreachable.
    """
    began = time.monotonic()
    name, settings = upstream_of(store.path)
    remote, root = open_remote(settings), store.root
    with Exclusive(root.path, "sync", patience_s=PATIENCE_S), root.session("recover") as session:
        ways = [
            Way(root, session, remote, each.name, join=True, progress=progress, only=settings.chosen(each.name))
            for each in root.catalog.projects()
            if each.upstream is not None
        ]
        reports = [report for way in ways if (report := _recover(way)) is not None]
        if not reports:
            message = f"{name} has all that was ever taken from it: there is nothing to recover"
            raise Conflict(message, code="nothing-to-recover")
    return SyncReport(remote=name, verb="sync", dry_run=False, projects=reports, seconds=time.monotonic() - began)


def _recover(way: Way) -> ProjectReport | None:
    """Recover one project; None where nothing of it was lost."""
    pulled = pushed = Moved()
    error: ArtstoreError | None = None
    try:
        if isinstance(way.remote, Depot):
            pushed = put_back(way, way.remote)
        if _is_set_back(way):
            offered = _offer_again(way)
            pulled, pushed, error = offered.pulled, pushed.plus(offered.pushed), offered.left
        elif not pushed.slots:
            return None
    except Unreachable:
        raise
    except ArtstoreError as problem:
        error = problem
    return ProjectReport(
        project=way.project,
        pulled=pulled,
        pushed=pushed,
        error=None if error is None else error.message,
        code=None if error is None else error.code,
        exit_code=0 if error is None else error.exit_code,
    )


def _offer_again(way: Way) -> Pushed:
    before, project = way.followed, way.root.catalog.project(way.project)
    assert before is not None
    assert project is not None
    known = history(way.root, project)
    # It had these before, whatever is chosen to be sent there now.
    also = frozenset(accepted(way.root, way.project))
    if isinstance(way.remote, Depot):
        sweep_absent(way, way.remote, before.log)
    # The same log also where it is empty: whoever had followed it can tell it from somebody else's.
    attach(way.root, way.session, way.project, before.log)
    pulled, pushed, left = push(way._replace(also=also))
    senders = [] if left is None else _senders(way, known)
    if left is not None and senders:
        where = f"store {senders[0]}" if len(senders) == 1 else f"the stores {', '.join(senders)}"
        message = (
            f"{left.message}. It was sent by {where}, as `artstore status` calls it there: let that one recover first, "
            "then run `artstore push` here"
        )
        left = Corrupt(message, code=left.code)
    return Pushed(pulled, pushed, left)


def _senders(way: Way, known: History) -> list[str]:
    """Ids of the other stores that sent what waits here now for its bytes."""
    waits = {op.id for op in waiting(way.root, way.project) if not _is_here(way.root, op)}
    slots = (slot for slot in known.slots if any(str(Digest.of(bytes(raw))) in waits for raw in slot.ops))
    senders = {msgspec.json.decode(slot.frame, type=_Sender).store for slot in slots}
    return sorted(senders - {way.root.format.store_id})


def _is_here(root: Root, op: Waiting) -> bool:
    """Whether all bytes are here that an op brings."""
    named = manifest_of(decode_op(op.body))
    if named is None:
        return True
    if root.manifests.find(Digest.parse(named)) is None:
        return False
    entries = root.manifests.entries(Digest.parse(named))
    blobs = {blob.digest for entry in entries if (blob := blob_of(entry)) is not None}
    return blobs <= root.blobs.locate(list(blobs)).keys()


class _Sender(msgspec.Struct):
    store: str


def _is_set_back(way: Way) -> bool:
    try:
        for _slot in new_slots(way):
            pass
    except Conflict as error:
        if error.code != "rolled-back":
            raise
        return True
    return False
