"""The stat cache: which files were hashed already.

It may only skip hashing. A file is taken for unchanged if device, inode, size, mtime and ctime are those of a file that
was already two seconds old when it was hashed (a younger one could change again within the grain of its time stamps)
and that nobody could change without dating it (see unseen).
One file for each folder that was put; all of them may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from xxhash import xxh3_64, xxh3_64_digest

from artstore.model.digest import SIZE, Digest
from artstore.storage import rights
from artstore.storage.files import random_hex

T = TypeVar("T")

MARGIN_NS: Final = 2_000_000_000
_MAGIC: Final = b"artstore-stat 1\n"
# The magic, the manifest's digest, how many files; then their stamps, digests and paths, and the XXH3-64 of all of it.
_HEAD: Final = struct.Struct(f"={len(_MAGIC)}s{SIZE}sQ")
_SUM_SIZE: Final = 8
_BETWEEN: Final = "\n"
"""Between paths, which have no control characters."""
_AT_ONCE: Final = 20_000
# Device and inode without a sign: overlay, CephFS and FUSE use the upper bits. Dates before 1970 have one.
_STAMP: Final = struct.Struct("=QQqqq")

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


class StatCache:
    """What was hashed below one folder."""

    def __init__(self, manifest: Digest | None, files: dict[str, Known]) -> None:
        self.manifest = manifest
        """A manifest that holds every blob named here: while it lives, so do they."""
        self.files = files


class Findings:
    """What a scan found below a folder, to be kept for the next one."""

    def __init__(self, folder: str, began_ns: int) -> None:
        self.folder = folder
        self.began_ns = began_ns
        """When the scan began, in nanoseconds since 1970: no file was hashed before."""
        self.paths: list[str] = []
        self.digests: list[Digest] = []
        self.stamps = bytearray()

    def add(self, files: Sequence[Known]) -> None:
        """Note some files."""
        self.paths += [file.path for file in files]
        self.digests += [file.digest for file in files]
        self.stamps += b"".join([file.stamp for file in files])


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def load(root: Path, folder: str) -> StatCache:
    """What is known below a folder; nothing, if the cache is lost or cannot be read."""
    try:
        data = _file(root, folder).read_bytes()
    except OSError:
        return StatCache(None, {})
    if len(data) < _HEAD.size + _SUM_SIZE or xxh3_64_digest(memoryview(data)[:-_SUM_SIZE]) != data[-_SUM_SIZE:]:
        return StatCache(None, {})
    magic, manifest, count = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        return StatCache(None, {})
    width = _STAMP.size
    stamps = _HEAD.size
    digests = stamps + width * count
    paths = data[digests + SIZE * count : -_SUM_SIZE].decode().split(_BETWEEN) if count else []
    files = {
        path: Known(
            path,
            data[stamps + at * width : stamps + at * width + width],
            Digest(data[digests + at * SIZE : digests + at * SIZE + SIZE]),
            int(size),
        )
        for at, (path, (_, _, size, _, _)) in enumerate(
            zip(paths, _STAMP.iter_unpack(data[stamps:digests]), strict=True)
        )
    }
    return StatCache(Digest(manifest), files)


def save(root: Path, manifest: Digest, findings: Findings, holds: Callable[[str, Digest], bool]) -> None:
    """Keep what was found, as far as the manifest holds it. Never fails: it is only a cache."""
    newest = findings.began_ns - MARGIN_NS
    width = _STAMP.size
    stamps = memoryview(findings.stamps)
    chosen = bytearray(
        stamp[3] < newest and stamp[4] < newest and holds(path, digest)
        for stamp, path, digest in zip(_STAMP.iter_unpack(stamps), findings.paths, findings.digests, strict=True)
    )
    target = _file(root, findings.folder)
    temporary = target.with_name(f"{target.name}.{random_hex(4)}.tmp")
    with contextlib.suppress(OSError):
        with rights.create(temporary) as file:
            hasher = xxh3_64()

            def write(data: bytes) -> None:
                hasher.update(data)
                file.write(data)

            write(_HEAD.pack(_MAGIC, manifest, sum(chosen)))
            # In pieces: a second copy of a million paths is more than the memory that there is for it.
            each = (stamps[at : at + width] for at in range(0, len(stamps), width))
            for some in _batches(compress(each, chosen)):
                write(b"".join(some))
            for digests in _batches(compress(findings.digests, chosen)):
                write(b"".join(digests))
            separator = ""
            for paths in _batches(compress(findings.paths, chosen)):
                write(f"{separator}{_BETWEEN.join(paths)}".encode())
                separator = _BETWEEN
            file.write(hasher.digest())
        os.replace(temporary, target)


def forget(root: Path) -> None:
    """Delete all of it: what it says to be stored may not be."""
    for path in (root / "stat_cache").iterdir():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _AT_ONCE)):
        yield batch


def _file(root: Path, folder: str) -> Path:
    return root / "stat_cache" / Digest.of(os.fsencode(folder)).hex()[:32]
