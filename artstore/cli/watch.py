"""Watch: folders that commit themselves."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artstore.cli.completing import collections
from artstore.cli.discovery import named_collection, open_store
from artstore.cli.options import Call, verb
from artstore.cli.output import note, print_json_line, say
from artstore.cli.printing import printing
from artstore.errors import ArtstoreError, Invalid
from artstore.model.names import collection_name
from artstore.units import count, size

if TYPE_CHECKING:
    from artstore.lifecycle.reports import WatchReport
    from artstore.lifecycle.watch import Watch


@verb(
    "artstore watch runs --name resnet --type model --only '*.ckpt' --keep-last 5",
    "artstore watch notes results --type dataset --ignore '*.tmp'",
    "artstore watch results --name run --type result --once",
)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", shell_complete=collections, help="The collection. Default: the name of each folder.")
@click.option("--type", "kind", required=True, help="What it is, for example dataset, model or result.")
@click.option("--quiet-s", metavar="SECONDS", default=2.0, show_default=True, help="Commit after so long a quiet time.")
@click.option(
    "--longest-s",
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="Commit so long after a change at the latest.",
)
@click.option("--ignore", metavar="PATTERN", multiple=True, help="Leave out, as a line of .artstoreignore; repeatable.")
@click.option("--only", metavar="PATTERN", multiple=True, help="Take nothing but this, in the same syntax; repeatable.")
@click.option("--keep-last", metavar="K", type=click.IntRange(min=1), help="Delete older versions than the last K.")
@click.option("--once", is_flag=True, help="Make one version when the folder stands still, and end.")
def watch(
    call: Call,
    *,
    folders: tuple[Path, ...],
    name: str | None,
    kind: str,
    quiet_s: float,
    longest_s: float,
    ignore: tuple[str, ...],
    only: tuple[str, ...],
    keep_last: int | None,
    once: bool,
) -> None:
    """Make a version of a folder whenever it changes.

    What is there is committed first; then a version is made whenever the folder was quiet for a while, or has been
    changing for long. A file that a program has open for writing is taken when it is closed. A folder that vanishes or
    loses all of its files is an error, never a version. Ctrl-C or SIGTERM ends it; what has changed is committed first.
    --keep-last spares versions that have an alias or were used; `artstore gc` frees what it deletes. --json prints each
    report in a line of its own.
    """
    if name is not None and len(folders) > 1:
        message = "--name is for one folder; several are named as they are themselves"
        raise click.UsageError(message)
    names = _names(folders, name)
    telling = threading.Lock()

    def tell(report: WatchReport) -> None:
        with telling, printing("what was made so far is committed"):
            if call.json:
                print_json_line(report)
            else:
                render(report)

    with open_store(call) as store:
        watches: list[Watch] = []
        for folder, named in zip(folders, names, strict=True):
            project, collection = named_collection(call, named)
            watches.append(
                store.watch(
                    folder,
                    name=collection,
                    type=kind,
                    project=project,
                    quiet_s=quiet_s,
                    longest_s=longest_s,
                    ignore=ignore,
                    only=only,
                    keep_last=keep_last,
                    tell=tell,
                )
            )
        with ExitStack() as ending:
            _stop_at_signals(watches, ending)
            if once:
                for each in watches:
                    each.once()
            else:
                _run(watches)


def render(report: WatchReport) -> None:
    """Say which version was made; notices go to standard error."""
    if report.version is not None:
        files = count(report.version.files, "file")
        pruned = f"; {count(report.pruned, 'older version')} deleted" if report.pruned else ""
        say(f"{report.version.ref}  {files}, {size(report.version.bytes)}; new: {size(report.new_bytes)}{pruned}")
    for each in report.kept_back:
        note(f"as it was before: {each.path}: {each.reason}")
    if report.notice is not None:
        note(report.notice)


def _names(folders: tuple[Path, ...], name: str | None) -> list[str]:
    """What the collection of each folder is called. Raises UsageError where folders cannot be named by themselves."""
    if name is not None:
        return [name]
    found: dict[str, Path] = {}
    for folder in folders:
        own = folder.resolve().name
        try:
            collection_name(own)
        except Invalid as error:
            message = f"{str(folder)!r} cannot name a collection: {error.message}. Watch it with --name NAME, by itself"
            raise click.UsageError(message) from error
        if own in found:
            message = (
                f"{str(found[own])!r} and {str(folder)!r} would both be {own!r}, and each version would replace the "
                "files of the other: watch each in a command of its own, with --name NAME"
            )
            raise click.UsageError(message)
        found[own] = folder
    return list(found)


def _run(watches: list[Watch]) -> None:
    """Run them all, until each has ended. One that fails leaves the others at work; its error comes at the end."""
    if len(watches) == 1:
        watches[0].run()
        return
    for each in watches:
        each.start()
    failed: ArtstoreError | None = None
    for each in watches:
        try:
            each.join()
        except ArtstoreError as error:
            failed = error
    if failed is not None:
        raise failed


def _stop_at_signals(watches: list[Watch], ending: ExitStack) -> None:
    def stop(_number: int, _frame: Any) -> None:
        for each in watches:
            each.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        ending.callback(signal.signal, number, signal.signal(number, stop))
