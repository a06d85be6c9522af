"""Runs: who made versions and what they used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from artstore.cli.discovery import chosen_project, open_store, project_of
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, note, pairs, table
from artstore.plain import plain
from artstore.units import duration, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import RunInfo


@verb("artstore runs", "artstore runs --group nightly")
@click.option("--group", metavar="GROUP", help="Only those of this group.")
def runs(call: Call, *, group: str | None) -> None:
    """List the runs, newest first.

    Of all projects, or of the one that --project names.
    """
    with open_store(call) as store:
        emit(call, store.runs(project=chosen_project(call), group=group), render_runs)


@verb("artstore run 3f9c02a1")
@click.argument("run_id", metavar="ID")
def run(call: Call, *, run_id: str) -> None:
    """Show a run, what it used and what it made."""
    with open_store(call) as store:
        project = project_of(call)
        found = {
            "run": store.run(run_id, project=project),
            "inputs": store.inputs(run_id, project=project),
            "outputs": store.outputs(run_id, project=project),
        }
    emit(call, found, render_run)


def render_runs(known: Sequence[RunInfo]) -> None:
    """Write one line a run."""
    if not known:
        note("no runs yet")
        return
    table(
        ("project", "id", "name", "job", "group", "state", "started", ">took"),
        [
            (
                run.project,
                f"{run.id} ({len(run.apart)} more, apart)" if run.apart else run.id,
                run.name,
                run.job_type or "-",
                run.group or "-",
                run.state,
                moment(run.started_at),
                duration(None if run.ended_at is None else run.ended_at - run.started_at),
            )
            for run in known
        ],
    )


def render_run(found: dict[str, Any]) -> None:
    """Write everything that is known, one name a line."""
    run: RunInfo = found["run"]
    rows = [
        ("run", f"{run.project}/{run.id}"),
        ("name", run.name),
        ("state", run.state),
        ("job", run.job_type or "-"),
        ("group", run.group or "-"),
        ("tags", ", ".join(run.tags) or "-"),
        ("started", moment(run.started_at, zone=True)),
        ("ended", moment(run.ended_at, zone=True)),
        ("notes", run.notes or "-"),
        ("used", "\n".join(version.ref for version in found["inputs"]) or "-"),
        ("made", "\n".join(version.ref for version in found["outputs"]) or "-"),
    ]
    rows += [("config", _config(run))] if run.config else []
    for each in run.apart:
        # Their versions and uses are among those above.
        said = f"{each.name}, {each.job_type or '-'}, {each.state}, since {moment(each.started_at, zone=True)}"
        rows += [("apart", said), *([("config", _config(each))] if each.config else [])]
    pairs(rows)


def _config(run: RunInfo) -> str:
    return msgspec.json.format(msgspec.json.encode(plain(run.config)), indent=2).decode()
