"""Reading: small files, many at a time, into the form that they have in a pack.

A child beside this process reads too, where one can be forked (see lifecycle.share): each has an interpreter of its
own, and the time goes into that. Bytes, paths and findings pass through memory that the two share, in slots: a slot is
the child's from the moment that its number is sent until it comes back. What the child did not read, or did not live to
read, is read here once more, by whoever can say what is wrong with it.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import select
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Final

from blake3 import blake3
from xxhash import xxh3_64_intdigest

from artstore.lifecycle.scan import Found
from artstore.lifecycle.share import can_fork
from artstore.model.digest import Digest
from artstore.storage.blobs import SMALL
from artstore.storage.files import read_some, storage_errors
from artstore.storage.gather import Small
from artstore.storage.intake import Intake
from artstore.storage.packs import BLOCK, header
from artstore.storage.stat_cache import NEVER, Known, stamp_of
from artstore.storage.unseen import can_change_unseen

OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
FILES: Final = 128
"""Files that are read together, at most."""
ROOM: Final = 4 << 20
"""Bytes for all of them: what does not fit is read alone, and the next time fewer are tried."""
SLOTS: Final = 3
"""Slots that the child has, and as many are this process's: while one is filled, others are written to the disk."""

_Record = struct.Struct("=II32sQ40s")
"""Of one file: where its bytes are in the slot, 0 if it was not read; their number, digest, checksum; its stamp."""
_UNREAD: Final = _Record.pack(0, 0, b"", 0, b"")
_SPAN: Final = ROOM + FILES * _Record.size
_MESSAGE: Final = struct.Struct("=II")
_ZEROS: Final = bytes(BLOCK)


class _Slot:
    """Room for a number of files and what was found of them."""

    def __init__(self, room: memoryview) -> None:
        self.data = room[:ROOM]
        self.records = room[ROOM:]
        self._written: Future[None] | None = None

    def hold(self, written: Future[None] | None) -> None:
        """Its bytes are needed until they are written."""
        self._written = written

    def wait(self) -> None:
        """Return when nobody needs its bytes any more. Raises what writing them did."""
        written, self._written = self._written, None
        if written is not None:
            written.result()


