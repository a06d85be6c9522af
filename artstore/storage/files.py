"""Files: bytes that get their name only when they are safe.

What `publish` named survives a power cut: the bytes are synced before they have a name, and the folder that holds the
name is synced after. ext4 forgives a missing folder sync, btrfs and XFS do not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from artstore.errors import ArtstoreError, Corrupt, Invalid, ReadOnlyStore, Refused, StorageFull, WrongType
from artstore.storage.rights import mode_below

if sys.platform != "win32":
    import fcntl

AnyPath = str | os.PathLike[str]
"""What a caller may say a place in the file system by."""

_MAY_READ: Final = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_FICLONE: Final = 0x40049409
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHTS: Final = frozenset({errno.EACCES, errno.EPERM})
_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_NO_REFLINK: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM})
_IOV_MAX: Final = 1024
_position: Final = threading.Lock()
_synced_folders: Final[set[Path]] = set()
_NO_LINK: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def as_path(path: AnyPath) -> Path:
    """A place that a caller named.

    Raises Invalid (bad-path) for an empty text, which `Path` would take for `.`, and for one with a NUL, which no
    system can open; WrongType (bad-path) for what is no text, such as bytes.
    """
    # A Path is one, which to find out takes a µs.
    text: object = os.fspath(path) if isinstance(path, Path | os.PathLike) else path
    if not isinstance(text, str):
        message = f"{path!r} is not a path: give it as text or as a Path (`os.fsdecode` makes text of bytes)"
        raise WrongType(message, code="bad-path")
    if "\0" in text:
        message = f"the path {text!r} has a NUL in it, which no file's name can: leave it out"
        raise Invalid(message, code="bad-path")
    if not text:
        message = "an empty path names nothing: write '.' for the folder that you are in"
        raise Invalid(message, code="bad-path")
    # To make one anew takes 5 µs, an eighth of what adding a small file does.
    return path if isinstance(path, Path) else Path(text)


@contextlib.contextmanager
def storage_errors(doing: str, *, place: Path | None = None, size: int | None = None) -> Iterator[None]:
    """Turn what the system says into the error that a caller can act on. `doing` completes "while …".

    Where it is known how many bytes go to a place, the error of a full disk says it, beside what is free there.
    """
    try:
        yield
    except ArtstoreError:
        raise
    except OSError as error:
        room = ""
        if place is not None and size is not None and error.errno == errno.ENOSPC:
            free = shutil.disk_usage(place).free
            # Else it is not bytes that are lacking.
            room = f": it takes {size:,} bytes, and {free:,} are free" if free < size else ""
        raise storage_error(error, doing, room=room) from error


def storage_error(error: OSError, doing: str, *, room: str = "") -> ArtstoreError:
    """The typed form of an OSError from the store's own files; `room` is what is said beside of a full disk."""
    where = f" ({error.filename!r})" if error.filename else ""
    if error.errno in NO_SPACE:
        message = (
            f"no space left while {doing}{where}: {error.strerror}{room}. Nothing that was stored is harmed; free some "
            "space (`artstore gc --grace 0`) and repeat"
        )
        return StorageFull(message, code="storage-full")
    if error.errno == errno.EROFS:
        message = f"the store cannot be written while {doing}{where}: {error.strerror}"
        return ReadOnlyStore(message, code="read-only-store")
    if error.errno in _NO_RIGHTS:
        message = f"not allowed while {doing}{where}: {error.strerror}"
        return Refused(message, code="no-permission")
    if error.errno in _NO_RESOURCES:
        message = f"the system has nothing left while {doing}{where}: {error.strerror}. Raise the limit, then repeat"
        return Refused(message, code="out-of-resources")
    message = f"the disk failed while {doing}{where}: {error.strerror or error}. Run `artstore verify`"
    return Corrupt(message, code="io-error")


def random_hex(size: int) -> str:
    """So many random bytes, as text that no other process has.

    What `secrets` does too, which takes OpenSSL along and with it 5 ms of every start.
    """
    return os.urandom(size).hex()


def sync_file(fd: int) -> None:
    """Wait until the bytes of an open file are on the disk. After an error the file is not to be trusted or retried."""
    if sys.platform == "darwin":
        # fsync on macOS stops at the drive's own cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def make_read_only(fd: int, path: str | os.PathLike[str]) -> None:
    """Let nobody write an open file any more; who may read it stays, which was the umask's to say when it was made."""
    mode = os.fstat(fd).st_mode & _MAY_READ
    os.fchmod(fd, mode) if hasattr(os, "fchmod") else os.chmod(path, mode)


