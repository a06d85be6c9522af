"""Evict: space on this machine, where a remote has the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.completing import references
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, file_size, verb
from artstore.cli.output import emit, say
from artstore.sync.evict import evict as evict_versions
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from artstore.sync.reports import EvictReport


@verb("artstore evict cats:v0 cats:v1", "artstore evict --to-fit 200GB")
@click.argument("refs", metavar="[REF]...", nargs=-1, shell_complete=references)
@click.option("--to-fit", type=file_size, metavar="SIZE", help="Free the oldest versions until all bytes fit in SIZE.")
@click.option(
    "--read-all", is_flag=True, help="Read all bytes from the remote first, and not only a part of each file."
)
@click.option("--dry-run", is_flag=True, help="Say what would be freed, and free nothing.")
def evict(call: Call, *, refs: tuple[str, ...], to_fit: int | None, read_all: bool, dry_run: bool) -> None:
    """Free the bytes of versions that a remote has.

    The remote has to show that it has them before anything goes, and the last copy never does. Versions, labels and
    lists of files stay, and the bytes are fetched again when somebody needs them.
    """
    if bool(refs) == (to_fit is not None):
        message = "name versions, or say --to-fit SIZE"
        raise click.UsageError(message)
    with open_store(call) as store:
        report = evict_versions(
            store, refs, to_fit=to_fit, project=project_of(call), read_all=read_all, dry_run=dry_run
        )
    emit(call, report, render_evicted)


def render_evicted(report: EvictReport) -> None:
    """Say what was freed, and what had to stay."""
    would = "would be " if report.dry_run else ""
    say(
        f"{would}freed: {size(report.bytes)}, {count(report.blobs, 'blob')} of {count(len(report.versions), 'version')}"
    )
    if report.kept_blobs:
        say(f"  {count(report.kept_blobs, 'blob')} stay, since no remote shows that it has them", style="yellow")
    if report.held_blobs:
        whom = [f"{', '.join(report.held_by)}: evict all of these together"] if report.held_by else []
        if report.held_deleted:
            whom.append(f"{', '.join(report.held_deleted)}, deleted elsewhere: `artstore gc --deleted` frees that")
        say(f"  {count(report.held_blobs, 'blob')} kept for {'; '.join(whom) or 'what waits here'}", style="yellow")
    now = "has" if report.dry_run else "now has"
    say(f"  the store {now} {size(report.stored_bytes)}; {duration(report.seconds)}")
