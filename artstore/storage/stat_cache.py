"""The stat cache: which files were hashed already.

It may only skip hashing. A file is taken for unchanged if device, inode, size, mtime and ctime are those of a file that
was already two seconds old when it was hashed (a younger one could change again within the grain of its time stamps)
and that nobody could change without dating it (see unseen).
One file for each folder that was put; all of them may be deleted at any time.

What was hashed is taken for stored. So the catalog has a random number, the *era*, that a cache has to have too, and
whatever takes bytes out of the store changes that number with the rows: a cache of before is not believed, nor one that
a put saves which began before.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice
from operator import and_
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
from xxhash import xxh3_64, xxh3_64_digest

from artstore.model.digest import SIZE, Digest
from artstore.storage import rights
from artstore.storage.database import Connections
from artstore.storage.files import random_hex, sync_directory

T = TypeVar("T")

MARGIN_NS: Final = 2_000_000_000
_MAGIC: Final = b"artstore-stat 3\n"
_ERA_SIZE: Final = 8
# The magic, the era, the manifest's digest, how many files, whether those are all of it; then their stamps and digests,
# the prefix and the paths, and the XXH3-64 of all of that.
_HEAD: Final = struct.Struct(f"={len(_MAGIC)}s{_ERA_SIZE}s{SIZE}sQ?")
_SUM_SIZE: Final = 8
_BETWEEN: Final = "\n"
"""Between paths, which have no control characters."""
_AT_ONCE: Final = 20_000
_NAMES: Final = f"{'[0-9a-f]' * 32}*"
"""Other files are not ours, as those that a network disk keeps for who has them open."""
_STALE_S: Final = 3_600.0
"""After so long nobody writes it any more."""
# Device and inode without a sign: overlay, CephFS and FUSE use the upper bits. Dates before 1970 have one.
_STAMP: Final = struct.Struct("=QQqqq")
_NUMBER: Final = 8
_SIZE_AT: Final = 2
_DATES_AT: Final = (3, 4)

Stamp = bytes
"""What tells a file from a changed one: device, inode, size, mtime and ctime in nanoseconds, packed: a million fit."""


NEVER: Final[Stamp] = _STAMP.pack(0, 0, -1, (1 << 63) - 1, (1 << 63) - 1)
"""In place of the stamp of a file that may change without its stamp: no file has it, and it is never kept."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """A file that was hashed."""

    path: str
    stamp: Stamp
    digest: Digest
    size: int
    """Bytes."""


class Head(NamedTuple):
    """Whose files a cache has, and how many; see StatCache."""

    manifest: Digest | None
    prefix: str
    is_whole: bool
    files: int


class StatCache:
    """What was hashed below one folder. A file has a place in it, from 0 on: an object for each would be slow."""

    def __init__(
        self,
        manifest: Digest | None = None,
        *,
        prefix: str = "",
        is_whole: bool = False,
        paths: Sequence[str] = (),
        stamps: bytes = b"",
        digests: bytes = b"",
    ) -> None:
        self.manifest = manifest
        """A manifest that holds every blob named here: while it lives, so do they."""
        self.prefix = prefix
        """What the paths of that manifest have before those of this cache."""
        self.is_whole = is_whole
        """Whether the manifest holds these files and nothing else, and no system has trouble with their paths."""
        self.paths = paths
        """In the folder, each at its place."""
        self._stamps = stamps
        self._digests = digests
        self._sizes = array("q", stamps)[_SIZE_AT :: _STAMP.size // _NUMBER]
        self._places = dict(zip(paths, range(len(paths)), strict=True))

    @property
    def head(self) -> Head:
        """Whose it is."""
        return Head(self.manifest, self.prefix, self.is_whole, len(self.paths))

    def unchanged(self, path: str, stamp: Stamp) -> int | None:
        """The place of a file whose stamp is still the same; None for any other."""
        at = self._places.get(path)
        if at is None or self._stamps[at * _STAMP.size : (at + 1) * _STAMP.size] != stamp:
            return None
        return at

    def digest_at(self, path: str) -> Digest | None:
        """The digest that the file at a path had; None where there was none, or it is not believed."""
        at = self._places.get(path)
        return None if at is None else self.digest(at)

    def digest(self, at: int) -> Digest:
        """The digest of the file at a place."""
        return Digest(self._digests[at * SIZE : (at + 1) * SIZE])

    def size(self, at: int) -> int:
        """The bytes of the file at a place."""
        return self._sizes[at]

    def stamp(self, at: int) -> Stamp:
        """The stamp of the file at a place."""
        return self._stamps[at * _STAMP.size : (at + 1) * _STAMP.size]

    def larger_than(self, size: int) -> list[int]:
        """The places of the files that have more bytes."""
        return [at for at, each in enumerate(self._sizes) if each > size]

    def disbelieve(self, at: int) -> None:
        """Let the file at a place be hashed again."""
        self._places.pop(self.paths[at], None)


class Findings:
    """What a scan found below a folder, to be kept for the next one."""

    def __init__(self, folder: str, prefix: str, began_ns: int, era: bytes) -> None:
        self.folder = folder
        self.prefix = prefix
        """See StatCache."""
        self.began_ns = began_ns
        """When the scan began, in nanoseconds since 1970: no file was hashed before."""
        self.era = era
        """That of the store when the put began."""
        self.paths: list[str] = []
        self.digests: list[Digest] = []
        self.stamps = bytearray()

    def add(self, files: Sequence[Known]) -> None:
        """Note some files."""
        self.paths += [file.path for file in files]
        self.digests += [file.digest for file in files]
        self.stamps += b"".join([file.stamp for file in files])

    def add_unchanged(self, cache: StatCache, places: Sequence[int], digests: Sequence[Digest]) -> None:
        """Note some files that a cache has, and with these digests."""
        self.paths += [cache.paths[at] for at in places]
        self.digests += digests
        self.stamps += b"".join([cache.stamp(at) for at in places])


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def era(catalog: Connections) -> bytes:
    """What a cache has to have to be believed."""
    row = catalog.one("SELECT value FROM meta WHERE key = 'hashed'")
    return bytes(_ERA_SIZE) if row is None else bytes(row[0])


def disbelieve_all(catalog: Connections) -> None:
    """Begin another era, as a part of the transaction that takes bytes out of the store."""
    with catalog.write():
        catalog.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('hashed', ?)", (os.urandom(_ERA_SIZE),))


def load(root: Path, folder: str, era: bytes) -> StatCache:
    """What is known below a folder; nothing, if the cache is lost, cannot be read, or is of another era."""
    try:
        data = _file(root, folder).read_bytes()
    except OSError:
        return StatCache()
    if len(data) < _HEAD.size + _SUM_SIZE or xxh3_64_digest(memoryview(data)[:-_SUM_SIZE]) != data[-_SUM_SIZE:]:
        return StatCache()
    magic, of, manifest, count, is_whole = _HEAD.unpack_from(data)
    if (magic, of) != (_MAGIC, era):
        return StatCache()
    digests = _HEAD.size + _STAMP.size * count
    names = digests + SIZE * count
    prefix, *paths = data[names:-_SUM_SIZE].decode().split(_BETWEEN)
    return StatCache(
        Digest(manifest),
        prefix=prefix,
        is_whole=is_whole,
        paths=paths,
        stamps=data[_HEAD.size : digests],
        digests=data[digests:names],
    )


def save(
    root: Path,
    manifest: Digest,
    findings: Findings,
    holds: Callable[[str, Digest], bool] | None = None,
    *,
    is_whole: bool = False,
) -> None:
    """Keep what was found, as far as the manifest holds it; `holds` is not asked where it has all of it.

    `is_whole` says that it has nothing else; see StatCache. Never fails: it is only a cache.
    """
    chosen = _chosen(findings, holds)
    count = sum(chosen)
    is_all = count == len(chosen)
    width = _STAMP.size
    stamps = memoryview(findings.stamps)
    target = _file(root, findings.folder)
    temporary = target.with_name(f"{target.name}.{random_hex(4)}.tmp")
    with contextlib.suppress(OSError):
        with rights.create(temporary) as file:
            hasher = xxh3_64()

            def write(data: bytes | memoryview) -> None:
                hasher.update(data)
                file.write(data)

            write(_HEAD.pack(_MAGIC, findings.era, manifest, count, is_whole and is_all))
            # In pieces: a second copy of a million paths is more than the memory that there is for it.
            if is_all:
                write(stamps)
            else:
                each = (stamps[at : at + width] for at in range(0, len(stamps), width))
                for some in _batches(compress(each, chosen)):
                    write(b"".join(some))
            for digests in _batches(findings.digests if is_all else compress(findings.digests, chosen)):
                write(b"".join(digests))
            write(findings.prefix.encode())
            for paths in _batches(findings.paths if is_all else compress(findings.paths, chosen)):
                write(f"{_BETWEEN}{_BETWEEN.join(paths)}".encode())
            file.write(hasher.digest())
        os.replace(temporary, target)


def _chosen(findings: Findings, holds: Callable[[str, Digest], bool] | None) -> bytearray:
    """Which files can be believed the next time."""
    newest = findings.began_ns - MARGIN_NS
    numbers = memoryview(findings.stamps).cast("q")
    dated = [numbers[at :: _STAMP.size // _NUMBER] for at in _DATES_AT]
    if all(max(dates, default=newest - 1) < newest for dates in dated):
        # Nearly always.
        chosen = bytearray(b"\1") * len(findings.paths)
    else:
        chosen = bytearray(mtime < newest and ctime < newest for mtime, ctime in zip(*dated, strict=True))
    if holds is not None:
        chosen = bytearray(map(and_, chosen, map(holds, findings.paths, findings.digests)))
    return chosen


def hand_over(
    root: Path,
    manifest: Digest,
    findings: Findings,
    before: Head,
    holds: Callable[[str, Digest], bool],
    *,
    is_whole: bool = False,
) -> None:
    """As `save`, where the cache that there was has all that was found: it is written again if it is another's."""
    is_own = (manifest, findings.prefix) == (before.manifest, before.prefix)
    if before.manifest is None or (is_own and (before.is_whole or not is_whole)):
        return
    cache = load(root, findings.folder, findings.era)
    # Else somebody has written it meanwhile.
    if cache.head == before:
        places = range(len(cache.paths))
        findings.add_unchanged(cache, places, list(map(cache.digest, places)))
        save(root, manifest, findings, holds, is_whole=is_whole)


