"""Blobs: immutable bytes named by their digest, however they are stored.

Readers ask here and never learn whether a blob is a file of its own or lies in a pack. Nothing is handed out
unverified: a small blob is hashed, a large one is checked block by block against the checksums kept with it, and hashed
as a whole where it has none. A small blob whose place is known beforehand is checked against its checksum first, for
which a blob of 10 KiB takes 0.3 µs instead of 5, and hashed where that fails. What is found damaged is an error that
names it, and the next `put` of the same bytes stores them again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_digest

from artstore.errors import ArtstoreError, Conflict, Corrupt
from artstore.model.digest import Digest
from artstore.storage import packs, quarantine, stat_cache, whole
from artstore.storage.blob_reader import BlobReader
from artstore.storage.database import Connections
from artstore.storage.files import read_exactly
from artstore.storage.handles import Handles
from artstore.storage.places import OPEN_FLAGS, Place, gone, so_called
from artstore.storage.quarantine import Verdict

SMALL: Final = 1 << 20
"""Blobs up to this many bytes lie in packs, larger ones are files of their own."""
WHOLE: Final = 0
"""The number in place of a pack's for a file of the blob's own."""

_LOOKUP: Final = 5_000
_LAST: Final = (1 << 63) - 1
_FILES: Final = 2_000
_FILES_BYTES: Final = 256 << 20
"""Files, and bytes of files, that are a portion."""

Ids = dict[bytes, int]
"""Row numbers of blobs by digest."""

Tell = Callable[[int, int], None]
"""Is told how many blobs, and how many bytes, have come so far."""
Beside = Callable[[], Sequence[Digest]]
"""What will be wanted next, and may be brought along."""
Bring = Callable[[Sequence[Digest], Tell | None], None]
"""Stores blobs that are not here, as far as it knows where they are. Raises Unreachable, Denied and Corrupt."""


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

Packed = tuple[str, int, bytes, int, int]
"""Where a small blob lies: the path of an entry, its size and checksum, the pack's number, and the offset in the pack.

