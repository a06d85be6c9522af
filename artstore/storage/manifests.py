"""Manifests in the catalog: rows that hang on an immutable manifest, never on a version.

A manifest is full, or a difference to a base: rows for what came, and rows with neither blob nor reference for what
went. What points to a file of another version has both. Paths and blobs are interned. Rows are inserted in batches,
each a short transaction, under a manifest that has no digest yet and so cannot be found; giving it one is the last
step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from artstore.errors import Corrupt, NotFound
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Difference, Entry, ReferenceEntry, blob_of
from artstore.model.paths import quoted
from artstore.storage.blob_index import Ids
from artstore.storage.blobs import Packed
from artstore.storage.database import Connections, Row

T = TypeVar("T")

_ENTRY: Final = "entry (manifest, path, blob, reference)"

BATCH: Final = 5_000
"""Rows in one transaction: about 20 ms."""
MAX_DEPTH: Final = 24
"""Differences between a manifest and its full ancestor."""
MAX_WEIGHT_SHARE: Final = 0.5
"""Rows in those differences, of the manifest's entries."""
_FEW: Final = 8
"""Rows that are looked up one by one are faster than all if they are so many times fewer."""
_AFTER_SLASH: Final = chr(ord("/") + 1)

_CHAIN: Final = """
WITH RECURSIVE chain (id, base, rank) AS (
    SELECT id, base, 0 FROM manifest WHERE id = ?1
    UNION ALL SELECT manifest.id, manifest.base, rank + 1 FROM manifest JOIN chain ON manifest.id = chain.base)
"""
_HAS: Final = (
    _CHAIN
    + """, changed (path, blob, reference, rank) AS MATERIALIZED (
    SELECT entry.path, blob, reference, min(rank) FROM chain JOIN entry ON manifest = id
    WHERE base IS NOT NULL GROUP BY entry.path),
has (path, blob, reference) AS (
    SELECT path, blob, reference FROM entry WHERE manifest = (SELECT id FROM chain WHERE base IS NULL)
        AND path NOT IN (SELECT path FROM changed)
    UNION ALL SELECT path, blob, reference FROM changed WHERE blob IS NOT NULL OR reference IS NOT NULL)
"""
)
BLOBS_OF: Final = _HAS + "SELECT DISTINCT blob FROM has WHERE blob IS NOT NULL"
"""The row numbers of the blobs of a manifest, given by its row number as ?1."""
_HAS_OF_FULL: Final = (
    "WITH has (path, blob, reference) AS (SELECT path, blob, reference FROM entry WHERE manifest = ?1)"
)
"""As `_HAS`, of a manifest that has no base."""
_ENTRIES: Final = """
SELECT path.path, blob.digest, blob.size, has.reference, uri, checksum, reference.size, extra
FROM has JOIN path ON path.id = has.path LEFT JOIN blob ON blob.id = has.blob
LEFT JOIN reference ON reference.id = has.reference ORDER BY path.path
"""
_AT_PATHS_OF: Final = (
    _CHAIN
    + """, wanted (path) AS MATERIALIZED (
    SELECT DISTINCT path FROM entry WHERE manifest IN (SELECT value FROM json_each(?2))),
ranked (path, blob, reference, rank) AS (
    SELECT wanted.path, blob, reference, min(rank) FROM wanted CROSS JOIN chain
    CROSS JOIN entry ON entry.manifest = chain.id AND entry.path = wanted.path GROUP BY wanted.path),
has (path, blob, reference) AS (
    SELECT path, blob, reference FROM ranked WHERE blob IS NOT NULL OR reference IS NOT NULL)
"""
    + _ENTRIES
)
"""What a manifest has at the paths of which some others, as a JSON array of row numbers, say something themselves."""
_WITH_PLACES: Final = """
SELECT path.path, blob.digest, blob.size, has.reference, uri, checksum, reference.size, extra, stored.pack, offset
FROM has JOIN path ON path.id = has.path LEFT JOIN blob ON blob.id = has.blob
LEFT JOIN reference ON reference.id = has.reference LEFT JOIN stored ON stored.blob = blob.id
    AND stored.pack = (SELECT min(pack) FROM stored WHERE stored.blob = blob.id) ORDER BY path.path
"""
_BELOW: Final = (
    _CHAIN
    + """, changed (path, blob, reference, rank) AS MATERIALIZED (
    SELECT entry.path, blob, reference, min(rank) FROM chain CROSS JOIN entry ON manifest = chain.id
        CROSS JOIN path ON path.id = entry.path
    WHERE base IS NOT NULL AND path.path >= ?2 AND path.path < ?3 GROUP BY entry.path),
below (path, blob, reference) AS (
    SELECT path.path, blob, reference FROM path CROSS JOIN entry
        ON entry.manifest = (SELECT id FROM chain WHERE base IS NULL) AND entry.path = path.id
    WHERE path.path >= ?2 AND path.path < ?3 AND path.id NOT IN (SELECT path FROM changed)
    UNION ALL SELECT path.path, blob, reference FROM changed CROSS JOIN path ON path.id = changed.path
    WHERE blob IS NOT NULL OR reference IS NOT NULL)
"""
)
"""The entries of a manifest, given by its row number as ?1, whose paths lie between ?2 and ?3."""
_ENTRIES_BELOW: Final = """
SELECT below.path, blob.digest, blob.size, below.reference, uri, checksum, reference.size, extra
FROM below LEFT JOIN blob ON blob.id = below.blob LEFT JOIN reference ON reference.id = below.reference
"""
_LIVES: Final = """
path.path < ?3 AND (SELECT entry.blob IS NOT NULL OR entry.reference IS NOT NULL
    FROM chain CROSS JOIN entry ON entry.manifest = chain.id AND entry.path = path.id ORDER BY chain.rank LIMIT 1)
"""
_ANY_BELOW: Final = _CHAIN + "SELECT 1 FROM path WHERE path.path >= ?2 AND" + _LIVES + "LIMIT 1"
# From one child to the next: a folder's other files are passed over, however many they are. No path has a character
# between its own end and the first control character.
_CHILDREN: Final = (
    _CHAIN
    + f""", child (path) AS (
    SELECT (SELECT path.path FROM path WHERE path.path >= ?2 AND {_LIVES} ORDER BY path.path LIMIT 1)
    UNION ALL SELECT (SELECT path.path FROM path
        WHERE path.path >= CASE instr(substr(child.path, ?4), '/') WHEN 0 THEN child.path || char(1)
            ELSE substr(child.path, 1, ?4 + instr(substr(child.path, ?4), '/') - 2) || '{_AFTER_SLASH}' END
        AND {_LIVES} ORDER BY path.path LIMIT 1)
    FROM child WHERE child.path IS NOT NULL LIMIT ?5),
has (path, blob, reference) AS (
    SELECT path.path, entry.blob, entry.reference
    FROM child CROSS JOIN path ON path.path = child.path CROSS JOIN entry ON entry.path = path.id
        AND entry.manifest = (SELECT chain.id FROM chain CROSS JOIN entry
            ON entry.manifest = chain.id AND entry.path = path.id ORDER BY rank LIMIT 1))
SELECT has.path, blob.digest, blob.size, has.reference, uri, checksum, reference.size, extra
FROM has LEFT JOIN blob ON blob.id = has.blob LEFT JOIN reference ON reference.id = has.reference
"""
)
_PACKED: Final = (
    _CHAIN
    + """, placed (path, size, sums, pack, offset) AS (
    SELECT entry.path, blob.size, blob.sums, stored.pack, stored.offset
    FROM chain CROSS JOIN entry ON entry.manifest = chain.id
        CROSS JOIN blob ON blob.id = entry.blob AND blob.sums IS NOT NULL
        CROSS JOIN stored ON stored.blob = blob.id AND stored.pack <> 0
    WHERE chain.rank = 0 OR NOT EXISTS (SELECT 1 FROM chain AS nearer CROSS JOIN entry AS over
        ON over.manifest = nearer.id AND over.path = entry.path WHERE nearer.rank < chain.rank))
SELECT path.path, size, sums, pack, offset FROM placed CROSS JOIN path ON path.id = placed.path
"""
)
_ONE: Final = (
    _CHAIN
    + """
SELECT blob.digest, blob.size, entry.reference, uri, checksum, reference.size, extra
FROM chain CROSS JOIN entry ON entry.manifest = chain.id AND entry.path = (SELECT id FROM path WHERE path = ?2)
LEFT JOIN blob ON blob.id = entry.blob LEFT JOIN reference ON reference.id = entry.reference
ORDER BY rank LIMIT 1
"""
)


