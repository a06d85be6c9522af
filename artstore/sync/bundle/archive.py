"""Archive: the tar that a bundle is, in one file or split into several."""

from __future__ import annotations

import contextlib
import os
import re
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from artstore.errors import ArtstoreError, Conflict, Corrupt, MissingFile, MissingObject, Refused, StorageFull
from artstore.storage.files import (
    publish,
    random_hex,
    read_exactly,
    storage_error,
    sync_directory,
    sync_file,
    write_all,
)
from artstore.sync.objects.failures import other_size
from artstore.sync.objects.interface import BLOCK, is_name

_RECORD: Final = 512
_END: Final = bytes(2 * _RECORD)
_LONGEST: Final = 100
"""Bytes of a name that fit a header."""
_SIZE_AT: Final = 124
_SIZE_BYTES: Final = 12
_BINARY: Final = 0x80
_MOST_BYTES: Final = 1 << 62
_MOST_PARTS: Final = 999
_PART: Final = re.compile(r"(.+)\.[0-9]{3}\Z", re.DOTALL)


class _Span(NamedTuple):
    """Where the bytes of a member are."""

    start: int
    size: int


class BundleWriter:
    """A bundle that is being written: under its name only once `publish` returned. Several threads may write at once.

    Raises StorageFull (bundle-full) where the disk that it goes to is full, Refused (cannot-write).
    """

    def __init__(self, path: Path, *, split: int | None = None) -> None:
        """Begin. `split` is the most bytes of a file. Raises Conflict (file-exists), MissingFile (no-such-folder)."""
        if not path.parent.is_dir():
            message = f"there is no folder {str(path.parent)!r} to write the bundle to"
            raise MissingFile(message, code="no-such-folder")
        self._path = path
        self._split = split
        self._lock = threading.Lock()
        self._mark = random_hex(4)
        self._fds: list[int] = []
        self._temporary: list[Path] = []
        self._left = 0
        self.size = 0
        """Bytes so far."""
        self._check_free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd in self._fds:
            os.close(fd)
        for path in self._temporary:
            path.unlink(missing_ok=True)

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        """See Objects."""
        with self._lock:
            self._append(_header(name, size))
            came = 0
            for chunk in chunks:
                came += len(chunk)
                self._append(chunk)
            if came != size:
                raise other_size(str(self._path), name, wanted=size, found=came)
            self._append(bytes(-size % _RECORD))

    def write_file(self, name: str, source: Path) -> None:
        """See Objects."""
        with source.open("rb", buffering=0) as file:
            self.write(name, iter(lambda: file.read(BLOCK), b""), os.fstat(file.fileno()).st_size)

    def publish(self) -> list[Path]:
        """End it, and give it its name; answers the files that it is."""
        self._append(_END)
        with self._told():
            for fd in self._fds:
                sync_file(fd)
            self._check_free()
            names = self._names(len(self._temporary))
            for temporary, name in zip(self._temporary, names, strict=True):
                if not publish(str(temporary), str(name)):
                    raise _taken(name)
            self._temporary.clear()
            sync_directory(self._path.parent)
        return names

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        with self._told():
            while view:
                if not self._left:
                    self._next_file()
                piece = view[: self._left]
                write_all(self._fds[-1], piece)
                self._left -= len(piece)
                self.size += len(piece)
                view = view[len(piece) :]

    def _next_file(self) -> None:
        if len(self._temporary) == _MOST_PARTS:
            message = f"{self._path.name!r} would become more than {_MOST_PARTS} files: give --split a larger size"
            raise Refused(message, code="too-many-parts")
        temporary = self._path.parent / f".{self._path.name}.{self._mark}.{len(self._temporary)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._fds.append(os.open(temporary, flags, 0o644))
        self._temporary.append(temporary)
        self._left = self._split or _MOST_BYTES

    def _names(self, count: int) -> list[Path]:
        if self._split is None:
            return [self._path]
        return [self._path.with_name(f"{self._path.name}.{number:03d}") for number in range(1, count + 1)]

    def _check_free(self) -> None:
        for name in (self._path, *self._names(1)):
            if os.path.lexists(name):
                raise _taken(name)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ArtstoreError:
            raise
        except OSError as error:
            found = storage_error(error, "writing a bundle")
            if isinstance(found, StorageFull):
                message = (
                    f"there is no space for {str(self._path)!r}: {self.size} bytes of it were written, and are gone. "
                    "Name another disk, or fewer versions"
                )
                raise StorageFull(message, code="bundle-full") from error
            message = f"{str(self._path)!r} cannot be written: {error.strerror or error}"
            raise Refused(message, code="cannot-write") from error


