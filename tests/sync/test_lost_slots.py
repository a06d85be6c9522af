"""A slot in the middle of a depot's log is lost or damaged: nobody takes the log to end there, and it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore.errors import Conflict
from artstore.sync import checkpoints, push, remotes
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from artstore.sync.recover import recover
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

SLOTS = 5


def slot(depot: Path, number: int) -> Path:
    """Where a slot lies."""
    return depot / "log" / "uncategorized" / f"{number:012d}"


def spoil(path: Path, data: bytes) -> None:
    """Let a file be these bytes."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.fixture
def owner(machine: Make) -> Machine:
    """A machine that has claimed all slots."""
    made = machine("owner")
    for number in range(SLOTS):
        made.put({"x": b"%d" % number})
        made.push()
    return made


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_slot_is_not_claimed_anew_and_is_put_back(machine: Make, owner: Machine, depot: Path, lost: int) -> None:
    """A new store took the log to end before it, and its acknowledged push was one that nobody ever saw."""
    before = slot(depot, lost).read_bytes()
    slot(depot, lost).unlink()
    new = machine("new")
    new.put({"x": b"new"})
    codes = [exchange(new.store, verb).projects[0].code for verb in ("pull", "push", "sync")]
    (error,) = [each.error for each in exchange(new.store, "push", dry_run=True).projects]
    was_claimed = slot(depot, lost).exists()
    (report,) = recover(owner.store).projects
    after = slot(depot, lost).read_bytes()
    new.move("sync")
    owner.pull()

    assert ["slot-lost"] * 3 == codes
    assert f"slot {lost} of project 'uncategorized' at {depot.as_uri()} is lost" in str(error)
    assert "artstore remote recover" in str(error)
    assert not was_claimed
    assert (None, 1, before) == (report.error, report.pushed.versions, after)
    assert SLOTS + 1 == len(owner.names())
    assert owner.names() == new.names()
    assert owner.state_hash() == new.state_hash()
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(owner.store)


def test_a_slot_lost_behind_the_last_one_that_was_followed_is_not_claimed(machine: Make, depot: Path) -> None:
    """Who has nothing to read before the claim has to look as well; others wait for nothing meanwhile."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    for number in (1, 2, 3):
        a.put({"x": b"%d" % number})
        a.push()
    kept = slot(depot, 2).read_bytes()
    slot(depot, 2).unlink()
    b.put({"x": b"b"})
    (report,) = exchange(b.store, "push").projects
    nobody = slot(depot, 2).exists()
    recover(a.store)
    b.push()

    assert ("slot-lost", False) == (report.code, nobody)
    assert kept == slot(depot, 2).read_bytes()
    assert ["v4", "v3", "v2", "v1", "v0"] == [name.rpartition(":")[2] for name, *_ in b.names()]


@pytest.mark.parametrize("lost", [[1, 2, 3, 4, 5], [4, 5], [3, 4, 5]])
def test_what_a_checkpoint_has_is_not_claimed_anew(
    machine: Make, depot: Path, monkeypatch: pytest.MonkeyPatch, lost: list[int]
) -> None:
    """A folder `log` that was not restored with the rest made the next one who came begin another log."""
    monkeypatch.setattr(checkpoints, "BLOCK", 4)
    owner = machine("owner")
    for number in range(SLOTS):
        owner.put({"x": b"%d" % number})
        owner.push()
    before = {number: slot(depot, number).read_bytes() for number in range(1, SLOTS)}
    for number in lost:
        slot(depot, number).unlink()
    new = machine("new")
    new.put({"x": b"new"})
    # A pull of all projects does not hear of one of which no slot is there.
    codes = [exchange(new.store, verb).projects[0].code for verb in ("push", "sync")]
    was_claimed = any(slot(depot, number).exists() for number in lost)
    recover(owner.store)
    after = {number: slot(depot, number).read_bytes() for number in range(1, SLOTS)}
    new.move("sync")
    owner.pull()

    assert (["slot-lost"] * 2, False) == (codes, was_claimed)
    assert before == after
    assert SLOTS + 1 == len(owner.names())
    assert owner.names() == new.names()
    assert owner.state_hash() == new.state_hash()


@pytest.mark.parametrize("damaged", [[3], [1, 2], [SLOTS], [4, SLOTS]])
def test_damaged_slots_are_put_back_byte_for_byte(
    machine: Make, owner: Machine, depot: Path, damaged: list[int]
) -> None:
    """New stores could not follow for ever, and nobody had a command that mends it."""
    before = [path.read_bytes() for path in sorted(slot(depot, 1).parent.iterdir())]
    for number in damaged:
        spoil(slot(depot, number), before[number - 1][: 40 * (number % 2)])
    new = machine("new")
    (report,) = exchange(new.store, "pull").projects
    (mended,) = recover(owner.store).projects
    new.pull()

    assert "remote-corrupt" == report.code
    assert "artstore remote recover" in str(report.error)
    assert (None, len(damaged)) == (mended.error, mended.pushed.versions)
    assert before == [path.read_bytes() for path in sorted(slot(depot, 1).parent.iterdir())]
    assert owner.names() == new.names()


def test_what_one_store_lacks_of_lost_slots_others_put_back(machine: Make, depot: Path) -> None:
    """Each puts back what it has followed, and nobody offers again what is there."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    for number in (1, 2, 3):
        a.put({"x": b"%d" % number})
        a.push()
    before = [path.read_bytes() for path in sorted(slot(depot, 1).parent.iterdir())]
    slot(depot, 1).unlink()
    slot(depot, 2).unlink()
    reports = [recover(each.store).projects[0] for each in (b, a)]
    b.pull()

    assert [1, 1] == [report.pushed.slots for report in reports]
    assert before == [path.read_bytes() for path in sorted(slot(depot, 1).parent.iterdir())]
    assert a.names() == b.names()


