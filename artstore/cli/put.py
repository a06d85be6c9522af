"""Put: keep files and folders as a version."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from artstore.cli.completing import collections
from artstore.cli.discovery import named_collection, open_store
from artstore.cli.json_values import metadata_object
from artstore.cli.options import Call, Place, duration, verb
from artstore.cli.output import emit, note, say
from artstore.cli.progress import progress
from artstore.discovery import heed_s3_endpoint, push
from artstore.errors import ArtstoreError, Invalid
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.wanted import MAX_OBJECTS
from artstore.units import count, size
from artstore.units import duration as written_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import PutReport, VersionInfo
    from artstore.store import Store


_CHOICE = re.compile(r"(?:\?version[Ii]d=[^?]*|#[0-9]+)\Z")
"""What chooses a version behind a URI, and is no part of a name."""


@verb(
    "artstore put photos --name cats --type dataset --alias best",
    "artstore put model.pt --name resnet --type model --metadata '{\"loss\": 0.1}'",
    "pg_dump shop | artstore put - --name shop --type backup --as shop.sql",
    "artstore put s3://bucket/photos --name far-cats --type dataset",
)
@click.argument("sources", metavar="PATH|URI...", nargs=-1, required=True, type=Place(allow_dash=True))
@click.option("--name", required=True, shell_complete=collections, help="The collection, as NAME or PROJECT/NAME.")
@click.option("--type", "kind", required=True, help="What it is, for example dataset, model or result.")
@click.option("--alias", "aliases", metavar="NAME", multiple=True, help="Another name for this version; repeatable.")
@click.option("--description", metavar="TEXT", help="What a reader should know about this version.")
@click.option("--metadata", type=metadata_object, metavar="FILE|JSON", help="A JSON object, or a file that holds one.")
@click.option("--as", "prefix", metavar="PREFIX", help="Put everything below this path; names what `-` reads.")
@click.option("--ttl", type=duration, metavar="DURATION", help="How long it is wanted: 12h, 30d. Default: for good.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out what cannot be read, and say so.")
@click.option("--no-checksum", is_flag=True, help="Do not ask what is at a URI now, and take whatever is there later.")
@click.option(
    "--max-objects",
    type=click.IntRange(min=1),
    default=MAX_OBJECTS,
    show_default=True,
    help="How many objects a URI may stand for.",
)
@click.option("--push", "is_pushed", is_flag=True, help="Push the project to the upstream, and wait for that.")
@click.option("--dry-run", is_flag=True, help="Say what would be kept, and keep nothing.")
def put(
    call: Call,
    *,
    sources: tuple[str, ...],
    name: str,
    kind: str,
    aliases: tuple[str, ...],
    description: str | None,
    metadata: dict[str, Any] | None,
    prefix: str | None,
    ttl: float | None,
    skip_unreadable: bool,
    no_checksum: bool,
    max_objects: int,
    is_pushed: bool,
    dry_run: bool,
) -> int:
    """Keep files and folders as a version.

    Of one folder the contents are kept, without the folder's own name; a file, or each of several PATHs, is kept
    under its last name, as cp -r does. `-` reads standard input. What the store already holds takes no further space,
    and equal content is no further version. A file named .artstoreignore, in the syntax of .gitignore, says what to
    leave out.

    What is at a URI (file, http, https, s3, gs, az) stays there: kept is where it is and how to tell that it is still
    the same. get fetches it.

    Nothing here waits for a network, but with --push: where the upstream cannot be reached then, the version is kept,
    and the exit code is that of artstore push.
    """
    project, collection = named_collection(call, name)
    paths = [source for source in sources if "://" not in source]
    references, warned = _references(
        [source for source in sources if "://" in source],
        prefix,
        is_alone=len(sources) == 1,
        checksum=not no_checksum,
        max_objects=max_objects,
    )
    for warning in warned:
        note(warning)
    with open_store(call) as store:
        with progress(call) as watcher:
            report = store.put(
                _sources(paths),
                name=collection,
                type=kind,
                project=project,
                aliases=aliases,
                description=description,
                metadata=metadata,
                prefix=prefix,
                references=references,
                ttl_s=ttl,
                skip_unreadable=skip_unreadable,
                dry_run=dry_run,
                progress=watcher,
            )
        emit(call, report, render, outcome=outcome(report))
        if not is_pushed or report.version is None or dry_run:
            return 0
        return _push(call, store, report.version)


def _push(call: Call, store: Store, version: VersionInfo) -> int:
    """Send what waits of the project of a version; an exit code."""
    try:
        with progress(call) as watcher:
            moved = push(store, version.project, watcher)
    except ArtstoreError as error:
        note(f"{version.ref} is committed, and not pushed yet: {error.message}")
        return error.exit_code
    for each in moved.projects:
        if each.error is not None:
            note(f"{version.ref} is committed, and not all of {each.project!r} is pushed yet: {each.error}")
    return max((each.exit_code for each in moved.projects), default=0)


def outcome(report: PutReport) -> str:
    """What has come true, in words."""
    if report.version is None or report.dry_run:
        return "nothing was to be kept"
    return f"{report.version.ref} is committed"


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
    note_left_out(report)


def note_left_out(report: PutReport) -> None:
    """Say on standard error what is not in the version, and what is odd about what is."""
    for skipped in report.skipped:
        note(f"left out {skipped.path}: {skipped.reason}")
    if report.empty_directories:
        empty = count(report.empty_directories, "empty directory", "empty directories")
        note(f"{empty} not kept: a version holds files only")
    for warning in report.warnings:
        note(warning)


def _sources(paths: Sequence[str]) -> list[Path | BinaryIO]:
    if paths.count("-") > 1:
        message = "`-` stands for standard input, which can be read once"
        raise click.UsageError(message)
    if "-" in paths and sys.stdin is None:
        message = "standard input is closed, and - stands for it"
        raise click.UsageError(message)
    return [sys.stdin.buffer if path == "-" else Path(path) for path in paths]


def _references(
    uris: Sequence[str],
    prefix: str | None,
    *,
    is_alone: bool,
    checksum: bool,
    max_objects: int,
) -> tuple[list[ReferenceEntry], list[str]]:
    """What URIs stand for, named as `put` names files and folders, and what there is to say of it."""
    entries: list[ReferenceEntry] = []
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    heed_s3_endpoint()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for uri in uris:
            own = None if is_alone else _CHOICE.sub("", uri).rstrip("/").rpartition("/")[2]
            try:
                found = expand(uri, name=own, checksum=checksum, max_objects=max_objects)
            except Invalid as error:
                if error.code != "name-missing" or prefix is None:
                    raise
                entries += expand(uri, name=prefix, checksum=checksum, max_objects=max_objects)
            else:
                entries += [msgspec.structs.replace(entry, path=f"{folder}{entry.path}") for entry in found]
    return entries, [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
