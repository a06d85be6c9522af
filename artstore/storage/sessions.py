"""Sessions: who is at work in the store, proven by the kernel.

A session holds a lock on a file of its own, `locks/<epoch>-<id>`, for as long as its process lives, so its death is
known for sure, whatever clocks, containers or sleeping laptops do. The *epoch* tells which sessions can still rely on
what: `gc` first condemns what nothing needs, so that no new session relies on it, then begins a new epoch, and frees
what it condemned only when every session of that epoch and those before has ended.

Chose a lock file each over one lock file with shared locks, since Windows has only exclusive ones; look again when
sessions come by the thousand.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from artstore.errors import Conflict, Invalid, Refused
from artstore.storage.files import is_open_elsewhere, random_hex, storage_errors, sync_directory

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PATIENCE_S: Final = 10.0
"""How long who wants to be alone waits for sessions at work."""
_POLL_S: Final = 0.005
_ALONE: Final = "alone"
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_EPOCH_PREFIX: Final = "epoch-"
_O_BINARY: Final = getattr(os, "O_BINARY", 0)


def try_lock(fd: int) -> bool:
    """Take the exclusive lock of an open file if nobody has it; it ends with the last descriptor of the file.

    Raises Refused (no-locks) where the file system has none: who waited for one would wait for ever.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            message = (
                f"the file system of the store has no locks ({error.strerror}), and without them `gc` could free what "
                "a commit needs: put the store on a disk of this machine"
            )
            raise Refused(message, code="no-locks") from error
        return False
    return True


def is_file(path: Path, fd: int) -> bool:
    """Whether an open file still has its name, and nobody gave that to another one."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


class Session:
    """One piece of work in the store. What it relies on is not freed before it ends."""

    def __init__(self, root: Path, verb: str) -> None:
        self.id = random_hex(8)
        self._pid = os.getpid()
        self._locks = root / "locks"
        self._scratch = root / "tmp" / self.id
        self._fd: int | None = None
        with storage_errors("beginning a session"):
            while self._fd is None:
                self._begin(verb)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def scratch(self) -> Path:
        """The folder for this session's unfinished files; gone with the session."""
        with storage_errors("beginning to write"), contextlib.suppress(FileExistsError):
            os.mkdir(self._scratch)
        return self._scratch

    def end(self) -> None:
        """Let go of everything. May be called again."""
        if self._fd is None or self._pid != os.getpid():
            # On the other side of a fork it is the parent's: its files and its lock stay.
            return
        # Left behind at worst, and then collected: the lock is gone with the descriptor.
        with contextlib.suppress(OSError):
            shutil.rmtree(self._scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._fd)
        self._fd = None

    def _begin(self, verb: str) -> None:
        while _is_held(self._locks / _ALONE):
            time.sleep(_POLL_S)
        epoch = current_epoch(self._locks)
        path = self._locks / f"{epoch:08d}-{self.id}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o644)
        about = {"pid": os.getpid(), "host": platform.node(), "verb": verb, "since": time.time()}
        with contextlib.suppress(OSError):
            # Only people read it, and on a full disk `gc` has to begin. Written from the second byte on, since Windows
            # locks the first one against reading as well.
            os.write(fd, b" " + json.dumps(about).encode())
            os.lseek(fd, 0, os.SEEK_SET)
        try:
            if try_lock(fd) and self._counts(path, fd, epoch):
                self._path = path
                self._fd = fd
                return
        except BaseException:
            # Or its lock would stand until this process ends, and who wants to be alone would wait for it.
            os.close(fd)
            raise
        # It counts for nothing, so a new one is tried.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(fd)
        self.id = random_hex(8)
        self._scratch = self._scratch.parent / self.id

    def _counts(self, path: Path, fd: int, epoch: int) -> bool:
        """Whether others have seen the lock.

        A collector may have taken the file for a dead one's, or begun a new epoch in between, and who wants to be alone
        may have looked before it was there.
        """
        return is_file(path, fd) and current_epoch(self._locks) == epoch and not _is_held(self._locks / _ALONE)


@contextlib.contextmanager
def alone(root: Path, session: Session) -> Iterator[None]:
    """Work while no other session does: those at work are waited for, new ones wait. For who holds the lock of `gc`.

    Raises Conflict (busy) where the others take longer than PATIENCE_S.
    """
    path = root / "locks" / _ALONE
    with storage_errors("waiting for other sessions"):
        while (fd := _try_to_hold(path)) is None:
            # Somebody looks whether it is held.
            time.sleep(_POLL_S)
        try:
            until = time.monotonic() + PATIENCE_S
            while others := live_sessions(root, but=session):
                if time.monotonic() > until:
                    about = others[0][1]
                    who = f"{about.get('verb', 'a session')!r} of process {about.get('pid', 'unknown')}"
                    message = f"{who} is at work in this store: wait for it, then repeat"
                    raise Conflict(message, code="busy")
                time.sleep(_POLL_S)
            yield
        finally:
            with contextlib.suppress(OSError):
                # Cleared away by the next session otherwise.
                os.unlink(path)
            os.close(fd)


