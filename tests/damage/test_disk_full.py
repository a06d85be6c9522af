"""A full disk: each verb either does its work or says StorageFull, and nothing that was acknowledged is harmed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import ArtstoreError, NotFound, StorageFull
from artstore.storage import reserve
from tests.damage.disks import Disk, check, noise, put, read

pytestmark = [pytest.mark.root, pytest.mark.slow]

STEPS = [0, 4, 8, 16, 32, 64, 256, 640]
"""KiB left free: closely spaced where the many small writes are."""
INODES = range(6)

Step = Callable[[], None]


@pytest.fixture
def known(disk: Disk) -> dict[str, bytes]:
    """What the store on the disk holds, by reference."""
    with Store.init(disk.store) as store:
        data = [noise(300_000), noise(10), noise(1_200_000)]
        return {put(store, each): each for each in data}


def steps(disk: Disk) -> Iterator[Step]:
    for kib in STEPS:
        yield lambda kib=kib: disk.leave(kib << 10)  # type: ignore[misc]
    for count in INODES:
        yield lambda count=count: disk.leave_inodes(count)  # type: ignore[misc]


def says_what_to_do(full: StorageFull) -> None:
    assert full.code == "storage-full"
    assert "free some" in full.message
    assert "\n" not in full.message


@pytest.mark.parametrize("size", [200_000, 1_300_000])
def test_a_put_that_does_not_fit_leaves_no_trace(disk: Disk, known: dict[str, bytes], size: int) -> None:
    """P3, P4. At whatever write the space or the inodes end: what was there stays, and the same put succeeds later."""
    full = 0
    for step in steps(disk):
        with Store.open(disk.store) as store:
            step()
            data = noise(size)
            before = store.versions("p/cats")
            try:
                reference = put(store, data)
            except StorageFull as error:
                says_what_to_do(error)
                full += 1
                assert before == store.versions("p/cats")
                assert known == {each: read(store, each) for each in known}
                disk.relax()
                reference = put(store, data)
            disk.relax()
            known[reference] = data
            check(store, known)
            # The disk is small: each version has to go again.
            store.delete(reference)
            del known[reference]
            store.gc(grace_s=0)
    assert full > len(STEPS) // 2


def test_a_label_that_does_not_fit_is_an_error_or_there(disk: Disk, known: dict[str, bytes]) -> None:
    """An op file is small, and the catalog's journal smaller: each of their writes can be the one that fails."""
    full = 0
    for number, step in enumerate(steps(disk)):
        alias = f"a{number}"
        with Store.open(disk.store) as store:
            step()
            try:
                store.alias("p/cats:v1", [alias])
            except StorageFull as error:
                says_what_to_do(error)
                full += 1
                with pytest.raises(NotFound):
                    store.version(f"p/cats:{alias}")
                disk.relax()
                store.alias("p/cats:v1", [alias])
            disk.relax()
            assert store.version(f"p/cats:{alias}").number == 1
            check(store, known)
        with Store.open(disk.store) as store:
            assert store.version(f"p/cats:{alias}").number == 1
    assert full > 3


def test_a_full_disk_can_be_read_from_and_written_out(disk: Disk, known: dict[str, bytes], tmp_path: Path) -> None:
    """Who has to move away from a full disk needs to get at what is on it; also without an inode for a session."""
    fills: list[Step] = [lambda: disk.leave(0), lambda: disk.leave_inodes(0)]
    for step in fills:
        step()
        for _ in range(2):
            # The second time the reserve is gone, and filled up again.
            with Store.open(disk.store) as store:
                check(store, known)
                store.get("p/cats:v1", tmp_path / "out")
                assert known["p/cats:v1"] == (tmp_path / "out" / "f").read_bytes()
                assert 3 == len(store.versions("p/cats"))
                assert 3 == store.status().versions
                assert [] != list(store.entries("p/cats"))
            step()
        disk.relax()


def test_a_get_onto_a_full_disk_says_which(disk: Disk, known: dict[str, bytes]) -> None:
    """What is full is the target, and a half-written file must not stand there under its name."""
    target = disk.path / "out"
    for kib in (0, 8, 64, 512):
        with Store.open(disk.store) as store:
            disk.leave(kib << 10)
            with pytest.raises(StorageFull, match="free some space there"):
                store.get("p/cats:v2", target)
            assert not (target / "f").exists()
        disk.relax()
    with Store.open(disk.store) as store:
        store.get("p/cats:v2", target)
        assert known["p/cats:v2"] == (target / "f").read_bytes()
        check(store, known)


