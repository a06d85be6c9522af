"""Where small blobs lie is found out with few questions, and also where what says so is lost or wrong."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError, Denied
from artstore.model.digest import Digest
from artstore.storage.packs import Member
from artstore.sync import remotes
from artstore.sync.depots import indexes, join
from artstore.sync.depots.collect import collect_remote
from artstore.sync.depots.index import encode_index
from artstore.sync.depots.indexes import Indexes
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.under import ObjectsUnder
from artstore.sync.reports import CollectedProject
from artstore.sync.rounds import exchange
from tests.sync.conftest import PROJECT, Machine
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

PACKS = 39
"""Two segments of 16 packs, one of 4, and three packs that are in none."""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """The way of all machines to the depot; segments are small, so that few packs have several."""
    monkeypatch.setattr(indexes, "BLOCK", 4)
    monkeypatch.setattr(indexes, "FACTOR", 4)
    monkeypatch.setattr(indexes, "_FEW", 2)
    found = Network()
    with monkeypatch.context() as patch:
        patch.setattr(remotes, "open_objects", lambda url: found.between(open_objects(url)))
        yield found


@pytest.fixture
def full(machine: Make, network: Network, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that has put all packs there."""
    del network
    # They stay as many as they are, whoever collects.
    monkeypatch.setattr(join, "MANY", 1_000)
    made = machine("full")
    for number in range(PACKS):
        made.put({"x": b"%d" % number})
        made.push()
    return made


def segments(depot: Path) -> list[str]:
    """How many packs each has, sorted."""
    return sorted(path.name.partition(".")[0] for path in (depot / "indexes").rglob("*.*"))


def cold(make: Make, network: Network, full: Machine, name: str = "cold") -> int:
    """Read one version in a store that has only followed the log; answers how many questions that took."""
    b = make(name)
    b.pull()
    network.calls = 0
    assert {"x": b"7"} == b.read("cats:v7")
    calls = network.calls
    for number in (0, PACKS - 1):
        assert {"x": b"%d" % number} == b.read(f"cats:v{number}")
    assert b.names() == full.names()
    assert b.store.verify().ok
    return calls


def gc(machine: Machine) -> CollectedProject:
    (report,) = collect_remote(machine.store, "hub", grace_s=0).projects
    assert report.error is None, report.error
    return report


def test_a_cold_get_takes_few_questions(machine: Make, network: Network, full: Machine, depot: Path) -> None:
    calls = cold(machine, network, full)

    assert ["000000004", "000000016", "000000016"] == segments(depot)
    # The segments and their list, three indexes, the pack; and what is asked of the log and of a mirror.
    assert 13 >= calls


def test_thousands_of_packs_take_some_dozen_questions(tmp_path: Path) -> None:
    """With segments of the size that they are: of 10,000 packs it is 4 more."""
    (tmp_path / "depot").mkdir()
    network = Network()
    objects = network.between(open_objects(f"file://{tmp_path}/depot"))
    writer = Indexes(objects, "p", tmp_path / "writer")
    index = encode_index([Member(Digest.of(b"x"), 1, 512, 0)])
    names: list[str] = []
    for number in range(2_200):
        names.append(f"{number:032x}")
        objects.write(f"packs/p/{names[-1]}.idx", [index], len(index))
        writer.keep(names[-1], index)
        if number % 16 == 0:
            writer.gather(names)
    network.calls = 0
    found = Indexes(objects, "p", tmp_path / "reader").of(names)

    assert set(names) == set(found)
    # Two segments and their list, and what came since.
    assert 3 + 2_200 % indexes.BLOCK >= network.calls


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_what_is_lost_or_damaged_is_asked_of_each_pack(
    machine: Make, network: Network, full: Machine, depot: Path, harm: str
) -> None:
    for number, path in enumerate(sorted((depot / "indexes").rglob("*.*"))):
        path.chmod(0o644)
        if harm == "lost":
            path.unlink()
        else:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2] if number else bytes(len(data)))

    assert cold(machine, network, full) > PACKS
    # Whoever pushes or collects puts them together again.
    gc(full)
    assert ["000000039"] == segments(depot)
    assert 13 > cold(machine, network, full, "later")


def test_what_is_swept_goes_from_segments_too(machine: Make, network: Network, full: Machine, depot: Path) -> None:
    for number in range(1, 30):
        full.store.delete(f"cats:v{number}", everywhere=True, force=True)
    full.push()
    gc(full)
    b = machine("b")
    b.pull()

    assert ["000000004", "000000006"] == segments(depot)
    assert {"x": b"35"} == b.read("cats:v35")
    assert network.calls


