"""Marking: which rows nothing needs any more.

A manifest is live while a version that is neither deleted nor forgotten here, or a part that nobody has gathered yet,
names it. One that another store has deleted is hidden, and its bytes are kept until somebody here lets them go.
Condemning tells new sessions not to rely on something; it is never wrong, only wasteful, since what is needed again is
acquitted before anything is freed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from artstore.model.digest import Digest
from artstore.model.fold import NEEDED
from artstore.storage.blob_index import WHOLE
from artstore.storage.database import Connections
from artstore.storage.manifests import BLOBS_OF

BATCH: Final = 5_000

_OF_VERSIONS: Final = "SELECT manifest FROM version WHERE deleted = 0 AND id NOT IN (SELECT version FROM forgotten)"
_OF_PARTS: Final = "SELECT manifest FROM part"
_RECEIVED: Final = " AND id NOT IN (SELECT version FROM received)"
_ENDED: Final = """json_each(coalesce(json_extract(CAST(op.body AS TEXT), '$.versions'),
    json_array(json_extract(CAST(op.body AS TEXT), '$.version')))) AS ended"""
_WAITING_TO_END: Final = f"slot IS NULL AND dismissed = 0 AND void IS NOT '{NEEDED}'"
_OF_REFUSED: Final = f"""
SELECT manifest FROM op WHERE void IS NOT NULL AND slot IS NULL AND dismissed = 0 AND manifest IS NOT NULL
AND (project, version) NOT IN (SELECT project, version FROM forgotten)
AND (project, version) NOT IN (
    SELECT op.project, ended.value FROM op CROSS JOIN {_ENDED}
    WHERE op.kind IN ('delete', 'delete-collection') AND {_WAITING_TO_END})
AND (project, coalesce(json_extract(CAST(body AS TEXT), '$.record.collection'), '')) NOT IN (
    SELECT project, json_extract(CAST(body AS TEXT), '$.collection') FROM op
    WHERE kind = 'delete-collection' AND {_WAITING_TO_END})
"""
"""What was committed here and has no place in the upstream's order waits for somebody to say what becomes of it, unless
its own end waits with it, or it is not wanted here. An end that others have made void is still to be decided itself."""
_MADE_HERE: Final = " AND (op.project, op.id) IN (SELECT project, op FROM line)"
"""What only came with the log of an upstream before has no transaction here."""
_OF_RELOGS: Final = """
SELECT manifest FROM op WHERE kind = 'relog' AND slot IS NULL AND dismissed = 0
AND (project IN (SELECT id FROM project WHERE upstream IS NOT NULL) OR EXISTS (
    SELECT 1 FROM (SELECT project, version FROM forgotten UNION ALL SELECT project, version FROM received) AS theirs
    WHERE theirs.project = op.project AND theirs.version = json_extract(CAST(op.body AS TEXT), '$.target')))"""
"""Content that was put again and waits for its place: where somebody else has deleted the version by then, it is one of
its own, and nobody else may have its bytes. A log that is followed no more may have told others of that version too."""
_OF_ENDS: Final = f"""
SELECT version.manifest FROM op
CROSS JOIN {_ENDED}
CROSS JOIN version ON version.project = op.project AND version.id = ended.value
    AND version.id NOT IN (SELECT version FROM forgotten)
