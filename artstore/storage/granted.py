"""Granted: which blobs each project may ask a server for, in a database of its own, `granted.db`.

A project was granted what a version of it names, and what was sent for it, until no version names that any more and it
was freed. Nobody learns through one project what another one has. The file can be lost: the manifests of a project's
versions say it again.
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
    PRIMARY KEY (project, digest)) WITHOUT ROWID
"""


class Granted(Connections):
    """What projects may ask for."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        wal = is_wal_safe(sqlite_version()) and not has_small_blocks(folder)
        super().__init__(folder / FILE_NAME, read_only=read_only, wal=wal)
        if not read_only:
            with self.write():
                self.execute(_TABLE)

    def add(self, project: str, blobs: Iterable[tuple[Digest, int]]) -> None:
        """Grant blobs, each with its size, to a project."""
        rest = iter(blobs)
        while some := [(project, bytearray(digest), size) for digest, size in islice(rest, _LOOKUP)]:
            with self.write():
                self.insert("granted (project, digest, size)", some, or_ignore=True)

    def among(self, project: str, digests: Sequence[Digest]) -> set[bytes]:
        """Those of some blobs that a project was granted."""
        found: set[bytes] = set()
        for start in range(0, len(digests), _LOOKUP):
            some = digests[start : start + _LOOKUP]
            sql = f"SELECT digest FROM granted WHERE project = ? AND digest IN ({','.join('?' * len(some))})"
            found.update(digest for (digest,) in self.rows(sql, (project, *some)))
        return found

    def all_of(self, project: str) -> Iterator[list[Digest]]:
        """All that a project was granted, in portions."""
        last = b""
        while some := self.rows(
            "SELECT digest FROM granted WHERE project = ? AND digest > ? ORDER BY digest LIMIT ?",
            (project, last, _LOOKUP),
        ):
            yield [Digest(digest) for (digest,) in some]
            last = some[-1][0]

    def among_others(self, project: str, digests: Sequence[Digest]) -> set[bytes]:
        """Those of some blobs, of one portion, that another project was granted too."""
        marks = ",".join("?" * len(digests))
        sql = f"SELECT DISTINCT digest FROM granted WHERE digest IN ({marks}) AND project != ?"
        return {digest for (digest,) in self.rows(sql, (*digests, project))}

    def remove(self, project: str, digests: Sequence[Digest]) -> None:
        """Let a project ask no more for some blobs, of one portion."""
        with self.write():
            marks = ",".join("?" * len(digests))
            self.execute(f"DELETE FROM granted WHERE project = ? AND digest IN ({marks})", (project, *digests))

    def projects(self) -> list[str]:
        """The projects that were granted something."""
        return [project for (project,) in self.rows("SELECT DISTINCT project FROM granted")]

    def size(self, project: str) -> int:
        """The bytes of all that a project was granted."""
        row = self.one("SELECT coalesce(sum(size), 0) FROM granted WHERE project = ?", (project,))
        assert row is not None
        return int(row[0])
