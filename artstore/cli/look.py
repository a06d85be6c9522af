"""Look: what is in the store, without taking it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from artstore.cli.completing import collections, references
from artstore.cli.discovery import chosen_project, open_store, project_of
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, note, pairs, say, say_all, stream_json, table
from artstore.cli.printing import UNCHANGED, printing
from artstore.plain import plain
from artstore.units import count, duration, moment, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from artstore.lifecycle.reports import CollectionInfo, DiffReport, EntryInfo, LinkInfo, Match, VersionInfo


@verb("artstore ls", "artstore ls cats:v3 --long")
@click.argument("ref", required=False, shell_complete=references)
@click.option("--long", "is_long", is_flag=True, help="Also show each file's digest, and its size in bytes.")
def ls(call: Call, *, ref: str | None, is_long: bool) -> None:
    """List the collections, or the files of a version.

    Without REF the collections of all projects, or of the one that --project names.
    """
    with open_store(call) as store:
        if ref is None:
            project = chosen_project(call)
            known = store.collections(project)
            emit(call, known, render_collections)
            if not (known or project is None or call.json):
                note(f"none in project {project!r}")
        else:
            entries = store.entries(ref, project=project_of(call))
            with printing(UNCHANGED):
                if call.json:
                    stream_json(entries)
                else:
                    render_entries(entries, is_long=is_long)


@verb("artstore show cats:latest", "artstore show cats@blake3:9f2c04 --json")
@click.argument("ref", shell_complete=references)
def show(call: Call, *, ref: str) -> None:
    """Show what is known about a version."""
    with open_store(call) as store:
        emit(call, store.version(ref, project=project_of(call)), render_version)


@verb("artstore log cats")
@click.argument("name", shell_complete=collections)
def log(call: Call, *, name: str) -> None:
    """List the versions of a collection, newest first."""
    with open_store(call) as store:
        emit(call, store.versions(name, project=project_of(call)), render_versions)


@verb("artstore diff cats:v1 cats:v2", "artstore diff cats:latest ./photos")
@click.argument("ref", shell_complete=references)
@click.argument("other", metavar="REF|DIR", shell_complete=references)
def diff(call: Call, *, ref: str, other: str) -> None:
    """Compare a version with another, or with a folder.

    A folder of that name wins over a version: write cats:latest where a folder named cats lies about. The lines say
    + added, - removed, ~ changed, > renamed.
    """
    folder = Path(other)
    with open_store(call) as store:
        report = store.diff(ref, folder if other and folder.is_dir() else other, project=project_of(call))
    emit(call, report, render_diff)


@verb("artstore find '*/labels.csv'", "artstore find accuracy=0.93", "artstore find blake3:9f2c04")
@click.argument("query", metavar="DIGEST|GLOB|KEY=VALUE")
def find(call: Call, *, query: str) -> None:
    """Find versions by digest, path or metadata.

    Looks at all projects, or at the one that --project names. A digest is that of a file, a manifest or a version, or
    its beginning.
    """
    with open_store(call) as store:
        emit(call, store.find(query, project=chosen_project(call)), render_matches)


def render_collections(known: Sequence[CollectionInfo]) -> None:
    """Write one line a collection."""
    if not known:
        note("no collections yet; artstore put --help tells how to make one")
        return
    table(
        ("name", "type", ">versions", "latest", ">size", "updated"),
        [
            (f"{c.project}/{c.name}", _type(c), f"{c.versions:,}", c.latest or "-", size(c.bytes), moment(c.updated_at))
            for c in known
        ],
    )


def render_entries(entries: Iterable[EntryInfo], *, is_long: bool) -> None:
    """Write one line a file, as they come: a version may have a million."""
    say_all(map(_long_line if is_long else _short_line, entries))


def render_version(version: VersionInfo) -> None:
    """Write everything that is known, one name a line."""
    rows = [
        ("version", f"{version.project}/{_name(version)}" + _state(version)),
        ("type", version.type),
        ("aliases", ", ".join(version.aliases) or "-"),
        ("tags", ", ".join(version.tags) or "-"),
        ("created", moment(version.created_at, zone=True)),
        ("updated", moment(version.updated_at, zone=True)),
        ("files", f"{version.files:,}"),
        ("size", f"{size(version.bytes)} ({version.bytes:,} bytes)"),
        ("ttl", "-" if version.ttl_s is None else _ttl(version.created_at, version.ttl_s)),
        ("run", version.run or "-"),
        ("link", "-" if version.link is None else f"{version.link.ref} ({', '.join(version.link.aliases) or '-'})"),
        ("id", version.id),
        ("digest", version.digest),
        ("description", version.description or "-"),
    ]
    if version.metadata:
        shown = msgspec.json.format(msgspec.json.encode(plain(version.metadata)), indent=2)
        rows.append(("metadata", shown.decode()))
    pairs(rows)


def render_versions(versions: Sequence[VersionInfo]) -> None:
    """Write one line a version."""
    table(
        ("version", "aliases", "created", ">files", ">size", "description"),
        [
            (
                _name(v) if v.link is None else f"{_name(v.link)} -> {v.ref}",
                f"({v.state})" if v.state != "committed" else ", ".join((v.link or v).aliases),
                moment(v.created_at),
                f"{v.files:,}",
                size(v.bytes),
                (v.description or "").split("\n", 1)[0],
            )
            for v in versions
        ],
    )


def render_diff(report: DiffReport) -> None:
    """Write one line a difference, then the sums."""
    for entry in report.added:
        say(f"+ {entry.path}  {size(entry.size_after)}", style="green")
    for entry in report.removed:
        say(f"- {entry.path}  {size(entry.size_before)}", style="red")
    for entry in report.changed:
        say(f"~ {entry.path}  {size(entry.size_before)} -> {size(entry.size_after)}", style="yellow")
    for renamed in report.renamed:
        say(f"> {renamed.before} -> {renamed.after}  {size(renamed.size)}", style="cyan")
    parts = (
        (len(report.added), "added"),
        (len(report.removed), "removed"),
        (len(report.changed), "changed"),
        (len(report.renamed), "renamed"),
        (report.unchanged, "unchanged"),
    )
    say(
        ", ".join(f"{number:,} {word}" for number, word in parts)
        + f"; +{size(report.bytes_added)}, -{size(report.bytes_removed)}"
    )


def render_matches(matches: Sequence[Match]) -> None:
    """Write one line a finding."""
    if not matches:
        note("nothing found")
        return
    table(
        ("version", ">size", "path"),
        [(m.version.ref, size(m.version.bytes if m.path is None else m.size), m.path or "") for m in matches],
    )
    note(count(len(matches), "match", "matches"))


def _name(version: VersionInfo | LinkInfo) -> str:
    return f"{version.name} (local)" if version.provisional else version.name


def _state(version: VersionInfo) -> str:
    return "" if version.state == "committed" else f" ({version.state})"


def _type(collection: CollectionInfo) -> str:
    return collection.type if collection.kind == "sequence" else f"{collection.type} ({collection.kind})"


def _short_line(entry: EntryInfo) -> str:
    return f"{size(entry.size):>10}  {_target(entry)}"


def _long_line(entry: EntryInfo) -> str:
    exact = "-" if entry.size is None else str(entry.size)
    return f"{entry.digest or entry.checksum or '-':<71}  {exact:>14}  {_target(entry)}"


def _target(entry: EntryInfo) -> str:
    return entry.path if entry.uri is None else f"{entry.path} -> {entry.uri}"


def _ttl(created_at: float, ttl_s: float) -> str:
    return f"{duration(ttl_s)}, until {moment(created_at + ttl_s, zone=True)}"
