"""The driver: SQLite as this process calls it, and never in the middle of a fork.

SQLite has locks of its own for what all its connections share. Where one thread forks while another is inside SQLite, a
lock that the other holds stays locked in the child for ever, and the child hangs as soon as it opens a database. So
every call counts itself in while it lasts, and a fork waits until nobody is inside.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
import time
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final, ParamSpec, TypeVar

from artstore.forks import Turn, guard

P = ParamSpec("P")
R = TypeVar("R")

_PAUSE_S: Final = 0.000_2


def _module() -> Any:
    """The module that sqlite-utils works with too: pysqlite3 where there is a wheel of it, else the library's own."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("pysqlite3")
    return importlib.import_module("sqlite3")


sqlite3: Any = _module()


class _Inside:
    """Who is inside SQLite; nobody goes in while the process forks.

    Whoever goes in says so first and looks at the gate then, whoever forks shuts the gate first and looks who is in
    then: so one of the two sees the other, and neither takes a lock, of which there would be two for each row.
    """

    def __init__(self) -> None:
        self.calls: list[int] = []
        """The thread of each call. To put one in or to take one out is one step."""
        self.shut_by = 0
        """The thread that forks; 0 if none does."""
        # Held by that thread, in the child too.
        self._gate = threading.RLock()

    def wait_outside(self) -> None:
        """Return when nobody forks, or at once within a call that whoever forks waits for."""
        own = get_ident()
        while self.shut_by not in {0, own} and self.calls.count(own) == 1:
            self.calls.remove(own)
            try:
                with self._gate:
                    pass
            finally:
                self.calls.append(own)

    def shut(self) -> None:
        """Let nobody in, and return when all others have left: after SQLite's own patience at the latest."""
        self._gate.acquire()
        self.shut_by = own = get_ident()
        while any(caller != own for caller in tuple(self.calls)):
            time.sleep(_PAUSE_S)

    def open(self) -> None:
        """Go on, in either process."""
        self.shut_by = 0
        self._gate.release()


_inside: Final = _Inside()
_calls: Final = _inside.calls

guard(Turn.STORAGE, before=_inside.shut, in_parent=_inside.open, in_child=_inside.open)


def _counted(call: Callable[P, R]) -> Callable[P, R]:
    """The same call, which says that it is inside SQLite while it lasts."""

    @functools.wraps(call)
    def counted(*arguments: P.args, **options: P.kwargs) -> R:
        _calls.append(get_ident())
        try:
            if _inside.shut_by:
                _inside.wait_outside()
            return call(*arguments, **options)
        finally:
            _calls.remove(get_ident())

    return counted


class Cursor(sqlite3.Cursor):  # type: ignore[misc]  # Which module it is, is known only at run time.
    """A cursor whose calls are counted."""

    execute = _counted(sqlite3.Cursor.execute)
    executemany = _counted(sqlite3.Cursor.executemany)
    fetchone = _counted(sqlite3.Cursor.fetchone)
    fetchmany = _counted(sqlite3.Cursor.fetchmany)
    fetchall = _counted(sqlite3.Cursor.fetchall)
    __next__ = _counted(sqlite3.Cursor.__next__)
    close = _counted(sqlite3.Cursor.close)


class Connection(sqlite3.Connection):  # type: ignore[misc]  # As above.
    """A connection whose calls are counted. What it executes, its cursors do."""

    _cursor: Any = None

    def cursor(self, factory: Any = Cursor) -> Any:
        """See sqlite3."""
        return super().cursor(factory)

    @_counted
    def value(self, sql: str) -> Any:
        """The first value that a statement answers, asked with a cursor that is kept: for half of the time."""
        if self._cursor is None:
            self._cursor = sqlite3.Cursor(self)
        return self._cursor.execute(sql).fetchone()[0]

    commit = _counted(sqlite3.Connection.commit)
    rollback = _counted(sqlite3.Connection.rollback)
    backup = _counted(sqlite3.Connection.backup)
    close = _counted(sqlite3.Connection.close)


@_counted
def connect(database: str, **options: Any) -> Any:
    """A connection that any thread may use, and that begins no transaction by itself; options as in sqlite3."""
    return sqlite3.connect(database, factory=Connection, isolation_level=None, check_same_thread=False, **options)
