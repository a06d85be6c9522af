"""fsspec's own tests of what a file system does, on `artstore://`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

from artstore.filesystem import ArtstoreFileSystem
from artstore.store import Store


class Fixtures(AbstractFixtures):  # type: ignore[misc]  # fsspec has no types.
    @pytest.fixture
    def fs(self, tmp_path_factory: pytest.TempPathFactory) -> ArtstoreFileSystem:
        folder = tmp_path_factory.mktemp("store")
        with Store.init(folder):
            pass
        return ArtstoreFileSystem(folder, skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return "trial:latest"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(Fixtures, AbstractCopyTests):  # type: ignore[misc]
    pass


class TestGet(Fixtures, AbstractGetTests):  # type: ignore[misc]
    pass


class TestOpen(Fixtures, AbstractOpenTests):  # type: ignore[misc]
    pass


class TestPipe(Fixtures, AbstractPipeTests):  # type: ignore[misc]
    pass


class TestPut(Fixtures, AbstractPutTests):  # type: ignore[misc]
    pass
