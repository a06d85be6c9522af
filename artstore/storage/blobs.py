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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from xxhash import xxh3_64_digest

from artstore.errors import ArtstoreError, Corrupt
from artstore.model.digest import Digest
from artstore.storage import quarantine, stat_cache, whole
from artstore.storage.blob_index import BlobIndex
from artstore.storage.blob_reader import BlobReader
from artstore.storage.database import Connections
from artstore.storage.files import read_exactly
from artstore.storage.handles import Handles
from artstore.storage.places import MISSING_NOW, OPEN_FLAGS, Place, gone, so_called
from artstore.storage.quarantine import Verdict

SMALL: Final = 1 << 20
"""Blobs up to this many bytes lie in packs, larger ones are files of their own."""

Tell = Callable[[int, int], None]
"""Is told how many blobs, and how many bytes, have come so far."""
Beside = Callable[[], Sequence[Digest]]
"""What will be wanted next, and may be brought along."""

Packed = tuple[str, int, bytes, int, int]
"""Where a small blob lies: the path of an entry, its size and checksum, the pack's number, and the offset in the pack.

A plain row, since making another object of each costs more than asking for them all.
"""


class Elsewhere(Protocol):
    """Who may have blobs that are not here."""

    def __call__(self, digests: Sequence[Digest], tell: Tell | None) -> None:
        """Store blobs that are not here, as far as it is known where they are.

        Raises Unreachable, Denied, and once the others are stored Corrupt, whose problems say why each of these cannot
        be had, by its digest.
        """

    def lacks(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of some blobs that nobody has who is known; none where somebody cannot be asked now."""


class _State(NamedTuple):
    """What changes when another file takes the place of one that was read."""

    inode: int
    size: int
    mtime_ns: int


class Blobs(BlobIndex):
    """The blobs of a store."""

    def __init__(self, root: Path, catalog: Connections) -> None:
        super().__init__(root, catalog)
        self._handles = Handles(self._packs)
        self.elsewhere: Elsewhere | None = None
        """How to get what is not here; None where nobody knows."""

    def bring(self, digests: Sequence[Digest], tell: Tell | None = None) -> None:
        """Have those brought that are not here, if somebody knows from where.

        What nobody knows of stays away, and is an error for whoever reads it. Raises as `Elsewhere`.
        """
        if self.elsewhere is not None and digests:
            here = self.placed(digests)
            absent = [digest for digest in dict.fromkeys(digests) if digest not in here]
            if absent:
                self.elsewhere(absent, tell)

    def check_stored(self, digests: Sequence[Digest]) -> None:
        """Raise Corrupt (blob-missing) where one is nowhere, before a version is made that would need it."""
        here = self.placed(digests)
        missing = next((digest for digest in digests if digest not in here), None)
        if missing is not None:
            message = f"blob {missing} is nowhere in this store, so nothing was committed. Put the same bytes again"
            raise Corrupt(message, code="blob-missing")

    def places(self, digest: Digest, *, called: str = "", beside: Beside | None = None) -> list[Place]:
        """Every place that holds a blob, a file of its own first. Raises Corrupt (blob-missing) if there is none.

        `called` says in the message what the blob is to whoever asks, as `'a.txt' of cats:v3`; `beside` is asked only
        where the blob is not here and has to be brought.
        """
        found = self.places_of(digest)
        if not found and self.elsewhere is not None:
            try:
                found = self._bring_one(digest, () if beside is None else beside())
            except Corrupt as error:
                raise Corrupt(f"{so_called(called)}{error.message}", code=error.code) from error
        if not found:
            message = f"{so_called(called)}blob {digest} is missing from this store. {MISSING_NOW}"
            with contextlib.suppress(ArtstoreError):
                # Whoever puts the same bytes again must not be told that they are here.
                stat_cache.forget_any(self._root, self._catalog)
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

    def read(self, digest: Digest, *, beside: Beside | None = None) -> bytes:
        """All bytes of a blob, verified. `beside` as in `places`."""
        with contextlib.closing(self.open(digest, beside=beside)) as reader:
            return reader.readall()

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
                    stat_cache.forget(self._root, self._catalog)

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
            if not self.places_of(place.digest):
                # It takes blobs for stored as long as a manifest names them.
                stat_cache.forget(self._root, self._catalog)
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


def _state(place: Place) -> _State | None:
    """The state of the file of a place; None where there is none."""
    with contextlib.suppress(OSError):
        status = os.stat(place.path, follow_symlinks=False)
        return _State(status.st_ino, status.st_size, status.st_mtime_ns)
    return None
