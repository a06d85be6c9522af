"""The database file: SQLite opened so that it can be trusted.

Chose WAL with synchronous=FULL only where SQLite is free of the WAL-reset race and the file system is local, else the
rollback journal with EXTRA, because up to 3.51.2 the race loses acknowledged commits (sqlite.org/wal.html) and WAL
needs shared memory; look again when the standard library's SQLite is a fixed one everywhere. Every write begins with
BEGIN IMMEDIATE: a deferred one that turns into a write fails at once, whatever the busy timeout is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artstore.errors import ArtstoreError, Conflict, ReadOnlyStore, StorageFull
from artstore.storage.driver import connect, sqlite3
from artstore.storage.reserve import FOR_GC, is_tight, release
from artstore.storage.sqlite_errors import NOWHERE_TO_WRITE, is_busy, sqlite_errors, typed

if TYPE_CHECKING:
    from sqlite_utils import Database


BUSY_TIMEOUT_S: Final = 30.0
PATIENCE_S: Final = 120.0
"""How long a write waits for others before it gives up."""
RETRY_S: Final = 1.0
"""How long a file that could not be written is not tried again."""
CACHE_KIB: Final = 64_000
LOG_PAGES: Final = 250
"""Pages of the write-ahead log after which they go to where they belong: 1 MB."""
STREAMED: Final = 5_000
"""Rows that a query which may have a million answers at a time."""
_ROWS_AT_ONCE: Final = 500
_PARAMETERS: Final = 32_766
"""SQLite's own limit for one statement."""

Row = tuple[Any, ...]


def sqlite_version() -> tuple[int, int, int]:
    """The version of the SQLite library in use."""
    major, minor, patch = sqlite3.sqlite_version_info[:3]
    return int(major), int(minor), int(patch)


def is_wal_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the WAL-reset race: from 3.51.3 on, and the repaired 3.50 and 3.44."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


