"""Beside each other: writers, readers, a collector and a rebuilder on one store, and nobody disturbs anybody.

    python -m tests.faults.beside --seconds 60 --seed 1

Writers do what workers do, less collecting; readers check out and verify versions that nobody deletes. A reader meets
no error at all, a writer none but those that its own verbs explain, and in the end the oracle looks.
"""

from __future__ import annotations

import argparse
import contextlib
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
from tests.faults.ledger import KEYS, Ledger, content, digest_of
from tests.faults.oracle import check_thoroughly
from tests.faults.planted import PLANTED, Plant
from tests.faults.processes import fork, wait_for
from tests.faults.worker import SHARED, Worker, lower_thresholds

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
END_S: Final = 240.0
"""After the time is over, for what is still under way."""


class Crowd(NamedTuple):
    """How many are at work."""

    writers: int = 3
    readers: int = 2
    collectors: int = 1
    rebuilders: int = 1


class Report(NamedTuple):
    """What became of it."""

    turns: int
    wrong: list[str]


def run(seconds: float, seed: int, folder: Path, crowd: Crowd = Crowd(), *, plant: Plant | None = None) -> Report:  # noqa: B008 - a tuple
    """Let all of them work for so long on one store, then look."""
    for key in range(KEYS):
        digest_of(key)
    folder.mkdir(exist_ok=True)
    ledger = Ledger(folder / "ledger")
    path = folder / "store"
    wait_for({fork(lambda: Store.init(path).close()): time.monotonic() + END_S}, must_end=True)
    until = time.monotonic() + seconds
    jobs: list[Callable[[int], None]] = [
        *[lambda slot: _write(ledger, slot, seed, folder, until)] * crowd.writers,
        *[lambda slot: _read(path, ledger, seed + slot, folder, until)] * crowd.readers,
        *[lambda _slot: _collect(path, ledger, until)] * crowd.collectors,
        *[lambda slot: _rebuild(path, ledger, seed + slot, until)] * crowd.rebuilders,
    ]

    def begin(job: Callable[[int], None], slot: int) -> int:
        def work() -> None:
            lower_thresholds()
            if plant is not None:
                plant()
            job(slot)

        return fork(work)

    wrong = wait_for({begin(job, slot): until + END_S for slot, job in enumerate(jobs)}, must_end=True)
    expected = ledger.expected()
    if expected.complaints or wrong:
        return Report(len(expected.versions), [*wrong, *expected.complaints])
    answer = folder / "answer"
    look = fork(lambda: _answer(answer, check_thoroughly(path, expected, seed=seed)))
    wrong += wait_for({look: time.monotonic() + END_S}, must_end=True)
    return Report(len(expected.versions), [*wrong, *answer.read_text().splitlines()])


def _answer(answer: Path, wrong: list[str]) -> None:
    answer.write_text("\n".join(wrong))


def _write(ledger: Ledger, slot: int, seed: int, folder: Path, until: float) -> None:
    worker = Worker(folder / "store", ledger, slot, seed * 100 + slot, folder)
    chance = random.Random(seed + slot)
    while time.monotonic() < until:
        worker.work([chance.choice(WRITER_VERBS)], turns=1)
    worker.close()


def _read(path: Path, ledger: Ledger, seed: int, folder: Path, until: float) -> None:
    """Check out what nobody deletes, byte for byte, and verify all of it now and then."""
    chance = random.Random(seed)
    keys = {digest_of(key): key for key in range(KEYS)}
    target = folder / f"got{seed}"
    with Store.open(path) as store, _complaining(ledger, "a reader"):
        while time.monotonic() < until:
            if chance.random() < 0.15:
                report = store.verify()
                if not report.ok:
                    ledger.complain(f"verify beside writers: {report.problems}")
                    return
            elif versions := _shared(store):
                version = chance.choice(versions)
                wanted = {entry.path: content(keys[str(entry.digest)]) for entry in store.entries(version.ref)}
                shutil.rmtree(target, ignore_errors=True)
                store.get(version.ref, target)
                found = {str(f.relative_to(target)): f.read_bytes() for f in target.rglob("*") if f.is_file()}
                if wanted != found or not wanted:
                    ledger.complain(f"{version.ref} was read as {sorted(found)}, and is {sorted(wanted)}")
                    return


def _shared(store: Store) -> list[VersionInfo]:
    with contextlib.suppress(NotFound):
        return store.versions(SHARED)
    return []


def _collect(path: Path, ledger: Ledger, until: float) -> None:
    with Store.open(path) as store, _complaining(ledger, "gc"):
        while time.monotonic() < until:
            with contextlib.suppress(Conflict):
                # A rebuild holds the lock.
                store.gc(grace_s=0)


def _rebuild(path: Path, ledger: Ledger, seed: int, until: float) -> None:
    chance = random.Random(seed)
    with _complaining(ledger, "rebuild"):
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.05, 0.6))
            with contextlib.suppress(Conflict):
                report = Store.rebuild(path)
                if report.lost:
                    ledger.complain(f"rebuild beside writers lost {report.lost}")
                    return


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
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rebuilders", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where a store goes in which something is wrong")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a bug that is to be caught")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="artstore-beside-", dir=memory(), ignore_cleanup_errors=True) as folder:
        report = run(
            options.seconds,
            options.seed,
            Path(folder),
            Crowd(rebuilders=options.rebuilders),
            plant=PLANTED.get(options.plant),
        )
        if report.wrong and options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    sys.stdout.write(f"{report.turns} versions acknowledged, {len(report.wrong)} violations\n")
    for each in report.wrong:
        sys.stdout.write(f"VIOLATION {each}\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
