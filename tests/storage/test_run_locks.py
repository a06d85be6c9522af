"""Run locks: a run lives as long as one of its processes, whatever clocks and states say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.storage.run_locks import FOLDER, Dead, RunLock, clear, start_of, starts
from tests.conftest import Children

BEGUN = "blake3:" + "ab" * 32
OTHER = "blake3:" + "cd" * 32

HOLD = """
import sys
from pathlib import Path
from artstore.storage.run_locks import RunLock
lock = RunLock(Path(sys.argv[1]), sys.argv[2])
print("held")
sys.stdin.readline()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir()
    return tmp_path


@pytest.fixture
def dead(place: Path) -> Iterator[Dead]:
    looked_at = Dead(place, BEGUN)
    yield looked_at
    looked_at.close(forget=False)


def files(place: Path) -> list[Path]:
    return sorted((place / FOLDER).iterdir())


def leave(place: Path, begun: str = BEGUN) -> Path:
    """What a killed process leaves: its file, and no lock."""
    path = place / FOLDER / f"{start_of(begun)}-0123"
    path.write_bytes(b" {}")
    return path


def test_a_run_without_a_file_is_not_dead(dead: Dead) -> None:
    """It may live on another machine: nobody here can tell."""
    assert not dead.is_certain()


def test_a_held_run_is_not_dead_and_leaves_nothing(place: Path, dead: Dead) -> None:
    with RunLock(place, BEGUN):
        assert {start_of(BEGUN)} == starts(place)
        assert not dead.is_certain()

    assert [] == files(place)


def test_a_killed_process_does_not_hold_its_run(place: Path, dead: Dead, children: Children) -> None:
    child = children.start(HOLD, place, BEGUN)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert not dead.is_certain()
    child.kill()
    child.wait()

    assert dead.is_certain()
    dead.close(forget=True)
    assert [] == files(place)


def test_one_living_process_of_several_is_enough(place: Path, dead: Dead) -> None:
    leave(place)
    with RunLock(place, BEGUN):
        assert not dead.is_certain()
    assert dead.is_certain()


def test_another_run_does_not_count(place: Path, dead: Dead) -> None:
    leave(place)
    with RunLock(place, OTHER):
        assert dead.is_certain()


def test_a_file_without_words_says_nothing(place: Path, dead: Dead) -> None:
    """Its maker has not got to the lock yet: to call the run dead now would be wrong a moment later."""
    leave(place).write_bytes(b"")

    assert not dead.is_certain()


def test_who_comes_while_a_run_is_judged_is_seen(place: Path, dead: Dead) -> None:
    """The question is asked again under the store's write lock, and must not be answered from memory."""
    leave(place)
    assert dead.is_certain()
    with RunLock(place, BEGUN):
        assert not dead.is_certain()


def test_a_fork_releases_nothing(place: Path, dead: Dead) -> None:
    """A data loader that ends must not take the run's hold with it."""
    lock = RunLock(place, BEGUN)
    pid = os.fork()
    if pid == 0:
        lock.release()
        os._exit(0)
    os.waitpid(pid, 0)
    assert 1 == len(files(place))
    assert not dead.is_certain()
    lock.release()


def test_a_hold_may_be_released_twice(place: Path) -> None:
    lock = RunLock(place, BEGUN)
    lock.release()
    lock.release()

    assert [] == files(place)


def test_files_of_runs_that_ended_are_cleared(place: Path) -> None:
    """Else one would be left for each run that was killed, or that somebody else ended."""
    kept = leave(place)
    leave(place, OTHER).write_bytes(b"")
    with RunLock(place, OTHER) as lock:
        clear(place, {start_of(BEGUN)})

        assert sorted([kept, lock._path]) == files(place)
