"""Interface: what every place for objects promises, and which names it takes.

An object is written once and whole: whoever sees its name sees all of its bytes. Two writers of one name must mean the
same bytes, except through `claim`, which has one winner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from artstore.errors import Invalid

BLOCK: Final = 1 << 20
"""Bytes that are moved at a time where nothing asks for more."""
LONGEST_PART: Final = 200
LONGEST_NAME: Final = 800
"""Bytes of a name; S3 and GCS take 1,024, and a prefix of the user's comes before it."""
STALE_S: Final = 24 * 3600
"""Seconds after which what a writer has not gone on with is taken for left behind by a dead one."""

_PART: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?")


class Source(Protocol):
    """Where objects are read. See Objects."""

    url: str

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """See Objects."""

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See Objects."""


class Target(Protocol):
    """Where objects are written. See Objects."""

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        """See Objects."""

    def write_file(self, name: str, source: Path) -> None:
        """See Objects."""


class Objects(Protocol):
    """Named immutable bytes in one place. Any number of threads may use one at once.

    Every call may raise Invalid (bad-name) before anything is asked, Denied, StorageFull, and Unreachable, after which
    it may have happened or not. A lost answer is the caller's matter: all but `claim` can simply be repeated, and after
    `claim` the name is read to see whose bytes are there.
    """

    url: str
    """What to call the place in a message: never with a password or a key in it."""

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """So many bytes from `start` on; to the end if no length is given.

        Raises MissingObject, and Corrupt (object-short) where the object ends before.
        """

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` to the end, as they come.

        What is cut goes on by itself as long as that brings something. Raises as `read` does, with the first block;
        after Unreachable in the middle, what came is right, and `start` goes on behind it.
        """

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        """Put an object there, which survives a power cut there once this returns. Over equal bytes is fine.

        What the chunks raise goes through. Raises Conflict (source-changed) where they are not `size` bytes together;
        an object is then not there, or as it was.
        """

    def write_file(self, name: str, source: Path) -> None:
        """As `write`, with the bytes of a file; the place may have a quicker way for it."""

    def claim(self, name: str, data: bytes) -> bool:
        """Put an object there if none of that name is, durably; of all who try, one wins and is told True.

        False: there is one, which after a lost answer may be the caller's own. What is there is readable at once.
        """

    def size(self, name: str) -> int | None:
        """Bytes of an object; None if there is none."""

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        """The names that begin so and come after another, asked for as they are taken.

        Those of one folder come sorted by their bytes. Folders come in an order of the place's own (SeaweedFS has `a/b`
        before `a-b`), so `after` is one that came, or what sorts before or behind one in its folder: `a/b/~` skips what
        is left of `a/b`.
        """

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The names that begin so, in the order of `names`, each with the bytes that a listing says it has."""

    def remove(self, name: str) -> None:
        """Take an object away; fine where there is none."""

    def tidy(self) -> int:
        """Free what killed writers left half written, a day after they wrote last; answers how many pieces it was."""


def is_name(text: str) -> bool:
    """Whether an object may be called so. What else lies in a place was put there by others, and is not listed."""
    is_short = len(text) <= LONGEST_NAME
    return is_short and all(len(part) <= LONGEST_PART and _PART.fullmatch(part) for part in text.split("/"))


def check_name(name: str) -> None:
    """Raise Invalid (bad-name) for a name that not every place could hold as it is."""
    if not is_name(name):
        message = (
            f"{name!r} is no name of an object: write parts of a-z, 0-9, '.', '_' and '-' with '/' between, each "
            f"beginning with a letter or a digit, not ending with '.', and of at most {LONGEST_PART} bytes"
        )
        raise Invalid(message, code="bad-name")


def check_prefix(prefix: str) -> None:
    """Raise Invalid (bad-name) for what no name begins with."""
    head, slash, tail = prefix.rpartition("/")
    if slash:
        check_name(head)
    if tail:
        check_name(f"{tail}0")
