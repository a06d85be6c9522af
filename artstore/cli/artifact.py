"""Artifact: put, get and ls in the words of `wandb artifact`, for scripts and fingers that know those."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artstore.cli.completing import collections
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, Verb, verb
from artstore.cli.output import emit, note, say, table
from artstore.cli.progress import progress
from artstore.cli.put import note_left_out
from artstore.cli.put import outcome as outcome_of_put
from artstore.discovery import heed_s3_endpoint
from artstore.errors import Invalid, NotFound
from artstore.model.names import LATEST, Reference
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from artstore.units import moment, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artstore.lifecycle.reports import CollectionInfo, GcReport, GetReport, PutReport
    from artstore.store import Store


class Words(Verb, click.Group):
    """A command that has commands of its own."""


artifact = Words(
    "artifact",
    help="Put, get and list artifacts in the words of W&B.\n\nThe same as artstore put, get and ls, with less to say.",
    examples=("artstore artifact put photos --name demo/cats", "artstore artifact get demo/cats:latest"),
)


@verb(
    "artstore artifact put photos --name demo/cats --type dataset",
    "artstore artifact put model.pt -t model -a best -a staging",
)
@click.argument("path")
@click.option("-n", "--name", metavar="[PROJECT/]NAME", help="What it is called; by default as PATH is.")
@click.option("-d", "--description", metavar="TEXT", help="What a reader should know about this version.")
@click.option("-t", "--type", "kind", default="dataset", show_default=True, help="What it is.")
@click.option("-a", "--alias", "aliases", multiple=True, help="Another name for this version; repeatable.")
@click.option("--id", "run", metavar="RUN", help="The run that makes it; begun and ended here if it is new.")
@click.option("--resume", is_flag=True, help="Say that the run of --id is there already; an error if it is not.")
@click.option("--skip_cache", is_flag=True, hidden=True, help="Of no effect: there is no cache besides the store.")
@click.option(
    "--policy",
    type=click.Choice(["mutable", "immutable"]),
    hidden=True,
    help="Of no effect: what is put is kept once, and later edits of PATH do not matter.",
)
def put(
    call: Call,
    *,
    path: str,
    name: str | None,
    description: str | None,
    kind: str,
    aliases: tuple[str, ...],
    run: str | None,
    resume: bool,
    skip_cache: bool,
    policy: str | None,
) -> None:
    """Keep a file, a folder or what a URI stands for as an artifact."""
    del skip_cache, policy
    named = Reference.parse(name or path.rstrip("/").rpartition("/")[2], project=project_of(call))
    place = named.project
    if named.selector != LATEST:
        message = f"{name!r} chooses a version, which is made only now: give its aliases with --alias"
        raise Invalid(message, code="bad-name")
    is_uri = "://" in path
    if not is_uri and not Path(path).exists():
        message = f"{path!r} is not there: name a file, a folder, or a URI such as s3://bucket/path"
        raise Invalid(message, code="not-a-path")
    heed_s3_endpoint()
    references = expand(path) if is_uri else []
    with open_store(call) as store, progress(call) as watcher, _run(store, run, place, resume=resume):
        report = store.put(
            [] if is_uri else [Path(path)],
            name=named.collection,
            type=kind,
            project=place,
            aliases=aliases,
            description=description,
            references=references,
            run=run,
            progress=watcher,
        )
    emit(call, report, render_put, outcome=outcome_of_put(report))


@verb("artstore artifact get demo/cats:latest", "artstore artifact get demo/cats --root photos --type dataset")
@click.argument("path", metavar="[PROJECT/]NAME[:ALIAS]", shell_complete=collections)
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), help="Default: ./artifacts/NAME:vN.")
@click.option("--type", "kind", help="What it has to be.")
def get(call: Call, *, path: str, root: Path | None, kind: str | None) -> None:
    """Write an artifact's files into a folder, verified."""
    with open_store(call) as store, progress(call) as watcher:
        version = store.version(path, project=project_of(call))
        if kind is not None and version.type != kind:
            message = f"{version.ref} is of type {version.type!r}, not {kind!r}"
            raise Invalid(message, code="other-type")
        report = store.get(version.exact, root or Path("artifacts") / version.name, fetch=fetch, progress=watcher)
    emit(call, report, render_got)


