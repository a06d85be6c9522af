"""A catalog from before the last collection is put back: what it takes for stored and is gone is never relied on."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from artstore.lifecycle import collect
from artstore.lifecycle.reports import VersionInfo
from artstore.storage.marking import Marking
from artstore.storage.sessions import current_epoch
from artstore.store import Store

Put = Callable[..., VersionInfo]
Tree = Callable[[Mapping[str, bytes]], Path]

SMALL = {f"d/{number}": b"small %d" % number for number in range(20)}
LARGE = {"large": random.Random(1).randbytes(1_500_000)}


class OldCatalog:
    """Keeps the catalog as it is now, and puts it back later, as a careless restore does."""

    def __init__(self, store: Store, place: Path) -> None:
        self._catalog = store.path / "catalog.db"
        self._place = place
        with store._root.catalog.checked():
            store._root.catalog.connection.execute("VACUUM INTO ?", (str(place),))

    def put_back(self) -> None:
        """In place of the catalog of a store that nobody has open."""
        for end in ("-wal", "-shm", "-journal"):
            Path(f"{self._catalog}{end}").unlink(missing_ok=True)
        shutil.copyfile(self._place, self._catalog)


def read(store: Store, reference: str) -> dict[str, bytes]:
    return {entry.path: b"".join(store.read(reference, entry.path)) for entry in store.entries(reference)}


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Store], OldCatalog]:
    """Take a copy of a store's catalog."""
    return lambda store: OldCatalog(store, tmp_path / "old.db")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Store]:
    """A store that a test closes and opens again by itself."""
    with Store.init(tmp_path / "own") as store:
        yield store


@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["packed", "whole"])
@pytest.mark.parametrize("when", ["before the deletion", "after the deletion"])
def test_what_was_freed_is_stored_again(
    own: Store, tree: Tree, keep: Callable[[Store], OldCatalog], files: Mapping[str, bytes], when: str
) -> None:
    """The next put of the same bytes was "already kept", and nothing kept them."""
    own.put([tree(files)], name="cats", type="dataset")
    own.put([tree({"other": b"stays"})], name="cats", type="dataset")
    old = keep(own) if when == "before the deletion" else None
    own.delete("cats:v0")
    old = old or keep(own)
    own.gc(grace_s=0)
    own.close()
    old.put_back()
    with Store.open(own.path) as store:
        report = store.put([tree(files)], name="dogs", type="dataset")

        assert report.new_files == len(files)
        assert files == read(store, "dogs:latest")
        assert {"other": b"stays"} == read(store, "cats:v1")
        assert store.verify().problems == []


def test_what_was_written_anew_is_found(
    own: Store, tree: Tree, keep: Callable[[Store], OldCatalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old catalog looks for live bytes in packs that are gone; they are in one that it has never heard of."""
    monkeypatch.setattr(collect, "MANY_SMALL_PACKS", 3)
    for number in range(4):
        own.put([tree({str(number): b"%d" % number})], name=f"cats{number}", type="dataset")
    old = keep(own)
    assert own.gc(grace_s=0).repacked_packs == 4
    own.close()
    old.put_back()
    with Store.open(own.path) as store:
        found = [read(store, f"cats{number}") for number in range(4)]
        problems = store.verify().problems

    assert [{str(number): b"%d" % number} for number in range(4)] == found
    assert problems == []


def test_a_copy_from_the_middle_of_a_collection_is_old_too(
    own: Store, tree: Tree, keep: Callable[[Store], OldCatalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made when the collection had begun, and before the first pack was written anew."""
    monkeypatch.setattr(collect, "MANY_SMALL_PACKS", 3)
    for number in range(4):
        own.put([tree({str(number): b"%d" % number})], name=f"cats{number}", type="dataset")
    copies: list[OldCatalog] = []
    acquit = Marking.acquit

    def copy_first(marking: Marking) -> None:
        copies.append(keep(own))
        acquit(marking)

    monkeypatch.setattr(Marking, "acquit", copy_first)
    assert own.gc(grace_s=0).repacked_packs == 4
    own.close()
    copies[0].put_back()
    with Store.open(own.path) as store:
        assert {"3": b"3"} == read(store, "cats3")
        assert store.verify().ok


def test_an_unchanged_folder_is_read_again(own: Store, tree: Tree, keep: Callable[[Store], OldCatalog]) -> None:
    """The stat cache takes what its manifest names for stored, and the old catalog has that manifest."""
    source = tree(SMALL)
    for path in source.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    own.put([source], name="cats", type="dataset")
    own.delete("cats:v0")
    old = keep(own)
    own.gc(grace_s=0)
    own.close()
    old.put_back()
    with Store.open(own.path) as store:
        store.put([source], name="cats", type="dataset")
        assert SMALL == read(store, "cats:latest")


@pytest.mark.root
def test_a_store_that_cannot_be_written_is_brought_right_in_memory(
    volume: Path, tree: Tree, keep: Callable[[Store], OldCatalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive with an old catalog is read as it is, and not as the catalog says."""
    monkeypatch.setattr(collect, "MANY_SMALL_PACKS", 2)
    with Store.init(volume / "store") as store:
        for number in range(3):
            store.put([tree({str(number): b"%d" % number})], name=f"cats{number}", type="dataset")
        old = keep(store)
        store.gc(grace_s=0)
    old.put_back()
    _remount(volume, "ro")
    with Store.open(volume / "store") as store:
        assert {"2": b"2"} == read(store, "cats2")
        assert store.verify().ok


def test_a_catalog_that_is_ahead_of_the_locks_counts(own: Store, tree: Tree) -> None:
    """The folder of the locks was lost, or not yet synced when the power went: its count goes on from the catalog's."""
    own.put([tree(SMALL)], name="cats", type="dataset")
    own.delete("cats:v0")
    own.gc(grace_s=0)
    locks = own.path / "locks"
    before = current_epoch(locks)
    own.close()
    for path in locks.glob("epoch-*"):
        path.unlink()
    with Store.open(own.path) as store:
        assert before == current_epoch(locks) == store._root.catalog.epoch()
        assert store.gc(grace_s=0).freed_blobs == 0
        assert current_epoch(locks) == before + 1


def test_a_rebuilt_catalog_is_no_old_one(own: Store, tree: Tree) -> None:
    """It would be gone through at each opening."""
    own.put([tree(SMALL)], name="cats", type="dataset")
    own.delete("cats:v0")
    own.gc(grace_s=0)
    own.close()
    (own.path / "catalog.db").unlink()
    Store.rebuild(own.path)
    with Store.open(own.path) as store:
        assert store._root.catalog.epoch() == current_epoch(own.path / "locks")


def _remount(volume: Path, how: str) -> None:
    assert os.system(f"mount -o remount,{how} '{volume}'") == 0  # noqa: S605 - a name that pytest made