def test_space_can_be_freed_on_a_full_disk(disk: Disk, known: dict[str, bytes]) -> None:
    """P3, P4. `artstore gc` is what the message advises: it failed for want of space, as did the deletion before it."""
    fills: list[Step] = [lambda: disk.leave(0), lambda: disk.leave_inodes(0)]
    for fill in fills:
        with Store.open(disk.store) as store:
            known["p/cats:v0"] = read(store, "p/cats:v0")
            store.gc(grace_s=0)  # Fills the reserve again.
            victim = put(store, data := noise(1_100_000))
            other = put(store, noise(1_000))
        fill()
        with Store.open(disk.store) as store:
            with contextlib.suppress(StorageFull):
                put(store, noise(1_000_000))
            store.delete(victim)
            store.prune(["cats"], keep_last=0, dry_run=True, project="p")
            store.delete(other)
            report = store.gc(grace_s=0)
            assert report.freed_bytes >= len(data)
            check(store, known)
            reference = put(store, b"now it fits")
            assert b"now it fits" == read(store, reference)
            store.delete(reference)
        disk.relax()


def test_a_store_that_stays_open_goes_on_when_there_is_room(disk: Disk, known: dict[str, bytes]) -> None:
    """A server must not have to be started again after somebody has tidied up."""
    disk.leave(0)
    while reserve.release(disk.store):
        pass
    disk.leave(0)
    with Store.open(disk.store) as store:
        assert known == {reference: read(store, reference) for reference in known}
        with pytest.raises(StorageFull):
            put(store, b"too much")
        with pytest.raises(StorageFull):
            store.gc(grace_s=0)
        disk.relax()
        known[put(store, b"fits")] = b"fits"
        check(store, known)


def test_a_gc_that_runs_out_of_space_loses_nothing(disk: Disk, known: dict[str, bytes]) -> None:
    """It writes before it frees: packs anew, manifests in full, segments of the log."""
    for step in steps(disk):
        with Store.open(disk.store) as store:
            data = noise(20_000)
            known[put(store, data)] = data
            gone = put(store, noise(60_000))
            data = noise(20_000)
            known[put(store, data)] = data
            store.delete(gone)
            while reserve.release(disk.store):
                pass
            step()
            with contextlib.suppress(StorageFull):
                store.gc(grace_s=0)
            assert known == {reference: read(store, reference) for reference in known}
            disk.relax()
            check(store, known)
            for reference in list(known)[3:]:
                store.delete(reference)
                del known[reference]
            store.gc(grace_s=0)
            check(store, known)


def test_a_rebuild_that_runs_out_of_space_has_not_begun(disk: Disk, known: dict[str, bytes]) -> None:
    """A catalog that is whole stays; one that is lost is made as soon as there is room."""
    for step in steps(disk):
        step()
        with contextlib.suppress(StorageFull):
            Store.rebuild(disk.store)
        with Store.open(disk.store) as store:
            assert known == {reference: read(store, reference) for reference in known}
        disk.relax()
        assert [] == list((disk.store / "quarantine").iterdir())
    for path in disk.store.glob("catalog.db*"):
        path.unlink()
    disk.leave(0)
    with contextlib.suppress(StorageFull):
        Store.rebuild(disk.store)
    disk.relax()
    Store.rebuild(disk.store)
    with Store.open(disk.store) as store:
        check(store, known)


def test_a_store_can_be_made_on_a_full_disk_or_says_so(disk: Disk) -> None:
    """A half-made store is none, and may be made again."""
    for number, step in enumerate(steps(disk)):
        path = disk.path / f"store{number}"
        step()
        with contextlib.suppress(StorageFull), Store.init(path):
            pass
        disk.relax()
        with Store.open(path) if (path / "format.json").exists() else Store.init(path) as store:
            check(store, {put(store, b"x"): b"x"})
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()


def test_the_reserve_is_part_of_the_store_and_small(disk: Disk, known: dict[str, bytes]) -> None:
    """It must never be what fills the disk."""
    assert 3 == len(known)
    files = list((disk.store / "reserve").iterdir())
    assert reserve.FILES == len(files)
    assert sum(file.stat().st_size for file in files) <= (16 << 20) // 8


def test_a_backup_that_does_not_fit_does_not_blame_the_store(disk: Disk, tmp_path: Path) -> None:
    """`catalog.db is damaged, run artstore rebuild` would send its owner to break what is whole."""
    with Store.init(tmp_path / "store") as store:
        known = {put(store, data): data for data in (noise(10), noise(100_000))}
        errors = []
        for step in steps(disk):
            step()
            try:
                store.backup(disk.path / "backup")
            except ArtstoreError as error:
                errors.append(error)
        assert {"storage-full"} == {error.code for error in errors}
        check(store, known)
