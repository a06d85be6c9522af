"""Checkout: a version is written into a folder.

Only what differs is written, and everything that is written was verified by its digest. No path through which the store
could be written is ever given out: a large blob is shared by reflink where the file system can, else copied; a
hardlink, where it is asked for, is read-only. What stands in the way is found before the first byte is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar, get_args

from blake3 import blake3

from artstore.errors import (
    ArtstoreError,
    Corrupt,
    Invalid,
    NotFound,
    PathCollision,
    Problem,
    Refused,
    StorageFull,
    named,
)
from artstore.lifecycle.fetch import Fetch, bring, naming, not_here
from artstore.lifecycle.patterns import is_plain_path, matcher
from artstore.lifecycle.progress import Progress, Tick, telling
from artstore.lifecycle.reports import GetReport
from artstore.lifecycle.resolve import Resolved
from artstore.lifecycle.scan import STORE_FOLDER, UNFINISHED
from artstore.lifecycle.share import share
from artstore.lifecycle.target import Target
from artstore.model.digest import Digest
from artstore.model.manifest import ReferenceEntry
from artstore.model.paths import entry_path, find_collisions, portability_warnings, quoted
from artstore.storage import whole
from artstore.storage.blobs import WHOLE
from artstore.storage.files import random_hex, read_exactly, reflink
from artstore.storage.manifests import Placed, placed
from artstore.storage.places import Place, damaged, gone, reading
from artstore.storage.root import Root, holds_store

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
_NAMED: Final = 10
_Listed = Placed | ReferenceEntry
_Any = TypeVar("_Any", bound=_Listed)
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


def checkout(
    root: Root,
    resolved: Resolved,
    target: Path,
    *,
    patterns: Sequence[str] = (),
    mode: Mode = "auto",
    delete: bool = False,
    fetch: Fetch | None = None,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> GetReport:
    """Make the files of a version that match the patterns stand in the target, which is made if it is not there.

    What references stand for is fetched, before anything else is written; without `fetch` a reference is an error,
    Invalid (is-a-reference). Those whose bytes are gone are ReferenceMissing or ReferenceChanged; with `allow_missing`
    they are left out, and the report says which.

    Raises PathCollision where a folder stands in place of a file, or a link or a file in place of a folder, Refused
    (no-reflink, no-hardlink) where the mode that was asked for cannot be had, Invalid (own-store) where the target is
    in the store, or with `delete` in any, and StorageFull or Refused (no-permission, target-failed) where the target
    cannot be written; and, once all other files are written, Corrupt where the store's bytes are not what they should
    be. With `delete`, other files that match the patterns go; the folder of a store never does. Raises Invalid
    (bad-mode) for a mode that there is not.
    """
    began = time.monotonic()
    if mode not in get_args(Mode):
        message = f"{mode!r} is not a way to write files: choose one of {', '.join(get_args(Mode))}"
        raise Invalid(message, code="bad-mode")
    matches = matcher(patterns)
    _check_target(root, target, delete=delete)
    with contextlib.ExitStack() as ending:
        ending.enter_context(_target_errors(target))
        ending.enter_context(root.reading("get"))
        entries = list(_wanted(root, resolved, patterns, matches))
        blobs, references = _sorted_out(entries, fetch)
        root.blobs.bring([blob.digest for blob in blobs], telling(progress, "bring"))
        if not target.is_dir():
            _make_target(target)
        is_fresh = not any(target.iterdir())
        if not is_fresh:
            _preflight(target, entries)
        _check_paths(target, entries)
        brought = bring(
            target,
            references,
            None if fetch is None else naming(fetch, resolved.name),
            is_fresh=is_fresh,
            allow_missing=allow_missing,
            progress=progress,
        )
        is_fresh = is_fresh and not references
        counts = _write_all(root, target, blobs, mode, is_fresh=is_fresh, progress=progress)
        if counts.damaged:
            # Here, since a child's doubts are its own; and before anything is deleted that may be all that is left.
            for each in counts.damaged:
                root.blobs.doubt(Digest(each.digest))
            raise _damage(resolved.name, counts.damaged, len(entries))
        others = _delete_others(root, target, {entry.path for entry in entries}, matches) if delete else _Others(0, [])
    return GetReport(
        version=resolved.info(),
        target=str(target),
        written=counts.reflinked + counts.hardlinked + counts.copied + brought.fetched,
        unchanged=counts.unchanged + brought.unchanged,
        deleted=others.deleted,
        spared=others.spared,
        bytes_written=counts.bytes_written + brought.bytes_written,
        reflinked=counts.reflinked,
        hardlinked=counts.hardlinked,
        copied=counts.copied,
        fetched=brought.fetched,
        missing=brought.missing,
        seconds=time.monotonic() - began,
    )


def _wanted(
    root: Root,
    resolved: Resolved,
    patterns: Sequence[str],
    matches: Callable[[str], bool],
) -> Iterator[_Listed]:
    if patterns and all(map(is_plain_path, patterns)):
        # One file out of a million is looked up, not looked for; what is not a file may be a folder.
        with contextlib.suppress(NotFound):
            paths = sorted({entry_path(pattern.lstrip("/")) for pattern in patterns})
            yield from [placed(root.manifests.entry(resolved.manifest, path)) for path in paths]
            return
    for entry in root.manifests.placed(resolved.manifest):
        if matches(entry.path):
            yield entry


def _sorted_out(entries: Iterable[_Listed], fetch: Fetch | None) -> tuple[list[Placed], list[ReferenceEntry]]:
    """What is here and what has to be fetched. Raises where a path could lead out, and for what nobody can fetch."""
    blobs: list[Placed] = []
    references: list[ReferenceEntry] = []
    for entry in entries:
        _check_path(entry.path)
        if isinstance(entry, Placed):
            blobs.append(entry)
        elif fetch is None:
            raise not_here(entry)
        else:
            references.append(entry)
    return blobs, references


def _check_path(path: str) -> None:
    # It passed this gate when it was added; but a manifest may come from elsewhere, and this is where it is written.
    try:
        is_normal = entry_path(path) == path
    except Invalid:
        is_normal = False
    if not is_normal:
        message = f"the version has the path {quoted(path)}, which could lead out of a folder: nothing was written"
        raise Corrupt(message, code="manifest-damaged")


def _check_target(root: Root, target: Path, *, delete: bool) -> None:
    where = target.resolve()
    own = root.path.resolve()
    for folder in (where, *where.parents):
        # A store may itself have been put, and is got again like anything else: but what more it has is its own.
        if folder == own or (delete and holds_store(folder)):
            message = f"{str(target)!r} is a store's own folder, or in it ({str(folder)!r}): choose another place"
            raise Invalid(message, code="own-store")


@contextlib.contextmanager
def _target_errors(target: Path) -> Iterator[None]:
    """Turn what the system says of the target into the error that a caller can act on."""
    try:
        yield
    except ArtstoreError:
        raise
    except OSError as error:
        what = f" ({error.filename!r})" if error.filename else ""
        message = f"{str(target)!r} cannot be written{what}: {error.strerror or error}. Nothing in the store is harmed"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(f"{message}; free some space there, then repeat", code="storage-full") from error
        code = "no-permission" if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} else "target-failed"
        raise Refused(message, code=code) from error


def _make_target(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{str(target)!r} is not a folder: choose another place"
        raise PathCollision(message, code="not-a-folder") from error


def _preflight(top: Path, entries: Iterable[_Listed]) -> None:
    """Find everything that stands in the way, and clear away what a `get` that was killed has left."""
    in_the_way: list[str] = []
    cleared: set[str] = set()
    with Target(top) as target:
        for folder, name, _entry in _by_folder(entries):
            try:
                is_there = target.go_to(folder, make=False)
                if is_there and folder not in cleared:
                    target.clear()
                    cleared.add(folder)
                status = target.status(name) if is_there else None
            except PathCollision as collision:
                in_the_way.append(collision.message)
                continue
            if status is not None and stat.S_ISDIR(status.st_mode):
                in_the_way.append(f"{str(top / folder / name)!r} is a folder, and a file in the version")
    if in_the_way:
        found = list(dict.fromkeys(in_the_way))
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        message = f"nothing was written: {'; '.join(found[:_NAMED])}{more}"
        raise PathCollision(message, code="in-the-way")


def _check_paths(target: Path, entries: Sequence[_Listed]) -> None:
    """Find the paths that this file system cannot hold side by side."""
    paths = [entry.path for entry in entries]
    twins = find_collisions(paths)
    lost = [" and ".join(map(quoted, group)) for group in twins if _are_one(target, group)]
    if os.name == "nt":
        lost += [warning for path in paths for warning in portability_warnings(path)]
    if lost:
        message = f"nothing was written: this file system cannot hold {'; '.join(lost)}. Check them out one at a time"
        raise PathCollision(message, code="one-path-here")


def _are_one(target: Path, twins: Sequence[str]) -> bool:
    # What differs is tried alone, in a folder of its own: whole paths would be too long, and could be there.
    parts = [twin.rstrip("/").split("/") for twin in twins]
    names = next(set(alike) for alike in zip(*parts, strict=False) if len(set(alike)) > 1)
    probe = f"{UNFINISHED}{random_hex(8)}.probe"
    written: list[str] = []
    with Target(target) as place:
        place.go_to(probe, make=True)
        try:
            for name in sorted(names):
                if place.status(name) is not None:
                    return True
                place.write(name, b"", replaces=False)
                written.append(name)
        finally:
            for name in written:
                place.remove(name)
            os.rmdir(target / probe)
    return False


def _damage(called: str, found: Sequence[Damaged], files: int) -> Corrupt:
    """What is raised once all other files are written."""
    problems = [Problem(each.path, each.message) for each in sorted(found)]
    if len(problems) == 1:
        path, reason = problems[0]
        message = f"{quoted(path)} of {called}: {reason}"
    else:
        message = f"{len(problems):,} files of {called} are damaged: {named(problems)}"
    rest = files - len(problems)
    if rest:
        message += f". What else was asked for is there ({rest:,} of {files:,} files)"
    return Corrupt(message, code=found[0].code, problems=problems)


def _write_all(
    root: Root,
    top: Path,
    entries: Sequence[Placed],
    mode: Mode,
    *,
    is_fresh: bool,
    progress: Progress | None,
) -> Counts:
    batches = list(_batches(entries))
    packs = root.blobs.pack_paths()
    total_bytes = sum(entry.size for entry in entries)
    total = Counts()
    done = seen_bytes = 0

    def write(number: int, *, is_fresh: bool = is_fresh) -> Counts:
        with contextlib.closing(_Writer(root, top, mode, packs, is_fresh=is_fresh)) as writer:
            return writer.write(batches[number])

    def again(number: int) -> Counts:
        return write(number, is_fresh=False)

    for number, counts in share(write, len(batches), Counts, again=again):
        total = total.plus(counts)
        done += len(batches[number])
        seen_bytes += sum(entry.size for entry in batches[number])
        if progress is not None:
            progress(Tick("write", done, seen_bytes, len(entries), total_bytes))
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


class _Writer:
    """Writes some entries, in one process or thread."""

    def __init__(self, root: Root, top: Path, mode: Mode, packs: Mapping[int, str], *, is_fresh: bool) -> None:
        self._root = root
        self._mode = mode
        self._is_fresh = is_fresh
        self._target = Target(top)
        self._paths = packs
        self._packs: dict[str, int] = {}
        self._damaged: list[Damaged] = []
        self._bytes_written = 0

    def close(self) -> None:
        """Let go of all files."""
        for fd in self._packs.values():
            os.close(fd)
        self._target.__exit__(None, None, None)

    def write(self, batch: Sequence[Placed]) -> Counts:
        """Write the entries, which are sorted by path."""
        tasks: list[_Task] = []
        for folder, name, entry in _by_folder(batch):
            is_there = False
            if not self._is_fresh:
                self._target.go_to(folder, make=True)
                status = self._target.status(name)
                is_there = status is not None
                if status is not None and self._is_same(name, status, entry) and not self._is_ours(status, entry):
                    continue
            place = self._place(entry)
            if place is None:
                with self._noting(folder, name, entry.digest):
                    place = self._root.blobs.places(entry.digest)[0]
            if place is not None:
                tasks.append(_Task(folder, name, place, is_there))
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
        for folder, name, place, replaces in stretch:
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

    def _is_same(self, name: str, status: os.stat_result, entry: Placed) -> bool:
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return False
        fd = self._target.open(name)
        try:
            return whole.measure(fd).digest == entry.digest
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
            raise (damaged(place, 0) if os.path.exists(place.path) else gone(place)) from None

    def _write_from(self, name: str, place: Place, *, replaces: bool) -> Way:
        if place.is_whole:
            return self._write_whole(name, place)
        with reading(place):
            data = read_exactly(self._pack(place.path), place.size, place.offset)
        if len(data) != place.size or blake3(data).digest() != place.digest:
            raise damaged(place, 0)
        self._target.write(name, data, replaces=replaces)
        return "copy"

    def _write_whole(self, name: str, place: Place) -> Way:
        with reading(place):
            source = os.open(place.path, _OPEN_FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise damaged(place, 0)
            if self._mode == "hardlink":
                with reading(place):
                    found = whole.measure(source)
                self._check(place, found)
                self._link(name, place)
                return "hardlink"
            with self._target.replacing(name) as (fd, _temporary):
                if self._mode != "copy" and reflink(source, fd):
                    # The blob, whose blocks the file has now: unlike the file's, its pages may be in memory.
                    self._check(place, whole.measure(source))
                    return "reflink"
                if self._mode == "reflink":
                    message = f"this file system cannot share the bytes of {name!r}: use the mode auto or copy"
                    raise Refused(message, code="no-reflink")
                try:
                    found = whole.copy_file(source, fd, limit=place.size)
                except Refused as error:
                    if error.code != "unreadable":
                        raise
                    raise damaged(place, 0) from error
                self._check(place, found)
            return "copy"
        finally:
            os.close(source)

    def _check(self, place: Place, found: whole.Stored) -> None:
        if found.digest != place.digest:
            raise damaged(place, 0)

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


def _by_folder(entries: Iterable[_Any]) -> Iterator[tuple[str, str, _Any]]:
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        yield folder, name, entry


class _Others(NamedTuple):
    """What became of files that the version has not."""

    deleted: int
    spared: list[str]
    """Stores, other than the one in use."""


def _delete_others(root: Root, top: Path, wanted: set[str], matches: Callable[[str], bool]) -> _Others:
    """Delete the files that the version has not, and the folders that are empty then; never the folder of a store."""
    deleted = 0
    spared: list[str] = []
    folders: list[str] = []
    for folder, below, names in os.walk(top):
        prefix = os.path.relpath(folder, top).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        links = [name for name in below if os.path.islink(os.path.join(folder, name))]
        stores = [
            name for name in below if name not in links and (name == STORE_FOLDER or holds_store(Path(folder, name)))
        ]
        below[:] = [name for name in below if name not in links and name not in stores]
        spared += [prefix + name for name in stores if not Path(folder, name).samefile(root.path)]
        for name in [*names, *links]:
            if prefix + name not in wanted and matches(prefix + name):
                with Target(top) as target:
                    if target.go_to(prefix.rstrip("/"), make=False):
                        target.remove(name)
                        deleted += 1
        folders += [os.path.join(folder, name) for name in below]
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            # Not empty: it stays.
            os.rmdir(folder)
    return _Others(deleted, sorted(spared))
