"""Folder: objects as files, `file://`, on a disk or on a file system that many hosts share.

An object is written under a temporary name beside its own, since not every file system can link from one folder into
another (BeeGFS, folders with quotas of their own), synced, and named by `link`, which no two hosts can both do, or by
`rename` where it may stand over an equal one; then the folder is synced. File systems without links (exFAT) have a
rename that does not replace.

No link inside of the folder is followed: whoever else may write there could lead us out. New folders have the rights of
the one that they are in, whatever the umask says, and files can be read by whoever may read those, so that a folder
that a group may write stays one all the way down.

Sources: link(2), rename(2), nfs(5); RFC 1813, 3.3.15 (LINK); "Race-free creation" in open(2), O_EXCL.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from artstore.errors import ArtstoreError, Denied, Invalid, Unreachable
from artstore.storage.files import random_hex, read_exactly, reflink, sync_file, write_all
from artstore.storage.root import FORMAT_FILE
from artstore.sync.objects.failures import denied, full, in_a_store, missing, other_size, short, unfit, unreachable
from artstore.sync.objects.interface import BLOCK, STALE_S, check_name, check_prefix, is_name
from artstore.sync.objects.tree import walk

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RIGHTS: Final = 0o7777
_MAY_READ: Final = 0o444
_TEMPORARY: Final = ".tmp"
_RENAME_NOREPLACE: Final = 1
_NO_LINK: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_NO_EXCLUSIVE_RENAME: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_FOLDER: Final = frozenset({errno.ENOTDIR, errno.ELOOP})
_NO_SYNC_OF_FOLDERS: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


def at(url: str) -> FolderObjects:
    """Raises Invalid (bad-url) for what names no folder of this machine."""
    path = unquote(url.removeprefix("file://").removeprefix("localhost"))
    if not path.startswith("/") or "\0" in path or set(url) & {"?", "#"}:
        message = f"{url!r} names no folder: write file:// and its whole path, such as file:///shared/depot"
        raise Invalid(message, code="bad-url")
    return FolderObjects(Path(os.path.normpath(path)))


class FolderObjects:
    """The objects in a folder, which must be there: one that was made by mistake below a mount point would be lost."""

    def __init__(self, path: Path) -> None:
        self.url = path.as_uri()
        self._path = path
        self._seen: set[str] = set()

    def check_apart(self) -> None:
        """Raise Invalid (unfit-remote) where the folder lies in a store."""
        above = self._path.resolve().parents
        if any((folder / FORMAT_FILE).is_file() and (folder / "ops").is_dir() for folder in above):
            raise in_a_store(self.url)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with self._told(f"reading {name!r}"), self._opened(name) as fd:
            wanted = max(0, os.fstat(fd).st_size - start) if length is None else length
            data = read_exactly(fd, wanted, start)
            if len(data) < wanted or (not wanted and os.fstat(fd).st_size < start):
                raise short(self.url, name, wanted=start + wanted, found=start + len(data))
            return data

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        with self._told(f"reading {name!r}"), contextlib.ExitStack() as open_files:
            fd = open_files.enter_context(self._opened(name))
            size = os.fstat(fd).st_size
            if size < start:
                raise short(self.url, name, wanted=start, found=size)
            keep_open = open_files.pop_all()
        with keep_open:
            while start < size:
                with self._told(f"reading {name!r}"):
                    block = read_exactly(fd, min(BLOCK, size - start), start)
                if not block:
                    raise short(self.url, name, wanted=size, found=start)
                start += len(block)
                yield block

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        with self._new(name) as new:
            for chunk in chunks:
                new.write(chunk)
            new.publish(size, new.replace)

    def write_file(self, name: str, source: Path) -> None:
        with source.open("rb", buffering=0) as file, self._new(name) as new:
            size = os.fstat(file.fileno()).st_size
            if not new.share(file.fileno()):
                while block := file.read(BLOCK):
                    new.write(block)
            new.publish(size, new.replace)

    def claim(self, name: str, data: bytes) -> bool:
        with self._new(name) as new:
            new.write(data)
            return new.publish(len(data), new.name_if_free)

    def size(self, name: str) -> int | None:
        check_name(name)
        with self._told(f"looking for {name!r}"):
            try:
                with self._folder(name) as folder:
                    status = os.stat(_last(name), dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        check_prefix(prefix)
        yield from filter(is_name, walk(self._listed, prefix, after))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        for name in self.names(prefix):
            size = self.size(name)
            if size is not None:
                yield name, size

    def remove(self, name: str) -> None:
        check_name(name)
        with self._told(f"removing {name!r}"), contextlib.suppress(FileNotFoundError), self._folder(name) as folder:
            os.unlink(_last(name), dir_fd=folder)
            _sync_folder(folder)

    def tidy(self) -> int:
        freed = 0
        now = self._time()
        for name in walk(self._listed):
            if not _is_temporary(name):
                continue
            with self._told(f"removing {name!r}"), contextlib.suppress(FileNotFoundError), self._folder(name) as folder:
                if now - os.stat(_last(name), dir_fd=folder, follow_symlinks=False).st_mtime > STALE_S:
                    os.unlink(_last(name), dir_fd=folder)
                    freed += 1
        return freed

    def _time(self) -> float:
        """What the file system's own clock says, which may be another host's."""
        with self._new("time") as new, self._told("asking for the time"):
            new.write(b"\0")
            return os.fstat(new.fd).st_mtime

    def _listed(self, head: str) -> list[tuple[str, bool]]:
        found = []
        with (
            self._told(f"listing {head!r}"),
            contextlib.suppress(FileNotFoundError),
            self._folder(f"{head}.") as folder,
            os.scandir(folder) as entries,
        ):
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder or entry.is_file(follow_symlinks=False):
                    found.append((entry.name, is_folder))
        return found

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        check_name(name)
        try:
            with self._folder(name) as folder:
                fd = os.open(_last(name), _FILE_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            raise missing(self.url, name) from None
        except OSError as error:
            raise self._no_way(name, error) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise missing(self.url, name)
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[_New]:
        check_name(name)
        with contextlib.ExitStack() as ending:
            with self._told(f"writing {name!r}"):
                folder = ending.enter_context(self._folder(name, make=True))
                new = _New(self, name, folder)
            try:
                yield new
            finally:
                new.end()

    @contextlib.contextmanager
    def _folder(self, name: str, *, make: bool = False) -> Iterator[int]:
        """The folder that a name is in, opened, with no link followed on the way to it."""
        try:
            fd = os.open(self._path, _FOLDER_FLAGS)
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"{self.url} is not there: mount it, or make the folder if it is a new one (`mkdir {self._path}`)"
            raise Unreachable(message, code="folder-missing") from error
        try:
            inner = name.split("/")[:-1]
            for depth, part in enumerate(inner, 1):
                below = self._inner(fd, part, "/".join(inner[:depth]), make=make)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _inner(self, above: int, part: str, whole: str, *, make: bool) -> int:
        is_first_time = make and whole not in self._seen
        if is_first_time:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, os.fstat(above).st_mode & _RIGHTS, dir_fd=above)
        try:
            fd = os.open(part, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=above)
        except FileNotFoundError:
            if make and not is_first_time:
                # Somebody took it away since.
                self._seen.discard(whole)
                return self._inner(above, part, whole, make=True)
            raise
        except OSError as error:
            raise self._no_way(whole, error) from error
        if is_first_time:
            # Whoever made it may have been killed before it had its rights, or was synced.
            _give_rights(fd, above, _RIGHTS)
            _sync_folder(above)
            self._seen.add(whole)
        return fd

    def _no_way(self, name: str, error: OSError) -> OSError:
        """What to raise where a part of a name cannot be opened."""
        if isinstance(error, ArtstoreError) or error.errno not in _NO_FOLDER:
            return error
        message = (
            f"{self.url}: {name!r} in it is a link or no folder, which artstore does not make: nothing is read or "
            "written through it. Look who did, and take it away"
        )
        return Denied(message, code="link-in-depot")

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn what the system says into an error that a caller can act on."""
        try:
            yield
        except ArtstoreError:
            raise
        except OSError as error:
            said = error.strerror or str(error)
            if error.errno in _NO_SPACE:
                raise full(self.url, doing, said) from error
            if error.errno in _NO_EXCLUSIVE_RENAME:
                reason = (
                    "its file system can neither link files nor rename one without taking the place of another, so "
                    "two commits could have one place"
                )
                raise unfit(self.url, reason) from error
            if error.errno in _NOT_ALLOWED:
                raise denied(self.url, doing, said, now="Ask its owner for the right to read and write") from error
            raise unreachable(self.url, doing, said) from error


