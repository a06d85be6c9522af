"""Run locks: which runs have a live process on this machine, proven by the kernel.

A process that works for a run holds the lock of a file, `runs/<start>-<random>`, where `<start>` is how the id of the
op begins that the run began with. It is no session: a run may take weeks, and `gc` does not wait for it. A run whose
files are here, all of them free, is dead. One without a file was begun elsewhere, or says nothing of its life.

Several processes may hold one run, a file each. What a process writes into its file it writes once it has the lock, so
an empty file says nothing: its maker may be about to lock it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from artstore.storage.files import random_hex, storage_errors
from artstore.storage.sessions import is_file, try_lock

FOLDER: Final = "runs"
_SHOWN: Final = 32
"""Hex digits of the op's id in a name: as good as all of them, and short enough for every file system."""
_FLAGS: Final = os.O_RDWR | getattr(os, "O_BINARY", 0)


class RunLock:
    """A hold on a run: while a process has it, the run lives. Use it as a context manager, or release it."""

    def __init__(self, root: Path, begun: str) -> None:
        """Take hold of the run that began with an op."""
        self._pid = os.getpid()
        self._fd: int | None = None
        with storage_errors("holding a run"):
            while self._fd is None:
                self._path = root / FOLDER / f"{start_of(begun)}-{random_hex(8)}"
                self._fd = _make(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let the run go; end it before, since nobody can tell afterwards whether it lives. May be called again."""
        if self._fd is None or self._pid != os.getpid():
            # On the other side of a fork it is the parent's.
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._fd)
        self._fd = None


class Dead:
    """The files of a dead run, locked, so that it stays dead while it is marked."""

    def __init__(self, root: Path, begun: str) -> None:
        self._folder = root / FOLDER
        self._start = start_of(begun)
        self._fds: dict[str, int] = {}

    def is_certain(self) -> bool:
        """Whether there are files of the run, and nobody holds one of them. May be asked again."""
        names = [name for name in os.listdir(self._folder) if name.startswith(f"{self._start}-")]
        return bool(names) and all(name in self._fds or self._take(name) for name in names)

    def close(self, *, forget: bool) -> None:
        """Let go of the files; `forget` removes them."""
        for name, fd in self._fds.items():
            if forget:
                with contextlib.suppress(OSError):
                    os.unlink(self._folder / name)
            os.close(fd)
        self._fds.clear()

    def _take(self, name: str) -> bool:
        fd = _take_if_free(self._folder / name, least=1)
        if fd is None:
            return False
        self._fds[name] = fd
        return True


def starts(root: Path) -> set[str]:
    """What the names of the files here begin with: of each run that lives or died on this machine, `start_of` it."""
    return {name.partition("-")[0] for name in os.listdir(root / FOLDER)}


def start_of(begun: str) -> str:
    """What the names of the files of a run begin with, given the op that it began with."""
    return begun.removeprefix("blake3:")[:_SHOWN]


def clear(root: Path, running: Collection[str]) -> None:
    """Remove the files that nobody holds, but for those of running runs, given by what their names begin with."""
    for name in os.listdir(root / FOLDER):
        if name.partition("-")[0] not in running:
            fd = _take_if_free(root / FOLDER / name, least=0)
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.unlink(root / FOLDER / name)
                os.close(fd)


def _make(path: Path) -> int | None:
    """A file of this name, locked; None where another process cleared it away before it was."""
    fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        if try_lock(fd) and is_file(path, fd):
            about = {"pid": os.getpid(), "host": platform.node(), "since": time.time()}
            # From the second byte on, since Windows locks the first one against reading as well.
            os.write(fd, b" " + json.dumps(about).encode())
            return fd
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _take_if_free(path: Path, *, least: int) -> int | None:
    """The file, locked, if it has so many bytes at least; None where it is gone or somebody has it."""
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(fd).st_size >= least and try_lock(fd) and is_file(path, fd):
            return fd
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None
