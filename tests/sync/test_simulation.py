"""Worlds of machines in which everything goes wrong that can; `tests.sync.simulation.run` looks for longer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from artstore.errors import ArtstoreError
from tests.sync.simulation.planted import PLANTED, Plant
from tests.sync.simulation.run import live

_WORLDS = 40
"""Worlds in which a planted bug has to be found."""


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1_000])
def test_all_are_of_one_mind_in_the_end_and_nothing_is_lost(first: int) -> None:
    """I3, I10, I11, I13: 50,000 steps of lost answers, deaths and skewed clocks, beside a fold that shares no code."""
    words = ["-m", "tests.sync.simulation.run", "--first", str(first), "--steps", "50000"]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert done.stdout.endswith(", 0 violations\n")


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_does_not_live_long(plant: Plant) -> None:
    """A simulation that finds nothing says something only if it would have found it."""

    def live_with_it(seed: int) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            try:
                live(seed, deeds=60)
            except (AssertionError, ArtstoreError):
                return False
        return True

    assert not all(map(live_with_it, range(100, 100 + _WORLDS)))
