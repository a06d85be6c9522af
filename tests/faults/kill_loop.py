"""The kill loop: processes at work are killed with SIGKILL, and nothing that was acknowledged is lost.

    python -m tests.faults.kill_loop --kills 50000 --seed 1

Children are forked from a parent that has loaded everything and opened no store; one to three work on one store at
once. Some are killed after a random time, some before or after a random call into the file system or the database, and
some at a call that leads into the window, or the verb, hit least so far. The last two kill themselves at that call:
nothing in artstore knows of it, and the process is as dead as any. After some volleys, and for each store at the end,
the oracle looks.

Each store has a seed of its own, made of the loop's seed and the store's number: `--store N` runs that one again. What
dies at a random time dies elsewhere the next time.
"""

from __future__ import annotations

import argparse
import itertools
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from artstore.store import Store
from tests.faults import windows
from tests.faults.equipment import memory
from tests.faults.layer import CHANGES, Call, Layer
from tests.faults.ledger import Ledger, warm
from tests.faults.oracle import check, check_thoroughly
from tests.faults.planted import PLANTED, Plant
from tests.faults.processes import ask, fork, spread, wait_for
from tests.faults.windows import Windows
from tests.faults.worker import VERBS, Worker, believe_at_once, lower_thresholds

KILLS_A_STORE: Final = 60
VOLLEYS_A_CHECK: Final = 8
LONGEST_S: Final = 0.1
"""The random times are below."""
PATIENCE_CALLS: Final = 500
"""Changing calls after which a child that has not come to its own is killed where it is."""
STUCK_S: Final = 150.0
LEAST: Final = 20
"""How often each window has to be hit, and a process killed in each of the named verbs."""
VERBS_NAMED: Final = ("put", "gc", "prune", "rebuild")

_NAMES: Final = (*VERBS, "open")


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
    windows: Counter[str]
    verbs: Counter[str]
    """Kills by what was being done; `open` is what comes before the first verb and between two."""
    wrong: list[str]
    seconds: float

    def missed(self, least: int = LEAST) -> list[str]:
        """The windows and the verbs that were hit too rarely."""
        named = [(name, self.windows[name]) for name in windows.NAMED]
        return [name for name, count in (*named, *((each, self.verbs[each]) for each in VERBS_NAMED)) if count < least]

    def text(self) -> str:
        """All of it, for a person."""
        head = (
            f"{self.kills} kills ({self.armed} at a chosen call) in {self.stores} stores, {self.checks} checks, "
            f"{self.seconds:.0f} s, {len(self.wrong)} violations"
        )
        hit = [f"  {self.windows[name]:6}  {name}" for name in windows.NAMED]
        others = [f"  {n:6}  {name}" for name, n in sorted(self.windows.items()) if name not in windows.NAMED]
        killed = ", ".join(f"{count} {name}" for name, count in self.verbs.most_common())
        return "\n".join([head, *hit, *others, f"  killed in: {killed}", *(f"VIOLATION {each}" for each in self.wrong)])


def run(
    kills: int,
    seed: int,
    folder: Path,
    *,
    plant: Plant | None = None,
    workers: int = 2,
    only: int | None = None,
) -> Report:
    """Kill so many processes. No store is begun after one in which something is wrong. `only` one store, if given."""
    warm()
    began = time.monotonic()

    def one(job: tuple[int, int]) -> Report:
        number, count = job
        loop = _Loop(folder / f"store{number}", random.Random(f"{seed}/{number}"), plant)
        loop.run(count)
        if not loop.wrong:
            shutil.rmtree(loop.folder)
        return loop.report(f"seed {seed}, store {number}")

    whole, rest = divmod(kills, KILLS_A_STORE)
    jobs = list(enumerate([KILLS_A_STORE] * whole + [rest] * (rest > 0), start=1))
    chosen = jobs if only is None else [(only, KILLS_A_STORE)]
    done = spread(chosen, one, folder, workers=workers, is_last=lambda report: bool(report.wrong))
    return Report(
        kills=sum(each.kills for each in done),
        armed=sum(each.armed for each in done),
        stores=len(done),
        checks=sum(each.checks for each in done),
        windows=sum((each.windows for each in done), Counter()),
        verbs=sum((each.verbs for each in done), Counter()),
        wrong=list(itertools.chain.from_iterable(each.wrong for each in done)),
        seconds=time.monotonic() - began,
    )


