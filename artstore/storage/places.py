"""Places: where the bytes of a blob are, and what is said where they are not there as they should be."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from artstore.errors import Corrupt
from artstore.model.digest import Digest
from artstore.storage.files import storage_error

OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO})
"""What the system says where there is no file. All else says nothing about the bytes: another time they may be read."""
WHAT_NOW: Final = "Run `artstore verify`, then put the same bytes again or run `artstore repair`"
"""What mends a damaged blob."""
MISSING_NOW: Final = "Put the same bytes again, or run `artstore repair PATH`"
"""What brings back one that is nowhere."""


class Place(NamedTuple):
    """Where the bytes of a blob are."""

    digest: Digest
    size: int
    path: str
    offset: int
    sums: bytes | None
    is_whole: bool

    @property
    def file(self) -> str:
        """What the place is in, for a message."""
        return "its file" if self.is_whole else f"the pack {os.path.basename(self.path)!r}"


@contextlib.contextmanager
def reading(place: Place) -> Iterator[None]:
    """Turn what the system says of a blob's file into an error that names the blob; FileNotFoundError stays itself."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_FILE:
            raise damaged(place) from error
        raise storage_error(error, f"reading blob {place.digest}") from error


def damaged(place: Place, at: int | None = None, *, called: str = "") -> Corrupt:
    """The error for bytes that are not what their digest says, near one of them if that is known.

    `called` says what the blob is to whoever asks, as `'a.txt' of cats:v3`.
    """
    where = "" if at is None else f", near its byte {at} of {place.size}"
    message = f"{so_called(called)}blob {place.digest} is damaged in {place.file}{where}. {WHAT_NOW}"
    return Corrupt(message, code="digest-mismatch")


def gone(place: Place, *, called: str = "") -> Corrupt:
    """As `damaged`, for bytes whose file is not there."""
    message = f"{so_called(called)}blob {place.digest} is missing: {place.path!r} is gone. {WHAT_NOW}"
    return Corrupt(message, code="blob-missing")


def so_called(called: str) -> str:
    """The beginning of a message about something that has a name, or not."""
    return f"{called}: " if called else ""
