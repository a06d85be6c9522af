"""Power: what is on the disks for certain, and what is left of all else when it has failed.

The bytes of a file are certain once the file was synced, and its name once the folder was. Of each other name chance
says whether it is as it was before, or as it became, and of bytes that were not synced, where they end, or where zeros
begin. SQLite's own files are not touched: it syncs what it must by itself, and is trusted to.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from artstore.storage import files

_SQLITE: Final = (".db", ".db-wal", ".db-shm", ".db-journal")
_OLD: Final = 0.5
"""How often a name that was not synced is as it was before."""
_TORN: Final = 0.7
"""How often bytes that were not synced are not all there."""

_unlink, _rename, _replace, _link = os.unlink, os.rename, os.replace, os.link


class _Folder(NamedTuple):
    """A folder as it is now."""

    path: str
    inode: int
    names: dict[str, int]


class Power:
    """The disks of a world."""

    def __init__(self, chance: random.Random) -> None:
        self.is_noted = False
        """Whether it may fail: what is certain is noted then."""
        self.failures = 0
        self.lost = 0
        """Names and ends of files that were not there any more."""
        self.chance = chance
        self._bytes: dict[int, tuple[int, int]] = {}
        """Sizes of files, and when they were written, as they are known to be on the disk, by inode."""
        self._names: dict[int, dict[str, int]] = {}
        """What names in a folder stand for on the disk, by its inode."""
        self._gone: dict[int, str] = {}
        """Where files are kept whose name was taken away, until that is certain too."""
        self._grave: Path | None = None

    def begin(self, grave: Path) -> None:
        """Note from now on what is certain; what has no name any more is kept in a folder."""
        grave.mkdir()
        self._grave, self.is_noted = grave, True

    @contextlib.contextmanager
    def unseen(self, folder: Path) -> Iterator[None]:
        """Let the world change a folder, in which all is certain afterwards."""
        was_noted, self.is_noted = self.is_noted, False
        yield
        self.is_noted = was_noted
        if folder.exists():
            self.certain(folder)

    def certain(self, folder: Path) -> None:
        """Let all that is in a folder be on the disk."""
        if self.is_noted:
            for each in _walk(str(folder)):
                self._certain(each.inode, each.names)
                for name in each.names:
                    status = os.lstat(f"{each.path}/{name}")
                    self._bytes[status.st_ino] = status.st_size, status.st_mtime_ns

    def written(self, path: Path) -> None:
        """Let a file that the world itself has changed, made or taken away be on the disk as it is."""
        if self.is_noted:
            names = self._names.setdefault(os.stat(path.parent).st_ino, {})
            old = names.pop(path.name, 0)
            if path.exists():
                status = os.lstat(path)
                names[path.name] = status.st_ino
                self._bytes[status.st_ino] = status.st_size, status.st_mtime_ns
            if old != names.get(path.name):
                self._forget(old)

    # In place of what `os` has.

    def sync(self, fd: int) -> None:
        """What is open is on the disk now."""
        if not self.is_noted:
            return
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(fd) as entries:
                self._certain(status.st_ino, {entry.name: entry.inode() for entry in entries})
        else:
            self._bytes[status.st_ino] = status.st_size, status.st_mtime_ns

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        """As os has it."""
        self._keep(path, dir_fd)
        _unlink(path, dir_fd=dir_fd)

    def rename(self, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        """As os has it."""
        self._keep(target, dst_dir_fd)
        _rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def replace(
        self, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        """As os has it."""
        self._keep(target, dst_dir_fd)
        _replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    # When it fails.

    def fail(self, folder: Path) -> None:
        """Let a disk have what it has after a failure; nobody has anything open there."""
        self.failures += 1
        # A process that begins remembers nothing.
        files._synced_folders.clear()
        found = list(_walk(str(folder)))
        where = {inode: f"{each.path}/{name}" for each in found for name, inode in each.names.items()} | self._gone
        chosen = [
            (f"{each.path}/{name}", where.get(old) if old else None)
            for each in found
            for name, old in self._changed(each)
            if self.chance.random() < _OLD
        ]
        kept = self._kept_apart([source for _path, source in chosen if source is not None])
        for path, source in chosen:
            self.lost += _take_away(path)
            if source is not None and os.path.isdir(os.path.dirname(path)):
                _give(kept[source], path)
        for path in kept.values():
            _take_away(path)
        for each in _walk(str(folder)):
            for name, inode in each.names.items():
                self._forget(inode)
                self._tear(f"{each.path}/{name}")
        self.certain(folder)

    def _changed(self, folder: _Folder) -> Iterator[tuple[str, int]]:
        """The names that are not certain, in their order, with what each stood for; 0: nothing."""
        certain = self._names.get(folder.inode, {})
        for name in sorted({*certain, *folder.names}):
            old = certain.get(name, 0)
            if old != folder.names.get(name, 0) and not name.endswith(_SQLITE):
                yield name, old

    def _kept_apart(self, sources: list[str]) -> dict[str, str]:
        assert self._grave is not None
        kept: dict[str, str] = {}
        for number, source in enumerate(dict.fromkeys(sources)):
            kept[source] = str(self._grave / f"kept-{self.failures}-{number}")
            if os.path.isdir(source):
                _rename(source, kept[source])
            else:
                _link(source, kept[source])
        return kept

    def _tear(self, path: str) -> None:
        """Let a file end, or be nothing but zeros, somewhere behind what is certain."""
        status = os.lstat(path)
        certain = self._bytes.get(status.st_ino)
        is_certain = certain == (status.st_size, status.st_mtime_ns) or path.endswith(_SQLITE)
        if is_certain or not stat.S_ISREG(status.st_mode) or not status.st_size or self.chance.random() >= _TORN:
            return
        first = 0 if certain is None else min(certain[0], status.st_size)
        end = self.chance.choice((first, self.chance.randrange(first, status.st_size + 1)))
        self.lost += 1
        with open(path, "r+b") as file:
            file.truncate(end)
            if self.chance.random() < 1 / 2:
                file.truncate(status.st_size)

    # What is certain.

    def _certain(self, inode: int, names: dict[str, int]) -> None:
        before = self._names.get(inode, {})
        for name, old in before.items():
            if names.get(name) != old:
                self._forget(old)
        self._names[inode] = names

    def _forget(self, inode: int) -> None:
        """Keep a file no longer that has a name, or has certainly none."""
        if inode in self._gone:
            _unlink(self._gone.pop(inode))

    def _keep(self, path: Any, folder: int | None) -> None:
        """Keep what a name stands for that is about to stand for nothing, or for something else."""
        if not self.is_noted or str(path).endswith(_SQLITE):
            return
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path, dir_fd=folder, follow_symlinks=False)
            if status.st_ino in self._bytes and status.st_nlink == 1 and stat.S_ISREG(status.st_mode):
                assert self._grave is not None
                kept = str(self._grave / str(status.st_ino))
                _link(path, kept, src_dir_fd=folder, follow_symlinks=False)
                self._gone[status.st_ino] = kept


def replaced(power: Power) -> dict[str, Callable[..., Any]]:
    """The functions of `os` that have others in their place."""
    return {
        "fsync": power.sync,
        "fdatasync": power.sync,
        "unlink": power.unlink,
        "rename": power.rename,
        "replace": power.replace,
    }


def _walk(folder: str) -> Iterator[_Folder]:
    """A folder, and those in it that are no links."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    yield _Folder(folder, os.stat(folder).st_ino, {entry.name: entry.inode() for entry in inside})
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


def _take_away(path: str) -> int:
    """Let a name be free; answers whether it was taken."""
    if not os.path.lexists(path):
        return 0
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        _unlink(path)
    return 1


def _give(source: str, path: str) -> None:
    if os.path.isdir(source):
        with contextlib.suppress(OSError):
            _rename(source, path)
    else:
        _link(source, path)