def sync_directory(directory: str | os.PathLike[str]) -> None:
    """Wait until the names in a folder are on the disk. Windows has no such call: NTFS journals names by itself."""
    if sys.platform == "win32":
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path) -> bool:
    """Make a folder and its parents so that they survive a power cut; answers whether it was made now."""
    if directory.is_dir():
        # Whoever made it may have been killed before it was synced, so that is done once by each process.
        if directory not in _synced_folders:
            sync_directory(directory.parent)
            _synced_folders.add(directory)
        return False
    make_directory(directory.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, mode_below(directory.parent))
    sync_directory(directory.parent)
    _synced_folders.add(directory)
    return True


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of the data; a short write goes on where it stopped."""
    written = os.write(fd, data)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(data):
        written += os.write(fd, view[written:])


def write_at(fd: int, parts: Sequence[bytes | memoryview], offset: int) -> None:
    """Write some stretches of bytes one behind the other, from `offset` on. Threads may write to one file at once."""
    for start in range(0, len(parts), _IOV_MAX):
        some = parts[start : start + _IOV_MAX]
        wanted = sum(map(len, some))
        written = _write_parts(fd, some, offset)
        if written < wanted:
            rest = memoryview(b"".join(some))
            while written < wanted:
                written += _write_parts(fd, [rest[written:]], offset + written)
        offset += wanted


def read_some(fd: int, buffer: memoryview) -> int:
    """Read from where the file stands, once; 0 at its end."""
    if hasattr(os, "readv"):
        return os.readv(fd, [buffer])
    data = os.read(fd, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def read_into(fd: int, buffer: memoryview) -> int:
    """Fill a buffer from where the file stands; less than all of it only at the file's end."""
    got = read_some(fd, buffer)
    while 0 < got < len(buffer) and (more := read_some(fd, buffer[got:])):
        got += more
    return got


def read_exactly(fd: int, size: int, offset: int) -> bytes:
    """Read `size` bytes at `offset`, fewer only where the file ends."""
    data = _read_at(fd, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    got = len(data)
    while got < size and (data := _read_at(fd, size - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def publish(temporary: str, target: str) -> bool:
    """Give finished, synced bytes their name; answers False where the name was taken, whose bytes then stay.

    The temporary name is gone afterwards, unless this raises. The folder of the target is not synced yet: that is one
    `sync_directory` for many names.
    """
    done = give_name(temporary, target)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    return done


def give_name(temporary: str, target: str) -> bool:
    """As `publish`, and the temporary name stays where the file system can give a file two names."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        # Over NFS also where the link was made and the answer got lost: asked again, the server finds it there. Source:
        # FreeBSD's nfsclient, on link() and EEXIST.
        return _is_one_file(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # No hard links here (exFAT, some FUSE). Who publishes holds the name's lock, so the test cannot be overtaken.
        if os.path.exists(target):
            return False
        os.rename(temporary, target)
    return True


def write_file(directory: Path, target: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put a small file in place of another, so that one of the two is there whatever happens.

    The temporary name lies in `directory`, on the same file system.
    """
    temporary = directory / f"{target.name}.{random_hex(8)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        write_all(fd, data)
        sync_file(fd)
    except BaseException:
        os.close(fd)
        os.unlink(temporary)
        raise
    os.close(fd)
    os.replace(temporary, target)
    sync_directory(target.parent)


def reflink(source: int, target: int) -> bool:
    """Let the target file share the source's bytes; False where the file system cannot, and nothing was written."""
    if sys.platform != "linux":
        return False
    while True:
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except InterruptedError:
            # Python repeats other calls by itself.
            continue
        except OSError as error:
            if error.errno in _NO_REFLINK:
                return False
            raise
        return True


def is_open_elsewhere(name: str) -> bool:
    """Whether a file was deleted while a process has it open, by what NFS calls it meanwhile; it goes by itself."""
    return name.startswith(".nfs")


def bytes_in(folder: Path, *, but: Collection[str] = ()) -> int:
    """The bytes of the files that lie in a folder, but of hidden ones and some names; none where it is not there."""
    size = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in but and not entry.name.startswith("."):
                # What ends meanwhile takes nothing.
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def size_on_disk(status: os.stat_result) -> int:
    """Bytes that a file takes, in blocks where the system counts them."""
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else int(blocks) * 512


def read_into_at(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill a buffer from `offset` on; less than all of it only at the file's end."""
    got = 0
    while got < len(buffer):
        if hasattr(os, "preadv"):
            some = os.preadv(fd, [buffer[got:]], offset + got)
        else:
            data = _read_at(fd, len(buffer) - got, offset + got)
            some = len(data)
            buffer[got : got + some] = data
        if not some:
            break
        got += some
    return got


def _is_one_file(first: str, second: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(first), os.stat(second))
    return False


def _read_at(fd: int, size: int, offset: int) -> bytes:
    if sys.platform == "win32":
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)
    else:  # noqa: RET505  # mypy reads each branch for its own system only where there are two
        return os.pread(fd, size, offset)


def _write_parts(fd: int, parts: Sequence[bytes | memoryview], offset: int) -> int:
    if hasattr(os, "pwritev"):
        return os.pwritev(fd, parts, offset)
    with _position:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, b"".join(parts))
