"""Space: what the store takes up, and how to get it back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import click
import msgspec

from artstore.cli.discovery import chosen_project, open_store
from artstore.cli.options import Call, duration, verb
from artstore.cli.output import emit, pairs, say, table
from artstore.cli.progress import progress
from artstore.cli.staying import words_of
from artstore.discovery import remotes_of, served_by
from artstore.units import count, moment, size
from artstore.units import duration as written_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import DuReport, GcReport, SessionInfo, StatusReport
    from artstore.sync.hosting.usage import Taken
    from artstore.sync.reports import RemoteStanding


_SHOWN: Final = 3


@verb("artstore du", "artstore du --project zoo --json")
def du(call: Call) -> None:
    """Show what each collection takes up.

    Logical is what getting every version would write; unique is what only this collection holds, and deleting it would
    free; shared is what other collections hold too.
    """
    with open_store(call) as store:
        emit(call, store.du(project=chosen_project(call)), render_du)


@verb("artstore status")
def status(call: Call) -> None:
    """Show the store at a glance."""
    with open_store(call) as store:
        report, remotes, served = store.status(), remotes_of(store), served_by(store)
    # Before its first push a project follows no log, and all of it waits for the upstream.
    pending = max([report.pending_ops, *(remote.pending_ops for remote in remotes)])
    report = msgspec.structs.replace(report, pending_ops=pending)
    found = {**msgspec.to_builtins(report), **msgspec.to_builtins({"remotes": remotes, "served": served})}
    emit(call, found, lambda _all: render_status(report, remotes, served))


@verb("artstore gc --dry-run", "artstore gc --grace 0", "artstore gc --deleted", "artstore gc --remote hub --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would be freed, and free nothing.")
@click.option(
    "--grace",
    type=duration,
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="How long at least what nothing refers to stays before a later gc frees it; 0: now, if nobody is at work.",
)
@click.option("--deleted", is_flag=True, help="Free also what is here of versions that others have deleted.")
@click.option("--remote", metavar="NAME", help="Free what no version needs in this depot or mirror, and nothing here.")
def gc(call: Call, *, dry_run: bool, grace: float, deleted: bool, remote: str | None) -> int:
    """Free the space of what nothing refers to.

    The only command that removes bytes from the store. What a running command needs is never touched. A version that
    others have deleted is gone with the next pull; its bytes stay here, and are named, until --deleted. With --remote
    it is a depot that is collected, or a mirror: what no version needs there is condemned, in its own log or beside it,
    and swept by a gc that comes when the grace is over. What is needed again meanwhile stays, and any number of stores
    may push beside it. Many small packs of a depot are put together. Of all projects, or the one of --project.
    """
    if remote is not None and deleted:
        message = "--deleted is for what is kept here: of what was deleted a depot keeps nothing"
        raise click.UsageError(message)
    if remote is not None:
        # By name: the folder `sync` may be left out of an installation.
        code: int = import_module("artstore.cli.collecting").collect(call, remote, dry_run=dry_run, grace_s=grace)
        return code
    with open_store(call) as store, progress(call) as watcher:
        report = store.gc(dry_run=dry_run, grace_s=grace, deleted=deleted, progress=watcher)
    emit(call, report, render_gc)
    return 0


def render_du(report: DuReport) -> None:
    """Write one line a collection, then what the store holds of it all."""
    table(
        ("name", ">versions", ">files", ">logical", ">unique", ">shared"),
        [
            (
                f"{usage.project}/{usage.collection}",
                f"{usage.versions:,}",
                f"{usage.files:,}",
                size(usage.logical_bytes),
                size(usage.unique_bytes),
                size(usage.shared_bytes),
            )
            for usage in report.collections
        ],
    )
    say(
        f"in all {size(report.logical_bytes)} logical, kept in {size(report.stored_bytes)}; "
        f"the store takes {size(report.on_disk_bytes)} on disk"
    )


def render_status(report: StatusReport, remotes: Sequence[RemoteStanding] = (), served: Sequence[Taken] = ()) -> None:
    """Write the figures, one a line, a line a project that is kept for others, and a line a remote."""
    pairs(
        [
            ("store", report.root),
            ("id", report.store_id),
            ("projects", f"{report.projects:,}"),
            ("collections", f"{report.collections:,}"),
            ("versions", f"{report.versions:,}"),
            ("files", f"{report.files:,}"),
            ("logical", size(report.logical_bytes)),
            ("stored", _stored(report)),
            *([("not here", size(report.absent_bytes))] if report.absent_bytes else []),
            ("on disk", size(report.on_disk_bytes)),
            ("in trash", size(report.trash_bytes)),
            *([("damaged", _damaged(report))] if report.quarantine_bytes else []),
            ("last commit", moment(report.last_commit_at, zone=True)),
            ("pending", count(report.pending_ops, "op")),
            ("unfinished", count(report.unfinished_parts, "part")),
            ("at work", _sessions(report.sessions)),
            *([("for others", "\n".join(map(_taken, served)))] if served else []),
            *((each.name, _standing(each)) for each in remotes),
        ]
    )


def render_gc(report: GcReport) -> None:
    """Say what was freed, what waits and why."""
    will = "would be " if report.dry_run else ""
    say(
        f"{count(report.freed_blobs, 'blob')}; {will}freed: {size(report.freed_bytes)}; "
        f"{will}moved to trash: {size(report.trashed_bytes)}; {written_duration(report.seconds)}"
    )
    waits = "would wait" if report.dry_run else "waits"
    say(f"  in trash: {size(report.trash_bytes)}, which {waits} for its grace period to end")
    work = (
        (report.repacked_packs, "pack", "repacked"),
        (report.compacted_ops, "op file", "compacted"),
        (report.removed_leftovers, "leftover", "of killed processes removed"),
    )
    done = [f"{count(number, noun)} {what}" for number, noun, what in work if number]
    if done:
        say(f"  {', '.join(done)}")
    if report.quarantine_bytes:
        say(f"  damaged: {_damaged(report)}")
    if report.deleted_versions:
        some = ", ".join(report.deleted_versions[:_SHOWN])
        more = f" and {len(report.deleted_versions) - _SHOWN} more" if len(report.deleted_versions) > _SHOWN else ""
        end = "go with it" if report.deleted_go else "stay until artstore gc --deleted"
        say(f"  others have deleted {some}{more}: {size(report.deleted_bytes)} of it {end}")
    if report.kept_by_sessions:
        say(f"  {count(report.kept_by_sessions, 'blob')} kept for commands still at work: {_sessions(report.sessions)}")


def _stored(report: StatusReport) -> str:
    if not report.logical_bytes:
        # What is there waits for `gc`, and serves nobody.
        return size(report.stored_bytes)
    return f"{size(report.stored_bytes)} (each byte serves {report.dedup_ratio:.2f} times)"


def _damaged(report: StatusReport | GcReport) -> str:
    return f"{size(report.quarantine_bytes)} in quarantine, yours to delete once artstore verify misses nothing"


def _taken(project: Taken) -> str:
    parts = (("files", project.blob_bytes), ("lists", project.list_bytes), ("log", project.log_bytes))
    coming = (("on their way", project.coming_bytes),) if project.coming_bytes else ()
    what = ", ".join(f"{name} {size(amount)}" for name, amount in (*parts, *coming))
    return f"{project.project}: {size(project.bytes)} ({what})"


def _standing(remote: RemoteStanding) -> str:
    if remote.unreachable_since is not None:
        state = f"not reached since {moment(remote.unreachable_since)}"
    elif remote.failure is not None:
        state = f"failed {moment(remote.failed_at)}"
    else:
        state = f"last reached {moment(remote.succeeded_at)}" if remote.succeeded_at else "not tried yet"
    if remote.background or remote.followed:
        state += "; in the background, at work now" if remote.followed else "; in the background"
    parts = f", {count(remote.waiting_parts, 'part')}" if remote.waiting_parts else ""
    waits = f"; waiting: {count(remote.waiting_versions, 'version')}{parts} ({size(remote.waiting_bytes)})"
    waits += f"; {stays}" if (stays := words_of(remote.stays)) else ""
    why = "" if remote.failure is None else f"\n{remote.failure}"
    return f"{remote.url}; {state}{waits if remote.upstream else ''}{why}"


def _sessions(sessions: Sequence[SessionInfo]) -> str:
    return ", ".join(f"{s.verb} (process {s.pid} on {s.host}, since {moment(s.since)})" for s in sessions) or "-"
