"""Adopt: a store comes to follow another log than it did, or one that was set back.

What the new log lacks waits then, in the order so far, others' ops included. So a log that is new and empty keeps all
numbers; where others have written to it before, their ops come first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from artstore.errors import Conflict
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.upstream import attach, keeps_log
from artstore.storage.catalog import Project
from artstore.storage.journal import Journal
from artstore.storage.sessions import Exclusive
from artstore.store import Store
from artstore.sync.absent import sweep_absent
from artstore.sync.depot import Depot
from artstore.sync.protocol import Remote, read_slot
from artstore.sync.pull import new_slots, refuse_apart
from artstore.sync.push import push
from artstore.sync.remotes import Settings, add_remote, open_remote, upstream_of
from artstore.sync.reports import ProjectReport, RemoteInfo, SyncReport
from artstore.sync.way import Way


def add_upstream(
    store: Store,
    name: str,
    url: str,
    *,
    join: bool,
    background: bool = False,
    only: Sequence[str] = (),
    token_file: Path | None = None,
) -> RemoteInfo:
    """Note a remote as the upstream; projects that followed another log follow the one there from now on.

    Nothing is moved yet. Raises Conflict (needs-join), before anything is changed, where a project has ops that the log
    there lacks, and the other way round, unless `join`: then its own wait behind those there. Raises Conflict
    (not-the-owner) in a store that keeps logs for others, and as add_remote.
    """
    _refuse_chain(store)
    file = None if token_file is None else str(token_file.absolute())
    root, remote = store.root, open_remote(Settings(url=url, token_file=file))
    with Exclusive(root.path, "sync"), root.session("adopt") as session:
        others = [project for project in root.catalog.projects() if _is_another(remote, project)]
        for project in others:
            if not join:
                refuse_apart(remote, project.name, {op.id for op in Journal(root.catalog, project).ops()})
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
    return info


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
    """Offer an upstream that was set back what it has lost, as far as this store knows it, in the same order.

    Raises Conflict (nothing-to-recover) where it has all that was ever taken from it, NotFound (no-upstream), and what
    `push` does.
    """
    began = time.monotonic()
    name, settings = upstream_of(store.path)
    remote, root = open_remote(settings), store.root
    with Exclusive(root.path, "sync"), root.session("recover") as session:
        ways = [
            Way(root, session, remote, each.name, join=True, progress=progress)
            for each in root.catalog.projects()
            if each.upstream is not None
        ]
        lost = [way for way in ways if _is_set_back(way)]
        if not lost:
            message = f"{name} has all that was ever taken from it: there is nothing to recover"
            raise Conflict(message, code="nothing-to-recover")
        reports: list[ProjectReport] = []
        for way in lost:
            before = way.followed
            assert before is not None
            if isinstance(remote, Depot):
                sweep_absent(way, remote, before.log)
            attach(root, session, way.project, None)
            pulled, pushed = push(way)
            reports.append(ProjectReport(project=way.project, pulled=pulled, pushed=pushed))
    return SyncReport(remote=name, verb="sync", dry_run=False, projects=reports, seconds=time.monotonic() - began)


def _is_set_back(way: Way) -> bool:
    try:
        for _slot in new_slots(way):
            pass
    except Conflict as error:
        if error.code != "rolled-back":
            raise
        return True
    return False
