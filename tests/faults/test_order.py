"""In which order a verb syncs and names: what some file system could lose is an error here, on whatever this one is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from artstore.lifecycle import collect
from tests.faults.failing_calls import LIMIT_S, SCENARIOS, Place, prepare
from tests.faults.ledger import Ledger
from tests.faults.order import broken, noted
from tests.faults.planted import Plant
from tests.faults.processes import fork, wait_for

pytestmark = pytest.mark.usefixtures("unmeasured")


def broken_rules(scenario: str, folder: Path, plant: Plant | None = None) -> list[str]:
    """What a verb breaks, in a process of its own."""
    place = Place(prepare(scenario, folder), Ledger(folder / "ledger"))
    answer = folder / "answer"

    def work() -> None:
        collect.MANY_SMALL_PACKS = 3  # type: ignore[misc]
        if plant is not None:
            plant()
        calls = noted(place.store, lambda: SCENARIOS[scenario].act(place))
        answer.write_text("\n".join([f"{len(calls)} calls", *broken(calls)]))

    assert not wait_for({fork(work): time.monotonic() + LIMIT_S}, must_end=True)
    count, *wrong = answer.read_text().splitlines()
    assert int(count.split()[0]) > 10
    return wrong


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_bytes_come_before_names_and_names_before_what_relies_on_them(tmp_path: Path, scenario: str) -> None:
    assert [] == broken_rules(scenario, tmp_path)


@pytest.mark.parametrize(
    ("plant", "scenario"),
    [
        ("no_folder_sync", "put small"),
        ("no_folder_sync", "put large"),
        ("no_folder_sync", "gc"),
        ("no_file_sync", "put small"),
        ("no_pack_sync", "put large"),
        ("publish_before_sync", "alias"),
        ("deferred_begin", "alias"),
    ],
)
def test_planted_bugs_are_caught(tmp_path: Path, plant: str, scenario: str) -> None:
    """Each at once, whatever the file system here forgives."""
    planted = Plant.named(plant)

    assert [] == planted.doubts(broken_rules(scenario, tmp_path, planted))
