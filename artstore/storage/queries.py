"""Queries: what is asked of the catalog about many versions at once.

A manifest may be kept as a difference, so an entry of its base counts only where nothing above the base says otherwise.
Each question is answered with that in mind, and reads the rows of a manifest once, however many are built on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from artstore.model.digest import Digest
from artstore.storage.database import Connections
from artstore.storage.manifests import missing

BATCH: Final = 5_000
"""Values in one statement, and rows read at a time."""
ROWS: Final = 50_000
"""Rows of small manifests that are read together."""

_WANTED: Final = "version.id NOT IN (SELECT version FROM forgotten)"
_TOTALS: Final = """
SELECT (SELECT count(*) FROM project), (SELECT count(*) FROM collection WHERE deleted = 0), count(*),
    coalesce(sum(entries), 0), coalesce(sum(bytes), 0),
    (SELECT coalesce(sum(size), 0) FROM blob WHERE EXISTS (SELECT 1 FROM stored WHERE stored.blob = blob.id)),
    (SELECT coalesce(sum(size), 0) FROM blob
        WHERE condemned IS NULL AND NOT EXISTS (SELECT 1 FROM stored WHERE stored.blob = blob.id)),
    (SELECT max(created_us) FROM version), (SELECT count(*) FROM part)
FROM version WHERE deleted = 0 AND id NOT IN (SELECT version FROM forgotten)
"""
_RESOLVED_BLOBS: Final = """
WITH RECURSIVE chain (id, base, rank) AS (
    SELECT id, base, 0 FROM manifest WHERE id = ?
    UNION ALL SELECT manifest.id, manifest.base, rank + 1 FROM manifest JOIN chain ON manifest.id = chain.base),
has (blob, rank) AS (SELECT blob, min(rank) FROM chain JOIN entry ON manifest = id GROUP BY entry.path)
SELECT DISTINCT blob FROM has WHERE blob IS NOT NULL
"""
_SIZED: Final = "SELECT manifest, blob.id, size FROM entry JOIN blob ON blob.id = entry.blob"
_RESOLVED_SIZED: Final = f"SELECT blob.id, size FROM ({_RESOLVED_BLOBS}) AS has JOIN blob ON blob.id = has.blob"
_STANDS: Final = """
SELECT project, collection, created_us, entries, bytes, (SELECT id FROM manifest
    WHERE manifest.digest = version.manifest ORDER BY condemned IS NOT NULL, id DESC LIMIT 1), manifest
FROM version WHERE deleted = 0 AND id NOT IN (SELECT version FROM forgotten) ORDER BY created_us, logged, id
"""

_COLLECTIONS_ABOUT: Final = """
SELECT project, id FROM collection WHERE deleted = 0 AND ?2 IN (-1, project) AND (
    instr(lower(name), lower(?1)) OR instr(lower(type), lower(?1)) OR instr(lower(description), lower(?1))
    OR EXISTS (SELECT 1 FROM tag WHERE tag.project = collection.project AND target = collection.id
        AND instr(lower(tag.name), lower(?1))))
ORDER BY lower(name) <> lower(?1), name LIMIT ?3
"""
_VERSIONS_ABOUT: Final = """
SELECT project, id FROM version
WHERE deleted = 0 AND id NOT IN (SELECT version FROM forgotten) AND ?2 IN (-1, project) AND (
    instr(lower(description), lower(?1))
    OR id IN (SELECT version FROM alias WHERE instr(lower(name), lower(?1)))
    OR id IN (SELECT target FROM tag WHERE instr(lower(name), lower(?1)))
    OR instr(lower(metadata), lower(?1)) AND EXISTS (SELECT 1 FROM json_tree(metadata)
        WHERE typeof(key) = 'text' AND instr(lower(key), lower(?1))))
ORDER BY created_us DESC, id LIMIT ?3
"""
_RUNS_ABOUT: Final = """
SELECT project, id FROM run WHERE ?2 IN (-1, project) AND (
    instr(lower(id), lower(?1)) OR instr(lower(name), lower(?1)) OR instr(lower(job_type), lower(?1))
    OR instr(lower("group"), lower(?1)) OR instr(lower(notes), lower(?1))
    OR EXISTS (SELECT 1 FROM json_each(tags) WHERE instr(lower(value), lower(?1))))
