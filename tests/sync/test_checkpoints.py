"""A log of many slots is followed with few questions, and as well where what makes them few is lost or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore.sync import remotes
from artstore.sync.depots import checkpoints, join
from artstore.sync.depots.collect import collect_remote
from artstore.sync.objects.families import open_objects
from tests.sync.conftest import Machine
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

SLOTS = 39
"""Two checkpoints of 16 slots, one of 4, and three slots that are in none."""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """The way of all machines to the depot; checkpoints are small, so that few slots have several."""
    monkeypatch.setattr(checkpoints, "BLOCK", 4)
    monkeypatch.setattr(checkpoints, "FACTOR", 4)
    found = Network()
    with monkeypatch.context() as patch:
        patch.setattr(remotes, "open_objects", lambda url: found.between(open_objects(url)))
        yield found


@pytest.fixture
def full(machine: Make, network: Network, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that has claimed all slots."""
    del network
    # They stay as many as they are, whoever collects.
    monkeypatch.setattr(join, "MANY", 1_000)
    made = machine("full")
    for number in range(SLOTS):
        made.put({"x": b"%d" % number})
        made.push()
    return made


def cold(make: Make, network: Network, full: Machine) -> int:
    """Follow the log from its beginning; answers how many questions that took."""
    b = make("cold")
    network.calls = 0
    b.pull()
    calls = network.calls
    assert b.names() == full.names()
    assert b.state_hash() == full.state_hash()
    assert {"x": b"7"} == b.read("cats:v7")
    assert b.store.verify().ok
    return calls


def test_a_cold_pull_takes_few_questions(machine: Make, network: Network, full: Machine, depot: Path) -> None:
    names = sorted(path.name.partition(".")[0] for path in (depot / "checkpoints").rglob("*.*"))
    calls = cold(machine, network, full)

    assert "000000000001-000000000016" in names
    # Six slots with their lists, three checkpoints with their last slots, and what is asked once.
    assert calls < 30
    collect_remote(full.store, "hub")
    left = sorted(path.name.partition(".")[0] for path in (depot / "checkpoints").rglob("*.*"))
    assert ["000000000001-000000000016", "000000000017-000000000032", "000000000033-000000000036"] == left


def test_what_is_damaged_or_lost_is_read_from_the_slots(
    machine: Make, network: Network, full: Machine, depot: Path
) -> None:
    for number, path in enumerate(sorted((depot / "checkpoints").rglob("*.*"))):
        path.chmod(0o644)
        if number % 2:
            path.unlink()
        else:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2] if number % 4 else bytes(len(data)))

    assert cold(machine, network, full) > 2 * SLOTS


def test_a_checkpoint_of_another_log_is_not_believed(
    machine: Make, network: Network, full: Machine, tmp_path: Path, depot: Path
) -> None:
    """As after the log was set back, and others have claimed the same numbers."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = Machine(tmp_path, other, "stranger")
    for number in range(16):
        stranger.put({"x": b"other %d" % number})
        stranger.push()
    for path in (depot / "checkpoints").rglob("*.*"):
        path.unlink()
    for path in (other / "checkpoints").rglob("*.*"):
        (depot / "checkpoints" / "uncategorized" / path.name).write_bytes(path.read_bytes())

    assert cold(machine, network, full) > 2 * SLOTS


def test_a_checkpoint_that_cannot_be_written_stops_no_push(machine: Make, network: Network, depot: Path) -> None:
    a = machine("a")
    (depot / "checkpoints").write_bytes(b"in the way")
    for number in range(5):
        a.put({"x": b"%d" % number})
        a.push()
    (depot / "checkpoints").unlink()
    b = machine("b")
    b.pull()

    assert network.calls
    assert a.names() == b.names()


def test_a_slot_that_is_damaged_stops_no_push(machine: Make, network: Network, depot: Path) -> None:
    """A push that was in the log already ended in an error that nobody could read."""
    a = machine("a")
    for number in range(3):
        a.put({"x": b"%d" % number})
        a.push()
    slot = depot / "log" / "uncategorized" / "000000000002"
    slot.chmod(0o644)
    slot.write_bytes(b"{")
    a.put({"x": b"3"})

    assert network.calls
    assert 1 == a.push().projects[0].pushed.versions
    assert not any((depot / "checkpoints").rglob("*-*"))


@pytest.mark.parametrize("damaged", [bytes(9), None], ids=["all", "a byte"])
def test_a_list_of_files_that_was_damaged_when_it_was_carried_along_is_read_by_itself(
    machine: Make, network: Network, depot: Path, damaged: bytes | None
) -> None:
    """Whoever is new could not follow the log, long after a recovery had put the list of files there again."""
    a, b = machine("a"), machine("b")
    for number in range(7):
        a.put({"x": b"%d" % number})
        a.push()
    whole = {path: path.read_bytes() for path in (depot / "manifests" / "uncategorized").iterdir()}
    for path, data in whole.items():
        path.chmod(0o644)
        path.write_bytes(damaged or data[:-1] + bytes([data[-1] ^ 1]))
    a.put({"x": b"7"})
    a.push()
    for path, data in whole.items():
        path.write_bytes(data)
    b.pull()

    assert network.calls
    assert any((depot / "checkpoints").rglob("*-000000000008.*"))
    assert a.names() == b.names()
    assert b.store.verify().ok
