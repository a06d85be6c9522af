"""Recover: a remote that has lost something is given it again, as far as this store has it.

An upstream may have been set back to an older state, or have lost slots of its log or bytes that versions need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import msgspec

from artstore.errors import ArtstoreError, Conflict, Corrupt, Invalid, Unreachable
from artstore.lifecycle.before import accepted_once, slots_once
from artstore.lifecycle.ordering import names_upstream
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.reports import Skipped
from artstore.lifecycle.upstream import attach, waiting
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.records import decode_op, manifest_of
from artstore.storage.journal import Waiting
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive
from artstore.store import Store
from artstore.sync.connect import connect
from artstore.sync.depots.absent import sweep_absent
from artstore.sync.depots.depot import Depot
from artstore.sync.drop_slot import drop_slot
from artstore.sync.history import senders
from artstore.sync.http.opening import Server, is_server
from artstore.sync.mirrors.mirror import Mirror
from artstore.sync.mirrors.recover import recover_mirror
from artstore.sync.mirrors.way import MirrorWay
from artstore.sync.pull import new_slots
from artstore.sync.push import Pushed, push
from artstore.sync.put_back import put_back
from artstore.sync.remotes import (
    Settings,
    find_remote,
    open_mirror,
    open_remote,
    read_remotes,
    upstream_of,
)
from artstore.sync.reports import Moved, ProjectReport, SyncReport
from artstore.sync.send_again import send_again
from artstore.sync.way import Way


def recover(
    store: Store,
    name: str | None = None,
    *,
    read_all: bool = False,
    damaged: Sequence[str] = (),
    drop_unreadable: bool = False,
    progress: Progress | None = None,
) -> SyncReport:
    """Give a remote what it has lost, as far as this store knows it: that of this name, or the upstream.

    Slots that a server has lost, or a depot in the middle of its log, are put back as they were; where it was set back,
    what is behind is offered again, in the same order, and what waited before is sent too, as with a push. Then it is
    looked which bytes and lists of files of accepted versions are gone or have another length there, and they are sent
    again; with `read_all` all are read there, or with `damaged` those with these digests, and what is not as it should
    be is sent too. A mirror gets what a push brings it, and in the same way what is not as it should be there. What
    cannot be sent, since it is not here either, is in the report, as is what goes wrong with one project, such as that
    the place has another log by now (other-log).

    With `drop_unreadable` the last slot of a log in a depot is taken away first, where it cannot be read and this store
    has not counted it: a store that has must recover before, or it goes on from an older state (rolled-back).

    Raises Conflict (nothing-to-recover) where it has all that was ever taken from it, NotFound (no-upstream,
    remote-not-found), Invalid (not-the-upstream, not-a-depot, bad-digest), Unreachable.
    """
    began = time.monotonic()
    doubted = list(map(Digest.parse, damaged))
    name, settings = _chosen(store, name)
    connect(store)
    mirror, root = open_mirror(settings), store.root
    remote = open_remote(settings) if mirror is None else mirror
    if drop_unreadable and (mirror is not None or not isinstance(remote, Depot)):
        message = f"only an upstream that is a depot has slots that can be dropped, and {name!r} is none"
        raise Invalid(message, code="not-a-depot")
    with Exclusive(root.path, "sync", patience_s=PATIENCE_S), root.session("recover") as session:
        here = [each for each in root.catalog.projects() if each.upstream is not None or mirror is not None]
        # What keeps this store from beginning to follow a project is not known here at all.
        names = {each.name for each in here}.union(remote.projects() if drop_unreadable else ())
        ways = [
            Way(root, session, remote, each, join=True, progress=progress, only=settings.chosen(each))
            for each in sorted(names)
        ]
        each_of = partial(_recover if mirror is None else _recover_in_mirror, read_all=read_all, doubted=doubted)
        each_of = partial(_dropping, each_of) if drop_unreadable else each_of
        reports = [report for way in ways if (report := each_of(way)) is not None]
        if not reports:
            message = f"{name} has all that was ever taken from it: there is nothing to recover"
            raise Conflict(message, code="nothing-to-recover")
    return SyncReport(remote=name, verb="sync", dry_run=False, projects=reports, seconds=time.monotonic() - began)


def _chosen(store: Store, name: str | None) -> tuple[str, Settings]:
    if name is None:
        return upstream_of(store.path)
    settings = find_remote(read_remotes(store.path), name)
    if not settings.upstream and is_server(settings.url):
        message = f"{name!r} is not the upstream of this store: a server is given it by those whose upstream it is"
        raise Invalid(message, code="not-the-upstream")
    return name, settings


def _recover_in_mirror(way: Way, *, read_all: bool, doubted: Sequence[Digest]) -> ProjectReport | None:
    """Recover one project in a mirror; None where nothing of it was lost."""
    assert isinstance(way.remote, Mirror)
    there = MirrorWay(way, way.remote, has_upstream=names_upstream(way.root.path))
    pushed, errors = Moved(), list[ArtstoreError]()
    try:
        pushed, left = recover_mirror(there, read_all=read_all, doubted=doubted)
        errors += [] if left is None else [left]
    except Unreachable:
        raise
    except ArtstoreError as problem:
        errors.append(problem)
    return _report(way, Moved(), pushed, errors, [])


def _dropping(then: Callable[[Way], ProjectReport | None], way: Way) -> ProjectReport | None:
    """Recover one project, having taken away what nobody can read at the end of its log."""
    assert isinstance(way.remote, Depot)
    try:
        dropped = Moved(dropped_slots=int(drop_slot(way, way.remote)))
    except Conflict as problem:
        return _report(way, Moved(), Moved(), [problem], [])
    report = None if way.followed is None else then(way)
    if report is None:
        return _report(way, Moved(), dropped, [], [])
    return msgspec.structs.replace(report, pushed=report.pushed.plus(dropped))


def _recover(way: Way, *, read_all: bool, doubted: Sequence[Digest]) -> ProjectReport | None:
    """Recover one project; None where nothing of it was lost."""
    pulled = pushed = Moved()
    errors: list[ArtstoreError] = []
    lost: list[Skipped] = []
    try:
        pushed = put_back(way)
        is_set_back = _is_set_back(way)
        if is_set_back:
            _follow_again(way)
        if is_set_back or _waits_again(way):
            offered = _offer_again(way)
            pulled, pushed = offered.pulled, pushed.plus(offered.pushed)
            errors += [] if offered.left is None else [offered.left]
        again = send_again(way, read_all=read_all, doubted=doubted)
        pushed, lost = pushed.plus(again.moved), again.lost
        errors += [] if again.left is None else [again.left]
    except Unreachable:
        raise
    except ArtstoreError as problem:
        errors.append(problem)
    return _report(way, pulled, pushed, errors, lost)


def _report(
    way: Way, pulled: Moved, pushed: Moved, errors: Sequence[ArtstoreError], lost: list[Skipped]
) -> ProjectReport | None:
    if not errors and pulled == pushed == Moved():
        return None
    error = errors[0] if errors else None
    return ProjectReport(
        project=way.project,
        pulled=pulled,
        pushed=pushed,
        error=". ".join(each.message for each in errors) or None,
        code=None if error is None else error.code,
        exit_code=0 if error is None else error.exit_code,
        lost=lost,
    )


def _follow_again(way: Way) -> None:
    """Let all that the log has lost wait, to be offered again."""
    before = way.followed
    assert before is not None
    if isinstance(way.remote, Depot):
        sweep_absent(way, way.remote, before.log)
    # The same log also where it is empty: whoever had followed it can tell it from somebody else's.
    attach(way.root, way.session, way.project, before.log)


def _waits_again(way: Way) -> bool:
    """Whether a recovery did not come to its end, since it was killed or bytes were missing."""
    project = way.root.catalog.project(way.project)
    assert project is not None
    once = accepted_once(way.root.catalog, project)
    return any(op.void is None and op.id in once for op in waiting(way.root, way.project))


def _offer_again(way: Way) -> Pushed:
    pulled, pushed, left = push(way)
    others = [] if left is None else _senders(way)
    itself = cast("Server", way.remote).about().store if others and is_server(way.remote.url) else None
    if left is not None and itself in others:
        message = f"{left.message}. The server made it itself, and it was lost with what it was set back from"
        left = Corrupt(message, code=left.code)
        others.remove(itself)
    if left is not None and others:
        where = f"store {others[0]}" if len(others) == 1 else f"the stores {', '.join(others)}"
        message = (
            f"{left.message}. It was sent by {where}, as `artstore status` calls it there: let that one recover first, "
            "then run `artstore push` here"
        )
        left = Corrupt(message, code=left.code)
    return Pushed(pulled, pushed, left)


def _senders(way: Way) -> list[str]:
    """Ids of the other stores that sent what waits here now for its bytes."""
    project = way.root.catalog.project(way.project)
    assert project is not None
    waits = {op.id for op in waiting(way.root, way.project) if not _is_here(way.root, op)}
    return sorted(
        senders(slots_once(way.root.catalog, project), lambda body: str(Digest.of(body)) in waits)
        - {way.root.format.store_id}
    )


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


def _is_set_back(way: Way) -> bool:
    try:
        for _slot in new_slots(way):
            pass
    except Conflict as error:
        if error.code != "rolled-back":
            raise
        return True
    return False
