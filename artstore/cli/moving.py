"""Moving: push, pull, both, and what would be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.completing import references
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, file_size, verb
from artstore.cli.output import emit, say, table
from artstore.cli.progress import progress
from artstore.sync.explain import explain as explain_version
from artstore.sync.rounds import Verb, exchange
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from artstore.sync.reports import ExplainReport, Moved, ProjectReport, SyncReport


_RATE = click.option(
    "--limit-rate",
    type=file_size,
    metavar="SIZE",
    help="With a depot: move no more than so many bytes a second, such as 5MB.",
)


@verb("artstore push", "artstore push --project zoo --dry-run")
@click.argument("name", metavar="[REMOTE]", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@_RATE
def push(call: Call, *, name: str | None, dry_run: bool, limit_rate: int | None) -> int:
    """Send committed versions to the upstream.

    What others have pushed is counted first, and what is sent comes behind it. Of all projects, or the one of
    --project.
    """
    return _exchange(call, "push", name, dry_run=dry_run, limit_rate=limit_rate)


@verb("artstore pull", "artstore pull hub --blobs")
@click.argument("name", metavar="[REMOTE]", required=False)
@click.option("--blobs", is_flag=True, help="Also bring the bytes of all versions, and not only when they are needed.")
@click.option("--dry-run", is_flag=True, help="Say what would come, and take nothing.")
@_RATE
def pull(call: Call, *, name: str | None, blobs: bool, dry_run: bool, limit_rate: int | None) -> int:
    """Take what others have pushed to the upstream.

    Versions, aliases, edits, runs and lineage come at once; the bytes of files when get, cat or a program need them. Of
    all projects, or the one of --project.
    """
    return _exchange(call, "pull", name, blobs=blobs, dry_run=dry_run, limit_rate=limit_rate)


@verb("artstore sync", "artstore sync hub --blobs")
@click.argument("name", metavar="[REMOTE]", required=False)
@click.option("--blobs", is_flag=True, help="Also bring the bytes of all versions, and not only when they are needed.")
@click.option("--dry-run", is_flag=True, help="Say what would move, and move nothing.")
@_RATE
def sync(call: Call, *, name: str | None, blobs: bool, dry_run: bool, limit_rate: int | None) -> int:
    """Pull and push: afterwards the upstream and this store know the same versions.

    Of all projects, or the one of --project.
    """
    return _exchange(call, "sync", name, blobs=blobs, dry_run=dry_run, limit_rate=limit_rate)


@verb("artstore explain cats --to hub")
@click.argument("ref", shell_complete=references)
@click.option("--to", "remote", metavar="REMOTE", required=True, help="The remote that it would be sent to.")
def explain(call: Call, *, ref: str, remote: str) -> None:
    """Show which bytes of a version would be sent, file by file, and why.

    What a remote has already is never sent again, whatever version or file it came with.
    """
    with open_store(call) as store:
        emit(call, explain_version(store, ref, remote, project=project_of(call)), render_explained)


def _exchange(
    call: Call, verb: Verb, name: str | None, *, dry_run: bool, limit_rate: int | None, blobs: bool = False
) -> int:
    projects = None if call.project is None else [call.project]
    with open_store(call) as store, progress(call) as watcher:
        report = exchange(
            store,
            verb,
            remote=name,
            projects=projects,
            blobs=blobs,
            dry_run=dry_run,
            limit_rate=limit_rate,
            progress=watcher,
        )
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


def render_explained(report: ExplainReport) -> None:
    """Write one line a file, the sent ones first, then the sum."""
    rows = sorted(report.blobs, key=lambda blob: not blob.is_sent)
    table(("", "file", ">size", "why"), [("send" if b.is_sent else "-", b.path, size(b.size), b.why) for b in rows])
    there = "is there already" if report.is_there else f"would send {size(report.sent_bytes)} of {size(report.bytes)}"
    say(f"{report.ref} {'' if report.is_there else f'to {report.remote} '}{there}")


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