def forget(root: Path, catalog: Connections) -> None:
    """Begin another era, and delete all of it: what it says to be stored may not be."""
    disbelieve_all(catalog)
    for path in _all(root):
        # What cannot be deleted is not believed either.
        with contextlib.suppress(OSError):
            path.unlink()


def forget_any(root: Path, catalog: Connections) -> None:
    """As `forget`, where there is something: for who may ask again and again."""
    if catalog.is_writable and _all(root):
        forget(root, catalog)


def tidy(root: Path, is_here: Callable[[Digest], bool]) -> None:
    """Delete what killed puts left, and what was hashed for manifests that are not here any more; durably."""
    folder = root / "stat_cache"
    removed = False
    for path in folder.glob(_NAMES):
        with contextlib.suppress(OSError):
            if path.suffix == ".tmp":
                is_wanted = time.time() - path.stat().st_mtime < _STALE_S
            else:
                with path.open("rb") as file:
                    head = file.read(_HEAD.size)
                is_wanted = len(head) == _HEAD.size and is_here(Digest(_HEAD.unpack(head)[2]))
            if not is_wanted:
                path.unlink()
                removed = True
    if removed:
        # One that comes back with its manifest would take for stored what was freed.
        sync_directory(folder)


def _all(root: Path) -> list[Path]:
    """What is there; nothing where somebody has deleted the folder, or put something else in its place."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return list((root / "stat_cache").iterdir())
    return []


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _AT_ONCE)):
        yield batch


def _file(root: Path, folder: str) -> Path:
    return root / "stat_cache" / Digest.of(os.fsencode(folder)).hex()[:32]
