"""Indexes: where the small blobs of a depot lie, with those of many packs in one object, and copies here.

    packs/<project>/<random>.idx                     the index of one pack (`index`)
    indexes/<project>/<how many, 9 digits>.<random>  a segment: those of many packs, sealed, as {pack: index}

Whoever begins with a depot reads some segments, and not an object for each pack. They are a help and can be lost or
damaged, beside any push and any collector: a name of a pack is never used twice, and what they say of packs that no
slot names is not asked for. A segment is written by whoever puts packs there, of each BLOCK packs that are in none;
FACTOR of about one size become one. A pack's own index is a help in turn: where that is lost or damaged it is made
again from the pack, which has the same in its headers.

The copies lie in the store's folder, and can be lost as well.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from artstore.errors import ArtstoreError, Corrupt, MissingObject
from artstore.storage import packs
from artstore.storage.files import make_directory, random_hex, storage_errors
from artstore.storage.packs import Member
from artstore.sync.depots.index import decode_index, encode_index
from artstore.sync.depots.sealed import MOST_BYTES, seal, unseal
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel

BLOCK: Final = 128
FACTOR: Final = 16
_FEW: Final = 8
"""Packs whose own indexes are read before it is looked whether there are segments."""
_SEGMENT: Final = ".segment"
_READ: Final = ".read"
"""Of a copy of indexes that were read one by one."""
_ONE: Final = ".idx"
_NAME: Final = re.compile(r"[0-9]{9}\.[0-9a-f]{16}")

Segment = dict[str, bytes]


class Indexes:
    """The indexes of the packs of one project in a depot."""

    def __init__(self, objects: Objects, part: str, folder: Path) -> None:
        """`part` stands for the project in names; copies lie in `folder`."""
        self.gone: set[str] = set()
        """Packs that were asked for and cannot be read: of none of their blobs it is known where they lie."""
        self._objects = objects
        self._part = part
        self._folder = folder
        self._in_copies: set[str] = set()
        """Packs that are in segments of which there is a copy here, as far as these were read."""

    def of(self, names: Iterable[str]) -> dict[str, list[Member]]:
        """What is in some packs, as far as that can be found out. Raises Unreachable, Denied, StorageFull of here."""
        wanted = dict.fromkeys(names)
        found: dict[str, list[Member]] = {}
        copies = self._copies()
        for some in (*copies.values(), *self._read_before()):
            self._take(some, wanted, found)
        absent = [name for name in wanted if name not in found and name not in self.gone]
        if len(absent) > _FEW:
            for segment in self._segments(absent, copies):
                self._take(segment, wanted, found)
            absent = [name for name in absent if name not in found]
        self._in_copies = set().union(*copies.values())
        self._read_each(absent, found)
        return found

    def keep(self, name: str, index: bytes) -> None:
        """Keep a copy of an index that was just put there."""
        self._write_copy(f"{name}{_ONE}", index)

    def drop(self, names: Iterable[str]) -> None:
        """Keep no copies of these, which are gone."""
        for name in names:
            with contextlib.suppress(OSError):
                (self._folder / f"{name}{_ONE}").unlink()

    def restore(self, name: str) -> None:
        """Put an index there again that is gone. Nothing where nobody knows any more what it said."""
        for members in self.of([name]).values():
            index = encode_index(members)
            self._objects.write(self._place_of(name), [index], len(index))

    def damaged(self, names: Iterable[str]) -> set[str]:
        """Those of these packs whose own index is gone or cannot be read, found out by reading each."""

        def is_damaged(name: str) -> bool:
            try:
                decode_index(self._objects.read(self._place_of(name)), name)
            except (MissingObject, Corrupt):
                return True
            return False

        return {name for name, is_bad in in_parallel(is_damaged, list(names)) if is_bad}

    def gather(self, names: Iterable[str]) -> None:
        """Put those of these packs that are in no segment into one, where they are many."""
        wanted = dict.fromkeys(names)
        if sum(name not in self._in_copies for name in wanted) >= BLOCK:
            self._gather(wanted, apart_from=())

    def tidy(self, names: Iterable[str]) -> None:
        """Remove segments of which others have all that is still there, or in which the half is gone; gather the rest.

        `names` are all packs that are there.
        """
        wanted = dict.fromkeys(names)
        # Not from copies, which do not know what is damaged since.
        there = {name: self._read_segment(name) for name in self._list()}
        whole = {name: segment for name, segment in there.items() if segment is not None}
        for name, segment in sorted(whole.items()):
            live = wanted.keys() & segment.keys()
            others = set().union(*(other for each, other in whole.items() if each != name))
            if live <= others or 2 * len(live) < len(segment):
                del whole[name]
        dropped = [name for name in there if name not in whole]
        self._gather(wanted, apart_from=dropped)
        for name in dropped:
            self._objects.remove(self._called(name))

    # Segments there.

    def _gather(self, wanted: Mapping[str, None], *, apart_from: Collection[str]) -> None:
        """As `gather`, as if some segments were not there."""
        copies = self._copies()
        listed = set(self._list())
        there = {name: segment for name, segment in copies.items() if name in listed}
        for _ in self._segments(wanted, there):
            pass
        for name in apart_from:
            there.pop(name, None)
        covered = set().union(*there.values())
        loose = [name for name in wanted if name not in covered]
        if len(loose) >= BLOCK:
            members = self.of(loose)
            there |= self._write({name: encode_index(members[name]) for name in loose if name in members})
            self._merge(wanted, there)
        self._tidy_copies(wanted, there, copies)

    def _segments(self, wanted: Iterable[str], taken: dict[str, Segment]) -> Iterator[Segment]:
        """Segments that may have some of these packs, the largest first; those are put into `taken`, or are there."""
        left = set(wanted).difference(*taken.values())
        for _ in range(2):
            is_stale = False
            for name in sorted(self._list(), reverse=True):
                if not left:
                    return
                if name in taken:
                    continue
                segment = self._read_segment(name)
                if segment is None:
                    is_stale = True
                    continue
                taken[name] = segment
                left.difference_update(segment)
                yield segment
            if not is_stale:
                return
            # It may have become part of a larger one since they were listed.

    def _list(self) -> Iterator[str]:
        head = f"indexes/{self._part}/"
        names = (name.removeprefix(head) for name in self._objects.names(head))
        return (name for name in names if _NAME.fullmatch(name))

    def _called(self, segment: str) -> str:
        return f"indexes/{self._part}/{segment}"

    def _read_segment(self, name: str) -> Segment | None:
        try:
            data = self._objects.read(self._called(name))
        except (MissingObject, Corrupt):
            return None
        segment = unseal(data, Segment)
        if segment is not None:
            self._write_copy(f"{name}{_SEGMENT}", data)
        return segment

    def _write(self, indexes: Segment) -> dict[str, Segment]:
        """Put some indexes there together, in as many segments as they need."""
        written: dict[str, Segment] = {}
        for some in _parts(indexes):
            data = seal(some)
            name = f"{len(some):09d}.{random_hex(8)}"
            self._objects.write(self._called(name), [data], len(data))
            self._write_copy(f"{name}{_SEGMENT}", data)
            written[name] = some
        return written

    def _merge(self, wanted: Mapping[str, None], there: dict[str, Segment]) -> None:
        """Make one of those that are of about one size, where they are many."""
        size = BLOCK * FACTOR
        while True:
            larger = set().union(*(segment for segment in there.values() if len(segment) >= size))
            small = [
                name
                for name, segment in there.items()
                # Of those that one has been made of, not everybody may remove them.
                if size // FACTOR <= len(segment) < size and not larger.issuperset(segment)
            ]
            if len(small) >= FACTOR:
                together = {pack: data for name in small for pack, data in there[name].items() if pack in wanted}
                if sum(map(len, together.values())) <= MOST_BYTES:
                    there |= self._write(together)
                    for name in small:
                        self._objects.remove(self._called(name))
                        del there[name]
            elif size > max(map(len, there.values()), default=0):
                return
            size *= FACTOR

    # Each by itself.

    def _read_each(self, names: Sequence[str], found: dict[str, list[Member]]) -> None:
        read: Segment = {}
        for name, index in in_parallel(self._read, names):
            if index is None:
                self.gone.add(name)
            else:
                read[name] = index
        self._take(read, dict.fromkeys(names), found)
        if len(read) > _FEW:
            self._write_copy(f"{random_hex(8)}{_READ}", seal(read))
        else:
            for name, index in read.items():
                self.keep(name, index)

    def _read(self, name: str) -> bytes | None:
        """The index of a pack; None where there is none, and none can be made."""
        place = self._place_of(name)
        try:
            data = self._objects.read(place)
            decode_index(data, place)
        except (MissingObject, Corrupt):
            made = self._from_pack(name)
            if made is None:
                return None
            with contextlib.suppress(ArtstoreError):
                # Who may not write there can read all the same.
                self._objects.write(place, [made], len(made))
            return made
        return data

    def _place_of(self, name: str) -> str:
        return f"packs/{self._part}/{name}{_ONE}"

    def _from_pack(self, name: str) -> bytes | None:
        temporary = self._folder / f"{name}.{random_hex(8)}.tmp"
        try:
            with storage_errors("looking what is in a pack of a remote"):
                make_directory(self._folder)
                with temporary.open("wb") as file:
                    for block in self._objects.stream(f"packs/{self._part}/{name}{packs.SUFFIX}"):
                        file.write(block)
                index = encode_index(packs.members(temporary))
            decode_index(index, name)
        except (MissingObject, Corrupt):
            return None
        finally:
            temporary.unlink(missing_ok=True)
        return index

    # Copies here.

    def _copies(self) -> dict[str, Segment]:
        """Those of segments, by their names."""
        return {path.name.removesuffix(_SEGMENT): segment for path, segment in self._copied(_SEGMENT)}

    def _read_before(self) -> Iterator[Segment]:
        """Those of indexes that were not read from segments."""
        ones: Segment = {}
        with contextlib.suppress(OSError):
            for path in self._folder.glob(f"*{_ONE}"):
                ones[path.stem] = path.read_bytes()
        yield ones
        yield from (segment for _path, segment in self._copied(_READ))

    def _copied(self, suffix: str) -> Iterator[tuple[Path, Segment]]:
        for path in list(self._folder.glob(f"*{suffix}")):
            with contextlib.suppress(OSError):
                segment = unseal(path.read_bytes(), Segment)
                if segment is not None:
                    yield path, segment

    def _write_copy(self, name: str, data: bytes) -> None:
        # Not synced: what a power cut leaves of it is known for damaged, and read again.
        temporary = self._folder / f"{name}.{random_hex(8)}.tmp"
        with storage_errors("noting what a remote has"):
            make_directory(self._folder)
            try:
                temporary.write_bytes(data)
                temporary.replace(self._folder / name)
            finally:
                temporary.unlink(missing_ok=True)

    def _tidy_copies(
        self, wanted: Mapping[str, None], there: Mapping[str, Segment], copies: Mapping[str, Segment]
    ) -> None:
        """Let go of copies that say nothing more than those of the segments that are there."""
        covered = set().union(*there.values())
        self._in_copies = covered
        with contextlib.suppress(OSError):
            for name, segment in copies.items():
                if name not in there and covered.issuperset(wanted.keys() & segment.keys()):
                    (self._folder / f"{name}{_SEGMENT}").unlink(missing_ok=True)
            for path, segment in self._copied(_READ):
                if covered.issuperset(wanted.keys() & segment.keys()):
                    path.unlink()
            for path in sorted(self._folder.glob(f"*{_ONE}")):
                if path.stem in covered:
                    path.unlink()

    def _take(self, some: Segment, wanted: Mapping[str, None], found: dict[str, list[Member]]) -> None:
        """Read those indexes that are wanted."""
        for name in wanted.keys() & some.keys() - found.keys():
            with contextlib.suppress(Corrupt):
                found[name] = decode_index(some[name], f"{name}{_ONE} at {self._objects.url}")


def _parts(indexes: Segment) -> Iterator[Segment]:
    part: Segment = {}
    size = 0
    for name, data in indexes.items():
        if part and size + len(data) > MOST_BYTES:
            yield part
            part, size = {}, 0
        part[name] = data
        size += len(data)
    if part:
        yield part