class Connections:
    """One connection for each thread and process to one database file."""

    def __init__(self, path: Path, *, read_only: bool, wal: bool, refusal: ArtstoreError | None = None) -> None:
        """Open nothing yet; `refusal` is what a writer is told of a file that is read only, where no right helps."""
        self.path = path
        self.read_only = read_only
        self.wal = wal
        self._local = threading.local()
        self._all: list[tuple[int, threading.Thread, Any]] = []
        self._memory: Any = None
        self._refusal = refusal
        self._refused_at = 0.0
        self._has_ended = False
        self.cache_kib = CACHE_KIB
        """Memory that a connection opened from now on may take for pages: many threads have it many times."""

    @property
    def connection(self) -> Any:
        """This thread's connection, opened when it is first asked for, and again after a fork."""
        if self._memory is not None:
            return self._memory
        if getattr(self._local, "pid", None) != os.getpid():
            # A connection must not be used, nor closed, on the other side of a fork: it is left alone.
            self._local.connection = self._open()
            self._local.pid = os.getpid()
            self._close_if(lambda pid, thread: pid == os.getpid() and not thread.is_alive())
            self._all.append((os.getpid(), threading.current_thread(), self._local.connection))
        return self._local.connection

    def database(self) -> Database:
        """This thread's connection with what sqlite-utils has for making and changing tables.

        Loaded only where that is done: it takes 60 ms, a third of what a small `put` does.
        """
        import sqlite_utils  # noqa: PLC0415

        return sqlite_utils.Database(self.connection, execute_plugins=False)

    def checked(self) -> contextlib.AbstractContextManager[None]:
        """Run statements on the connection itself, with its errors turned into ours."""
        return sqlite_errors(self.path)

    def execute(self, sql: str, parameters: tuple[Any, ...] | dict[str, Any] = ()) -> Any:
        """Run one statement on this thread's connection."""
        with sqlite_errors(self.path):
            return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Any) -> None:
        """Run one statement for each row."""
        with sqlite_errors(self.path):
            self.connection.executemany(sql, rows)

    def insert(self, into: str, rows: Sequence[Row], *, or_ignore: bool = False) -> int:
        """Insert rows into `table (columns)`, many with one statement; answers how many, which or_ignore may lessen.

        That is a third faster than executemany, which besides takes and gives the interpreter's lock for each row.
        Bytes are best given as bytearrays; see `bindable`.
        """
        if not rows:
            return 0
        inserted = 0
        width = len(rows[0])
        verb = "INSERT OR IGNORE INTO" if or_ignore else "INSERT INTO"
        row = f"({','.join('?' * width)})"
        at_once = min(_ROWS_AT_ONCE, _PARAMETERS // width)
        with sqlite_errors(self.path):
            for start in range(0, len(rows), at_once):
                some = rows[start : start + at_once]
                sql = f"{verb} {into} VALUES {','.join([row] * len(some))}"
                inserted += self.connection.execute(sql, list(chain.from_iterable(some))).rowcount
        return inserted

    def one(self, sql: str, parameters: tuple[Any, ...] = ()) -> Row | None:
        """The first row of a query."""
        with sqlite_errors(self.path):
            row: Row | None = self.connection.execute(sql, parameters).fetchone()
            return row

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Row]:
        """Every row of a query."""
        with sqlite_errors(self.path):
            found: list[Row] = self.connection.execute(sql, bindable(parameters)).fetchall()
            return found

    def stream(self, sql: str, parameters: tuple[Any, ...] = (), *, about: int = 0) -> Iterator[list[Row]]:
        """The rows of a query, some at a time; `about` so many are expected.

        What fits into one answer is fetched at once. A longer one has a connection of its own: a query that is still
        open keeps its state of the file, and nothing could be written on the same connection until it ends.
        """
        has_own = self._memory is not None or self.connection.in_transaction
        if has_own or about <= STREAMED:
            with sqlite_errors(self.path):
                cursor = self.connection.execute(sql, parameters)
                rows: list[Row] = cursor.fetchmany(STREAMED + 1)
            if has_own or len(rows) <= STREAMED:
                while rows:
                    yield rows
                    rows = cursor.fetchmany(STREAMED)
                return
            cursor.close()
        connection = self._open()
        try:
            with sqlite_errors(self.path):
                cursor = connection.execute(sql, parameters)
                while rows := cursor.fetchmany(STREAMED):
                    yield rows
        finally:
            connection.close()

    @contextlib.contextmanager
    def write(self, *, patience_s: float = PATIENCE_S) -> Iterator[Any]:
        """One short write transaction. Nested ones are part of the outer one.

        Raises Conflict (store-locked) where others are at it for longer than the patience; 0 does not wait at all.
        """
        if self._memory is None:
            self.check_writable()
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        with sqlite_errors(self.path):
            self._begin_immediate(connection, patience_s)
        try:
            with sqlite_errors(self.path):
                yield connection
        except BaseException:
            # Some errors of SQLite have rolled back already.
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            raise
        with sqlite_errors(self.path):
            try:
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.rollback()
                raise

    @contextlib.contextmanager
    def prepare(self) -> Iterator[Any]:
        """As `write`, for rows that do not count before a `write` that comes later.

        A power cut before that may undo it, whole and with all that came after it. In WAL mode it spares a sync of the
        disk for every few thousand rows: half of the time that they take.
        """
        connection = self.connection
        if not self.wal or self._memory is not None or connection.in_transaction:
            with self.write():
                yield connection
            return
        with sqlite_errors(self.path):
            connection.execute("PRAGMA synchronous=NORMAL")
        try:
            with self.write():
                yield connection
        finally:
            self._sync_again(connection)

    def _sync_again(self, connection: Any) -> None:
        try:
            connection.execute("PRAGMA synchronous=FULL")
        except sqlite3.Error:
            # Commits that count must not go by this connection: the next call of this thread opens another.
            del self._local.pid

    def settle(self) -> None:
        """Give back what the write-ahead log takes, where the file itself has room for it.

        Never fails, nor waits for who reads.
        """
        if not self.wal or not self.is_writable or self._memory is not None:
            return
        with contextlib.suppress(ArtstoreError, OSError, sqlite3.Error):
            connection = self.connection
            length = connection.value("PRAGMA page_count") * connection.value("PRAGMA page_size")
            grows = length - self.path.stat().st_size
            # Half done it would have taken space and given none.
            if grows <= 0 or grows < shutil.disk_usage(self.path.parent).free:
                with _without_patience(connection):
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """A part of a write transaction that is undone by itself where it fails, so that the rest may be kept."""
        self.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            # Some errors of SQLite have rolled back all of it already.
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK TO step")
            raise
        finally:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("RELEASE step")

    def state(self) -> tuple[object, ...]:
        """A value that is another one after whatever changed the file, compared within one thread. A few µs."""
        connection = self.connection
        try:
            version = connection.value("PRAGMA data_version")
        except sqlite3.Error as error:
            raise typed(error, self.path) or error from error
        return id(connection), version, connection.total_changes

    @property
    def is_writable(self) -> bool:
        """Whether `check_writable` would raise nothing."""
        return self._refusal is None and not self.read_only

    def check_writable(self) -> None:
        """Raise ReadOnlyStore (read-only-store), or what else kept the file from being written."""
        if self._refusal is not None:
            raise self._refusal
        if self.read_only:
            message = f"the store at {str(self.path.parent)!r} is read-only: open it where it can be written"
            raise ReadOnlyStore(message, code="read-only-store")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Any]:
        """Reads that all see the same state."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        with sqlite_errors(self.path):
            connection.execute("BEGIN")
        try:
            yield connection
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()

    def load_into_memory(self, refusal: ArtstoreError) -> None:
        """Go on with a copy in memory, which may be written although the file may not, for the reason given."""
        self._refusal, self._refused_at = refusal, time.monotonic()
        memory = connect(":memory:")
        with sqlite_errors(self.path):
            self.connection.backup(memory)
        self._memory = memory

    def check_open(self) -> None:
        """Raise Conflict (store-closed) after `end`."""
        if self._has_ended:
            message = f"the store at {str(self.path.parent)!r} was closed: open it again"
            raise Conflict(message, code="store-closed")

    def end(self) -> None:
        """Close every connection of this process, for good: what comes after raises Conflict (store-closed)."""
        self.close()
        self._memory = None
        self._has_ended = True

    def close(self) -> None:
        """Close every connection of this process; whoever asks for one gets another."""
        self._close_if(lambda pid, _thread: pid == os.getpid())
        self._all.clear()
        self._local = threading.local()

    def _close_if(self, is_over: Callable[[int, threading.Thread], bool]) -> None:
        # Without a lock, which a fork could leave locked for ever: who takes a connection out of the list closes it,
        # and each comes out once. Two threads that closed the same one would crash the process.
        for kept in tuple(self._all):
            pid, thread, connection = kept
            if is_over(pid, thread):
                try:
                    self._all.remove(kept)
                except ValueError:
                    continue
                connection.close()

    def reconsider(self, *, has_more_room: bool = False) -> bool:
        """Where the file could not be written for a while, go on with the file itself; answers whether that is so.

        With `has_more_room` also where the disk is still nearly full: some of the reserve was given up just now.

        A disk that was full for a moment may be described by any error: what SQLite said, and what was free when it was
        asked why. So every refusal is tried again, after a while or when the disk is not full any more.
        """
        if self.read_only or self._refusal is None or (is_tight(self.path.parent) and not has_more_room):
            return False
        if not isinstance(self._refusal, StorageFull) and time.monotonic() < self._refused_at + RETRY_S:
            return False
        self._refusal = self._memory = None
        self._local = threading.local()
        return True

    def _open(self) -> Any:
        self.check_open()
        try:
            return self._connect()
        except StorageFull as full:
            while release(self.path.parent, keep=FOR_GC):
                with contextlib.suppress(StorageFull):
                    return self._connect()
            # What is stored can be read all the same.
            self._refusal, self._refused_at = full, time.monotonic()
            return self._connect()

    def _connect(self) -> Any:
        with sqlite_errors(self.path):
            if self.read_only or self._refusal is not None:
                connection = self._connect_to_read()
            else:
                connection = connect(str(self.path), timeout=BUSY_TIMEOUT_S)
            try:
                self._configure(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _connect_to_read(self) -> Any:
        # With locks, since whoever may write the folder may be writing now: without them 4 of 10 opens beside a busy
        # writer found a torn file. Where nobody writes, a read-only folder has no place for the shared memory that WAL
        # needs, and `immutable` does without.
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        connection = connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if not getattr(error, "sqlite_errorname", "").startswith(NOWHERE_TO_WRITE):
                raise
            uri += "&immutable=1"
            connection = connect(uri, uri=True)
        return connection

    def _configure(self, connection: Any) -> None:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA mmap_size=0")
        connection.execute(f"PRAGMA cache_size=-{self.cache_kib}")
        connection.execute("PRAGMA temp_store=MEMORY")
        if self.read_only or self._refusal is not None:
            return
        mode, synchronous = ("wal", "FULL") if self.wal else ("delete", "EXTRA")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != mode:
            _patiently(lambda: connection.execute(f"PRAGMA journal_mode={mode}"))
        connection.execute(f"PRAGMA synchronous={synchronous}")
        if self.wal:
            connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")

    def _begin_immediate(self, connection: Any, patience_s: float) -> None:
        if patience_s:
            _patiently(lambda: connection.execute("BEGIN IMMEDIATE"), patience_s)
            return
        with _without_patience(connection):
            connection.execute("BEGIN IMMEDIATE")


def bindable(values: Iterable[object]) -> list[object]:
    """Many parameters in the form that SQLite's driver takes soonest.

    It looks for an adapter of whatever is not int, float, str or bytearray, each time anew: for a digest that takes as
    long as the rest of its row.
    """
    return [bytearray(value) if isinstance(value, bytes) else value for value in values]


@contextlib.contextmanager
def _without_patience(connection: Any) -> Iterator[None]:
    connection.execute("PRAGMA busy_timeout=0")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}")


def _patiently(begin: Any, patience_s: float = PATIENCE_S) -> None:
    # SQLite's own timeout gives no fairness: with many writers one can starve past it, so it is asked again.
    until = time.monotonic() + patience_s
    while True:
        try:
            begin()
        except sqlite3.OperationalError as error:
            if time.monotonic() > until or not is_busy(error):
                raise
            time.sleep((1 + os.urandom(1)[0] % 20) / 1000)
        else:
            return
