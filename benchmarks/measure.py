"""Measuring: one process, timed to the end of everything it started.

    settle(…), provide_pages(…)     the same start for every side
    run(command) -> Sample          wall clock, processor, memory
    Series                          median, and min-max, of what several laps gave

Memory is that of the largest process, and never below what this harness had when it forked, some 30 MB.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.workloads import MIB, read_through

SAFE_AGE_S: Final = 3.0
"""A stat cache may not trust a file that was younger than about two seconds when it was last read."""

_ERROR_TAIL = 600


class Failed(Exception):
    """A measured command did not exit with 0; the message ends with what it said."""


@dataclass(frozen=True)
class Command:
    """A process to start: words, where, and with which environment."""

    words: Sequence[str]
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def synced(self) -> Command:
        """The same, and then `sync`, as one process: for a tool that leaves its bytes to the kernel."""
        return Command(["sh", "-c", '"$@" && sync', "sh", *self.words], self.folder, self.environment)


@dataclass(frozen=True)
class Sample:
    """What one process took, with the children that it waited for."""

    wall_s: float
    cpu_s: float
    """User and system seconds together."""

    peak_bytes: int
    """Resident memory of the largest process."""


@dataclass(frozen=True)
class Series:
    """One figure of every lap, in the order of the laps."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def over(self, other: Series) -> Series:
        """Lap by lap, how many times the other this is."""
        return Series(tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)))

    def above(self, other: Series) -> Series:
        """Lap by lap, how much more than the other this is."""
        return Series(tuple(mine - theirs for mine, theirs in zip(self.values, other.values, strict=True)))


def settle(*sources: Path, changed_at: float = 0.0) -> None:
    """Leave no write pending, every source in the page cache, and the last change at least SAFE_AGE_S ago."""
    for source in sources:
        read_through(source)
    time.sleep(max(0.0, changed_at + SAFE_AGE_S + 0.2 - time.time()))
    os.sync()


def provide_pages(folder: Path, size_bytes: int) -> None:
    """Leave so much memory free that the host need not find it first.

    A virtual machine gives free memory back within seconds, and a page that has to be asked for again costs up to ten
    times one that is at hand: whoever wrote 1 GiB right after somebody else's had been deleted took a quarter of the
    time. Nothing reaches the disk, since the file is gone before it is due to be written.
    """
    block = bytes(MIB)
    with tempfile.TemporaryFile(dir=folder) as file:
        # A quarter more, for whatever else the operation keeps in memory.
        for _ in range(-(-size_bytes * 5 // (4 * MIB))):
            file.write(block)


def run(command: Command) -> Sample:
    """Start a process, wait for it, and say what it took. Raises Failed.

    Its output goes to files outside the volume that is measured. If this is interrupted, the process is killed with
    all that it started, so that nothing stands in the volume when it is unmounted.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command.words,
            cwd=command.folder,
            env=command.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        wall_s = time.perf_counter() - start
        # Told by hand, since wait4 took the answer that Popen would wait for.
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()[-_ERROR_TAIL:]
            message = f"{' '.join(command.words)} exited with {process.returncode}: {said}"
            raise Failed(message)
    return Sample(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def answer(command: Command) -> str:
    """What a process prints; not timed. Raises Failed."""
    done = subprocess.run(
        command.words, cwd=command.folder, env=command.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = f"{' '.join(command.words)} exited with {done.returncode}: {done.stderr.strip()[-_ERROR_TAIL:]}"
        raise Failed(message)
    return done.stdout
