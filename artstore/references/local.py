"""Local: files of this machine, `file://`."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from blake3 import blake3

from artstore.errors import Conflict, Invalid, ReferenceChanged, ReferenceMissing, Refused
from artstore.model.digest import Digest
from artstore.model.manifest import ReferenceEntry, reference
from artstore.references.wanted import Wanted
from artstore.storage import whole

_PREFIX: Final = "file://"
_OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


def expand(wanted: Wanted) -> list[ReferenceEntry]:
    """One entry for a file, and one for each file below a folder, whose linked folders are left out."""
    top, is_encoded = _path_of(wanted.uri)
    if not os.path.lexists(top):
        message = f"{wanted.uri!r} names no file and no folder: there is no {str(top)!r}"
        raise ReferenceMissing(message, code="reference-missing")
    if not top.is_dir():
        return [_entry(wanted, top, wanted.name or top.name, _uri(wanted.uri, top))]
    base = _uri(wanted.uri, top).rstrip("/")
    entries: list[ReferenceEntry] = []
    for relative in _files_below(top):
        wanted.check_count(len(entries) + 1)
        uri = f"{base}/{quote(relative) if is_encoded else relative}"
        entries.append(_entry(wanted, top / relative, wanted.below(relative), uri))
    return entries


def fetch(entry: ReferenceEntry) -> Generator[bytes, None, None]:
    """The file's bytes; where they were recorded with their digest, it is compared at the end."""
    path, _ = _path_of(entry.uri)
    hasher = blake3()
    fd = _open(path)
    with os.fdopen(fd, "rb", buffering=0) as file:
        while block := file.read(whole.BLOCK):
            hasher.update(block)
            yield block
    if entry.checksum not in {entry.uri, str(Digest(hasher.digest()))}:
        message = f"{entry.uri!r} has other content now than when it was recorded"
        raise ReferenceChanged(message, code="reference-changed")


def _entry(wanted: Wanted, path: Path, name: str, uri: str) -> ReferenceEntry:
    if not wanted.checksum:
        # Without its size: then an edit of the file changes nothing in the version, as was asked for.
        os.close(_open(path))
        return reference(name, uri, checksum=uri, size=None, extra={})
    fd = _open(path)
    try:
        before = os.fstat(fd)
        found = whole.measure(fd)
        after = os.fstat(fd)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(fd)
    if (before.st_mtime_ns, before.st_ctime_ns, found.size) != (after.st_mtime_ns, after.st_ctime_ns, after.st_size):
        message = f"{str(path)!r} changed while it was read: wait until it stands still"
        raise Conflict(message, code="file-changed")
    return reference(name, uri, checksum=str(found.digest), size=found.size, extra={})


def _files_below(top: Path) -> Iterator[str]:
    """The paths of what is not a folder, relative to the top and sorted within each folder."""

    def stop(error: OSError) -> None:
        raise _unreadable(top, error) from error

    for folder, below, names in os.walk(top, onerror=stop):
        below.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), top).replace(os.sep, "/")


def _path_of(uri: str) -> tuple[Path, bool]:
    """The path that a URI names, and whether it was percent-encoded; a file with just this name comes first."""
    text = uri[len(_PREFIX) :].removeprefix("localhost/")
    text = f"/{text}" if uri[len(_PREFIX) :].startswith("localhost/") else text
    if "\0" in text or not text:
        message = f"{uri!r} names no file: write file:// and an absolute path"
        raise Invalid(message, code="bad-reference")
    if os.name == "nt":
        text = text.removeprefix("/")  # file:///C:/folder
    path = Path(os.path.abspath(text))
    decoded = Path(os.path.abspath(unquote(text)))
    if decoded != path and "\0" not in str(decoded) and not os.path.lexists(path):
        return decoded, True
    return path, False


def _uri(given: str, path: Path) -> str:
    """The URI as it was given; a relative one with the folder that it was relative to."""
    return given if given[len(_PREFIX) :].startswith(("/", "localhost/")) else f"{_PREFIX}{path.as_posix()}"


def _open(path: Path) -> int:
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{str(path)!r} is not there"
        raise ReferenceMissing(message, code="reference-missing") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        message = f"{str(path)!r} is not a file, so nothing of it can be recorded or fetched"
        raise Invalid(message, code="not-a-file")
    return fd


def _unreadable(path: Path, error: OSError) -> Refused:
    where = error.filename or str(path)
    return Refused(f"{where!r} cannot be read: {error.strerror or error}", code="reference-refused")
