"""The driver: SQLite as this process calls it, and never in the middle of a fork.

SQLite has locks of its own for what all its connections share. Where one thread forks while another is inside SQLite, a
lock that the other holds stays locked in the child for ever, and the child hangs as soon as it opens a database. So
every call counts itself in while it lasts, and a fork waits until nobody is inside.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

from artstore.forks import Turn, guard

_PAUSE_S: Final = 0.000_2


def _module() -> Any:
    """The module that sqlite-utils works with too: pysqlite3 where there is a wheel of it, else the library's own."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("pysqlite3")
    return importlib.import_module("sqlite3")


sqlite3: Any = _module()


class _Inside:
    """How many calls are inside SQLite; none begins while the process forks."""

    def __init__(self) -> None:
        # A finalizer or a signal may call in the middle of a call of the same thread.
        self._gate = threading.RLock()
        # The thread of each. To put one in or to take one out is one step, so that who leaves needs no lock.
        self._calls: list[int] = []

    def __enter__(self) -> Self:
        with self._gate:
            self._calls.append(threading.get_ident())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._calls.remove(threading.get_ident())

    def wait_until_empty(self) -> None:
        """Let nobody in, and return when all others have left: after SQLite's own patience at the latest."""
        self._gate.acquire()
        own = threading.get_ident()
        while any(caller != own for caller in tuple(self._calls)):
            time.sleep(_PAUSE_S)

    def let_in(self) -> None:
        """Go on, in either process."""
        self._gate.release()


_inside: Final = _Inside()

guard(Turn.STORAGE, before=_inside.wait_until_empty, in_parent=_inside.let_in, in_child=_inside.let_in)


class Cursor(sqlite3.Cursor):  # type: ignore[misc]  # Which module it is, is known only at run time.
    """A cursor whose calls are counted."""

    def execute(self, *arguments: Any) -> Any:
        """See sqlite3."""
        with _inside:
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        """See sqlite3."""
        with _inside:
            return super().executemany(*arguments)

    def fetchone(self) -> Any:
        """See sqlite3."""
        with _inside:
            return super().fetchone()

    def fetchmany(self, *arguments: Any) -> Any:
        """See sqlite3."""
        with _inside:
            return super().fetchmany(*arguments)

    def fetchall(self) -> Any:
        """See sqlite3."""
        with _inside:
            return super().fetchall()

    def __next__(self) -> Any:
        with _inside:
            return super().__next__()

    def close(self) -> None:
        """See sqlite3."""
        with _inside:
            super().close()


class Connection(sqlite3.Connection):  # type: ignore[misc]  # As above.
    """A connection whose calls are counted. What it executes, its cursors do."""

    def cursor(self, factory: Any = Cursor) -> Any:
        """See sqlite3."""
        return super().cursor(factory)

    def commit(self) -> None:
        """See sqlite3."""
        with _inside:
            super().commit()

    def rollback(self) -> None:
        """See sqlite3."""
        with _inside:
            super().rollback()

    def backup(self, *arguments: Any, **options: Any) -> None:
        """See sqlite3."""
        with _inside:
            super().backup(*arguments, **options)

    def close(self) -> None:
        """See sqlite3."""
        with _inside:
            super().close()


def connect(database: str, **options: Any) -> Any:
    """A connection that any thread may use, and that begins no transaction by itself; options as in sqlite3."""
    with _inside:
        return sqlite3.connect(database, factory=Connection, isolation_level=None, check_same_thread=False, **options)
