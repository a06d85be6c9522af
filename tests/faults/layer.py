"""The layer: every call of a process into the file system or the database of one store, seen before and after.

It takes the place of functions of `os`, of `io.open` and of SQLite's connection in this process: install it in a child.
Calls on paths and descriptors outside of the store pass unseen. SQLite's own calls are seen as statements; what is
below them is for `strace` and the power cut.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from artstore.storage import driver

BY_PATH: Final = ("open", "unlink", "mkdir", "rmdir", "listdir", "scandir", "stat", "lstat", "chmod")
BY_TWO_PATHS: Final = ("link", "replace", "rename")
BY_DESCRIPTOR: Final = (
    *(
        "write",
        "pwritev",
        "fsync",
        "fdatasync",
        "ftruncate",
        "fchmod",
        "read",
        "readv",
        "pread",
        "preadv",
        "fstat",
        "lseek",
    ),
)
MOVES: Final = frozenset({"write", "pwritev", "read", "readv", "pread", "preadv"})
"""Calls that may move only a part of what they were asked to."""
CHANGES: Final = frozenset(
    {
        *("create", "unlink", "mkdir", "rmdir", "link", "replace", "rename", "write", "pwritev", "fsync", "fdatasync"),
        *("ftruncate", "fchmod", "chmod", "statement", "commit"),
    },
)
"""Calls after which the disk may hold something else."""

_DESCRIPTORS: Final = Path("/proc/self/fd")


class Call(NamedTuple):
    """One call."""

    name: str
    path: str
    """Relative to the store; of a link or a rename the new name."""
    sql: str = ""
    source: str | None = None
    """Of a link or a rename the old name, if it is in the store too."""


Hook = Callable[[Call], object]
"""What it answers matters before a read or a write alone: if it is true, the call takes or gives only a part."""


class Layer:
    """Calls a hook before and one after each call on a store; what the first raises is the call's failure."""

    def __init__(self, store: Path, before: Hook, after: Hook) -> None:
        self._prefix = str(store) + os.sep
        self._store = str(store)
        self._before = before
        self._after = after
        self._readlink = os.readlink
        self._originals = {name: getattr(os, name) for name in (*BY_PATH, *BY_TWO_PATHS, *BY_DESCRIPTOR)}
        self._open = io.open
        self._connection_class = driver.Connection

    def install(self) -> None:
        """Begin to see."""
        for name in BY_PATH:
            setattr(os, name, self._wrapped(name, 0, "dir_fd"))
        for name in BY_TWO_PATHS:
            setattr(os, name, self._wrapped(name, 1, "dst_dir_fd"))
        for name in BY_DESCRIPTOR:
            setattr(os, name, self._wrapped(name, 0, ""))
        io.open = self._opening
        driver.Connection = self._connection()  # type: ignore[misc]

    def remove(self) -> None:
        """See no more; connections that were opened meanwhile still do."""
        for name, original in self._originals.items():
            setattr(os, name, original)
        io.open = self._open
        driver.Connection = self._connection_class  # type: ignore[misc]

    def _inside(self, what: Any, folder: Any = None) -> str | None:
        """The path of what a call is about, relative to the store, if it is in there."""
        if isinstance(what, int):
            try:
                path = self._readlink(f"/proc/self/fd/{what}")
            except OSError:
                return None
        else:
            path = os.fspath(what)
            if isinstance(path, bytes):
                path = os.fsdecode(path)
            if folder is not None:
                path = f"{self._readlink(f'/proc/self/fd/{folder}')}/{path}"
        if path == self._store:
            return "."
        return path[len(self._prefix) :] if path.startswith(self._prefix) else None

    def _wrapped(self, name: str, index: int, folder: str) -> Callable[..., Any]:
        original = self._originals[name]

        @functools.wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            path = self._inside(arguments[index], named.get(folder)) if len(arguments) > index else None
            if path is None:
                return original(*arguments, **named)
            source = self._inside(arguments[0], named.get("src_dir_fd")) if index else None
            seen = Call(_kind(name, arguments), path, source=source)
            is_short = self._before(seen)
            result = original(*(_shortened(name, arguments) if is_short else arguments), **named)
            self._after(seen)
            return result

        return call

    def _opening(self, file: Any, *arguments: Any, **named: Any) -> Any:
        path = self._inside(file)
        if path is None:
            return self._open(file, *arguments, **named)
        mode = arguments[0] if arguments else named.get("mode", "r")
        seen = Call("open" if set(mode) <= set("rbt") else "create", path)
        self._before(seen)
        opened = self._open(file, *arguments, **named)
        self._after(seen)
        return opened

    def _connection(self) -> type[driver.Connection]:
        layer = self

        class Seen(driver.Connection):
            """A connection whose statements are seen."""

            def __init__(self, path: str, *arguments: Any, **named: Any) -> None:
                super().__init__(path, *arguments, **named)
                self._is_seen = layer._inside(path.removeprefix("file://").partition("?")[0]) is not None

            def execute(self, sql: str, *arguments: Any) -> Any:
                seen = Call(
                    "commit" if sql == "COMMIT" else "statement" if _changes(sql) else "query", "catalog.db", sql
                )
                if not self._is_seen:
                    return super().execute(sql, *arguments)
                layer._before(seen)
                result = super().execute(sql, *arguments)
                layer._after(seen)
                return result

            def executemany(self, sql: str, rows: Any) -> Any:
                seen = Call("statement", "catalog.db", sql)
                if not self._is_seen:
                    return super().executemany(sql, rows)
                layer._before(seen)
                result = super().executemany(sql, rows)
                layer._after(seen)
                return result

        return Seen


def _kind(name: str, arguments: tuple[Any, ...]) -> str:
    if name == "open" and len(arguments) > 1 and arguments[1] & os.O_CREAT:
        return "create"
    return name


def _shortened(name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a call that moves about half of what was asked for, at least one byte."""
    if name == "write":
        return arguments[0], memoryview(arguments[1])[: max(1, len(arguments[1]) // 2)]
    if name in {"pwritev", "readv", "preadv"}:
        first = memoryview(next(part for part in arguments[1] if len(part)))
        return arguments[0], [first[: max(1, len(first) // 2)]], *arguments[2:]
    if name in {"read", "pread"}:
        return arguments[0], max(1, arguments[1] // 2), *arguments[2:]
    return arguments


def _changes(sql: str) -> bool:
    return not sql.lstrip().startswith(("SELECT", "WITH", "PRAGMA"))
