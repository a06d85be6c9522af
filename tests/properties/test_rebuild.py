"""The catalog can be lost: the log and the blobs give back every version, number, alias, tag, edit, run and deletion.

All tests begin with copies of one store that has lived: hundreds of versions in two projects, pruned, collected and
compacted, so that bases of differences are gone and packs were written anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from artstore import Store
from artstore.errors import ArtstoreError, Corrupt, UpgradeNeeded
from artstore.lifecycle.commit import commit
from artstore.lifecycle.reports import RunInfo
from artstore.lifecycle.runs import run_info
from artstore.model.records import FORMAT, Transaction, encode_transaction
from artstore.storage import schema
from artstore.storage.journal import Journal
from artstore.storage.oplog import Attachments, Prepared
from artstore.storage.root import Root
from tests.properties.model import LARGE, Files, Model, Run, check_bytes, check_everything, check_state, content

pytestmark = pytest.mark.slow

VERSIONS = 320


class Lived(NamedTuple):
    """A store that has lived, closed, and what is in it."""

    path: Path
    model: Model
    old_catalog: Path
    """The catalog as it was half way, before a gc."""
    run: RunInfo
    states: dict[str, str]
    """The hash of each project's state."""


def write_files(folder: Path, files: Files) -> Path:
    """Make a folder hold these files; none of them goes again in these tests."""
    for path, number in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / path).exists() or (folder / path).read_bytes() != content(number):
            (folder / path).write_bytes(content(number))
    return folder


def states_of(root: Root) -> dict[str, str]:
    """The state of every project, as one digest."""
    return {each.name: str(Journal(root.catalog, each).hash_of_tables()) for each in root.catalog.projects()}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """One store for all processes that run these tests; each test takes a copy."""
    own = tmp_path_factory.getbasetemp()
    base = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "lived"
    base.mkdir(exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "lived").exists():
            (base / "lived").write_bytes(pickle.dumps(live(base)))
        made = pickle.loads((base / "lived").read_bytes())  # noqa: S301  # written above
    assert isinstance(made, Lived)
    return made


def live(base: Path) -> Lived:
    model = Model()
    store = Store.init(base / "store")
    run = store.start_run(project="p", name="train", config={"lr": 0.1})
    model.runs[run.id] = Run(config={"lr": 0.1})
    files: Files = {f"d{number % 3}/f{number}": number for number in range(24)}
    for turn in range(VERSIONS):
        project, name = ("p", "a") if turn % 5 else ("q", "b")
        files[f"d{turn % 3}/f{turn % 24}"] = 30 + turn
        if turn % 80 == 3:
            files["large"] = LARGE + turn // 80
        metadata = {"loss": turn % 17}
        store.put([write_files(base / "tree", files)], name=name, type="t", project=project, metadata=metadata)
        version, made = model.put(project, name, "t", files, metadata=metadata)
        assert made
        reference = f"{project}/{name}:v{version.number}"
        if turn % 20 == 7:
            store.alias(reference, ["best"])
            model.projects[project][name].aliases["best"] = version
            store.tag(reference, ["red"])
            version.tags.add("red")
        if turn % 30 == 11:
            store.set_metadata(reference, {"epoch": turn}, remove=["loss"])
            version.metadata = {"epoch": turn}
            store.describe(reference, f"turn {turn}")
            version.description = f"turn {turn}"
            store.use(run.id, reference, project="p")
            model.runs[run.id].inputs.append(version)
            version.used = True
        if turn == VERSIONS // 2:
            store.close()
            shutil.copy(base / "store" / "catalog.db", base / "old.db")
            store = Store.open(base / "store")
            store.prune(["a"], keep_last=40, project="p")
            model.prune(model.projects["p"]["a"], keep_last=40, keep_best=(), keep_within_s=None)
            store.gc(grace_s=0)
    store.delete("p/a:v170")
    model.delete(model.projects["p"]["a"], model.projects["p"]["a"].versions[170])
    store.rename("b", "c", project="q")
    model.projects["q"]["c"] = model.projects["q"].pop("b")
    store.describe("q/c", "renamed")
    model.projects["q"]["c"].description = "renamed"
    store.copy("q/c:v3", "p/copied")
    copied, _made = model.put(
        "p", "copied", "t", model.projects["q"]["c"].versions[3].files, metadata={"loss": 15 % 17}
    )
    copied.metadata = dict(model.projects["q"]["c"].versions[3].metadata)
    store.gc(grace_s=0)
    store.alias("p/copied:v0", ["after"])
    model.projects["p"]["copied"].aliases["after"] = copied
    check_everything(store, model, each_once=True)
    assert [] == store.verify().problems
    states = states_of(store._root)
    store.close()
    return Lived(base / "store", model, base / "old.db", run, states)


