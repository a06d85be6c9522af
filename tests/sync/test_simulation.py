"""Worlds of machines in which everything goes wrong that can; `tests.sync.simulation.run` looks for longer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PATIENCE_S = 900
"""Some ten times as long as it takes: how much else a machine has to do says nothing about a world."""


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1_000])
def test_all_are_of_one_mind_in_the_end_and_nothing_is_lost(first: int) -> None:
    """I3, I10, I11, I13: 50,000 steps of lost answers, deaths and skewed clocks, beside a fold that shares no code."""
    said = _run("tests.sync.simulation.run", "--first", str(first), "--steps", "50000")

    assert said.endswith(", 0 violations\n")


@pytest.mark.slow
def test_no_planted_bug_lives_long() -> None:
    """A simulation that finds nothing says something only if it would have found it."""
    print(_run("tests.sync.simulation.planted"))  # noqa: T201 - how many steps each has taken


def _run(module: str, *words: str) -> str:
    # Sets are walked in an order that hashes decide, and a seed stands for one world.
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    return done.stdout
