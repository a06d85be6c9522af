"""Soaks: long fault runs, by name. What they run lives with the tests; here is only how much of it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_UNKNOWN = 2
_STORE: Final = re.compile(r"VIOLATION \[seed \d+, store (\d+)\]")


@dataclass(frozen=True)
class Effort:
    """How much a soak does, and from where its chances come."""

    kills: int
    seed: int


def kill_loop(effort: Effort) -> Sequence[str]:
    """Kill artstore at random instants, and lose nothing that it acknowledged."""
    return ["tests.faults.kill_loop", "--kills", str(effort.kills), "--seed", str(effort.seed)]


def beside(effort: Effort) -> Sequence[str]:
    """Writers, readers, collectors and rebuilders at once, and nobody disturbs anybody."""
    return ["tests.faults.beside", "--turns", str(effort.kills), "--seed", str(effort.seed)]


def failing_calls(effort: Effort) -> Sequence[str]:
    """Let every call into the file system and the database fail once, in each way."""
    return ["tests.faults.failing_calls", "--seed", str(effort.seed)]


def injected_errors(effort: Effort) -> Sequence[str]:
    """Let real system calls fail, SQLite's own among them: each of them, from 50,000 kills on."""
    return ["tests.faults.injected", "--every", str(max(1, 50_000 // max(1, effort.kills)))]


def power_cuts(effort: Effort) -> Sequence[str]:
    """Cut the power on each file system, once for every hundred kills."""
    return ["tests.faults.power_cut", "--cuts", str(max(8, effort.kills // 100)), "--seed", str(effort.seed)]


def bad_network(effort: Effort) -> Sequence[str]:
    """Push to a server and pull from it through a network that is cut at any byte, is silent, or slow."""
    return ["tests.sync.network.rounds", "--rounds", str(max(25, effort.kills // 25)), "--seed", str(effort.seed)]


def server_kills(effort: Effort) -> Sequence[str]:
    """Kill a server in the middle of what is sent to it, once for every fifty kills of the kill loop."""
    return ["tests.sync.network.kills", "--kills", str(max(50, effort.kills // 50)), "--seed", str(effort.seed)]


def api(effort: Effort) -> Sequence[str]:
    """Ask a server for whatever its description allows, and for what it does not."""
    return ["tests.server.asking", "--requests", str(effort.kills), "--seed", str(effort.seed)]


def simulation(effort: Effort) -> Sequence[str]:
    """Let worlds of stores, depots and servers live by seeds: a hundred steps for every kill."""
    first = effort.seed * 1_000_000
    return ["tests.sync.simulation.run", "--steps", str(effort.kills * 100), "--first", str(first)]


def wandb(effort: Effort) -> Sequence[str]:
    """Put the real wandb package beside artstore: tables of chance, and what its runs leave behind."""
    return ["tests.api.beside_wandb", "--tables", str(effort.kills), "--seed", str(effort.seed)]


def training(_: Effort) -> Sequence[str]:
    """Train with the real Lightning and transformers, crash, and go on from the last version."""
    return ["tests.api.beside_training"]


SOAKS: Final[dict[str, Callable[[Effort], Sequence[str]]]] = {
    "kill-loop": kill_loop,
    "beside": beside,
    "failing-calls": failing_calls,
    "injected-errors": injected_errors,
    "power-cuts": power_cuts,
    "bad-network": bad_network,
    "server-kills": server_kills,
    "api": api,
    "simulation": simulation,
    "wandb": wandb,
    "training": training,
}
"""By name: the module to run, and its arguments. Exit 0 is a pass."""


def run(names: Sequence[str], effort: Effort) -> int:
    """Run soaks one after the other, and say at the end what became of each; the worst exit code of them."""
    unknown = [name for name in names if name not in SOAKS]
    if unknown:
        print(f"unknown: {', '.join(unknown)} (there are: {', '.join(SOAKS)})", file=sys.stderr)
        return _UNKNOWN
    done = [_one(name, SOAKS[name](effort)) for name in names]
    print()
    for result in done:
        print(result.summary)
    return max(result.code for result in done)


class Result(NamedTuple):
    """What became of one soak."""

    code: int
    summary: str


def _one(name: str, words: Sequence[str]) -> Result:
    module = words[0]
    if not _is_there(module):
        return Result(_UNKNOWN, f"{name}: not run, since {module} is not here")
    command = [sys.executable, "-m", *words]
    start = time.perf_counter()
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line.strip())
    counts = next((line for line in said if line.endswith(" violations")), "no counts")
    took = time.perf_counter() - start
    if process.returncode == 0:
        return Result(0, f"{name}: passed after {took:.0f} s: {counts}")
    again = ["python", "-m", *words, *_narrowed(module, said)]
    verdict = f"{name}: FAILED with {process.returncode} after {took:.0f} s: {counts}"
    return Result(abs(process.returncode), f"{verdict}\n  again: {' '.join(again)}")


def _narrowed(module: str, said: Sequence[str]) -> list[str]:
    """Words that run only the store in which something was wrong."""
    found = next((match for line in said if (match := _STORE.search(line))), None)
    return ["--store", found[1]] if found and module.endswith("kill_loop") else []


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # One of the packages around it is not here either.
        return False
