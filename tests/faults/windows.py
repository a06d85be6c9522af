"""Windows: in the middle of what a kill has come, by what it left.

Looks at the files of a store that nobody has opened since, and at a copy of its catalog, so looking changes nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from artstore.storage.driver import sqlite3
from artstore.storage.oplog import LogFile, OpLog, read
from tests.faults.equipment import memory

PACK_WITHOUT_OP: Final = "pack linked, no op"
OP_WITHOUT_COMMIT: Final = "op linked, no COMMIT"
SEGMENT_AND_SINGLES: Final = "segment published, not unlinked"
REPACK: Final = "in a repack"
REBUILD: Final = "in a rebuild"
NAMED: Final = (PACK_WITHOUT_OP, OP_WITHOUT_COMMIT, SEGMENT_AND_SINGLES, REPACK, REBUILD)
"""Those that have to be hit."""

_TWICE: Final = (
    "SELECT 1 FROM stored a JOIN stored b ON a.blob = b.blob AND a.pack <> b.pack JOIN pack ON pack.id = a.pack "
    "WHERE pack.name LIKE ? LIMIT 1"
)


class Windows:
    """Counts windows in one store; what several looks find is counted once."""

    def __init__(self, store: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store
        self._seen: set[tuple[str, str]] = set()
        self._named: dict[Path, list[str]] = {}

    def look(self, deaths: list[str]) -> None:
        """Count what the kills just now have left; `deaths` is what the killed had to say."""
        store = self._store
        if not (store / "format.json").exists():
            self.counts["in an init"] += 1
            return
        dead = _dead_sessions(store)
        with tempfile.TemporaryDirectory(prefix="artstore-look-", dir=memory()) as folder:
            for name in ("catalog.db", "catalog.db-wal"):
                if (store / name).exists():
                    shutil.copy(store / name, folder)
            connection = sqlite3.connect(Path(folder, "catalog.db"))
            try:
                self._look(store, connection, dead)
            finally:
                connection.close()
        for death in deaths:
            self.counts[REBUILD] += death == "rebuild"

    def _count(self, name: str, what: object) -> None:
        key = (name, str(what))
        self.counts[name] += key not in self._seen
        self._seen.add(key)

    def _look(self, store: Path, connection: Any, dead: dict[str, str]) -> None:
        log = OpLog(store)
        seqs = dict(connection.execute("SELECT name, seq FROM project").fetchall())
        named: set[str] = set()
        for project in log.projects():
            files = log.all_files(project)
            for file in files:
                named.update(self._packs_of(file))
            standing = {file.path for file in log.files(project)}
            if len(standing) < len(files):
                self._count(SEGMENT_AND_SINGLES, max(file.last for file in files if file.path not in standing))
            if log.last(project) > seqs.get(project, 0):
                self._count(OP_WITHOUT_COMMIT, log.last(project))
        rows = {name for (name,) in connection.execute("SELECT name FROM pack")}
        packs = {path.name for path in (store / "packs").iterdir()}
        for id_, verb in dead.items():
            own = {name for name in packs if name.startswith(id_)}
            if verb == "put" and own - named:
                self._count(PACK_WITHOUT_OP, id_)
                if own - named - rows:
                    self._count("pack linked, no row", id_)
            elif verb == "gc":
                began = any((store / "tmp" / id_).glob("*.tar")) or bool(own - rows)
                if began or connection.execute(_TWICE, (f"{id_}-%",)).fetchone():
                    self._count(REPACK, id_)

    def _packs_of(self, file: LogFile) -> list[str]:
        if file.path not in self._named:
            self._named[file.path] = read(file.path).attachments.packs
        return self._named[file.path]


def _dead_sessions(store: Path) -> dict[str, str]:
    """What the sessions did that nobody has cleared away: verb by id."""
    found: dict[str, str] = {}
    for path in (store / "locks").glob("[0-9]*-*"):
        try:
            about = json.loads(path.read_bytes())
        except ValueError:
            about = {}
        found[path.name.partition("-")[2]] = about.get("verb", "begin")
    return found