@verb("artstore artifact ls demo", "artstore artifact ls demo --type dataset")
@click.argument("path", metavar="[ENTITY/]PROJECT", required=False)
@click.option("-t", "--type", "kind", help="Only what is of this type.")
def ls(call: Call, *, path: str | None, kind: str | None) -> None:
    """List the latest version of each artifact of a project."""
    with open_store(call) as store:
        project = path.rstrip("/").rpartition("/")[2] if path else project_of(call)
        found = store.collections(project)
        if path and project not in store.projects():
            message = f"there is no project {project!r} in this store (it has: {', '.join(store.projects()) or 'none'})"
            raise NotFound(message, code="project-not-found")
    emit(call, [each for each in found if kind in (None, each.type)], render_listed)


cache = Words(
    "cache",
    help="Free space in the words of W&B.\n\nThere is no cache here: what is kept is kept once.",
    examples=("artstore artifact cache cleanup 10GB",),
)


@verb("artstore artifact cache cleanup 10GB")
@click.argument("target_size", metavar="SIZE", required=False)
@click.option("--remove-temp", is_flag=True, help="What killed processes have left goes in any case.")
def cleanup(call: Call, *, target_size: str | None, remove_temp: bool) -> None:
    """Free the space of what nothing refers to, as artstore gc does.

    W&B deletes down to a SIZE what it can fetch again. Here that could be the only copy, so nothing that a version has
    ever goes: delete or prune versions first, and whatever SIZE is, it is not heeded.
    """
    del target_size, remove_temp
    with open_store(call) as store, progress(call) as watcher:
        report = store.gc(progress=watcher)
    emit(call, report, render_reclaimed)


cache.add_command(cleanup, "cleanup")
artifact.add_command(cache, "cache")
artifact.add_command(put, "put")
artifact.add_command(get, "get")
artifact.add_command(ls, "ls")


def render_put(report: PutReport) -> None:
    """Say which version it is, and how a script gets it."""
    assert report.version is not None  # Only a dry run has none.
    say(f"{report.version.ref} ({report.version.type}){'' if report.made else ', already kept'}")
    say(f'artifact = run.use_artifact("{report.version.ref}")')
    note_left_out(report)


def render_reclaimed(report: GcReport) -> None:
    """Say what is free now, and what is not yet."""
    say(f"Reclaimed {size(report.freed_bytes)} of space")
    if report.trash_bytes:
        note(f"{size(report.trash_bytes)} more wait for a day, since a command might need them: artstore gc --grace 0")


def render_got(report: GetReport) -> None:
    """Say where it is now."""
    say(f"Artifact downloaded to {report.target}")


def render_listed(known: Sequence[CollectionInfo]) -> None:
    """Write one line a collection."""
    rows = []
    for each in known:
        is_empty = each.latest is None
        latest = "N/A (no versions)" if is_empty else f"{each.name}:{each.latest}"
        rows.append((each.type, moment(each.updated_at), "N/A" if is_empty else size(each.bytes), latest))
    table(("type", "updated", ">size", "name"), rows)


@contextlib.contextmanager
def _run(store: Store, run: str | None, project: str, *, resume: bool) -> Iterator[None]:
    """Let a run go on meanwhile: one that is there already, or one that is begun and ended here."""
    if run is None:
        if resume:
            message = "--resume needs the run that goes on: name it with --id"
            raise click.UsageError(message)
        yield
        return
    if resume:
        store.run(run, project=project)
        yield
        return
    store.start_run(id=run, project=project)
    with store.hold_run(run, project=project):
        try:
            yield
        except BaseException:
            store.finish_run(run, state="crashed", project=project)
            raise
        store.finish_run(run, project=project)