A plain row, since making another object of each costs more than asking for them all.
"""


class _State(NamedTuple):
    """What changes when another file takes the place of one that was read."""

    inode: int
    size: int
    mtime_ns: int


class Blobs:
    """The blobs of a store."""

    def __init__(self, root: Path, catalog: Connections) -> None:
        self._root = root
        self._packs = str(root / "packs") + os.sep
        self._catalog = catalog
        self._handles = Handles(self._packs)
        self.elsewhere: Bring | None = None
        """How to get what is not here; None where nobody knows."""
        self._doubted: set[bytes] = set()
        """Those that were found damaged, and are stored all the same."""

    def bring(self, digests: Sequence[Digest], tell: Tell | None = None) -> None:
        """Have those brought that are not here, if somebody knows from where.

        What nobody knows of stays away, and is an error for whoever reads it.
        """
        if self.elsewhere is not None and digests:
            here = self.locate(digests)
            absent = [digest for digest in dict.fromkeys(digests) if digest not in here]
            if absent:
                self.elsewhere(absent, tell)

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

    def check_stored(self, digests: Sequence[Digest]) -> None:
        """Raise Corrupt (blob-missing) where one is nowhere, before a version is made that would need it."""
        here = self.locate(digests)
        missing = next((digest for digest in digests if digest not in here), None)
        if missing is not None:
            message = f"blob {missing} is nowhere in this store, so nothing was committed. Put the same bytes again"
            raise Corrupt(message, code="blob-missing")

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

    def places(self, digest: Digest, *, called: str = "", beside: Beside | None = None) -> list[Place]:
        """Every place that holds a blob, a file of its own first. Raises Corrupt (blob-missing) if there is none.

        `called` says in the message what the blob is to whoever asks, as `'a.txt' of cats:v3`; `beside` is asked only
        where the blob is not here and has to be brought.
        """
        found = self.places_of(digest)
        if not found and self.elsewhere is not None:
            found = self._bring_one(digest, () if beside is None else beside())
        if not found:
            message = (
                f"{so_called(called)}blob {digest} is missing from this store. Put the same bytes again, or run "
                "`artstore repair PATH`"
            )
            raise Corrupt(message, code="blob-missing")
        return found

    def _bring_one(self, digest: Digest, along: Sequence[Digest]) -> list[Place]:
        assert self.elsewhere is not None
        if along:
            # What is damaged of the others must not take this one along.
            with contextlib.suppress(Corrupt):
                self.elsewhere([digest, *along], None)
            if found := self.places_of(digest):
                return found
        self.elsewhere([digest], None)
        return self.places_of(digest)

    def places_of(self, digest: Digest) -> list[Place]:
        """Every place that holds a blob, if any."""
        rows = self._catalog.rows(
            "SELECT blob.size, sums, stored.pack, offset, name FROM blob JOIN stored ON stored.blob = blob.id "
            "LEFT JOIN pack ON pack.id = stored.pack WHERE digest = ? ORDER BY stored.pack",
            (digest,),
        )
        return [self._place((digest, *row)) for row in rows]

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

    def read(self, digest: Digest, *, beside: Beside | None = None) -> bytes:
        """All bytes of a blob, verified. `beside` as in `places`."""
        with contextlib.closing(self.open(digest, beside=beside)) as reader:
            return reader.readall()

    def pack_names(self) -> dict[int, str]:
        """The names of the packs by their numbers, which hold while the pack is there."""
        return dict(self._catalog.rows("SELECT id, name FROM pack"))

    def read_packed(self, packed: Packed, pack: str) -> bytes | None:
        """All bytes of a blob that lay in a pack, verified; None where they do no longer, or are damaged."""
        _, size, checksum, _, offset = packed
        try:
            data = self._handles.get(pack).read(size, offset)
        except OSError:
            data = None
        if data is not None and xxh3_64_digest(data) == checksum:
            return data
        # Repacked, put aside, or damaged.
        self._handles.drop(pack)
        return None

    def close(self) -> None:
        """Let go of the files."""
        self._handles.close()

    def stream(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of a blob, each block verified before it is handed out."""
        with contextlib.closing(self.open(digest)) as reader:
            yield from reader.blocks()

    def open(self, digest: Digest, *, called: str = "", beside: Beside | None = None) -> BlobReader:
        """A seekable file over a blob, in whichever place opens; where that is damaged it goes on in another.

        `called` says in messages what the blob is to whoever asks, as `'a.txt' of cats:v3`; `beside` as in `places`.
        """
        places = self.places(digest, called=called, beside=beside)
        for attempt in range(2):
            for index, place in enumerate(places):
                with contextlib.suppress(FileNotFoundError):
                    # The same place again at last: what is stale, or failed once, may be read when it is opened anew.
                    others = [*places[index + 1 :], place]
                    return BlobReader(place, others=others, called=called, doubt=self.doubt)
            if attempt == 0:
                # Its pack was repacked since it was looked up: the catalog knows the new one.
                places = self.places(digest, called=called)
        self.doubt(digest)
        raise gone(places[0], called=called)

    def doubt(self, digest: Digest) -> None:
        """See to it that the next `put` stores a blob again that could not be read.

        What is damaged is put aside; but a large file of the right size stays where it is, for what is whole in it,
        and counts as stored no longer in this process. What cannot be done now is left to `verify`.
        """
        with contextlib.suppress(ArtstoreError):
            for place in self.places_of(digest):
                state = _state(place)
                if not place.is_whole or state is None or state.size != place.size:
                    self.put_aside(place)
                elif quarantine.judge(place) == "whole":
                    self._mend_sums(place)
                else:
                    self._catalog.check_writable()
                    self._doubted.add(digest)
                    stat_cache.forget(self._root)

    def put_aside(self, place: Place) -> Verdict:
        """Look at one place again; where it is damaged its bytes go into the quarantine, and count as stored no longer.

        A store that cannot be written is only looked at. A place that there is no more is whole. Where the bytes are
        whole, and the checksums noted of them wrong, those are noted anew.
        """
        before = _state(place)
        verdict = quarantine.judge(place)
        if not self._catalog.is_writable:
            return verdict
        if verdict == "whole":
            self._mend_sums(place)
        if verdict != "damaged":
            return verdict
        with self._catalog.write():
            if place not in self.places_of(place.digest) or _state(place) != before:
                # Freed, repacked, or put aside and stored again at the same place since it was read.
                return "whole"
            quarantine.keep(self._root, place)
            self.forget_place(place)
        # It takes blobs for stored as long as a manifest names them.
        stat_cache.forget(self._root)
        return verdict

    def _mend_sums(self, place: Place) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(place.path, OPEN_FLAGS)
            try:
                if place.is_whole:
                    sums = whole.measure(fd).sums
                else:
                    sums = xxh3_64_digest(read_exactly(fd, place.size, place.offset))
            finally:
                os.close(fd)
            if place.sums is not None and sums != place.sums:
                with self._catalog.write():
                    self._catalog.execute("UPDATE blob SET sums = ? WHERE digest = ?", (sums, place.digest))

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


def _state(place: Place) -> _State | None:
    """The state of the file of a place; None where there is none."""
    with contextlib.suppress(OSError):
        status = os.stat(place.path, follow_symlinks=False)
        return _State(status.st_ino, status.st_size, status.st_mtime_ns)
    return None