class Reader:
    """Reads files into the store. Not for several threads at once."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._child: _Child | None = None
        self._is_alone = False
        self._slots: list[_Slot] = []
        self._own = 0
        self._many = FILES

    def close(self) -> None:
        """Let the child go."""
        if self._child is not None:
            self._child.end()
            self._child = None
        self._is_alone = True

    def read(self, files: Iterable[Found], alone: Callable[[Found], Known | None]) -> Iterator[list[Known]]:
        """Read files; answers what was found, some at a time, in no order.

        `alone` reads one, and notes why if it cannot.
        """
        self._slots = self._slots or _slots()
        away: dict[int, list[Found]] = {}
        rest = iter(files)
        try:
            while batch := list(islice(rest, self._many)):
                number = next((n for n in range(SLOTS) if n not in away), None)
                if number is not None and self._ask(number, batch):
                    away[number] = batch
                else:
                    self._own = (self._own + 1) % SLOTS
                    slot = self._slots[SLOTS + self._own]
                    slot.wait()
                    _read_into([found.source for found in batch], slot)
                    yield self._take(slot, batch, alone)
                yield from self._hear(away, alone, wait=False)
            while away:
                yield from self._hear(away, alone, wait=True)
        finally:
            if away:
                # Nobody waits for it any more.
                self.close()

    def _ask(self, number: int, batch: Sequence[Found]) -> bool:
        """Let the child read, if there is one or can be."""
        if self._child is None:
            # A few files are read before a child has begun; and beside threads there cannot be one later either.
            if self._is_alone or len(batch) < self._many or not can_fork():
                self._is_alone = self._is_alone or len(batch) == self._many
                return False
            self._child = _Child(self._slots[:SLOTS])
        self._slots[number].wait()
        return self._child.ask(number, batch)

    def _hear(
        self, away: dict[int, list[Found]], alone: Callable[[Found], Known | None], *, wait: bool
    ) -> Iterator[list[Known]]:
        """Take what the child has read. If it is gone, what it had is read here."""
        while away and self._child is not None and (wait or self._child.has_answered()):
            number = self._child.answer()
            if number is None:
                self.close()
            else:
                yield self._take(self._slots[number], away.pop(number), alone)
        if self._child is None:
            batches = list(away.values())
            away.clear()
            for batch in batches:
                yield list(filter(None, map(alone, batch)))

    def _take(self, slot: _Slot, batch: Sequence[Found], alone: Callable[[Found], Known | None]) -> list[Known]:
        """Hand over to the store what was read into a slot, and read alone what was not."""
        blobs: list[Small] = []
        read: list[Known] = []
        unread: list[Found] = []
        records = _Record.iter_unpack(slot.records[: len(batch) * _Record.size])
        for found, (start, size, digest, checksum, stamp) in zip(batch, records, strict=True):
            if start:
                name = Digest(digest)
                blobs.append(Small(name, start - BLOCK, size, checksum))
                read.append(Known(found.path, stamp, name, size))
            else:
                unread.append(found)
        slot.hold(self._intake.take_read(slot.data, blobs))
        self._many = max(1, len(read)) if unread else min(FILES, 2 * self._many)
        return read + list(filter(None, map(alone, unread)))


class _Child:
    """A process that reads what it is asked to. It ends when its parent asks no more, or is gone."""

    def __init__(self, slots: Sequence[_Slot]) -> None:
        self._slots = slots
        asked, self._ask = os.pipe()
        self._answers, answers = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                os.close(self._ask)
                self._serve(asked, answers)
            finally:
                # Nothing of the parent's is flushed or closed twice.
                os._exit(0)
        os.close(asked)
        os.close(answers)

    def ask(self, number: int, batch: Sequence[Found]) -> bool:
        """Have files read into a slot; False if they cannot be named there, or the child is gone."""
        text = b"\0".join([os.fsencode(found.source) for found in batch])
        if len(text) > ROOM:
            return False
        self._slots[number].data[: len(text)] = text
        with contextlib.suppress(BrokenPipeError):
            os.write(self._ask, _MESSAGE.pack(number, len(text)))
            return True
        return False

    def has_answered(self) -> bool:
        """Whether `answer` would return at once."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        return bool(poll.poll(0))

    def answer(self) -> int | None:
        """The next slot that is filled; None if the child is gone."""
        message = os.read(self._answers, _MESSAGE.size)
        return _MESSAGE.unpack(message)[0] if len(message) == _MESSAGE.size else None

    def end(self) -> None:
        """Ask no more, and wait for it."""
        os.close(self._ask)
        os.close(self._answers)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _serve(self, asked: int, answers: int) -> None:
        # What the parent holds is shared with it as long as nobody touches it; the collector would.
        gc.freeze()
        while len(message := os.read(asked, _MESSAGE.size)) == _MESSAGE.size:
            number, length = _MESSAGE.unpack(message)
            slot = self._slots[number]
            _read_into(bytes(slot.data[:length]).split(b"\0"), slot)
            os.write(answers, message)


def stood_still(fd: int, before: os.stat_result) -> bool:
    """Whether an open file is as it was."""
    after = os.fstat(fd)
    return (
        after.st_mtime_ns == before.st_mtime_ns
        and after.st_ctime_ns == before.st_ctime_ns
        and after.st_size == before.st_size
    )


def _slots() -> list[_Slot]:
    with storage_errors("making room to read files"):
        room = memoryview(mmap.mmap(-1, 2 * SLOTS * _SPAN))
    return [_Slot(room[number * _SPAN : (number + 1) * _SPAN]) for number in range(2 * SLOTS)]


def _read_into(sources: Sequence[str | bytes], slot: _Slot) -> None:
    """Read files one behind the other, each with its header, and note what was found, in the same order."""
    at = 0
    records: list[bytes] = []
    for source in sources:
        try:
            fd = os.open(source, OPEN_FLAGS)
            try:
                record, at = _read_one(fd, slot.data, at)
            finally:
                os.close(fd)
        except OSError:
            # Whoever reads it alone afterwards says what is wrong with it.
            record = _UNREAD
        records.append(record)
    data = b"".join(records)
    slot.records[: len(data)] = data


def _read_one(fd: int, data: memoryview, at: int) -> tuple[bytes, int]:
    """Answers also where the next one goes."""
    before = os.fstat(fd)
    size = before.st_size
    start = at + BLOCK
    if not stat.S_ISREG(before.st_mode) or size > SMALL or start + size + BLOCK > ROOM:
        return _UNREAD, at
    stamp = NEVER if can_change_unseen(fd, before) else stamp_of(before)
    # One byte more, so that growth shows; and once, as a file is read at once if it can be.
    if read_some(fd, data[start : start + size + 1]) != size or not stood_still(fd, before):
        return _UNREAD, at
    content = data[start : start + size]
    digest = blake3(content).digest()
    checksum = xxh3_64_intdigest(content)
    data[at:start] = header(digest, size, checksum)
    end = start + size
    padding = -size % BLOCK
    if padding:
        data[end : end + padding] = _ZEROS[:padding]
    return _Record.pack(start, size, digest, checksum, stamp), end + padding
