"""Runs: who makes versions and what they use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import msgspec

from artstore.errors import ArtstoreError, Conflict, Invalid, NotFound
from artstore.lifecycle.commit import commit, commit_and_answer, nonce, now_us, time_us
from artstore.lifecycle.find import check_text
from artstore.lifecycle.label import checked_metadata
from artstore.lifecycle.reports import End, RunInfo, RunPage, VersionInfo
from artstore.lifecycle.resolve import find_project, resolve
from artstore.model.names import Reference, listed, project_name, run_id, run_label, run_tag
from artstore.model.records import EditRun, FinishRun, Op, StartRun, Use
from artstore.model.state import Run, RunFacts
from artstore.storage import run_locks
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.files import random_hex
from artstore.storage.queries import Queries
from artstore.storage.root import Root
from artstore.storage.run_locks import Dead, RunLock


def start_run(
    root: Root,
    project: str,
    *,
    id: str | None = None,
    name: str | None = None,
    job_type: str | None = None,
    group: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    started_at: float | None = None,
) -> RunInfo:
    """Begin a run; one whose id is there already goes on, and what is not given stays as it was.

    started_at is for a run of the past. Raises Invalid (bad-run-id, bad-run-label, bad-tag, bad-metadata, bad-time).
    """
    _check_labels(name, job_type, group)
    owner = project_name(project)
    run = random_hex(4) if id is None else run_id(id)
    op = StartRun(
        at_us=time_us(started_at),
        nonce=nonce(),
        run=run,
        name=name,
        job_type=job_type,
        group=group,
        notes=notes,
        tags=_checked_tags(tags),
        config=checked_metadata(config or {}),
    )
    mark_crashed(root)

    def plan(view: ProjectView) -> list[Op]:
        row = view.run(run)
        return [msgspec.structs.replace(op, after=None if row is None else view.begun_here(row))]

    return _record(root, owner, run, plan)


def edit_run(
    root: Root,
    project: str,
    run: str,
    *,
    config: Mapping[str, Any] | None = None,
    remove: Sequence[str] = (),
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
) -> RunInfo:
    """Change what is said about a run; what is None stays. Config keys are set and removed one by one.

    Raises NotFound (run-not-found, no-such-key), Invalid (bad-metadata, bad-run-label, bad-tag).
    """
    _check_labels(name)
    values = checked_metadata(config or {})
    wanted = None if tags is None else _checked_tags(tags)
    run_row(root, project, run)

    def plan(view: ProjectView) -> list[Op]:
        row = view.run(run)
        begun = None if row is None else view.begun_here(row)
        there = {} if row is None else row.facts(begun).config
        missing = [key for key in remove if key not in there]
        if missing:
            message = f"the config of run {run!r} has no key {missing[0]!r} (it has: {', '.join(there) or 'none'})"
            raise NotFound(message, code="no-such-key")
        op = EditRun(
            at_us=now_us(),
            nonce=nonce(),
            run=run,
            set=values,
            remove=list(remove),
            name=name,
            notes=notes,
            tags=wanted,
            begun=begun,
        )
        says_something = bool(values or remove) or any(each is not None for each in (name, notes, wanted))
        return [op] if says_something else []

    return _record(root, project, run, plan)


def finish_run(
    root: Root,
    project: str,
    run: str,
    state: End,
    ended_at: float | None = None,
) -> RunInfo:
    """End a run, now or at some time in the past. Raises NotFound (run-not-found), Invalid (bad-state, bad-time)."""
    if state not in get_args(End):
        message = f"{state!r} is no way for a run to end: it is finished, or crashed"
        raise Invalid(message, code="bad-state")
    run_row(root, project, run)
    at_us = time_us(ended_at)

    def plan(view: ProjectView) -> list[Op]:
        row = view.run(run)
        begun = None if row is None else view.begun_here(row)
        return [FinishRun(at_us=at_us, nonce=nonce(), run=run, state=state, begun=begun)]

    return _record(root, project, run, plan)


def hold_run(root: Root, project: str, run: str) -> RunLock:
    """Show that a run lives, for as long as this process does or until the hold is released.

    Raises NotFound (run-not-found), Conflict (run-ended).
    """
    root.catalog.check_writable()
    while True:
        begun, state = _begun(root, project, run)
        if state != "running":
            message = f"run {run!r} of project {project!r} is {state}: start it again, then hold it"
            raise Conflict(message, code="run-ended")
        lock = RunLock(root.path, begun)
        if _begun(root, project, run) == (begun, state):
            return lock
        lock.release()


def mark_crashed(root: Root) -> None:
    """Mark the runs crashed whose processes on this machine are all dead.

    Where that cannot be written now it is written the next time.
    """
    if root.read_only:
        return
    # In this order: a run is in the catalog before there is a file of it.
    there = run_locks.starts(root.path)
    running = {run_locks.start_of(begun): (begun, *where) for begun, where in root.catalog.running().items()}
    for start in there & running.keys():
        with contextlib.suppress(ArtstoreError, OSError):
            _mark_if_dead(root, *running[start])
    if there - running.keys():
        run_locks.clear(root.path, running)


def use(root: Root, project: str, run: str, reference: Reference) -> VersionInfo:
    """Note that a run reads a version; `prune` keeps what was used. Raises NotFound (run-not-found)."""
    run_row(root, project, run)
    target = resolve(root, reference)

    def plan(_view: ProjectView) -> list[Op]:
        op = Use(
            at_us=now_us(),
            nonce=nonce(),
            run=run,
            project=target.project.name,
            version=target.version.id,
            name=f"{target.collection.name}:v{target.version.number}",
            digest=target.version.manifest,
        )
        return [op]

    # Before: after the link nothing may fail.
    info = target.info()
    with root.session("use") as session:
        commit(root, session, project, plan)
    return info


def run_info(root: Root, project: str, run: str) -> RunInfo:
    """A run by its id. Raises NotFound (project-not-found, run-not-found)."""
    mark_crashed(root)
    return describe_run(project, run_row(root, project, run))


def all_runs(root: Root, project: str | None, group: str | None) -> list[RunInfo]:
    """The runs of a project, or of all, and of a group, or of any; the newest first."""
    if project is not None:
        project_name(project)
    mark_crashed(root)
    found = [
        describe_run(each.name, run)
        for each in root.catalog.projects()
        if project in {None, each.name}
        for run in ProjectView(root.catalog, each.id).runs()
        if group in {None, run.group}
    ]
    return sorted(found, key=lambda run: run.started_at, reverse=True)


def page_of_runs(root: Root, project: str | None, group: str | None, *, start: int, limit: int) -> RunPage:
    """The same, `limit` of them behind the first `start`. Raises Invalid (bad-name, bad-query, bad-limit)."""
    if start < 0 or limit < 1:
        message = f"a page of {limit} behind the first {start} is none: ask for 1 or more behind the first 0 or more"
        raise Invalid(message, code="bad-limit")
    if project is not None:
        project_name(project)
    if group is not None:
        check_text(group)
    mark_crashed(root)
    with root.catalog.snapshot():
        known = {each.id: each for each in root.catalog.projects() if project in {None, each.name}}
        total, rows = Queries(root.catalog).runs(list(known), group, start, limit)
        views = {id_: ProjectView(root.catalog, id_) for id_ in known}
        found = [(known[owner].name, views[owner].run(id_)) for owner, id_ in rows]
    return RunPage(runs=[describe_run(name, run) for name, run in found if run is not None], total=total)


def _record(root: Root, project: str, run: str, plan: Callable[[ProjectView], list[Op]]) -> RunInfo:
    def after(_project: Project, view: ProjectView) -> RunInfo:
        row = view.run(run)
        assert row is not None
        return _described(project, row, row.facts(view.begun_here(row)))

    with root.session("run") as session:
        return commit_and_answer(root, session, project, plan, answer=after)


def describe_run(project: str, run: Run) -> RunInfo:
    """How a run is shown."""
    apart = [_described(project, run, facts) for facts in run.apart.values()]
    return msgspec.structs.replace(_described(project, run, run), apart=apart)


def _described(project: str, run: Run, facts: RunFacts) -> RunInfo:
    return RunInfo(
        id=run.id,
        project=project,
        name=facts.name or run.id,
        job_type=facts.job_type,
        group=facts.group,
        notes=facts.notes,
        tags=facts.tags,
        config=facts.config,
        state=facts.state,
        started_at=facts.started_us / 1e6,
        ended_at=None if facts.ended_us is None else facts.ended_us / 1e6,
    )


def _begun(root: Root, project: str, run: str) -> tuple[str, str]:
    """With which op a run began, or last went on, as this store knows it, and its state."""
    row = run_row(root, project, run)
    begun = find_project(root, project)[1].begun_here(row)
    return begun, row.facts(begun).state


def run_row(root: Root, project: str, run: str) -> Run:
    """A run by its id, as the catalog has it. Raises NotFound (project-not-found, run-not-found), Invalid (bad-…)."""
    _, view = find_project(root, project)
    row = view.run(run_id(run))
    if row is None:
        message = f"there is no run {run!r} in project {project!r}"
        raise NotFound(message, code="run-not-found")
    return row


def _mark_if_dead(root: Root, begun: str, project: str, run: str) -> None:
    dead = Dead(root.path, begun)
    is_over = False

    def plan(view: ProjectView) -> list[Op]:
        nonlocal is_over
        row = view.run(run)
        is_known = row is not None and begun in {row.begun, *row.apart}
        is_over = row is None or not is_known or row.facts(begun).state != "running"
        if is_over or not dead.is_certain():
            return []
        is_over = True
        return [FinishRun(at_us=now_us(), nonce=nonce(), run=run, state="crashed", begun=begun)]

    try:
        if dead.is_certain():
            with root.session("run") as session:
                commit(root, session, project, plan)
    except BaseException:
        is_over = False
        raise
    finally:
        dead.close(forget=is_over)


def _check_labels(*labels: str | None) -> None:
    for label in filter(None, labels):
        run_label(label)


def _checked_tags(tags: Sequence[str]) -> list[str]:
    """Tags of a run, each once."""
    return list(dict.fromkeys(map(run_tag, listed(tags, "tag"))))
