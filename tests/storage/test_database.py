"""The database file: one writer at a time, and none that is told that it is locked."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import ArtstoreError, Conflict, Corrupt, ReadOnlyStore, StorageFull
from artstore.storage import database
from artstore.storage.database import Connections, is_wal_safe
from artstore.storage.driver import sqlite3
from artstore.storage.sqlite_errors import sqlite_errors
from tests.conftest import Children


@pytest.fixture(params=[True, False], ids=["wal", "delete"])
def numbers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connections]:
    """A database with one table of numbers, in either journal mode."""
    opened = Connections(tmp_path / "numbers.db", read_only=False, wal=request.param)
    with opened.write() as connection:
        connection.execute("CREATE TABLE number (value)")
    yield opened
    opened.close()


def count(numbers: Connections) -> int:
    row = numbers.one("SELECT count(*) FROM number")
    assert row is not None
    return int(row[0])


def insert_and_fail(numbers: Connections) -> None:
    numbers.execute("INSERT INTO number VALUES (2)")
    numbers.execute("SELEKT 1")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 4), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_is_used_only_without_the_wal_reset_race(version: tuple[int, int, int], expected: bool) -> None:
    """D8. The race loses acknowledged commits without a word."""
    assert is_wal_safe(version) is expected


def test_the_journal_is_the_safe_one(numbers: Connections) -> None:
    """WAL with NORMAL lost acknowledged commits in 40 of 40 power cuts, FULL in none."""
    mode, synchronous = (numbers.one(f"PRAGMA {name}") for name in ("journal_mode", "synchronous"))

    assert (mode, synchronous) == ((("wal",), (2,)) if numbers.wal else (("delete",), (3,)))
    assert [(0,), (0,), (1,)] == [
        numbers.one(f"PRAGMA {name}") for name in ("trusted_schema", "mmap_size", "cell_size_check")
    ]


def test_what_is_prepared_is_synced_by_the_next_write(numbers: Connections) -> None:
    """The sync that a prepared row is spared is not one that an acknowledged commit lacks."""
    modes = [numbers.one("PRAGMA synchronous")]
    with numbers.prepare():
        modes.append(numbers.one("PRAGMA synchronous"))
        numbers.execute("INSERT INTO number VALUES (1)")
    with pytest.raises(sqlite3.OperationalError), numbers.prepare():
        insert_and_fail(numbers)
    with numbers.write():
        modes.append(numbers.one("PRAGMA synchronous"))
        with numbers.prepare():
            modes.append(numbers.one("PRAGMA synchronous"))

    full, relaxed = ((2,), (1,)) if numbers.wal else ((3,), (3,))
    assert [full, relaxed, full, full] == modes
    assert count(numbers) == 1


def test_a_connection_that_stays_without_syncs_is_not_used_again(numbers: Connections) -> None:
    """Every later commit of this thread would be lost with the power, though it was acknowledged."""

    def refuse(action: int, _pragma: str | None, value: str | None, *_others: str | None) -> int:
        return int(sqlite3.SQLITE_DENY if (action, value) == (sqlite3.SQLITE_PRAGMA, "FULL") else sqlite3.SQLITE_OK)

    numbers.connection.set_authorizer(refuse)
    with numbers.prepare() as connection:
        connection.execute("INSERT INTO number VALUES (1)")

    assert numbers.wal is (connection is not numbers.connection)  # Without WAL it is always synced.
    assert [(2,) if numbers.wal else (3,)] == numbers.rows("PRAGMA synchronous")


def test_a_write_takes_the_lock_before_it_reads(numbers: Connections) -> None:
    """D10. A deferred one that turns into a write is refused at once when another wrote meanwhile: 764 of 900 lost."""
    statements: list[str] = []
    numbers.connection.set_trace_callback(statements.append)
    with numbers.write(), numbers.write():
        numbers.execute("INSERT INTO number VALUES (1)")
    with pytest.raises(sqlite3.OperationalError), numbers.write():
        insert_and_fail(numbers)
    numbers.connection.set_trace_callback(None)

    assert statements == [
        "BEGIN IMMEDIATE",
        "INSERT INTO number VALUES (1)",
        "COMMIT",
        "BEGIN IMMEDIATE",
        "INSERT INTO number VALUES (2)",
        "ROLLBACK",
    ]
    assert count(numbers) == 1


def test_a_snapshot_does_not_change_while_it_is_read(numbers: Connections) -> None:
    """I4. A listing that saw half of a commit would show an alias without its version."""
    if not numbers.wal:
        pytest.skip("with a rollback journal the writer waits for the reader instead")
    seen: list[int] = []
    with numbers.snapshot():
        seen.append(count(numbers))
        writer = threading.Thread(target=insert, args=(numbers, 1))
        writer.start()
        writer.join()
        seen.append(count(numbers))

    assert ([0, 0], 1) == (seen, count(numbers))


def insert(numbers: Connections, times: int) -> None:
    for _ in range(times):
        with numbers.write():
            numbers.execute("INSERT INTO number SELECT count(*) FROM number")


def test_threads_and_processes_write_and_none_is_refused(numbers: Connections, children: Children) -> None:
    """P12. `database is locked` is nobody's business; a lost row is everybody's."""
    code = """
