"""Targets: a folder that is written into, and never past.

Each folder on the way is opened by its own name in its parent, never through a link, so that a link put there before or
meanwhile leads nowhere. Where the system cannot open relative to a folder (Windows), each part of the path is looked at
instead.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from artstore.errors import PathCollision
from artstore.lifecycle.scan import UNFINISHED
from artstore.storage.files import random_hex, write_all

if sys.platform != "win32":
    import fcntl

_RELATIVE: Final = os.open in os.supports_dir_fd
_EXTRA: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _EXTRA
_CREATE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | _EXTRA
_TEMPORARY: Final = re.compile(rf"{re.escape(UNFINISHED)}[0-9a-f]{{16}}\.tmp")
_READ_FLAGS: Final = os.O_RDONLY | _EXTRA


class Target:
    """A place in a tree that moves from path to path; paths are entry paths, in normal form."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._parts: list[str] = []
        self._folder: str | None = ""
        """Where this is, if the last move got there."""
        self._fds: list[int] = [os.open(top, _FOLDER_FLAGS & ~getattr(os, "O_NOFOLLOW", 0))] if _RELATIVE else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def go_to(self, folder: str, *, make: bool) -> bool:
        """Go to a folder, given as a path or "" for the top; False if it is not there and not to be made.

        Raises PathCollision (not-a-folder) where a part of the path is a link or a file.
        """
        if folder == self._folder:
            return True
        self._folder = None
        parts = folder.split("/") if folder else []
        same = 0
        while same < min(len(parts), len(self._parts)) and parts[same] == self._parts[same]:
            same += 1
        while len(self._parts) > same:
            self._parts.pop()
            if _RELATIVE:
                os.close(self._fds.pop())
        if not all(self._enter(part, make=make) for part in parts[same:]):
            return False
        self._folder = folder
        return True

    def status(self, name: str) -> os.stat_result | None:
        """What has this name in the folder, links not followed; None if nothing has."""
        try:
            return os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> int:
        """Open a file of the folder for reading."""
        return os.open(self._at(name), _READ_FLAGS, dir_fd=self._fd)

    def write(self, name: str, data: bytes | memoryview, *, replaces: bool) -> None:
        """Write a small file. One that replaces another does so at once, so that a reader sees one of the two.

        What somebody else has put there meanwhile is replaced too, as where many bring one version into one folder.
        """
        fd = None if replaces else self._create(name)
        if fd is None:
            with self.replacing(name) as (fd, _temporary):
                write_all(fd, data)
            return
        try:
            write_all(fd, data)
        except BaseException:
            unfinished = os.fstat(fd)
            os.close(fd)
            status = self.status(name)
            if status is not None and os.path.samestat(status, unfinished):
                self.remove(name)
            raise
        os.close(fd)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[tuple[int, str]]:
        """An unfinished file, that gets its name at the end; nothing is left of it after an error."""
        fd, temporary = self._begin()
        try:
            yield fd, temporary
        except BaseException:
            os.close(fd)
            self.remove(temporary)
            raise
        os.close(fd)
        self._rename(temporary, name)

    def link(self, source: str, name: str) -> None:
        """Give a file of the store a second name here, in place of what has that name."""
        while True:
            temporary = f"{UNFINISHED}{random_hex(8)}.tmp"
            os.link(source, self._at(temporary), dst_dir_fd=self._fd)
            with contextlib.suppress(FileNotFoundError):
                self._rename(temporary, name)
                break
            # Another took it for a dead one's: it cannot be locked, since the store's own file would be.
        with contextlib.suppress(FileNotFoundError):
            # Renaming a link onto another of the same file does nothing, by POSIX, and leaves both.
            self.remove(temporary)

    def clear(self) -> None:
        """Remove the unfinished files in the folder whose writers are dead: killed, as their free locks prove."""
        for name in os.listdir(self._fd if _RELATIVE else self._top.joinpath(*self._parts)):
            status = self.status(name) if _TEMPORARY.fullmatch(name) else None
            if status is not None and stat.S_ISREG(status.st_mode):
                # Gone meanwhile, or another user's: it harms nobody.
                with contextlib.suppress(OSError):
                    fd = self.open(name)
                    try:
                        if _try_lock(fd):
                            self.remove(name)
                    finally:
                        os.close(fd)

    def remove(self, name: str) -> None:
        """Remove a file or a link."""
        os.unlink(self._at(name), dir_fd=self._fd)

    def _begin(self) -> tuple[int, str]:
        """A new unfinished file, locked for as long as it is open."""
        while True:
            temporary = f"{UNFINISHED}{random_hex(8)}.tmp"
            fd = os.open(self._at(temporary), _CREATE_FLAGS, 0o666, dir_fd=self._fd)
            _try_lock(fd)
            if os.fstat(fd).st_nlink:
                return fd, temporary
            # Before it was locked, somebody found it and took it for a dead one's.
            os.close(fd)

    def _create(self, name: str) -> int | None:
        """An empty file with this name; None where something has it."""
        try:
            return os.open(self._at(name), _CREATE_FLAGS, 0o666, dir_fd=self._fd)
        except FileExistsError:
            return None

    def _rename(self, before: str, after: str) -> None:
        os.replace(self._at(before), self._at(after), src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def _enter(self, part: str, *, make: bool) -> bool:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._at(part), dir_fd=self._fd)
        status = self.status(part)
        if status is None:
            return False
        if not stat.S_ISDIR(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "a file"
            where = repr(str(self._top.joinpath(*self._parts, part)))
            message = f"{where} is {kind} where a folder has to be: move it away, or choose another folder"
            raise PathCollision(message, code="not-a-folder")
        if _RELATIVE:
            self._fds.append(os.open(part, _FOLDER_FLAGS, dir_fd=self._fd))
        self._parts.append(part)
        return True

    @property
    def _fd(self) -> int | None:
        return self._fds[-1] if _RELATIVE else None

    def _at(self, name: str) -> str:
        return name if _RELATIVE else str(self._top.joinpath(*self._parts, name))


def _try_lock(fd: int) -> bool:
    """Take the lock of an open file; False where somebody else has it, or there is none on this file system."""
    if sys.platform == "win32":
        # An open file cannot be removed there.
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
