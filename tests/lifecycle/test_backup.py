"""Backup: the copy alone gives back everything, whatever went on while it was made."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Conflict, Corrupt, Invalid, NotFound, UpgradeNeeded
from artstore.lifecycle import backup as verb
from artstore.lifecycle.backup import backup
from artstore.lifecycle.reports import VersionInfo
from artstore.storage import whole
from artstore.storage.blobs import Blobs
from artstore.storage.oplog import LogFile
from artstore.storage.root import Root, is_store
from artstore.storage.sessions import current_epoch, live_sessions
from artstore.store import Store
from tests.lifecycle.conftest import flip

Put = Callable[..., VersionInfo]

LARGE = bytes(range(256)) * 5_000
MANY = {f"f/{i}": bytes([i]) * i for i in range(20)}


def contents(store: Store) -> dict[str, Any]:
    """Everything that a store has, down to the bytes of each version."""
    found: dict[str, Any] = {}
    for collection in store.collections():
        for version in store.versions(f"{collection.project}/{collection.name}"):
            files = {}
            for entry in store.entries(version.ref):
                files[entry.path] = b"".join(store.read(version.ref, entry.path))
            found[version.ref] = (version, files)
    return found


def assert_is_copy(target: Path, expected: dict[str, Any]) -> None:
    with Store.open(target) as copy:
        report = copy.verify()

        assert report.problems == []
        assert contents(copy) == expected


@pytest.fixture
def full(store: Store, put: Put) -> Store:
    """A store with large and small blobs, differences, labels and a deletion."""
    put({**MANY, "large": LARGE})
    put({**MANY, "large": LARGE, "new": b"new"})
    put({**MANY, "large": LARGE[1:]})
    store.alias("cats:v0", ["best"])
    store.tag("cats:v2", ["good"])
    store.delete("cats:v1")
    put({"x": b"x"}, name="dogs", project="zoo")
    return store


def test_the_copy_has_everything(full: Store, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "copy"
    report = backup(full._root, target)

    assert (report.target, report.missing, report.kept_files) == (str(target), [], 0)
    assert report.copied_files + report.reflinked_files > 0
    assert_is_copy(target, contents(full))
    with Store.open(target) as copy:
        assert copy.id == full.id


def test_the_copy_needs_nothing_of_the_first(full: Store, tmp_path: Path) -> None:
    """A backup is opened when the store is gone; its catalog may be gone as well."""
    expected = contents(full)
    backup(full._root, tmp_path / "copy")
    full.close()
    shutil.rmtree(full.path)
    for left in (tmp_path / "copy").glob("catalog.db*"):
        left.unlink()
    report = Store.rebuild(tmp_path / "copy")

    assert report.lost == []
    assert_is_copy(tmp_path / "copy", expected)


def test_the_copy_goes_on_where_the_first_was_lost(full: Store, tmp_path: Path) -> None:
    """Numbers go on, and gc of the copy frees what gc of the first would have."""
    full.gc(grace_s=0)
    backup(full._root, tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy:
        tree = tmp_path / "tree"
        version = copy.put([tree], name="cats", type="dataset").version
        assert version is not None
        copy.delete("cats:v2")
        freed = copy.gc(grace_s=0).freed_bytes

        assert version.number == 3
        assert freed >= len(LARGE) - 1
        assert copy.verify().ok


def test_a_second_backup_writes_what_is_new(full: Store, put: Put, tmp_path: Path) -> None:
    first = backup(full._root, tmp_path / "copy")
    inode = whole_file(tmp_path / "copy").stat().st_ino
    put({**MANY, "large": LARGE, "later": b"later"})
    second = backup(full._root, tmp_path / "copy")

    assert second.kept_files == first.copied_files + first.reflinked_files
    assert second.copied_files + second.reflinked_files == 2  # One pack, one file of the log.
    assert whole_file(tmp_path / "copy").stat().st_ino == inode
    assert_is_copy(tmp_path / "copy", contents(full))


def test_a_second_backup_follows_deletions_gc_and_compaction(full: Store, put: Put, tmp_path: Path) -> None:
    backup(full._root, tmp_path / "copy")
    put({**MANY, "later": b"later"})
    full.delete("cats:v0", force=True)
    full.gc(grace_s=0)
    backup(full._root, tmp_path / "copy")

    assert_is_copy(tmp_path / "copy", contents(full))


def test_a_damaged_file_of_the_copy_is_mended_by_the_next(full: Store, tmp_path: Path) -> None:
    backup(full._root, tmp_path / "copy")
    damaged = whole_file(tmp_path / "copy")
    damaged.chmod(0o644)
    with open(damaged, "r+b") as file:
        file.truncate(1000)
    backup(full._root, tmp_path / "copy")

    assert_is_copy(tmp_path / "copy", contents(full))


@pytest.mark.parametrize("way", ["log flipped", "log gone", "a folder in place of a blob", "blob flipped, found"])
def test_whatever_the_copy_lost_the_next_backup_brings(full: Store, tmp_path: Path, way: str) -> None:
    """A flipped byte in a log was kept by each backup after it, and found when the copy was all that was left."""
    copy = tmp_path / "copy"
    backup(full._root, copy)
    blob = whole_file(copy)
    log = min((copy / "ops" / "uncategorized").iterdir())
    if way == "log flipped":
        flip(log)
    elif way == "log gone":
        log.unlink()
    elif way == "blob flipped, found":
        flip(blob)
        with Store.open(copy) as opened:
            assert not opened.verify().ok
    else:
        blob.unlink()
        (blob / "theirs").mkdir(parents=True)
    report = backup(full._root, copy)

    assert report.copied_files + report.reflinked_files == 1
    assert_is_copy(copy, contents(full))


@pytest.mark.parametrize("damage", [b"", b"no database" * 1000, None], ids=["empty", "garbage", "missing"])
def test_a_copy_without_a_catalog_says_how_it_becomes_one_again(
    full: Store, tmp_path: Path, damage: bytes | None
) -> None:
    """`run artstore rebuild` was said, and where; done as it said, the wrong store was made anew."""
    copy = tmp_path / "copy"
    backup(full._root, copy)
    (copy / "catalog.db").unlink()
    if damage is not None:
        (copy / "catalog.db").write_bytes(damage)
    with pytest.raises(Corrupt, match=re.escape(f"`artstore --store {copy} rebuild`")):
        backup(full._root, copy)
    Store.rebuild(copy)
    backup(full._root, copy)

    assert_is_copy(copy, contents(full))


def test_damage_replaces_nothing_whole(full: Store, tmp_path: Path) -> None:
    """The backup is the last good copy of what the store has lost since."""
    backup(full._root, tmp_path / "copy")
    expected = contents(full)
    large = whole_file(full.path)
    pack = min((full.path / "packs").iterdir())
    logs = sorted((full.path / "ops" / "uncategorized").iterdir())[:2]
    for file in (large, pack):
        file.chmod(0o644)
        os.truncate(file, file.stat().st_size // 2)
    logs[0].write_bytes(logs[0].read_bytes() + b"more")
    # A segment would count instead of the files that the target has.
    segment = logs[0].with_name("000000000001-000000000002")
    segment.write_bytes(logs[1].read_bytes()[:-1])
    report = backup(full._root, tmp_path / "copy")

    assert set(report.missing) == {
        str(whole.digest_of(large)),
        f"packs/{pack.name}",
        f"ops/uncategorized/{segment.name}",
    }
    segment.unlink()
    assert f"ops/uncategorized/{logs[0].name}" in backup(full._root, tmp_path / "copy").missing
    assert_is_copy(tmp_path / "copy", expected)


def whole_file(store: Path) -> Path:
    return min(path for path in (store / "blobs").rglob("*") if path.is_file())


def and_then(function: Callable[..., Any], act: Callable[[], None]) -> Callable[..., Any]:
    """The same function, after which something else happens."""

    def both(*arguments: Any) -> Any:
        result = function(*arguments)
        act()
        return result

    return both


def test_a_backup_is_a_session_that_gc_sees(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the copied catalog names would be freed before it is copied."""
    seen: list[Any] = []

    def look() -> None:
        seen.extend(about["verb"] for _epoch, about in live_sessions(full.path))

    monkeypatch.setattr(verb, "current_epoch", and_then(current_epoch, look))
    backup(full._root, tmp_path / "copy")

    assert "backup" in seen
    assert live_sessions(full.path) == []


