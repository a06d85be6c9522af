"""Gather: small blobs on their way into packs.

Bytes are read straight into a large buffer, in the form that they have in a pack, and written from there: memory is
touched once, and two buffers let one be filled while the other is written. Whether a blob is stored already is asked
for a whole buffer at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from artstore.model.digest import Digest
from artstore.storage import packs
from artstore.storage.blob_index import Ids
from artstore.storage.blobs import Blobs
from artstore.storage.files import publish, random_hex, storage_errors, sync_directory, sync_file, write_at
from artstore.storage.packs import BLOCK, PackWriter
from artstore.storage.root import Root
from artstore.storage.sessions import Session

PACK_SIZE: Final = 64 << 20
"""Bytes after which the next pack is begun."""
BUFFER: Final = 4 << 20
REMEMBERED: Final = 200_000
"""Row numbers that are kept in memory, where a look-up would cost more."""
_ZEROS: Final = bytes(BLOCK)


class Small(msgspec.Struct, frozen=True, gc=False):
    """A blob in a buffer, in the form that it has in a pack."""

    digest: Digest
    start: int
    """Of its header in the buffer."""
    size: int
    checksum: int


class _Batch:
    """A buffer, and what is in it."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BUFFER))
        self.used = 0
        self.blobs: list[Small] = []
        self.written: Future[None] | None = None

    def wait(self) -> None:
        """Return when nothing reads the buffer any more."""
        if self.written is not None:
            self.written.result()
            self.written = None


class _Sealed(NamedTuple):
    """A pack to which nothing comes any more."""

    pack: PackWriter
    announced: Future[Ids]
    """Its blobs have row numbers."""
    noted: Future[None]
    """It is durable and can be found."""


