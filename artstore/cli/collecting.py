"""Collecting: what no version needs in a depot is freed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artstore.cli.discovery import open_store
from artstore.cli.output import emit, say
from artstore.cli.progress import progress
from artstore.sync.depots.collect import collect_remote
from artstore.units import count, duration, moment, size

if TYPE_CHECKING:
    from artstore.cli.options import Call
    from artstore.sync.reports import RemoteGcReport


def collect(call: Call, remote: str, *, dry_run: bool, grace_s: float) -> int:
    """Collect a depot, of all projects or the one that was chosen; answers the exit code."""
    projects = None if call.project is None else [call.project]
    with open_store(call) as store, progress(call) as watcher:
        report = collect_remote(store, remote, projects=projects, grace_s=grace_s, dry_run=dry_run, progress=watcher)
    emit(call, report, render)
    return max((project.exit_code for project in report.projects), default=0)


def render(report: RemoteGcReport) -> None:
    """Say of each project what was freed, and what goes later."""
    would = "would be " if report.dry_run else ""
    for each in report.projects:
        said = [
            (each.swept, f"{would}freed ({size(each.freed_bytes)})"),
            (each.condemned, f"{would}condemned ({size(each.condemned_bytes)})"),
            (each.kept, "condemned before, needed again and kept"),
            (each.joined, f"of these {would}put together in larger ones"),
        ]
        done = [f"{count(number, 'object')} {what}" for number, what in said if number]
        if done:
            say(f"{each.project}: {', '.join(done)}")
        if each.waiting:
            waits = "would wait" if report.dry_run else "waits" if each.waiting == 1 else "wait"
            say(f"{each.project}: {count(each.waiting, 'object')} {waits} for the grace to end: {moment(each.due_at)}")
        if each.missing:
            lost = f"{count(each.missing, 'object')} that versions need are not there"
            say(f"{each.project}: {lost}: `artstore remote recover` puts them back", style="yellow")
        if each.error is not None:
            say(f"{each.project}: {each.error}", style="red")
    if not any(each.swept or each.condemned or each.waiting or each.kept or each.error for each in report.projects):
        say(f"nothing to free: versions need all that is in {report.remote}")
    if report.leftovers:
        say(f"  {count(report.leftovers, 'piece')} that killed processes left half written removed")
    say(f"  {report.remote}; {duration(report.seconds)}")
