"""Prune: delete versions by rules."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from artstore.cli.completing import collections
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Best, Call, best, duration, verb
from artstore.cli.output import emit, say, table
from artstore.plain import escape
from artstore.units import count, size

if TYPE_CHECKING:
    from artstore.lifecycle.reports import PruneReport


@verb(
    "artstore prune resnet --keep-last 5 --keep-best accuracy:max=3 --dry-run",
    "artstore prune cats dogs --keep-within 30d --yes",
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=collections)
@click.option("--keep-last", type=click.IntRange(min=1), metavar="K", help="Keep the K newest versions.")
@click.option(
    "--keep-best",
    type=best,
    multiple=True,
    metavar="KEY[:max|min]=K",
    help="Keep the K versions with the largest (or smallest) metadata KEY; repeatable.",
)
@click.option("--keep-within", type=duration, metavar="DURATION", help="Keep what was made this recently: 12h, 30d.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(
    call: Call,
    *,
    names: tuple[str, ...],
    keep_last: int | None,
    keep_best: tuple[Best, ...],
    keep_within: float | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Delete versions by rules.

    A version stays if any rule keeps it, if it carries an alias other than latest, or if a run used it. Without a rule
    only versions whose TTL is over go. On a terminal it shows what will go and asks; artstore gc frees the space.
    """
    with open_store(call) as store:

        def run(*, dry_run: bool) -> PruneReport:
            return store.prune(
                names,
                keep_last=keep_last,
                keep_best=keep_best,
                keep_within_s=keep_within,
                dry_run=dry_run,
                project=project_of(call),
            )

        plan = run(dry_run=True)
        if not call.json:
            render_plan(plan)
        if plan.deleted and not (dry_run or yes) and not _confirms(plan):
            return 1
        # The rules are applied again: a version that came or was aliased meanwhile is judged as it is now.
        report = plan if dry_run or not plan.deleted else run(dry_run=False)
    emit(call, report, render_outcome)
    return 0


def render_plan(plan: PruneReport) -> None:
    """Write which versions go and why, and how many stay."""
    if plan.deleted:
        table(("delete", ">size", "reason"), [(gone.ref, size(gone.bytes), gone.reason) for gone in plan.deleted])
    say(f"keep {count(len(plan.kept), 'version')}")


def render_outcome(report: PruneReport) -> None:
    """Say how much is gone, and what frees the space."""
    gone, freeable = count(len(report.deleted), "version"), size(report.freeable_bytes)
    if not report.deleted:
        say("nothing to delete")
    elif report.dry_run:
        say(f"dry run: {gone} would be deleted, and artstore gc could free {freeable}")
    else:
        say(f"deleted {gone}; artstore gc can free {freeable}")


def _confirms(plan: PruneReport) -> bool:
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        # A script has nobody to ask, and said what it wants.
        return True
    gone = escape(count(len(plan.deleted), "version"))
    if click.confirm(f"Delete {gone}, {size(plan.freeable_bytes)} to be freed?", err=True):
        return True
    click.echo("artstore: nothing was deleted", err=True)
    return False
