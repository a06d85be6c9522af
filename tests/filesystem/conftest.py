"""A store, and `artstore://` on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from artstore.filesystem import ArtstoreFileSystem
from artstore.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, opened a second time beside the one of the file system."""
    with Store.init(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def fs(store: Store) -> ArtstoreFileSystem:
    """The file system of that store, which no other test has."""
    return ArtstoreFileSystem(store.path, skip_instance_cache=True)


@pytest.fixture
def put(store: Store, tmp_path: Path) -> Callable[..., None]:
    """Put these files into the store as the next version, past the file system."""

    def make(files: Mapping[str, bytes], name: str = "cats", project: str = "uncategorized") -> None:
        with store.draft() as draft:
            for path, data in files.items():
                (tmp_path / "one").write_bytes(data)
                draft.add_file(tmp_path / "one", path)
            store.commit(draft, name=name, type="dataset", project=project)

    return make
