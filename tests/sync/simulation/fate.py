"""Fate: what the seed decides, call by call: which answer is lost, where a machine dies, what its clock says.

A *step* is one thing that the scheduler decides on: a deed of a machine (one verb), a call over the network, or a call
that changes names on a machine's disk or waits for it (mkdir, link, rename, replace, unlink, rmdir, fsync). Before and
after each of these a machine may die. Whoever is dead changes nothing any more, whatever its code still tries on the
way out, until it is started again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

import pytest
from blake3 import blake3

from artstore.errors import ArtstoreError, Unreachable
from artstore.lifecycle import collect
from artstore.sync.depots import checkpoints, indexes, join
from artstore.sync.http import remote as loaded_when_a_server_is_asked
from tests.sync.simulation.power import Power, replaced

T = TypeVar("T")

BEGIN_S: Final = 1_900_000_000
"""The true time when a world begins: years from that of the files, as with a clock that is wrong."""
YEARS_S: Final = 10 * 365 * 86_400
_LATE: Final = (loaded_when_a_server_is_asked,)
"""What is loaded when it is needed: what is replaced in it has to be there before."""
_ON_DISK: Final = ("fsync", "fdatasync", "mkdir", "link", "rename", "replace", "unlink", "rmdir")


class Death(BaseException):
    """The machine is gone, in the middle of whatever it did."""


class Machine:
    """What has a disk and a clock, and can die."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.is_dead = False
        self.skew_s = 0

    def let_go(self) -> None:
        """Close what a dead one has left open, as the kernel does: with its files go its locks."""
        gc.collect(0)
        inside = f"{self.folder}/"
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{fd}").startswith(inside):
                    os.close(int(fd))


class Fate:
    """What happens next, and to whom."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self._drawn = 0, 0
        self.steps = 0
        self.calls = 0
        """Steps that were calls over the network."""
        self.trouble = 0.0
        """How likely it is that something is wrong with a call over the network."""
        self.mortality = 0.0
        """How likely it is that a machine dies at a call to its disk."""
        self.now_s = BEGIN_S
        self.acting: list[Machine] = []
        """Who is at work, and by whom it was called."""
        self.cut: set[tuple[str, str]] = set()
        """Pairs of a machine and a place between which there is no way."""
        self.late: list[Callable[[], object]] = []
        """Calls that were given up by who made them, and are still on their way."""
        self.power = Power(random.Random(f"power of {seed}"))
        self.powerless = 0.0
        """How often the power fails where a machine dies."""
        self.depots: list[Path] = []
        """Folders that many use, whose disks fail with that of a machine that may have been writing there."""

    @contextlib.contextmanager
    def acts(self, machine: Machine) -> Iterator[None]:
        """Let a machine be the one whose disk and clock it is."""
        self.acting.append(machine)
        try:
            yield
        finally:
            self.acting.pop()

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Let nobody act: what is done is the world's own."""
        acting, self.acting = self.acting, []
        try:
            yield
        finally:
            self.acting = acting

    def urandom(self, size: int) -> bytes:
        """Bytes of chance. They depend on the step, and not on what a module took that was loaded on the way."""
        step, count = self._drawn
        self._drawn = (self.steps, count + 1) if step == self.steps else (self.steps, 0)
        data: bytes = blake3(b"%d %d %d" % (self.seed, *self._drawn)).digest(length=size)
        return data

    def time_ns(self) -> int:
        """What the clock of whoever acts says."""
        skew_s = self.acting[-1].skew_s if self.acting else 0
        return (self.now_s + skew_s) * 1_000_000_000 + self.steps * 1_000

    def sleep(self, seconds: float) -> None:
        """Time passes, for all."""
        self.now_s += int(seconds) + 1

    def disk(self, call: Callable[..., T], arguments: Any, options: Any) -> T:
        """A call to the disk of whoever acts."""
        if not self.acting:
            return call(*arguments, **options)
        machine = self.acting[-1]
        if machine.is_dead:
            raise Death
        self.steps += 1
        fate = self.chance.random() if self.mortality else 1.0
        if fate < self.mortality / 2:
            raise self.end(machine)
        done = call(*arguments, **options)
        if fate < self.mortality:
            raise self.end(machine)
        return done

    def end(self, machine: Machine) -> Death:
        """It is over with a machine."""
        machine.is_dead = True
        return Death()

    def begin_again(self, machine: Machine) -> None:
        """Let a machine live, which has closed all files; where it died of the power, with what is certain on disks."""
        if machine.is_dead and self.powerless and self.power.chance.random() < self.powerless:
            with self.outside():
                for folder in [machine.folder, *filter(Path.exists, self.depots)]:
                    self.power.fail(folder)
        machine.is_dead = False

    def call(self, place: str, work: Callable[[], T], *, changes: bool = False) -> T:
        """A call of whoever acts to a place. What changes something may also happen twice, or later."""
        caller = self.acting[-1]
        if caller.is_dead:
            raise Death
        self.steps += 1
        self.calls += 1
        if (caller.name, place) in self.cut:
            message = f"there is no way from {caller.name} to {place}"
            raise Unreachable(message, code="unreachable")
        fate = self.chance.random() / self.trouble if self.trouble else 1.0
        if fate < 0.2:
            message = "the question is lost"
            raise Unreachable(message, code="unreachable")
        if fate < 0.4:
            raise self.end(caller)
        if fate < 0.5 and changes:
            self.late.append(work)
            message = "nobody knows what became of the question"
            raise Unreachable(message, code="unreachable")
        answer = work()
        if fate < 0.6 and changes:
            with contextlib.suppress(ArtstoreError):
                work()
        elif fate < 0.8:
            message = "the answer is lost"
            raise Unreachable(message, code="unreachable")
        elif fate < 1.0:
            raise self.end(caller)
        return answer

    def deliver(self) -> None:
        """Let the calls that were given up arrive, in any order."""
        self.chance.shuffle(self.late)
        while self.late:
            with contextlib.suppress(ArtstoreError):
                self.late.pop()()


