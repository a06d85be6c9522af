"""Transactions: what is written in one `fs.transaction` becomes one version of each collection."""

from __future__ import annotations

import threading
from typing import Any

from fsspec.transaction import Transaction

from artstore.errors import Conflict


class Together(Transaction):  # type: ignore[misc]  # fsspec has no types.
    """What is written in one `fs.transaction` becomes one version of each collection.

    One that is begun within another is part of it: all is kept when the outermost ends well, and nothing if any failed.
    """

    fs: Any
    files: Any

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self._depth = 0
        self._thread = 0
        self._is_failed = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # The inherited one would end the outermost as well.
        self.complete(commit=kind is None)

    def start(self) -> None:
        """Begin, or go on with, the transaction of this thread. Raises Conflict (transaction-open)."""
        if self._depth and self._thread != threading.get_ident():
            message = (
                "another thread has begun a transaction of this file system, and would commit what this one has half "
                "done: write in the one that is open, or use a file system with skip_instance_cache=True"
            )
            raise Conflict(message, code="transaction-open")
        if not self._depth:
            super().start()
            self._thread = threading.get_ident()
        self._depth += 1

    def complete(self, commit: bool = True) -> None:  # noqa: FBT001, FBT002  # fsspec's own signature.
        """Commit, or forget. Raises Conflict (transaction-failed) where one within it failed, and nobody was told."""
        self._depth -= 1
        self._is_failed = self._is_failed or not commit
        if self._depth > 0:
            return
        fs: Any = self.fs
        is_good = not self._is_failed
        try:
            for file in self.files:
                file.commit() if is_good else file.discard()
            if is_good:
                fs.commit_changes()
        finally:
            for file in self.files:
                file.discard()
            self.files.clear()
            fs.discard_changes()
            fs._intrans = False  # noqa: SLF001  # So does fsspec's.
            fs._transaction = None  # noqa: SLF001
            self.fs = None
        if commit and not is_good:
            message = "a transaction within this one failed, so nothing of either was kept: repeat all of it"
            raise Conflict(message, code="transaction-failed")
