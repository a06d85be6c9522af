"""What lies only on a remote is read through `artstore://` as if it were here, and comes as it is read."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from artstore.errors import Corrupt, Unreachable
from artstore.filesystem import ArtstoreFileSystem
from artstore.lifecycle import tree
from artstore.storage.blobs import SMALL
from artstore.store import Store
from artstore.sync.objects import folder
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import served

FILES = {f"{number % 5}/{number:03}": os.urandom(2_000) for number in range(200)}
FILES |= {"large": os.urandom(SMALL + 5), "t.csv": b"a,b\n1,2\n"}


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    """A folder that has `cats:v0`, which was made on another machine."""
    place = tmp_path / "depot"
    place.mkdir()
    there = Machine(tmp_path, place, "there")
    there.put(FILES)
    there.push()
    there.store.close()
    return place


@pytest.fixture
def store(tmp_path: Path, depot: Path) -> Iterator[Store]:
    """A store that has pulled it, and no byte of its files."""
    here = Machine(tmp_path, depot, "here")
    here.pull()
    yield here.store
    here.store.close()


def blobs_in(store: Store) -> int:
    (found,) = store.root.catalog.rows("SELECT count(DISTINCT blob) FROM stored")
    return int(found[0])


def packs_in(store: Store) -> int:
    return len(list((store.path / "packs").rglob("*.tar")))


def names(paths: list[str]) -> list[str]:
    return [path.partition("/")[2] for path in paths]


def test_a_version_that_is_only_elsewhere_is_read_as_any_other(store: Store, fs: ArtstoreFileSystem) -> None:
    assert 0 == blobs_in(store)
    assert fs.cat_file("cats:latest/1/001") == FILES["1/001"]
    assert 1 == blobs_in(store), "of ten terabytes, what is asked for comes, and no more"
    with fs.open("cats:latest/large") as file:
        file.seek(SMALL - 2)
        assert file.read() == FILES["large"][SMALL - 2 :]
    frame = pd.read_csv("artstore://cats:v0/t.csv", storage_options={"store": store.path})

    assert [[1, 2]] == frame.to_numpy().tolist()
    assert FILES == {path: fs.cat_file(f"cats:latest/{path}") for path in FILES}
    assert len(FILES) == blobs_in(store)


def test_what_is_asked_about_files_fetches_none(store: Store, fs: ArtstoreFileSystem, depot: Path) -> None:
    """A listing works on a train."""
    shutil.rmtree(depot)

    assert sorted(FILES) == sorted(names(fs.find("cats:latest")))
    assert sum(map(len, FILES.values())) == fs.du("cats:latest")
    assert fs.glob("cats:v*/*.csv") == ["cats:v0/t.csv"]
    assert fs.info("cats:latest/large")["digest"] == fs.ukey("cats:latest/large")
    assert 0 == blobs_in(store)


def test_small_files_come_together_and_not_one_by_one(
    store: Store, fs: ArtstoreFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be a request, and a file on the disk: clusters meter both."""
    monkeypatch.setattr(tree, "_AHEAD", 20_000)
    monkeypatch.setattr(tree, "_MOST_AHEAD", 200_000)
    paths = [path for path in FILES if path != "large"]
    for path in reversed(paths):
        assert fs.cat_file(f"cats:latest/{path}") == FILES[path]

    assert 6 >= packs_in(store)
    assert len(paths) == blobs_in(store)


@pytest.mark.parametrize("most", [0, 400_000])
def test_of_a_version_with_very_many_files_those_of_the_folder_come_along(
    store: Store, fs: ArtstoreFileSystem, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(tree, "_MOST_PLACES", most)
    for path in ("1/001", "1/006"):
        assert fs.cat_file(f"cats:latest/{path}") == FILES[path]

    inside = sum(path.startswith("1/") for path in FILES)
    assert (inside if most == 0 else 130) <= blobs_in(store)
    assert (blobs_in(store) == inside) == (most == 0)


def test_what_is_damaged_there_is_refused_and_takes_nothing_along(
    store: Store, fs: ArtstoreFileSystem, depot: Path
) -> None:
    (pack,) = depot.rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[data.index(FILES["2/007"]) + 5] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)

    damaged = []
    for path, content in FILES.items():
        try:
            assert fs.cat_file(f"cats:latest/{path}") == content
        except Corrupt:
            damaged.append(path)
    assert ["2/007"] == damaged
    assert len(FILES) - 1 == blobs_in(store)


