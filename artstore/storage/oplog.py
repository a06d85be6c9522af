"""The log on disk: one file for each transaction, and segments of many.

`ops/<project>/<seq>` holds one transaction, `ops/<project>/<first>-<last>` those of a range, the same bytes. The link
of a file to its name is the commit. Beside the transactions a file carries what `rebuild` needs to make the catalog
again: encodings of manifests, checksums of large blobs, names of packs. These are not part of the chain, so that
compaction may encode a manifest anew.

Layout: 16 bytes of magic; the attachments and then the transactions (list of bytes), both MessagePack; 56 bytes of
footer: the lengths of the two (unsigned 64 bit, big-endian), the BLAKE3 of all bytes before the footer, 8 bytes of
magic.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from blake3 import blake3

from artstore.errors import Corrupt, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.files import (
    make_directory,
    publish,
    storage_error,
    storage_errors,
    sync_directory,
    sync_file,
    write_all,
)

MAGIC: Final = b"artstore-log 1\n\0"
_END: Final = b"artend1\n"
_FOOTER: Final = struct.Struct(">QQ32s8s")
_NAME: Final = re.compile(r"(\d{12})(?:-(\d{12}))?\Z")
_O_BINARY: Final = getattr(os, "O_BINARY", 0)


class Sums(msgspec.Struct, frozen=True, array_like=True):
    """The size and the checksums of a large blob."""

    digest: Digest
    size: int
    sums: bytes


class Attachments(msgspec.Struct, frozen=True):
    """What a file of the log carries beside its transactions."""

    manifests: list[Encoding] = []
    sums: list[Sums] = []
    packs: list[str] = []
    """Names of the packs that these transactions brought."""


class LogFile(NamedTuple):
    """One file of the log by its name."""

    first: int
    last: int
    path: Path


class Contents(NamedTuple):
    """One file of the log, read and checked."""

    transactions: list[bytes]
    attachments: Attachments


class Prepared:
    """A file of the log that lacks only its transactions: all that takes long is on the disk already."""

    def __init__(self, path: Path, attachments: Attachments) -> None:
        self.path = path
        # Of a million entries this is 40 MB, so it is neither copied nor kept.
        encoded = msgspec.msgpack.encode(attachments, enc_hook=bytes)
        self._attachments_size = len(encoded)
        self._hasher = blake3(MAGIC)
        self._hasher.update(encoded)
        with storage_errors("writing the log"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o644)
            try:
                write_all(self._fd, MAGIC)
                write_all(self._fd, encoded)
                if self._attachments_size > 1 << 16:
                    sync_file(self._fd)
            except BaseException:
                os.close(self._fd)
                raise

    def seal(self, transactions: list[bytes]) -> None:
        """Add the transactions and sync. May be called again, with others, while the file has no name."""
        body = msgspec.msgpack.encode(transactions)
        hasher = self._hasher.copy()
        hasher.update(body)
        footer = _FOOTER.pack(self._attachments_size, len(body), hasher.digest(), _END)
        with storage_errors("writing the log"):
            start = len(MAGIC) + self._attachments_size
            os.ftruncate(self._fd, start)
            os.lseek(self._fd, start, os.SEEK_SET)
            write_all(self._fd, body + footer)
            sync_file(self._fd)

    def close(self) -> None:
        """Let the file go; its temporary name goes with the session's folder."""
        os.close(self._fd)


