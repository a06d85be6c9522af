"""Targets: a folder that is written into, and never past.

Each folder on the way is opened by its own name in its parent, never through a link, so that a link put there before or
meanwhile leads nowhere. Where the system cannot open relative to a folder (Windows), each part of the path is looked at
instead.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from artstore.errors import PathCollision
from artstore.lifecycle.scan import UNFINISHED
from artstore.storage.files import random_hex, write_all

_RELATIVE: Final = os.open in os.supports_dir_fd
_EXTRA: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _EXTRA
_CREATE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | _EXTRA
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
        temporary = f"{UNFINISHED}{random_hex(8)}.tmp"
        fd = os.open(self._at(temporary), _CREATE_FLAGS, 0o666, dir_fd=self._fd)
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
        temporary = f"{UNFINISHED}{random_hex(8)}.tmp"
        os.link(source, self._at(temporary), dst_dir_fd=self._fd)
        self._rename(temporary, name)
        with contextlib.suppress(FileNotFoundError):
            # Renaming a link onto another of the same file does nothing, by POSIX, and leaves both.
            self.remove(temporary)

    def remove(self, name: str) -> None:
        """Remove a file or a link."""
        os.unlink(self._at(name), dir_fd=self._fd)

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