class ManifestRow(NamedTuple):
    """How a manifest is kept."""

    id: int
    base: int | None
    depth: int
    weight: int
    """Rows in its difference and those below it; 0 for a full one."""
    entries: int


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A path whose bytes are kept here, and one of the places where they are."""

    path: str
    digest: Digest
    size: int
    """Bytes."""
    pack: int | None
    """The pack's number, WHOLE for a file of the blob's own; None where nobody has looked, or there is none."""
    offset: int


class Manifests:
    """The manifests of a store."""

    def __init__(self, catalog: Connections) -> None:
        self._catalog = catalog

    def find(self, digest: Digest) -> ManifestRow | None:
        """A manifest that is here and not condemned by `gc`."""
        row = self._catalog.one(
            "SELECT id, base, depth, weight, entries FROM manifest WHERE digest = ? AND condemned IS NULL",
            (digest,),
        )
        return None if row is None else ManifestRow(*row)

    def has(self, digest: Digest) -> bool:
        """Whether a manifest is here, be it condemned by `gc` or not."""
        return self._catalog.one("SELECT 1 FROM manifest WHERE digest = ?", (digest,)) is not None

    def get(self, digest: Digest) -> ManifestRow:
        """A manifest that must be here. Raises Corrupt (manifest-missing)."""
        row = self._catalog.one(
            "SELECT id, base, depth, weight, entries FROM manifest WHERE digest = ? ORDER BY condemned IS NOT NULL",
            (digest,),
        )
        if row is None:
            raise missing(digest)
        return ManifestRow(*row)

    def entries(self, digest: Digest) -> Iterator[Entry]:
        """The entries of a manifest, sorted by path."""
        for rows in self._listing(digest, _ENTRIES):
            yield from map(_entry, rows)

    def apart(self, first: Digest, second: Digest) -> tuple[Iterator[Entry], Iterator[Entry]]:
        """The entries of two manifests, each sorted by path; many that are equal in both may be left out.

        Where they are built on one that both have in common, only what was said above that can differ.
        """
        rows = self.get(first), self.get(second)
        chains = [[id_ for (id_,) in self._catalog.rows(f"{_CHAIN} SELECT id FROM chain", (row.id,))] for row in rows]
        common = set(chains[0]).intersection(chains[1])
        if not common or sum(row.weight for row in rows) * _FEW > sum(row.entries for row in rows):
            return self.entries(first), self.entries(second)
        above = msgspec.json.encode([id_ for ids in chains for id_ in ids if id_ not in common]).decode()
        old, new = (
            map(_entry, itertools.chain.from_iterable(self._catalog.stream(_AT_PATHS_OF, (row.id, above))))
            for row in rows
        )
        return old, new

    def placed(self, digest: Digest) -> Iterator[Placed | ReferenceEntry]:
        """The entries of a manifest, sorted by path; what is kept here with where it is."""
        for rows in self._listing(digest, _WITH_PLACES):
            for row in rows:
                path, blob, size, reference, _, _, _, _, pack, offset = row
                if reference is None:
                    # Nearly all of them, and an entry first would take as long as the row.
                    yield Placed(path, Digest(blob), size, pack, offset or 0)
                else:
                    yield placed(_entry(row[:-2]), pack, offset or 0)

    def entries_below(self, digest: Digest, folder: str) -> Iterator[Entry]:
        """The entries of a manifest below a folder, however deep, sorted by path."""
        parameters = (self.get(digest).id, *_range(folder))
        for rows in self._catalog.stream(_BELOW + _ENTRIES_BELOW + "ORDER BY below.path", parameters):
            yield from map(_entry, rows)

    def is_folder(self, digest: Digest, folder: str) -> bool:
        """Whether a manifest has an entry below a folder."""
        return self._catalog.one(_ANY_BELOW, (self.get(digest).id, *_range(folder))) is not None

    def folder(self, digest: Digest, folder: str, *, after: str = "", limit: int = -1) -> tuple[list[str], list[Entry]]:
        """The names of the folders in a folder, `""` for the top one, and the entries in it; both sorted.

        Of all that, in the order of their paths, `limit` that come `after` a name; one of a folder ends with `/`.
        """
        start = len(folder) + 1 if folder else 0
        folders: list[str] = []
        entries: list[Entry] = []
        first, last = _range(folder)
        if after:
            first = (f"{folder}/" if folder else "") + after.removesuffix("/")
            first += _AFTER_SLASH if after.endswith("/") else chr(1)
        for row in self._catalog.rows(_CHILDREN, (self.get(digest).id, first, last, start + 1, limit)):
            name, slash, _ = row[0][start:].partition("/")
            if slash:
                folders.append(name)
            else:
                entries.append(_entry(row))
        return sorted(folders), sorted(entries, key=_path)

    def packed(self, digest: Digest) -> dict[str, Packed]:
        """Where the bytes of the files of a manifest are that lie in packs, by path: about 300 bytes of memory each."""
        return {row[0]: row for row in self._catalog.rows(_PACKED, (self.get(digest).id,))}

    def entry(self, digest: Digest, path: str, *, called: str = "it") -> Entry:
        """The entry at a path. Raises NotFound (path-not-found); `called` is what its message says the manifest is."""
        row = self._catalog.one(_ONE, (self.get(digest).id, path))
        if row is None or (row[0] is None and row[2] is None):
            message = f"there is no file {quoted(path)} in {called}"
            raise NotFound(message, code="path-not-found")
        return _entry((path, *row))

    def difference(self, digest: Digest) -> tuple[Digest, Difference] | None:
        """The base on which a manifest is kept, and what it differs in; None for one that is kept in full."""
        base = self.base_of(digest)
        if base is None:
            return None
        rows = self._catalog.rows(_HAS_OF_FULL + _ENTRIES, (self.get(digest).id,))
        gone = [path for path, blob, _size, reference, *_ in rows if blob is None and reference is None]
        come = [_entry(each) for each in rows if each[1] is not None or each[3] is not None]
        return base, Difference(gone=gone, come=come)

    def base_of(self, digest: Digest) -> Digest | None:
        """The base on which a manifest is kept; None for one that is kept in full."""
        found = self._catalog.one("SELECT digest FROM manifest WHERE id = ?", (self.get(digest).base,))
        return None if found is None or found[0] is None else Digest(found[0])

    def blobs_in(self, digests: Iterable[Digest]) -> dict[bytes, int]:
        """Blobs that some manifests have, without those that they have from a base: digests, with their sizes."""
        found: dict[bytes, int] = {}
        for digest in digests:
            rows = self._catalog.rows(
                "SELECT blob.digest, blob.size FROM manifest JOIN entry ON entry.manifest = manifest.id "
                "JOIN blob ON blob.id = entry.blob WHERE manifest.digest = ?",
                (digest,),
            )
            found.update(rows)
        return found

    def can_build_on(self, base: ManifestRow, weight: int, entries: int) -> bool:
        """Whether a difference of so many rows to a base is better than a full manifest."""
        return base.depth < MAX_DEPTH and base.weight + weight <= MAX_WEIGHT_SHARE * entries

    def add_full(
        self,
        digest: Digest,
        entries: Iterable[Entry],
        ids: Ids | None = None,
        *,
        settle: Callable[[], None] | None = None,
        stored_only: bool = True,
    ) -> int:
        """Keep a manifest as all of its entries, whose blobs must be in the catalog; answers its row's number.

        `ids` are row numbers of blobs that a live session knows already; `settle` is called before the manifest can be
        found, and returns when they are stored. Raises Corrupt (blob-missing) for another blob that is nowhere, unless
        stored_only is False: a log is followed whatever was lost.
        """
        id_ = self._begin(base=None)
        count = self._insert(id_, entries, (), ids or {}, stored_only=stored_only)
        if settle is not None:
            settle()
        self._finish(id_, digest, depth=0, weight=0, entries=count)
        return id_

    def add_difference(
        self,
        digest: Digest,
        base: ManifestRow,
        difference: Difference,
        entries: int,
        ids: Ids | None = None,
        *,
        settle: Callable[[], None] | None = None,
        stored_only: bool = True,
    ) -> int:
        """Keep a manifest as what it differs in from a base; see add_full."""
        id_ = self._begin(base=base.id)
        self._insert(id_, difference.come, difference.gone, ids or {}, stored_only=stored_only)
        if settle is not None:
            settle()
        self._finish(id_, digest, depth=base.depth + 1, weight=base.weight + difference.weight, entries=entries)
        return id_

    def keep(self, digest: Digest) -> None:
        """A version names this manifest from now on: it is no longer condemned. Part of the commit transaction."""
        self._catalog.execute(
            "UPDATE manifest SET condemned = NULL WHERE id = (SELECT max(id) FROM manifest WHERE digest = ?1) "
            "AND NOT EXISTS (SELECT 1 FROM manifest WHERE digest = ?1 AND condemned IS NULL)",
            (digest,),
        )

    def _listing(self, digest: Digest, sql: str) -> Iterator[list[Row]]:
        row = self.get(digest)
        has = _HAS_OF_FULL if row.base is None else _HAS
        return self._catalog.stream(has + sql, (row.id,), about=row.entries)

    def _begin(self, *, base: int | None) -> int:
        with self._catalog.prepare():
            return int(self._catalog.execute("INSERT INTO manifest (base) VALUES (?)", (base,)).lastrowid)

    def _finish(self, id_: int, digest: Digest, *, depth: int, weight: int, entries: int) -> None:
        with self._catalog.prepare():
            self._catalog.execute(
                "UPDATE manifest SET digest = ?, depth = ?, weight = ?, entries = ? WHERE id = ?",
                (digest, depth, weight, entries, id_),
            )

    def _insert(
        self,
        id_: int,
        entries: Iterable[Entry],
        gone: Iterable[str],
        ids: Ids,
        *,
        stored_only: bool,
    ) -> int:
        count = 0
        for batch in _batches(entries):
            with self._catalog.prepare():
                paths = self._intern_paths([entry.path for entry in batch])
                files = [entry for entry in batch if isinstance(entry, BlobEntry)]
                others = [(entry, blob_of(entry)) for entry in batch if not isinstance(entry, BlobEntry)]
                digests = [file.digest for file in files] + [blob.digest for _, blob in others if blob]
                blobs = self._blob_ids(digests, ids, stored_only=stored_only)
                self._catalog.insert(
                    "entry (manifest, path, blob)",
                    [(id_, paths[file.path], blobs[file.digest]) for file in files],
                )
                rows: list[tuple[int, int, int | None, int]] = [
                    (
                        id_,
                        paths[entry.path],
                        None if blob is None else blobs[blob.digest],
                        self._intern_reference(entry),
                    )
                    for entry, blob in others
                ]
                self._catalog.insert(_ENTRY, rows)
            count += len(batch)
        for removed in _batches(gone):
            with self._catalog.prepare():
                paths = self._intern_paths(removed)
                self._catalog.insert(_ENTRY, [(id_, paths[path], None, None) for path in removed])
        return count

    def _intern_paths(self, paths: list[str]) -> dict[str, int]:
        row = self._catalog.one("SELECT (SELECT max(path) FROM path), (SELECT coalesce(max(id), 0) FROM path)")
        assert row is not None
        last, number = row
        known: dict[str, int] = {}
        # Paths come sorted: behind the last one there is nothing to look for.
        if last is not None and paths and paths[0] <= last:
            marks = ",".join("?" * len(paths))
            known.update(self._catalog.rows(f"SELECT path, id FROM path WHERE path IN ({marks})", (*paths,)))
        new = [path for path in paths if path not in known]
        numbered = list(zip(new, range(number + 1, number + 1 + len(new)), strict=True))
        self._catalog.insert("path (path, id)", numbered)
        known.update(numbered)
        return known

    def _blob_ids(self, digests: list[Digest], ids: Ids, *, stored_only: bool) -> Ids:
        others = [digest for digest in digests if digest not in ids]
        if not others:
            return ids
        marks = ",".join("?" * len(others))
        where = "AND EXISTS (SELECT 1 FROM stored WHERE stored.blob = blob.id)" if stored_only else ""
        known: Ids = {digest: ids[digest] for digest in digests if digest in ids}
        known.update(self._catalog.rows(f"SELECT digest, id FROM blob WHERE digest IN ({marks}) {where}", (*others,)))
        missing = next((digest for digest in others if digest not in known), None)
        if missing is not None:
            message = f"blob {missing} is nowhere in this store, so nothing was committed. Put the same bytes again"
            raise Corrupt(message, code="blob-missing")
        return known

    def _intern_reference(self, entry: ReferenceEntry) -> int:
        row = self._catalog.one(
            "SELECT id FROM reference WHERE uri = ? AND checksum = ? AND size IS ? AND extra = ?",
            (entry.uri, entry.checksum, entry.size, entry.extra),
        )
        if row is not None:
            return int(row[0])
        cursor = self._catalog.execute(
            "INSERT INTO reference (uri, checksum, size, extra) VALUES (?, ?, ?, ?)",
            (entry.uri, entry.checksum, entry.size, entry.extra),
        )
        return int(cursor.lastrowid)


def missing(digest: Digest) -> Corrupt:
    """The error for a manifest that should be here."""
    message = (
        f"manifest {digest} is not in the catalog. Run `artstore rebuild`, which finds it in the log; where `gc` has "
        "freed it with a version that was forgotten or deleted, only `artstore pull` of that version brings it back"
    )
    return Corrupt(message, code="manifest-missing")


def placed(entry: Entry, pack: int | None = None, offset: int = 0) -> Placed | ReferenceEntry:
    """An entry with a place of its bytes, unless they are elsewhere."""
    blob = blob_of(entry)
    if blob is None:
        assert isinstance(entry, ReferenceEntry)
        return entry
    return Placed(blob.path, blob.digest, blob.size, pack, offset)


def _entry(row: Sequence[Any]) -> Entry:
    path, blob, size, reference, uri, checksum, reference_size, extra = row
    if reference is not None:
        return ReferenceEntry(path, uri, checksum, reference_size, extra)
    if blob is None:
        message = f"the catalog does not say what the bytes of {path!r} are: it is damaged. Run `artstore rebuild`"
        raise Corrupt(message, code="catalog-damaged")
    return BlobEntry(path, Digest(blob), size)


def _path(entry: Entry) -> str:
    return entry.path


def _range(folder: str) -> tuple[str, str | bytes]:
    """Between which values the paths below a folder lie. SQLite sorts every BLOB behind every text."""
    return (f"{folder}/", f"{folder}{_AFTER_SLASH}") if folder else ("", b"")


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch
