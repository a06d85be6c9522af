"""A store that cannot be written: every verb that reads works, every verb that writes says ReadOnlyStore."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import ArtstoreError, ReadOnlyStore
from tests.damage.disks import Disk, noise, put, read

pytestmark = pytest.mark.root

WRITING: dict[str, Callable[[Store], object]] = {
    "put": lambda store: put(store, b"new"),
    "draft": lambda store: store.draft(),
    "alias": lambda store: store.alias("p/cats:v0", ["x"]),
    "unalias": lambda store: store.unalias("p/cats:v0", ["best"]),
    "tag": lambda store: store.tag("p/cats:v0", ["x"]),
    "untag": lambda store: store.untag("p/cats:v0", ["red"]),
    "describe": lambda store: store.describe("p/cats:v0", "x"),
    "describe a collection": lambda store: store.describe("p/cats", "x"),
    "set_metadata": lambda store: store.set_metadata("p/cats:v0", {"x": 1}),
    "set_ttl": lambda store: store.set_ttl("p/cats:v0", 1e6),
    "rename": lambda store: store.rename("p/cats", "dogs"),
    "copy": lambda store: store.copy("p/cats:v0", "p/dogs"),
    "delete": lambda store: store.delete("p/cats:v1"),
    "link": lambda store: store.link("p/cats:v0", "p/best"),
    "start_run": lambda store: store.start_run(project="p"),
    "edit_run": lambda store: store.edit_run("run", project="p", notes="n"),
    "hold_run": lambda store: store.hold_run("run", project="p"),
    "finish_run": lambda store: store.finish_run("run", project="p"),
    "use": lambda store: store.use("run", "p/cats:v0", project="p"),
    "gc": lambda store: store.gc(grace_s=0),
    "prune": lambda store: store.prune(["p/cats"], keep_last=1),
    "repair": lambda store: store.repair(),
    "rebuild": lambda store: Store.rebuild(store.path),
}


def fill(disk: Disk) -> dict[str, bytes]:
    with Store.init(disk.store) as store:
        data = [noise(1000), noise(1_500_000), noise(0)]
        known = {put(store, each): each for each in data}
        store.alias("p/cats:v0", ["best"])
        store.tag("p/cats:v0", ["red"])
        store.start_run(project="p", id="run")
    return known


def leave_as_killed(disk: Disk, known: dict[str, bytes]) -> None:
    """A process commits and is killed: the catalog's newest pages are in its -wal only."""
    data = noise(2000)
    pid = os.fork()
    if pid == 0:
        store = Store.open(disk.store)
        put(store, data)
        os._exit(0)
    assert (pid, 0) == os.waitpid(pid, 0)
    known["p/cats:v3"] = data


def leave_behind(disk: Disk, known: dict[str, bytes]) -> None:
    """The catalog has not seen the last commit: whoever made it was killed before its COMMIT."""
    before = disk.path / "before.db"
    shutil.copy(disk.store / "catalog.db", before)
    with Store.open(disk.store) as store:
        data = noise(3000)
        known[put(store, data)] = data
    shutil.move(before, disk.store / "catalog.db")


def check_reading(store: Store, known: dict[str, bytes], out: Path) -> None:
    assert store.read_only
    assert known == {reference: read(store, reference) for reference in known}
    assert len(known) == len(store.versions("p/cats"))
    assert [("p", "cats", len(known))] == [(each.project, each.name, each.versions) for each in store.collections()]
    assert (["best"], ["red"]) == (store.version("p/cats:v0").aliases, store.version("p/cats:v0").tags)
    assert ["f"] == [entry.path for entry in store.entries("p/cats:best")]
    with store.open_file("p/cats:v1", "f") as file:
        file.seek(1_400_000)
        assert known["p/cats:v1"][1_400_000:] == file.read()
    for reference, data in known.items():
        store.get(reference, out / reference.replace("/", "-"))
        assert data == (out / reference.replace("/", "-") / "f").read_bytes()
    assert 1 == len(store.diff("p/cats:v0", "p/cats:v1").changed)
    assert len(known) == len(store.find("f", project="p"))
    assert len(known) == store.status().versions
    assert 1 == len(store.du().collections)
    assert [] != store.doctor()
    assert [] == store.verify().problems
    assert [] == store.verify(fast=True).problems
    assert [] == store.verify("p/cats:v1").problems


@pytest.mark.parametrize("state", ["closed", "killed", "behind"])
def test_a_read_only_store_can_be_read(disk: Disk, tmp_path: Path, state: str) -> None:
    """An archive is mounted read-only, also one whose last writer was killed: all that was committed is there."""
    known = fill(disk)
    if state == "killed":
        leave_as_killed(disk, known)
    elif state == "behind":
        leave_behind(disk, known)
    disk.remount("ro")
    before = {path: path.stat().st_mtime_ns for path in disk.store.rglob("*")}
    with Store.open(disk.store) as store:
        check_reading(store, known, tmp_path)

    assert before == {path: path.stat().st_mtime_ns for path in disk.store.rglob("*")}


@pytest.mark.parametrize("state", ["closed", "killed", "behind"])
def test_a_read_only_store_says_so(disk: Disk, state: str) -> None:
    """A verb that seemed to work and left nothing behind would be believed."""
    known = fill(disk)
    if state == "killed":
        leave_as_killed(disk, known)
    elif state == "behind":
        leave_behind(disk, known)
    disk.remount("ro")
    with Store.open(disk.store) as store:
        for name, verb in WRITING.items():
            with pytest.raises(ArtstoreError) as caught:
                verb(store)
            assert (name, ReadOnlyStore, "read-only-store") == (name, type(caught.value), caught.value.code)
        assert known == {reference: read(store, reference) for reference in known}

    disk.remount("rw")
    with Store.open(disk.store) as store:
        assert known == {reference: read(store, reference) for reference in known}
        assert len(known) == len(store.versions("p/cats"))
        assert [] == store.verify().problems
        put(store, b"written again")


def test_what_could_be_freed_of_a_read_only_store_is_told(volume: Path) -> None:
    """Whoever asks what a mount would gain needs no right to write there, nor a word about locks."""
    disk = Disk(volume)
    with Store.init(disk.store) as store:
        put(store, noise(5_000))
        store.delete(put(store, data := noise(70_000)))
        expected = store.gc(dry_run=True, grace_s=0)
    disk.remount("ro")
    with Store.open(disk.store) as store:
        found = store.gc(dry_run=True, grace_s=0)
        with pytest.raises(ReadOnlyStore, match="is read-only: open it"):
            store.delete("p/cats:v0")

    assert expected.freed_bytes == found.freed_bytes >= len(data)
    assert (expected.freed_blobs, found.sessions) == (found.freed_blobs, [])


def test_a_backup_of_a_read_only_store_is_one_that_can_be_written(disk: Disk, tmp_path: Path) -> None:
    """That is how one moves away from a disk that the system has made read-only."""
    known = fill(disk)
    leave_as_killed(disk, known)
    disk.remount("ro")
    with Store.open(disk.store) as store:
        store.backup(tmp_path / "backup")
    with Store.open(tmp_path / "backup") as store:
        assert known == {reference: read(store, reference) for reference in known}
        store.put([io.BytesIO(b"more")], name="cats", type="t", project="p")
        assert [] == store.verify().problems
