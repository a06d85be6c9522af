"""After the link nothing is reported as failed: the verb answers as if the catalog had followed, and says that it has
not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError, ReadOnlyStore, StorageFull
from artstore.lifecycle.reports import VersionInfo
from artstore.storage import database
from artstore.storage.journal import Journal
from artstore.store import Store
from tests.stumbling import Stumbling, let_stumble

Put = Callable[..., VersionInfo]


@pytest.fixture
def stumbling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stumbling]:
    """How the catalog of `tmp_path/store` fails."""
    how = let_stumble(tmp_path / "store", monkeypatch)
    yield how
    how.end()


@pytest.fixture
def opened(stumbling: Stumbling, tmp_path: Path, tree: Callable[..., Path]) -> Iterator[Store]:
    """A store with two versions of `cats` and a run, whose catalog may stumble."""
    del stumbling
    with Store.init(tmp_path / "store") as store:
        store.put([tree({"a": b"one"})], name="cats", type="dataset", aliases=["old"])
        store.put([tree({"a": b"two", "b": b"2"})], name="cats", type="dataset")
        store.start_run(id="r1", config={"lr": 1})
        yield store


VERBS: dict[str, Callable[[Store], object]] = {
    "alias": lambda store: store.alias("cats:v0", ["best"]).aliases,
    "unalias": lambda store: store.unalias("cats:v0", ["old"]).aliases,
    "tag": lambda store: store.tag("cats:v0", ["red"]).tags,
    "describe a version": lambda store: store.describe("cats:v0", "text").description,
    "describe a collection": lambda store: store.describe("cats", "text").description,
    "metadata": lambda store: store.set_metadata("cats:v0", {"k": 1}).metadata,
    "ttl": lambda store: store.set_ttl("cats:v0", 60).ttl_s,
    "rename": lambda store: store.rename("cats", "dogs").name,
    "retype": lambda store: store.retype("cats", "model").type,
    "tag a collection": lambda store: store.tag_collection("cats", ["red"]).tags,
    "delete a collection": lambda store: store.delete_collection("cats", force=True).name,
    "copy": lambda store: store.copy("cats:v0", "dogs").ref,
    "copy to another project": lambda store: store.copy("cats:v0", "zoo/dogs").ref,
    "delete": lambda store: store.delete("cats:v1").state,
    "prune": lambda store: [gone.ref for gone in store.prune(["cats"], keep_last=0).deleted],
    "start a run": lambda store: store.start_run(id="r2", name="again").name,
    "finish a run": lambda store: store.finish_run("r1").state,
    "use": lambda store: store.use("r1", "cats:v0").ref,
}


@pytest.mark.parametrize("verb", sorted(VERBS))
@pytest.mark.parametrize("error", ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY", "SQLITE_ERROR"])
def test_what_was_linked_is_not_reported_as_failed(
    stumbling: Stumbling, opened: Store, caplog: pytest.LogCaptureFixture, verb: str, error: str
) -> None:
    """Who is told that a deletion failed repeats it, or worse: relies on what is not there any more."""
    stumbling.error = error
    stumbling.begin()
    with caplog.at_level(logging.WARNING, "artstore"):
        answer = VERBS[verb](opened)
    stumbling.end()

    assert stumbling.failed
    assert ["catalog is behind"] == [
        "catalog is behind" for each in caplog.records if "the catalog is behind" in each.getMessage()
    ]
    expected = {
        "alias": ["best", "old"],
        "unalias": [],
        "tag": ["red"],
        "describe a version": "text",
        "describe a collection": "text",
        "metadata": {"k": 1},
        "ttl": 60,
        "rename": "dogs",
        "retype": "model",
        "tag a collection": ["red"],
        "delete a collection": "cats",
        "copy": "uncategorized/dogs:v0",
        "copy to another project": "zoo/dogs:v0",
        "delete": "deleted",
        "prune": ["uncategorized/cats:v1"],
        "start a run": "again",
        "finish a run": "finished",
        "use": "uncategorized/cats:v0",
    }
    assert expected[verb] == answer


def test_what_was_linked_is_there_for_whoever_reads_next(stumbling: Stumbling, opened: Store) -> None:
    """Committed is committed, also where the catalog failed: this process and the next one see it."""
    stumbling.begin()
    opened.alias("cats:v0", ["best"])
    stumbling.end()
    with Store.open(opened.path) as other:
        assert 0 == other.version("cats:best").number

    assert 0 == opened.version("cats:best").number
    assert opened.verify().ok


def test_a_put_that_was_linked_is_told_as_it_is(
    stumbling: Stumbling, opened: Store, tree: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Its number, its aliases and `latest` are those that the log gives it."""
    stumbling.begin()
    version = opened.put([tree({"a": b"three"})], name="cats", type="dataset", aliases=["best"]).version
    stumbling.end()

    assert version is not None
    assert (2, ["best", "latest"]) == (version.number, version.aliases)
    assert version == opened.version("cats:best")
    assert 1 == len(caplog.records)


