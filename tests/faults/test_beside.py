"""Writers, readers, `gc` with no grace and `rebuild`, all on one store at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import beside
from tests.faults.beside import Crowd
from tests.faults.planted import PLANTED

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]


def test_gc_beside_running_commits_takes_nothing_that_they_need(tmp_path: Path) -> None:
    """What three writers have acknowledged is whole in the end, and no reader met an error meanwhile."""
    report = beside.run(18, 1, tmp_path, Crowd(rebuilders=0))

    assert [] == report.wrong
    assert 30 < report.turns


def test_a_rebuild_beside_running_commits_mixes_nothing_up(tmp_path: Path) -> None:
    """What a session knows of the old catalog, row numbers above all, would mean something else in the new one."""
    report = beside.run(10, 2, tmp_path, Crowd())

    assert [] == report.wrong
    assert 10 < report.turns


@pytest.mark.parametrize(
    "name", ["gc_without_sessions", "session_in_name_only", "deferred_begin", "covered_by_two_listings"]
)
def test_planted_bugs_are_caught(tmp_path: Path, name: str) -> None:
    """What cannot fail says nothing."""
    found = [
        wrong for seed in range(4) if (wrong := beside.run(4, seed, tmp_path / f"{seed}", plant=PLANTED[name]).wrong)
    ]

    assert found
