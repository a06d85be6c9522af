"""A store on the disk, without the verbs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.storage.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """An empty store."""
    opened = Root.create(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A store that the examples of a module share, each with names of its own."""
    opened = Root.create(tmp_path_factory.mktemp("shared") / "store")
    yield opened
    opened.close()
