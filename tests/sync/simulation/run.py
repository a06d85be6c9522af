"""The simulation: worlds that live by a seed each, until one breaks or enough steps are done.

    python -m tests.sync.simulation.run --steps 5000000 --first 1000     # the worlds from 1000 on
    python -m tests.sync.simulation.run --seed 7                         # one of them again

What a step is, `fate` says. A world that breaks is printed with the command that replays it, in as few deeds as it
breaks in; the others go on. What was done so far stands in the last line, so that a later run begins behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final, NamedTuple

from tests.sync.simulation.world import made

MEMORY = Path("/dev/shm")  # noqa: S108 - worlds live in memory, and end with their run
DEEDS: Final = 90
"""Deeds of one world, after which it has to be of one mind."""
_SETTLED: Final = 45
_SHOWN: Final = 25
_SHORTER: Final = (5, 10, 20, 30, 45, 60)


class Lived(NamedTuple):
    """What became of a world."""

    steps: int
    calls: int
    """Of these, over the network."""
    acknowledged: int
    """Ops that a store has said to have."""
    nodes: int
    freed: int
    """Objects that were freed in depots."""
    history: list[str]


class Broken(Exception):
    """A world in which something is not as it must be; its cause says what."""

    def __init__(self, steps: int, history: list[str]) -> None:
        super().__init__("the last deeds were:\n" + "\n".join(history[-_SHOWN:]))
        self.steps = steps
        """That it had come to."""


def live(seed: int, deeds: int = DEEDS) -> Lived:
    """One world from its beginning to its end. Raises Broken."""
    folder = Path(tempfile.mkdtemp(prefix="artstore-world-", dir=MEMORY if MEMORY.exists() else None))
    steps, history = 0, list[str]()
    try:
        with made(folder, seed) as world:
            history = world.history
            try:
                for number in range(deeds):
                    world.step(number)
                    if number % _SETTLED == _SETTLED - 1 and number + 1 < deeds:
                        world.settle()
                world.settle()
            finally:
                steps = world.fate.steps
            acknowledged = sum(len(node.acknowledged) for node in world.nodes)
            return Lived(world.fate.steps, world.fate.calls, acknowledged, len(world.nodes), world.freed, history)
    except Exception as error:
        raise Broken(steps, history) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def shortest(seed: int, deeds: int) -> int:
    """In how few deeds a world breaks that breaks in so many."""
    for fewer in _SHORTER:
        if fewer >= deeds:
            break
        try:
            live(seed, fewer)
        except Exception:  # noqa: BLE001 - it breaks, however
            return fewer
    return deeds


def main() -> int:
    """Do what the command line says; 1 if a world broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="live this world alone")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--steps", type=int, default=100_000, help="steps after which no new world begins")
    parser.add_argument("--deeds", type=int, default=DEEDS, help="deeds of each world")
    chosen = parser.parse_args()
    steps = violations = 0
    began = time.process_time()
    seed = chosen.first if chosen.seed is None else chosen.seed
    while steps < chosen.steps:
        try:
            lived = live(seed, chosen.deeds)
        except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
            traceback.print_exc(file=sys.stdout)
            deeds = shortest(seed, chosen.deeds)
            print(f"VIOLATION: python -m tests.sync.simulation.run --seed {seed} --deeds {deeds}", flush=True)  # noqa: T201
            violations += 1
        else:
            steps += lived.steps
            pace = steps / (time.process_time() - began)
            what = f"{lived.steps} steps, {lived.calls} calls, {lived.nodes} machines, {lived.freed} freed"
            print(f"seed {seed}: {what}; {steps} in all, {pace:.0f} a second", flush=True)  # noqa: T201
        seed += 1
        if chosen.seed is not None or violations > _SHOWN:
            break
    first = chosen.first if chosen.seed is None else chosen.seed
    print(f"{steps} steps in the worlds {first} to {seed - 1}, {violations} violations")  # noqa: T201
    return 1 if violations else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets are walked in an order that hashes decide, and calls come in it.
        again = [sys.executable, "-m", "tests.sync.simulation.run", *sys.argv[1:]]
        os.execve(again[0], again, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 - it is this very program
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
