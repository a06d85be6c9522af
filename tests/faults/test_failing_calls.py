"""Each call of a verb fails once: the error can be acted on, and nothing that was acknowledged is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults import failing_calls, injected
from tests.faults.equipment import require
from tests.faults.failing_calls import SCENARIOS, SHORT
from tests.faults.planted import Plant

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_failing_call_loses_nothing(tmp_path: Path, scenario: str) -> None:
    """Every call that changes the disk fails, and one of each kind of the others, with one of the errors by turns.

    `python -m benchmarks soak` has each of them with each.
    """
    outcomes = failing_calls.run([scenario], ["EIO", "ENOSPC", SHORT], tmp_path, by_turns=True)

    assert [] == [outcome for outcome in outcomes if outcome.wrong]
    assert 10 < len(outcomes)


@pytest.mark.parametrize(("plant", "scenario"), [("eaten_sync_errors", "alias"), ("raw_errors", "put small")])
def test_planted_bugs_are_caught(tmp_path: Path, plant: str, scenario: str) -> None:
    planted = Plant.named(plant)
    outcomes = failing_calls.run([scenario], ["EIO"], tmp_path, by_turns=True, plant=planted)

    assert [] == planted.doubts([wrong for outcome in outcomes for wrong in outcome.wrong])


def test_a_failing_system_call_of_the_command_loses_nothing(tmp_path: Path) -> None:
    """As above for real: strace lets the calls of the whole process fail, those of SQLite among them."""
    require("strace")

    outcomes = injected.run(tmp_path, every=12)

    sys.stdout.write(f"{len(outcomes)} injected errors\n")
    assert [] == [outcome for outcome in outcomes if outcome.wrong]
    assert 100 < len(outcomes)


def test_an_interrupted_system_call_is_made_again(tmp_path: Path) -> None:
    """P6. A profiler's timer, or a child that ends, must not be what a put fails of."""
    require("strace")

    outcomes = injected.interrupt(tmp_path)

    assert [] == [outcome for outcome in outcomes if outcome.wrong]
    assert len(injected.VERBS) == len(outcomes)


def test_a_planted_bug_is_caught_by_failing_system_calls(tmp_path: Path) -> None:
    require("strace")

    planted = Plant.named("raw_errors")
    outcomes = injected.run(tmp_path, every=12, plant=planted)

    assert [] == planted.doubts([wrong for outcome in outcomes for wrong in outcome.wrong])
