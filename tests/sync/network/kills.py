"""Kills of a server: `python -m tests.sync.network.kills --kills 1000 --seed 7`.

A server is killed with SIGKILL in the middle of what is sent to it, at any byte, or just when it answers, and is there
again sooner or later. Nothing that it has acknowledged is lost, and nothing is there twice.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from tests.chaos import Chaos, chaos
from tests.sync.network.fleet import LARGE, Fleet, in_haste
from tests.sync.network.rounds import check_server
from tests.sync.network.warm import WarmServer

EACH: Final = 50
"""Kills that one server lives through."""
_ANSWERS: Final = 3_000
"""Bytes of all that a server answers to a push."""


def killed(fleet: Fleet, server: WarmServer, wire: Chaos, chance: random.Random) -> bool:
    """Push a version to a server that is killed meanwhile; False if it had nothing to do any more by then."""
    machine = chance.choice(fleet.machines)
    fleet.make(machine)
    was_killed = False

    def kill() -> None:
        nonlocal was_killed
        was_killed = True
        server.kill()
        # Back before its client gives up, or not.
        if chance.random() < 0.5:
            server.start()
        else:
            wire.refuse()

    way = chance.choice(["up", "up", "up", "down"])
    wire.cut_after(chance.randrange(1, LARGE if way == "up" else _ANSWERS), way=way, then=kill)
    fleet.move(machine, "push")
    wire.heal()
    server.start()
    return was_killed


def one(seed: int, kills: int, *plants: str) -> int:
    """A server, with bugs where some are named, and a fleet, from beginning to end; answers how often it was killed."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="artstore-kills-") as folder, contextlib.ExitStack() as ending:
        ending.enter_context(in_haste())
        place = Path(folder)
        server = ending.enter_context(WarmServer(place / "server", *plants))
        wire = ending.enter_context(chaos(server.port))
        fleet = Fleet(place, f"http://127.0.0.1:{wire.port}", server.url, seed)
        ending.callback(fleet.close)
        done = 0
        while done < kills:
            done += killed(fleet, server, wire, chance)
        fleet.settle()
        server.stop()
        check_server(server)
    return done


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=EACH)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    broken = done = 0
    while done < chosen.kills and not broken:
        seed = chosen.seed + done // EACH
        try:
            done += one(seed, min(EACH, chosen.kills - done))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            broken += 1
            traceback.print_exc(file=sys.stdout)
            print(f"VIOLATION {type(error).__name__}: {error}")  # noqa: T201 - it is a program
            print(f"again: python -m tests.sync.network.kills --kills {EACH} --seed {seed}")  # noqa: T201 - as above
    print(f"{done} kills of a server, {broken} violations")  # noqa: T201 - as above
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
