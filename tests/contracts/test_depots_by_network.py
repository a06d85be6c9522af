"""Depots, when the network breaks: what stores push and pull arrives in the end, once, whatever byte it was cut at."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from artstore.sync.rounds import Verb
from tests.sync.network import rounds
from tests.sync.network.fleet import Fleet
from tests.sync.objects.patience import impatient
from tests.sync.objects.places import Network


@pytest.mark.slow
def test_rounds_over_a_bad_network_bring_everything_once(network: Network, tmp_path: Path) -> None:
    """X1: a cut at any byte of what is sent or answered, silence, and what comes slowly."""
    with contextlib.closing(Fleet(tmp_path, network.far.url, network.near.url, 7)) as fleet:
        with impatient():
            rounds.run(fleet, network.wire, random.Random(7), 4)
        fleet.settle()


_ENOUGH_S = 20
"""With a patience of a second. A minute of patience then makes some minutes at most."""
_SILENT: list[tuple[Verb, str, int]] = [
    ("push", "up", 0),
    ("push", "up", 700_000),
    ("push", "down", 1_500),
    ("pull", "down", 700_000),
]
"""What is moved, and after how many bytes either way nothing goes through any more."""


@pytest.mark.slow
def test_where_all_falls_silent_it_ends_and_goes_on_later(network: Network, tmp_path: Path) -> None:
    """X1: a machine that has lost its power keeps its connections, as far as others can see."""
    with contextlib.closing(Fleet(tmp_path, network.far.url, network.near.url, 7)) as fleet:
        one, other = fleet.machines
        for verb, way, size in _SILENT:
            if verb == "push":
                fleet.make(one)
            network.wire.stall_after(size, way=way)
            machine, blobs = (one, False) if verb == "push" else (other, True)
            with impatient():
                has_moved = _within(_ENOUGH_S, partial(fleet.move, machine, verb, blobs=blobs))
            network.wire.heal()
            network.wire.go_on()

            assert has_moved is False
            if verb == "push":
                assert fleet.move(one, "push")
        fleet.settle()


def _within(seconds: float, act: Callable[[], bool]) -> bool | None:
    """What it answers; None where that takes longer."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(act()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None