class Gatherer:
    """Packs small blobs for one session. Not for several threads at once."""

    def __init__(self, root: Root, session: Session, pool: ThreadPoolExecutor, *, keep: bool) -> None:
        self.has_failed = False
        """Whether something that was taken is not, and never will be, stored."""
        self.new_blobs = 0
        self.new_bytes = 0
        self.packs: list[str] = []
        """Names of the packs made."""
        self.ids: Ids = {}
        """Row numbers of the blobs in them, of the first REMEMBERED."""
        self._directory = root.path / "packs"
        self._blobs: Blobs = root.blobs
        self._session = session
        self._pool = pool
        self._keep = keep
        self._store_is_empty = root.blobs.is_empty()
        self._taken: set[bytes] = set()
        self._batch = _Batch()
        self._other = _Batch()
        self._pack: PackWriter | None = None
        self._writes: list[Future[None]] = []
        self._sealed: list[_Sealed] = []
        # One thread: several would wait for each other's lock of the database, and each have a cache of 64 MB.
        self._noter = ThreadPoolExecutor(1, thread_name_prefix="artstore-note")

    def slot(self, size: int) -> memoryview:
        """Where the bytes of the next blob go: `size` of them, SMALL and one at most. Valid until the next call."""
        batch = self._batch
        if batch.used + 2 * BLOCK + size > BUFFER:
            self._flush()
            batch = self._batch
        start = batch.used + BLOCK
        return batch.buffer[start : start + size]

    def take(self, size: int, *, only: Digest | None = None) -> Digest:
        """Take the first `size` bytes of the slot for a blob; answers which it is, also where another is wanted."""
        batch = self._batch
        start = batch.used
        data = batch.buffer[start + BLOCK : start + BLOCK + size]
        digest = Digest(blake3(data).digest())
        if digest not in self._taken and (only is None or only == digest):
            self._taken.add(digest)
            checksum = xxh3_64_intdigest(data)
            batch.blobs.append(Small(digest, start, size, checksum))
            batch.buffer[start : start + BLOCK] = packs.header(digest, size, checksum)
            padding = -size % BLOCK
            end = start + BLOCK + size
            batch.buffer[end : end + padding] = _ZEROS[:padding]
            batch.used = end + padding
        return digest

    def take_read(self, buffer: memoryview, blobs: Sequence[Small]) -> Future[None] | None:
        """Take blobs that stand in a buffer in the form of a pack; answers what ends when it is free again, if any."""
        fresh: list[Small] = []
        for small in blobs:
            if small.digest not in self._taken:
                self._taken.add(small.digest)
                fresh.append(small)
        return self._store(buffer, fresh)

    def seal(self) -> None:
        """Begin to settle: send the rest to the disk."""
        self._flush()
        self._end_pack()

    def number(self) -> bool:
        """Return when the new blobs have row numbers; answers whether `ids` has all of them. After `seal`."""
        for sealed in self._sealed:
            self._remember(sealed)
        return self.new_blobs <= REMEMBERED

    def settle(self) -> None:
        """Return when all that was taken is durable and can be found."""
        self.seal()
        sealed, self._sealed = self._sealed, []
        for each in sealed:
            each.noted.result()
        if self._keep:
            # The catalog knows them now, and of a million the digests alone are 100 MB.
            self._taken.clear()
            self._store_is_empty = False

    def close(self) -> None:
        """Let go, after the pool has stopped."""
        self._noter.shutdown(wait=True, cancel_futures=True)
        if self._pack is not None:
            self._pack.close()
            self._pack = None
        for sealed in self._sealed:
            if sealed.noted.cancelled():
                sealed.pack.close()
        self._sealed.clear()

    def _flush(self) -> None:
        """Write what is new of a full buffer, in the background, and go on with the other."""
        batch = self._batch
        batch.written = self._store(batch.buffer, batch.blobs)
        batch.blobs = []
        batch.used = 0
        self._batch, self._other = self._other, batch
        self._batch.wait()

    def _store(self, buffer: memoryview, blobs: Sequence[Small]) -> Future[None] | None:
        # Until all of it is done: a pack in which one place was not written must not be finished.
        self.has_failed = True
        known = set() if self._store_is_empty else self._blobs.known([small.digest for small in blobs])
        news = [small for small in blobs if small.digest not in known]
        self.new_blobs += len(news)
        self.new_bytes += sum([small.size for small in news])
        written = None
        if self._keep and news:
            with storage_errors("storing files"):
                written = self._write(buffer, news)
        self.has_failed = False
        return written

    def _write(self, buffer: memoryview, news: Sequence[Small]) -> Future[None]:
        if self._pack is None:
            name = f"{self._session.id}-{random_hex(4)}{packs.SUFFIX}"
            self._pack = PackWriter(self._session.scratch() / name)
        pack = self._pack
        offset = pack.size
        pack.place_all((small.digest, small.size, small.checksum) for small in news)
        parts: list[memoryview] = []
        first = end = news[0].start
        for small in news:
            if small.start != end:
                parts.append(buffer[first:end])
                first = small.start
            end = small.start + BLOCK + small.size + (-small.size % BLOCK)
        parts.append(buffer[first:end])
        written = self._pool.submit(_write_parts, pack.fd, parts, offset)
        self._writes.append(written)
        if pack.size >= PACK_SIZE:
            self._end_pack()
        return written

    def _end_pack(self) -> None:
        if self._pack is None:
            return
        pack, self._pack = self._pack, None
        writes, self._writes = self._writes, []
        self.packs.append(pack.path.name)
        announced = self._noter.submit(self._blobs.announce, pack.members)
        noted = self._pool.submit(self._publish, pack, writes, announced)
        self._let_go_of_done()
        self._sealed.append(_Sealed(pack, announced, noted))

    def _let_go_of_done(self) -> None:
        """Forget what is needed no more: of a million blobs the places in packs and the row numbers are 250 MB."""
        while self._sealed and self._sealed[0].noted.done():
            self._sealed[0].noted.result()
            self._remember(self._sealed.pop(0))

    def _remember(self, sealed: _Sealed) -> None:
        ids = sealed.announced.result()
        if len(self.ids) < REMEMBERED:
            self.ids.update(ids)

    def _publish(self, pack: PackWriter, writes: list[Future[None]], announced: Future[Ids]) -> None:
        with storage_errors("storing a pack"):
            try:
                for write in writes:
                    write.result()
                pack.finish()
                sync_file(pack.fd)
            finally:
                pack.close()
            publish(str(pack.path), str(self._directory / pack.path.name))
            sync_directory(self._directory)
        ids = announced.result()
        self._noter.submit(self._blobs.add_pack, pack.path.name, pack.size, pack.members, ids=ids).result()


def _write_parts(fd: int, parts: list[memoryview], offset: int) -> None:
    with storage_errors("storing files"):
        write_at(fd, parts, offset)
