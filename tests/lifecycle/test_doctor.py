"""Doctor: what would lose data is said, and what is well is not complained of."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.lifecycle import doctor as verb
from artstore.lifecycle.doctor import clock, doctor, durable_write, inodes, space, sqlite
from artstore.lifecycle.reports import Check, VersionInfo
from artstore.storage.mounts import file_system
from artstore.storage.root import Root
from artstore.storage.sessions import try_lock
from artstore.store import Store

Put = Callable[..., VersionInfo]


def checks(root: Root) -> dict[str, Check]:
    return {check.name: check for check in doctor(root)}


def test_a_store_on_a_disk_is_well(store: Store, put: Put) -> None:
    put({"a": b"a"})
    found = checks(store._root)

    assert found["locks"].value == "work"
    assert found["hard links"].value == "yes"
    assert found["journal"].value == "wal"
    assert found["leftover sessions"].value == "0"
    assert (found["quarantine"].ok, found["quarantine"].value) == (True, "empty")
    assert found["file system"].value == file_system(store.path)
    for name in ("SQLite", "journal", "locks", "clock", "writable", "leftover sessions"):
        assert found[name].ok, found[name]
    assert all(bool(check.advice) is not check.ok for check in found.values())


def test_nothing_is_left_of_what_was_tried(store: Store) -> None:
    before = sorted(store.path.rglob("*"))
    doctor(store._root)

    assert sorted(store.path.rglob("*")) == before


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 40, 1), False), ((3, 51, 2), False), ((3, 51, 3), True), ((3, 50, 7), True)]
)
def test_a_sqlite_that_loses_commits_is_named(version: tuple[int, int, int], ok: bool) -> None:
    found = sqlite(version, "sqlite3")

    assert found.ok is ok
    assert found.value == f"{'.'.join(map(str, version))} (sqlite3)"
    assert ("pysqlite3" in found.advice) is not ok


@pytest.mark.parametrize(
    ("seconds", "value", "ok"),
    [
        (5e-6, "5 µs", False),
        (20e-6, "20 µs", True),
        (520e-6, "520 µs", True),
        (0.05, "50.0 ms", True),
        (0.2, "200.0 ms", False),
    ],
)
def test_a_disk_that_lies_or_dawdles_is_named(seconds: float, value: str, ok: bool) -> None:
    """S14. A write that takes no time was not made: the next power cut takes what was acknowledged."""
    found = durable_write(seconds)

    assert (found.value, found.ok) == (value, ok)


@pytest.mark.parametrize(("difference_s", "ok"), [(0.0, True), (-1.9, True), (3.0, False), (-86_400.0, False)])
def test_clocks_that_differ_more_than_the_stat_cache_allows_are_named(difference_s: float, ok: bool) -> None:
    """A changed file would pass for an unchanged one."""
    assert clock(difference_s).ok is ok


def test_a_file_system_ahead_of_this_machine_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)

    assert not checks(store._root)["clock"].ok
    assert checks(store._root)["clock"].value == "-3,600.0 s from the file system's"


def test_a_full_disk_is_named_before_a_put_fails() -> None:
    assert space(1 << 40).ok
    assert not space(1 << 20).ok
    assert inodes(1_000_000, 2_000_000).ok
    assert not inodes(10, 2_000_000).ok
    assert inodes(0, 0).ok  # btrfs makes them as they are needed.


def test_locks_that_keep_nobody_out_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On such a file system gc would take a live session for a dead one."""
    monkeypatch.setattr(verb, "try_lock", lambda _fd: True)
    assert checks(store._root)["locks"].value == "do not keep others out"
    assert not checks(store._root)["locks"].ok

    monkeypatch.setattr(verb, "try_lock", lambda _fd: False)
    assert checks(store._root)["locks"].value == "cannot be taken"


def test_what_killed_processes_left_is_counted_and_left_alone(store: Store) -> None:
    """Doctor looks; only gc deletes."""
    left = store.path / "locks" / "00000000-0123456789abcdef"
    left.write_bytes(b" {}")
    (store.path / "tmp" / "fedcba9876543210").mkdir()
    with store._root.session("put"):
        found = checks(store._root)["leftover sessions"]

    assert (found.value, found.ok) == ("2", False)
    assert left.exists()
    assert "gc" in found.advice


def test_a_live_session_is_no_leftover(store: Store) -> None:
    path = store.path / "locks" / "00000000-0123456789abcdef"
    path.write_bytes(b" {}")
    fd = os.open(path, os.O_RDWR)
    assert try_lock(fd)

    assert checks(store._root)["leftover sessions"].value == "0"
    os.close(fd)
    assert checks(store._root)["leftover sessions"].value == "1"


def test_a_store_that_cannot_be_written_is_asked_and_not_tried(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.close()
    about = json.loads((store.path / "format.json").read_text())
    # A newer format that may be read is the one reason that holds for root as well.
    (store.path / "format.json").write_text(json.dumps({**about, "format": 2}))
    root = Root(store.path)
    root.check_catalog()
    before = sorted(store.path.rglob("*"))
    found = checks(root)
    after = sorted(store.path.rglob("*"))
    root.close()

    assert not found["writable"].ok
    assert {check.value for check in found.values() if "not tried" in check.value} == {
        "not tried: the store is read-only"
    }
    assert [name for name, check in found.items() if "not tried" in check.value] == [
        "reflink",
        "hard links",
        "durable write",
        "locks",
        "clock",
        "case of names",
    ]
    assert after == before


def test_the_same_findings_come_in_the_same_order(store: Store) -> None:
    assert [check.name for check in doctor(store._root)] == [check.name for check in doctor(store._root)]


@pytest.mark.root
def test_a_store_in_memory_is_named(volume: Path) -> None:
    """It commits in no time, and forgets it all."""
    with Store.init(volume / "store") as store:
        found = checks(store._root)

        assert (found["file system"].value, found["file system"].ok) == ("tmpfs", False)
        assert not found["durable write"].ok
        assert not found["free space"].ok


def test_what_stands_in_quarantine_is_named_with_what_to_do(store: Store) -> None:
    """Who found damage last month must hear of it until it is dealt with."""
    (store.path / "quarantine" / "1-abc").write_bytes(bytes(5 << 20))
    (found,) = [check for check in store.doctor() if check.name == "quarantine"]

    assert not found.ok
    assert found.value == "5.0 MiB in 1"
    assert "artstore repair" in found.advice
    assert str(store.path / "quarantine") in found.advice
    assert store.gc().quarantine_bytes >= 5 << 20
