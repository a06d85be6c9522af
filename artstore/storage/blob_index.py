"""Blob index: which blobs are kept, and where each of them lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from artstore.errors import Conflict
from artstore.model.digest import Digest
from artstore.storage import packs, whole
from artstore.storage.database import Connections
from artstore.storage.places import Place

WHOLE: Final = 0
"""The number in place of a pack's for a file of the blob's own."""

_LOOKUP: Final = 5_000
_LAST: Final = (1 << 63) - 1
_FILES: Final = 2_000
_FILES_BYTES: Final = 256 << 20
"""Files, and bytes of files, that are a portion."""

Ids = dict[bytes, int]
"""Row numbers of blobs by digest."""


class Portion(NamedTuple):
    """Some of the places: all that are in one pack, or some files of blobs of their own."""

    pack: int
    name: str | None
    """Of the pack; None for files."""
    first: int
    last: int
    """The row numbers of blobs that it goes from and to."""


Lying = tuple[int, int, bytes, bytes | None]
"""What lies in a pack: offset, size, digest and checksum. A plain row, as Packed is."""


class BlobIndex:
    """What the catalog knows of the blobs of a store."""

    def __init__(self, root: Path, catalog: Connections) -> None:
        self._root = root
        self._packs = str(root / "packs") + os.sep
        self._catalog = catalog
        self._doubted: set[bytes] = set()
        """Those that were found damaged, and are stored all the same."""

    def known(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of the digests that are stored, synced, and not condemned by `gc`, and whose files are there."""
        return set(self.known_sizes(digests))

    def known_sizes(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Those that `known` answers, with the bytes that they have."""
        found: dict[bytes, int] = {}
        is_there: dict[int, bool] = {}
        for start in range(0, len(digests), _LOOKUP):
            some = digests[start : start + _LOOKUP]
            sql = (
                "SELECT digest, blob.size, stored.pack FROM blob JOIN stored ON stored.blob = blob.id "
                f"WHERE digest IN ({','.join('?' * len(some))}) AND condemned IS NULL"
            )
            for digest, size, pack in self._catalog.rows(sql, tuple(some)):
                if pack == WHOLE:
                    if _has_size(str(whole.path_of(self._root, Digest(digest))), size):
                        found[digest] = size
                    continue
                if pack not in is_there:
                    is_there[pack] = self._has_pack_file(pack)
                if is_there[pack]:
                    found[digest] = size
        for digest in self._doubted:
            found.pop(digest, None)
        return found

    def has_all_packs(self) -> bool:
        """Whether the files of all packs are there."""
        rows = self._catalog.rows("SELECT name, size FROM pack")
        return all(_has_size(self._packs + name, size) for name, size in rows)

    def _has_pack_file(self, pack: int) -> bool:
        row = self._catalog.one("SELECT name, size FROM pack WHERE id = ?", (pack,))
        return row is not None and _has_size(self._packs + row[0], row[1])

    def has_file(self, digest: Digest, size: int) -> bool:
        """Whether the file of a large blob is there, as long as it should be."""
        return _has_size(str(whole.path_of(self._root, digest)), size)

    def is_empty(self) -> bool:
        """Whether nothing was ever stored."""
        return self._catalog.one("SELECT 1 FROM blob LIMIT 1") is None

    def announce(self, members: Iterable[packs.Member]) -> Ids:
        """Give row numbers to blobs that a live session is about to store, and will note with `add_pack`.

        They hold while the session lives. Until then nobody else takes the blobs for stored.
        """
        found: Ids = {}
        for some in _ordered(members):
            with self._catalog.prepare():
                found.update(self._intern_members(some, acquit=True))
        return found

    def add_pack(
        self, name: str, size: int, members: Iterable[packs.Member], *, ids: Ids | None = None, acquit: bool = True
    ) -> None:
        """Make a published and synced pack's blobs known, and fit to be relied on again, unless acquit is False.

        `ids` are their row numbers, where they were announced.
        """
        with self._catalog.prepare():
            self._catalog.execute("INSERT OR IGNORE INTO pack (name, size) VALUES (?, ?)", (name, size))
            pack = self._number("SELECT id FROM pack WHERE name = ?", name)
        count = 0
        for some in _ordered(members):
            with self._catalog.prepare():
                if self._catalog.one("SELECT 1 FROM pack WHERE id = ? AND name = ?", (pack, name)) is None:
                    message = f"the pack {name!r} was taken away while it was noted: repeat"
                    raise Conflict(message, code="pack-gone")
                known = self._intern_members(some, acquit=acquit) if ids is None else ids
                rows = [(known[member.digest], pack, member.offset) for member in some]
                self._catalog.insert("stored (blob, pack, offset)", rows, or_ignore=True)
            count += len(some)
        with self._catalog.prepare():
            self._catalog.execute("UPDATE pack SET members = ? WHERE id = ?", (count, pack))

    def add_whole(self, blobs: Sequence[whole.Stored]) -> None:
        """Make published and synced files known."""
        for start in range(0, len(blobs), _LOOKUP):
            some = blobs[start : start + _LOOKUP]
            with self._catalog.write():
                ids = self._intern([(blob.digest, blob.size, blob.sums or None) for blob in some], acquit=True)
                rows = [(ids[blob.digest], WHOLE, 0) for blob in some]
                self._catalog.insert("stored (blob, pack, offset)", rows, or_ignore=True)
            self._doubted.difference_update(blob.digest for blob in some)

    def size_of(self, digest: Digest) -> int | None:
        """The bytes of a blob, as a manifest gives them, also where it is not here."""
        row = self._catalog.one("SELECT size FROM blob WHERE digest = ?", (bytearray(digest),))
        return None if row is None else int(row[0])

    def expect(self, blobs: Sequence[tuple[Digest, int]]) -> None:
        """Make blobs known that a manifest names and that, perhaps, are not here; the size that it gives is right."""
        for start in range(0, len(blobs), _LOOKUP):
            with self._catalog.write():
                some = blobs[start : start + _LOOKUP]
                marks = ",".join("?" * len(some))
                sql = f"SELECT digest, size FROM blob WHERE digest IN ({marks})"
                # Mostly all are there, or none is: where they were just received, and where they come later.
                sizes: dict[bytes, int] = dict(self._catalog.rows(sql, tuple(digest for digest, _size in some)))
                new = [(digest, size, None) for digest, size in some if digest not in sizes]
                self._intern(new, acquit=False)
                other = [(size, bytearray(digest)) for digest, size in some if sizes.get(digest, size) != size]
                self._catalog.executemany("UPDATE blob SET size = ? WHERE digest = ?", other)

    def has_pack(self, name: str) -> bool:
        """Whether a pack is in the catalog, with all that it holds."""
        return self._catalog.one("SELECT 1 FROM pack WHERE name = ? AND members IS NOT NULL", (name,)) is not None

    def places_of(self, digest: Digest) -> list[Place]:
        """Every place that holds a blob, if any."""
        rows = self._catalog.rows(
            "SELECT blob.size, sums, stored.pack, offset, name FROM blob JOIN stored ON stored.blob = blob.id "
            "LEFT JOIN pack ON pack.id = stored.pack WHERE digest = ? ORDER BY stored.pack",
            (digest,),
        )
        return [self._place((digest, *row)) for row in rows]

    def placed(self, digests: Sequence[Digest]) -> set[bytes]:
        """Those that `locate` has a place for, in half of its time."""
        found: set[bytes] = set()
        for start in range(0, len(digests), _LOOKUP):
            some = digests[start : start + _LOOKUP]
            sql = (
                f"SELECT digest FROM blob WHERE digest IN ({','.join('?' * len(some))}) "
                "AND EXISTS (SELECT 1 FROM stored WHERE stored.blob = blob.id)"
            )
            found.update(digest for (digest,) in self._catalog.rows(sql, tuple(some)))
        return found

    def locate(self, digests: Sequence[Digest]) -> dict[bytes, Place]:
        """A place for each of the digests that is here, a file of its own rather than a pack."""
        found: dict[bytes, Place] = {}
        for start in range(0, len(digests), _LOOKUP):
            some = digests[start : start + _LOOKUP]
            sql = (
                "SELECT digest, blob.size, sums, stored.pack, offset, name "
                "FROM blob JOIN stored ON stored.blob = blob.id LEFT JOIN pack ON pack.id = stored.pack "
                f"WHERE digest IN ({','.join('?' * len(some))}) ORDER BY stored.pack DESC"
            )
            for digest, *columns in self._catalog.rows(sql, tuple(some)):
                found[digest] = self._place((digest, *columns))
        return found

    def pack_paths(self) -> dict[int, str]:
        """Where each pack is, by its number."""
        return {id_: self._packs + name for id_, name in self._catalog.rows("SELECT id, name FROM pack")}

    def whole_place(self, digest: Digest, size: int) -> Place:
        """The place of a blob in a file of its own, whether or not that is there."""
        return Place(digest, size, str(whole.path_of(self._root, digest)), 0, None, is_whole=True)

    def portions(self) -> list[Portion]:
        """All places, in parts of which none takes long: packs, and up to a number and a size of files."""
        # A pack that is not known any more has, perhaps, blobs that are.
        rows = self._catalog.rows(
            "SELECT number, name FROM (SELECT id AS number FROM pack UNION SELECT pack FROM stored WHERE pack <> ?) "
            "LEFT JOIN pack ON pack.id = number ORDER BY number",
            (WHOLE,),
        )
        found = [Portion(number, name, 0, _LAST) for number, name in rows]
        sql = "SELECT blob.id, size FROM stored JOIN blob ON blob.id = blob WHERE pack = ? ORDER BY blob.id"
        first = count = total = 0
        for some in self._catalog.stream(sql, (WHOLE,), about=_LOOKUP + 1):
            for id_, size in some:
                count += 1
                total += size
                if count >= _FILES or total >= _FILES_BYTES:
                    found.append(Portion(WHOLE, None, first, id_))
                    first, count, total = id_ + 1, 0, 0
        return [*found, Portion(WHOLE, None, first, _LAST)] if count else found

    def lying_in(self, pack: int) -> list[Lying]:
        """The blobs of a pack, in its order."""
        sql = "SELECT offset, size, digest, sums FROM stored JOIN blob ON id = blob WHERE pack = ? ORDER BY offset"
        return self._catalog.rows(sql, (pack,))

    def places_in(self, portion: Portion) -> list[Place]:
        """The places of a portion."""
        rows = self._catalog.rows(
            "SELECT digest, blob.size, sums, stored.pack, offset, name FROM stored JOIN blob ON blob.id = stored.blob "
            "LEFT JOIN pack ON pack.id = stored.pack WHERE stored.pack = ? AND blob BETWEEN ? AND ? ORDER BY digest",
            (portion.pack, portion.first, portion.last),
        )
        return [self._place(row) for row in rows]

    def path_of_pack(self, name: str) -> str:
        """Where a pack is."""
        return self._packs + name

    def _place(self, row: tuple[Any, ...]) -> Place:
        digest, size, sums, pack, offset, name = row
        if pack == WHOLE or name is None:
            path = str(whole.path_of(self._root, Digest(digest)))
            return Place(Digest(digest), size, path, 0, sums, is_whole=True)
        return Place(Digest(digest), size, self._packs + name, offset, sums, is_whole=False)

    def pack_names(self) -> dict[int, str]:
        """The names of the packs by their numbers, which hold while the pack is there."""
        return dict(self._catalog.rows("SELECT id, name FROM pack"))

    def forget(self, digest: Digest, pack: int) -> None:
        """Take a blob's place in the pack of this number out of the catalog: the bytes there are gone or damaged."""
        with self._catalog.write():
            self._catalog.execute(
                "DELETE FROM stored WHERE pack = ? AND blob = (SELECT id FROM blob WHERE digest = ?)",
                (pack, digest),
            )

    def forget_place(self, place: Place) -> None:
        """As `forget`, of a place that was found."""
        self.forget(place.digest, self._pack_number(place))

    def _pack_number(self, place: Place) -> int:
        if place.is_whole:
            return WHOLE
        return self._number("SELECT id FROM pack WHERE name = ?", os.path.basename(place.path))

    def _intern_members(self, members: Sequence[packs.Member], *, acquit: bool) -> Ids:
        blobs = [(m.digest, m.size, bytearray(m.checksum.to_bytes(8, "big"))) for m in members]
        return self._intern(blobs, acquit=acquit)

    def _intern(self, blobs: Sequence[tuple[Digest, int, bytes | bytearray | None]], *, acquit: bool) -> Ids:
        first = self._number("SELECT coalesce(max(id), 0) + 1 FROM blob")
        rows = [(id_, bytearray(digest), size, sums) for id_, (digest, size, sums) in enumerate(blobs, start=first)]
        if self._catalog.insert("blob (id, digest, size, sums)", rows, or_ignore=True) == len(rows):
            # Mostly all are new, and then nothing has to be looked for.
            return {blob[0]: id_ for id_, blob in enumerate(blobs, start=first)}
        sums_of = {digest: sums for digest, _size, sums in blobs}
        known: Ids = {}
        condemned: list[tuple[int]] = []
        summed: list[tuple[bytes | bytearray, int]] = []
        sql = f"SELECT digest, id, condemned, sums IS NULL FROM blob WHERE digest IN ({','.join('?' * len(sums_of))})"
        for digest, id_, epoch, has_none in self._catalog.rows(sql, tuple(sums_of)):
            known[digest] = id_
            if epoch is not None and acquit:
                condemned.append((id_,))
            if has_none and (sums := sums_of[digest]) is not None:
                summed.append((sums, id_))
        # A manifest named them before their bytes came. Without checksums every reader hashes them.
        self._catalog.executemany("UPDATE blob SET sums = ? WHERE id = ?", summed)
        # Stored again: `gc`, which may be about to free it, has to ask anew.
        self._catalog.executemany("UPDATE blob SET condemned = NULL WHERE id = ?", condemned)
        return known

    def _number(self, sql: str, *parameters: object) -> int:
        row = self._catalog.one(sql, parameters)
        assert row is not None
        return int(row[0])


def _ordered(members: Iterable[packs.Member]) -> Iterator[list[packs.Member]]:
    """Some at a time, in the order of the index, which is filled from one end then instead of all over."""
    ordered = sorted(members, key=_digest)
    for start in range(0, len(ordered), _LOOKUP):
        yield ordered[start : start + _LOOKUP]


def _digest(member: packs.Member) -> bytes:
    return member.digest


def _has_size(path: str, size: int) -> bool:
    """Whether a file is there, and no shorter."""
    try:
        return os.stat(path, follow_symlinks=False).st_size >= size
    except OSError:
        return False
