"""Intake: bytes on their way into the store.

Small blobs are gathered into packs, large ones become files of their own. Nothing that is taken in can be found by
others before `settle`, which returns when all of it is on the disk under its names and in the catalog. The order is:
bytes synced, names given, folders synced, rows.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from artstore.errors import Conflict, Refused, WrongType
from artstore.model.digest import Digest
from artstore.storage import whole
from artstore.storage.blob_index import Ids
from artstore.storage.blobs import SMALL
from artstore.storage.files import (
    give_name,
    make_directory,
    make_read_only,
    random_hex,
    read_exactly,
    storage_errors,
    sync_directory,
    sync_file,
)
from artstore.storage.gather import Gatherer, Small
from artstore.storage.root import Root
from artstore.storage.sessions import Session

_WORKERS: Final = 4
"""Threads that write, and wait for the disk: more do not make it faster."""
_UNSYNCED: Final = 32
"""Large files that may wait for them."""


class Intake:
    """Takes bytes in for one session."""

    def __init__(self, root: Root, session: Session, *, keep: bool = True) -> None:
        """Begin. Where keep is False nothing is stored, only counted."""
        self.whole: list[whole.Stored] = []
        """The blobs that got files of their own."""
        self._keep = keep
        self._root = root
        self._session = session
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="artstore-intake")
        self._small = Gatherer(root, session, self._pool, keep=keep)
        self._syncs: list[tuple[Future[None], int]] = []
        self._fresh: dict[whole.Stored, Path] = {}
        self._taken: set[Digest] = set()
        self._has_failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def new_blobs(self) -> int:
        """How many blobs the store did not have; right after `settle`."""
        return self._small.new_blobs + len(self.whole)

    @property
    def new_bytes(self) -> int:
        """Their bytes."""
        return self._small.new_bytes + sum(stored.size for stored in self.whole)

    @property
    def packs(self) -> list[str]:
        """Names of the packs made."""
        return self._small.packs

    def take(self, data: bytes | memoryview, *, only: Digest | None = None) -> Digest:
        """Take a small blob in; at most SMALL bytes. Where it is not the one that is `only` wanted, it is left."""
        self._small.slot(len(data))[:] = data
        return self._small.take(len(data), only=only)

    def slot(self, size: int) -> memoryview:
        """Where the next small blob may be read to, instead of `take`: up to SMALL + 1 bytes. See take_slot."""
        return self._small.slot(size)

    def take_slot(self, size: int, *, only: Digest | None = None) -> Digest:
        """Take the first bytes of the slot in as a small blob, as `take` does."""
        return self._small.take(size, only=only)

    def take_read(self, buffer: memoryview, blobs: Sequence[Small]) -> Future[None] | None:
        """Take in small blobs that a buffer has in the form of a pack.

        Answers what ends when the buffer is free again; None if it is already.
        """
        return self._small.take_read(buffer, blobs)

    def take_file(self, source: int, *, limit: int, told: whole.Told | None = None) -> whole.Stored:
        """Take in what an open file holds, however large, up to one block behind `limit` bytes.

        `told` is called with the bytes that are in so far.

        Raises Refused (unreadable) where the source, not the store, fails.
        """
        if not self._keep:
            try:
                stored = whole.measure(source, told=told)
            except OSError as error:
                raise Refused(error.strerror or str(error), code="unreadable") from error
            self._is_new(stored)
            return stored
        return self._take_large(lambda target: whole.store(source, target, limit=limit, told=told), size=limit)

    def take_stream(
        self, stream: BinaryIO, *, told: whole.Told | None = None, only: Digest | None = None
    ) -> whole.Stored:
        """Take in what a stream gives until it ends; `told` as for take_file.

        Where it is not what is `only` wanted, it is left. Raises WrongType (not-bytes) where that is text.
        """
        head = stream.read(SMALL + 1)
        given: object = head
        if not isinstance(given, bytes | bytearray | memoryview):
            message = f"a stream gives {type(given).__name__} where bytes are kept: open the file with mode 'rb'"
            raise WrongType(message, code="not-bytes")
        while len(head) <= SMALL and (more := stream.read(SMALL + 1 - len(head))):
            head += more
        if len(head) <= SMALL:
            return whole.Stored(self.take(head, only=only), len(head), b"")
        if not self._keep:
            stored = whole.copy(whole.chained(head, stream), None, told=told)
            self._is_new(stored)
            return stored
        return self._take_large(lambda target: whole.copy(whole.chained(head, stream), target, told=told), only=only)

    def take_scratch(
        self, path: Path, *, known: whole.Stored | None = None, only: Digest | None = None
    ) -> whole.Stored:
        """Take in a file of the session's own folder, which nobody writes any more: its bytes are not copied.

        `known` is what it holds, where the caller has measured all that it wrote. Where it is not what is `only`
        wanted, it is left.
        """
        with storage_errors("storing a large file"):
            fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            return self._take_over(path, fd, whole.measure if known is None else lambda _fd: known, only=only)

    def take_part(self, path: Path, *, known: whole.Stored | None = None, only: Digest | None = None) -> whole.Stored:
        """As `take_scratch`, of a file elsewhere on the store's disk, which stays there until the caller removes it.

        What was received bit by bit is so not lost with a session that is killed before it settles.
        """
        scratch = self._session.scratch() / f"part-{random_hex(4)}"
        with storage_errors("storing a large file"):
            give_name(str(path), str(scratch))
        return self.take_scratch(scratch, known=known, only=only)

    def seal(self) -> None:
        """Begin to settle: the rest is on its way to the disk while the caller does something else."""
        with self._once():
            self._small.seal()

    def ids(self) -> Ids:
        """Row numbers of new blobs, which hold while the session lives. The others are stored when this returns."""
        with self._once():
            self._small.seal()
            has_all = self._small.number() and not self.whole
        if not has_all:
            # Large files get theirs when they have their names, and not all of very many are remembered.
            self.settle()
        return self._small.ids

    def settle(self) -> None:
        """Return when all that was taken in is durable and can be found.

        Once that has failed, or anything before it, it fails for good: what did not reach the disk then may never, and
        the system does not say so twice. Raises Conflict (draft-failed).
        """
        with self._once():
            self._small.settle()
            syncs, self._syncs = self._syncs, []
            for future, _fd in syncs:
                future.result()
            fresh, self._fresh = self._fresh, {}
            if fresh:
                self._name_whole(fresh)

    def close(self) -> None:
        """Stop. What was not settled is left to the session's end."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for future, fd in self._syncs:
            if future.cancelled():
                os.close(fd)
        self._syncs = []
        self._small.close()

    @contextlib.contextmanager
    def _once(self) -> Iterator[None]:
        """What fails in the block has failed for good."""
        if self._has_failed or self._small.has_failed:
            message = "this draft could not be stored: begin a new one"
            raise Conflict(message, code="draft-failed")
        self._has_failed = True
        yield
        self._has_failed = False

    def _take_large(
        self, write: Callable[[int], whole.Stored], *, size: int | None = None, only: Digest | None = None
    ) -> whole.Stored:
        with storage_errors("storing a large file", place=self._root.path, size=size):
            path = self._session.scratch() / f"blob-{random_hex(4)}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
            return self._take_over(path, fd, write, only=only)

    def _take_over(
        self, path: Path, fd: int, write: Callable[[int], whole.Stored], *, only: Digest | None = None
    ) -> whole.Stored:
        """Keep an open file of the session's own as a blob, once `write` has said what it holds."""
        try:
            stored = write(fd)
        except BaseException:
            os.close(fd)
            os.unlink(path)
            raise
        is_wanted = only is None or stored.digest == only
        if stored.size > SMALL and is_wanted and self._is_new(stored):
            self._fresh[stored] = path
            self._syncs.append((self._pool.submit(self._sync_whole, path, fd), fd))
            if len(self._syncs) > _UNSYNCED:
                # Each keeps a descriptor: a slow disk must not make them run out.
                self._syncs[-_UNSYNCED][0].result()
            return stored
        if stored.size <= SMALL and is_wanted:
            # It was taken for large, and has shrunk: it goes where the others of its size go.
            self.take(read_exactly(fd, stored.size, 0))
        os.close(fd)
        os.unlink(path)
        return stored

    def _is_new(self, stored: whole.Stored) -> bool:
        if stored.digest in self._taken or self._root.blobs.known([stored.digest]):
            return False
        self._taken.add(stored.digest)
        self.whole.append(stored)
        return True

    def _sync_whole(self, path: Path, fd: int) -> None:
        with storage_errors("storing a large file"):
            try:
                make_read_only(fd, path)
                sync_file(fd)
            finally:
                os.close(fd)

    def _name_whole(self, fresh: dict[whole.Stored, Path]) -> None:
        targets = {stored: whole.path_of(self._root.path, stored.digest) for stored in fresh}
        with storage_errors("naming large files"):
            for stored, path in fresh.items():
                self._name(path, stored.digest)
            for directory in {target.parent for target in targets.values()}:
                sync_directory(directory)
            with self._root.catalog.write():
                for stored, path in fresh.items():
                    if not targets[stored].exists():
                        # It was another's, and `gc` took it away; under the write lock it cannot.
                        self._name(path, stored.digest)
                        sync_directory(targets[stored].parent)
                self._root.blobs.add_whole(list(fresh))
            for path in fresh.values():
                path.unlink(missing_ok=True)

    def _name(self, path: Path, digest: Digest) -> None:
        target = whole.path_of(self._root.path, digest)
        make_directory(target.parent)
        if give_name(str(path), str(target)):
            return
        # Another session was faster with the same bytes, or it is a leftover: it has to be whole, and on the disk.
        fd = os.open(target, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            is_same = whole.measure(fd).digest == digest
            sync_file(fd)
        finally:
            os.close(fd)
        if not is_same:
            os.replace(target, self._root.path / "quarantine" / f"{time.time_ns()}-{digest.hex()}")
            give_name(str(path), str(target))
