"""Write: files of a version are put into a folder, by several processes at once.

Everything that is written was verified by its digest. No path through which the store could be written is ever given
out: a large blob is shared by reflink where the file system can, else copied; a hardlink, where it is asked for, is
read-only. What cannot be written because its bytes are damaged is noted, and the others are written all the same.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from blake3 import blake3

from artstore.errors import Corrupt, Refused
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.share import share
from artstore.lifecycle.tally import Tally
from artstore.lifecycle.target import Target
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.blob_index import WHOLE
from artstore.storage.files import read_exactly, reflink
from artstore.storage.manifests import Placed
from artstore.storage.places import Place, damaged, gone, reading
from artstore.storage.root import Root

Mode = Literal["auto", "reflink", "hardlink", "copy"]
Way = Literal["reflink", "hardlink", "copy"]
BATCH: Final = 500
"""Files that a process or thread writes before it is given others, at most; at the end of a folder a fifth will do."""
BATCH_BYTES: Final = 32 << 20
STRETCH: Final = 1 << 20
"""Bytes of a pack that are read at once."""
GAP: Final = 4 << 10
"""Bytes between two blobs that are read in vain rather than with another call."""
OPEN_PACKS: Final = 16
"""Packs that one writer keeps open: descriptors are few, and packs may be many."""
_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Damaged(NamedTuple):
    """A file of a version that cannot be written, and why."""

    path: str
    message: str
    code: str
    digest: bytes


class Counts(NamedTuple):
    """What was done with some entries."""

    unchanged: int = 0
    reflinked: int = 0
    hardlinked: int = 0
    copied: int = 0
    bytes_written: int = 0
    damaged: tuple[Damaged, ...] = ()
    """Files whose bytes the store has no longer."""

    def plus(self, other: Counts) -> Counts:
        """The sum of two."""
        return Counts(
            self.unchanged + other.unchanged,
            self.reflinked + other.reflinked,
            self.hardlinked + other.hardlinked,
            self.copied + other.copied,
            self.bytes_written + other.bytes_written,
            self.damaged + other.damaged,
        )


def write_files(
    root: Root,
    top: Path,
    entries: Sequence[Placed],
    mode: Mode,
    *,
    is_fresh: bool,
    progress: Progress | None,
) -> Counts:
    """Write the entries, which are sorted by path, into a folder; `is_fresh` says that nothing is in it.

    Raises Refused (no-reflink, no-hardlink) where the mode that was asked for cannot be had.
    """
    batches = list(_batches(entries))
    packs = root.blobs.pack_paths()
    total_bytes = sum(entry.size for entry in entries)
    total = Counts()
    tally = None if progress is None else Tally("write", len(batches), len(entries), total_bytes, progress)

    def write(number: int, *, is_fresh: bool = is_fresh, clears: bool = False) -> Counts:
        told = None if tally is None else tally.counter(number)
        with contextlib.closing(_Writer(root, top, mode, packs, is_fresh=is_fresh, told=told)) as writer:
            if clears:
                writer.clear(batches[number])
            return writer.write(batches[number])

    def again(number: int) -> Counts:
        # What whoever was killed had begun is not left beside it.
        return write(number, is_fresh=False, clears=True)

    for number, counts in share(
        write, len(batches), Counts, again=again, waiting=None if tally is None else tally.tell
    ):
        total = total.plus(counts)
        if tally is not None:
            tally.add(number, len(batches[number]), sum(entry.size for entry in batches[number]))
    return total


def _batches(entries: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
    """What one process writes before it takes more: a folder that two write into makes each wait for the other."""
    start = size = 0
    folder = ""
    for at, entry in enumerate(entries):
        before, folder = folder, entry.path.rpartition("/")[0]
        count = at - start
        if count >= BATCH or size >= BATCH_BYTES or (count >= BATCH // 5 and folder != before):
            yield entries[start:at]
            start, size = at, 0
        size += entry.size
    if start < len(entries):
        yield entries[start:]


class _Task(NamedTuple):
    """A file to be written."""

    folder: str
    name: str
    place: Place
    replaces: bool
    counted: int
    """Bytes that count as done already, since as many were read to see whether the file is the same."""


class _Writer:
    """Writes some entries, in one process or thread."""

    def __init__(
        self,
        root: Root,
        top: Path,
        mode: Mode,
        packs: Mapping[int, str],
        *,
        is_fresh: bool,
        told: whole.Told | None,
    ) -> None:
        self._root = root
        self._mode = mode
        self._is_fresh = is_fresh
        self._target = Target(top)
        self._paths = packs
        self._packs: dict[str, int] = {}
        self._damaged: list[Damaged] = []
        self._bytes_written = 0
        self._done = 0
        """Bytes of the entries that are there, and half of those that were compared and are not."""
        self._counted = 0
        """Of the file that is being written; see _Task."""
        self._told = told

    def close(self) -> None:
        """Let go of all files."""
        for fd in self._packs.values():
            os.close(fd)
        self._target.__exit__(None, None, None)

    def clear(self, batch: Sequence[Placed]) -> None:
        """Remove what dead writers have left in the folders of the entries."""
        for folder in sorted({entry.path.rpartition("/")[0] for entry in batch}):
            if self._target.go_to(folder, make=False):
                self._target.clear()

    def write(self, batch: Sequence[Placed]) -> Counts:
        """Write the entries, which are sorted by path."""
        tasks: list[_Task] = []
        for entry in batch:
            folder, _, name = entry.path.rpartition("/")
            is_there = False
            counted = 0
            if not self._is_fresh:
                self._target.go_to(folder, make=True)
                status = self._target.status(name)
                is_there = status is not None
                if status is not None and stat.S_ISREG(status.st_mode) and status.st_size == entry.size:
                    if self._is_same(name, entry) and not self._is_ours(status, entry):
                        self._done += entry.size
                        continue
                    counted = entry.size // 2
                    self._done += counted
            place = self._place(entry)
            if place is None:
                with self._noting(folder, name, entry.digest):
                    place = self._root.blobs.places(entry.digest)[0]
            if place is not None:
                tasks.append(_Task(folder, name, place, is_there, counted))
        ways: Counter[str] = Counter()
        for stretch in _stretches(tasks):
            ways.update(self._write_stretch(stretch))
        unchanged = len(batch) - ways.total() - len(self._damaged)
        return Counts(
            unchanged, ways["reflink"], ways["hardlink"], ways["copy"], self._bytes_written, tuple(self._damaged)
        )

    def _write_stretch(self, stretch: Sequence[_Task]) -> Iterator[Way]:
        """Write files whose bytes lie one behind the other, or a large one."""
        first, last = stretch[0].place, stretch[-1].place
        data = memoryview(b"")
        if not first.is_whole:
            with contextlib.suppress(FileNotFoundError, Corrupt), reading(first):
                fd = self._pack(first.path)
                data = memoryview(read_exactly(fd, last.offset + last.size - first.offset, first.offset))
        for folder, name, place, replaces, counted in stretch:
            self._counted = counted
            self._target.go_to(folder, make=True)
            start = place.offset - first.offset
            piece = data[start : start + place.size]
            if not place.is_whole and blake3(piece).digest() == place.digest:
                self._target.write(name, piece, replaces=replaces)
                how: Way | None = "copy"
            else:
                how = None
                with self._noting(folder, name, place.digest):
                    how = self._write_one(name, place, replaces=replaces)
            if how is not None:
                self._bytes_written += place.size
                self._done += place.size - counted
                yield how

    @contextlib.contextmanager
    def _noting(self, folder: str, name: str, digest: Digest) -> Iterator[None]:
        """Note of damage which file it hurts, and go on: the others are wanted all the more."""
        try:
            yield
        except Corrupt as error:
            path = f"{folder}/{name}" if folder else name
            self._damaged.append(Damaged(path, error.message, error.code, bytes(digest)))

    def _place(self, entry: Placed) -> Place | None:
        """Where the bytes were when the entries were listed."""
        if entry.pack == WHOLE:
            return self._root.blobs.whole_place(entry.digest, entry.size)
        path = None if entry.pack is None else self._paths.get(entry.pack)
        return None if path is None else Place(entry.digest, entry.size, path, entry.offset, None, is_whole=False)

    def _is_same(self, name: str, entry: Placed) -> bool:
        """Read a file of the same size; that is half of the work, as long as it may have to be written."""
        fd = self._target.open(name)
        try:
            return whole.measure(fd, told=lambda done: self._tell(done // 2)).digest == entry.digest
        finally:
            os.close(fd)

    def _is_ours(self, status: os.stat_result, entry: Placed) -> bool:
        """Whether a file is the store's own by another name, of an earlier checkout, and should be one of its own."""
        if self._mode == "hardlink" or status.st_nlink == 1:
            return False
        if not status.st_mode & 0o222:
            # As a store's own file is. Which one, nobody knows: it may be another store's, or in the trash by now.
            return True
        with contextlib.suppress(OSError):
            path = self._root.blobs.whole_place(entry.digest, entry.size).path
            return os.path.samestat(status, os.stat(path))
        return False

    def _write_one(self, name: str, place: Place, *, replaces: bool) -> Way:
        try:
            return self._write_from(name, place, replaces=replaces)
        except (FileNotFoundError, Corrupt):
            # Its pack was repacked since it was looked up, or this copy is damaged: any other will do. Or the same
            # again, opened anew: a server that was started again knows no file that was open.
            self._drop_pack(place.path)
            others = [other for other in self._root.blobs.places(place.digest) if other != place]
            for other in (*others, place):
                with contextlib.suppress(FileNotFoundError, Corrupt):
                    return self._write_from(name, other, replaces=replaces)
            raise (damaged(place) if os.path.exists(place.path) else gone(place)) from None

    def _write_from(self, name: str, place: Place, *, replaces: bool) -> Way:
        if place.is_whole:
            return self._write_whole(name, place)
        with reading(place):
            data = read_exactly(self._pack(place.path), place.size, place.offset)
        if len(data) != place.size or blake3(data).digest() != place.digest:
            raise damaged(place)
        self._target.write(name, data, replaces=replaces)
        return "copy"

    def _write_whole(self, name: str, place: Place) -> Way:
        counted = self._counted

        def within(done: int) -> None:
            self._tell(done - done * counted // place.size)

        with reading(place):
            source = os.open(place.path, _OPEN_FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise damaged(place)
            if self._mode == "hardlink":
                with reading(place):
                    found = whole.measure(source, told=within)
                self._check(place, found)
                self._link(name, place)
                return "hardlink"
            with self._target.replacing(name) as (fd, _temporary):
                if self._mode != "copy" and reflink(source, fd):
                    # The blob, whose blocks the file has now: unlike the file's, its pages may be in memory.
                    self._check(place, whole.measure(source, told=within))
                    return "reflink"
                if self._mode == "reflink":
                    message = f"this file system cannot share the bytes of {name!r}: use the mode auto or copy"
                    raise Refused(message, code="no-reflink")
                try:
                    found = whole.copy_file(source, fd, limit=place.size, told=within)
                except Refused as error:
                    if error.code != "unreadable":
                        raise
                    raise damaged(place) from error
                self._check(place, found)
            return "copy"
        finally:
            os.close(source)

    def _tell(self, more: int) -> None:
        """Say how far it is within a file."""
        if self._told is not None:
            self._told(self._done + more)

    def _check(self, place: Place, found: whole.Stored) -> None:
        if found.digest != place.digest:
            raise damaged(place)

    def _link(self, name: str, place: Place) -> None:
        try:
            self._target.link(place.path, name)
        except OSError as error:
            message = f"{name!r} cannot be a hardlink into the store ({error.strerror}): use the mode auto or copy"
            raise Refused(message, code="no-hardlink") from error

    def _drop_pack(self, path: str) -> None:
        fd = self._packs.pop(path, None)
        if fd is not None:
            os.close(fd)

    def _pack(self, path: str) -> int:
        fd = self._packs.pop(path, None)
        if fd is None:
            while len(self._packs) >= OPEN_PACKS:
                # The one that was used longest ago: each use puts a pack at the end.
                os.close(self._packs.pop(next(iter(self._packs))))
            fd = os.open(path, _OPEN_FLAGS)
        self._packs[path] = fd
        return fd


def _stretches(tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
    """Neighbours that are read together: what was put together lies together, in the order of its paths."""
    stretch: list[_Task] = []
    start = end = 0
    path = ""
    for task in tasks:
        place = task.place
        is_next = 0 <= place.offset - end <= GAP and place.offset + place.size - start <= STRETCH
        if stretch and (not is_next or place.path != path or place.is_whole):
            yield stretch
            stretch = []
        if not stretch:
            start, path = place.offset, place.path
        end = place.offset + place.size
        stretch.append(task)
    if stretch:
        yield stretch
