"""Soaks: long fault runs, by name. What they run lives with the tests; here is only how much of it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_UNKNOWN = 2


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
    return ["tests.faults.beside", "--seconds", str(effort.kills // 100), "--seed", str(effort.seed)]


def failing_calls(effort: Effort) -> Sequence[str]:
    """Let every call into the file system and the database fail once, in each way."""
    return ["tests.faults.failing_calls", "--seed", str(effort.seed)]


def injected_errors(effort: Effort) -> Sequence[str]:
    """Let real system calls fail, SQLite's own among them."""
    return ["tests.faults.injected", "--every", str(max(1, 50_000 // max(1, effort.kills)))]


def power_cuts(effort: Effort) -> Sequence[str]:
    """Cut the power on each file system, once for every fifty kills."""
    return ["tests.faults.power_cut", "--cuts", str(max(8, effort.kills // 50)), "--seed", str(effort.seed)]


SOAKS: Final[dict[str, Callable[[Effort], Sequence[str]]]] = {
    "kill-loop": kill_loop,
    "beside": beside,
    "failing-calls": failing_calls,
    "injected-errors": injected_errors,
    "power-cuts": power_cuts,
}
"""By name: the module to run, and its arguments. Exit 0 is a pass."""


def run(names: Sequence[str], effort: Effort) -> int:
    """Run soaks one after the other, their output on this terminal; the worst exit code of them."""
    unknown = [name for name in names if name not in SOAKS]
    if unknown:
        print(f"unknown: {', '.join(unknown)} (there are: {', '.join(SOAKS)})", file=sys.stderr)
        return _UNKNOWN
    return max(_one(name, SOAKS[name](effort)) for name in names)


def _one(name: str, words: Sequence[str]) -> int:
    module = words[0]
    if not _is_there(module):
        print(f"{name}: not run, since {module} is not here", file=sys.stderr)
        return _UNKNOWN
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *words], check=False)
    verdict = "passed" if done.returncode == 0 else f"FAILED with {done.returncode}"
    print(f"{name}: {verdict} after {time.perf_counter() - start:.0f} s: {' '.join(words)}")
    return abs(done.returncode)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # One of the packages around it is not here either.
        return False
