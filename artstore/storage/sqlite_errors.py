"""SQLite's errors: what it says, as what a caller can do about it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from artstore.errors import ArtstoreError, Conflict, Corrupt, ReadOnlyStore, StorageFull
from artstore.storage.driver import sqlite3
from artstore.storage.files import storage_error
from artstore.storage.reserve import is_tight

if sys.platform != "win32":
    import resource

NOWHERE_TO_WRITE: Final = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR")
"""How the names begin of what it says where it can make no file."""
_TOO_LONG: Final = ("SQLITE_IOERR", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHMSIZE")
"""What a limit on the length of files is called."""
_WITHOUT_NAME: Final = {
    "database or disk is full": "SQLITE_FULL",
    "attempt to write a readonly database": "SQLITE_READONLY",
    "disk I/O error": "SQLITE_IOERR",
    "unable to open database file": "SQLITE_CANTOPEN",
}
"""What a backup says of its target: its errors have no names."""


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says into the error that a caller can act on."""
    try:
        yield
    except sqlite3.Error as error:
        found = typed(error, path)
        if found is None:
            raise
        raise found from error


def typed(error: Any, path: Path) -> ArtstoreError | None:
    """The error that a caller can act on; None for a mistake in a statement of ours."""
    name = getattr(error, "sqlite_errorname", "") or _WITHOUT_NAME.get(str(error), type(error).__name__)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        message = f"{str(path)!r} is locked by others, who are at work for long ({name}): repeat later"
        return Conflict(message, code="store-locked")
    if (full := _full(name, path)) is not None:
        return full
    if name.startswith("SQLITE_CANTOPEN") and (lack := _lack_of_handles()) is not None:
        return storage_error(lack, f"opening {str(path)!r}")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        message = f"{str(path)!r} cannot be opened or written ({name}: {error}): check its permissions"
        return ReadOnlyStore(message, code="read-only-store")
    if name == "SQLITE_ERROR" and "no such" not in str(error):
        return None
    message = f"{str(path)!r} is damaged ({name}: {error}). Run `artstore rebuild`: the log has everything that it held"
    return Corrupt(message, code="catalog-damaged")


def _full(name: str, path: Path) -> StorageFull | None:
    # SQLite calls it by other names where it lacks the space, or the inode, for its shared memory.
    if name.startswith("SQLITE_FULL") or (name.startswith(NOWHERE_TO_WRITE) and is_tight(path.parent)):
        message = f"no space left while writing {str(path)!r}: free some (`artstore gc --grace 0`) and repeat"
        return StorageFull(message, code="storage-full")
    if name in _TOO_LONG and (limit := _longest_file()) is not None:
        message = (
            f"a file here may have {limit:,} bytes at most (`ulimit -f`), and {str(path)!r}, or one beside it, needs "
            "more: raise the limit and repeat. Nothing that was stored is harmed"
        )
        return StorageFull(message, code="storage-full")
    return None


def _longest_file() -> int | None:
    """How long this process may make a file, in bytes; None where that is not limited."""
    if sys.platform == "win32":
        return None
    limit, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def _lack_of_handles() -> OSError | None:
    """What the system says where this process may open no more files."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error
    return None


def is_busy(error: Any) -> bool:
    """Whether others were at it: asked again it may do."""
    return (getattr(error, "sqlite_errorname", "") or "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
