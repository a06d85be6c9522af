"""Granted: which blobs each project may ask a server for, in a database of its own, `granted.db`.

A project was granted what a version of it names, and what was sent for it. What no version names any more it can ask
for no longer, sooner or later; it still counts among the bytes that the project takes, until `gc` may have freed it.
When that is depends on this project alone, whatever others have: nobody learns through one project what another one
has. The file can be lost: the manifests of a project's versions say it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from artstore.model.digest import Digest
from artstore.storage.database import Connections, is_wal_safe, sqlite_version
from artstore.storage.mounts import has_small_blocks

FILE_NAME: Final = "granted.db"
_LOOKUP: Final = 5_000
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS granted (project TEXT NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL,
    sent INTEGER, ended INTEGER, PRIMARY KEY (project, digest)) WITHOUT ROWID
"""
"""`sent` is in UTC seconds, and NULL once a version has named it; `ended` is the epoch of `gc` since which it cannot be
asked for, and NULL while it can."""
_ADD: Final = """
INSERT INTO granted (project, digest, size, sent) VALUES (?, ?, ?, ?)
ON CONFLICT (project, digest) DO UPDATE SET ended = NULL, sent = excluded.sent
"""


class Granted(Connections):
    """What projects may ask for."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        wal = is_wal_safe(sqlite_version()) and not has_small_blocks(folder)
        super().__init__(folder / FILE_NAME, read_only=read_only, wal=wal)
        if not read_only:
            with self.write():
                self.execute(_TABLE)

    def add(self, project: str, blobs: Iterable[tuple[Digest, int]], *, sent: float | None = None) -> None:
        """Grant blobs, each with its size, to a project: what was `sent`, in UTC seconds, or what a version names."""
        rest = iter(blobs)
        at = None if sent is None else int(sent)
        while some := [(project, bytearray(digest), size, at) for digest, size in islice(rest, _LOOKUP)]:
            with self.write():
                self.executemany(_ADD, some)

    def note_named(self, project: str, digests: Iterable[Digest]) -> None:
        """Note that a version names some of what was sent."""
        rest = iter(digests)
        while some := [(project, bytearray(digest)) for digest in islice(rest, _LOOKUP)]:
            with self.write():
                self.executemany(
                    "UPDATE granted SET sent = NULL WHERE project = ? AND digest = ? AND sent IS NOT NULL", some
                )

    def among(self, project: str, digests: Sequence[Digest]) -> set[bytes]:
        """Those of some blobs that a project was granted."""
        found: set[bytes] = set()
        for start in range(0, len(digests), _LOOKUP):
            some = digests[start : start + _LOOKUP]
            marks = ",".join("?" * len(some))
            sql = f"SELECT digest FROM granted WHERE project = ? AND digest IN ({marks}) AND ended IS NULL"
            found.update(digest for (digest,) in self.rows(sql, (project, *some)))
        return found

    def all_of(self, project: str) -> Iterator[list[Digest]]:
        """All that a project can ask for, in portions."""
        last = b""
        while some := self.rows(
            "SELECT digest FROM granted WHERE project = ? AND digest > ? AND ended IS NULL ORDER BY digest LIMIT ?",
            (project, last, _LOOKUP),
        ):
            yield [Digest(digest) for (digest,) in some]
            last = some[-1][0]

    def withdraw(
        self, project: str, digests: Sequence[Digest], epoch: int, *, now: int, sent_after: float, sent_before: float
    ) -> None:
        """Let a project ask no more for some blobs, of one portion, but for what was sent between two times.

        That is from an epoch on; of what was sent, and no version has named, from that of `now` on.
        """
        with self.write():
            marks = ",".join("?" * len(digests))
            self.execute(
                "UPDATE granted SET ended = CASE WHEN sent IS NULL THEN ? ELSE ? END "
                f"WHERE project = ? AND digest IN ({marks}) AND coalesce(sent, 0) NOT BETWEEN ? AND ?",
                (epoch, now, project, *digests, int(sent_after), int(sent_before)),
            )

    def forget(self, project: str, epoch: int) -> None:
        """Count no more what ended before an epoch."""
        with self.write():
            self.execute("DELETE FROM granted WHERE project = ? AND ended < ?", (project, epoch))

    def projects(self) -> list[str]:
        """The projects that were granted something."""
        return [project for (project,) in self.rows("SELECT DISTINCT project FROM granted")]

    def size(self, project: str) -> int:
        """The bytes of all that a project was granted and that may not be freed yet."""
        row = self.one("SELECT coalesce(sum(size), 0) FROM granted WHERE project = ?", (project,))
        assert row is not None
        return int(row[0])