import sys
from pathlib import Path
from artstore.storage.database import Connections
numbers = Connections(Path(sys.argv[1]), read_only=False, wal=sys.argv[2] == "True")
for _ in range(100):
    with numbers.write():
        numbers.execute("INSERT INTO number SELECT count(*) FROM number")
"""
    processes = [children.start(code, numbers.path, numbers.wal) for _ in range(2)]
    threads = [threading.Thread(target=insert, args=(numbers, 50)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    complaints = [process.communicate(timeout=60)[1] for process in processes]

    assert complaints == ["", ""]
    assert list(range(300)) == sorted(value for (value,) in numbers.rows("SELECT value FROM number"))


def test_a_fork_gets_a_connection_of_its_own(numbers: Connections) -> None:
    """P9. A connection used on both sides of a fork corrupts the file; closing it drops the parent's locks."""
    insert(numbers, 1)
    with numbers.write():
        numbers.execute("INSERT INTO number VALUES (-1)")
        child = os.fork()
        if child == 0:
            # It sees what is committed, and its end does not end the parent's transaction.
            code = 0 if count(numbers) == 1 or not numbers.wal else 1
            numbers.close()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        numbers.execute("INSERT INTO number VALUES (-2)")

    assert os.waitstatus_to_exitcode(status) == 0
    assert count(numbers) == 3
    assert numbers.one("PRAGMA integrity_check") == ("ok",)


@pytest.mark.slow
def test_a_child_is_not_forked_while_another_thread_is_inside_sqlite(numbers: Connections) -> None:
    """P9. A lock of SQLite's own that the other thread held would be locked in the child for ever."""
    insert(numbers, 1)
    is_over = threading.Event()

    def open_and_close() -> None:
        while not is_over.is_set():
            other = Connections(numbers.path, read_only=False, wal=numbers.wal)
            count(other)
            other.close()

    threads = [threading.Thread(target=open_and_close) for _ in range(3)]
    for thread in threads:
        thread.start()
    ends = []
    try:
        for _ in range(100):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                os._exit(0 if count(Connections(numbers.path, read_only=False, wal=numbers.wal)) == 1 else 1)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            if ends[-1]:
                break
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    assert {0} == set(ends)


_WITHIN = """
import os, signal, threading, time
from artstore.storage.driver import connect
signal.alarm(20)
outer, inner = connect(":memory:"), connect(":memory:")
begun = threading.Event()

def within():
    begun.set()
    time.sleep(0.1)
    return inner.execute("SELECT 1").fetchone()[0]

outer.create_function("within", 0, within)
answers = []
thread = threading.Thread(target=lambda: answers.append(outer.execute("SELECT within()").fetchone()))
thread.start()
begun.wait()
if not os.fork():
    os._exit(0)
thread.join()
print(*answers)
"""


def test_a_call_that_begins_within_another_is_not_kept_out_by_a_fork(children: Children) -> None:
    """The fork waits for the outer call, and so would for ever: what is collected meanwhile may close a connection."""
    assert "(1,)" == children.run(_WITHIN)


def test_a_child_writes_beside_its_parent(numbers: Connections) -> None:
    insert(numbers, 1)
    child = os.fork()
    if child == 0:
        insert(numbers, 20)
        os._exit(0)
    insert(numbers, 20)
    _, status = os.waitpid(child, 0)

    assert (0, 41) == (os.waitstatus_to_exitcode(status), count(numbers))