class _New:
    """A file that is being written, and has no name of an object's yet."""

    def __init__(self, objects: FolderObjects, name: str, folder: int) -> None:
        self._objects, self._name, self._folder = objects, name, folder
        self._temporary = f".{random_hex(8)}{_TEMPORARY}"
        self._size = 0
        self.fd = os.open(self._temporary, _NEW_FLAGS, 0o600, dir_fd=folder)

    def write(self, data: bytes) -> None:
        with self._objects._told(f"writing {self._name!r}"):  # noqa: SLF001 - one thing in two classes
            write_all(self.fd, data)
        self._size += len(data)

    def share(self, source: int) -> bool:
        """Have the bytes of another file, without copying them; False where that cannot be."""
        with self._objects._told(f"writing {self._name!r}"):  # noqa: SLF001 - as above
            is_shared = reflink(source, self.fd)
            self._size = os.fstat(self.fd).st_size
        return is_shared

    def publish(self, size: int, give_name: Callable[[], bool]) -> bool:
        if self._size != size:
            raise other_size(self._objects.url, self._name, wanted=size, found=self._size)
        with self._objects._told(f"writing {self._name!r}"):  # noqa: SLF001 - as above
            _give_rights(self.fd, self._folder, _MAY_READ)
            sync_file(self.fd)
            done = give_name()
            # Also where another was first, who may have been killed before it did so: what is read must stay.
            _sync_folder(self._folder)
        return done

    def replace(self) -> bool:
        try:
            os.rename(self._temporary, _last(self._name), src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except FileNotFoundError:
            # NFS asks again where an answer was lost, and may hear that what it has renamed is not there.
            if not self._has_the_name():
                raise
        return True

    def name_if_free(self) -> bool:
        try:
            _link(self._folder, self._temporary, _last(self._name))
        except FileExistsError:
            # As above: it may be this very file that has the name.
            return self._has_the_name()
        return True

    def _has_the_name(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(_last(self._name), dir_fd=self._folder, follow_symlinks=False)
            return os.path.samestat(there, os.fstat(self.fd))
        return False

    def end(self) -> None:
        os.close(self.fd)
        with contextlib.suppress(OSError):
            # What stays is taken for stale one day.
            os.unlink(self._temporary, dir_fd=self._folder)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _is_temporary(name: str) -> bool:
    last = _last(name)
    return last.startswith(".") and last.endswith(_TEMPORARY)


def _link(folder: int, temporary: str, name: str) -> None:
    """Name a file if the name is free. Raises FileExistsError."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if not hasattr(_libc, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name) from error
        if _libc.renameat2(folder, os.fsencode(temporary), folder, os.fsencode(name), _RENAME_NOREPLACE):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), name) from error


def _give_rights(fd: int, folder: int, mask: int) -> None:
    """Let those have a file or folder who have the one that it is in, as far as the mask says."""
    own, above = os.fstat(fd), os.fstat(folder)
    with contextlib.suppress(PermissionError):
        # Only its owner may, and only in favour of a group of theirs.
        if own.st_gid != above.st_gid:
            os.fchown(fd, -1, above.st_gid)
        if stat.S_IMODE(own.st_mode) != above.st_mode & mask:
            os.fchmod(fd, above.st_mode & mask)


def _sync_folder(fd: int) -> None:
    try:
        sync_file(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC_OF_FOLDERS:
            raise


_libc: Final = ctypes.CDLL(None, use_errno=True)
