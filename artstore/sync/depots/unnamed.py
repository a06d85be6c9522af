"""Unnamed: what was put in a depot for a slot that is still to be claimed.

Whoever is killed, or overtaken, before that goes on behind it. It is noted by the place and not by the log, since the
first slot of a log may be claimed by others meanwhile; and can be lost, which costs sending it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from artstore.model.digest import Digest
from artstore.storage.files import make_directory, storage_errors, write_file


class Unnamed:
    """Names of packs and large blobs of one project in one place."""

    def __init__(self, root: Path, url: str, kind: str, part: str) -> None:
        """`kind` tells what is in one place from each other, and `part` stands for the project."""
        place = Digest.of(f"{kind} {part} {url}".encode()).hex()[:32]
        self._temporary = root / "tmp"
        self._path = root / "sync" / f"{place}.unnamed"
        self._names = self._load()
        self._is_saved = True

    @property
    def names(self) -> list[str]:
        """In the order in which they were put there."""
        return list(self._names)

    def add(self, names: Iterable[str]) -> None:
        """Note some that are there."""
        self._names.update(dict.fromkeys(names))
        self._is_saved = False

    def drop(self, names: Collection[str]) -> None:
        """Of these a slot has spoken."""
        for name in names:
            if name in self._names:
                del self._names[name]
                self._is_saved = False

    def save(self) -> None:
        """Remember them for the next time."""
        if self._is_saved:
            return
        with storage_errors("noting what was sent to a remote"):
            make_directory(self._path.parent)
            write_file(self._temporary, self._path, msgspec.msgpack.encode(list(self._names)))
        self._is_saved = True

    def _load(self) -> dict[str, None]:
        # What cannot be read is not known.
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return dict.fromkeys(msgspec.msgpack.decode(self._path.read_bytes(), type=list[str]))
        return {}