WHERE op.kind IN ('delete', 'delete-collection') AND op.slot IS NULL AND op.dismissed = 0 AND op.void IS NULL
AND op.project IN (SELECT id FROM project WHERE upstream IS NOT NULL)
AND json_extract(CAST(op.body AS TEXT), '$.forced') = 0"""
"""What was deleted for all, and not by force, comes back where others need it by the time that its end is accepted."""
_OF_ACCEPTED_ENDS: Final = f"""{_OF_ENDS}
AND EXISTS (SELECT 1 FROM op AS made
    WHERE made.project = op.project AND made.version = ended.value AND +made.slot IS NOT NULL)"""
"""Of these, what others see until then."""
_OF_GATHERED: Final = """
SELECT part.manifest FROM op CROSS JOIN json_each(CAST(op.body AS TEXT), '$.parts') AS gathered
CROSS JOIN op AS part ON part.project = op.project AND part.id = gathered.value
WHERE op.kind IN ('commit', 'relog') AND op.slot IS NULL AND op.dismissed = 0 AND op.void IS NULL
AND op.project IN (SELECT id FROM project WHERE upstream IS NOT NULL)"""
"""What waits may turn out to have gathered its parts too late: those that nobody else has gathered are there again.
Only `gc` keeps them so: where there was no upstream yet it has freed some, and nothing is lacking."""
_LIVE: Final = (
    f"{_OF_VERSIONS} UNION ALL {_OF_PARTS} UNION ALL {_OF_REFUSED} UNION ALL {_OF_RELOGS} UNION ALL {_OF_ACCEPTED_ENDS}"
)
_HIDDEN: Final = """
FROM version WHERE deleted = 1 AND id NOT IN (SELECT version FROM forgotten)
AND (project, id) NOT IN (
    SELECT project, json_extract(CAST(body AS TEXT), '$.version') FROM op
    WHERE kind = 'delete' AND dismissed = 0 AND json_extract(CAST(body AS TEXT), '$.store') = '{store}')
AND (project, id) NOT IN (
    SELECT project, ended.value FROM op, json_each(CAST(body AS TEXT), '$.versions') AS ended
    WHERE kind = 'delete-collection' AND dismissed = 0 AND json_extract(CAST(body AS TEXT), '$.store') = '{store}')