@pytest.fixture
def path(lived: Lived, tmp_path: Path) -> Path:
    """A copy of the store that has lived."""
    return Path(shutil.copytree(lived.path, tmp_path / "store"))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Store]:
    with Store.open(path) as store:
        yield store


def drop_catalog(path: Path) -> None:
    for file in path.glob("catalog.db*"):
        file.unlink()


def check_all(path: Path, lived: Lived, *, each_once: bool = True) -> None:
    """Nothing of the store that has lived is missing or different."""
    with opened(path) as store:
        check_everything(store, lived.model, each_once=each_once)
        root = store._root
        assert lived.states == states_of(root)
        assert lived.run == run_info(root, "p", lived.run.id)
        assert [] == store.verify().problems


def segments(path: Path) -> list[Path]:
    return sorted(file for file in (path / "ops").rglob("*-*") if file.is_file())


def chain(path: Path) -> dict[str, list[bytes]]:
    with opened(path) as store:
        log = store._root.log
        return {name: [data for _seq, data, _attachments in log.transactions(name, 0)] for name in log.projects()}


def test_the_store_has_lived(path: Path, lived: Lived) -> None:
    """What follows would show little on a young store."""
    with opened(path) as store:
        root = store._root
        assert root.catalog.counts()[1] < VERSIONS
        assert {"p", "q"} == {project.name for project in root.catalog.projects()}
        row = root.catalog.one("SELECT count(*) FROM manifest WHERE base IS NOT NULL")
        assert row is not None
        assert row[0] > 100
    assert segments(path)
    assert any(version.deleted for _, _, each in lived.model.collections() for version in each.versions)


def test_everything_comes_back(path: Path, lived: Lived) -> None:
    """A lost catalog must cost a minute, and no version."""
    drop_catalog(path)
    with pytest.raises(Corrupt, match="artstore rebuild"):
        Store.open(path)
    report = Store.rebuild(path)
    assert [] == report.lost

    check_all(path, lived, each_once=False)


def test_a_rebuilt_store_goes_on(path: Path, lived: Lived, tmp_path: Path) -> None:
    """Numbers go on where they were, equal content is known, and gc takes nothing that is needed."""
    drop_catalog(path)
    Store.rebuild(path)
    with opened(path) as store:
        collection = lived.model.projects["p"]["a"]
        latest = collection.latest
        assert latest is not None
        again = store.put([write_files(tmp_path / "t", latest.files)], name="a", type="t", project="p")
        new = store.put([write_files(tmp_path / "t", {"f": 1})], name="a", type="t", project="p")
        assert again.version is not None
        assert new.version is not None
        assert (False, latest.number, 0) == (again.made, again.version.number, again.new_bytes)
        assert len(collection.versions) == new.version.number
        store.gc(grace_s=0)
        store.gc(grace_s=0)
        check_bytes(store, lived.model, each_once=True)
        assert [] == store.verify().problems


@pytest.mark.parametrize("garbage", [b"", b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 9000, b"text\n" * 1000])
def test_a_catalog_that_is_garbage_is_put_aside(path: Path, lived: Lived, garbage: bytes) -> None:
    """What stands in the catalog's place may be all that somebody has of something: it is kept in the quarantine."""
    drop_catalog(path)
    (path / "catalog.db").write_bytes(garbage)
    with pytest.raises(Corrupt) as caught:
        Store.open(path)
    assert "artstore rebuild" in caught.value.message
    Store.rebuild(path)

    check_all(path, lived)


@pytest.mark.parametrize("at", [100, 4096 + 20, 3 * 4096, 20 * 4096])
def test_a_damaged_page_of_the_catalog_is_never_believed(path: Path, lived: Lived, at: int) -> None:
    """The store does not open, or verify names it, or nothing was there; and rebuild mends it."""
    with (path / "catalog.db").open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(600))
    with contextlib.suppress(ArtstoreError), opened(path) as store:
        if store.verify(fast=True).ok:
            check_everything(store, lived.model, each_once=True)
    Store.rebuild(path)

    check_all(path, lived)


def test_an_old_copy_of_the_catalog_catches_up(path: Path, lived: Lived) -> None:
    """Restored from a backup of yesterday, it shows today's versions at once."""
    shutil.copy(lived.old_catalog, path / "catalog.db")
    with opened(path) as store:
        check_state(store, lived.model)

    Store.rebuild(path)
    check_all(path, lived)


@pytest.mark.parametrize("mend", ["repair", "gc"])
def test_gc_with_an_old_copy_of_the_catalog_deletes_nothing_that_is_needed(path: Path, lived: Lived, mend: str) -> None:
    """Packs that were written since are strangers to it; they were taken for a killed process's leavings."""
    shutil.copy(lived.old_catalog, path / "catalog.db")
    with opened(path) as store:
        if mend == "repair":
            store.verify()
            assert [] == store.repair().still_damaged
        store.gc(grace_s=0)
        store.gc(grace_s=0)
        check_bytes(store, lived.model, each_once=True)

    Store.rebuild(path)
    check_all(path, lived)


