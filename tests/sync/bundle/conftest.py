"""Stores that no network joins, and the stick that is carried between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError
from artstore.store import Store
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.head import Receipt
from artstore.sync.bundle.receipt import make_receipt
from artstore.sync.reports import ApplyReport, BundleReport
from tests.sync.conftest import Machine


class Site(Machine):
    """A store that has no remote."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.store = Store.init(self.folder / "store")

    def receipt(self) -> Receipt:
        return make_receipt(self.store)


class Stick:
    """A disk on which bundles go from one to another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def write(self, source: Machine, *references: str, since: Receipt | None = None, **options: int) -> BundleReport:
        self.count += 1
        path = self.folder / f"{self.count}.bundle"
        return create_bundle(source.store, path, references, since=since, **options)  # type: ignore[arg-type]

    def path(self) -> Path:
        """The bundle that was written last."""
        return self.folder / f"{self.count}.bundle"

    def carry(self, source: Machine, target: Machine, *references: str, join: bool = False) -> ApplyReport:
        """What the target lacks goes to it; nothing may go wrong."""
        made = self.write(source, *references, since=make_receipt(target.store))
        if not made.files:
            return ApplyReport(store=made.store, blobs=0, bytes=0, projects=[], seconds=0.0)
        report = apply_bundle(target.store, self.path(), join=join)
        assert [] == [project.error for project in report.projects if project.error]
        return report

    def refused(self, target: Machine, *, join: bool = False) -> str:
        """The code of the error with which the last bundle is refused."""
        try:
            (project,) = apply_bundle(target.store, self.path(), join=join).projects
        except ArtstoreError as error:
            return error.code
        return project.code or ""


@pytest.fixture
def stick(tmp_path: Path) -> Stick:
    folder = tmp_path / "stick"
    folder.mkdir()
    return Stick(folder)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Set up a store of this name."""
    made: list[Site] = []

    def make(name: str) -> Site:
        made.append(Site(tmp_path, name))
        return made[-1]

    yield make
    for each in made:
        each.store.close()
