"""Writers, readers, `gc` with no grace and `rebuild`, all on one store at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults import beside
from tests.faults.beside import Crowd
from tests.faults.planted import Plant

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]

LIMIT = 20_000
"""Turns within which a planted bug has to show; none has taken a tenth of it."""


def test_gc_beside_running_commits_takes_nothing_that_they_need(tmp_path: Path) -> None:
    """What three writers have acknowledged is whole in the end, and no reader met an error meanwhile."""
    report = beside.run(1_920, 1, tmp_path, Crowd(rebuilders=0))

    sys.stdout.write(report.text())
    assert [] == report.wrong
    assert 400 < report.versions


def test_a_rebuild_beside_running_commits_mixes_nothing_up(tmp_path: Path) -> None:
    """What a session knows of the old catalog, row numbers above all, would mean something else in the new one."""
    report = beside.run(960, 2, tmp_path, Crowd())

    sys.stdout.write(report.text())
    assert [] == report.wrong
    assert 200 < report.versions


@pytest.mark.parametrize(
    "name", ["gc_without_sessions", "session_in_name_only", "deferred_begin", "covered_by_two_listings"]
)
def test_planted_bugs_are_caught(tmp_path: Path, name: str) -> None:
    """What cannot fail says nothing."""
    planted = Plant.named(name)
    report = beside.run(LIMIT, 1, tmp_path, Crowd(rebuilders=0), plant=planted)

    assert [] == planted.doubts(report.wrong)
