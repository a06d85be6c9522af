"""Get: take a version's files out, whole or one at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from artstore.cli.completing import references
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, Place, verb
from artstore.cli.output import emit, note, say
from artstore.cli.printing import UNCHANGED, printing
from artstore.cli.progress import progress
from artstore.errors import NotFound
from artstore.references.fetch import fetch
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from artstore.lifecycle.reports import GetReport


@verb(
    "artstore get cats:latest ./photos",
    "artstore get cats:v3 ./photos --path 'train/**' --delete",
)
@click.argument("ref", shell_complete=references)
@click.argument("folder", metavar="[DIR]", required=False, type=Place(path_type=Path, file_okay=False))
@click.option("--path", "patterns", metavar="GLOB", multiple=True, help="Only paths that match; repeatable.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "reflink", "hardlink", "copy"]),
    default="auto",
    show_default=True,
    help="How bytes reach DIR; auto is reflink where the file system can, else copy. Hardlinks are read-only.",
)
@click.option("--delete", is_flag=True, help="Remove from DIR what the version does not have; stores stay.")
@click.option(
    "--allow-missing-references",
    "allow_missing",
    is_flag=True,
    help="Leave out what is no longer at its URI, or was changed there, and say so.",
)
def get(
    call: Call,
    *,
    ref: str,
    folder: Path | None,
    patterns: tuple[str, ...],
    mode: Literal["auto", "reflink", "hardlink", "copy"],
    delete: bool,
    allow_missing: bool,
) -> None:
    """Write a version's files into a folder, verified.

    Writes only what differs, and makes DIR if it is missing. References are fetched, and compared with what was
    recorded of them before anything can be seen. Without DIR the files go to a folder of their own, named
    after the version: cats:v3 to ./cats-v3.
    """
    project = project_of(call)
    with open_store(call) as store:
        if folder is None:
            # From here on by id: between two questions an alias may move.
            version = store.version(ref, project=project)
            ref, folder = version.exact, Path(f"{version.collection}-v{version.number}")
        with progress(call) as watcher:
            report = store.get(
                ref,
                folder,
                project=project,
                patterns=patterns,
                mode=mode,
                delete=delete,
                fetch=fetch,
                allow_missing=allow_missing,
                progress=watcher,
            )
    if patterns and not (report.written or report.unchanged or report.deleted or report.missing):
        message = f"no file of {report.version.ref} is meant by {' or '.join(map(repr, patterns))}: nothing was written"
        raise NotFound(message, code="path-not-found")
    emit(call, report, render)


@verb("artstore cat cats:latest labels.csv | head")
@click.argument("ref", shell_complete=references)
@click.argument("path")
def cat(call: Call, *, ref: str, path: str) -> None:
    """Write one file of a version to standard output.

    Every block is verified before it is written; damage ends the output with exit code 5. What a reference stands for
    is fetched whole, and compared, before its first byte is written.
    """
    out = sys.stdout.buffer
    with open_store(call) as store:
        for block in store.read(ref, path, project=project_of(call), fetch=fetch):
            with printing(UNCHANGED):
                out.write(block)
    with printing(UNCHANGED):
        out.flush()


def render(report: GetReport) -> None:
    """Say which version is where now, then what it took."""
    say(f"{report.version.ref} -> {report.target}")
    ways = (
        ("reflinked", report.reflinked),
        ("hardlinked", report.hardlinked),
        ("copied", report.copied),
        ("fetched", report.fetched),
    )
    how = ", ".join(f"{number:,} {way}" for way, number in ways if number)
    deleted = f"; deleted: {report.deleted:,}" if report.deleted else ""
    say(
        f"  written: {count(report.written, 'file')}, {size(report.bytes_written)}{f' ({how})' if how else ''}; "
        f"unchanged: {report.unchanged:,}{deleted}; {duration(report.seconds)}"
    )
    for store in report.spared:
        note(f"left alone {store}: it is a store, and may be all that holds its versions")
    for missing in report.missing:
        note(f"left out {missing.path}: {missing.reason}")