ORDER BY started_us DESC, id LIMIT ?3
"""


class Totals(NamedTuple):
    """The store in numbers; versions are those that are not deleted."""

    projects: int
    collections: int
    versions: int
    files: int
    logical_bytes: int
    stored_bytes: int
    """Content that is here, each blob once, whether something needs it or not."""
    absent_bytes: int
    """The same of what is not here."""
    last_created_us: int | None
    parts: int
    """Parts of distributed versions that nobody has gathered."""


class Stands(NamedTuple):
    """What counts of a live version for the space that it takes."""

    project: int
    collection: str
    created_us: int
    entries: int
    bytes: int
    manifest: int


class Held(NamedTuple):
    """What stands at a path: one of the two row numbers is None."""

    blob: int | None
    reference: int | None


class Shelved(NamedTuple):
    """Where a live version stands."""

    project: int
    collection: str
    id: str
    manifest: int


class Brought(NamedTuple):
    """What a manifest has that none before it had."""

    blobs: int
    bytes: int


class _Kept(NamedTuple):
    base: int | None
    rows: int
    """At most so many rows of its own."""


class Queries:
    """Questions to one catalog. Ask them inside one `snapshot`, so that the answers fit each other."""

    def __init__(self, catalog: Connections) -> None:
        self._catalog = catalog

    def totals(self) -> Totals:
        """The store in numbers."""
        return Totals(*self._catalog.rows(_TOTALS)[0])

    def journal_mode(self) -> str:
        """The journal that the catalog has now, as SQLite calls it."""
        return str(self._catalog.rows("PRAGMA journal_mode")[0][0])

    def standing(self) -> list[Stands]:
        """Every live version, the first first. Raises Corrupt (manifest-missing)."""
        rows = self._catalog.rows(_STANDS)
        absent = next((digest for *_, manifest, digest in rows if manifest is None), None)
        if absent is not None:
            raise missing(Digest(absent))
        return [Stands(*row) for *row, _ in rows]

    def manifest(self, digest: Digest) -> int | None:
        """The row number of a manifest; None where it is missing."""
        return self._rows_by_digest.get(digest)

    def paths(self, matches: Callable[[str], bool]) -> dict[int, str]:
        """Every path in any manifest that passes a test, by row number."""
        return {id_: path for id_, path in self._stream("SELECT id, path FROM path") if matches(path)}

    def paths_called(self, text: str) -> dict[int, str]:
        """The paths that are this text or, where it has no folder, end with it as their last component."""
        found = self._catalog.rows("SELECT id, path FROM path WHERE path = ?", (text,))
        if "/" not in text:
            ending = f"/{text}"
            sql = "SELECT id, path FROM path WHERE substr(path, -length(?)) = ?"
            found += self._catalog.rows(sql, (ending, ending))
        return dict(found)

    def paths_of(self, blobs: Collection[int]) -> dict[int, str]:
        """The paths at which any manifest has any of the blobs."""
        ids: set[int] = set()
        for some in _batches(blobs):
            # There is no index on the blob: it would cost each put more than this one walk costs here.
            sql = f"SELECT DISTINCT path FROM entry WHERE blob IN ({_marks(some)})"
            ids.update(id_ for (id_,) in self._catalog.rows(sql, some))
        found: dict[int, str] = {}
        for some in _batches(ids):
            found.update(self._catalog.rows(f"SELECT id, path FROM path WHERE id IN ({_marks(some)})", some))
        return found

    def blobs_between(self, low: bytes, high: bytes) -> set[int]:
        """The blobs whose digests lie between two, both included."""
        return {id_ for (id_,) in self._catalog.rows("SELECT id FROM blob WHERE digest BETWEEN ? AND ?", (low, high))}

    def blobs(self, ids: Collection[int]) -> dict[int, tuple[Digest, int]]:
        """Digests and sizes of blobs, by row number."""
        found: dict[int, tuple[Digest, int]] = {}
        for some in _batches(ids):
            sql = f"SELECT id, digest, size FROM blob WHERE id IN ({_marks(some)})"
            found.update({id_: (Digest(digest), size) for id_, digest, size in self._catalog.rows(sql, some)})
        return found

    def reference_sizes(self, ids: Collection[int]) -> dict[int, int | None]:
        """Sizes of references, by row number."""
        found: dict[int, int | None] = {}
        for some in _batches(ids):
            found.update(self._catalog.rows(f"SELECT id, size FROM reference WHERE id IN ({_marks(some)})", some))
        return found

    def blob_sizes(self) -> list[tuple[int, int]]:
        """Row number and size of every blob, in the order of the numbers."""
        return self._catalog.rows("SELECT id, size FROM blob ORDER BY id")

    def absent_blobs(self) -> list[int]:
        """The row numbers of the blobs that are known, and not here."""
        sql = "SELECT id FROM blob WHERE NOT EXISTS (SELECT 1 FROM stored WHERE stored.blob = blob.id)"
        return [id_ for (id_,) in self._catalog.rows(sql)]

    def holdings(self, manifests: Iterable[int], paths: Collection[int]) -> Iterator[tuple[int, dict[int, Held]]]:
        """Of each manifest, what it has at those of the paths that it has."""
        wanted = set(paths)
        found: dict[int, dict[int, Held]] = {}
        for some in self._portions(manifests):
            near = self._own_of_many(some, wanted) if len(some) > 1 else {}
            for manifest in some:
                chain: list[int] = []
                at: int | None = manifest
                while at is not None and at not in found:
                    chain.append(at)
                    at = self._kept[at].base
                held = {} if at is None else found[at]
                for id_ in reversed(chain):
                    held = found[id_] = _changed(held, near[id_] if id_ in near else self._own(id_, wanted))
                yield manifest, held

    def blobs_by_manifest(
        self, manifests: Collection[int], rank: Mapping[int, int]
    ) -> Iterator[Sequence[tuple[int, int]]]:
        """Manifests with the blobs that they hold, each at least once, many rows at a time.

        What one has from another one of them that is not of a higher rank stands with that one alone.
        """
        own: list[int] = []
        for id_ in manifests:
            base = self._kept[id_].base
            if base is None or (base in manifests and rank.get(base, -1) <= rank.get(id_, -1)):
                own.append(id_)
        for some in _batches(own):
            sql = f"SELECT manifest, blob FROM entry WHERE manifest IN ({_marks(some)}) AND blob IS NOT NULL"
            cursor = self._catalog.execute(sql, some)
            while rows := cursor.fetchmany(BATCH):
                yield rows
        for id_ in set(manifests).difference(own):
            yield [(id_, blob) for (blob,) in self._stream(_RESOLVED_BLOBS, (id_,))]

    def manifests_of(self, project: int, collection: str) -> dict[str, int]:
        """The manifests of a collection's live versions, by their ids, in the order of their numbers."""
        sql = (
            "SELECT version.id, max(manifest.id) FROM version JOIN manifest ON manifest.digest = version.manifest "
            f"WHERE project = ? AND collection = ? AND deleted = 0 AND {_WANTED} GROUP BY version.id ORDER BY number"
        )
        return dict(self._catalog.rows(sql, (project, collection)))

    def shelf(self, project: int | None) -> list[Shelved]:
        """Every live version, of one project or of all, the newest of a collection first."""
        sql = (
            "SELECT project, collection, version.id, max(manifest.id) FROM version JOIN manifest "
            f"ON manifest.digest = version.manifest WHERE deleted = 0 AND {_WANTED} AND ?1 IN (-1, project) "
            "GROUP BY project, version.id ORDER BY project, collection, number DESC"
        )
        return [Shelved(*row) for row in self._catalog.rows(sql, (-1 if project is None else project,))]

    def brought(self, manifests: Sequence[int]) -> Iterator[Brought]:
        """Of each manifest, in this order, what none before it has. Takes a byte for each blob of the store."""
        (most,) = self._catalog.rows("SELECT coalesce(max(id), 0) FROM blob")[0]
        is_known = bytearray(most + 1)
        walked: set[int] = set()
        for some in self._portions(manifests):
            for rows in self._sized(some, walked):
                blobs = total = 0
                for blob, size in rows:
                    if not is_known[blob]:
                        is_known[blob] = 1
                        blobs += 1
                        total += size
                yield Brought(blobs, total)

    def _portions(self, manifests: Iterable[int]) -> Iterator[list[int]]:
        """The manifests, so many at a time that their own rows are few, or one that has many."""
        some: list[int] = []
        rows = 0
        for id_ in manifests:
            rows += self._kept[id_].rows + 1
            if some and (rows > ROWS or len(some) == BATCH):
                yield some
                some, rows = [], self._kept[id_].rows + 1
            some.append(id_)
        if some:
            yield some

    def _sized(self, some: Sequence[int], walked: set[int]) -> Iterator[Iterable[tuple[int, int]]]:
        """Of each manifest the blobs, with their sizes, that it has not from one that was walked before."""
        own: set[int] = set()
        for id_ in some:
            base = self._kept[id_].base
            # Where it comes again, its base may have come in between; what counts is the first time.
            if id_ not in walked and (base is None or base in walked):
                own.add(id_)
            walked.add(id_)
        held: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for batch in _batches(own if len(some) > 1 else ()):
            # Asked for each by itself, ten thousand small manifests would take four times as long.
            sql = f"{_SIZED} WHERE manifest IN ({_marks(batch)})"
            for manifest, blob, size in self._stream(sql, batch):
                held[manifest].append((blob, size))
        for id_ in some:
            if id_ not in own:
                yield self._stream(_RESOLVED_SIZED, (id_,))
            elif len(some) > 1:
                yield held[id_]
            else:
                yield ((blob, size) for _, blob, size in self._stream(f"{_SIZED} WHERE manifest = ?", (id_,)))

    def runs(
        self, projects: Sequence[int], group: str | None, start: int, limit: int
    ) -> tuple[int, list[tuple[int, str]]]:
        """How many runs there are in some projects and in a group, or in any, and project and id of a page of them."""
        where = f'project IN ({_marks(tuple(projects))}) AND (? OR "group" = ?)'
        given = (*projects, group is None, group)
        total = self._catalog.rows(f"SELECT count(*) FROM run WHERE {where}", given)[0][0]
        sql = f"SELECT project, id FROM run WHERE {where} ORDER BY started_us DESC, project, id LIMIT ? OFFSET ?"
        return int(total), self._catalog.rows(sql, (*given, limit, start))

    def collections_about(self, text: str, project: int | None, limit: int) -> list[tuple[int, str]]:
        """The project and the id of live collections that have a text in name, type, description or a tag."""
        return self._about(_COLLECTIONS_ABOUT, text, project, limit)

    def versions_about(self, text: str, project: int | None, limit: int) -> list[tuple[int, str]]:
        """The same of live versions: in an alias, a tag, the description or a key of the metadata; the newest first."""
        return self._about(_VERSIONS_ABOUT, text, project, limit)

    def runs_about(self, text: str, project: int | None, limit: int) -> list[tuple[int, str]]:
        """The same of runs: in id, name, job type, group, notes or a tag; the newest first."""
        return self._about(_RUNS_ABOUT, text, project, limit)

    def _about(self, sql: str, text: str, project: int | None, limit: int) -> list[tuple[int, str]]:
        return self._catalog.rows(sql, (text, -1 if project is None else project, limit))

    def transaction_digest(self, project: str, log: str, seq: int) -> str | None:
        """The digest of a transaction of a log; None where the catalog has not got so far, or knows another log."""
        row = self._catalog.one(
            "SELECT digest FROM log_entry JOIN project ON project.id = log_entry.project "
            "WHERE name = ? AND log = ? AND log_entry.seq = ?",
            (project, log, seq),
        )
        return None if row is None else str(row[0])

    @cached_property
    def _kept(self) -> dict[int, _Kept]:
        sql = "SELECT id, base, CASE WHEN base IS NULL THEN entries ELSE weight END FROM manifest"
        return {id_: _Kept(base, rows) for id_, base, rows in self._stream(sql)}

    @cached_property
    def _rows_by_digest(self) -> dict[bytes, int]:
        # What is not condemned comes last, and so is the one that is found.
        return dict(
            self._stream("SELECT digest, id FROM manifest WHERE digest IS NOT NULL ORDER BY condemned IS NULL, id")
        )

    def _own(self, manifest: int, paths: set[int]) -> Iterator[tuple[int, Held]]:
        """The rows of a manifest itself at some paths; where it says that a path went, both numbers are None."""
        if self._kept[manifest].rows <= len(paths):
            sql = "SELECT path, blob, reference FROM entry WHERE manifest = ?"
            yield from ((path, Held(blob, ref)) for path, blob, ref in self._stream(sql, (manifest,)) if path in paths)
            return
        for some in _batches(paths):
            sql = f"SELECT path, blob, reference FROM entry WHERE manifest = ? AND path IN ({_marks(some)})"
            yield from ((path, Held(blob, ref)) for path, blob, ref in self._catalog.rows(sql, (manifest, *some)))

    def _own_of_many(self, manifests: Sequence[int], paths: set[int]) -> dict[int, list[tuple[int, Held]]]:
        """The same of many that are small: ten thousand questions would take three times as long as a few."""
        found: dict[int, list[tuple[int, Held]]] = {id_: [] for id_ in manifests}
        for some in _batches(set(manifests)):
            sql = f"SELECT manifest, path, blob, reference FROM entry WHERE manifest IN ({_marks(some)})"
            for manifest, path, blob, reference in self._stream(sql, some):
                if path in paths:
                    found[manifest].append((path, Held(blob, reference)))
        return found

    def _stream(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        cursor = self._catalog.execute(sql, parameters)
        while rows := cursor.fetchmany(BATCH):
            yield from rows


def _changed(held: dict[int, Held], own: Iterable[tuple[int, Held]]) -> dict[int, Held]:
    """What is held once some rows lie on top; the same dictionary where there are none."""
    result = held
    for path, what in own:
        if result is held:
            result = dict(held)
        if what == (None, None):
            result.pop(path, None)
        else:
            result[path] = what
    return result


def _batches(values: Iterable[int]) -> Iterator[tuple[int, ...]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), BATCH):
        yield tuple(ordered[start : start + BATCH])


def _marks(values: tuple[int, ...]) -> str:
    return ",".join("?" * len(values))
