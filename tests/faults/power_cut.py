"""Power cuts: a file system loses at a random instant all that was not synced, and nothing acknowledged is lost.

    python -m tests.faults.power_cut --cuts 400 --seed 1 --systems ext4,xfs,btrfs

Workers are at work on a file system in an image; the ledger is outside of it. ext4 and XFS are shut down by the ioctl
FS_IOC_SHUTDOWN without flushing their logs, which drops the page cache. btrfs knows no such call: the workers are
stopped, and the image is copied as it is, so that what btrfs has not yet handed to its disk is not in the copy. Then
the workers are killed, the file system is mounted anew, which replays its journal, and the oracle looks.

This loses the page cache. It does not reorder what is in a drive's own cache, nor tear sectors.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from artstore.store import Store
from tests.faults import equipment
from tests.faults.ledger import Ledger, warm
from tests.faults.oracle import check, check_thoroughly
from tests.faults.planted import PLANTED, Plant
from tests.faults.processes import fork, wait_for
from tests.faults.worker import Worker, lower_thresholds

CUTS_A_DISK: Final = 8
WIDTH: Final = 2
ANSWERS_A_CUT: Final = 16
"""The power goes after fewer verbs than that, and a random time below LONGEST_S."""
LONGEST_S: Final = 0.05
END_S: Final = 120.0
SYSTEMS: Final = ("ext4", "xfs", "btrfs")

_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = 2
_BTRFS_SYNC: Final = 0x9408


class Report(NamedTuple):
    """What became of the cuts."""

    cuts: Counter[str]
    """By file system."""
    versions: int
    wrong: list[str]
    seconds: float

    def text(self) -> str:
        """All of it, for a person."""
        counts = ", ".join(f"{count} on {name}" for name, count in sorted(self.cuts.items()))
        head = f"{self.cuts.total()} power cuts ({counts}), {self.versions} versions acknowledged, {self.seconds:.0f} s"
        return "\n".join([f"{head}, {len(self.wrong)} violations", *(f"VIOLATION {each}" for each in self.wrong)])


def run(cuts: int, seed: int, systems: Sequence[str], folder: Path, *, plant: Plant | None = None) -> Report:
    """Cut the power so many times on each file system. Ends at the first disk on which something is wrong."""
    warm()
    began = time.monotonic()
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    versions = 0
    wrong: list[str] = []
    for system in systems:
        while done[system] < cuts and not wrong:
            place = Path(tempfile.mkdtemp(dir=folder, prefix=f"{system}-"))
            disk = _Disk(place, system, chance.randrange(1 << 60), plant)
            try:
                disk.run(min(CUTS_A_DISK, cuts - done[system]))
            finally:
                disk.close()
            done[system] += disk.cuts
            versions += disk.versions
            wrong += [f"[{system}, seed {seed}] {each}" for each in disk.wrong]
            shutil.rmtree(place)
    return Report(done, versions, wrong, time.monotonic() - began)


class _Disk:
    """The life of one file system."""

    def __init__(self, folder: Path, system: str, seed: int, plant: Plant | None) -> None:
        self.cuts = self.versions = 0
        self.wrong: list[str] = []
        self._folder = folder
        self._system = system
        self._chance = random.Random(seed)
        self._plant = plant
        self._image = equipment.make_image(folder / "image", system)
        self._place = folder / "mount"
        self._store = self._place / "store"
        self._ledger = Ledger(folder / "ledger")
        equipment.mount(self._image, self._place)

    def close(self) -> None:
        """Take the file system away."""
        subprocess.run(["umount", "--lazy", str(self._place)], capture_output=True, check=False)

    def run(self, cuts: int) -> None:
        """Cut so many times, looking after each, and thoroughly at the end."""
        if self._chance.random() < 0.7:
            wait_for({fork(lambda: Store.init(self._store).close()): time.monotonic() + END_S}, must_end=True)
        while self.cuts < cuts and not self.wrong:
            self._cut_once()
            self._check(is_last=self.cuts == cuts)
        self.versions = len(self._ledger.expected().versions)

    def _cut_once(self) -> None:
        self._ledger.note("power")
        children = [fork(lambda: self._work(slot)) for slot in range(WIDTH)]  # noqa: B023 - called at once
        if self._system == "btrfs" and self._chance.random() < 0.8:
            children.append(fork(self._commit))
        self._wait(self._chance.randrange(ANSWERS_A_CUT), children[:WIDTH])
        if self._system == "btrfs":
            self._snapshot(children)
        else:
            self._shut_down(children)
        self.cuts += 1

    def _wait(self, answers: int, workers: list[int]) -> None:
        """Let so many verbs be answered, and a little more; a worker that met an error answers no longer."""
        before, until = self._ledger.answers(), time.monotonic() + END_S
        while self._ledger.answers() < before + answers and any(map(_is_alive, workers)) and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(self._chance.uniform(0.0, LONGEST_S))

    def _work(self, slot: int) -> None:
        lower_thresholds()
        if self._plant is not None:
            self._plant()
        # What fails after the cut is not artstore's: complaints count only while the power is on.
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        Worker(self._store, self._ledger, slot, self._chance.randrange(1 << 60) + slot + self.cuts, self._folder).work()

    def _commit(self) -> None:
        """Be the neighbour whose syncs end one transaction of btrfs after the other."""
        fd = os.open(self._place, os.O_RDONLY)
        while True:
            time.sleep(self._chance.uniform(0.0, 0.02))
            fcntl.ioctl(fd, _BTRFS_SYNC)

    def _shut_down(self, children: list[int]) -> None:
        self._ledger.note("cut")
        fd = os.open(self._place, os.O_RDONLY)
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        os.close(fd)
        self._kill(children)
        equipment.unmount(self._place)
        equipment.mount(self._image, self._place)

    def _snapshot(self, children: list[int]) -> None:
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        for pid in children:
            # A sync that has begun comes to its end before.
            os.waitpid(pid, os.WUNTRACED)
        copy = self._folder / "copy"
        subprocess.run(["cp", "--sparse=always", str(self._image), str(copy)], check=True)
        self._ledger.note("cut")
        self._kill(children)
        equipment.unmount(self._place)
        copy.replace(self._image)
        equipment.mount(self._image, self._place)

    def _kill(self, children: list[int]) -> None:
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                # It has ended by itself: the ledger says why, if it was before the cut.
                continue

    def _check(self, *, is_last: bool) -> None:
        expected = self._ledger.expected()
        if not (self._store / "format.json").exists() and not expected.versions:
            return
        answer = self._folder / "answer"
        look = check_thoroughly if is_last else check

        def ask() -> None:
            answer.write_text("\n".join(look(self._store, expected, seed=self.cuts)))

        self.wrong += wait_for({fork(ask): time.monotonic() + END_S}, must_end=True)
        self.wrong += answer.read_text().splitlines() if answer.exists() else ["the check gave no answer"]
        answer.unlink(missing_ok=True)
        if self.wrong:
            self.wrong += ["the last lines of the ledger:", *self._ledger.tail(8)]


def _is_alive(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.power_cut", description="Cut the power.")
    parser.add_argument("--cuts", type=int, default=20, help="on each file system; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--plant", choices=sorted(PLANTED))
    options = parser.parse_args(words)
    systems = []
    for system in options.systems.split(","):
        reason = equipment.missing(system)
        if reason is None:
            systems.append(system)
        else:
            sys.stdout.write(f"not run: {reason}\n")
    with tempfile.TemporaryDirectory(prefix="artstore-power-", ignore_cleanup_errors=True) as folder:
        report = run(
            options.cuts, options.seed, systems, Path(folder), plant=options.plant and Plant.named(options.plant)
        )
    sys.stdout.write(report.text() + "\n")
    return 1 if report.wrong or not systems else 0


if __name__ == "__main__":
    sys.exit(main())
