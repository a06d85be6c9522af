"""Health: whether what was kept is whole, and what to do if it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from artstore.cli.completing import references
from artstore.cli.discovery import find_store, open_store, project_of
from artstore.cli.options import Call, Place, verb
from artstore.cli.output import emit, say
from artstore.cli.progress import progress
from artstore.discovery import mend_served
from artstore.errors import Corrupt
from artstore.store import Store
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import BackupReport, Check, RebuildReport, RepairReport, VerifyReport

DAMAGED: Final = Corrupt.exit_code


@verb("artstore verify", "artstore verify cats:v3 --fast")
@click.argument("ref", required=False, shell_complete=references)
@click.option("--fast", is_flag=True, help="Compare the second, faster checksum: finds accidents, not forgeries.")
def verify(call: Call, *, ref: str | None, fast: bool) -> int:
    """Check that everything kept is whole.

    Reads every byte of the version, without REF of the whole store, and also checks that catalog and journal agree.
    Damage is set aside, never deleted. Exit code 5 if anything is wrong.
    """
    with open_store(call) as store, progress(call) as watcher:
        report = store.verify(ref, fast=fast, project=project_of(call), progress=watcher)
    emit(call, report, render_verify)
    return 0 if report.ok else DAMAGED


@verb("artstore repair", "artstore repair /mnt/backup/photos")
@click.argument("sources", metavar="[PATH]...", nargs=-1, type=Place(path_type=Path))
def repair(call: Call, *, sources: tuple[Path, ...]) -> int:
    """Mend what is damaged, from other copies.

    Run `verify` first: it finds the damage, and this looks for the right bytes in the trash, elsewhere in the store, in
    the files and folders given, and in the remotes. Logs that a server keeps for others are mended from its journal.
    Exit code 5 if something is still damaged.
    """
    with open_store(call) as store:
        report, served = store.repair(sources), mend_served(store)
    if served is not None:
        report = report.plus(served.mended, served.left)
    emit(call, report, render_repair)
    return DAMAGED if report.still_damaged else 0


@verb("artstore rebuild")
def rebuild(call: Call) -> int:
    """Make the catalog again from the journal.

    Gives back every version, number, alias, tag, edit, run and deletion. Exit code 5 if something they refer to is
    gone.
    """
    report = Store.rebuild(find_store(call))
    emit(call, report, render_rebuild)
    return DAMAGED if report.lost else 0


@verb("artstore doctor")
def doctor(call: Call) -> None:
    """Look at what the store stands on.

    SQLite's version and journal, the file system, reflinks, what a durable write costs, and locks.
    """
    with open_store(call) as store:
        emit(call, store.doctor(), render_doctor)


@verb("artstore backup /mnt/backup/store")
@click.argument("folder", metavar="DIR", type=Place(path_type=Path, file_okay=False))
def backup(call: Call, *, folder: Path) -> None:
    """Copy the store, even while it is in use.

    DIR becomes a store of its own: artstore --store DIR works on it at once.
    """
    with open_store(call) as store:
        emit(call, store.backup(folder), render_backup)


def render_verify(report: VerifyReport) -> None:
    """Write one line a problem, then what was checked."""
    for problem in report.problems:
        say(f"{problem.kind}  {problem.subject}  {problem.message}", style="red")
    checked = (
        f"{count(report.checked_versions, 'version')}, {count(report.checked_blobs, 'blob')}, "
        f"{size(report.checked_bytes)}; {duration(report.seconds)}"
    )
    if report.ok:
        say(f"whole: {checked}", style="green")
    else:
        say(f"{count(len(report.problems), 'problem')} in {checked}", style="red")


def render_repair(report: RepairReport) -> None:
    """Write one line a thing that was damaged."""
    for subject in report.mended:
        say(f"mended  {subject}", style="green")
    for subject in report.still_damaged:
        say(f"still damaged  {subject}", style="red")
        if subject in report.reasons:
            say(f"  {report.reasons[subject]}")
    if report.mended or report.still_damaged:
        say(f"{len(report.mended):,} mended, {len(report.still_damaged):,} still damaged")
    else:
        say("nothing is known to be damaged: artstore verify looks for damage")


def render_rebuild(report: RebuildReport) -> None:
    """Say what the new catalog holds, and what nobody can give back."""
    for subject in report.lost:
        say(f"lost  {subject}", style="red")
    say(
        f"{count(report.projects, 'project')}, {count(report.versions, 'version')}, {count(report.blobs, 'blob')} "
        f"from {count(report.ops, 'op')}; {len(report.lost):,} lost; {duration(report.seconds)}"
    )


def render_doctor(checks: Sequence[Check]) -> None:
    """Write one line a check, with advice under those that are not well."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        say(f"{'ok' if check.ok else '!!'}  {check.name:<{width}}  {check.value}", style=None if check.ok else "yellow")
        if check.advice and not check.ok:
            say(f"    {'':<{width}}  {check.advice}")


def render_backup(report: BackupReport) -> None:
    """Say where the copy is and what it took, and what could not be copied."""
    for subject in report.missing:
        say(f"missing  {subject}", style="red")
    say(report.target)
    shared = f"; shared: {count(report.reflinked_files, 'file')}" if report.reflinked_files else ""
    kept = f"; there already: {count(report.kept_files, 'file')}" if report.kept_files else ""
    copied = f"{count(report.copied_files, 'file')}, {size(report.copied_bytes)}"
    say(f"  copied: {copied}{shared}{kept}; {duration(report.seconds)}")
    if report.kept_files:
        say(f"  what was there already is read by artstore --store {report.target} verify")
