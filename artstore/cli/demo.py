"""Demo: the main job on a real tree, with every byte compared."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from artstore.cli.discovery import open_store
from artstore.cli.look import render_diff
from artstore.cli.options import Call, Place, verb
from artstore.cli.output import note, print_json, say
from artstore.cli.progress import progress
from artstore.errors import Corrupt
from artstore.lifecycle.reports import DiffReport, PutReport, VersionInfo
from artstore.store import Store
from artstore.units import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE: Final = "rich"
"""A package that artstore needs, so it is there, as a folder of a hundred files."""

PROJECT: Final = "demo"
NAME: Final = "tree"

_CHANGE_EVERY: Final = 20
_ADDED: Final = "added-by-the-demo.txt"
_RENAMED: Final = "renamed-by-the-demo"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo did; sizes in bytes."""

    first: PutReport
    second: PutReport
    diff: DiffReport
    compared_files: int
    compared_bytes: int
    logical_bytes: int
    """Both versions, as two folders would hold them."""
    stored_bytes: int
    """What the store took in for them."""
    saved_bytes: int


@verb("artstore demo", "artstore demo ./photos")
@click.argument("folder", metavar="[DIR]", required=False, type=Place(path_type=Path, exists=True, file_okay=False))
def demo(call: Call, *, folder: Path | None) -> None:
    """Put a tree twice, get it back, and check every byte.

    Keeps DIR (else a package that came with artstore), changes some files in a copy, keeps that as a second version,
    compares both, gets both and compares every byte. DIR itself is only read. Works in a temporary store, which is gone
    afterwards, unless --store names one.
    """
    with tempfile.TemporaryDirectory(prefix="artstore-demo-") as scratch:
        work = Path(scratch)
        with _store(call, work) as store:
            outcome = _play(call, store, folder or _sample(work), work)
    if call.json:
        print_json(outcome)
    else:
        render(outcome)


def render(outcome: Outcome) -> None:
    """Say what was kept, and what it saved."""
    share = outcome.saved_bytes / outcome.logical_bytes if outcome.logical_bytes else 0.0
    say(
        f"kept 2 versions of {size(outcome.logical_bytes)} together in {size(outcome.stored_bytes)}: "
        f"{size(outcome.saved_bytes)} saved ({share:.0%})"
    )
    compared = f"{count(outcome.compared_files, 'file')}, {size(outcome.compared_bytes)}"
    say(f"compared byte for byte: {compared}; all equal", style="green")


def _play(call: Call, store: Store, source: Path, work: Path) -> Outcome:
    first = _put(call, store, source)
    version = _kept(first)

    # The copy to change is the checkout itself: the first version is verified before anything is changed.
    changed = work / "changed"
    compared = _get_and_compare(call, store, version, changed, source)
    _change([changed / entry.path for entry in store.entries(version.ref)], changed)

    second = _put(call, store, changed)
    diff = store.diff(version.ref, _kept(second).ref)
    if not call.json:
        render_diff(diff)

    again = work / "again"
    compared += _get_and_compare(call, store, _kept(second), again, changed)
    # Back to the first in the same folder: only what differs is written, and what is not in it goes.
    compared += _get_and_compare(call, store, version, again, source)

    logical = first.bytes + second.bytes
    stored = first.new_bytes + second.new_bytes
    return Outcome(
        first=first,
        second=second,
        diff=diff,
        compared_files=2 * first.files + second.files,
        compared_bytes=compared,
        logical_bytes=logical,
        stored_bytes=stored,
        saved_bytes=logical - stored,
    )


def _put(call: Call, store: Store, source: Path) -> PutReport:
    with progress(call) as watcher:
        report = store.put([source], name=NAME, type="dataset", project=PROJECT, skip_unreadable=True, progress=watcher)
    for skipped in report.skipped:
        note(f"left out {skipped.path}: {skipped.reason}")
    if not call.json:
        new = f"{count(report.new_files, 'file')}, {size(report.new_bytes)}"
        totals = f"{count(report.files, 'file')}, {size(report.bytes)}"
        state = "" if report.made else ", already kept"
        say(f"put  {_kept(report).ref}{state}: {totals}; new: {new}; {duration(report.seconds)}")
    return report


def _get_and_compare(call: Call, store: Store, version: VersionInfo, target: Path, source: Path) -> int:
    with progress(call) as watcher:
        report = store.get(version.ref, target, delete=True, progress=watcher)
    seen = 0
    for entry in store.entries(version.ref):
        # Not shallow: equal size and time would pass for equal content.
        if not filecmp.cmp(source / entry.path, target / entry.path, shallow=False):
            message = f"{entry.path} of {version.ref} is not what was put: run `artstore verify`"
            raise Corrupt(message, code="digest-mismatch")
        seen += entry.size or 0
    filecmp.clear_cache()
    if not call.json:
        written = f"{count(report.written, 'file')}, {size(report.bytes_written)}"
        say(f"get  {version.ref}: {written} written, {report.unchanged:,} unchanged; {duration(report.seconds)}")
    return seen


def _change(paths: Sequence[Path], folder: Path) -> None:
    """Change one file in twenty, rename one, remove one, add one. The same tree is changed in the same way again."""
    for path in paths[::_CHANGE_EVERY]:
        with path.open("ab") as file:
            file.write(b"changed by the demo\n")
    if len(paths) > 3:  # noqa: PLR2004 - something should stay as it was
        paths[1].rename(paths[1].with_name(_RENAMED))
        paths[2].unlink()
    (folder / _ADDED).write_bytes(b"added by the demo\n")


def _kept(report: PutReport) -> VersionInfo:
    if report.version is None:
        message = "put kept nothing, and was not asked for a dry run"
        raise AssertionError(message)
    return report.version


def _sample(work: Path) -> Path:
    """Copy the sample's own files: beside them lies bytecode, which this very program may be writing."""
    with as_file(files(SAMPLE)) as package:
        return Path(shutil.copytree(package, work / "sample", ignore=shutil.ignore_patterns("__pycache__")))


@contextmanager
def _store(call: Call, work: Path) -> Iterator[Store]:
    if call.store is not None:
        with open_store(call) as store:
            yield store
        return
    with Store.init(work / "store") as store:
        yield store
