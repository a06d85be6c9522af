"""Rebuild: what of the log is whole is in the catalog, and the rest is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import Corrupt
from artstore.lifecycle.reports import VersionInfo
from artstore.storage.oplog import OpLog
from artstore.store import Store
from tests.lifecycle.conftest import flip

Put = Callable[..., VersionInfo]


def transactions(store: Store) -> list[bytes]:
    log = OpLog(store.path)
    return [data for name in log.projects() for _seq, data, _attachments in log.transactions(name, 0)]


def hurt(store: Store, way: str) -> Path:
    """Hurt the log in some way; answers a file that is hurt."""
    folder = store.path / "ops" / "uncategorized"
    file = folder / ("000000000004" if way == "the last is gone" else "000000000003")
    if way == "flip":
        flip(file)
    elif way == "all gone":
        shutil.rmtree(folder)
    elif way == "no log at all":
        shutil.rmtree(store.path / "ops")
    else:
        file.unlink()
    return file


@pytest.mark.parametrize("way", ["flip", "gone", "the last is gone", "all gone", "no log at all"])
@pytest.mark.parametrize("verb", ["rebuild", "repair"])
def test_what_the_log_has_lost_is_written_again_from_the_catalog(way: str, verb: str, store: Store, put: Put) -> None:
    """Whoever is told that something is wrong with the catalog must not lose by the cure what it alone still held."""
    for number in range(3):
        put({"a": b"%d" % number})
    store.alias("cats:v1", ["best"])
    put({"z": b"z"}, project="zoo")
    before = {name: store.versions("cats", project=name) for name in ("uncategorized", "zoo")}
    store.close()
    log = transactions(store)
    hurt(store, way)
    with Store.open(store.path) as again:
        assert "log-lost" in {problem.kind for problem in again.verify().problems} or way in {"flip", "gone"}
        assert not again.verify().ok
        if verb == "repair":
            assert again.repair().still_damaged == []
    if verb == "rebuild":
        assert Store.rebuild(store.path).lost == []

    with Store.open(store.path) as again:
        assert before == {name: again.versions("cats", project=name) for name in before}
        assert again.verify().problems == []
    # Byte for byte: others hold the chain.
    assert log == transactions(store)


@pytest.mark.parametrize("way", ["flip", "gone"])
def test_one_damaged_file_of_the_log_does_not_stop_everything(way: str, store: Store, put: Put) -> None:
    for number in range(4):
        put({"a": b"%d" % number})
    put({"z": b"z"}, project="zoo")
    store.close()
    file = hurt(store, way)
    for left in store.path.glob("catalog.db*"):
        left.unlink()
    report = Store.rebuild(store.path)

    assert report.lost == ["ops/uncategorized/3-4"]
    with Store.open(store.path) as again:
        assert b"".join(again.read("zoo/cats", "z")) == b"z"
    # Whoever gives up what is damaged has the rest.
    for lost in (file, file.with_name("000000000004")):
        lost.unlink(missing_ok=True)
    with Store.open(store.path) as again:
        assert [version.number for version in again.versions("cats")] == [1, 0]


def test_what_was_hashed_before_is_hashed_again(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.close()
    (store.path / "stat_cache" / "cache").write_bytes(b"")
    Store.rebuild(store.path)

    assert list((store.path / "stat_cache").iterdir()) == []


def test_when_a_version_was_updated_is_in_the_log(store: Store, put: Put) -> None:
    """What a rebuild dates otherwise is an edit that nobody made."""
    put({"a": b"1"})
    put({"a": b"2"})
    put({"a": b"3"})
    store.tag("cats:v0", ["reviewed"])
    store.alias("cats:v1", ["best"])
    before = store.versions("cats")
    store.close()
    Store.rebuild(store.path)

    assert [False, True, True] == [version.updated_at > version.created_at for version in before]
    with Store.open(store.path) as again:
        assert before == again.versions("cats")


@pytest.mark.parametrize("count", [1, 5])
def test_nothing_is_committed_to_a_log_that_the_catalog_is_not_of(
    count: int, store: Store, put: Put, tmp_path: Path
) -> None:
    """With the catalog of another store in its place, what is acknowledged would be gone with the next rebuild."""
    for number in range(3):
        put({"a": b"%d" % number})
    store.gc(grace_s=0)
    store.close()
    with Store.init(tmp_path / "other") as other:
        other.put(Path(__file__), name="dogs", type="t")
        for number in range(1, count):
            other.alias("dogs:v0", [f"a{number}"])
    for left in store.path.glob("catalog.db*"):
        left.unlink()
    shutil.copy(tmp_path / "other" / "catalog.db", store.path)

    before = transactions(store)
    if count < len(before):
        with Store.open(store.path) as again, pytest.raises(Corrupt):
            again.put(Path(__file__), name="new", type="t")
    assert Store.rebuild(store.path).lost == []
    with Store.open(store.path) as again:
        assert [version.number for version in again.versions("cats")] == [2, 1, 0]
        assert again.verify().problems == []
    assert before == transactions(store)


def test_nothing_is_committed_with_the_catalog_of_a_copy_that_went_another_way(
    store: Store, put: Put, tmp_path: Path
) -> None:
    """`cp -r`, a commit on each side, and a catalog put back from the wrong one."""
    put({"a": b"1"})
    store.close()
    shutil.copytree(store.path, tmp_path / "copy")
    for place, data in ((store.path, b"here"), (tmp_path / "copy", b"there")):
        (tmp_path / "file").write_bytes(data)
        with Store.open(place) as each:
            each.put(tmp_path / "file", name="cats", type="dataset")
    for left in store.path.glob("catalog.db*"):
        left.unlink()
    shutil.copy(tmp_path / "copy" / "catalog.db", store.path)

    before = transactions(store)
    with Store.open(store.path) as again, pytest.raises(Corrupt) as caught:
        again.put(Path(__file__), name="new", type="t")
    assert caught.value.code == "catalog-of-another-log"
    assert before == transactions(store)
    assert Store.rebuild(store.path).lost == []
    with Store.open(store.path) as again:
        assert b"".join(again.read("cats", "file")) == b"here"
        assert again.verify().problems == []
