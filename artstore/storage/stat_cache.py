"""The stat cache: which files were hashed already.

It may only skip hashing. A file is taken for unchanged if device, inode, size, mtime and ctime are those of a file that
was already two seconds old when it was hashed (a younger one could change again within the grain of its time stamps).
One file for each folder that was put; all of them may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from array import array
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from artstore.model.digest import SIZE, Digest

MARGIN_NS: Final = 2_000_000_000
_FORMAT: Final = 1


class Stamp(NamedTuple):
    """What tells a file from a changed one."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Known(NamedTuple):
    """A file that was hashed."""

    stamp: Stamp
    digest: Digest


class _Saved(msgspec.Struct, array_like=True):
    format: int
    manifest: bytes
    paths: list[str]
    digests: bytes
    numbers: bytes
    """Five signed 64 bit numbers for each path, in this machine's order of bytes."""


class StatCache:
    """What was hashed below one folder."""

    def __init__(self, manifest: Digest | None, files: dict[str, Known]) -> None:
        self.manifest = manifest
        """A manifest that holds every blob named here: while it lives, so do they."""
        self.files = files


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def load(root: Path, folder: str) -> StatCache:
    """What is known below a folder; nothing, if the cache is lost or cannot be read."""
    try:
        saved = msgspec.msgpack.decode(_file(root, folder).read_bytes(), type=_Saved)
        numbers = array("q")
        numbers.frombytes(saved.numbers)
    except (OSError, msgspec.MsgspecError, ValueError):
        return StatCache(None, {})
    if saved.format != _FORMAT or len(numbers) != 5 * len(saved.paths) or len(saved.digests) != SIZE * len(saved.paths):
        return StatCache(None, {})
    stamps = map(Stamp._make, zip(*(numbers[i::5] for i in range(5)), strict=True))
    digests = (Digest(saved.digests[at : at + SIZE]) for at in range(0, len(saved.digests), SIZE))
    return StatCache(Digest(saved.manifest), dict(zip(saved.paths, map(Known, stamps, digests), strict=True)))


def save(root: Path, folder: str, manifest: Digest, files: dict[str, Known], *, hashed_from_ns: int) -> None:
    """Keep what was found below a folder by a scan that began at this time. Never fails: it is only a cache."""
    newest = hashed_from_ns - MARGIN_NS
    # Overlay, CephFS and FUSE have inodes beyond what `numbers` can hold: these files are hashed each time.
    settled = {
        path: known for path, known in files.items() if max(known.stamp[3:]) < newest and max(known.stamp) < 1 << 63
    }
    numbers = array("q", [number for known in settled.values() for number in known.stamp])
    saved: Any = _Saved(
        format=_FORMAT,
        manifest=manifest,
        paths=list(settled),
        digests=b"".join(known.digest for known in settled.values()),
        numbers=numbers.tobytes(),
    )
    target = _file(root, folder)
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    with contextlib.suppress(OSError):
        temporary.write_bytes(msgspec.msgpack.encode(saved, enc_hook=bytes))
        os.replace(temporary, target)


def forget(root: Path) -> None:
    """Delete all of it: what it says to be stored may not be."""
    for path in (root / "stat_cache").iterdir():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _file(root: Path, folder: str) -> Path:
    return root / "stat_cache" / Digest.of(os.fsencode(folder)).hex()[:32]
