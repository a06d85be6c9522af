"""Worlds of machines in which everything goes wrong that can; `tests.sync.simulation.run` looks for longer."""

from __future__ import annotations

import pytest

from tests.sync.simulation.run import live


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_all_are_of_one_mind_in_the_end_and_nothing_is_lost(seed: int) -> None:
    """I3, I10, I11, I13: lost answers, deaths, rebuilds and collections, beside a fold that shares no code."""
    world = live(seed, steps=120)

    assert world.network.calls > 100
    assert world.acknowledged
