"""Runs: who makes versions and what they use."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Literal

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.put import checked_metadata
from artstore.lifecycle.reports import RunInfo
from artstore.lifecycle.resolve import find_project, resolve
from artstore.model.names import LONGEST, Reference, project_name
from artstore.model.records import FinishRun, Op, StartRun, Use
from artstore.model.state import Run
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root


def start_run(
    root: Root,
    project: str,
    *,
    id: str | None = None,
    name: str | None = None,
    job_type: str | None = None,
    group: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> RunInfo:
    """Begin a run; one whose id is there already goes on."""
    owner = project_name(project)
    run = id or secrets.token_hex(4)
    if not run.isprintable() or "/" in run or len(run) > LONGEST:
        message = f"{run!r} is not a run id: use up to 128 printable characters without a slash"
        raise Invalid(message, code="bad-run-id")
    op = StartRun(
        at_us=now_us(),
        nonce=nonce(),
        run=run,
        name=name,
        job_type=job_type,
        group=group,
        config=checked_metadata(config or {}),
    )
    with root.session("run") as session:
        commit(root, session, owner, lambda _view: [op])
    return run_info(root, owner, run)


def finish_run(root: Root, project: str, run: str, state: Literal["finished", "crashed"]) -> RunInfo:
    """End a run. Raises NotFound (run-not-found)."""
    run_info(root, project, run)
    with root.session("run") as session:
        commit(root, session, project, lambda _view: [FinishRun(at_us=now_us(), nonce=nonce(), run=run, state=state)])
    return run_info(root, project, run)


def use(root: Root, project: str, run: str, reference: Reference) -> None:
    """Note that a run reads a version; `prune` keeps what was used. Raises NotFound (run-not-found)."""
    run_info(root, project, run)
    target = resolve(root, reference)

    def plan(_view: ProjectView) -> list[Op]:
        return [Use(at_us=now_us(), nonce=nonce(), run=run, project=target.project.name, version=target.version.id)]

    with root.session("use") as session:
        commit(root, session, project, plan)


def run_info(root: Root, project: str, run: str) -> RunInfo:
    """A run by its id. Raises NotFound (project-not-found, run-not-found)."""
    _, view = find_project(root, project)
    row = view.run(run)
    if row is None:
        message = f"there is no run {run!r} in project {project!r}"
        raise NotFound(message, code="run-not-found")
    return describe_run(project, row)


def describe_run(project: str, run: Run) -> RunInfo:
    """How a run is shown."""
    return RunInfo(
        id=run.id,
        project=project,
        name=run.name or run.id,
        job_type=run.job_type,
        group=run.group,
        config=run.config,
        state=run.state,
        started_at=run.started_us / 1e6,
        ended_at=None if run.ended_us is None else run.ended_us / 1e6,
    )
