"""Standing: what stands in a folder, or in one file, at a moment, to be read later as it was then, or not at all.

A look takes the stamp of every file and reads none of them. Who reads later, while others may write, compares: where a
file has another stamp by then, nothing is taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artstore.errors import NAMED, ArtstoreError, Conflict, Invalid
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.reports import Skipped
from artstore.lifecycle.scan import Found, Scan
from artstore.model.paths import quoted
from artstore.storage.stat_cache import Stamp, stamp_of

GRAIN_NS: Final = 20_000_000
"""Two changes of a file within this may leave the same time on it: Linux's clock for files goes in steps of 10 ms at
the most."""


class Standing:
    """The files below a folder, or the one that a file is, as they are when it is looked at."""

    def __init__(self, draft: Draft, source: Path) -> None:
        """Look, for what this draft is to hold; the draft stays its owner's to end. A file comes under its own name.

        Returns when every later change is sure to leave another time on a file, up to 20 ms after the last change.
        Where the times of a file system are coarser than that, as on FAT, a change within their grain that keeps the
        size cannot be told.

        Raises Invalid (not-a-folder, own-store, other-store, unkeepable, empty-draft) and Refused (unreadable).
        """
        self._draft = draft
        self._source = source
        self._is_file = source.is_file()
        if not self._is_file:
            draft.check_folder(source)
        began_ns = time.time_ns()
        problems: list[Skipped] = []
        self._stamps: dict[str, Stamp] = {}
        self.bytes = 0
        """Of all of it."""
        newest_ns = 0
        for path, status in self._look(problems):
            self._stamps[path] = stamp_of(status)
            self.bytes += status.st_size
            newest_ns = max(newest_ns, status.st_mtime_ns, status.st_ctime_ns)
        draft.settle_problems(problems, skip=False)
        if not self._stamps:
            message = f"{str(source)!r} holds no file to keep"
            raise Invalid(message, code="empty-draft")
        if newest_ns > began_ns - GRAIN_NS:
            time.sleep(GRAIN_NS / 1e9)

    def add(self) -> None:
        """Read what was there into the draft; files that came since are left out.

        Raises Conflict (file-changed) that names the files that were changed or removed since, and what
        `Draft.add_directory` and `Draft.add_file` raise; then the draft is to be given up.
        """
        try:
            if self._is_file:
                self._draft.add_file(self._source)
            else:
                self._draft.add_directory(self._source, select=self._was_there)
        except ArtstoreError as error:
            # A file that vanished, or was written while it was read, is named as what it is.
            self._check(error)
            raise
        self._check(None)

    def _was_there(self, found: Found, is_known: bool) -> bool:  # noqa: FBT001 - as Draft.add_directory asks
        del is_known
        return found.path in self._stamps

    def _check(self, cause: ArtstoreError | None) -> None:
        # What cannot be looked at is as good as not there: it was, and so it changed.
        now = {path: stamp_of(status) for path, status in self._look([])}
        changed = [path for path, stamp in self._stamps.items() if now.get(path) != stamp]
        if changed:
            named = ", ".join(map(quoted, changed[:NAMED]))
            more = f", and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            message = (
                f"{str(self._source)!r} changed before it was read, so nothing of it was kept: {named}{more}. Call "
                "wait() before it is written to again, or write under other names"
            )
            raise Conflict(message, code="file-changed") from cause

    def _look(self, problems: list[Skipped]) -> Iterator[tuple[str, os.stat_result]]:
        """Every file that is there now, by its path in the version; what cannot be kept is added to the problems."""
        scan = Scan(self._source, store=self._draft.root.path)
        alone = [(self._source.name, str(self._source))]
        for path, source in alone if self._is_file else ((found.path, found.source) for found in scan.files()):
            try:
                yield path, os.stat(source)
            except OSError as error:
                scan.problem(source, error.strerror or str(error))
        problems += scan.problems
