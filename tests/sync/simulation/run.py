"""Run worlds: `python -m tests.sync.simulation.run --seed 7 --steps 500` replays one, without a seed it looks for more.

Prints the command that replays a world that broke.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import pytest

from artstore.sync import checkpoints, download, remotes, upload
from artstore.sync.objects import parallel
from artstore.sync.objects.families import open_objects
from tests.sync.simulation.world import World

MEMORY = Path("/dev/shm")  # noqa: S108 - worlds live in memory, and end with their run


class Inline:
    """A pool of threads that has none: what is submitted is done at once, so that calls come in one order."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments))
        except BaseException as error:  # noqa: BLE001 - it is raised again by who asks for the result
            done.set_exception(error)
        return done

    def shutdown(self, **_options: object) -> None:
        pass


@contextlib.contextmanager
def in_one_order(seed: int) -> Iterator[pytest.MonkeyPatch]:
    """Chance is the seed's, the network's threads are one, and nothing waits for a disk."""
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", chance.randbytes)
        patch.setattr(os, "fsync", lambda _fd: None)
        patch.setattr(os, "fdatasync", lambda _fd: None)
        for module in (upload, download, parallel):
            patch.setattr(module, "ThreadPoolExecutor", Inline)
        # So small that a world has some.
        patch.setattr(checkpoints, "BLOCK", 8)
        patch.setattr(checkpoints, "FACTOR", 4)
        yield patch


def live(seed: int, steps: int) -> World:
    """One world from its beginning to its end. Raises AssertionError where something is not as it must be."""
    with in_one_order(seed) as patch:
        return _live(seed, steps, patch)


def _live(seed: int, steps: int, patch: pytest.MonkeyPatch) -> World:
    folder = Path(tempfile.mkdtemp(prefix="artstore-world-", dir=MEMORY if MEMORY.exists() else None))
    world = None
    try:
        world = World(folder, seed, nodes=3 + seed % 4)
        network = world.network
        patch.setattr(remotes, "open_objects", lambda url: network.between(open_objects(url)))
        for number in range(steps):
            network.trouble = 0.06 if number % 50 < 40 else 0.0
            world.step()
            if number % 100 == 99:
                world.settle()
        world.settle()
    except BaseException:
        if world is not None:
            sys.stderr.write("\n".join(world.history[-25:]) + "\n")
        raise
    else:
        return world
    finally:
        for node in () if world is None else world.nodes:
            node.store.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--worlds", type=int, default=10)
    chosen = parser.parse_args()
    seeds = range(chosen.worlds) if chosen.seed is None else [chosen.seed]
    for seed in seeds:
        try:
            world = live(seed, chosen.steps)
        except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
            traceback.print_exc()
            print(f"python -m tests.sync.simulation.run --seed {seed} --steps {chosen.steps}")  # noqa: T201
            return 1
        print(f"seed {seed}: {chosen.steps} steps, {world.network.calls} calls, {len(world.nodes)} machines")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
