"""Moving: push, pull, and both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.discovery import open_store
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, say
from artstore.cli.progress import progress
from artstore.sync.rounds import Verb, exchange
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from artstore.sync.reports import Moved, ProjectReport, SyncReport


@verb("artstore push", "artstore push --project zoo --dry-run")
@click.argument("name", metavar="[REMOTE]", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
def push(call: Call, *, name: str | None, dry_run: bool) -> int:
    """Send committed versions to the upstream.

    What others have pushed is counted first, and what is sent comes behind it. Of all projects, or the one of
    --project.
    """
    return _exchange(call, "push", name, dry_run=dry_run)


@verb("artstore pull", "artstore pull hub --blobs")
@click.argument("name", metavar="[REMOTE]", required=False)
@click.option("--blobs", is_flag=True, help="Also bring the bytes of all versions, and not only when they are needed.")
@click.option("--dry-run", is_flag=True, help="Say what would come, and take nothing.")
def pull(call: Call, *, name: str | None, blobs: bool, dry_run: bool) -> int:
    """Take what others have pushed to the upstream.

    Versions, aliases, edits, runs and lineage come at once; the bytes of files when get, cat or a program need them. Of
    all projects, or the one of --project.
    """
    return _exchange(call, "pull", name, blobs=blobs, dry_run=dry_run)


@verb("artstore sync", "artstore sync hub --blobs")
@click.argument("name", metavar="[REMOTE]", required=False)
@click.option("--blobs", is_flag=True, help="Also bring the bytes of all versions, and not only when they are needed.")
@click.option("--dry-run", is_flag=True, help="Say what would move, and move nothing.")
def sync(call: Call, *, name: str | None, blobs: bool, dry_run: bool) -> int:
    """Pull and push: afterwards the upstream and this store know the same versions.

    Of all projects, or the one of --project.
    """
    return _exchange(call, "sync", name, blobs=blobs, dry_run=dry_run)


def _exchange(call: Call, verb: Verb, name: str | None, *, dry_run: bool, blobs: bool = False) -> int:
    projects = None if call.project is None else [call.project]
    with open_store(call) as store, progress(call) as watcher:
        report = exchange(store, verb, remote=name, projects=projects, blobs=blobs, dry_run=dry_run, progress=watcher)
    emit(call, report, render)
    return max((project.exit_code for project in report.projects), default=0)


def render(report: SyncReport) -> None:
    """Write one line a project and a direction, and what is left to be done."""
    would = "would be " if report.dry_run else ""
    for project in report.projects:
        for word, moved in ((f"{would}pulled", project.pulled), (f"{would}pushed", project.pushed)):
            if moved.ops or moved.blobs:
                say(f"{project.project}: {word} {_amount(moved)}")
        _say_left(project)
    if not any(project.pulled != project.pushed or project.error for project in report.projects):
        say(f"nothing to {report.verb}: {report.remote} is as this store knows it")
    say(f"  {report.remote}; {duration(report.seconds)}")


def _amount(moved: Moved) -> str:
    parts = [count(moved.versions, "version"), f"{count(moved.ops, 'op')}"]
    if moved.blobs:
        parts.append(f"{count(moved.blobs, 'blob')} ({size(moved.bytes)})")
    return ", ".join(parts)


def _say_left(project: ProjectReport) -> None:
    if project.conflicts:
        changes = count(project.conflicts, "change")
        say(f"{project.project}: {changes} of this store void, since others were faster", style="yellow")
    if project.error is not None:
        say(f"{project.project}: {project.error}", style="red")