class Meddling(ObjectsUnder):
    """Objects, where somebody else is quicker, or may do more."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects, "")
        self.before_read: Callable[[], None] = lambda: None
        self.may_remove = True

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        self.before_read()
        return super().read(name, start, length)

    def remove(self, name: str) -> None:
        if not self.may_remove:
            raise Denied(name, code="remote-denied")
        super().remove(name)


@pytest.fixture
def objects(network: Network, depot: Path) -> Meddling:
    del network
    return Meddling(open_objects(f"file://{depot}"))


def _keep(writer: Indexes, numbers: range) -> list[str]:
    names = [f"{number:032x}" for number in numbers]
    for name in names:
        writer.keep(name, encode_index([]))
    return names


def test_segments_that_become_one_while_they_are_read_are_read_as_that(
    objects: Meddling, tmp_path: Path, depot: Path
) -> None:
    """Each pack has its index in a segment alone here, so it would be missing."""
    writer = Indexes(objects, "p", tmp_path / "writer")
    names: list[str] = []
    for number in range(3):
        names += _keep(writer, range(4 * number, 4 * number + 4))
        writer.gather(names)

    def merge() -> None:
        objects.before_read = lambda: None
        writer.gather([*names, *_keep(writer, range(12, 16))])

    objects.before_read = merge
    found = Indexes(objects, "p", tmp_path / "reader").of(names)

    assert ["000000016"] == segments(depot)
    assert set(names) == set(found)


def test_whoever_may_not_remove_puts_the_same_together_once(objects: Meddling, tmp_path: Path, depot: Path) -> None:
    """Credentials that may write and not delete are common, and every push would write a larger one."""
    writer = Indexes(objects, "p", tmp_path / "writer")
    objects.may_remove = False
    names: list[str] = []
    for number in range(6):
        names += _keep(writer, range(4 * number, 4 * number + 4))
        with contextlib.suppress(Denied):
            writer.gather(names)
    before = segments(depot)
    objects.may_remove = True
    writer.tidy(names)

    assert ["000000004"] * 6 + ["000000016"] == before
    assert ["000000004", "000000004", "000000016"] == segments(depot)
    assert set(names) == set(Indexes(objects, "p", tmp_path / "reader").of(names))


def _lose(depot: Path, *suffixes: str) -> list[tuple[Path, bytes]]:
    """Take files of the first packs away."""
    gone = [path for suffix in suffixes for path in (depot / "packs").rglob(f"*{suffix}")]
    kept = [(path, path.read_bytes()) for path in gone]
    for path in gone:
        path.unlink()
    return kept


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_an_index_that_is_lost_is_made_again_from_its_pack(machine: Make, depot: Path, harm: str) -> None:
    a, b = machine("a"), machine("b")
    a.put({f"{number}": b"%d" % number * number for number in range(40)})
    a.push()
    ((path, index),) = _lose(depot, ".idx")
    if harm == "damaged":
        path.write_bytes(index[:-1])
    b.put({"y": b"y"}, name="dogs")
    b.push()

    assert index == path.read_bytes()
    path.unlink()
    # It has a copy, which a later one has not.
    assert 0 == gc(b).missing
    assert index == path.read_bytes()
    path.unlink()
    shutil.rmtree(b.store.path / "sync")
    assert (0, 0) == (gc(b).missing, gc(b).condemned)
    assert index == path.read_bytes()
    for each in (a, b, machine("cold")):
        exchange(each.store, "pull", blobs=True)
        assert {"y": b"y"} == each.read("dogs:v0")
        assert b"3" * 3 == each.read("cats:v0")["3"]


def test_whoever_may_not_write_reads_without_the_index(
    machine: Make, depot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"})
    a.push()
    b.pull()
    _lose(depot, ".idx")

    class ReadOnly(ObjectsUnder):
        def write(self, name: str, *_: object) -> None:
            raise Denied(name, code="remote-denied")

    monkeypatch.setattr(remotes, "open_objects", lambda url: ReadOnly(open_objects(url), ""))
    b.again()

    assert {"x": b"x"} == b.read("cats:v0")


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_pack_that_cannot_be_read_stops_nothing_else(machine: Make, depot: Path, harm: str) -> None:
    """Neither a push, nor a collector, nor who needs other files; and it is sent again by who has its bytes."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"})
    a.push()
    path, data = _lose(depot, ".idx", ".tar")[-1]
    if harm == "damaged":
        path.write_bytes(bytes(600) + data[600:])
    b.put({"y": b"y"})
    b.push()
    report = gc(b)
    cold = machine("cold")
    exchange(cold.store, "pull", blobs=True)

    assert report.missing
    # What somebody who knows how might still mend stays.
    assert ((depot / "packs" / PROJECT / path.name).exists()) == (harm == "damaged")
    assert {"y": b"y"} == cold.read("cats:v1")
    with pytest.raises(ArtstoreError, match="blake3:"):
        cold.read("cats:v0")
    c = machine("c")
    c.put({"x": b"x", "z": b"z"})
    c.push()
    cold.again()
    cold.pull()
    assert {"x": b"x"} == cold.read("cats:v0")
    assert 0 == gc(c).missing