def test_a_remote_that_cannot_be_reached_is_not_a_missing_file(
    store: Store, fs: ArtstoreFileSystem, depot: Path
) -> None:
    """zarr puts zeros, and dask nothing, where a file is missing."""
    assert fs.cat_file("cats:latest/t.csv") == FILES["t.csv"]
    away = depot.rename(depot.with_name("away"))

    for reading in (
        lambda: fs.cat_file("cats:latest/1/001"),
        lambda: fs.open("cats:latest/large"),
        lambda: fs.cat_ranges(["cats:latest/1/001"], 0, 1, on_error="raise"),
    ):
        with pytest.raises(Unreachable):
            reading()
    assert fs.cat_file("cats:latest/t.csv") == FILES["t.csv"]
    away.rename(depot)
    assert fs.cat_file("cats:latest/1/001") == FILES["1/001"]
    assert 2 <= blobs_in(store)


def test_a_remote_that_was_named_later_is_asked_as_well(tmp_path: Path, depot: Path) -> None:
    """A notebook that is open for days must not have to be started anew."""
    with Store.init(tmp_path / "later") as later:
        assert fsspec.filesystem("artstore", store=later.path).ls("") == []
        add_remote(later.path, "hub", f"file://{depot}", upstream=True, join=True)
        with Store.open(later.path) as other:
            exchange(other, "pull")

        fs = fsspec.filesystem("artstore", store=later.path)
        assert fs.cat_file("cats:latest/t.csv") == FILES["t.csv"]


def test_threads_that_want_one_file_fetch_it_once(
    store: Store, fs: ArtstoreFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen that read ahead in one file of weights would fetch it sixteen times."""
    fetched: list[str] = []
    begin, read = threading.Barrier(5), folder.FolderObjects.stream

    def stream(objects: folder.FolderObjects, name: str, start: int = 0) -> Iterator[bytes]:
        fetched.append(name)
        return read(objects, name, start)

    monkeypatch.setattr(folder.FolderObjects, "stream", stream)
    found: list[bytes] = []

    def fetch() -> None:
        begin.wait(10)
        found.append(fs.cat_file("cats:latest/large"))

    threads = [threading.Thread(target=fetch) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [FILES["large"]] * 5 == found
    assert 1 == len(fetched) == blobs_in(store)


def _read(arguments: tuple[ArtstoreFileSystem, str]) -> bytes:
    fs, path = arguments
    return fs.cat_file(path)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_the_workers_of_a_data_loader_fetch_what_they_read(store: Store, fs: ArtstoreFileSystem) -> None:
    fs.cat_file("cats:latest/t.csv")
    paths = sorted(FILES)

    with multiprocessing.get_context("fork").Pool(2) as workers:
        found = workers.map(_read, [(fs, f"cats:latest/{path}") for path in paths])
    assert [FILES[path] for path in paths] == found
    assert len(FILES) == blobs_in(store)


def test_what_only_a_server_has_is_read_as_from_a_depot(tmp_path: Path) -> None:
    with served(tmp_path / "server") as server:
        there, here = (Machine(tmp_path, server.url, name) for name in ("there", "here"))
        with there.store, here.store:
            there.put(FILES)
            there.push()
            here.pull()
            fs = ArtstoreFileSystem(here.store.path, skip_instance_cache=True)

            assert 0 == blobs_in(here.store)
            assert fs.cat_file("cats:latest/1/001") == FILES["1/001"]
            with fs.open("cats:latest/large") as file:
                file.seek(SMALL - 2)
                assert file.read() == FILES["large"][SMALL - 2 :]
            assert FILES == {path: fs.cat_file(f"cats:latest/{path}") for path in FILES}
            assert len(FILES) == blobs_in(here.store)
