"""What these harnesses have found: each a window that was open once, and is held open here."""

from __future__ import annotations

import errno
import io
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Conflict, Corrupt
from artstore.lifecycle import commit as commit_module
from artstore.lifecycle import commit_draft as committing
from artstore.lifecycle import examine
from artstore.storage import quarantine, sessions
from artstore.storage import root as root_module
from artstore.storage.database import Connections
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments, LogFile, OpLog, Prepared
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, alone
from artstore.store import Store
from tests.faults.processes import fork


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Store.init(tmp_path / "store").close()
    return tmp_path / "store"


def put(store: Store, files: dict[str, bytes], name: str = "n") -> str:
    """Put some files; answers the reference."""
    with store.draft() as draft:
        for file, data in files.items():
            draft.add_stream(io.BytesIO(data), file)
        return store.commit(draft, name=name, type="t").ref


def is_whole(path: Path) -> bool:
    """Whether a store verifies, as it is and when its catalog was lost."""
    with Store.open(path) as store:
        is_good = store.verify().ok
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (path / name).unlink(missing_ok=True)
    Store.rebuild(path)
    with Store.open(path) as store:
        return is_good and store.verify().ok


def log_file(root: Path, seq: int) -> None:
    """Publish a file of the log of project `p` that says nothing."""
    prepared = Prepared(root / f"prepared{seq}", Attachments())
    prepared.seal([b"a transaction"])
    OpLog(root).publish("p", seq, seq, prepared)
    prepared.close()


def test_compaction_deletes_no_commit_that_comes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was linked between two listings was in one of them only, passed for covered, and was unlinked for good."""
    (tmp_path / "ops").mkdir()
    log_file(tmp_path, 1)
    all_files = OpLog.all_files
    left = [lambda: log_file(tmp_path, 2)]

    def listed(self: OpLog, project: str) -> list[LogFile]:
        found = all_files(self, project)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(OpLog, "all_files", listed)

    assert [] == OpLog(tmp_path).covered("p")


def test_a_folder_that_was_read_in_the_middle_of_a_compaction_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment was not there yet, what it holds was gone already: for `rebuild` the log ended there, and forked."""
    (tmp_path / "ops").mkdir()
    log_file(tmp_path, 1)
    log_file(tmp_path, 2)
    listdir = os.listdir
    torn = [["000000000001"]]
    monkeypatch.setattr(os, "listdir", lambda folder: torn.pop() if torn else listdir(folder))

    assert 2 == OpLog(tmp_path).last("p")


def test_a_commit_beside_a_reader_of_the_log_is_no_gap(tmp_path: Path) -> None:
    """`verify` beside writers said that transactions were missing, since there were newer ones than it had listed."""
    (tmp_path / "ops").mkdir()
    log_file(tmp_path, 1)
    reader = OpLog(tmp_path).transactions("p", 0)
    found = [next(reader)]
    log_file(tmp_path, 2)

    found += reader

    assert [1] == [seq for seq, _data, _attachments in found]


def test_gc_takes_nothing_from_a_commit_whose_process_is_killed_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It linked its op after `gc` had read the log, and was dead when `gc` looked who lives: its blobs were freed."""
    ready, go = os.pipe(), os.pipe()

    def work() -> None:
        with Store.open(path) as store, store.draft() as draft:
            draft.add_stream(io.BytesIO(b"needed"), "file")
            draft.intake.settle()
            os.write(ready[1], b"!")
            os.read(go[0], 1)
            publish = OpLog.publish

            def publish_and_die(self: OpLog, *arguments: Any) -> bool:
                publish(self, *arguments)
                os.kill(os.getpid(), signal.SIGKILL)
                return True

            OpLog.publish = publish_and_die  # type: ignore[method-assign, assignment]
            store.commit(draft, name="n", type="t")

    pid = fork(work)
    os.read(ready[0], 1)
    begin_epoch = sessions.begin_epoch
    begun: list[int] = []

    def begin_and_kill(locks: Path, epoch: int) -> None:
        begin_epoch(locks, epoch)
        if not begun:
            os.write(go[1], b"!")
            os.waitpid(pid, 0)
        begun.append(epoch)

    monkeypatch.setattr(root_module, "begin_epoch", begin_and_kill)

    with Store.open(path) as store:
        store.gc(grace_s=0)

        assert b"needed" == b"".join(store.read("n", "file"))
    assert is_whole(path)


def test_the_log_keeps_what_a_commit_under_way_builds_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manifest was a difference to one whose version was deleted and compacted away meanwhile: no rebuild then."""
    files = {f"file{number}": b"%d" % number for number in range(20)}
    commit = committing._commit

    def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(committing, "_commit", commit)
        with Store.open(path) as other:
            other.delete("n:v0")
            other.gc(grace_s=0)
        return commit(*arguments, **options)

    with Store.open(path) as store:
        put(store, files)
        monkeypatch.setattr(committing, "_commit", late)
        put(store, {**files, "file0": b"new"})

    assert is_whole(path)


def test_a_manifest_is_not_freed_from_under_another(path: Path) -> None:
    """What was condemned, and is the base of what a session has just inserted, went, and left half a manifest."""
    files = {f"file{number}": b"%d" % number for number in range(20)}
    with Store.open(path) as store:
        put(store, files)
        put(store, {**files, "file0": b"new"})
    root = Root(path)
    with root.catalog.write():
        root.catalog.execute("UPDATE manifest SET condemned = 0 WHERE base IS NULL")

    Marking(root.catalog).free_manifests(0)
    root.close()

    with Store.open(path) as store:
        assert 20 == len(list(store.entries("n:v1")))