class Inline:
    """A pool of threads that has none: what is submitted is done at once, so that calls come in one order."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Do it now."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **options))
        except BaseException as error:  # noqa: BLE001 - it is raised again by who asks for the result
            done.set_exception(error)
        return done

    def map(self, work: Callable[..., Any], *several: Any) -> Iterator[Any]:
        """Do each when it is asked for."""
        return map(work, *several)

    def shutdown(self, **_options: object) -> None:
        """All is done."""


class Done(NamedTuple):
    """What was waited for, in the order in which it was begun."""

    done: list[Future[Any]]


@contextlib.contextmanager
def ruled_by(fate: Fate) -> Iterator[pytest.MonkeyPatch]:
    """Chance is the seed's, clocks and disks are fate's, threads are one, and nothing waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", fate.urandom)
        # What SystemRandom, and so `secrets`, took along.
        patch.setattr(random, "_urandom", fate.urandom)
        patch.setattr(time, "time_ns", fate.time_ns)
        patch.setattr(time, "time", lambda: fate.time_ns() / 1e9)
        patch.setattr(time, "sleep", fate.sleep)
        others = replaced(fate.power)
        for name in _ON_DISK:
            patch.setattr(os, name, _event(fate, others.get(name, getattr(os, name))))
        for name, module in sorted(sys.modules.items()):
            if name.startswith("artstore.") and hasattr(module, "ThreadPoolExecutor"):
                patch.setattr(module, "ThreadPoolExecutor", Inline)
            if name.startswith("artstore.") and hasattr(module, "FIRST_COMPLETED"):
                patch.setattr(module, "wait", lambda futures, **_options: Done(list(futures)))
            if name.startswith("artstore.server.") and hasattr(module, "run_sync"):
                patch.setattr(module, "run_sync", _run_inline)
        # So small that a world has some.
        patch.setattr(checkpoints, "BLOCK", 8)
        patch.setattr(checkpoints, "FACTOR", 4)
        patch.setattr(indexes, "BLOCK", 3)
        patch.setattr(indexes, "FACTOR", 3)
        patch.setattr(indexes, "_FEW", 1)
        patch.setattr(join, "MANY", 2)
        patch.setattr(collect, "MANY_SMALL_PACKS", 4)
        yield patch


async def _run_inline(work: Callable[..., T], *arguments: Any, limiter: object = None) -> T:  # noqa: ARG001 - as anyio has it
    """What a server leaves to a thread, done at once."""
    return work(*arguments)


def _event(fate: Fate, call: Callable[..., T]) -> Callable[..., T]:
    return lambda *arguments, **options: fate.disk(call, arguments, options)
