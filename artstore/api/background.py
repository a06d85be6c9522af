"""Background: what was asked for and is not done yet, in the order of the calls.

One thread a store does the work, so the first asked for is the first done. Everything is done before the interpreter
ends, and before a fork: a child would inherit locks that nobody in it will ever release.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, Generic, TypeVar

from artstore.api.terminal import note
from artstore.errors import Conflict, WaitTimeoutError
from artstore.forks import Turn, guard

T = TypeVar("T")

MOST_WAITING: Final = 64
"""Pieces of work that may wait; each has files open. Whoever asks for more waits for the first."""

_endings: Final[list[Callable[[], None]]] = []
_queues: Final[weakref.WeakSet[Queue]] = weakref.WeakSet()


class Task(Generic[T]):
    """A piece of work that was asked for."""

    def __init__(self, name: str, future: Future[T]) -> None:
        self.name = name
        """What is made, for messages."""
        self._future = future
        self._pid = os.getpid()
        self._is_told = False

    @property
    def is_over(self) -> bool:
        """Whether it went well, or somebody was told that it did not."""
        return self._future.done() and (self._is_told or self._future.exception() is None)

    @property
    def is_well(self) -> bool:
        """Whether it is over and went well."""
        return self._future.done() and self._future.exception() is None

    @property
    def is_failed(self) -> bool:
        """Whether it is over and did not go well."""
        return self._future.done() and self._future.exception() is not None

    def result(self, timeout_s: float | None = None) -> T:
        """What came of it, when it is over, or the error that it ended with.

        Raises WaitTimeoutError where that takes longer, and Conflict (other-process) on the other side of a fork.
        """
        if self._pid != os.getpid() and not self._future.done():
            message = f"{self.name!r} is being logged by the process {self._pid}: wait for it there"
            raise Conflict(message, code="other-process")
        done, _ = wait([self._future], timeout_s)
        if not done:
            message = f"{self.name!r} was not logged within {timeout_s} s; it goes on: wait again"
            raise WaitTimeoutError(message, code="not-yet")
        self._is_told = True
        return self._future.result()

    def untold(self) -> BaseException | None:
        """The error that it ended with, if nobody has been told of it; from now on somebody has."""
        if self._is_told or not self._future.done() or self._pid != os.getpid():
            return None
        self._is_told = True
        return self._future.exception()


class Queue:
    """The work for one store."""

    def __init__(self) -> None:
        self._begin()
        _queues.add(self)

    def _begin(self) -> None:
        # Re-entrant: the work itself may fork.
        self.working = threading.RLock()
        """Held while something is done."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="artstore-log")
        self._tasks: list[Task[Any]] = []

    def add(self, name: str, work: Callable[[], T]) -> Task[T]:
        """Ask for a piece of work; it is done after all that was asked for before.

        Raises Conflict (too-late) when the interpreter is ending, and begins nothing new.
        """

        def run() -> T:
            with self.working:
                return work()

        self._tasks = [task for task in self._tasks if not task.is_over]
        if len(self._tasks) >= MOST_WAITING:
            wait([task._future for task in self._tasks[: 1 - MOST_WAITING]])  # noqa: SLF001 - of this module
        try:
            task = Task(name, self._worker.submit(run))
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            message = (
                f"{name!r} cannot be logged while the interpreter ends, since nothing new is begun then: log it before "
                "the end of the script, and not from atexit or a daemon thread"
            )
            raise Conflict(message, code="too-late") from error
        self._tasks.append(task)
        return task

    def drain(self) -> None:
        """Return when all that was asked for is over. What went wrong is for those who asked for it."""
        if self._tasks:
            wait([task._future for task in self._tasks])  # noqa: SLF001 - of this module

    def tell(self) -> None:
        """Say what went wrong, of which nobody has been told."""
        for task in self._tasks:
            error = task.untold()
            if error is not None:
                note(f"{task.name} was not logged: {error}")

    def forget(self) -> None:
        """Begin anew, in the child of a fork: its parent does the work."""
        self._begin()


def at_end(act: Callable[[], None]) -> None:
    """Have something done when the interpreter ends, before the queues are drained."""
    _endings.append(act)


def _end() -> None:
    for act in _endings:
        act()
    for queue in list(_queues):
        queue.drain()
        queue.tell()


# Not atexit, which comes too late: by then no thread can be started, and a commit starts some. The standard library's
# own pools are ended by the same call, the last registered first.
threading._register_atexit(_end)  # type: ignore[attr-defined]  # noqa: SLF001


def _before_fork() -> None:
    for queue in list(_queues):
        queue.working.acquire()


def _after_fork_in_parent() -> None:
    for queue in list(_queues):
        with contextlib.suppress(RuntimeError):
            queue.working.release()


def _after_fork_in_child() -> None:
    for queue in list(_queues):
        queue.forget()


guard(Turn.WORK, before=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child)
