"""A catalog whose COMMIT fails after the log's file was linked, as on a disk that is full for a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artstore.storage import driver


class Stumbling:
    """Lets the catalog's COMMIT fail while there are more files in the log than when it was told to."""

    def __init__(self, ops: Path) -> None:
        self._ops = ops
        self._linked: int | None = None
        self.failed = 0
        self.error = "SQLITE_FULL"

    def begin(self) -> None:
        """From the next link on."""
        self._linked = self._count()

    def end(self) -> None:
        """All is well again."""
        self._linked = None

    def check(self, sql: str) -> None:
        """Raise what SQLite raises."""
        if sql == "COMMIT" and self._linked is not None and self._count() > self._linked:
            self.failed += 1
            failure: Any = driver.sqlite3.OperationalError("let fail")
            failure.sqlite_errorname = self.error
            raise failure

    def _count(self) -> int:
        return sum(path.is_file() for path in self._ops.rglob("*"))


def let_stumble(store: Path, monkeypatch: pytest.MonkeyPatch) -> Stumbling:
    """Give the catalogs that are opened from now on a COMMIT that may fail, for what happens in this store."""
    how = Stumbling(store / "ops")

    class Connection(driver.Connection):
        """SQLite's own, but for that."""

        def execute(self, sql: str, *arguments: Any) -> Any:
            how.check(sql)
            return super().execute(sql, *arguments)

    monkeypatch.setattr(driver, "Connection", Connection)
    return how
