"""Depots, when the network breaks: what stores push and pull arrives in the end, once, whatever byte it was cut at."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from tests.sync.network.fleet import Fleet
from tests.sync.objects.places import Network


@pytest.mark.slow
def test_rounds_over_a_bad_network_bring_everything_once(network: Network, tmp_path: Path) -> None:
    chance = random.Random(7)
    with contextlib.closing(Fleet(tmp_path, network.far.url, network.near.url, 7)) as fleet:
        for number in range(3):
            machine = fleet.machines[number % 2]
            fleet.make(machine)
            for way in ("up", "down"):
                network.wire.cut_after(int(2 ** chance.uniform(4, 21)), way=way)
            fleet.move(machine, "sync" if number else "push", blobs=True)
            network.wire.heal()
        fleet.settle()
