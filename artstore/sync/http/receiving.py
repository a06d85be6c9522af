"""Receiving: blobs on their way from a server. Small ones come together; a large one goes on where it was cut.

What has come of a large one lies in `sync/partial` of the store's folder until it is whole, whatever ends in between.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

import msgspec

from artstore.errors import ArtstoreError, Corrupt, Invalid, MissingObject, Unreachable
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.files import make_directory, random_hex, storage_errors, write_all
from artstore.storage.intake import Intake
from artstore.storage.relatives import relatives
from artstore.storage.root import Root
from artstore.storage.sessions import try_lock
from artstore.sync.http.connection import TRIES, Connection
from artstore.sync.http.patching import Patching, find_patching
from artstore.sync.http.wire import ABSENT, LARGE, MESSAGES, Frame, frames
from artstore.sync.protocol import Tell, corrupt

_AT_ONCE: Final = 4
_TOGETHER: Final = 512
"""Small blobs that are asked for at once: of 10 KiB each they are about what one answer holds."""
_BLOCK: Final = 1 << 20
_UNSETTLED: Final = 256 << 20
"""Bytes of large blobs that a killed process may have to store again."""
_STALE_S: Final = 7 * 86_400.0
_PAUSE_S: Final = 0.5
_PARTIAL: Final = "sync/partial"
_PLACE: Final = re.compile(r"bytes (\d+)-\d+/\d+\Z", re.ASCII)


class Receiver:
    """Takes blobs of one project into a store."""

    def __init__(self, connection: Connection, path: str, root: Root, intake: Intake, tell: Tell | None) -> None:
        """`path` is the project's on the server."""
        self.absent: list[Digest] = []
        """What the server has not."""
        self.bad: dict[Digest, ArtstoreError] = {}
        """What is damaged there, and what was said of each."""
        self._connection = connection
        self._path = path
        self._root = root
        self._partial = root.path / _PARTIAL
        self._intake = intake
        self._tell = tell
        self._large: list[Digest] = []
        self._done = self._bytes = 0

    def receive(self, digests: Sequence[Digest]) -> None:
        """Take blobs in, each verified. One that is bad holds up no other, and nothing is kept of it."""
        for digest, data in self._receive_small(list(dict.fromkeys(digests))):
            # Other bytes are never found under this name: they have one of their own.
            if self._intake.take(data, only=digest) == digest:
                self._count(len(data))
            else:
                self.bad[digest] = self._other_bytes(digest)
        near = relatives(self._root, self._large)
        with contextlib.ExitStack() as parts:
            unsettled = 0
            for digest in self._large:
                try:
                    size = self._receive_large(digest, near[digest], parts)
                except Corrupt as error:
                    self.bad[digest] = error
                    continue
                self._count(size)
                unsettled += size
                if unsettled > _UNSETTLED:
                    self._intake.settle()
                    parts.pop_all().close()
                    unsettled = 0
            if self._large:
                self._intake.settle()

    def _receive_small(self, digests: list[Digest]) -> Iterator[tuple[Digest, memoryview]]:
        """The small ones as they come; the others are put aside."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artstore-receive") as pool:
            on_way: dict[Future[bytes], list[Digest]] = {}
            rest = [digests[start : start + _TOGETHER] for start in range(0, len(digests), _TOGETHER)]
            try:
                while rest or on_way:
                    while rest and len(on_way) < _AT_ONCE:
                        some = rest.pop(0)
                        on_way[pool.submit(self._ask, some)] = some
                    for future in wait(on_way, return_when=FIRST_COMPLETED).done:
                        asked = on_way.pop(future)
                        came = self._read(future.result(), asked)
                        if len(came) < len(asked):
                            rest.insert(0, asked[len(came) :])
                        yield from ((frame.digest, frame.data) for frame in came if frame.size < LARGE)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _ask(self, digests: Sequence[Digest]) -> bytes:
        body = msgspec.msgpack.encode(list(map(bytes, digests)))
        path = f"{self._path}/fetch"
        return self._connection.ask("POST", path, body, doing="reading small blobs", kind=MESSAGES).data

    def _read(self, body: bytes, asked: Sequence[Digest]) -> list[Frame]:
        """The frames of an answer, which has some of what was asked for, from the first on."""
        try:
            came = list(frames(body))
        except Invalid as error:
            raise corrupt(f"{self._connection.url} answers with blobs that cannot be read") from error
        if not came or [frame.digest for frame in came] != asked[: len(came)]:
            raise corrupt(f"{self._connection.url} answers with other blobs than those that were asked for")
        self.absent += [frame.digest for frame in came if frame.size == ABSENT]
        self._large += [frame.digest for frame in came if frame.size == LARGE]
        return came

    def _receive_large(self, digest: Digest, near: Sequence[Digest], ending: contextlib.ExitStack) -> int:
        """Take one large blob in; answers its size. Its file goes when `ending` ends."""
        with storage_errors("receiving a blob"):
            make_directory(self._partial)
            _tidy(self._partial)
        patching = find_patching(self._connection, self._path, self._root, digest, near)
        with _Part(self._partial, digest) as part:
            is_fresh = not part.size and patching is None
            self._get(digest, part, patching)
            stored = self._intake.take_part(part.path, known=part.measured(), only=digest)
            if stored.digest != digest and not is_fresh:
                # The end of what an earlier process has written may not have reached the disk, and checksums of chunks
                # may be the same by chance.
                part.begin_again()
                self._get(digest, part, None)
                stored = self._intake.take_part(part.path, known=part.measured(), only=digest)
            if stored.digest != digest:
                part.begin_again()
                raise self._other_bytes(digest)
        ending.callback(part.path.unlink, missing_ok=True)
        return stored.size

    def _get(self, digest: Digest, part: _Part, patching: Patching | None) -> None:
        """Read a blob to its end, going on where it is cut as long as that brings something."""
        tries = 0
        while True:
            start = part.size
            try:
                return self._go_on(digest, part, start) if patching is None else patching.go_on(start, part.write)
            except (MissingObject, Corrupt):
                if patching is None:
                    raise
                patching = None
            except Unreachable:
                tries = 0 if part.size > start else tries + 1
                if tries >= TRIES:
                    raise
                time.sleep(_PAUSE_S * tries)

    def _go_on(self, digest: Digest, part: _Part, start: int) -> None:
        doing = "reading a large blob"
        most = self._root.blobs.size_of(digest)
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"{self._path}/blobs/{digest.hex()}"
        try:
            with self._connection.open("GET", path, doing=doing, headers=headers) as answer:
                if start and not _goes_on_at(answer.status, answer.headers.get("content-range", ""), start):
                    # All of it comes, or another part of it: it is never put behind what is here.
                    part.begin_again()
                    if answer.status != HTTPStatus.OK:
                        raise corrupt(f"{self._connection.url} answers with another part of a blob than was asked for")
                for block in self._connection.blocks(answer, _BLOCK, doing):
                    if most is not None and part.size + len(block) > most:
                        part.begin_again()
                        raise self._other_bytes(digest)
                    part.write(block)
        except Invalid as error:
            if error.code != "nothing-more":
                raise
        except MissingObject as error:
            raise corrupt(f"{self._connection.url} says that it has blob {digest}, and does not give it") from error

    def _count(self, size: int) -> None:
        self._done, self._bytes = self._done + 1, self._bytes + size
        if self._tell is not None:
            self._tell(self._done, self._bytes)

    def _other_bytes(self, digest: Digest) -> Corrupt:
        return corrupt(f"{self._connection.url} has other bytes than those of blob {digest}")


class _Part:
    """What has come of a blob, in a file that one process writes at a time."""

    def __init__(self, folder: Path, digest: Digest) -> None:
        self.path = folder / digest.hex()
        self._size = self._behind = 0
        self._came: whole.Measure | None = None
        self._open()
        if not try_lock(self._fd):
            # Another process is at the same blob.
            os.close(self._fd)
            self.path = folder / f"{digest.hex()}.{random_hex(4)}"
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        with storage_errors("receiving a blob"):
            write_all(self._fd, data)
        self._size += len(data)
        if self._came is not None:
            self._came.add(data)
        self._behind = whole.write_behind(self._fd, self._behind, self._size)

    def measured(self) -> whole.Stored | None:
        """What it holds, where all of that was written here."""
        return None if self._came is None else self._came.stored()

    def begin_again(self) -> None:
        """Nothing has come. The file is never cut: under its other name it may be a blob already."""
        with storage_errors("receiving a blob"):
            os.close(self._fd)
            self.path.unlink(missing_ok=True)
            self._open()

    def _open(self) -> None:
        with storage_errors("receiving a blob"):
            self._fd = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | os.O_CLOEXEC, 0o644
            )
            self._size = self._behind = os.fstat(self._fd).st_size
            self._came = None if self._size else whole.Measure()


def _goes_on_at(status: int, content_range: str, start: int) -> bool:
    place = _PLACE.match(content_range)
    return status == HTTPStatus.PARTIAL_CONTENT and place is not None and int(place[1]) == start


def _tidy(folder: Path) -> None:
    """Remove what nobody goes on with."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()
