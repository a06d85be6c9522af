"""The kill loop: processes at work are killed with SIGKILL, and nothing that was acknowledged is lost.

    python -m tests.faults.kill_loop --kills 50000 --seed 1

Children are forked from a parent that has loaded everything and opened no store; one to three work on one store at
once. Some are killed after a random time, some before or after a random call into the file system or the database, and
some at a call that leads into the window hit least so far. The last two kill themselves at that call: nothing in
artstore knows of it, and the process is as dead as any. After some volleys, and for each store at the end, the oracle
looks.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from artstore.store import Store
from tests.faults import windows
from tests.faults.layer import CHANGES, Call, Layer
from tests.faults.ledger import KEYS, Ledger, digest_of
from tests.faults.oracle import check, check_thoroughly
from tests.faults.planted import PLANTED
from tests.faults.windows import Windows
from tests.faults.worker import Worker, lower_thresholds

KILLS_A_STORE: Final = 60
VOLLEYS_A_CHECK: Final = 8
PATIENCE_S: Final = 0.3
"""After which a child that has not come to its call is killed where it is."""
LONGEST_S: Final = 0.1
"""The random times are below."""
STUCK_S: Final = 150.0

Plant = Callable[[], None]
"""Breaks artstore in a child."""


class Aim(NamedTuple):
    """Where a child is to die, and what it does on the way there."""

    plan: tuple[str, ...]
    verbs: frozenset[str]
    """During which it may die; empty: any."""
    fits: Callable[[Call], bool]
    nth: int
    is_before: bool
    name: str


class Report(NamedTuple):
    """What became of a loop."""

    kills: int
    armed: int
    stores: int
    checks: int
    windows: Windows
    wrong: list[str]
    seconds: float

    def text(self) -> str:
        """All of it, for a person."""
        counts = self.windows.counts
        named = [f"  {counts[name]:6}  {name}" for name in windows.NAMED]
        others = [f"  {count:6}  {name}" for name, count in sorted(counts.items()) if name not in windows.NAMED]
        head = (
            f"{self.kills} kills ({self.armed} at a chosen call) in {self.stores} stores, {self.checks} checks, "
            f"{self.seconds:.0f} s, {len(self.wrong)} violations"
        )
        return "\n".join([head, *named, "besides:", *others, *(f"VIOLATION {each}" for each in self.wrong)])


def run(kills: int, seed: int, folder: Path, *, plant: Plant | None = None, stop_early: bool = True) -> Report:
    """Kill so many processes. Ends at the first store in which something is wrong, unless stop_early is False."""
    for key in range(KEYS):
        # Made once, for every child.
        digest_of(key)
    chance = random.Random(seed)
    began = time.monotonic()
    found = Windows()
    done = armed = stores = checks = 0
    wrong: list[str] = []
    while done < kills and not (wrong and stop_early):
        stores += 1
        loop = _Loop(folder / f"store{stores}", chance.randrange(1 << 60), found, plant)
        loop.run(min(KILLS_A_STORE, kills - done))
        done += loop.kills
        armed += loop.armed
        checks += loop.checks
        wrong += [f"[seed {seed}, store {stores}] {each}" for each in loop.wrong]
        if not loop.wrong:
            shutil.rmtree(loop.folder)
    return Report(done, armed, stores, checks, found, wrong, time.monotonic() - began)


class _Loop:
    """The life of one store."""

    def __init__(self, folder: Path, seed: int, found: Windows, plant: Plant | None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.kills = self.armed = self.checks = 0
        self.wrong: list[str] = []
        self._chance = random.Random(seed)
        self._store = folder / "store"
        self._ledger = Ledger(folder / "ledger")
        self._windows = found
        self._plant = plant

    def run(self, kills: int) -> None:
        """Kill so many, looking now and then, and thoroughly at the end."""
        volleys = 0
        if self._chance.random() < 0.8:
            # The others begin with the killed makers of a store.
            wait_for({fork(lambda: Store.init(self._store).close()): time.monotonic() + STUCK_S})
        while self.kills < kills and not self.wrong:
            self._volley(min(self._chance.choice((1, 1, 2, 3)), kills - self.kills))
            volleys += 1
            if volleys % VOLLEYS_A_CHECK == 0:
                self._check(is_last=False)
        if not self.wrong:
            self._check(is_last=True)

    def _volley(self, width: int) -> None:
        notes = [self.folder / f"death{slot}" for slot in range(width)]
        children: dict[int, float] = {}
        for slot in range(width):
            aim = self._aim() if self._chance.random() < 0.65 else None
            seed = self._chance.randrange(1 << 60)
            if aim is None:
                until = self._chance.uniform(0.002, LONGEST_S)
            else:
                until = PATIENCE_S
                self.armed += 1
            pid = fork(lambda: self._child(slot, seed, aim, notes[slot]))  # noqa: B023 - called at once
            children[pid] = time.monotonic() + until
        if failed := wait_for(children):
            self.wrong += [*failed, *self._ledger.expected().complaints]
        self.kills += width
        deaths = [note.read_text() for note in notes if note.exists()]
        for note in notes:
            note.unlink(missing_ok=True)
        self._windows.look(self._store, deaths)

    def _child(self, slot: int, seed: int, aim: Aim | None, note: Path) -> None:
        lower_thresholds()
        if self._plant is not None:
            self._plant()
        worker = Worker(self._store, self._ledger, slot, seed, self.folder)
        if aim is not None:
            arm(self._store, aim, worker, note)
        worker.work(aim.plan if aim else ())

    def _aim(self) -> Aim:
        counts = self._windows.counts
        if self._chance.random() < 0.4:
            return _anywhere(self._chance)
        least = min(windows.NAMED, key=lambda name: (counts[name], self._chance.random()))
        return AIMS[least](self._chance)

    def _check(self, *, is_last: bool) -> None:
        if not (self._store / "format.json").exists() and not self._ledger.expected().versions:
            return
        self.checks += 1
        answer = self.folder / "answer"
        look = check_thoroughly if is_last else check

        def ask() -> None:
            found = look(self._store, self._ledger.expected(), seed=self.checks)
            answer.write_text("\n".join(found))

        pid = fork(ask)
        self.wrong += wait_for({pid: time.monotonic() + STUCK_S}, must_end=True)
        self.wrong += answer.read_text().splitlines() if answer.exists() else ["the check gave no answer"]
        if self.wrong:
            self.wrong += [f"the last lines of {self.folder / 'ledger'}:", *self._ledger.tail(12)]
        answer.unlink(missing_ok=True)


def arm(store: Path, aim: Aim, worker: Worker, note: Path) -> None:
    """Let this process die at a call."""
    left = aim.nth

    def die() -> None:
        note.write_text(aim.name)
        os.kill(os.getpid(), signal.SIGKILL)

    def before(call: Call) -> None:
        nonlocal left
        if aim.is_before and (not aim.verbs or worker.verb in aim.verbs) and aim.fits(call):
            left -= 1
            if left == 0:
                die()

    def after(call: Call) -> None:
        nonlocal left
        if not aim.is_before and (not aim.verbs or worker.verb in aim.verbs) and aim.fits(call):
            left -= 1
            if left == 0:
                die()

    Layer(store, before, after).install()


def _anywhere(chance: random.Random) -> Aim:
    return Aim(
        (),
        frozenset(),
        lambda call: call.name in CHANGES,
        int(chance.expovariate(1 / 60)) + 1,
        is_before=chance.random() < 0.5,
        name="anywhere",
    )


def _pack_without_op(chance: random.Random) -> Aim:
    return Aim(
        ("put", "put_shared"),
        frozenset({"put", "put_shared"}),
        lambda call: call.name == "link" and call.path.startswith("packs/"),
        chance.randrange(1, 3),
        is_before=False,
        name="put",
    )


def _op_without_commit(chance: random.Random) -> Aim:
    is_before = chance.random() < 0.5
    return Aim(
        ("alias", "put", "delete"),
        frozenset(),
        # Before the COMMIT that follows the link, or right after the link.
        (lambda call: call.name == "statement" and "UPDATE project SET seq" in call.sql)
        if is_before
        else (
            lambda call: (
                call.name == "link" and call.path.startswith("ops/") and "-" not in call.path.rpartition("/")[2]
            )
        ),
        chance.randrange(1, 4),
        is_before=is_before,
        name="commit",
    )


def _segment_and_singles(chance: random.Random) -> Aim:
    is_before = chance.random() < 0.5
    return Aim(
        ("put", "put", "gc"),
        frozenset(),
        (lambda call: call.name == "unlink" and call.path.startswith("ops/"))
        if is_before
        else (
            lambda call: call.name == "link" and "-" in call.path.rpartition("/")[2] and call.path.startswith("ops/")
        ),
        chance.randrange(1, 3),
        is_before=is_before,
        name="compact",
    )


def _repack(chance: random.Random) -> Aim:
    return Aim(
        ("put", "delete", "gc", "put", "put", "prune", "gc"),
        frozenset({"gc"}),
        lambda call: (
            (call.path.endswith(".tar") and call.name in {"pwritev", "fsync", "link", "unlink", "create", "fchmod"})
            or "stored" in call.sql
        ),
        chance.randrange(1, 12),
        is_before=chance.random() < 0.5,
        name="gc",
    )


def _rebuild(chance: random.Random) -> Aim:
    # From the transaction's second statement on, its COMMIT among them.
    return Aim(
        ("rebuild",) * 4,
        frozenset({"rebuild"}),
        lambda call: call.name == "commit" or (call.name == "statement" and not call.sql.startswith("BEGIN")),
        chance.choice((1, chance.randrange(2, 40), chance.randrange(2, 100))),
        is_before=True,
        name="rebuild",
    )


AIMS: Final[dict[str, Callable[[random.Random], Aim]]] = {
    windows.PACK_WITHOUT_OP: _pack_without_op,
    windows.OP_WITHOUT_COMMIT: _op_without_commit,
    windows.SEGMENT_AND_SINGLES: _segment_and_singles,
    windows.REPACK: _repack,
    windows.REBUILD: _rebuild,
}


def fork(work: Callable[[], None]) -> int:
    """Begin some work in a process of its own, which ends with it; answers its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        work()
    except BaseException:  # noqa: BLE001 - whatever it is, a forked child must not go on as its parent
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_for(children: dict[int, float], *, must_end: bool = False) -> list[str]:
    """Kill each child at its time, and wait for all; one that failed by itself is a violation."""
    wrong: list[str] = []
    while children:
        for pid, until in list(children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del children[pid]
                if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                    wrong.append(f"a process failed with {os.WEXITSTATUS(status)}: see what it printed")
            elif time.monotonic() >= until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del children[pid]
                if must_end:
                    wrong.append("a process did not come to its end")
        time.sleep(0.0005)
    return wrong


def memory() -> Path | None:
    """A folder in memory, if there is one: a kill takes nothing out of the page cache, so a disk is only slower."""
    shared = Path("/dev/shm")  # noqa: S108 - only folders of random names
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else None


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_loop", description="Kill, and lose nothing.")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the stores are made; default: a temporary folder")
    parser.add_argument("--least", type=int, default=20, help="hits that each window needs; default: %(default)s")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a bug that is to be caught")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(
        prefix="artstore-kill-", dir=options.folder or memory(), ignore_cleanup_errors=True
    ) as folder:
        report = run(options.kills, options.seed, Path(folder), plant=PLANTED.get(options.plant))
        sys.stdout.write(report.text() + "\n")
        if report.wrong and options.folder:
            kept = shutil.copytree(folder, options.folder / f"failed-{options.seed}", dirs_exist_ok=True)
            sys.stdout.write(f"kept: {kept}\n")
    missed = [name for name in windows.NAMED if report.windows.counts[name] < options.least]
    if missed:
        sys.stdout.write(f"hit fewer than {options.least} times: {', '.join(missed)}\n")
    return 1 if report.wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