class Exclusive:
    """A lock that one process holds at a time, such as that of `gc`.

    Raises Conflict (locked) if another has it, and does not let go of it within the patience.
    """

    def __init__(self, root: Path, name: str, *, patience_s: float = 0.0) -> None:
        with storage_errors(f"taking the lock {name!r}"):
            self._fd = os.open(root / "locks" / name, os.O_RDWR | os.O_CREAT | _O_BINARY, 0o644)
        try:
            self._take(name, time.monotonic() + patience_s)
        except BaseException:
            os.close(self._fd)
            raise

    @classmethod
    def inherited(cls, root: Path, name: str, handle: int) -> Self:
        """The lock that this process was begun with, by one that held it. Raises Conflict (locked), Invalid."""
        lock = cls.__new__(cls)
        lock._fd = handle  # noqa: SLF001 - of this class
        try:
            is_it = is_file(root / "locks" / name, handle)
        except OSError:
            is_it = False
        if not is_it:
            message = f"the handle {handle} is not the lock {name!r} of this store"
            raise Invalid(message, code="bad-handle")
        # Held already, but where the file system knows locks of processes alone.
        lock._take(name, time.monotonic())  # noqa: SLF001 - as above
        return lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @property
    def handle(self) -> int:
        """Of the locked file; who inherits it holds the lock too."""
        return self._fd

    def _take(self, name: str, until: float) -> None:
        while not try_lock(self._fd):
            if time.monotonic() > until:
                message = f"another process holds the lock {name!r} of this store: wait for it, then repeat"
                raise Conflict(message, code="locked")
            time.sleep(_POLL_S)


def current_epoch(locks: Path) -> int:
    """The epoch that new sessions belong to."""
    with storage_errors("asking for the epoch"):
        names = os.listdir(locks)
    return max((int(name[len(_EPOCH_PREFIX) :]) for name in names if name.startswith(_EPOCH_PREFIX)), default=0)


def begin_epoch(locks: Path, epoch: int) -> None:
    """From now on new sessions belong to this epoch, which is higher than any before."""
    with storage_errors("beginning an epoch"):
        os.close(os.open(locks / f"{_EPOCH_PREFIX}{epoch}", os.O_WRONLY | os.O_CREAT, 0o644))
    for name in os.listdir(locks):
        if name.startswith(_EPOCH_PREFIX) and int(name[len(_EPOCH_PREFIX) :]) < epoch:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(locks / name)
    with storage_errors("beginning an epoch"):
        sync_directory(locks)


def live_sessions(root: Path, *, but: Session | None = None) -> list[tuple[int, dict[str, Any]]]:
    """The sessions at work, each as its epoch and what it says of itself, the oldest epoch first.

    Clears away what dead ones left.
    """
    found: list[tuple[int, dict[str, Any]]] = []
    alive = set() if but is None else {but.id}
    for name in sorted(os.listdir(root / "locks")):
        epoch, dash, id_ = name.partition("-")
        if not dash or not epoch.isdigit() or (but is not None and id_ == but.id):
            continue
        about = _describe_if_alive(root / "locks" / name)
        if about is not None:
            alive.add(id_)
            found.append((int(epoch), {"id": id_, **about}))
    for name in os.listdir(root / "tmp"):
        # A session makes its folder after its lock: a folder seen after the locks and without a live one is dead.
        if name not in alive and not is_open_elsewhere(name) and not any((root / "locks").glob(f"*-{name}")):
            shutil.rmtree(root / "tmp" / name, ignore_errors=True)
            with contextlib.suppress(OSError):
                # A file: one that was to replace another while the store was made.
                os.unlink(root / "tmp" / name)
    return found


def _describe_if_alive(path: Path) -> dict[str, Any] | None:
    try:
        fd = os.open(path, os.O_RDWR | _O_BINARY)
    except FileNotFoundError:
        return None
    try:
        if not try_lock(fd):
            with contextlib.suppress(ValueError, OSError):
                os.lseek(fd, 1, os.SEEK_SET)
                about = json.loads(os.read(fd, 4096))
                if isinstance(about, dict):
                    return about
            return {}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return None
    finally:
        os.close(fd)


def _try_to_hold(path: Path) -> int | None:
    """The locked file of this name, made if it is not there; None where another was faster."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _O_BINARY, 0o644)
    try:
        if try_lock(fd) and is_file(path, fd):
            return fd
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file; one that nobody holds is cleared away."""
    try:
        fd = os.open(path, os.O_RDWR | _O_BINARY)
    except FileNotFoundError:
        return False
    try:
        if not try_lock(fd):
            return True
        if is_file(path, fd):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return False
    finally:
        os.close(fd)
