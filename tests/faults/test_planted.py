"""The plants themselves: one that does not fit, or that nobody reaches, is never taken for caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.storage import files, sessions
from tests.faults.planted import PLANTED, Plant
from tests.faults.processes import ask, fork, wait_for

VIOLATION = "uncategorized/own:v0 was acknowledged, and is gone"


def gone(plant: Plant) -> None:
    """For a function that was renamed."""
    plant.replace(files, "sync_it_all", print)


def older(plant: Plant) -> None:
    """For a function that took no keyword."""

    def none(root: Path) -> list[int]:
        del root
        return []

    plant.replace(sessions, "live_sessions", none)


def other(plant: Plant) -> None:
    """For a function that answered something else."""

    def pretend(fd: int) -> int:
        return fd

    plant.replace(sessions, "try_lock", pretend)


def clumsy(plant: Plant) -> None:
    """For a function whose argument was something else."""

    def nothing(fd: int) -> None:
        fd.fileno()  # type: ignore[attr-defined]

    plant.replace(files, "sync_file", nothing)


def apt(plant: Plant) -> None:
    """As it should be."""

    def nothing(fd: int) -> None:
        del fd

    plant.replace(files, "sync_file", nothing)


def after(plant: Plant, work: Callable[[], None]) -> int:
    """Plant it and do some work in a process of its own; answers how many processes failed."""

    def planted() -> None:
        plant()
        work()

    return len(wait_for({fork(planted): float("inf")}))


def sync() -> None:
    """Come by."""
    files.sync_file(0)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_every_plant_fits(tmp_path: Path, name: str) -> None:
    """What it stands for exists, and looks as it did when the plant was made."""
    _nothing, wrong = ask(Plant.named(name), tmp_path / "answer", 60.0)

    assert [] == wrong


@pytest.mark.parametrize("outdated", [gone, older, other])
def test_a_plant_for_code_of_yesterday_is_refused(outdated: Callable[[Plant], None]) -> None:
    """It raised TypeError where it was called, and any process that fails was a bug caught."""
    with pytest.raises(AssertionError, match=r"has no sync_it_all|and the stand-in is"):
        Plant(outdated)()


def test_a_plant_that_nobody_reaches_is_not_caught() -> None:
    plant = Plant(apt)
    after(plant, lambda: None)

    assert ["no stand-in was ever called"] == plant.doubts([VIOLATION])


def test_a_plant_that_falls_over_is_not_caught() -> None:
    plant = Plant(clumsy)
    failed = after(plant, sync)

    assert (1, 1) == (failed, len(plant.doubts([VIOLATION])))


def test_a_process_that_falls_over_is_no_violation() -> None:
    plant = Plant(apt)
    after(plant, sync)

    assert 1 == len(plant.doubts([]))
    assert 1 == len(plant.doubts(["[seed 1, store 1] a process failed with 1: see what it printed"]))
    assert 1 == len(plant.doubts(["it raised TypeError: fileno, at files.py:99"]))


def test_a_plant_that_was_reached_and_found_is_caught() -> None:
    plant = Plant(apt)
    failed = after(plant, sync)

    assert (0, []) == (failed, plant.doubts([VIOLATION, "a process failed with 1: see what it printed"]))


def test_every_plant_is_caught_by_a_harness() -> None:
    """A plant that no test uses would be a bug that nobody looks for."""
    tests = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name
    )

    assert [] == [name for name in PLANTED if f'"{name}"' not in tests]
