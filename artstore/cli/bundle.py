"""Bundle: versions in a file, for where no network leads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from artstore.cli.completing import references
from artstore.cli.discovery import chosen_project, open_store
from artstore.cli.health import DAMAGED
from artstore.cli.options import Call, Place, Verb, file_size, verb
from artstore.cli.output import emit, print_json, say
from artstore.cli.printing import printing
from artstore.cli.progress import progress
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.head import decode_receipt, inspect_bundle
from artstore.sync.bundle.receipt import make_receipt
from artstore.units import count, duration, moment, size

if TYPE_CHECKING:
    from artstore.sync.reports import ApplyReport, BundleReport, CarriedProject


class Words(Verb, click.Group):
    """A command that has commands of its own."""


bundle = Words(
    "bundle",
    help="Carry versions to another store in a file.",
    examples=("artstore bundle create /mnt/usb/cats.bundle", "artstore bundle apply /mnt/usb/cats.bundle"),
)


@verb(
    "artstore bundle create /mnt/usb/all.bundle --split 4GB",
    "artstore bundle create /mnt/usb/new.bundle --since /mnt/usb/receipt.json",
)
@click.argument("file", type=Place(path_type=Path))
@click.argument("refs", metavar="[REF]...", nargs=-1, shell_complete=references)
@click.option(
    "--since",
    type=Place(exists=True, dir_okay=False, path_type=Path),
    metavar="RECEIPT",
    help="Carry only what the store lacks that wrote this receipt.",
)
@click.option("--split", type=file_size, metavar="SIZE", help="Write FILE.001, FILE.002, … of at most so many bytes.")
def create(call: Call, *, file: Path, refs: tuple[str, ...], since: Path | None, split: int | None) -> int:
    """Write what this store has into a file.

    Names, labels, runs, lineage and lists of files go of all projects, or of the one of --project or those of the REFs;
    bytes go of all their versions, or of the REFs alone. What an upstream has not accepted yet goes as an offer to it.

    Bytes that are damaged or cannot be had are left out with what needs them, and named; the exit code is then 5. Those
    of REFs have to be there.
    """
    receipt = None if since is None else decode_receipt(since.read_bytes(), repr(str(since)))
    with open_store(call) as store, progress(call) as watcher:
        report = create_bundle(
            store, file, refs, project=chosen_project(call), since=receipt, split=split, progress=watcher
        )
    emit(call, report, render_created)
    return DAMAGED if report.left else 0


@verb("artstore bundle inspect /mnt/usb/cats.bundle")
@click.argument("file", type=Place(path_type=Path))
def inspect(call: Call, *, file: Path) -> None:
    """Show what a bundle carries. Needs no store."""
    emit(call, inspect_bundle(file), render_inspected)


@verb("artstore bundle apply /mnt/usb/cats.bundle", "artstore bundle apply /mnt/usb/cats.bundle --join")
@click.argument("file", type=Place(path_type=Path))
@click.option(
    "--join",
    is_flag=True,
    help="Follow the bundle's log also where a project has another one, or another end of it: what was made here comes "
    "behind it. In the store whose log it is, what the bundle has comes behind.",
)
def apply(call: Call, *, file: Path, join: bool) -> int:
    """Take what a bundle carries, verified; what is here already is passed over.

    A project that is new here follows the log of the store that made the bundle from now on: what is made here then
    goes back as an offer, in a bundle of this store.
    """
    with open_store(call) as store, progress(call) as watcher:
        report = apply_bundle(store, file, join=join, progress=watcher)
    emit(call, report, render_applied)
    return max((project.exit_code for project in report.projects), default=0)


@verb("artstore bundle receipt > /mnt/usb/receipt.json")
def receipt(call: Call) -> None:
    """Print what this store has, for the next bundle that is made for it."""
    with open_store(call) as store:
        found = make_receipt(store)
    with printing("the command has done its work"):
        print_json(found)


for command in (create, inspect, apply, receipt):
    bundle.add_command(command)


def render_created(report: BundleReport) -> None:
    """Say what is in it, and what is not."""
    for each in report.left:
        say(f"left out  {each.path}  {each.reason}", style="red")
    if not report.files and report.left:
        say("nothing else to carry, and no file was written")
        return
    if not report.files:
        say("nothing to carry: the other side has it all, and no file was written")
        return
    for file in report.files:
        say(file)
    _say_projects(report.projects)
    say(f"  {size(report.bytes)} in {count(len(report.files), 'file')}")


def render_inspected(report: BundleReport) -> None:
    """Say what is in it, and who made it."""
    _say_projects(report.projects)
    say(f"  {size(report.bytes)} in {count(len(report.files), 'file')}")
    say(f"  made by store {report.store} on {moment(report.made_at, zone=True)}")


def render_applied(report: ApplyReport) -> None:
    """Write one line a project, and what could not be taken."""
    for project in report.projects:
        if project.taken.ops or project.offered.ops:
            versions = count(project.taken.versions + project.offered.versions, "version")
            offered = f", {count(project.offered.ops, 'op')} of them offered" if project.offered.ops else ""
            say(f"{project.project}: {versions}, {count(project.taken.ops + project.offered.ops, 'op')}{offered}")
        if project.void:
            say(f"{project.project}: {count(project.void, 'offer')} void, since others were faster", style="yellow")
        if project.error is not None:
            say(f"{project.project}: {project.error}", style="red")
    if not any(each.taken.ops or each.offered.ops or each.error for each in report.projects) and not report.blobs:
        say("nothing to take: this store has it all")
    say(f"  {count(report.blobs, 'blob')}, {size(report.bytes)}; {duration(report.seconds)}")


def _say_projects(projects: list[CarriedProject]) -> None:
    for each in projects:
        offers = f", {count(each.offers, 'op')} offered" if each.offers else ""
        say(
            f"{each.project}: {count(each.versions, 'version')}, {count(each.ops, 'op')}{offers}, "
            f"{count(each.blobs, 'blob')} ({size(each.bytes)})"
        )
