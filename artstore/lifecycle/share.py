"""Share: the parts of a piece of work, done by this process and by children of it.

What handles thousands of small files is bound by the interpreter, which one process has once: threads take it from each
other at every call of the system, and are slower than one alone. A child is forked where that is cheap and safe: on
Linux, where this process has a single thread, so that no lock can be held by somebody who is not there any more. The
numbers of the parts are in a file in memory that all have open as one: whoever is free reads the next. Elsewhere
threads do the parts.

A child is never relied upon. What it failed to do, or did not live to do, is done again here, so that every error is
raised in the process that asked, as if there were no other; and a child ends when its parent has ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, NamedTuple, NoReturn, TypeVar

import msgspec

from artstore.storage.files import write_all

R = TypeVar("R")

THREADS: Final = 4
_PAUSE_S: Final = 0.05
_NUMBER: Final = struct.Struct("=I")
_FRAME: Final = struct.Struct("=II")


def share(
    work: Callable[[int], R],
    parts: int,
    kind: type[R],
    *,
    again: Callable[[int], R] | None = None,
    waiting: Callable[[], None] | None = None,
) -> Iterator[tuple[int, R]]:
    """Do so many parts, numbered from 0; answers which was done and what it came to, in no order.

    An answer is of a kind that msgspec can send. `again` does a part that a child has begun, and perhaps not ended; it
    is `work` if that makes no difference. What either raises ends the work. `waiting` is called some times a second
    while only others are at work.
    """
    if parts <= 1 or not can_fork():
        yield from _by_threads(work, parts, waiting)
    else:
        yield from _by_children(work, parts, kind, again or work, waiting)


def can_fork() -> bool:
    """Whether a child could help, and is safe to make."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and len(os.listdir("/proc/self/task")) == 1


def _by_threads(work: Callable[[int], R], parts: int, waiting: Callable[[], None] | None) -> Iterator[tuple[int, R]]:
    if parts <= 1:
        yield from ((number, work(number)) for number in range(parts))
        return
    with ThreadPoolExecutor(THREADS, thread_name_prefix="artstore-share") as pool:
        futures = [pool.submit(work, number) for number in range(parts)]
        try:
            for number, future in enumerate(futures):
                while waiting is not None and not wait([future], timeout=_PAUSE_S).done:
                    waiting()
                yield number, future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _Child(NamedTuple):
    """A process that takes part, and where its answers come from."""

    pid: int
    answers: int


def _by_children(
    work: Callable[[int], R],
    parts: int,
    kind: type[R],
    again: Callable[[int], R],
    waiting: Callable[[], None] | None,
) -> Iterator[tuple[int, R]]:
    numbers = _numbered(parts)
    missing = set(range(parts))
    children: list[_Child] = []
    try:
        # The processors are ours and theirs.
        helpers = min(len(os.sched_getaffinity(0)), parts) - 1
        children += [_fork(work, numbers) for _ in range(helpers)]
        decode = msgspec.msgpack.Decoder(kind).decode
        while (number := _next(numbers)) is not None:
            missing.discard(number)
            yield number, work(number)
            for child in children:
                while _has_answered(child) and (answer := _receive(child.answers)):
                    missing.discard(answer[0])
                    yield answer[0], decode(answer[1])
        for child in children:
            while answer := _receive(child.answers, waiting):
                missing.discard(answer[0])
                yield answer[0], decode(answer[1])
        for number in sorted(missing):
            yield number, again(number)
    except BaseException:
        # Nobody waits for what they are at: a large file may take minutes.
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
        raise
    finally:
        _end(children, numbers)


def _numbered(parts: int) -> int:
    """A file in memory with the number of each part, of which every read gets the next, whoever reads.

    Linux lets reads of one open file wait for each other only where it was opened by name: of the memfd itself two
    processes that read at once get the same number (FMODE_ATOMIC_POS in fs/open.c, which memfd_create passes by).
    """
    unnamed = os.memfd_create("artstore-share")
    try:
        write_all(unnamed, b"".join(map(_NUMBER.pack, range(parts))))
        return os.open(f"/proc/self/fd/{unnamed}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(unnamed)


def _fork(work: Callable[[int], R], numbers: int) -> _Child:
    answers, end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(end)
        return _Child(pid, answers)
    try:
        # So that it leaves nothing half written, as it does not after an error of its own.
        signal.signal(signal.SIGTERM, _leave)
        # What the parent holds is shared with it as long as nobody touches it; the collector would.
        gc.freeze()
        os.close(answers)
        while os.getppid() == parent and (number := _next(numbers)) is not None:
            data = msgspec.msgpack.encode(work(number))
            write_all(end, _FRAME.pack(number, len(data)) + data)
    finally:
        # Also after an error, which the parent meets itself; nothing of the parent's is flushed or closed twice.
        os._exit(0)


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit


def _end(children: Sequence[_Child], numbers: int) -> None:
    # Nothing is left to take, so that a child ends with the part that it has.
    os.lseek(numbers, 0, os.SEEK_END)
    os.close(numbers)
    for child in children:
        os.close(child.answers)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child.pid, 0)


def _has_answered(child: _Child) -> bool:
    return bool(_polled(child.answers, 0) & select.POLLIN)


def _polled(answers: int, patience_s: float) -> int:
    """What there is to read, an end among it; 0 for nothing yet."""
    poll = select.poll()
    poll.register(answers, select.POLLIN)
    return next((events for _, events in poll.poll(patience_s * 1000)), 0)


def _next(numbers: int) -> int | None:
    taken = os.read(numbers, _NUMBER.size)
    return _NUMBER.unpack(taken)[0] if taken else None


def _receive(answers: int, waiting: Callable[[], None] | None = None) -> tuple[int, bytes] | None:
    """The number of a part and its answer; None at the end, also where that comes in the middle of an answer."""
    while waiting is not None and not _polled(answers, _PAUSE_S):
        waiting()
    head = _read(answers, _FRAME.size)
    if len(head) < _FRAME.size:
        return None
    number, size = _FRAME.unpack(head)
    data = _read(answers, size)
    return (number, data) if len(data) == size else None


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data