def test_threads_that_ended_leave_no_open_files(numbers: Connections) -> None:
    """A training job that logs a checkpoint a minute would run out of descriptors within the week."""
    insert(numbers, 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        thread = threading.Thread(target=insert, args=(numbers, 1))
        thread.start()
        thread.join()

    assert len(os.listdir("/proc/self/fd")) <= before + 4


_CROWD = """
import sys
import threading
from pathlib import Path
from artstore.storage.database import Connections
numbers = Connections(Path(sys.argv[1]), read_only=False, wal=True)
for _ in range(150):
    together = threading.Barrier(12)

    def ask():
        together.wait()
        numbers.one("SELECT 1")

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
numbers.close()
print("done")
"""


def test_threads_that_come_together_close_what_others_left_once(numbers: Connections, children: Children) -> None:
    """Two that closed the connection of a thread that had ended crashed the process, and a `put` with it."""
    assert "done" == children.run(_CROWD, numbers.path)


def test_a_reader_may_not_write(numbers: Connections) -> None:
    insert(numbers, 1)
    numbers.close()
    reader = Connections(numbers.path, read_only=True, wal=numbers.wal)

    assert count(reader) == 1
    with pytest.raises(ReadOnlyStore), reader.write():
        pass
    with pytest.raises(ReadOnlyStore):
        reader.execute("INSERT INTO number VALUES (1)")
    reader.close()


def test_a_reader_beside_a_busy_writer_sees_whole_states(numbers: Connections, children: Children) -> None:
    """S6. A colleague who reads a live store must not be told that it is damaged, nor see half of a commit."""
    code = """
import sys
from pathlib import Path
from artstore.storage.database import Connections
seen = set()
for _ in range(100):
    reader = Connections(Path(sys.argv[1]), read_only=True, wal=sys.argv[2] == "True")
    seen.add(reader.one("SELECT count(*) = 2 * count(DISTINCT value) FROM number")[0])
    reader.close()
print(seen)
"""
    child = children.start(code, numbers.path, numbers.wal)
    number = 0
    while child.poll() is None:
        number += 1
        with numbers.write():
            numbers.execute("DELETE FROM number")
            numbers.executemany("INSERT INTO number VALUES (?)", [(f"{number} {k // 2}" * 50,) for k in range(40)])
        numbers.execute("PRAGMA wal_checkpoint(PASSIVE)")
        time.sleep(0 if numbers.wal else 0.005)  # With a rollback journal readers wait for the writer.
    said, complaints = child.communicate()

    assert ("{1}\n", "") == (said, complaints)


def test_a_copy_in_memory_may_be_written_and_the_file_stays(numbers: Connections) -> None:
    """A read-only store folds what its catalog lacks; nothing of that may reach the disk."""
    insert(numbers, 1)
    numbers.close()
    before = numbers.path.read_bytes()
    reader = Connections(numbers.path, read_only=True, wal=numbers.wal)
    reader.load_into_memory(ReadOnlyStore("a disc", code="read-only-store"))
    insert(reader, 2)
    reader_count = count(reader)
    with pytest.raises(ReadOnlyStore, match="a disc"):
        reader.check_writable()
    reader.close()

    assert (3, before) == (reader_count, numbers.path.read_bytes())


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4096])
def test_what_is_no_database_is_damage(tmp_path: Path, content: bytes) -> None:
    """S10. The answer names the way out: the log has all that the catalog held."""
    (tmp_path / "bad.db").write_bytes(content)
    bad = Connections(tmp_path / "bad.db", read_only=False, wal=True)

    with pytest.raises(Corrupt) as caught:
        bad.rows("SELECT * FROM sqlite_master")
    assert (caught.value.code, "artstore rebuild" in caught.value.message) == ("catalog-damaged", True)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("SQLITE_BUSY_SNAPSHOT", Conflict, "store-locked"),
        ("SQLITE_LOCKED", Conflict, "store-locked"),
        ("SQLITE_PROTOCOL", Conflict, "store-locked"),
        ("SQLITE_FULL", StorageFull, "storage-full"),
        ("SQLITE_READONLY_DIRECTORY", ReadOnlyStore, "read-only-store"),
        ("SQLITE_CANTOPEN", ReadOnlyStore, "read-only-store"),
        ("SQLITE_CORRUPT_INDEX", Corrupt, "catalog-damaged"),
        ("SQLITE_NOTADB", Corrupt, "catalog-damaged"),
        ("SQLITE_IOERR_FSYNC", Corrupt, "catalog-damaged"),
    ],
)
def test_what_sqlite_says_becomes_what_to_do(name: str, kind: type[ArtstoreError], code: str) -> None:
    """D6."""
    error: Any = sqlite3.OperationalError("it said")
    error.sqlite_errorname = name

    with pytest.raises(kind) as caught, sqlite_errors(Path("x.db")):
        raise error
    assert caught.value.code == code


def test_a_mistake_of_ours_is_not_called_damage(numbers: Connections) -> None:
    """Nobody should rebuild a healthy catalog because of a typing error in a query."""
    with pytest.raises(sqlite3.OperationalError):
        numbers.execute("SELEKT 1")


def test_a_lock_that_never_ends_is_a_conflict(numbers: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    other = Connections(numbers.path, read_only=False, wal=numbers.wal)
    with numbers.write(), pytest.raises(Conflict) as caught, other.write(patience_s=0.05):
        pass
    other.close()

    assert caught.value.code == "store-locked"