AND (project NOT IN ({keeping}) OR id NOT IN (SELECT version FROM received))
AND EXISTS (
    WITH RECURSIVE chain (id) AS (
        SELECT id FROM manifest WHERE digest = version.manifest
        UNION SELECT below.base FROM manifest AS below JOIN chain ON below.id = chain.id WHERE below.base IS NOT NULL)
    SELECT 1 FROM chain JOIN entry ON entry.manifest = chain.id JOIN stored ON stored.blob = entry.blob)"""
"""Versions of which something is here, and whose end was decided elsewhere."""


# Temporary tables, of this connection alone: the live manifests, and the blobs that they need.
_TEMPORARY: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS live (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE IF NOT EXISTS needed (blob INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE IF NOT EXISTS needed_before (blob INTEGER PRIMARY KEY)",
    "DELETE FROM live",
    "DELETE FROM needed",
)


class Orphan(NamedTuple):
    """A live manifest whose base is not live."""

    id: int
    digest: Digest
    base: int


class PackUse(NamedTuple):
    """How much of a pack is still needed."""

    id: int
    name: str
    size: int
    live_blobs: int
    live_bytes: int


class Freed(NamedTuple):
    """A blob that is no longer in the catalog."""

    digest: Digest
    size: int
    was_whole: bool


class Hiding(NamedTuple):
    """Where the ends of versions come from that `gc` frees."""

    store: str
    """Id of this store: what it has deleted itself is freed."""
    keeping: Sequence[int]
    """Projects whose log others write to in this store: what they have brought, they may take away."""


class Hidden(NamedTuple):
    """A version that was deleted elsewhere, and has bytes here that no other version needs."""

    project: str
    collection: str
    number: int

    @property
    def name(self) -> str:
        """As `zoo/cats:v3`."""
        return f"{self.project}/{self.collection}:v{self.number}"


class Marking:
    """What `gc` asks of the catalog."""

    def __init__(self, catalog: Connections, hiding: Hiding | None = None) -> None:
        """With `hiding`, what was deleted elsewhere is kept."""
        self._catalog = catalog
        self._hidden = None
        kept = f"{_LIVE} UNION ALL {_OF_ENDS} UNION ALL {_OF_GATHERED}"
        if hiding is not None:
            keeping = ",".join(map(str, hiding.keeping))
            self._hidden = _HIDDEN.format(store=hiding.store.replace("'", "''"), keeping=keeping)
            kept += f" UNION ALL SELECT manifest {self._hidden}"
        self._kept = kept
        self._kept_manifests = (
            f"SELECT max(id) FROM manifest WHERE digest IN ({kept}) AND condemned IS NULL GROUP BY digest"
        )
        self._needed_blobs = f"SELECT blob FROM entry WHERE blob IS NOT NULL AND manifest IN ({self._kept_manifests})"

    def hidden(self) -> tuple[list[Hidden], int]:
        """What was deleted elsewhere and is kept, and the bytes that are here for that alone."""
        with self._catalog.snapshot():
            rows = self._hidden_rows()
            if not rows:
                return [], 0
            self._find_needed()
            self._catalog.execute("DELETE FROM needed_before")
            found: list[Hidden] = []
            alone = (
                f"FROM ({BLOBS_OF}) WHERE blob NOT IN (SELECT blob FROM needed) AND blob IN (SELECT blob FROM stored)"
            )
            for hidden, manifest in rows:
                if self._catalog.one(f"SELECT 1 {alone} LIMIT 1", (manifest,)) is not None:
                    found.append(hidden)
                    self._catalog.execute(f"INSERT OR IGNORE INTO needed_before SELECT blob {alone}", (manifest,))
            row = self._catalog.one(
                "SELECT coalesce(sum(size), 0) FROM blob WHERE id IN (SELECT blob FROM needed_before)",
            )
        assert row is not None
        return found, int(row[0])

    def hidden_ids(self) -> list[tuple[str, str]]:
        """All that was deleted elsewhere and is kept: its project, and its id."""
        sql = "SELECT project.name, version.id FROM version JOIN project ON project.id = version.project WHERE "
        sql += f"(version.project, version.id) IN (SELECT project, id {self._hidden}) ORDER BY 1, 2"
        return [] if self._hidden is None else [(project, id_) for project, id_ in self._catalog.rows(sql)]

    def hidden_with(self, digests: Sequence[Digest]) -> list[Hidden]:
        """What was deleted elsewhere and is kept, as far as it has one of some blobs."""
        if not digests:
            return []
        with self._catalog.snapshot():
            self._empty()
            self._catalog.execute("DELETE FROM needed_before")
            self._catalog.executemany(
                "INSERT OR IGNORE INTO needed_before SELECT id FROM blob WHERE digest = ?",
                [(digest,) for digest in digests],
            )
            sql = f"SELECT 1 FROM ({BLOBS_OF}) WHERE blob IN (SELECT blob FROM needed_before) LIMIT 1"
            return [hidden for hidden, row in self._hidden_rows() if self._catalog.one(sql, (row,)) is not None]

    def _hidden_rows(self) -> list[tuple[Hidden, int]]:
        """With the row of the manifest of each."""
        if self._hidden is None:
            return []
        sql = (
            "SELECT project.name, collection.name, version.number, "
            "(SELECT max(manifest.id) FROM manifest WHERE digest = version.manifest) FROM version "
            "JOIN project ON project.id = version.project "
            "JOIN collection ON collection.project = version.project AND collection.id = version.collection "
            f"WHERE (version.project, version.id) IN (SELECT project, id {self._hidden}) "
            "ORDER BY project.name, collection.name, version.number"
        )
        return [(Hidden(*named), manifest) for *named, manifest in self._catalog.rows(sql)]

    def orphans(self) -> list[Orphan]:
        """Live manifests that are kept as differences to dead ones, those nearest to their base first."""
        sql = (
            f"SELECT id, digest, base FROM manifest WHERE id IN ({self._kept_manifests}) AND base IS NOT NULL "
            f"AND base NOT IN ({self._kept_manifests}) ORDER BY id"
        )
        return [Orphan(id_, Digest(digest), base) for id_, digest, base in self._catalog.rows(sql)]

    def live_ancestor(self, id_: int) -> Digest | None:
        """The nearest live manifest from this one downward, along the bases."""
        row = self._catalog.one(
            "WITH RECURSIVE chain (id, base, rank) AS (SELECT id, base, 0 FROM manifest WHERE id = ? UNION ALL "
            "SELECT manifest.id, manifest.base, rank + 1 FROM manifest JOIN chain ON manifest.id = chain.base) "
            f"SELECT digest FROM chain JOIN manifest USING (id) WHERE id IN ({self._kept_manifests}) "
            "ORDER BY rank LIMIT 1",
            (id_,),
        )
        return None if row is None else Digest(row[0])

    def replace_manifest(self, old: int, new: int, epoch: int) -> None:
        """Let one form of a manifest take the place of another with the same entries."""
        with self._catalog.write():
            self._catalog.execute("UPDATE manifest SET base = ? WHERE base = ?", (new, old))
            self._catalog.execute("UPDATE manifest SET condemned = ? WHERE id = ?", (epoch, old))

    def dead(self, *, before: int | None = None) -> tuple[int, int]:
        """How many blobs nothing needs that is kept, and their bytes; `before`: those condemned before that epoch."""
        with self._catalog.snapshot():
            self._find_needed(hidden=True)
            row = self._catalog.one(
                "SELECT count(*), coalesce(sum(size), 0) FROM blob WHERE id IN (SELECT blob FROM stored) "
                "AND id NOT IN (SELECT blob FROM needed) AND (? IS NULL OR condemned < ?)",
                (before, before),
            )
        assert row is not None
        return int(row[0]), int(row[1])

    def condemn(self, epoch: int) -> None:
        """Tell sessions that begin after this epoch not to rely on what nothing needs now."""
        manifests = self._catalog.rows(
            f"SELECT id FROM manifest WHERE condemned IS NULL AND id NOT IN ({self._kept_manifests})",
        )
        blobs = self._catalog.rows(f"SELECT id FROM blob WHERE condemned IS NULL AND id NOT IN ({self._needed_blobs})")
        self._set("manifest", epoch, [id_ for (id_,) in manifests])
        self._set("blob", epoch, [id_ for (id_,) in blobs])

    def acquit(self) -> None:
        """Let sessions rely again on what a version needs after all."""
        # A version may name a manifest by a form that was condemned before its session committed.
        needed = self._catalog.rows(
            f"SELECT max(id) FROM manifest WHERE digest IN ({self._kept}) GROUP BY digest "
            "HAVING min(condemned IS NOT NULL) = 1",
        )
        self._set("manifest", None, [id_ for (id_,) in needed])
        blobs = self._catalog.rows(f"SELECT id FROM blob WHERE condemned IS NOT NULL AND id IN ({self._needed_blobs})")
        self._set("blob", None, [id_ for (id_,) in blobs])

    def free_manifests(self, epoch: int) -> None:
        """Forget the manifests that were condemned up to an epoch, whose sessions have all ended."""
        with self._catalog.write():
            # Nobody may find one that has lost some of its rows, and what stays keeps what it is built on.
            self._catalog.execute(
                "WITH RECURSIVE kept (id) AS (SELECT id FROM manifest WHERE condemned IS NULL OR condemned > ?1 "
                "UNION SELECT base FROM manifest JOIN kept USING (id) WHERE base IS NOT NULL) "
                "UPDATE manifest SET digest = NULL WHERE condemned <= ?1 AND id NOT IN kept",
                (epoch,),
            )
        gone = self._catalog.rows(
            "SELECT id FROM manifest WHERE digest IS NULL AND condemned <= ? ORDER BY id", (epoch,)
        )
        for (id_,) in gone:
            self._free_entries(id_)
        if gone:
            with self._catalog.write():
                self._catalog.execute("DELETE FROM path WHERE id NOT IN (SELECT path FROM entry)")
                self._catalog.execute(
                    "DELETE FROM reference WHERE id NOT IN (SELECT reference FROM entry WHERE reference IS NOT NULL)",
                )

    def free_blobs(self, epoch: int) -> list[Freed]:
        """Forget the blobs that were condemned up to an epoch and that no manifest names."""
        rows = self._catalog.rows(
            "SELECT id, digest, size, EXISTS (SELECT 1 FROM stored WHERE blob = blob.id AND pack = ?) FROM blob "
            "WHERE condemned <= ? AND id NOT IN (SELECT blob FROM entry WHERE blob IS NOT NULL)",
            (WHOLE, epoch),
        )
        freed: list[Freed] = []
        for start in range(0, len(rows), BATCH):
            with self._catalog.write():
                for id_, digest, size, is_whole in rows[start : start + BATCH]:
                    # A session that stored the same bytes since has acquitted it.
                    cursor = self._catalog.execute("DELETE FROM blob WHERE id = ? AND condemned <= ?", (id_, epoch))
                    if cursor.rowcount:
                        self._catalog.execute("DELETE FROM stored WHERE blob = ?", (id_,))
                        freed.append(Freed(Digest(digest), size, bool(is_whole)))
        return freed

    def freeable_by(self, versions: Sequence[str]) -> int:
        """Bytes of the blobs that only these versions need, among the live ones; some of them may be deleted by now."""
        if not versions:
            return 0
        with self._catalog.snapshot():
            self._find_needed(besides=versions)
            self._catalog.execute("DELETE FROM needed_before")
            self._catalog.execute("INSERT INTO needed_before SELECT blob FROM needed")
            self._find_needed(without=versions)
            row = self._catalog.one(
                "SELECT coalesce(sum(size), 0) FROM blob WHERE id IN (SELECT blob FROM needed_before) "
                "AND id NOT IN (SELECT blob FROM needed)",
            )
        assert row is not None
        return int(row[0])

    def evictable(self, versions: Sequence[str]) -> list[tuple[Digest, int]]:
        """Blobs that are here for these versions, and for no other whose bytes have to be here: digest, size.

        What was deleted elsewhere and is kept is such: the remote may free its bytes with the last version that stands
        in its log.
        """
        with self._catalog.snapshot():
            self._find_needed(but=_RECEIVED, without=versions, hidden=True)
            self._catalog.execute("DELETE FROM needed_before")
            for version in versions:
                for (id_,) in self._catalog.rows(
                    "SELECT max(manifest.id) FROM manifest JOIN version ON version.manifest = manifest.digest "
                    "WHERE version.id = ? HAVING max(manifest.id) IS NOT NULL",
                    (version,),
                ):
                    self._catalog.execute(f"INSERT OR IGNORE INTO needed_before {BLOBS_OF}", (id_,))
            rows = self._catalog.rows(
                "SELECT digest, size FROM blob WHERE id IN (SELECT blob FROM needed_before) "
                "AND id NOT IN (SELECT blob FROM needed) AND id IN (SELECT blob FROM stored) ORDER BY digest",
            )
        return [(Digest(digest), size) for digest, size in rows]

    def stored_bytes(self) -> int:
        """Bytes of all blobs that are here."""
        row = self._catalog.one("SELECT coalesce(sum(size), 0) FROM blob WHERE id IN (SELECT blob FROM stored)")
        assert row is not None
        return int(row[0])

    def is_known(self, digest: Digest) -> bool:
        """Whether a blob is in the catalog."""
        return self._catalog.one("SELECT 1 FROM blob WHERE digest = ?", (digest,)) is not None

    def waiting(self) -> int:
        """How many blobs are condemned and not freed."""
        row = self._catalog.one("SELECT count(*) FROM blob WHERE condemned IS NOT NULL")
        assert row is not None
        return int(row[0])

    def packs(self) -> list[PackUse]:
        """Every pack, with what of it is still in the catalog."""
        sql = (
            "SELECT pack.id, name, pack.size, count(stored.blob), "
            "coalesce(sum(512 + blob.size + (512 - blob.size % 512) % 512), 0) FROM pack "
            "LEFT JOIN stored ON stored.pack = pack.id LEFT JOIN blob ON blob.id = stored.blob GROUP BY pack.id"
        )
        return [PackUse(*row) for row in self._catalog.rows(sql)]

    def pack_members(self, pack: int) -> list[tuple[Digest, int, int]]:
        """The blobs of a pack that are in the catalog: digest, size, offset, in the order of the pack."""
        sql = (
            "SELECT digest, blob.size, offset FROM stored JOIN blob ON blob.id = stored.blob WHERE stored.pack = ? "
            "ORDER BY offset"
        )
        return [(Digest(digest), size, offset) for digest, size, offset in self._catalog.rows(sql, (pack,))]

    def forget_pack(self, pack: int) -> None:
        """Take a pack out of the catalog; what is still needed of it is in another."""
        with self._catalog.write():
            self._catalog.execute("DELETE FROM stored WHERE pack = ?", (pack,))
            self._catalog.execute("DELETE FROM pack WHERE id = ?", (pack,))

    def pack_names(self) -> set[str]:
        """The packs that the catalog knows."""
        return {name for (name,) in self._catalog.rows("SELECT name FROM pack")}

    def whole_digests(self) -> set[bytes]:
        """The blobs that have files of their own."""
        sql = "SELECT digest FROM stored JOIN blob ON blob.id = stored.blob WHERE pack = ?"
        return {digest for (digest,) in self._catalog.rows(sql, (WHOLE,))}

    def missing(self, *, received: bool = False) -> list[tuple[Digest, int]]:
        """Blobs that live versions need and that are nowhere: digest, size.

        Where only versions need them that came from the upstream, or were evicted, they need not be here, and are not
        counted unless `received`. What was made here and waits for somebody to decide has no other place that is known
        to have its bytes.
        """
        with self._catalog.snapshot():
            # Content that was put again may have been gathered from parts, whose bytes are at the upstream.
            self._find_needed(but="" if received else _RECEIVED, relogs=False, theirs=received)
            rows = self._catalog.rows(
                "SELECT digest, size FROM blob WHERE id IN (SELECT blob FROM needed) "
                "AND id NOT IN (SELECT blob FROM stored) ORDER BY digest",
            )
        return [(Digest(digest), size) for digest, size in rows]

    def absent_of(self, ids: Collection[str]) -> list[tuple[Digest, int]]:
        """Blobs that some versions and parts need, as far as these are live, and that are nowhere: digest, size."""
        with self._catalog.snapshot():
            self._empty()
            chosen = "id IN (SELECT value FROM json_each(?1))"
            self._find_live(f"{_OF_VERSIONS} AND {chosen} UNION ALL {_OF_PARTS} WHERE {chosen}", (json.dumps([*ids]),))
            rows = self._catalog.rows(
                "SELECT digest, size FROM blob WHERE id IN (SELECT blob FROM needed) "
                "AND id NOT IN (SELECT blob FROM stored) ORDER BY digest",
            )
        return [(Digest(digest), size) for digest, size in rows]

    def needed(self, digests: Sequence[Digest]) -> set[bytes]:
        """Those of some blobs that live versions and parts name."""
        found: set[bytes] = set()
        with self._catalog.snapshot():
            self._find_needed()
            for start in range(0, len(digests), BATCH):
                some = digests[start : start + BATCH]
                sql = (
                    f"SELECT digest FROM blob WHERE digest IN ({','.join('?' * len(some))}) "
                    "AND id IN (SELECT blob FROM needed)"
                )
                found.update(digest for (digest,) in self._catalog.rows(sql, tuple(some)))
        return found

    def absent(self) -> set[Digest]:
        """Blobs that are known and nowhere, whether a version needs them or not."""
        rows = self._catalog.rows(
            "SELECT digest FROM blob WHERE NOT EXISTS (SELECT 1 FROM stored WHERE stored.blob = blob.id)"
        )
        return {Digest(digest) for (digest,) in rows}

    def manifests_here(self) -> set[Digest]:
        """The manifests that have rows, whether a version names them or not."""
        rows = self._catalog.rows("SELECT DISTINCT digest FROM manifest WHERE digest IS NOT NULL")
        return {Digest(digest) for (digest,) in rows}

    def live_manifests(self, project: int | None = None) -> set[Digest]:
        """The manifests that live versions and parts name, of one project or all."""
        if project is None:
            rows = self._catalog.rows(_LIVE)
        else:
            sql = (
                f"{_OF_VERSIONS} AND project = ?1 UNION ALL {_OF_PARTS} WHERE project = ?1 "
                f"UNION ALL {_OF_REFUSED} AND project = ?1 UNION ALL {_OF_RELOGS} AND project = ?1 "
                f"UNION ALL {_OF_ACCEPTED_ENDS} AND op.project = ?1"
            )
            rows = self._catalog.rows(sql, (project,))
        return {Digest(digest) for (digest,) in rows}

    def ended_manifests(self, project: int) -> set[Digest]:
        """The manifests that versions of a project name which are deleted or not wanted here, and nothing else here."""
        sql = (
            "SELECT manifest FROM version WHERE project = ?1 AND (deleted = 1 OR id IN "
            "(SELECT version FROM forgotten WHERE project = ?1 AND awaited = 0)) EXCEPT "
            "SELECT manifest FROM version WHERE id IN (SELECT version FROM forgotten WHERE awaited = 1)"
        )
        return {Digest(digest) for (digest,) in self._catalog.rows(sql, (project,))} - self.live_manifests()

    def needed_by(self, project: int) -> dict[bytes, int]:
        """The blobs that live versions and parts of one project name, with their sizes."""
        with self._catalog.snapshot():
            self._empty()
            for digest in self.live_manifests(project):
                self._catalog.execute(
                    "INSERT OR IGNORE INTO live SELECT id FROM manifest WHERE digest = ? "
                    "ORDER BY condemned IS NOT NULL, id DESC LIMIT 1",
                    (digest,),
                )
            self._add_needed()
            return dict(self._catalog.rows("SELECT digest, size FROM blob WHERE id IN (SELECT blob FROM needed)"))

    def _find_needed(
        self,
        *,
        besides: Sequence[str] = (),
        without: Sequence[str] = (),
        but: str = "",
        relogs: bool = True,
        theirs: bool = True,
        hidden: bool = False,
    ) -> None:
        """Fill the temporary tables, as if some versions were live, or were deleted, or those of a query were not.

        Without `relogs` not for content that was put again, and waits; without `theirs` not for what others made and
        waits for a decision; with `hidden` also for what was deleted elsewhere and is kept.
        """
        also = f"UNION ALL {_OF_RELOGS} " if relogs else ""
        if hidden and self._hidden is not None:
            also += f"UNION ALL SELECT manifest {self._hidden} "
        self._empty()
        marks = ",".join("?" * len(without))
        more = ",".join("?" * len(besides))
        self._find_live(
            f"{_OF_VERSIONS}{but} AND id NOT IN ({marks}) UNION ALL {_OF_PARTS} WHERE 1{but} "
            f"UNION ALL {_OF_REFUSED}{'' if theirs else _MADE_HERE} {also}"
            f"UNION ALL SELECT manifest FROM version WHERE id IN ({more})",
            (*without, *besides),
        )

    def _empty(self) -> None:
        for statement in _TEMPORARY:
            self._catalog.execute(statement)

    def _find_live(self, digests: str, parameters: tuple[str, ...]) -> None:
        """Fill the temporary tables, which are empty, from a query for digests of manifests."""
        self._catalog.execute(
            "INSERT INTO live SELECT id FROM (SELECT id, row_number() OVER "
            "(PARTITION BY digest ORDER BY condemned IS NOT NULL, id DESC) AS choice FROM manifest "
            f"WHERE digest IN ({digests})) WHERE choice = 1",
            parameters,
        )
        self._add_needed()

    def _add_needed(self) -> None:
        """Fill the table of blobs from that of live manifests."""
        self._catalog.execute(
            "INSERT OR IGNORE INTO needed SELECT blob FROM entry WHERE blob IS NOT NULL "
            "AND manifest IN (SELECT id FROM live)",
        )
        # What a manifest has from a base that is not live itself, directly or through others.
        for (id_,) in self._catalog.rows(
            "SELECT id FROM manifest WHERE id IN (SELECT id FROM live) AND base IS NOT NULL "
            "AND base NOT IN (SELECT id FROM live)",
        ):
            self._catalog.execute(f"INSERT OR IGNORE INTO needed {BLOBS_OF}", (id_,))

    def _free_entries(self, manifest: int) -> None:
        done = False
        while not done:
            with self._catalog.write():
                paths = self._catalog.rows("SELECT path FROM entry WHERE manifest = ? LIMIT ?", (manifest, BATCH))
                if paths:
                    self._catalog.execute(
                        "DELETE FROM entry WHERE manifest = ? AND path <= (SELECT max(path) FROM "
                        "(SELECT path FROM entry WHERE manifest = ? ORDER BY path LIMIT ?))",
                        (manifest, manifest, BATCH),
                    )
                else:
                    self._catalog.execute("DELETE FROM manifest WHERE id = ?", (manifest,))
                    done = True

    def _set(self, table: str, epoch: int | None, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), BATCH):
            with self._catalog.write():
                self._catalog.executemany(
                    f"UPDATE {table} SET condemned = ? WHERE id = ?",
                    [(epoch, id_) for id_ in ids[start : start + BATCH]],
                )