def test_packs_written_anew_meanwhile_are_followed(
    store: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gc puts small packs together and deletes them, whoever is at work: the copied catalog then names what is gone."""
    for number in range(40):
        put({"a": b"%d" % number})
    collected: list[int] = []

    def collect() -> None:
        if not collected:
            collected.append(store.gc(grace_s=0).repacked_packs)

    # The next thing after the catalog was copied.
    monkeypatch.setattr(verb, "current_epoch", and_then(current_epoch, collect))
    report = backup(store._root, tmp_path / "copy")

    assert collected == [40]
    assert report.missing == []
    assert_is_copy(tmp_path / "copy", contents(store))


def test_a_log_compacted_meanwhile_is_followed(
    store: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that were listed are gone when they are to be copied; a segment has the same transactions."""
    for number in range(10):
        put({"a": b"%d" % number})
    files = store._root.log.files
    collected: list[int] = []

    def collect() -> None:
        if not collected:
            monkeypatch.setattr(store._root.log, "files", files)
            collected.append(store.gc(grace_s=0).compacted_ops)

    monkeypatch.setattr(store._root.log, "files", and_then(files, collect))
    backup(store._root, tmp_path / "copy")

    assert collected == [10]
    assert_is_copy(tmp_path / "copy", contents(store))


@pytest.mark.parametrize("lost", [slice(3, 5), slice(7, None), slice(0, None)])
def test_a_listing_that_misses_files_is_not_believed(
    lost: slice, store: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a segment takes the place of files, a listing may show neither: versions would be missing from the copy."""
    for number in range(10):
        put({"a": b"%d" % number})
    real = store._root.log.files
    lists = 0

    def missing(project: str) -> list[LogFile]:
        nonlocal lists
        listed = real(project)
        lists += 1
        if lists == 1:
            del listed[lost]
        return listed

    monkeypatch.setattr(store._root.log, "files", missing)
    report = backup(store._root, tmp_path / "copy")

    assert report.missing == []
    for left in (tmp_path / "copy").glob("catalog.db*"):
        left.unlink()
    Store.rebuild(tmp_path / "copy")
    assert_is_copy(tmp_path / "copy", contents(store))


@pytest.mark.parametrize("moment", ["catalog copied", "log listed", "log looked through"])
def test_a_commit_meanwhile_is_in_the_copy_whole_or_not_at_all(
    moment: str, full: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog ahead of its log, or an op whose bytes are not there, would be a damaged store."""
    before = contents(full)
    made: list[VersionInfo] = []

    def commit() -> None:
        if not made:
            made.append(put({**MANY, "meanwhile": LARGE[2:]}))

    if moment == "catalog copied":
        monkeypatch.setattr(verb, "current_epoch", and_then(current_epoch, commit))
    elif moment == "log listed":
        monkeypatch.setattr(full._root.log, "files", and_then(full._root.log.files, commit))
    else:
        monkeypatch.setattr(verb, "_first_gap", and_then(verb._first_gap, commit))
    backup(full._root, tmp_path / "copy")
    monkeypatch.undo()

    assert made
    with Store.open(tmp_path / "copy") as copy:
        assert copy.verify().problems == []
        found = contents(copy)
    assert found.keys() - before.keys() <= {made[0].ref}
    assert all(found[ref][1] == files for ref, (_version, files) in before.items())
    assert (made[0].ref in found) is (moment == "catalog copied")


def test_a_pack_that_is_half_known_when_the_catalog_is_copied_is_known_in_the_copy(
    full: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a pack come in several steps: the copy would hold the bytes and not find them."""
    real = Blobs._intern
    is_half_known, may_go_on = threading.Event(), threading.Event()

    def wait(*arguments: Any, **options: Any) -> Any:
        is_half_known.set()
        assert may_go_on.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(Blobs, "_intern", wait)
    with ThreadPoolExecutor(1) as pool:
        version = pool.submit(put, {**MANY, "meanwhile": b"meanwhile"})
        assert is_half_known.wait(20)

        def finish() -> None:
            may_go_on.set()
            version.result(20)

        monkeypatch.setattr(verb, "current_epoch", and_then(current_epoch, finish))
        backup(full._root, tmp_path / "copy")

    assert version.result().ref in contents(full)
    assert_is_copy(tmp_path / "copy", contents(full))


def test_a_pack_that_no_transaction_names_any_more_is_known_in_the_copy(
    store: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packs that came behind the copied catalog were written anew, and compaction dropped their names from the log."""
    # Its pack is large enough to be left alone, so the copied catalog names nothing that goes.
    large = {f"{number}": random.Random(number).randbytes(900_000) for number in range(6)}
    put(large)
    made: list[VersionInfo] = []

    def go_on() -> None:
        if not made:
            made.extend(put({**large, "small": b"%d" % number}) for number in range(40))
            assert store.gc(grace_s=0).repacked_packs == 40

    monkeypatch.setattr(verb, "current_epoch", and_then(current_epoch, go_on))
    backup(store._root, tmp_path / "copy")

    assert_is_copy(tmp_path / "copy", contents(store))


class _Cut(Exception):
    """The power is out."""


@contextlib.contextmanager
def power_cut(step: int) -> Iterator[None]:
    """The given time that a file is about to get its name, everything ends."""
    real = os.replace
    calls = 0

    def replace(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            raise _Cut
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        yield


def steps_until_done(attempt: Callable[[int], None]) -> int:
    """Try with the cut one step later each time, until there is none; answers how many were cut."""
    for step in range(1, 50):
        try:
            with power_cut(step):
                attempt(step)
        except _Cut:
            continue
        return step - 1
    raise AssertionError


def test_a_first_backup_that_was_stopped_is_no_store_and_is_gone_on_with(full: Store, tmp_path: Path) -> None:
    """Half a backup that opens would be trusted."""

    def attempt(_step: int) -> None:
        try:
            backup(full._root, tmp_path / "copy")
        except _Cut:
            assert not is_store(tmp_path / "copy")
            raise

    assert steps_until_done(attempt) >= 5
    assert_is_copy(tmp_path / "copy", contents(full))


def test_a_later_backup_that_was_stopped_is_still_the_earlier_one(full: Store, put: Put, tmp_path: Path) -> None:
    """The disk of the store may die in that minute: what was kept must not be harmed by what is added."""
    backup(full._root, tmp_path / "first")
    earlier = contents(full)
    for number in range(3):
        put({**MANY, "later": b"%d" % number}, project=("zoo", "uncategorized")[number % 2])
    later = contents(full)

    def attempt(step: int) -> None:
        shutil.copytree(tmp_path / "first", tmp_path / f"copy-{step}")
        backup(full._root, tmp_path / f"copy-{step}")

    cut = steps_until_done(attempt)
    for step in range(1, cut + 2):
        with Store.open(tmp_path / f"copy-{step}") as copy:
            found = contents(copy)

            assert copy.verify().problems == []
            assert earlier.keys() <= found.keys() <= later.keys()
            assert all(files == later[ref][1] for ref, (_version, files) in found.items())
    assert cut >= 5
    assert_is_copy(tmp_path / f"copy-{cut + 1}", later)


@pytest.mark.slow
def test_backups_of_a_busy_store_have_what_was_acknowledged(
    store: Store, put: Put, tmp_path: Path, children: Any
) -> None:
    """Commits, deletions, gc with no grace and compaction go on in other processes all the while."""
    put(MANY)
    code = """
import itertools, pathlib, sys, tempfile
from artstore.errors import Conflict
from artstore.store import Store
from tests.lifecycle.conftest import flip
store = Store.open(pathlib.Path(sys.argv[1]))
folder = pathlib.Path(tempfile.mkdtemp())
for n in itertools.count():
    (folder / "state").write_text(f"{sys.argv[2]} {n}")
    (folder / str(n % 30)).write_text(f"{sys.argv[2]} {n}" * n)
    print(store.put([folder], name=sys.argv[2], type="t").version.ref, flush=True)
    if n > 5 and n % 3 == 0:
        store.delete(f"{sys.argv[2]}:v{n - 5}")
    if n % 7 == 0:
        try:
            store.gc(grace_s=0)
        except Conflict:
            pass
"""
    workers = [children.start(code, store.path, name) for name in ("dogs", "eels")]
    for number in range(6):
        acknowledged = [worker.stdout.readline().strip() for worker in workers for _ in range(5)]
        target = tmp_path / f"copy-{number}"
        report = backup(store._root, target)
        again = backup(store._root, tmp_path / "again")
        for place, missing in ((target, report.missing), (tmp_path / "again", again.missing)):
            with Store.open(place) as copy:
                assert missing == []
                assert copy.verify().problems == []
                for ref in acknowledged:
                    try:
                        assert copy.version(ref).ref == ref
                    except NotFound as error:
                        assert error.code == "version-deleted"  # noqa: PT017
        for left in target.glob("catalog.db*"):
            left.unlink()
        assert Store.rebuild(target).lost == []
    assert all(worker.poll() is None for worker in workers)


def test_what_the_store_has_lost_is_named_and_the_rest_is_kept(full: Store, tmp_path: Path) -> None:
    """A backup made of a dying disk saves what it can, and does not look whole."""
    lost = whole_file(full.path)
    digest = whole.digest_of(lost)
    lost.unlink()
    report = backup(full._root, tmp_path / "copy")

    assert report.missing == [str(digest)]
    with Store.open(tmp_path / "copy") as copy:
        assert b"".join(copy.read("cats:v0", "f/3")) == MANY["f/3"]
        assert not copy.verify().ok


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_kept(
    full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = whole_file(full.path)
    inode = bad.stat().st_ino
    real = os.readv

    def failing(fd: int, buffers: Any) -> int:
        if os.fstat(fd).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", failing)
    monkeypatch.setattr(verb, "reflink", lambda _source, _target: False)
    report = backup(full._root, tmp_path / "copy")
    monkeypatch.undo()

    assert report.missing == [str(whole.digest_of(bad))]
    assert not (tmp_path / "copy" / bad.relative_to(full.path)).exists()
    with Store.open(tmp_path / "copy") as copy:
        assert b"".join(copy.read("cats:v0", "f/3")) == MANY["f/3"]


def test_a_folder_with_other_things_in_it_is_refused(full: Store, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("…")
    (tmp_path / "file").write_text("…")
    with Store.init(tmp_path / "other"):
        pass

    for name, kind, code in (
        ("home", Conflict, "not-empty"),
        ("other", Conflict, "other-store"),
        ("file", Invalid, "bad-target"),
        ("store", Invalid, "bad-target"),
        ("store/trash/copy", Invalid, "bad-target"),
    ):
        with pytest.raises(kind) as caught:
            backup(full._root, tmp_path / name)
        assert caught.value.code == code
    assert os.listdir(tmp_path / "home") == ["thesis.tex"]
    assert Store.open(tmp_path / "other").collections() == []


def test_a_copy_that_was_committed_to_is_no_longer_written_over(full: Store, tmp_path: Path) -> None:
    """Its own commits would be lost, without a word, in favour of others with the same numbers."""
    backup(full._root, tmp_path / "copy")
    tree = tmp_path / "tree"
    (tree / "own").write_bytes(b"own")
    with Store.open(tmp_path / "copy") as copy:
        own = copy.put([tree], name="cats", type="dataset").version
    full.put([tree], name="cats", type="dataset")
    with pytest.raises(Conflict) as caught:
        backup(full._root, tmp_path / "copy")

    assert caught.value.code == "diverged"
    with Store.open(tmp_path / "copy") as copy:
        assert own is not None
        assert copy.version("cats").id == own.id


def test_a_copy_that_others_work_in_is_left_alone(full: Store, tmp_path: Path) -> None:
    backup(full._root, tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy, copy.draft():
        with pytest.raises(Conflict) as caught:
            backup(full._root, tmp_path / "copy")
        assert caught.value.code == "in-use"


def test_gc_of_the_copy_waits_for_the_backup(
    full: Store, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the packs that have come, and that no row names yet, for what a killed process left."""
    backup(full._root, tmp_path / "copy")
    put({**MANY, "later": b"later"})
    codes: list[str] = []

    def collect() -> None:
        with Store.open(tmp_path / "copy") as copy, pytest.raises(Conflict) as caught:
            copy.gc(grace_s=0)
        codes.append(caught.value.code)

    monkeypatch.setattr(verb, "_named", and_then(verb._named, collect))
    backup(full._root, tmp_path / "copy")

    assert codes == ["locked"]
    assert_is_copy(tmp_path / "copy", contents(full))


def test_a_copy_is_bound_to_no_machine(full: Store, tmp_path: Path) -> None:
    """It is needed when that machine is gone."""
    about = (full.path / "format.json").read_text().replace('"host": null', f'"host": "{os.uname().nodename}"')
    (full.path / "format.json").write_text(about)
    root = Root(full.path)
    backup(root, tmp_path / "copy")

    assert root.format.host is not None
    root.close()
    copy = Root(tmp_path / "copy")
    assert copy.format.host is None
    copy.close()


def test_a_newer_store_is_not_copied_in_part(full: Store, tmp_path: Path) -> None:
    """What an older artstore does not know of would be left out."""
    about = (full.path / "format.json").read_text().replace('"format": 1', '"format": 2')
    (full.path / "format.json").write_text(about)
    root = Root(full.path)
    with pytest.raises(UpgradeNeeded):
        backup(root, tmp_path / "copy")
    root.close()


def test_the_epoch_goes_along(full: Store, tmp_path: Path) -> None:
    """Else gc of the copy would wait for as many runs as the first has seen before it frees anything."""
    for _ in range(3):
        full.gc()
    backup(full._root, tmp_path / "copy")

    assert 3 <= current_epoch(full.path / "locks") == current_epoch(tmp_path / "copy" / "locks")


@pytest.mark.root
def test_a_store_that_can_only_be_read_is_copied(volume: Path, tmp_path: Path) -> None:
    """The disk that is mounted read-only since it fails is the one to be saved."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"a")
    with Store.init(volume / "store") as store:
        store.put([tmp_path / "tree"], name="cats", type="dataset")
        expected = contents(store)
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    with Store.open(volume / "store") as store:
        assert store.read_only
        backup(store._root, tmp_path / "copy")

    assert_is_copy(tmp_path / "copy", expected)


@pytest.mark.parametrize("kind", ["blobs", "packs"])
def test_damage_that_is_copied_is_said(store: Store, put: Put, tmp_path: Path, kind: str) -> None:
    """A backup is what one relies on when the first is lost: that it is no better must not come out then."""
    put({"large": bytes(range(256)) * 5_000, "small": b"small"})
    (path,) = [path for path in (store.path / kind).rglob("*") if path.is_file()]
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(514)
        file.write(b"flip")
    report = store.backup(tmp_path / "copy")

    name = f"packs/{path.name}" if kind == "packs" else str(whole.digest_of(path))
    assert report.missing == [name]
    with Store.open(tmp_path / "copy") as copy:
        assert not copy.verify().ok
