"""Rounds over a bad network: `python -m tests.sync.network.rounds --rounds 100 --seed 7`.

Stores push to a server and pull from it through a proxy that cuts at any byte, either way, says nothing for a while, or
is slow. Whatever that does, all of it arrives in the end, once.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artstore.store import Store
from artstore.sync.rounds import Verb
from tests.chaos import Chaos, chaos
from tests.sync.network.fleet import Fleet, in_haste
from tests.sync.network.warm import WarmServer

EACH: Final = 25
"""Rounds that one fleet makes."""
_TROUBLES: Final = {"none": 2, "up": 8, "down": 8, "both": 4, "silent": 1, "slow": 1}
_SILENT_S: Final = 0.3
_VERBS: Final[tuple[Verb, ...]] = ("push", "push", "pull", "sync")


@contextlib.contextmanager
def trouble(wire: Chaos, chance: random.Random) -> Iterator[None]:
    """A network that is broken in one way."""
    (kind,) = chance.choices(list(_TROUBLES), list(_TROUBLES.values()))
    for way in ("up", "down"):
        if kind in {way, "both"}:
            # As likely in the first few bytes as among the millions.
            wire.cut_after(int(2 ** chance.uniform(0, 21)), way=way, then=chance.choice([None, wire.refuse]))
    timers: list[threading.Timer] = []
    if kind == "silent":
        begin_s = chance.uniform(0, 0.05)
        timers = [threading.Timer(begin_s, wire.stall), threading.Timer(begin_s + _SILENT_S, wire.go_on)]
    if kind == "slow":
        wire.pause_s = 0.002
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.join()
        wire.pause_s = 0
        wire.heal()


def run(fleet: Fleet, wire: Chaos, chance: random.Random, rounds: int) -> int:
    """Have a fleet make rounds; answers how many of them failed. That all arrives in the end is for who settles it."""
    failed = 0
    for _ in range(rounds):
        machine = chance.choice(fleet.machines)
        if chance.random() < 0.6:
            fleet.make(machine)
        with trouble(wire, chance):
            verb = chance.choice(_VERBS)
            failed += not fleet.move(machine, verb, blobs=verb != "push")
    return failed


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    failed = broken = done = 0
    while done < chosen.rounds and not broken:
        seed = chosen.seed + done // EACH
        rounds = min(EACH, chosen.rounds - done)
        done += rounds
        try:
            failed += one(seed, rounds)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            broken += 1
            traceback.print_exc(file=sys.stdout)
            print(f"VIOLATION {type(error).__name__}: {error}")  # noqa: T201 - it is a program
            print(f"again: python -m tests.sync.network.rounds --rounds {EACH} --seed {seed}")  # noqa: T201 - as above
    print(f"{done} rounds, {failed} of them cut off, {broken} violations")  # noqa: T201 - as above
    return min(broken, 1)


def one(seed: int, rounds: int) -> int:
    """A server, a network and a fleet, from beginning to end."""
    with tempfile.TemporaryDirectory(prefix="artstore-rounds-") as folder:
        place = Path(folder)
        with in_haste(), WarmServer(place / "server") as server, chaos(server.port) as wire:
            fleet = Fleet(place, f"http://127.0.0.1:{wire.port}", server.url, seed)
            try:
                failed = run(fleet, wire, random.Random(seed), rounds)
                fleet.settle()
            finally:
                fleet.close()
            server.stop()
            check_server(server)
    return failed


def check_server(server: WarmServer) -> None:
    """What a server has, when it has ended and all was sent: whole, and nothing besides."""
    with Store.open(server.folder) as store:
        assert store.verify().ok
    assert [] == [path for path in (server.folder / "hosted" / "uploads").rglob("*") if path.is_file()]
    assert "Traceback" not in server.complaints(), server.complaints()


if __name__ == "__main__":
    sys.exit(main())
