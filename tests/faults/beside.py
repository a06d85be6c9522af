"""Beside each other: writers, readers, a collector and a rebuilder on one store, and nobody disturbs anybody.

    python -m tests.faults.beside --turns 5000 --seed 1

Writers do what workers do, less collecting, so many turns in all; readers check out and verify versions that nobody
deletes. A reader meets no error at all, a writer none but those that its own verbs explain, and in the end the oracle
looks. After so many turns a new store takes the place of the old one, and the first thing that is wrong ends it all.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store
from tests.faults.equipment import memory
from tests.faults.ledger import KEYS, Expected, Ledger, content, digest_of, warm
from tests.faults.oracle import check_thoroughly
from tests.faults.planted import PLANTED, Plant
from tests.faults.processes import ask, fork, wait_for
from tests.faults.worker import SHARED, Worker, believe_at_once, lower_thresholds

WRITER_VERBS: Final = (
    "put",
    "put",
    "put",
    "put_shared",
    "put_shared",
    "alias",
    "delete",
    "delete",
    "prune",
    "get",
    "reopen",
)
TURNS_A_STORE: Final = 240
END_S: Final = 600.0
"""After which a process is stuck."""


class Crowd(NamedTuple):
    """How many are at work."""

    writers: int = 3
    readers: int = 2
    collectors: int = 1
    rebuilders: int = 1


class Report(NamedTuple):
    """What became of it."""

    turns: int
    """Of the writers."""
    versions: int
    """Acknowledged."""
    stores: int
    wrong: list[str]
    seconds: float

    def text(self) -> str:
        """All of it, for a person."""
        head = (
            f"{self.turns} turns of writers beside readers, gc and rebuild in {self.stores} stores, "
            f"{self.versions} versions acknowledged, {self.seconds:.0f} s, {len(self.wrong)} violations"
        )
        return "\n".join([head, *(f"VIOLATION {each}" for each in self.wrong)])


class Shift:
    """How much is left to do, in memory that all processes share."""

    def __init__(self, writers: int) -> None:
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._writers = writers

    @property
    def is_over(self) -> bool:
        """Whether the writers have done their turns, or something went wrong."""
        return self.is_stopped or all(self._shared[1 : 1 + self._writers])

    @property
    def is_stopped(self) -> bool:
        """Whether something went wrong."""
        return bool(self._shared[0])

    def stop(self) -> None:
        """Something went wrong: let nobody go on."""
        self._shared[0] = 1

    def leave(self, slot: int) -> None:
        """A writer has done its turns."""
        self._shared[1 + slot] = 1


def run(turns: int, seed: int, folder: Path, crowd: Crowd = Crowd(), *, plant: Plant | None = None) -> Report:  # noqa: B008 - a tuple
    """Let all of them work on one store after the other, until the writers have done so many turns, and look."""
    warm()
    began = time.monotonic()
    done = versions = stores = 0
    wrong: list[str] = []
    while done < turns and not wrong:
        stores += 1
        count = min(TURNS_A_STORE, turns - done)
        expected, wrong = _share(count, f"{seed}/{stores}", folder / f"store{stores}", crowd, plant)
        wrong = [f"[seed {seed}, store {stores}] {each}" for each in wrong]
        done += count
        versions += len(expected.versions)
        if not wrong:
            shutil.rmtree(folder / f"store{stores}")
    return Report(done, versions, stores, wrong, time.monotonic() - began)


def _share(turns: int, seed: str, folder: Path, crowd: Crowd, plant: Plant | None) -> tuple[Expected, list[str]]:
    """The life of one store; answers what must be in it, and what is wrong."""
    folder.mkdir(parents=True)
    ledger = Ledger(folder / "ledger")
    path = folder / "store"
    wait_for({fork(lambda: Store.init(path).close()): time.monotonic() + END_S}, must_end=True)
    shift = Shift(crowd.writers)
    each = -(-turns // crowd.writers)
    jobs: list[Callable[[int, random.Random], None]] = [
        *[
            lambda slot, chance: _write(
                Worker(path, ledger, slot, chance.randrange(1 << 60), folder), slot, chance, shift, each
            )
        ]
        * crowd.writers,
        *[lambda _slot, chance: _read(path, ledger, chance, folder, shift)] * crowd.readers,
        *[lambda _slot, _chance: _collect(path, ledger, shift)] * crowd.collectors,
        *[lambda _slot, chance: _rebuild(path, ledger, chance, shift)] * crowd.rebuilders,
    ]

    def begin(job: Callable[[int, random.Random], None], slot: int) -> int:
        def work() -> None:
            lower_thresholds()
            believe_at_once()
            if plant is not None:
                plant()
            try:
                job(slot, random.Random(f"{seed}/{slot}"))
            except BaseException:
                shift.stop()
                raise

        return fork(work)

    until = time.monotonic() + END_S
    wrong = wait_for({begin(job, slot): until for slot, job in enumerate(jobs)}, must_end=True)
    expected = ledger.expected()
    wrong += expected.complaints
    if not wrong:
        found, wrong = ask(lambda: check_thoroughly(path, expected, seed=0), folder / "answer", END_S)
        wrong += found or ()
    return expected, wrong


def _write(worker: Worker, slot: int, chance: random.Random, shift: Shift, turns: int) -> None:
    for _ in range(turns):
        if shift.is_stopped:
            break
        worker.work([chance.choice(WRITER_VERBS)], turns=1)
    worker.close()
    shift.leave(slot)


def _read(path: Path, ledger: Ledger, chance: random.Random, folder: Path, shift: Shift) -> None:
    """Check out what nobody deletes, byte for byte, and verify all of it now and then."""
    keys = {digest_of(key): key for key in range(KEYS)}
    target = folder / f"got{os.getpid()}"
    with Store.open(path) as store, _complaining(ledger, "a reader"):
        while not shift.is_over:
            if chance.random() < 0.15:
                report = store.verify()
                if not report.ok:
                    _complain(ledger, shift, f"verify beside writers: {report.problems}")
            elif versions := _shared(store):
                version = chance.choice(versions)
                wanted = {entry.path: content(keys[str(entry.digest)]) for entry in store.entries(version.ref)}
                shutil.rmtree(target, ignore_errors=True)
                store.get(version.ref, target)
                found = {str(f.relative_to(target)): f.read_bytes() for f in target.rglob("*") if f.is_file()}
                if wanted != found or not wanted:
                    _complain(ledger, shift, f"{version.ref} was read as {sorted(found)}, and is {sorted(wanted)}")


def _complain(ledger: Ledger, shift: Shift, about: str) -> None:
    ledger.complain(about)
    shift.stop()


def _shared(store: Store) -> list[VersionInfo]:
    with contextlib.suppress(NotFound):
        return store.versions(SHARED)
    return []


def _collect(path: Path, ledger: Ledger, shift: Shift) -> None:
    with Store.open(path) as store, _complaining(ledger, "gc"):
        while not shift.is_over:
            with contextlib.suppress(Conflict):
                # A rebuild holds the lock.
                store.gc(grace_s=0)


def _rebuild(path: Path, ledger: Ledger, chance: random.Random, shift: Shift) -> None:
    with _complaining(ledger, "rebuild"):
        while not shift.is_over:
            time.sleep(chance.uniform(0.05, 0.6))
            with contextlib.suppress(Conflict):
                report = Store.rebuild(path)
                if report.lost:
                    _complain(ledger, shift, f"rebuild beside writers lost {report.lost}")


@contextlib.contextmanager
def _complaining(ledger: Ledger, who: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a generator
    try:
        yield
    except (ArtstoreError, OSError) as error:
        ledger.complain(f"{who} met {error!r}")
        raise


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.beside", description="Everything at once, on one store."
    )
    parser.add_argument("--turns", type=int, default=1_000, help="of all writers; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rebuilders", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where a store goes in which something is wrong")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a bug that is to be caught")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="artstore-beside-", dir=memory(), ignore_cleanup_errors=True) as folder:
        report = run(
            options.turns,
            options.seed,
            Path(folder),
            Crowd(rebuilders=options.rebuilders),
            plant=options.plant and Plant.named(options.plant),
        )
        if report.wrong and options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    sys.stdout.write(report.text() + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