class BundleReader:
    """A bundle that is there whole; what it holds is not verified yet. Several threads may read at once."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises MissingFile (no-such-bundle), Corrupt (bundle-damaged), Refused (unreadable)."""
        self.url = str(path)
        self._files: list[tuple[int, int, int]] = []
        """Descriptor, where its bytes begin, and how many they are."""
        self.size = 0
        try:
            self.paths = _files_of(path)
            """The files that it is in."""
            for file in self.paths:
                fd = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
                self._files.append((fd, self.size, os.fstat(fd).st_size))
                self.size += self._files[-1][2]
            self._members = self._walk()
        except FileNotFoundError as error:
            self.close()
            if isinstance(error, MissingFile):
                raise
            message = f"there is no bundle {str(path)!r}"
            if later := _later_file(path):
                message += (
                    f": {later.name!r} is a later file of it, and the first one, {_first_file(path).name!r}, is missing"
                )
            raise MissingFile(message, code="no-such-bundle") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the files go."""
        while self._files:
            os.close(self._files.pop()[0])

    def names(self, prefix: str = "") -> list[str]:
        """The members whose names begin so, in their order."""
        return [name for name in self._members if name.startswith(prefix)]

    def read_whole(self, name: str, most: int) -> bytes:
        """All bytes of a member, of which there are not more than so many. Raises Corrupt (bundle-damaged)."""
        size = self.size_of(name)
        if size > most:
            raise self.damaged(f"{name!r} in it has {size} bytes, and none like it has more than {most}")
        return self.read(name)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See Objects."""
        span = self._span(name)
        wanted = max(0, span.size - start) if length is None else length
        if start < 0 or wanted < 0 or start + wanted > span.size:
            raise self.damaged(f"{name!r} in it is shorter than it should be")
        return self._read(span.start + start, wanted)

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See Objects."""
        span = self._span(name)
        while start < span.size:
            block = self._read(span.start + start, min(BLOCK, span.size - start))
            start += len(block)
            yield block

    def size_of(self, name: str) -> int:
        """Bytes of a member."""
        return self._span(name).size

    def damaged(self, why: str) -> Corrupt:
        """The error for what no bundle can be."""
        return Corrupt(f"the bundle {self.url!r} cannot be taken: {why}. Copy it again", code="bundle-damaged")

    def _span(self, name: str) -> _Span:
        if name not in self._members:
            raise MissingObject(f"the bundle {self.url!r} has no {name!r} in it", code="object-missing")
        return self._members[name]

    def _walk(self) -> dict[str, _Span]:
        found: dict[str, _Span] = {}
        at = 0
        while at + _RECORD <= self.size:
            head = self._read(at, _RECORD)
            if head == _END[:_RECORD]:
                if at + len(_END) != self.size:
                    raise self.damaged(f"it should end at byte {at + len(_END)}, and has {self.size}")
                return found
            name, size = _parse(head, at, self.damaged)
            if at + _RECORD + size > self.size:
                break
            if name in found:
                raise self.damaged(f"it has two members {name!r}")
            found[name] = _Span(at + _RECORD, size)
            at += _RECORD + size + (-size % _RECORD)
        rest = f", or {self.url}.{len(self._files) + 1:03d} is missing" if len(self._files) > 1 else ""
        raise self.damaged(f"it is cut short after {self.size} bytes{rest}")

    def _read(self, start: int, size: int) -> bytes:
        found: list[bytes] = []
        for fd, begin, length in self._files:
            if begin < start + size and start < begin + length:
                at = max(start, begin)
                try:
                    found.append(read_exactly(fd, min(start + size, begin + length) - at, at - begin))
                except OSError as error:
                    message = f"the bundle {self.url!r} cannot be read: {error.strerror or error}"
                    raise Refused(message, code="unreadable") from error
        data = found[0] if len(found) == 1 else b"".join(found)
        if len(data) < size:
            raise self.damaged("it became shorter while it was read")
        return data


def _files_of(path: Path) -> list[Path]:
    """The files of a bundle, which is named by its own name or by that of the first one."""
    if _PART.match(path.name) is not None and (_later_file(path) is not None or _first_file(path).exists()):
        path = _first_file(path).with_suffix("")
    elif path.exists():
        if not path.is_file():
            # A pipe would be waited for.
            message = f"there is no bundle {str(path)!r}: that is no file. Name the file that it is in"
            raise MissingFile(message, code="no-such-bundle")
        return [path]
    found: list[Path] = []
    while (part := path.with_name(f"{path.name}.{len(found) + 1:03d}")).exists():
        found.append(part)
    return found or [path]


def _first_file(path: Path) -> Path:
    """The first file of a bundle that is split, by its own name or by that of one of its files."""
    matched = _PART.match(path.name)
    return path.with_name(f"{path.name if matched is None else matched[1]}.001")


def _later_file(path: Path) -> Path | None:
    """A file of such a bundle behind the first, if there is one."""
    first = _first_file(path)
    names = (first.with_suffix(f".{number:03d}") for number in range(2, _MOST_PARTS + 1))
    return next((name for name in names if name.exists()), None)


def _header(name: str, size: int) -> bytes:
    """The 512 bytes before a member's own: GNU's form, since POSIX's has no sizes of 8 GiB and more."""
    assert len(name) < _LONGEST
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o444
    return member.tobuf(tarfile.GNU_FORMAT)


def _parse(head: bytes, at: int, damaged: Callable[[str], Corrupt]) -> tuple[str, int]:
    """Name and size of a member. A header is one only if it is what we would write for them."""
    try:
        name = head[: head.index(b"\0")].decode("ascii")
        field = head[_SIZE_AT : _SIZE_AT + _SIZE_BYTES]
        # GNU's way to say 8 GiB and more: a bit, and the number as it is.
        size = int.from_bytes(field[1:], "big") if field[0] == _BINARY else int(field[:-1], 8)
        if is_name(name) and len(name) < _LONGEST and 0 <= size < _MOST_BYTES and _header(name, size) == head:
            return name, size
    except ValueError:
        pass
    raise damaged(f"it has no header of artstore's at byte {at}")


def _taken(path: Path) -> Conflict:
    return Conflict(f"there is a file {str(path)!r} already: remove it, or name another one", code="file-exists")
