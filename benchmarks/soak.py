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


SOAKS: Final[dict[str, Callable[[Effort], Sequence[str]]]] = {"kill-loop": kill_loop}
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
