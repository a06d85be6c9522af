"""Worlds of machines in which everything goes wrong that can; `tests.sync.simulation.run` looks for longer."""

from __future__ import annotations

import pytest

from artstore.errors import ArtstoreError
from tests.sync.simulation.planted import PLANTED, Plant
from tests.sync.simulation.run import live


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_all_are_of_one_mind_in_the_end_and_nothing_is_lost(seed: int) -> None:
    """I3, I10, I11, I13: lost answers, deaths, rebuilds and collections, beside a fold that shares no code."""
    world = live(seed, steps=120)

    assert world.network.calls > 100
    assert world.acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_does_not_live_long(plant: Plant) -> None:
    """A simulation that finds nothing says something only if it would have found it."""

    def live_with_it(seed: int) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            try:
                live(seed, steps=120)
            except (AssertionError, ArtstoreError):
                return False
        return True

    assert not all(map(live_with_it, range(100, 112)))
