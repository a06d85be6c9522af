"""Killed at any instant, artstore loses nothing that it acknowledged, and leaves nothing that it cannot clear away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import kill_loop
from tests.faults.planted import Plant

KILLS = 1_000
SEED = 20_261
MINUTES = 8


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_no_acknowledged_version_is_lost_to_kills() -> None:
    """I2, I3, I4, P1. Each window is hit twenty times at least; after every kill the store is as the ledger says."""
    words = [sys.executable, "-m", "tests.faults.kill_loop", "--kills", str(KILLS), "--seed", str(SEED)]
    done = subprocess.run(
        words,
        cwd=Path(__file__).parents[2],
        timeout=MINUTES * 60,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout[-4000:])

    assert 0 == done.returncode, done.stdout[-4000:]


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("plant", ["ack_before_link", "no_roll_forward", "unlink_before_segment", "hashed_for_ever"])
def test_planted_bugs_are_caught(tmp_path: Path, plant: str) -> None:
    """What cannot fail says nothing."""
    planted = Plant.named(plant)
    report = kill_loop.run(KILLS, 5, tmp_path, plant=planted)

    assert [] == planted.doubts(report.wrong)
