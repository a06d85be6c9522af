"""Stores on several machines, and the depot between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from artstore.lifecycle.reports import VersionInfo
from artstore.storage.journal import Journal
from artstore.store import Store
from artstore.sync import remotes
from artstore.sync.connect import connect
from artstore.sync.objects.families import open_objects
from artstore.sync.remotes import add_remote
from artstore.sync.reports import SyncReport
from artstore.sync.rounds import Verb, exchange
from tests.sync.simulation.network import Network

PROJECT = "uncategorized"


class Machine:
    """A store with a depot, by its folder, or another remote, by its URL, as its upstream."""

    def __init__(
        self, folder: Path, depot: Path | str, name: str, *, join: bool = True, token_file: Path | None = None
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        url = depot if isinstance(depot, str) else f"file://{depot}"
        self.depot = Path(depot)
        self.store = Store.init(self.folder / "store")
        add_remote(self.store.path, "hub", url, upstream=True, join=join, token_file=token_file)

    def put(self, files: Mapping[str, bytes], name: str = "cats", **options: object) -> VersionInfo:
        """Make a version of these files."""
        tree = self.folder / "tree"
        tree.mkdir(exist_ok=True)
        for there in [path for path in tree.rglob("*") if path.is_file()]:
            there.unlink()
        for path, data in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        version = self.store.put([tree], name=name, type="dataset", **options).version  # type: ignore[arg-type]
        assert version is not None
        return version

    def move(self, verb: Verb, **options: object) -> SyncReport:
        """Push, pull or both; nothing may have gone wrong."""
        report = exchange(self.store, verb, **options)  # type: ignore[arg-type]
        assert [] == [project.error for project in report.projects if project.error]
        return report

    def push(self) -> SyncReport:
        return self.move("push")

    def pull(self) -> SyncReport:
        return self.move("pull")

    def read(self, reference: str) -> dict[str, bytes]:
        """The files of a version, with their bytes."""
        return {each.path: b"".join(self.store.read(reference, each.path)) for each in self.store.entries(reference)}

    def names(self, collection: str = "cats") -> list[tuple[str, str, list[str]]]:
        """What the versions are called: number, id, aliases."""
        return [(each.name, each.id, each.aliases) for each in self.store.versions(collection)]

    def state_hash(self, project: str = PROJECT) -> str:
        """One text for what the upstream's order makes."""
        found = self.store.root.catalog.project(project)
        assert found is not None
        return str(Journal(self.store.root.catalog, found).state_hash())

    def again(self) -> None:
        """As after a restart."""
        self.store.close()
        self.store = Store.open(self.folder / "store")
        connect(self.store)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A disk that is carried about."""
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    """An empty folder that all machines see."""
    folder = tmp_path / "depot"
    folder.mkdir()
    return folder


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The way of all machines to the depot, where others may be quicker, and machines may die."""
    found = Network()
    monkeypatch.setattr(remotes, "open_objects", lambda url: found.between(open_objects(url)))
    return found


@pytest.fixture
def machine(tmp_path: Path, depot: Path) -> Iterator[Callable[..., Machine]]:
    """Set up a machine of this name."""
    made: list[Machine] = []

    def make(name: str, **options: Any) -> Machine:
        made.append(Machine(tmp_path, options.pop("url", depot), name, **options))
        return made[-1]

    yield make
    for each in made:
        each.store.close()
