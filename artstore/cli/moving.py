"""Moving: push, pull, both, and what would be sent."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import click

from artstore.cli.completing import references
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, file_size, verb
from artstore.cli.options import duration as length
from artstore.cli.output import emit, note, print_json_line, say, table
from artstore.cli.printing import printing
from artstore.cli.progress import progress
from artstore.cli.staying import words_of
from artstore.errors import Problem, named
from artstore.storage.sessions import Exclusive
from artstore.sync.explain import explain as explain_version
from artstore.sync.follow import EVERY_S, LOCK, Follow
from artstore.sync.objects.pacing import Pace
from artstore.sync.remotes import read_remotes
from artstore.sync.rounds import Verb, exchange
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artstore.store import Store
    from artstore.sync.reports import ExplainReport, FollowReport, Moved, ProjectReport, SyncReport


_PATIENCE_S = 1.0
"""How long who ends when idle waits for another one to end."""
_RATE = click.option(
    "--limit-rate",
    type=file_size,
    metavar="SIZE",
    help="Move no more than so many bytes a second, such as 5MB.",
)


@verb("artstore push", "artstore push --project zoo --dry-run", "artstore push hub cats", "artstore push --renumber")
@click.argument("words", metavar="[REMOTE] [REF]...", nargs=-1, shell_complete=references)
@click.option("--dry-run", is_flag=True, help="Read what would be sent and say how much it is; send nothing.")
@click.option(
    "--renumber",
    is_flag=True,
    help="Let versions lose the numbers of an earlier upstream, rather than wait for what comes before them.",
)
@_RATE
def push(call: Call, *, words: tuple[str, ...], dry_run: bool, renumber: bool, limit_rate: int | None) -> int:
    """Send committed versions to the upstream, or to a mirror.

    What others have pushed is counted first, and what is sent comes behind it. A folder or a bucket that is not the
    upstream is a mirror: it gets the upstream's log as this store knows it, and what waits for the upstream. Of all
    projects, or the one of --project.

    With REFs, the upstream gets what waits of these collections and no other: a collection goes whole, all its versions
    and labels, with the runs that made them. The first word is the remote, if one is called so.

    A version whose bytes are missing here stays, with what builds on it, and all else is sent; the exit code is then 5.
    After an upstream was lost, what comes behind such a version in its collection waits too, so that all keep their
    numbers once somebody has sent those bytes; --renumber sends it all the same.
    """
    return _exchange(call, "push", words, dry_run=dry_run, limit_rate=limit_rate, renumber=renumber)


@verb("artstore pull", "artstore pull hub --blobs", "artstore pull cats:best")
@click.argument("words", metavar="[REMOTE] [REF]...", nargs=-1, shell_complete=references)
@click.option("--blobs", is_flag=True, help="Also bring the bytes of all versions, and not only when they are needed.")
@click.option("--dry-run", is_flag=True, help="Say what would come, and take nothing.")
@_RATE
def pull(call: Call, *, words: tuple[str, ...], blobs: bool, dry_run: bool, limit_rate: int | None) -> int:
    """Take what others have pushed to the upstream, or to a mirror.

    Versions, aliases, edits, runs and lineage come at once; the bytes of files when get, cat or a program need them. Of
    all projects, or the one of --project.

    With REFs, all that others have pushed to their projects comes, and the bytes of these versions. The first word is
    the remote, if one is called so.
    """
    return _exchange(call, "pull", words, blobs=blobs, dry_run=dry_run, limit_rate=limit_rate)


@verb("artstore sync", "artstore sync hub --blobs", "artstore sync --follow --every 5m")
@click.argument("words", metavar="[REMOTE] [REF]...", nargs=-1, shell_complete=references)
@click.option("--blobs", is_flag=True, help="Also bring the bytes of all versions, and not only when they are needed.")
@click.option("--dry-run", is_flag=True, help="Say what would move, and move nothing.")
@click.option("--follow", "is_following", is_flag=True, help="Go on: push what is committed, pull what others push.")
@click.option(
    "--every",
    type=length,
    metavar="DURATION",
    help="With --follow: how often to look for what others have pushed. Default: 60s.",
)
@click.option(
    "--idle",
    type=length,
    metavar="DURATION",
    help="With --follow: end when nothing was to be moved for so long, or another process does it. Default: never.",
)
@click.option("--lock", type=int, hidden=True, help="With --follow: the handle of the lock, as a parent hands it down.")
@_RATE
def sync(
    call: Call,
    *,
    words: tuple[str, ...],
    blobs: bool,
    dry_run: bool,
    is_following: bool,
    every: float | None,
    idle: float | None,
    lock: int | None,
    limit_rate: int | None,
) -> int:
    """Pull and push: afterwards the upstream and this store know the same versions.

    Of all projects, or the one of --project. With REFs, what waits of these collections is sent, and the bytes of these
    versions come; the first word is the remote, if one is called so.

    With --follow this goes on until Ctrl-C or SIGTERM: it sleeps until something is committed in this store, by
    whatever process, or it is time to look what others have pushed. While the upstream cannot be reached it tries again
    after growing pauses, of up to five minutes. It prints what moved, with --json each round in a line of its own.
    """
    if not is_following:
        if every is not None or idle is not None or lock is not None:
            message = "--every and --idle say how to go on, so they need --follow"
            raise click.UsageError(message)
        return _exchange(call, "sync", words, blobs=blobs, dry_run=dry_run, limit_rate=limit_rate)
    if dry_run:
        message = "--dry-run moves nothing, so there is nothing to --follow"
        raise click.UsageError(message)
    if every is not None and every < 1:
        message = "--every 1s is the least: who looks more often only keeps the others waiting"
        raise click.UsageError(message)
    _follow(call, words, blobs=blobs, limit_rate=limit_rate, every_s=every or EVERY_S, idle_s=idle, handle=lock)
    return 0


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
    call: Call,
    verb: Verb,
    words: tuple[str, ...],
    *,
    dry_run: bool,
    limit_rate: int | None,
    blobs: bool = False,
    renumber: bool = False,
) -> int:
    with open_store(call) as store, progress(call) as watcher:
        name, refs = _split(store, words)
        projects = [project_of(call)] if refs else None if call.project is None else [call.project]
        report = exchange(
            store,
            verb,
            remote=name,
            projects=projects,
            references=refs,
            blobs=blobs,
            dry_run=dry_run,
            pace=_pace(limit_rate),
            renumber=renumber,
            progress=watcher,
        )
    emit(call, report, render)
    return max((project.exit_code for project in report.projects), default=0)


def _pace(limit_rate: int | None) -> Pace | None:
    return None if limit_rate is None else Pace(limit_rate)


def _split(store: Store, words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The remote, if the first word is one, and the versions."""
    known = read_remotes(store.path)
    return (words[0], words[1:]) if words and words[0] in known else (None, words)


