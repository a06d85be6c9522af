"""Import: what other tools have left on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artstore.cli.discovery import open_store
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, note, say
from artstore.discovery import folders_of
from artstore.imports.wandb import import_wandb
from artstore.units import count, size
from artstore.units import duration as written_duration

if TYPE_CHECKING:
    from artstore.imports.reports import ImportReport


@verb("artstore import wandb ./wandb", "artstore import wandb . --project cats --json", name="import")
@click.argument("tool", metavar="TOOL", type=click.Choice(["wandb"]))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--artifacts",
    "places",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A cache or data folder of wandb's that lies elsewhere now: what holds `artifacts`; repeatable.",
)
def import_(call: Call, *, tool: str, folder: Path, places: tuple[Path, ...]) -> None:
    """Take over the runs and artifacts of wandb.

    Reads the logs of all runs below DIR (wandb/offline-run-...), and the files that they name from where they were
    logged, wandb's data folder and its cache; wandb itself is not needed. Every file is checked against its manifest
    before the commit. Dates, order, aliases and metadata are kept; what cannot be is listed. Importing once more adds
    what is new.
    """
    del tool
    with open_store(call) as store:
        report = import_wandb(store, folder, places=[*places, *_usual_places()], project=call.project)
    emit(call, report, render)


def render(report: ImportReport) -> None:
    """Say what came, then what did not; the latter goes to standard error."""
    for version in report.versions:
        state = "" if version.made else ", already kept"
        say(f"{version.ref}  {count(version.files, 'file')}, {size(version.bytes)}{state}")
    runs = sum(run.made for run in report.runs)
    versions = sum(version.made for version in report.versions)
    took = written_duration(report.seconds)
    say(f"imported {count(runs, 'run')} and {count(versions, 'version')} from {report.source}; {took}")
    for left in report.left:
        note(f"left {left.what} of {left.where}: {left.why}")


def _usual_places() -> list[Path]:
    """Where wandb keeps its data and its cache."""
    data, cache = folders_of("wandb")
    return [
        Path(os.environ.get("WANDB_DATA_DIR") or data).expanduser(),
        Path(os.environ.get("WANDB_CACHE_DIR") or cache).expanduser(),
    ]
