"""Put: keep files and folders as a version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from artstore.cli.completing import collections
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, duration, verb
from artstore.cli.output import emit, note, say
from artstore.cli.progress import progress
from artstore.cli.units import count, size
from artstore.cli.units import duration as written_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import PutReport


def metadata_object(text: str) -> dict[str, Any]:
    """Read a JSON object, given as it is or as the name of a file that holds one."""
    is_inline = text.lstrip().startswith("{")
    try:
        raw = text.encode() if is_inline else Path(text).read_bytes()
        return msgspec.json.decode(raw, type=dict[str, Any])
    except OSError as error:
        message = f"{text!r} is neither a JSON object nor a file that can be read: {error.strerror}"
        raise click.BadParameter(message) from error
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        message = f"{'the text' if is_inline else repr(text)} is not a JSON object: {error}"
        raise click.BadParameter(message) from error


@verb(
    "artstore put photos --name cats --type dataset --alias best",
    "artstore put model.pt --name resnet --type model --metadata '{\"accuracy\": 0.93}'",
    "pg_dump shop | artstore put - --name shop --type backup --as shop.sql",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--name", required=True, shell_complete=collections, help="The collection, as NAME or PROJECT/NAME.")
@click.option("--type", "kind", required=True, help="What it is, for example dataset, model or result.")
@click.option("--alias", "aliases", metavar="NAME", multiple=True, help="Another name for this version; repeatable.")
@click.option("--description", metavar="TEXT", help="What a reader should know about this version.")
@click.option("--metadata", type=metadata_object, metavar="FILE|JSON", help="A JSON object, or a file that holds one.")
@click.option("--as", "prefix", metavar="PREFIX", help="Put everything below this path; names what `-` reads.")
@click.option("--ttl", type=duration, metavar="DURATION", help="How long it is wanted: 12h, 30d. Default: for good.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out what cannot be read, and say so.")
@click.option("--dry-run", is_flag=True, help="Say what would be kept, and keep nothing.")
def put(
    call: Call,
    *,
    paths: tuple[Path, ...],
    name: str,
    kind: str,
    aliases: tuple[str, ...],
    description: str | None,
    metadata: dict[str, Any] | None,
    prefix: str | None,
    ttl: float | None,
    skip_unreadable: bool,
    dry_run: bool,
) -> None:
    """Keep files and folders as a version.

    Of one folder the contents are kept, without the folder's own name; a file, or each of several PATHs, is kept
    under its last name, as cp -r does. `-` reads standard input. What the store already holds takes no further space,
    and equal content is no further version. A file named .artstoreignore, in the syntax of .gitignore, says what to
    leave out.
    """
    project, _, collection = name.rpartition("/")
    with open_store(call) as store, progress(call) as watcher:
        report = store.put(
            _sources(paths),
            name=collection,
            type=kind,
            project=project or project_of(call),
            aliases=aliases,
            description=description,
            metadata=metadata,
            prefix=prefix,
            ttl_s=ttl,
            skip_unreadable=skip_unreadable,
            dry_run=dry_run,
            progress=watcher,
        )
    emit(call, report, render)


def render(report: PutReport) -> None:
    """Say which version it is, then what it took; what was left out goes to standard error."""
    version = report.version
    if report.dry_run and report.made:
        say("a new version would be made")
    elif version is None:
        say("no new version would be made: the content is already kept")
    else:
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        say(f"{version.ref}{aliases}{'' if report.made else ', already kept'}")
    totals = f"{count(report.files, 'file')}, {size(report.bytes)}"
    new = f"{count(report.new_files, 'file')}, {size(report.new_bytes)}"
    say(f"  {totals}; new: {new}; {written_duration(report.seconds)}{'; dry run' if report.dry_run else ''}")
    for skipped in report.skipped:
        note(f"left out {skipped.path}: {skipped.reason}")
    if report.empty_directories:
        empty = count(report.empty_directories, "empty directory", "empty directories")
        note(f"{empty} not kept: a version holds files only")
    for warning in report.warnings:
        note(warning)


def _sources(paths: Sequence[Path]) -> list[Path | BinaryIO]:
    dash = Path("-")
    if paths.count(dash) > 1:
        message = "`-` stands for standard input, which can be read once"
        raise click.UsageError(message)
    return [sys.stdin.buffer if path == dash else path for path in paths]