def _follow(
    call: Call,
    words: tuple[str, ...],
    *,
    blobs: bool,
    limit_rate: int | None,
    every_s: float,
    idle_s: float | None,
    handle: int | None,
) -> None:
    # Of all rounds together, since the next may begin as soon as one has ended.
    pace = _pace(limit_rate)

    def move() -> SyncReport:
        with progress(call) as watcher:
            return exchange(
                store,
                "sync",
                remote=name,
                projects=projects,
                references=refs,
                blobs=blobs,
                pace=pace,
                progress=watcher,
            )

    def tell(report: FollowReport) -> None:
        with printing("what was moved so far is moved"):
            if call.json:
                print_json_line(report)
            else:
                render_followed(report)

    with open_store(call) as store, contextlib.suppress(_Stopped):
        name, refs = _split(store, words)
        projects = [project_of(call)] if refs else None if call.project is None else [call.project]
        follow = Follow(store, move, remote=name, projects=projects, every_s=every_s, idle_s=idle_s, tell=tell)
        lock = None if handle is None else Exclusive.inherited(store.path, LOCK, handle)
        with _stopping(follow):
            follow.run(lock=lock, patience_s=None if idle_s is None else _PATIENCE_S)


class _Stopped(BaseException):
    """What is being moved is cut off, since somebody wants this process to end."""


@contextlib.contextmanager
def _stopping(follow: Follow) -> Iterator[None]:
    """Stop at the first SIGINT or SIGTERM; the second one ends the process at once."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if follow.stop():
            raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def render_followed(report: FollowReport) -> None:
    """Write what a round has moved; what is in the way goes to standard error."""
    if report.moved is not None:
        render(report.moved)
    if report.notice is not None:
        note(report.notice)


def render(report: SyncReport) -> None:
    """Write one line a project and a direction, and what is left to be done."""
    would = "would be " if report.dry_run else ""
    for project in report.projects:
        for word, moved in ((f"{would}pulled", project.pulled), (f"{would}pushed", project.pushed)):
            if _is_some(moved):
                say(f"{project.project}: {word} {_amount(moved)}")
        if dropped := project.pushed.dropped_slots:
            say(f"{project.project}: took away {count(dropped, 'slot')} that nobody could read")
        _say_left(project)
    if not any(_is_news(each) for each in report.projects):
        say(f"nothing to {report.verb}: {report.remote} is as this store knows it")
    if stays := words_of(report.stays):
        say(stays, style="yellow")
    say(f"  {report.remote}; {duration(report.seconds)}")


def render_explained(report: ExplainReport) -> None:
    """Write one line a file, the sent ones first, then the sum."""
    rows = sorted(report.blobs, key=lambda blob: not blob.is_sent)
    table(("", "file", ">size", "why"), [("send" if b.is_sent else "-", b.path, size(b.size), b.why) for b in rows])
    there = "is there already" if report.is_there else f"would send {size(report.sent_bytes)} of {size(report.bytes)}"
    say(f"{report.ref} {'' if report.is_there else f'to {report.remote} '}{there}")


def _is_news(project: ProjectReport) -> bool:
    return any(map(_is_some, (project.pulled, project.pushed))) or bool(project.error or project.pushed.dropped_slots)


def _is_some(moved: Moved) -> bool:
    return bool(moved.ops or moved.versions or moved.blobs or moved.lists)


def _amount(moved: Moved) -> str:
    # A version that comes to be seen again brings no op.
    parts = [count(moved.versions, "version")] if moved.versions or moved.ops else []
    if moved.ops:
        parts.append(count(moved.ops, "op"))
    if moved.lists:
        parts.append(f"{count(moved.lists, 'list')} of files")
    if moved.blobs:
        saved = f", {size(moved.saved_bytes)} of it was there" if moved.saved_bytes else ""
        parts.append(f"{count(moved.blobs, 'blob')} ({size(moved.bytes)}{saved})")
    return ", ".join(parts)


def _say_left(project: ProjectReport) -> None:
    if project.conflicts:
        changes = count(project.conflicts, "change")
        say(f"{project.project}: {changes} of this store void, since others were faster", style="yellow")
    if project.error is not None:
        say(f"{project.project}: {project.error}", style="red")
    elif project.lost:
        lost = named([Problem(each.path, each.reason) for each in project.lost])
        what = "of what waits for a decision this cannot be had"
        say(f"{project.project}: {what}: {lost}; `artstore resolve ID --theirs` gives it up", style="yellow")