def test_what_fails_before_the_link_has_not_happened(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog is asked before the link, and what it refuses leaves the log as it was."""
    files = sorted((opened.path / "ops").rglob("*"))
    monkeypatch.setattr(Journal, "append", _refuse)
    with pytest.raises(StorageFull):
        opened.alias("cats:v0", ["best"])

    assert files == sorted((opened.path / "ops").rglob("*"))


def _refuse(*_arguments: object) -> None:
    message = "no space left"
    raise StorageFull(message, code="storage-full")


@pytest.mark.parametrize("error", ["SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_IOERR_WRITE", "SQLITE_READONLY"])
def test_a_store_that_could_not_follow_for_a_moment_goes_on(
    stumbling: Stumbling, opened: Store, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose disk was full for a second must not be read-only until somebody starts it again."""
    monkeypatch.setattr(database, "RETRY_S", 0.2)
    stumbling.error = error
    stumbling.begin()
    opened.alias("cats:v0", ["best"])
    # The next reader cannot write either, and goes on with what it can.
    with_best: list[str] | ArtstoreError
    try:
        with_best = opened.version("cats:v0").aliases
    except ArtstoreError as problem:
        with_best = problem
    stumbling.end()
    time.sleep(0.25)

    assert isinstance(with_best, ArtstoreError) or with_best == ["best", "old"]
    assert ["best", "old"] == opened.version("cats:v0").aliases
    assert ["best", "good", "old"] == opened.alias("cats:v0", ["good"]).aliases
    assert not opened.read_only
    assert opened.gc(grace_s=0).freed_blobs == 0
    assert opened.verify().ok


def test_a_store_that_cannot_be_written_stays_so(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened to be read has no right to write, however often it is tried."""
    monkeypatch.setattr(database, "RETRY_S", 0.0)
    reader = database.Connections(opened.path / "catalog.db", read_only=True, wal=True)
    reader.load_into_memory(ReadOnlyStore("a disc", code="read-only-store"))

    assert not reader.reconsider()
    with pytest.raises(ReadOnlyStore):
        reader.check_writable()


@pytest.fixture
def behind_and_busy(store: Store, put: Put, tmp_path: Path) -> Iterator[Store]:
    """A store whose log is one ahead of its catalog, while somebody else holds the write lock."""
    put({"a": b"one"})
    saved = tmp_path / "saved.db"
    with store._root.catalog.checked():
        store._root.catalog.connection.execute("VACUUM INTO ?", (str(saved),))
    put({"a": b"two"})
    store.close()
    for end in ("-wal", "-shm"):
        (store.path / f"catalog.db{end}").unlink(missing_ok=True)
    saved.replace(store.path / "catalog.db")
    writer = database.Connections(store.path / "catalog.db", read_only=False, wal=True)
    begun, enough = threading.Event(), threading.Event()

    def write() -> None:
        with writer.write():
            begun.set()
            enough.wait(20)
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(5)
    yield store
    enough.set()
    thread.join()


def test_a_reader_does_not_wait_for_a_busy_writer(behind_and_busy: Store) -> None:
    """Beside a long collection `ls` would take as long as it does."""
    began = time.monotonic()
    with Store.open(behind_and_busy.path) as reader:
        versions = [version.number for version in reader.versions("cats")]

    assert time.monotonic() - began < 2
    assert [0] == versions


def test_what_this_process_committed_is_waited_for(stumbling: Stumbling, opened: Store) -> None:
    """Who was told that an alias stands must not be told a moment later that it does not, because others write."""
    stumbling.begin()
    opened.alias("cats:v0", ["best"])
    stumbling.end()
    writer = database.Connections(opened.path / "catalog.db", read_only=False, wal=True)
    begun = threading.Event()

    def write() -> None:
        with writer.write():
            begun.set()
            time.sleep(0.3)
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(5)
    found = opened.version("cats:best").number
    thread.join()

    assert 0 == found