def test_a_lost_file_of_the_log_is_written_again_byte_for_byte(path: Path, lived: Lived) -> None:
    """The catalog is ahead of the log then; the chain that others hold must not fork."""
    before = chain(path)
    with opened(path) as store:
        newest = store._root.log.files("p")[-1]
        assert newest.first == newest.last
        newest.path.unlink()
        problems = store.verify(fast=True).problems
        assert ["log-lost"] == [problem.kind for problem in problems]
        assert [] == store.repair().still_damaged

    assert before == chain(path)
    drop_catalog(path)
    Store.rebuild(path)
    check_all(path, lived)


@pytest.mark.parametrize("how", ["flipped", "gone", "truncated"])
def test_a_damaged_segment_is_written_again_from_the_catalog(path: Path, lived: Lived, how: str) -> None:
    """A segment holds hundreds of transactions: with the catalog there, none may be lost."""
    before = chain(path)
    segment = max(segments(path), key=lambda file: file.stat().st_size)
    if how == "gone":
        segment.unlink()
    elif how == "truncated":
        os.truncate(segment, segment.stat().st_size // 2)
    else:
        with segment.open("r+b") as file:
            file.seek(segment.stat().st_size // 3)
            file.write(b"flipped")
    with opened(path) as store:
        assert not store.verify(fast=True).ok
        assert [] == store.repair().still_damaged
        assert [] == store.verify(fast=True).problems

    assert before == chain(path)
    drop_catalog(path)
    Store.rebuild(path)
    check_all(path, lived)


def test_a_damaged_segment_without_a_catalog_is_named(path: Path) -> None:
    """Half of a log must not pass for all of it."""
    segment = max(segments(path), key=lambda file: file.stat().st_size)
    os.truncate(segment, segment.stat().st_size // 2)
    drop_catalog(path)
    report = Store.rebuild(path)

    assert [] != [lost for lost in report.lost if lost.startswith(f"ops/{segment.parent.name}/")]


@pytest.mark.parametrize("has_catalog", [True, False])
def test_a_killed_rebuild_has_not_begun(path: Path, lived: Lived, has_catalog: bool) -> None:
    """Whoever opens the store afterwards sees all of it, or is told to rebuild; never a part."""
    if not has_catalog:
        drop_catalog(path)
    seen = set()
    for turn in range(14):
        pid = os.fork()
        if pid == 0:
            Store.rebuild(path)
            os._exit(0)
        time.sleep(0.003 + turn * 0.012)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        try:
            with opened(path) as store:
                check_state(store, lived.model)
                seen.add("whole")
        except Corrupt as error:
            assert not has_catalog
            assert error.code == "catalog-missing"  # noqa: PT017
            seen.add("told")
            continue
        if not has_catalog:
            drop_catalog(path)
    assert "whole" in seen if has_catalog else "told" in seen
    Store.rebuild(path)

    check_all(path, lived)


def test_a_catalog_of_a_newer_artstore_is_left_alone(path: Path) -> None:
    """A downgrade must neither misread the catalog nor write over it."""
    with contextlib.closing(sqlite3.connect(path / "catalog.db")) as connection:
        connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
        connection.execute("UPDATE meta SET value = ? WHERE key = 'min_reader'", (schema.VERSION + 1,))
        connection.commit()
    before = (path / "catalog.db").read_bytes()

    with pytest.raises(UpgradeNeeded, match="install a newer"):
        Store.open(path)
    with pytest.raises(UpgradeNeeded, match="install a newer"):
        Store.rebuild(path)
    assert before == (path / "catalog.db").read_bytes()


def test_an_op_of_a_newer_artstore_stops_the_rebuild(path: Path, lived: Lived) -> None:
    """To skip what one does not know would be to guess; the catalog stays as it was."""
    with opened(path) as store, store.draft() as draft:
        root = store._root
        project = root.catalog.project("p")
        assert project is not None
        data = encode_transaction(
            Transaction(
                format=FORMAT,
                project="p",
                log=project.log,
                seq=project.seq + 1,
                before=project.head,
                ops=[msgspec.Raw(b'{"at_us":0,"nonce":"0","op":"teleport"}')],
            ),
        )
        prepared = Prepared(draft.session.scratch() / "future", Attachments())
        prepared.seal([data])
        assert root.log.publish("p", project.seq + 1, project.seq + 1, prepared)
        prepared.close()
        with pytest.raises(UpgradeNeeded, match="teleport"):
            commit(root, draft.session, "p", lambda _view: [])
    with pytest.raises(UpgradeNeeded, match="teleport"):
        Store.rebuild(path)
    with pytest.raises(UpgradeNeeded, match="teleport"):
        Store.open(path)

    (path / "ops" / "p" / f"{project.seq + 1:012d}").unlink()
    check_all(path, lived)
