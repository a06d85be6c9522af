"""Verify: what is damaged is put aside, and nothing else."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Corrupt
from artstore.lifecycle import examine as examining
from artstore.lifecycle import share, tally
from artstore.lifecycle import verify as verb
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.verify import verify
from artstore.storage import stat_cache, whole
from artstore.storage.blob_index import WHOLE
from artstore.storage.files import read_into_at
from artstore.store import Store
from tests.lifecycle.conftest import flip

Put = Callable[..., VersionInfo]

KINDS = {"state-differs", "log-changed", "log-lost", "catalog-damaged"}
LARGE = bytes(range(256)) * 5_000


def only_file(folder: Path) -> Path:
    (found,) = [path for path in folder.rglob("*") if path.is_file()]
    return found


def kinds(store: Store) -> list[str]:
    return [problem.kind for problem in verify(store._root).problems]


def test_what_was_stored_again_during_the_scan_stays(store: Store, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another verify put it aside, and a put stored it again, at the very same place."""
    put({"large": LARGE})
    file = only_file(store.path / "blobs")
    flip(file)
    real = verb._look

    def look(*arguments: Any) -> Any:
        found = real(*arguments)
        monkeypatch.undo()
        assert not verify(store._root).ok
        put({"large": LARGE, "new": b"new"})
        return found

    monkeypatch.setattr(verb, "_look", look)

    assert kinds(store) == []
    assert file.read_bytes() == LARGE


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOMEM])
def test_what_cannot_be_read_is_not_damaged(
    number: int, fast: bool, store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of the shell would empty the store."""
    put({"large": LARGE, "small": b"small"})
    real = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if "/blobs/" in str(path) or "/packs/" in str(path):
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    problems = verify(store._root, fast=fast).problems
    monkeypatch.undo()

    assert {problem.kind for problem in problems} == {"unreadable"}
    assert list((store.path / "quarantine").iterdir()) == []
    assert kinds(store) == []


@pytest.mark.parametrize("size", [1 << 20, 17 << 20])
def test_a_disk_that_fails_for_a_moment_is_asked_again(
    size: int, store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "can_fork", lambda: False)
    put({"file": bytes(size)})
    failed: list[int] = []
    real = read_into_at

    def failing(fd: int, buffer: memoryview, offset: int) -> int:
        if not failed:
            failed.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffer, offset)

    monkeypatch.setattr(examining, "read_into_at", failing)
    assert kinds(store) == []


@pytest.mark.parametrize("way", ["flip", "cut", "gone", "link", "folder"])
def test_what_is_damaged_no_longer_counts_as_stored(way: str, store: Store, put: Put, tmp_path: Path) -> None:
    put({"large": LARGE})
    file = only_file(store.path / "blobs")
    if way == "flip":
        flip(file)
    elif way == "cut":
        os.truncate(file, 1000)
    else:
        file.unlink()
    if way == "link":
        (tmp_path / "outside").write_bytes(LARGE)
        file.symlink_to(tmp_path / "outside")
    if way == "folder":
        file.mkdir()

    assert kinds(store) == ["blob-damaged"]
    assert kinds(store) == ["blob-missing"]
    put({"large": LARGE, "new": b"new"})
    assert kinds(store) == []


@pytest.mark.parametrize("way", ["a header of what nobody knows", "bytes behind the end", "another name"])
def test_a_pack_that_tar_could_not_read_is_named(way: str, store: Store, put: Put) -> None:
    """The catalog is not needed to read it, so what it does not know of a pack has to be whole too."""
    put({"a": b"a", "b": b"b"})
    pack = only_file(store.path / "packs")
    catalog = store._root.catalog
    ((pack_id, first), _) = catalog.rows("SELECT pack, offset FROM stored ORDER BY offset")
    (digest,) = catalog.rows("SELECT digest FROM blob JOIN stored ON blob = id WHERE offset = ?", (first,))[0]
    pack.chmod(0o644)
    with pack.open("r+b") as file:
        if way == "a header of what nobody knows":
            store._root.blobs.forget(digest, pack_id)
        file.seek(0, os.SEEK_END if way == "bytes behind the end" else os.SEEK_SET)
        file.write(b"other")

    assert "pack-damaged" in kinds(store)


def test_a_pack_that_holds_more_than_the_catalog_knows_is_whole(store: Store, put: Put) -> None:
    put({"a": b"a", "b": b"b", "c": b"c"})
    put({"a": b"a", "c": b"c"}, name="kept")
    store.delete_collection("cats", force=True)
    catalog = store._root.catalog
    _, (digest,), _ = catalog.rows("SELECT digest FROM stored JOIN blob ON blob = id ORDER BY offset")
    store._root.blobs.forget(digest, 1)

    assert kinds(store) == []


def test_what_is_missing_is_hashed_again_by_the_next_put(store: Store, put: Put) -> None:
    put({"large": LARGE})
    digest = whole.digest_of(only_file(store.path / "blobs"))
    assert digest is not None
    store._root.blobs.forget(digest, WHOLE)
    (store.path / "stat_cache" / "cache").write_bytes(b"")

    assert kinds(store) == ["blob-missing"]
    assert list((store.path / "stat_cache").iterdir()) == []


@pytest.mark.parametrize("reference", [None, "cats"])
def test_a_gone_pack_hurts_nobody_whose_bytes_are_whole_elsewhere(
    reference: str | None, store: Store, put: Put
) -> None:
    """Each of its files was called damaged in whole versions, and how to end that was not said."""
    put({"a": b"a", "b": b"b"})
    put({"dead": b"dead"}, name="dead")
    store.delete("dead:v0")
    for pack in (store.path / "packs").iterdir():
        pack.unlink()
    put({"a": b"a", "b": b"b"})
    before = stat_cache.era(store._root.catalog)
    of_version = [] if reference is None else store.verify(reference).problems
    is_same_era = stat_cache.era(store._root.catalog) == before
    problems = store.verify().problems

    assert of_version == []
    assert is_same_era
    assert {"pack-missing"} == {problem.kind for problem in problems}
    assert all("nothing that a version needs is lost" in problem.message for problem in problems)
    assert all("`artstore repair`" in problem.message for problem in problems)
    store.repair()
    assert store.verify().ok


def test_a_gone_pack_takes_along_what_is_nowhere_else(store: Store, put: Put) -> None:
    put({"a": b"a", "b": b"b"})
    only_file(store.path / "packs").unlink()
    put({"a": b"a"}, name="dogs")
    first, again = ({each.kind: each for each in store.verify().problems} for _ in range(2))

    assert ["'b' of uncategorized/cats:v0: 1 bytes in"] == [first["blob-damaged"].message.partition(" the pack ")[0]]
    assert {"blob-missing", "pack-missing"} == again.keys()
    assert not any("is lost" in found["pack-missing"].message for found in (first, again))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("reference", [None, "cats"])
def test_progress_moves_within_a_large_file(
    reference: str | None, store: Store, put: Put, monkeypatch: pytest.MonkeyPatch, *, fast: bool
) -> None:
    """A checkpoint of 100 GB takes minutes, in which nothing was said: who waits takes it for stuck."""
    for module, name, value in (
        (tally, "_PAUSE_S", -1),
        (share, "_PAUSE_S", 0.001),
        (whole, "_TOLD", 1 << 20),
        (examining, "_PART", 1 << 20),
    ):
        monkeypatch.setattr(module, name, value)
    size = 24 << 20
    put({"large": os.urandom(size)})
    seen: list[tuple[int, int]] = []
    store.verify(reference, fast=fast, progress=lambda tick: seen.append((tick.files, tick.bytes)))

    assert seen == sorted(seen)
    assert any(0 < done < size for _, done in seen)
    assert seen[-1] == (1, size)


@pytest.mark.parametrize("how", ["gone", "a file", "a folder in it"])
def test_damage_is_named_whatever_became_of_the_stat_cache(how: str, store: Store, put: Put) -> None:
    """It may be deleted at any time: verify said that the disk fails, and looked no further, as often as it was run."""
    put({"a": b"a" * 999})
    put({"b": b"b" * 999}, name="dogs")
    for pack in (store.path / "packs").iterdir():
        flip(pack)
    cache = store.path / "stat_cache"
    if how == "a folder in it":
        (cache / "folder").mkdir()
    else:
        shutil.rmtree(cache)
    if how == "a file":
        cache.write_bytes(b"")

    assert kinds(store) == ["blob-damaged"] * 2
    with pytest.raises(Corrupt, match="is missing from this store"):
        b"".join(store.read("cats", "a"))
    put({"a": b"a" * 999, "b": b"b" * 999})
    store.repair()
    store.close()
    Store.rebuild(store.path)
    with Store.open(store.path) as again:
        assert kinds(again) == []


def test_a_damaged_log_that_was_not_folded_is_named_and_the_rest_is_checked(store: Store, put: Put) -> None:
    put({"a": b"a"})
    put({"large": LARGE}, project="zoo")
    log = only_file(store.path / "ops" / "zoo")
    (store.path / "ops" / "zoo" / "000000000002").write_bytes(log.read_bytes()[:-1])
    flip(only_file(store.path / "blobs"))
    with Store.open(store.path) as again:
        problems = [(problem.kind, problem.subject) for problem in again.verify().problems]

    assert problems[0] == ("log-damaged", "ops/zoo/2")
    assert "blob-damaged" in [kind for kind, _subject in problems]


def test_a_catalog_that_has_lost_rows_is_damaged_and_no_riddle(store: Store, put: Put) -> None:
    """A traceback says neither what is wrong nor what to do."""
    put({"a": b"a"})
    store._root.catalog.execute("PRAGMA foreign_keys=OFF")
    store._root.catalog.execute("DELETE FROM blob")

    with pytest.raises(Corrupt) as caught:
        list(store.entries("cats"))
    assert caught.value.code == "catalog-damaged"
    assert not verify(store._root).ok
    store.close()
    assert Store.rebuild(store.path).lost == []
    with Store.open(store.path) as again:
        assert again.verify().problems == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE op SET body = replace(body, 'cats', 'dogs') WHERE kind = 'create'",
        "UPDATE op SET kind = 'delete' WHERE position = 2",
        "UPDATE op SET void = 'because' WHERE position = 2",
        "UPDATE op SET dismissed = 1 WHERE position = 3",
        "DELETE FROM op WHERE position = (SELECT max(position) FROM op)",
        "UPDATE log_entry SET digest = 'blake3:0' WHERE seq = 2",
        "DELETE FROM log_entry WHERE seq = 2",
        "DELETE FROM line WHERE seq = 1",
        "UPDATE line SET op = 'blake3:0' WHERE seq = 2",
        "UPDATE project SET upstream = 'another'",
        "UPDATE project SET head = 'blake3:0'",
        "UPDATE project SET log = 'another'",
        "UPDATE project SET seq = 1",
        "UPDATE project SET seq = 99",
        "UPDATE op SET body = CAST(x'ff' AS TEXT)",
        "UPDATE log_entry SET digest = CAST(x'ff' AS TEXT)",
        "INSERT INTO forgotten SELECT project, id, 0 FROM version WHERE number = 1",
        "INSERT INTO received SELECT project, id FROM version WHERE number = 1",
        "INSERT INTO renumbered SELECT project, collection, 7, id FROM version WHERE number = 1",
        "UPDATE version SET metadata = '{}' WHERE number = 1",
        "UPDATE version SET metadata = '{' WHERE number = 1",
        "DELETE FROM alias",
        "DELETE FROM version WHERE number = 1",
    ],
)
def test_a_catalog_that_says_other_than_its_log_is_named_and_mended(change: str, store: Store, put: Put) -> None:
    """D7, I20. What is offered to others, hidden here or mended from it would be wrong, and nobody would ever look."""
    put({"a": b"a"})
    put({"a": b"b"})
    store.alias("cats:v0", ["best"])
    store.set_metadata("cats:v1", {"lr": 1})
    assert store.root.catalog.execute(change).rowcount > 0

    problems = store.verify().problems
    store.close()
    Store.rebuild(store.path)

    assert problems
    assert {problem.kind for problem in problems} <= KINDS
    with Store.open(store.path) as again:
        assert again.verify().problems == []
        assert [version.ref for version in again.versions("cats")] == [f"uncategorized/cats:v{n}" for n in (1, 0)]
