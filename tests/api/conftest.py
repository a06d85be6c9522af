"""A working directory with a store of its own, as a script finds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from artstore.api import active, stores
from artstore.store import Store

STEERING = ("ARTSTORE_", "WANDB_")


@pytest.fixture(autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the script runs in: `.artstore` lies beside its files. No run is left over from another test."""
    for name in list(os.environ):
        if name.startswith(STEERING):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("place")
    monkeypatch.chdir(folder)
    stores._found.clear()
    Store.init(folder / ".artstore").close()
    yield folder
    for entered in list(active._entered):
        entered.run.finish()  # type: ignore[attr-defined]
    for root, hall in list(stores._open.items()):
        hall.settled().close()
        del stores._open[root]


@pytest.fixture
def files(place: Path) -> Callable[[Mapping[str, bytes]], None]:
    """Write files into the working directory."""

    def write(contents: Mapping[str, bytes]) -> None:
        for path, data in contents.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)

    return write
