"""Fetch: what a reference stands for is brought to where it is wanted.

The store does not know how: a `Fetch` does. Bytes get their name only when it has given all of them and raised nothing,
so that others than those recorded are never seen.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Invalid, ReferenceChanged, ReferenceMissing
from artstore.lifecycle.progress import Progress, Tick
from artstore.lifecycle.reports import Skipped
from artstore.lifecycle.target import Target
from artstore.model.manifest import ReferenceEntry
from artstore.model.paths import quoted
from artstore.storage import whole
from artstore.storage.files import write_all

Fetch = Callable[[ReferenceEntry], Generator[bytes, None, None]]
"""Gives the bytes that a reference stands for, or raises ReferenceMissing and others, perhaps after the last block."""

THREADS: Final = 16
"""References that are fetched at a time: they wait for a network, not for a processor."""


class Brought(NamedTuple):
    """What became of some references."""

    fetched: int
    unchanged: int
    bytes_written: int
    missing: list[Skipped]


class FetchedFile(io.FileIO):
    """What a reference stands for as a read-only, seekable file: whole and compared before it is opened."""

    def __init__(self, entry: ReferenceEntry, fetch: Fetch) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self.size = _write(file.fileno(), entry, fetch)
            super().__init__(os.dup(file.fileno()), "rb")
        self.seek(0)

    def blocks(self) -> Iterator[bytes]:
        """All bytes, up to 1 MiB at a time."""
        self.seek(0)
        while block := self.read(whole.BLOCK):
            yield block


def not_here(entry: ReferenceEntry) -> Invalid:
    """The error for whoever wants bytes of a store that has them not."""
    message = f"{quoted(entry.path)} is a reference: its bytes are at {entry.uri!r}, not in this store"
    return Invalid(message, code="is-a-reference")


def naming(fetch: Fetch, version: str) -> Fetch:
    """The same fetch, whose errors say of which entry of which version they are, and what to do about it."""

    def named(entry: ReferenceEntry) -> Generator[bytes, None, None]:
        try:
            yield from fetch(entry)
        except ArtstoreError as error:
            message = f"{quoted(entry.path)} of {version}: {error.message}{_what_now(error)}"
            raise type(error)(message, code=error.code) from error

    return named


def _what_now(error: ArtstoreError) -> str:
    if not isinstance(error, ReferenceMissing):
        return ""
    changed = isinstance(error, ReferenceChanged)
    way = "Put back what was there" if changed else "Bring it back"
    return f". {way}, or reference it anew in a new version; allow_missing_references leaves it out"


def bring(
    top: Path,
    entries: Sequence[ReferenceEntry],
    fetch: Fetch | None,
    *,
    is_fresh: bool,
    allow_missing: bool,
    progress: Progress | None,
) -> Brought:
    """Make what references stand for be files below a folder. Raises what `fetch` does; see checkout."""
    missing: list[Skipped] = []
    fetched = unchanged = written = 0
    if fetch is None or not entries:
        return Brought(fetched, unchanged, written, missing)
    with ThreadPoolExecutor(min(THREADS, len(entries)), thread_name_prefix="artstore-fetch") as pool:
        work = [pool.submit(_bring_one, top, entry, fetch, is_fresh=is_fresh) for entry in entries]
        try:
            for done, (entry, future) in enumerate(zip(entries, work, strict=True), start=1):
                try:
                    size = future.result()
                except ReferenceMissing as error:
                    if not allow_missing:
                        raise
                    # As it was before it named the path, which stands beside it.
                    missing.append(Skipped(path=entry.path, reason=str(error.__cause__ or error)))
                else:
                    fetched += size is not None
                    unchanged += size is None
                    written += size or 0
                if progress is not None:
                    progress(Tick("fetch", done, written, len(entries)))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return Brought(fetched, unchanged, written, missing)


def _bring_one(top: Path, entry: ReferenceEntry, fetch: Fetch, *, is_fresh: bool) -> int | None:
    """Bytes written; None where the file is there already."""
    folder, _, name = entry.path.rpartition("/")
    with Target(top) as target:
        target.go_to(folder, make=True)
        if not is_fresh and _is_same(target, name, entry):
            return None
        with target.replacing(name) as (fd, _temporary):
            return _write(fd, entry, fetch)


def _is_same(target: Target, name: str, entry: ReferenceEntry) -> bool:
    """Whether the file is there already; only a digest can tell."""
    status = target.status(name)
    if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
        return False
    fd = target.open(name)
    try:
        return entry.checksum == str(whole.measure(fd).digest)
    finally:
        os.close(fd)


def _write(fd: int, entry: ReferenceEntry, fetch: Fetch) -> int:
    size = 0
    with contextlib.closing(fetch(entry)) as blocks:
        for block in blocks:
            write_all(fd, block)
            size += len(block)
    return size
