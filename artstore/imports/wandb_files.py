"""The bytes of what W&B logged: found where they may lie, and checked against the manifest while they are stored.

They lie where they were logged from (W&B copies them into `artifacts/staging` of its data folder), or in its cache
(`artifacts/obj/md5/aa/bb…`, by digest) once they were uploaded or downloaded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import xxhash

from artstore.imports.wandb_runs import LoggedEntry
from artstore.lifecycle.draft import Draft

_SIZES: Final = 16  # bytes of either digest


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: BinaryIO, hasher: Any) -> None:
        self._file = cast("io.RawIOBase", file)
        self._hasher = hasher

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        self._hasher.update(memoryview(buffer)[:count])
        return count


class Whereabouts:
    """Where the bytes of a run's artifacts may lie."""

    def __init__(self, folders: Sequence[Path], places: Sequence[Path]) -> None:
        """Take the run's folders, and the folders that hold W&B's `artifacts`."""
        self._folders = folders
        self._places = places

    def store(self, draft: Draft, entry: LoggedEntry) -> str | None:
        """Add a file to a draft; answers why not, if it was not. What is in the draft has the logged digest."""
        try:
            wanted = base64.b64decode(entry.digest, validate=True)
        except binascii.Error:
            wanted = b""
        if len(wanted) != _SIZES:
            return f"the manifest's digest {entry.digest!r} is none"
        is_xxh128 = entry.extra.get("alg") == "XXH128"
        reason = "its bytes are no longer where they were logged from, nor in the cache"
        for candidate in self._candidates(entry, wanted, "xxh128" if is_xxh128 else "md5"):
            hasher = xxhash.xxh3_128() if is_xxh128 else hashlib.md5(usedforsecurity=False)
            try:
                with candidate.open("rb", buffering=0) as file:
                    draft.add_stream(cast("BinaryIO", _Hashed(cast("BinaryIO", file), hasher)), entry.path)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                continue
            if hasher.digest() == wanted:
                return None
            draft.remove(entry.path)
            reason = f"{str(candidate)!r} has other bytes than were logged"
        return reason

    def _candidates(self, entry: LoggedEntry, digest: bytes, algorithm: str) -> Iterator[Path]:
        if entry.local_path is not None:
            logged = Path(entry.local_path)
            # A relative path was relative to where the run was started: mostly where its `wandb` folder lies.
            yield from (folder.parent.parent / logged for folder in self._folders)
            yield from (place / "artifacts" / "staging" / logged.name for place in self._places)
        name = digest.hex()
        yield from (place / "artifacts" / "obj" / algorithm / name[:2] / name[2:] for place in self._places)
