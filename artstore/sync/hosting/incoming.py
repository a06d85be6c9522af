"""Incoming: blobs on their way into a store that others send to, verified before they count.

A large one is written bit by bit to a file of its own in `hosted/uploads`, where it stays until it is whole, whatever
ends in between. Its last bytes may not have reached the disk when the power went, so whoever goes on is told a checksum
of all that is there. A few bytes of a patch make many: so it is counted, over all requests for one blob, how much of it
was copied. What of that is not known any more, as after a restart, counts as copied.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from artstore.errors import Conflict, Corrupt, Invalid, MissingObject
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.blob_reader import BlobReader
from artstore.storage.files import bytes_in, make_directory, storage_errors, write_all
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.delta.patch import MOST_TIMES, Patcher
from artstore.sync.http.wire import Stand

STALE_S: Final = 7 * 86_400.0
"""After so long without a byte more, what came of a blob is removed."""
HANGS_S: Final = 5.0
"""After so long without a byte a request counts as hanging."""
_BLOCK: Final = 1 << 20
_RECENT: Final = 64
"""Uploads that are remembered between two requests."""

Data = bytes | bytearray | memoryview


class _State(NamedTuple):
    """What changes when a file is not as it was left."""

    inode: int
    size: int
    mtime_ns: int


class Upload:
    """A large blob that is being received. One request at a time writes; another takes over from one that hangs."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self._path = path
        self._digest = digest
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._wrote_at = 0.0
        self._came = whole.Measure()
        self._left: _State | None = None
        """How the file was when all that it held had been measured."""
        self._length: int | None = None
        """Bytes of the whole blob, as the first request has said."""
        self._copied = 0
        """Bytes that came from other blobs, and were not sent."""

    def stand(self) -> Stand:
        """How much has come."""
        with self._lock, storage_errors("looking at what came of a blob"):
            self._measure()
            return Stand(offset=self._came.size, checksum=self._came.checksum(), busy=self._is_busy())

    def begin(self, start: int, size: int) -> Writer:
        """Go on at a place. Raises Conflict (other-offset) where that is not where the bytes end, nor the beginning.

        It begins again, and raises that too, where another request has said another size: one of the two is wrong.
        Raises Conflict (busy) while another request brings bytes.
        """
        with self._lock, storage_errors("receiving a blob"):
            if self._is_busy():
                message = f"another request brings blob {self._digest} just now: ask again how much has come"
                raise Conflict(message, code="busy")
            there = self._state()
            if start == 0 and there is not None:
                # Never cut: under its other name it may be a blob already.
                self._path.unlink()
            elif start != (0 if there is None else there.size):
                message = f"not {start} bytes of blob {self._digest} have come: ask how many, and go on there"
                raise Conflict(message, code="other-offset")
            elif start and self._length not in {None, size}:
                self._path.unlink()
                message = f"blob {self._digest} was begun with {self._length} bytes, and now has {size}: begin again"
                raise Conflict(message, code="other-offset")
            self._measure()
            self._length = size
            make_directory(self._path.parent)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            writer = Writer(self, fd, start, size)
            self._writer, self._wrote_at = writer, time.monotonic()
            return writer

    def write(self, writer: Writer, fd: int, data: Data) -> None:
        """Append, unless another request has taken over. Raises Conflict (taken-over)."""
        with self._lock, storage_errors("receiving a blob"):
            if self._writer is not writer:
                message = f"another request goes on with blob {self._digest}: ask how much has come"
                raise Conflict(message, code="taken-over")
            write_all(fd, data)
            self._came.add(data)
            status = os.fstat(fd)
            self._left = _State(status.st_ino, status.st_size, status.st_mtime_ns)
            self._wrote_at = time.monotonic()

    def copying(self, size: int, base: int) -> None:
        """Be told that so many bytes are to be copied from a blob of `base` bytes. Raises Invalid (bad-patch)."""
        with self._lock:
            if self._copied + size > MOST_TIMES * base:
                message = (
                    f"patches are not to make {self._copied + size} bytes of {self._digest} from a blob of {base}: "
                    "send the rest of them"
                )
                raise Invalid(message, code="bad-patch")
            self._copied += size

    def leave(self, writer: Writer) -> None:
        """Let another request write."""
        with self._lock:
            if self._writer is writer:
                self._writer = None

    def finish(self, root: Root, session: Session, size: int) -> bool:
        """Store the blob if all of its bytes have come. Raises Invalid (digest-mismatch): then it begins again."""
        with self._lock, storage_errors("storing a blob that came"):
            self._measure()
            if self._came.size < size:
                return False
            stored = self._came.stored()
            if stored.digest != self._digest:
                self._path.unlink()
                raise mismatch(self._digest)
            with Intake(root, session) as intake:
                intake.take_part(self._path, known=stored)
                intake.settle()
            self._path.unlink()
            return True

    def _measure(self) -> None:
        """Know what the file holds; it is read only if it is not as it was left."""
        there = self._state()
        if there == self._left and (there is None or there.size == self._came.size):
            if there is None:
                self._came, self._copied = whole.Measure(), 0
            return
        self._came, self._left = whole.Measure(), there
        if there is not None:
            with self._path.open("rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    self._came.add(block)
        self._copied = self._came.size

    def _is_busy(self) -> bool:
        return self._writer is not None and time.monotonic() - self._wrote_at < HANGS_S

    def _state(self) -> _State | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return _State(status.st_ino, status.st_size, status.st_mtime_ns)


class Writer:
    """One request's hand on an upload."""

    def __init__(self, upload: Upload, fd: int, start: int, size: int) -> None:
        self._upload, self._fd = upload, fd
        self._at, self._size = start, size
        self._behind = start

    def write(self, data: Data) -> None:
        """Append. Raises Invalid (too-long), Conflict (taken-over), StorageFull."""
        self._at += len(data)
        if self._at > self._size:
            message = "more bytes came than were announced"
            raise Invalid(message, code="too-long")
        self._upload.write(self, self._fd, data)
        # Its end has then little left to wait for.
        self._behind = whole.write_behind(self._fd, self._behind, self._at)

    def close(self) -> None:
        """What came stays."""
        self._upload.leave(self)
        os.close(self._fd)

    def copying(self, size: int, base: int) -> None:
        """See Upload."""
        self._upload.copying(size, base)


class PatchWriter:
    """As Writer, of a patch. See sync.delta.patch."""

    def __init__(self, writer: Writer, base: BlobReader, left: int) -> None:
        self._writer = writer
        self._base = base
        self._patcher = Patcher(base, left, writer.write, lambda size: writer.copying(size, base.size))

    def write(self, data: Data) -> None:
        """Go on. Raises as Writer.write, Invalid (bad-patch), MissingObject where the other blob is damaged."""
        try:
            self._patcher.feed(data)
        except Corrupt as error:
            message = f"the blob that the patch is of cannot be read: {error.message}"
            raise MissingObject(message, code="object-missing") from error

    def close(self) -> None:
        """What came stays."""
        self._base.close()
        self._writer.close()


class Uploads:
    """The large blobs that are on their way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[Path, Upload] = WeakValueDictionary()
        self._recent: deque[Upload] = deque(maxlen=_RECENT)

    def of(self, part: str, digest: Digest) -> Upload:
        """The upload of a blob for a project."""
        path = self._folder / part / digest.hex()
        with self._lock:
            # Forgotten when others are under way: an upload is its file, which then is measured anew.
            found = self._known.get(path) or Upload(path, digest)
            self._known[path] = found
            if found not in self._recent:
                self._recent.append(found)
            return found

    def size(self, part: str, *, but: Iterable[Digest] = ()) -> int:
        """The bytes that have come for a project and are no blob yet, but of some."""
        return bytes_in(self._folder / part, but={digest.hex() for digest in but})

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
