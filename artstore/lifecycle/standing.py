"""Standing: what stands in a folder at a moment, to be read later as it was then, or not at all.

A look takes the stamp of every file and reads none of them. Who reads later, while others may write, compares: where a
file has another stamp by then, nothing is taken.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from artstore.errors import ArtstoreError, Conflict, Invalid
from artstore.lifecycle.draft import NAMED, Draft
from artstore.lifecycle.scan import Found, Scan
from artstore.model.paths import quoted
from artstore.storage.stat_cache import Stamp, stamp_of

GRAIN_NS: Final = 20_000_000
"""Two changes of a file within this may leave the same time on it: Linux's clock for files goes in steps of 10 ms at
the most."""


class Standing:
    """The files below a folder, as they are when it is looked at."""

    def __init__(self, draft: Draft, folder: Path) -> None:
        """Look, for what this draft is to hold; the draft stays its owner's to end.

        Returns when every later change is sure to leave another time on a file, up to 20 ms after the last change.
        Where the times of a file system are coarser than that, as on FAT, a change within their grain that keeps the
        size cannot be told.

        Raises Invalid (not-a-folder, own-store, unkeepable, empty-draft) and Refused (unreadable).
        """
        self._draft = draft
        self._folder = folder
        draft.check_folder(folder)
        began_ns = time.time_ns()
        scan = self._scan()
        self._stamps: dict[str, Stamp] = {}
        newest_ns = 0
        for found in scan.files():
            try:
                status = os.stat(found.source)
            except OSError as error:
                scan.problem(found.source, error.strerror or str(error))
                continue
            self._stamps[found.path] = stamp_of(status)
            newest_ns = max(newest_ns, status.st_mtime_ns, status.st_ctime_ns)
        draft.settle_problems(scan.problems, skip=False)
        if not self._stamps:
            message = f"{str(folder)!r} holds no file to keep"
            raise Invalid(message, code="empty-draft")
        if newest_ns > began_ns - GRAIN_NS:
            time.sleep(GRAIN_NS / 1e9)

    def add(self) -> None:
        """Read what was there into the draft; files that came since are left out.

        Raises Conflict (file-changed) that names the files that were changed or removed since, and what
        `Draft.add_directory` raises; then the draft is to be given up.
        """
        try:
            self._draft.add_directory(self._folder, select=self._was_there)
        except ArtstoreError as error:
            # A file that vanished, or was written while it was read, is named as what it is.
            self._check(error)
            raise
        self._check(None)

    def _was_there(self, found: Found, is_known: bool) -> bool:  # noqa: FBT001 - as Draft.add_directory asks
        del is_known
        return found.path in self._stamps

    def _check(self, cause: ArtstoreError | None) -> None:
        now: dict[str, Stamp] = {}
        for found in self._scan().files():
            try:
                now[found.path] = stamp_of(os.stat(found.source))
            except OSError:
                # As good as not there: it was, and so it changed.
                continue
        changed = [path for path, stamp in self._stamps.items() if now.get(path) != stamp]
        if changed:
            named = ", ".join(map(quoted, changed[:NAMED]))
            more = f", and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
            message = (
                f"{str(self._folder)!r} changed before it was read, so nothing of it was kept: {named}{more}. Wait for "
                "one save before the next one is written, or write under other names"
            )
            raise Conflict(message, code="file-changed") from cause

    def _scan(self) -> Scan:
        return Scan(self._folder, store=self._draft.root.path)