def test_a_slot_that_was_claimed_anew_is_nobodys_to_take_away(machine: Make, owner: Machine, depot: Path) -> None:
    """As where slots were brought back from a copy behind one that others had claimed meanwhile."""
    kept = {number: slot(depot, number).read_bytes() for number in range(3, SLOTS + 1)}
    for number in kept:
        slot(depot, number).unlink()
    new = machine("new")
    new.pull()
    new.put({"x": b"new"})
    new.push()
    for number in (4, 5):
        spoil(slot(depot, number), kept[number])
    theirs = slot(depot, 3).read_bytes()
    (report,) = recover(owner.store).projects

    assert ("forked", 4) == (report.code, report.exit_code)
    assert f"claimed anew by store {new.store.id}" in str(report.error)
    assert theirs == slot(depot, 3).read_bytes()
    slot(depot, 3).unlink()
    recover(owner.store)
    recover(new.store)
    owner.pull()
    assert kept[3] == slot(depot, 3).read_bytes()
    assert SLOTS + 1 == len(owner.names())
    assert owner.names() == new.names()


def test_others_that_went_on_after_it_was_set_back_are_no_fork(machine: Make, owner: Machine, depot: Path) -> None:
    for number in (4, 5):
        slot(depot, number).unlink()
    new = machine("new")
    new.pull()
    for number in range(4):
        new.put({"x": b"new %d" % number})
        new.push()
    (report,) = recover(owner.store).projects
    new.pull()

    assert (None, 2) == (report.error, report.pushed.versions)
    assert owner.names() == new.names()


def test_one_listing_a_push_and_none_to_find_that_nothing_is_new(
    machine: Make, owner: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are listed one by one over some networks, so those who only look whether there is anything must not."""
    network = Network()
    listed: list[str] = []

    def opened(url: str) -> Objects:
        objects = network.between(open_objects(url))
        names = objects.names

        def noting(prefix: str, after: str = "") -> Iterator[str]:
            listed.append(prefix)
            return names(prefix, after)

        monkeypatch.setattr(objects, "names", noting)
        return objects

    monkeypatch.setattr(remotes, "open_objects", opened)
    quiet = []
    for verb in ("sync", "pull", "push"):
        network.calls = 0
        exchange(owner.store, verb, projects=["uncategorized"])
        quiet.append(network.calls)
    assert ([2, 2, 1], []) == (quiet, listed)
    monkeypatch.setattr(push, "_SLOT_BYTES", 1)
    for number in range(3):
        owner.put({"x": b"more %d" % number})
    (pushed,) = owner.push().projects
    assert (3, ["log/uncategorized/"]) == (pushed.pushed.slots, [each for each in listed if each.startswith("log/")])
    listed.clear()
    machine("new").pull()
    assert 1 == listed.count("log/uncategorized/")