class OpLog:
    """The logs of all projects of a store."""

    def __init__(self, root: Path) -> None:
        self._ops = root / "ops"

    def projects(self) -> list[str]:
        """Every project that has a log."""
        return sorted(entry.name for entry in os.scandir(self._ops) if entry.is_dir())

    def has(self, project: str, seq: int) -> bool:
        """Whether the file of one transaction is there, not counting segments."""
        return os.path.exists(self.path_of(project, seq))

    def path_of(self, project: str, seq: int) -> Path:
        """Where the file of one transaction is, if it is not in a segment."""
        return self._ops / project / _name(seq, seq)

    def files(self, project: str) -> list[LogFile]:
        """The files of a log in order, without those that a segment holds too."""
        return _standing(self.all_files(project))

    def covered(self, project: str) -> list[LogFile]:
        """The files of a log whose transactions a segment holds too."""
        # Of one listing: what is committed between two would seem to be covered.
        every = self.all_files(project)
        return sorted(set(every) - set(_standing(every)))

    def all_files(self, project: str) -> list[LogFile]:
        """Every file of a log, in no order."""
        directory = self._ops / project
        names: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            # A folder is read piece by piece: beside a compaction one reading may have missed the new segment and what
            # it took the place of as well. Two that agree have not.
            while (again := set(os.listdir(directory))) != names:
                names = again
        matches = ((name, _NAME.match(name)) for name in names)
        return [LogFile(int(m[1]), int(m[2] or m[1]), directory / name) for name, m in matches if m]

    def last(self, project: str) -> int:
        """The seq of the newest transaction; 0 if there is none."""
        return max((file.last for file in self.all_files(project)), default=0)

    def transactions(self, project: str, after: int) -> Iterator[tuple[int, bytes, Attachments]]:
        """Every transaction behind a seq, in order; attachments come with the first of each file.

        Raises Corrupt (log-gap) where one is missing and later ones are there.
        """
        expected = after + 1
        last = after
        gone: Path | None = None
        files = iter(self.files(project))
        while (file := next(files, None)) is not None:
            # What is committed after the files were listed is for whoever asks next.
            last = max(last, file.last)
            if file.last < expected:
                continue
            if file.first > expected:
                break
            try:
                contents = read(file.path)
            except FileNotFoundError as error:
                if file.path == gone:
                    raise _damaged(file.path, "it is listed, and cannot be found") from error
                # Compacted since it was listed: a segment has the same bytes.
                gone = file.path
                files = iter(self.files(project))
                continue
            attachments = contents.attachments
            for seq, transaction in enumerate(contents.transactions, start=file.first):
                if seq == expected:
                    yield seq, transaction, attachments
                    attachments = Attachments()
                    expected += 1
        if last >= expected:
            message = (
                f"transaction {expected} of the log of project {project!r} is missing, and later ones are there. "
                "Run `artstore repair`"
            )
            raise Corrupt(message, code="log-gap")

    def publish(self, project: str, first: int, last: int, prepared: Prepared) -> bool:
        """Give a sealed file its name; False if the name was taken. True means committed, whatever comes after."""
        directory = self._ops / project
        with storage_errors("publishing the log"):
            make_directory(directory)
            target = directory / _name(first, last)
            done = publish(str(prepared.path), str(target))
            sync_directory(directory)
        return done

    def sync(self, project: str, seq: int) -> None:
        """Make sure that a file which somebody else published is on the disk with its name."""
        with storage_errors("syncing the log"), contextlib.suppress(FileNotFoundError):
            fd = os.open(self._ops / project / _name(seq, seq), os.O_RDONLY | _O_BINARY)
            try:
                sync_file(fd)
            finally:
                os.close(fd)
            sync_directory(self._ops / project)


def read(path: Path) -> Contents:
    """Read and check a file of the log. Raises Corrupt (log-damaged), UpgradeNeeded (newer-log)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, "reading the log") from error
    if data.startswith(MAGIC[:13]) and not MAGIC.startswith(data[: len(MAGIC)]) and data[13:14].isdigit():
        message = f"the log file {'/'.join(path.parts[-3:])!r} has a newer form: install a newer artstore"
        raise UpgradeNeeded(message, code="newer-log")
    if len(data) < len(MAGIC) + _FOOTER.size or not data.startswith(MAGIC):
        raise _damaged(path, "it is cut short or not a file of the log")
    attachments_size, body_size, digest, end = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    start = len(MAGIC) + attachments_size
    view = memoryview(data)
    if end != _END or start + body_size + _FOOTER.size != len(data):
        raise _damaged(path, "its parts do not fit its length")
    if blake3(view[: -_FOOTER.size]).digest() != digest:
        raise _damaged(path, "its bytes are not those that were written")
    try:
        return Contents(
            transactions=msgspec.msgpack.decode(view[start : start + body_size], type=list[bytes]),
            attachments=msgspec.msgpack.decode(view[len(MAGIC) : start], type=Attachments, dec_hook=_decode),
        )
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _standing(files: Iterable[LogFile]) -> list[LogFile]:
    found: list[LogFile] = []
    for file in sorted(files, key=lambda file: (file.first, -file.last)):
        if not found or file.last > found[-1].last:
            found.append(file)
    return found


def _name(first: int, last: int) -> str:
    return f"{first:012d}" if first == last else f"{first:012d}-{last:012d}"


def _damaged(path: Path, why: str) -> Corrupt:
    message = f"the log file {'/'.join(path.parts[-3:])!r} is damaged: {why}. Run `artstore repair`"
    return Corrupt(message, code="log-damaged")


def _decode(kind: type, value: Any) -> Any:
    return kind(value)
