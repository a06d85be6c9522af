"""The power is cut at any instant: what was acknowledged is there when it comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults import power_cut
from tests.faults.equipment import require
from tests.faults.planted import Plant

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]

CUTS = {"ext4": 24, "xfs": 16, "btrfs": 24}
SEED = 2
LIMIT = 400
"""Cuts within which a planted bug has to show; none has taken more than a tenth of it, and most take a few."""


@pytest.mark.parametrize("system", sorted(CUTS))
def test_no_acknowledged_version_is_lost_to_power_cuts(tmp_path: Path, system: str) -> None:
    """I3, P2. What was synced is all that a cut leaves, and every version that was acknowledged is whole in it."""
    require(system)

    report = power_cut.run(CUTS[system], 1, [system], tmp_path)

    sys.stdout.write(report.text())
    assert [] == report.wrong
    assert CUTS[system] == report.cuts.total()
    assert 20 < report.versions


@pytest.mark.parametrize(
    ("plant", "system"),
    [
        ("no_file_sync", "ext4"),
        ("no_pack_sync", "ext4"),
        ("no_pack_sync", "btrfs"),
        ("no_folder_sync", "btrfs"),
        ("publish_before_sync", "xfs"),
        ("op_before_blobs", "btrfs"),
        ("op_before_blobs", "xfs"),
        ("ack_before_link", "ext4"),
    ],
)
def test_planted_bugs_are_caught(tmp_path: Path, plant: str, system: str) -> None:
    """A folder that is not synced shows on btrfs alone: the journals of the others keep the order of names."""
    require(system)

    planted = Plant.named(plant)
    report = power_cut.run(LIMIT, SEED, [system], tmp_path, plant=planted)

    assert [] == planted.doubts(report.wrong)
