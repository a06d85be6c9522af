"""A store to try the verbs on, and trees to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.resolve import Resolved, resolve
from artstore.model.names import Reference
from artstore.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, beside which a test may keep its files."""
    with Store.init(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """Make one folder hold these files and no others; answers the folder."""

    def write(files: Mapping[str, bytes]) -> Path:
        folder = tmp_path / "tree"
        folder.mkdir(exist_ok=True)
        for there in [path for path in folder.rglob("*") if path.is_file()]:
            there.unlink()
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    return write


@pytest.fixture
def put(store: Store, tree: Callable[[Mapping[str, bytes]], Path]) -> Callable[..., VersionInfo]:
    """Put these files into the store, as `cats` if no other name is given."""

    def make(files: Mapping[str, bytes], name: str = "cats", project: str = "uncategorized") -> VersionInfo:
        version = store.put([tree(files)], name=name, type="dataset", project=project).version
        assert version is not None
        return version

    return make


@pytest.fixture
def version(store: Store) -> Callable[[str], Resolved]:
    """The version that a reference means, as verbs take it."""
    return lambda reference: resolve(store._root, Reference.parse(reference))


def flip(file: Path) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
