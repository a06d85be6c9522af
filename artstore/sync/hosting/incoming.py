"""Incoming: blobs on their way into a store that others send to, verified before they count.

A large one is written bit by bit to a file of its own in `hosted/uploads`, where it stays until it is whole, whatever
ends in between. Its last bytes may not have reached the disk when the power went, so whoever goes on is told a checksum
of all that is there.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from xxhash import xxh3_64

from artstore.errors import Conflict, Invalid
from artstore.model.digest import Digest
from artstore.storage.blobs import SMALL
from artstore.storage.files import make_directory, storage_errors, write_all
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.http.wire import Stand, frames

STALE_S: Final = 7 * 86_400.0
"""After so long without a byte more, what came of a blob is removed."""
HANGS_S: Final = 5.0
"""After so long without a byte a request counts as hanging."""
_BLOCK: Final = 1 << 20


def take_packed(root: Root, session: Session, body: bytes | bytearray) -> list[tuple[Digest, int]]:
    """Store the small blobs of a body of frames, durably; answers them with their sizes.

    Raises Invalid (bad-frames, digest-mismatch) before any of it counts, StorageFull.
    """
    taken: list[tuple[Digest, int]] = []
    with Intake(root, session) as intake:
        for frame in frames(body):
            if frame.size > SMALL or Digest.of(frame.data) != frame.digest:
                raise mismatch(frame.digest)
            intake.take(bytes(frame.data))
            taken.append((frame.digest, frame.size))
        intake.settle()
    return taken


class Upload:
    """A large blob that is being received. One request at a time writes; another takes over from one that hangs."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self._path = path
        self._digest = digest
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._wrote_at = 0.0

    def stand(self) -> Stand:
        """How much has come."""
        checksum = xxh3_64()
        offset = 0
        with self._lock, contextlib.suppress(FileNotFoundError), self._path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                checksum.update(block)
                offset += len(block)
        return Stand(offset=offset, checksum=checksum.hexdigest())

    def begin(self, start: int, size: int) -> Writer:
        """Go on at a place. Raises Conflict (other-offset) where that is not where the bytes end, nor the beginning.

        Raises Conflict (busy) while another request brings bytes.
        """
        with self._lock, storage_errors("receiving a blob"):
            if self._writer is not None and time.monotonic() - self._wrote_at < HANGS_S:
                message = f"another request brings blob {self._digest} just now: ask again how much has come"
                raise Conflict(message, code="busy")
            there = self._size()
            if start == 0 and there:
                # Never cut: under its other name it may be a blob already.
                self._path.unlink()
            elif start != there:
                message = f"{there} bytes of blob {self._digest} have come, not {start}: ask, and go on there"
                raise Conflict(message, code="other-offset")
            make_directory(self._path.parent)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            writer = Writer(self, fd, start, size)
            self._writer, self._wrote_at = writer, time.monotonic()
            return writer

    def write(self, writer: Writer, fd: int, data: bytes | bytearray) -> None:
        """Append, unless another request has taken over. Raises Conflict (taken-over)."""
        with self._lock, storage_errors("receiving a blob"):
            if self._writer is not writer:
                message = f"another request goes on with blob {self._digest}: ask how much has come"
                raise Conflict(message, code="taken-over")
            write_all(fd, data)
            self._wrote_at = time.monotonic()

    def leave(self, writer: Writer) -> None:
        """Let another request write."""
        with self._lock:
            if self._writer is writer:
                self._writer = None

    def finish(self, root: Root, session: Session, size: int) -> bool:
        """Store the blob if all of its bytes have come. Raises Invalid (digest-mismatch): then it begins again."""
        with self._lock:
            if self._size() < size:
                return False
            with Intake(root, session) as intake:
                stored = intake.take_part(self._path)
                if stored.digest != self._digest:
                    self._path.unlink()
                    raise mismatch(self._digest)
                intake.settle()
            self._path.unlink()
            return True

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0


class Writer:
    """One request's hand on an upload."""

    def __init__(self, upload: Upload, fd: int, start: int, size: int) -> None:
        self._upload, self._fd, self._left = upload, fd, size - start

    def write(self, data: bytes | bytearray) -> None:
        """Append. Raises Invalid (too-long), Conflict (taken-over), StorageFull."""
        self._left -= len(data)
        if self._left < 0:
            message = "more bytes came than were announced"
            raise Invalid(message, code="too-long")
        self._upload.write(self, self._fd, data)

    def close(self) -> None:
        """What came stays."""
        self._upload.leave(self)
        os.close(self._fd)


class Uploads:
    """The large blobs that are on their way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[Path, Upload] = WeakValueDictionary()

    def of(self, part: str, digest: Digest) -> Upload:
        """The upload of a blob for a project."""
        path = self._folder / part / digest.hex()
        with self._lock:
            # Forgotten when nobody is at it: an upload is its file.
            found = self._known.get(path) or Upload(path, digest)
            self._known[path] = found
            return found

    def sizes(self, part: str) -> int:
        """The bytes that have come for a project and are no blob yet."""
        with contextlib.suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in (self._folder / part).iterdir())
        return 0

    def tidy(self) -> None:
        """Remove what nobody goes on with."""
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()


def mismatch(digest: Digest) -> Invalid:
    """The error for other bytes than were announced."""
    message = f"what was sent as blob {digest} is something else, so it was not taken: send it again"
    return Invalid(message, code="digest-mismatch")