def test_what_a_compaction_meets_is_not_the_commit_s(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit failed, though committed, when two compactions met behind it."""

    def meet(*_arguments: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(commit_module, "compact_if_due", meet)

    with Store.open(path) as store:
        assert "uncategorized/n:v0" == put(store, {"file": b"1"})


def test_gc_beside_a_compaction_does_the_rest(path: Path) -> None:
    """Every so many commits one compacts the log, and a `gc` at that moment said that another was running."""
    with Store.open(path) as store:
        put(store, {"file": b"1"})
        with Exclusive(path, "compact"):
            assert 0 == store.gc(grace_s=0).compacted_ops


def test_a_rebuild_waits_for_who_is_at_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row numbers that a put held meant other rows in the new catalog."""
    monkeypatch.setattr(sessions, "PATIENCE_S", 0.05)
    with Store.open(path) as store, store.draft(), pytest.raises(Conflict) as refusal:
        Store.rebuild(path)

    assert "busy" == refusal.value.code


def test_who_begins_waits_for_a_rebuild(path: Path) -> None:
    began: list[float] = []
    root = Root(path)

    def begin() -> None:
        with Root(path).session("put"):
            began.append(time.monotonic())

    with root.session("rebuild") as session, alone(path, session):
        thread = threading.Thread(target=begin)
        thread.start()
        time.sleep(0.1)
        ended = time.monotonic()
    thread.join()
    root.close()

    assert began[0] > ended


def test_verify_blames_no_bytes_for_a_want_of_descriptors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it could not open went into the quarantine."""

    def exhausted(*_arguments: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Store.open(path) as store:
        put(store, {"small": b"1", "large": bytes(2 << 20)})
        with monkeypatch.context() as patch:
            for module in (examine, quarantine):
                patch.setattr(module, "read_into_at", exhausted)
            assert not store.verify().ok

        assert store.verify().ok
    assert is_whole(path)


def test_what_can_be_read_again_comes_back_from_the_quarantine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that failed once is no reason to lose what it holds."""

    def failing(*_arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Store.open(path) as store:
        put(store, {"large": bytes(2 << 20)})
        with monkeypatch.context() as patch:
            for module in (examine, quarantine):
                patch.setattr(module, "read_into_at", failing)
            assert not store.verify().ok
        store.repair()

        assert store.verify().ok


def test_what_a_killed_init_left_can_be_made_a_store(tmp_path: Path) -> None:
    """SQLite's journal was a stranger, and the folder refused for ever."""
    (tmp_path / "catalog.db-journal").write_bytes(b"")

    Store.init(tmp_path).close()

    assert is_whole(tmp_path)


def test_of_two_that_make_a_store_one_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second gave it another id, after the first had been told that all was well."""
    monkeypatch.setattr(root_module, "PATIENCE_S", 0.05)
    (path / "format.json").rename(path.parent / "format.json")
    with Exclusive(path, "init"), pytest.raises(Conflict):
        Store.init(path)


def test_a_rebuild_that_the_disk_lets_down_leaves_the_catalog_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the new catalog's failure for damage of the log, and kept what was folded by then: half a transaction."""
    with Store.open(path) as store:
        put(store, {"file": b"1"})
        put(store, {"file": b"2"})
    execute = Connections.execute

    def failing(self: Connections, sql: str, parameters: Any = ()) -> Any:
        if sql.startswith("UPDATE project SET seq") and parameters[1] == 2:
            raise Corrupt("the disk failed", code="catalog-damaged")
        return execute(self, sql, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "execute", failing)
        with pytest.raises(Corrupt):
            Store.rebuild(path)

    with Store.open(path) as store:
        assert store.verify().ok
        assert b"2" == b"".join(store.read("n:v1", "file"))


def test_a_transaction_that_cannot_be_folded_leaves_nothing_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its first op had done stayed in the catalog, where the log was folded again from that transaction on."""
    with Store.open(path) as store:
        put(store, {"file": b"1"})
        put(store, {"file": b"2"})
    append = Journal.append

    def damaged(self: Journal, seq: int, digest: str, ops: Any) -> Any:
        append(self, seq, digest, ops)
        if seq == 2:
            raise Corrupt("an op cannot be read", code="op-damaged")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", damaged)
        assert ["ops/uncategorized/2"] == Store.rebuild(path).lost

    with Store.open(path) as store:
        assert store.verify().ok
        assert b"2" == b"".join(store.read("n:v1", "file"))


def test_what_was_condemned_before_a_power_cut_is_freed_after_it(path: Path) -> None:
    """The epoch that the catalog spoke of was lost with its file, and as many `gc` would have had to come again."""
    with Store.open(path) as store:
        put(store, {"file": b"1"})
        put(store, {"file": b"2"})
        store.delete("n:v0")
        sessions.begin_epoch(path / "locks", 50)
        with Root(path).session("put"):
            assert 0 < store.gc(grace_s=0).kept_by_sessions
        (path / "locks" / "epoch-51").rename(path / "locks" / "epoch-3")

        assert 0 == store.gc(grace_s=0).kept_by_sessions
        assert store.verify().ok


def test_a_folder_of_sessions_that_cannot_be_read_is_a_typed_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verb asks for the epoch first, and what the disk said came out as it was."""
    listdir = os.listdir

    def failing(folder: Any = ".") -> list[str]:
        if str(folder).endswith("locks"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", failing)

    with pytest.raises(Corrupt) as failure:
        Store.open(path)

    assert "io-error" == failure.value.code