class _Loop:
    """The life of one store."""

    def __init__(self, folder: Path, chance: random.Random, plant: Plant | None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.wrong: list[str] = []
        self._kills = self._armed = self._checks = 0
        self._chance = chance
        self._store = folder / "store"
        self._ledger = Ledger(folder / "ledger")
        self._windows = Windows(self._store)
        self._verbs: Counter[str] = Counter()
        self._doing = mmap.mmap(-1, mmap.PAGESIZE)
        """A byte for each child, which says what it does even after it was killed."""
        self._plant = plant

    def report(self, where: str) -> Report:
        """What became of it."""
        wrong = [f"[{where}] {each}" for each in self.wrong]
        found = self._windows.counts
        return Report(self._kills, self._armed, 1, self._checks, found, self._verbs, wrong, 0.0)

    def run(self, kills: int) -> None:
        """Kill so many, looking now and then, and thoroughly at the end."""
        volleys = 0
        if self._chance.random() < 0.8:
            # The others begin with the killed makers of a store.
            wait_for({fork(self._init): time.monotonic() + STUCK_S})
        while self._kills < kills and not self.wrong:
            self._volley(min(self._chance.choice((1, 1, 2, 3)), kills - self._kills))
            volleys += 1
            if volleys % VOLLEYS_A_CHECK == 0:
                self._check(is_last=False)
        if not self.wrong:
            self._check(is_last=True)

    def _init(self) -> None:
        lower_thresholds()
        Store.init(self._store).close()

    def _volley(self, width: int) -> None:
        notes = [self.folder / f"death{slot}" for slot in range(width)]
        children: dict[int, float] = {}
        for slot in range(width):
            aim = self._aim() if self._chance.random() < 0.65 else None
            seed = self._chance.randrange(1 << 60)
            plan = aim.plan if aim else self._chance.choice(((), *((verb,) for verb in VERBS_NAMED)))
            until = STUCK_S if aim else self._chance.uniform(0.002, LONGEST_S)
            self._armed += aim is not None
            self._doing[slot] = _NAMES.index("open")
            pid = fork(lambda: self._child(slot, seed, plan, aim, notes[slot]))  # noqa: B023 - called at once
            children[pid] = time.monotonic() + until
        if failed := wait_for(children):
            self.wrong += [*failed, *self._ledger.expected().complaints]
        self._kills += width
        self._verbs.update(_NAMES[self._doing[slot]].removesuffix("_shared") for slot in range(width))
        deaths = [note.read_text() for note in notes if note.exists()]
        for note in notes:
            note.unlink(missing_ok=True)
        self._windows.look(deaths)

    def _child(self, slot: int, seed: int, plan: Sequence[str], aim: Aim | None, note: Path) -> None:
        lower_thresholds()
        believe_at_once()
        if self._plant is not None:
            self._plant()

        def tell(verb: str) -> None:
            self._doing[slot] = _NAMES.index(verb or "open")

        worker = Worker(self._store, self._ledger, slot, seed, self.folder, tell=tell)
        if aim is not None:
            arm(self._store, aim, worker, note)
        worker.work(plan)

    def _aim(self) -> Aim:
        if self._chance.random() < 0.4:
            return _anywhere(self._chance)
        counts = {name: self._windows.counts[name] for name in windows.NAMED} | {"prune": self._verbs["prune"]}
        least = min(counts, key=lambda name: (counts[name], self._chance.random()))
        return AIMS[least](self._chance)

    def _check(self, *, is_last: bool) -> None:
        expected = self._ledger.expected()
        if not (self._store / "format.json").exists() and not expected.versions:
            return
        self._checks += 1
        look = check_thoroughly if is_last else check
        found, failed = ask(lambda: look(self._store, expected, seed=self._checks), self.folder / "answer", STUCK_S)
        self.wrong += [*failed, *(found or ())]
        if self.wrong:
            self.wrong += [f"the last lines of {self.folder / 'ledger'}:", *self._ledger.tail(12)]


def arm(store: Path, aim: Aim, worker: Worker, note: Path) -> None:
    """Let this process die at a call."""
    left = aim.nth
    patience = PATIENCE_CALLS

    def die() -> None:
        note.write_text(aim.name)
        os.kill(os.getpid(), signal.SIGKILL)

    def before(call: Call) -> None:
        nonlocal left, patience
        patience -= call.name in CHANGES
        if patience == 0:
            os.kill(os.getpid(), signal.SIGKILL)
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
            # What it changes, and not what it asks before.
            or ("stored" in call.sql and call.sql.startswith(("INSERT", "UPDATE", "DELETE")))
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


def _prune(chance: random.Random) -> Aim:
    return Aim(
        ("put", "put", "put", "put", "put", "prune"),
        frozenset({"prune"}),
        lambda call: call.name in CHANGES,
        chance.randrange(1, 25),
        is_before=chance.random() < 0.5,
        name="prune",
    )


AIMS: Final[dict[str, Callable[[random.Random], Aim]]] = {
    windows.PACK_WITHOUT_OP: _pack_without_op,
    windows.OP_WITHOUT_COMMIT: _op_without_commit,
    windows.SEGMENT_AND_SINGLES: _segment_and_singles,
    windows.REPACK: _repack,
    windows.REBUILD: _rebuild,
    "prune": _prune,
}


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_loop", description="Kill, and lose nothing.")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=int, help="run this store alone, of those that a seed means")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="stores at once; default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where the stores are made; default: a temporary folder")
    parser.add_argument(
        "--least", type=int, default=LEAST, help="hits that each window needs, one for fifty kills at most"
    )
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a bug that is to be caught")
    options = parser.parse_args(words)
    least = 0 if options.store else min(options.least, options.kills // 50)
    with tempfile.TemporaryDirectory(
        prefix="artstore-kill-", dir=options.folder or memory(), ignore_cleanup_errors=True
    ) as folder:
        report = run(
            options.kills,
            options.seed,
            Path(folder),
            plant=options.plant and Plant.named(options.plant),
            workers=options.workers,
            only=options.store,
        )
        sys.stdout.write(report.text() + "\n")
        if report.wrong and options.folder:
            kept = shutil.copytree(folder, options.folder / f"failed-{options.seed}", dirs_exist_ok=True)
            sys.stdout.write(f"kept: {kept}\n")
    missed = report.missed(least)
    if missed and not report.wrong:
        sys.stdout.write(f"VIOLATION hit fewer than {least} times: {', '.join(missed)}\n")
    return 1 if report.wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
