"""Repair: what is left is found, and nothing healthy goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Conflict
from artstore.lifecycle import mend_log as verb
from artstore.lifecycle.repair import repair
from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.model.manifest import encode_full
from artstore.storage.marking import Marking
from artstore.storage.oplog import read
from artstore.storage.sessions import Exclusive
from artstore.store import Store
from tests.lifecycle.conftest import flip

Put = Callable[..., VersionInfo]

SMALL = {f"f/{i}": bytes([i]) * (i + 1) for i in range(20)}


def packs_of(store: Store) -> list[Path]:
    return sorted((store.path / "packs").iterdir())


def test_bytes_in_a_pack_of_which_the_catalog_lost_sight_are_found(store: Store, put: Put) -> None:
    """Before the pack is put aside because it holds what it should not."""
    put(SMALL)
    lost = [Digest.of(SMALL["f/3"]), Digest.of(SMALL["f/4"])]
    (use,) = Marking(store._root.catalog).packs()
    for digest in lost:
        store._root.blobs.forget(digest, use.id)
    report = repair(store._root)

    assert report.still_damaged == []
    assert set(map(str, lost)) <= set(report.mended)
    assert store.verify().problems == []


def test_bytes_in_a_pack_in_the_quarantine_are_found(store: Store, put: Put) -> None:
    put(SMALL)
    (pack,) = packs_of(store)
    pack.rename(store.path / "quarantine" / f"1-{pack.name}")
    report = repair(store._root)

    assert report.still_damaged == []
    assert store.verify().problems == []


def test_a_pack_that_is_not_wholly_noted_is_left_alone(store: Store, put: Put) -> None:
    """Its session may only just have been killed: what the pack is to hold is not known."""
    put(SMALL)
    (pack,) = packs_of(store)
    catalog = store._root.catalog
    with catalog.write():
        catalog.execute("UPDATE pack SET members = NULL")
        catalog.execute("DELETE FROM stored WHERE blob IN (SELECT max(blob) FROM stored)")
    repair(store._root)

    assert pack in packs_of(store)
    assert list((store.path / "quarantine").iterdir()) == []


def test_a_gone_pack_takes_the_stat_cache_along(store: Store, put: Put) -> None:
    put(SMALL)
    packs_of(store)[0].unlink()
    (store.path / "stat_cache" / "cache").write_bytes(b"")
    report = repair(store._root)

    assert len(report.still_damaged) == len(SMALL)
    assert list((store.path / "stat_cache").iterdir()) == []


def test_no_compaction_goes_on_beside_it(store: Store, put: Put) -> None:
    put(SMALL)
    with Exclusive(store.path, "compact"), pytest.raises(Conflict) as caught:
        repair(store._root)

    assert caught.value.code == "locked"


def test_a_log_written_again_holds_the_manifests_of_its_own_commits_only(
    store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Digest] = []
    real = encode_full

    def noting(digest: Digest, lines: Any) -> Any:
        encoded.append(digest)
        return real(digest, lines)

    versions = [put({**SMALL, "new": b"%d" % number}) for number in range(6)]
    others = [put({"other": b"%d" % number}) for number in range(3)]
    (store.path / "ops" / "uncategorized" / "000000000003").unlink()
    monkeypatch.setattr(verb, "encode_full", noting)
    report = repair(store._root)

    assert report.mended == ["ops/uncategorized/3"]
    assert str(versions[2].digest) in map(str, encoded)
    assert not {str(other.digest) for other in others} & set(map(str, encoded))
    assert_rebuilds(store, 9)


@pytest.mark.parametrize("lost", [[1], [1, 4], [2, 3], [6], [1, 2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize("deleted", [None, "v0", "v2"])
def test_a_rebuild_finds_all_in_a_log_that_was_written_again(
    lost: list[int], deleted: str | None, store: Store, put: Put
) -> None:
    """Manifests are differences to others, which the lost files may have had alone."""
    for number in range(6):
        put({**SMALL, "new": b"%d" % number})
    if deleted is not None:
        store.delete(f"cats:{deleted}", force=True)
    else:
        store.tag("cats:v1", ["good"])
    for seq in lost:
        (store.path / "ops" / "uncategorized" / f"{seq:012d}").unlink()
    report = repair(store._root)

    assert report.still_damaged == []
    assert_rebuilds(store, 6 if deleted is None else 5)


def assert_rebuilds(store: Store, versions: int) -> None:
    store.close()
    assert Store.rebuild(store.path).lost == []
    with Store.open(store.path) as again:
        assert again.verify().problems == []
        assert len(again.versions("cats")) == versions


def test_what_cannot_be_written_again_is_named(store: Store, put: Put) -> None:
    put({"a": b"a"}, project="zoo")
    put({"b": b"b"}, project="zoo")
    folder = store.path / "ops" / "zoo"
    (folder / "000000000003").write_bytes((folder / "000000000002").read_bytes()[:-1])
    flip(folder / "000000000001")
    with Store.open(store.path) as again:
        report = again.repair()

    assert report.mended == ["ops/zoo/1"]
    assert report.still_damaged == ["ops/zoo/000000000003"]
    assert len(read(folder / "000000000001").transactions) == 1
