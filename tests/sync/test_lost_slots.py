"""A slot in the middle of a log is lost or damaged: nobody takes the log to end there, and it comes back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from artstore.cli import main
from artstore.errors import Conflict, Corrupt, Invalid, Unreachable
from artstore.store import Store
from artstore.sync import cut, remotes
from artstore.sync.depots import checkpoints
from artstore.sync.http.connection import Connection
from artstore.sync.http.wire import JSON
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.objects.interface import Objects
from artstore.sync.recover import recover
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import Served, served
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

SLOTS = 5


class Place:
    """Where a log is kept, and its files with it."""

    def __init__(self, url: Path | str, folder: Path) -> None:
        self.url = url
        self._folder = folder / "log" / "uncategorized"

    @property
    def name(self) -> str:
        """What it is called in a message."""
        return self.url if isinstance(self.url, str) else self.url.as_uri()

    def slot(self, number: int) -> Path:
        """Where a slot lies."""
        return self._folder / f"{number:012d}"

    def slots(self) -> list[bytes]:
        """All that lie there."""
        return [path.read_bytes() for path in sorted(self._folder.iterdir())]


def slot(depot: Path, number: int) -> Path:
    """Where a slot lies."""
    return Place(depot, depot).slot(number)


def spoil(path: Path, data: bytes) -> None:
    """Let a file be these bytes."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A server."""
    with served(tmp_path / "server") as found:
        yield found


@pytest.fixture(params=["depot", "server"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place of each kind that keeps logs as files."""
    if request.param == "depot":
        depot = request.getfixturevalue("depot")
        return Place(depot, depot)
    there: Served = request.getfixturevalue("server")
    return Place(there.url, there.store.path / "hosted")


def filled(machine: Make, name: str, url: Path | str) -> Machine:
    """A machine that has claimed all slots there."""
    made = machine(name, url=url)
    for number in range(SLOTS):
        made.put({"x": b"%d" % number})
        made.push()
    return made


@pytest.fixture
def owner(machine: Make, depot: Path) -> Machine:
    """A machine that has claimed all slots of the depot."""
    return filled(machine, "owner", depot)


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_slot_is_not_claimed_anew_and_is_put_back(machine: Make, place: Place, lost: int) -> None:
    """A new store took the log to end before it, and its acknowledged push was one that nobody ever saw."""
    owner = filled(machine, "owner", place.url)
    before = place.slot(lost).read_bytes()
    place.slot(lost).unlink()
    new = machine("new", url=place.url)
    new.put({"x": b"new"})
    codes = [exchange(new.store, verb).projects[0].code for verb in ("pull", "push", "sync")]
    (error,) = [each.error for each in exchange(new.store, "push", dry_run=True).projects]
    was_claimed = place.slot(lost).exists()
    (report,) = recover(owner.store).projects
    after = place.slot(lost).read_bytes()
    new.move("sync")
    owner.pull()

    assert ["slot-lost"] * 3 == codes
    assert f"slot {lost} of project 'uncategorized' at " in str(error)
    assert " is lost" in str(error)
    assert place.name in str(error)
    assert "artstore remote recover" in str(error)
    assert not was_claimed
    assert (None, 1, before) == (report.error, report.pushed.versions, after)
    assert SLOTS + 1 == len(owner.names())
    assert owner.names() == new.names()
    assert owner.state_hash() == new.state_hash()
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(owner.store)


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_log_that_was_set_back_is_given_all_again_whose_lists_of_files_are_damaged(
    owner: Machine, machine: Make, depot: Path, how: str
) -> None:
    """Who gives it all again follows it from its beginning, and nobody could, with all of it at hand.

    Lists that were gone were said to be swept, and whoever was new there had none of the versions that stood.
    """
    slot(depot, SLOTS).unlink()
    for path in (depot / "manifests" / "uncategorized").iterdir():
        data = path.read_bytes()
        spoil(path, data[:5] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
        if how == "gone":
            path.unlink()
    (report,) = recover(owner.store, read_all=True).projects
    new = machine("new")
    new.pull()

    assert report.error is None
    assert owner.names() == new.names()
    for number in range(SLOTS):
        assert {"x": b"%d" % number} == new.read(f"cats:v{number}")
    assert {"x": b"0"} == new.read("cats:v0")


def test_a_slot_lost_behind_the_last_one_that_was_followed_is_not_claimed(machine: Make, place: Place) -> None:
    """Who has nothing to read before the claim has to look as well; others wait for nothing meanwhile."""
    a, b = (machine(name, url=place.url) for name in "ab")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    for number in (1, 2, 3):
        a.put({"x": b"%d" % number})
        a.push()
    kept = place.slot(2).read_bytes()
    place.slot(2).unlink()
    b.put({"x": b"b"})
    (report,) = exchange(b.store, "push").projects
    nobody = place.slot(2).exists()
    recover(a.store)
    b.push()

    assert ("slot-lost", False) == (report.code, nobody)
    assert kept == place.slot(2).read_bytes()
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
def test_damaged_slots_are_put_back_byte_for_byte(machine: Make, place: Place, damaged: list[int]) -> None:
    """New stores could not follow for ever, and nobody had a command that mends it."""
    owner = filled(machine, "owner", place.url)
    before = place.slots()
    for number in damaged:
        spoil(place.slot(number), before[number - 1][: 40 * (number % 2)])
    new = machine("new", url=place.url)
    (report,) = exchange(new.store, "pull").projects
    (mended,) = recover(owner.store).projects
    new.pull()

    assert "remote-corrupt" == report.code
    assert "artstore remote recover" in str(report.error)
    assert (None, len(damaged)) == (mended.error, mended.pushed.versions)
    assert before == place.slots()
    assert owner.names() == new.names()


def test_a_question_that_comes_late_takes_away_nothing_that_is_put_back(
    owner: Machine, depot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal of a damaged slot, long given up by whoever asked for it, would find the one that is whole."""
    before = slot(depot, 2).read_bytes()
    spoil(slot(depot, 2), before[:40])
    late: list[Callable[[], None]] = []
    remove = FolderObjects.remove

    def lost(self: FolderObjects, name: str) -> None:
        late.append(partial(remove, self, name))
        message = "nobody knows what became of it"
        raise Unreachable(message, code="unreachable")

    monkeypatch.setattr(FolderObjects, "remove", lost)
    with contextlib.suppress(Unreachable):
        recover(owner.store)
    monkeypatch.setattr(FolderObjects, "remove", remove)
    with contextlib.suppress(Conflict):
        recover(owner.store)
    for each in late:
        each()

    assert before == slot(depot, 2).read_bytes()


def test_what_one_store_lacks_of_lost_slots_others_put_back(machine: Make, place: Place) -> None:
    """Each puts back what it has followed, and nobody offers again what is there."""
    a, b = (machine(name, url=place.url) for name in "ab")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    for number in (1, 2, 3):
        a.put({"x": b"%d" % number})
        a.push()
    before = place.slots()
    place.slot(1).unlink()
    place.slot(2).unlink()
    reports = [recover(each.store).projects[0] for each in (b, a)]
    b.pull()

    assert [1, 1] == [report.pushed.slots for report in reports]
    assert before == place.slots()
    assert a.names() == b.names()


@pytest.mark.parametrize("lost", [2, 3])
def test_a_server_takes_for_a_lost_slot_what_it_was_and_serves_all_else(
    tmp_path: Path, machine: Make, capsys: pytest.CaptureFixture[str], lost: int
) -> None:
    """Whoever may write could give others another history; and one file less kept the server from all projects."""
    path = tmp_path / "server" / "hosted" / "log" / "uncategorized" / f"{lost:012d}"
    with served(tmp_path / "server") as there:
        a = machine("a", url=there.url)
        a.put({"x": b"zoo"}, project="zoo")
        for number in range(3):
            a.put({"x": b"%d" % number})
            a.push()
    kept = path.read_bytes()
    path.unlink()
    with served(tmp_path / "server", port=there.port) as there:
        there.hosted.rest(0)
        connection = Connection(there.url)
        forged = kept.replace(a.store.root.format.store_id.encode(), b"0" * 32)
        for number, data in ((lost, forged), (1, forged)):
            with contextlib.suppress(Invalid, Corrupt):
                address = f"projects/uncategorized/slots/{number}"
                answer = connection.ask("PUT", address, data, doing="claiming", kind=JSON)
                assert b'"claimed":false' in answer.data
        b = machine("b", url=there.url)
        codes = {each.project: each.code for each in exchange(b.store, "pull").projects}
        was_taken = path.exists()
        exit_code = main(["--store", str(there.store.path), "verify"])
        said = capsys.readouterr().out
        repaired = main(["--store", str(there.store.path), "repair"])
        b.pull()

    assert {"uncategorized": "slot-lost", "zoo": None} == codes
    assert (5, False) == (exit_code, was_taken)
    assert f"slot-lost  hosted/log/uncategorized/{lost:012d}" in said
    assert (0, kept) == (repaired, path.read_bytes())
    assert ["cats:v2", "cats:v1", "cats:v0"] == [name for name, *_ in b.names()]
    with Store.open(tmp_path / "server") as store:
        assert store.verify().ok


def test_a_server_that_was_restored_in_part_is_given_what_the_slots_behind_vouch_for(
    tmp_path: Path, machine: Make
) -> None:
    """Its journal is older than its log, which has lost files: nobody there has counted what has to be put back."""
    with served(tmp_path / "server") as there:
        a = machine("a", url=there.url)
        a.put({"x": b"0"})
        a.push()
    shutil.copytree(tmp_path / "server", tmp_path / "restored")
    with served(tmp_path / "server", port=there.port):
        for number in range(1, 4):
            a.put({"x": b"%d" % number})
            a.push()
    shutil.copytree(tmp_path / "server" / "hosted", tmp_path / "restored" / "hosted", dirs_exist_ok=True)
    lost = [tmp_path / "restored" / "hosted" / "log" / "uncategorized" / f"{number:012d}" for number in (2, 3)]
    kept = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    with served(tmp_path / "restored", port=there.port):
        b = machine("b", url=there.url)
        code = exchange(b.store, "pull").projects[0].code
        (report,) = recover(a.store).projects
        b.move("pull", blobs=True)

    assert "slot-lost" == code
    assert (None, 2) == (report.error, report.pushed.slots)
    assert kept == [path.read_bytes() for path in lost]
    assert a.names() == b.names()
    assert {"x": b"3"} == b.read("cats")


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


@pytest.mark.parametrize("data", [b"", b'{"format":1,"ops"'])
def test_a_last_slot_that_no_store_has_counted_is_taken_away_when_somebody_says_so(
    machine: Make, owner: Machine, depot: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    """A file of no bytes, as after a crash there, kept all from that project for good."""
    new = machine("new")
    spoil(slot(depot, SLOTS + 1), data)
    owner.put({"x": b"waits"})
    stopped = [exchange(owner.store, "push").projects[0], recover(owner.store).projects[0]]
    code = main(["--store", str(owner.store.path), "remote", "recover", "--drop-unreadable"])
    said = capsys.readouterr().out
    owner.push()
    new.pull()

    for each in stopped:
        assert "remote-corrupt" == each.code
        assert "where none had, `artstore remote recover --drop-unreadable`" in str(each.error)
    assert (0, "uncategorized: took away 1 slot that nobody could read") == (code, said.splitlines()[0])
    assert owner.names() == new.names()
    assert SLOTS + 1 == len(new.names())


@pytest.mark.parametrize("has_something", [False, True])
def test_a_first_slot_that_nobody_can_read_is_taken_away_by_who_follows_nothing_yet(
    machine: Make, depot: Path, *, has_something: bool
) -> None:
    new = machine("new")
    slot(depot, 1).parent.mkdir(parents=True)
    spoil(slot(depot, 1), b"")
    if has_something:
        new.put({"x": b"mine"})
    (stopped,) = exchange(new.store, "sync").projects
    (report,) = recover(new.store, drop_unreadable=True).projects
    new.put({"x": b"more"})
    new.push()

    assert "where none had, `artstore remote recover --drop-unreadable`" in str(stopped.error)
    assert (None, 1) == (report.error, report.pushed.dropped_slots)
    assert slot(depot, 1).read_bytes()


@pytest.mark.parametrize("is_in_a_checkpoint", [True, False])
def test_a_slot_behind_which_a_log_went_on_is_not_taken_away(
    machine: Make, depot: Path, monkeypatch: pytest.MonkeyPatch, *, is_in_a_checkpoint: bool
) -> None:
    """What others have done since would come back under other numbers."""
    monkeypatch.setattr(checkpoints, "BLOCK", SLOTS)
    owner, late = machine("owner"), machine("late")
    for number in range(SLOTS):
        owner.put({"x": b"%d" % number})
        owner.push()
        if number == 2:
            late.pull()
    kept = [slot(depot, number).read_bytes() for number in range(1, SLOTS + 1)]
    for number in (SLOTS,) if is_in_a_checkpoint else (SLOTS - 1, SLOTS):
        spoil(slot(depot, number), b"")
    (report,) = recover(late.store, drop_unreadable=True).projects
    there = slot(depot, SLOTS).read_bytes()
    recover(owner.store)
    late.pull()

    assert ("not-the-last", b"") == (report.code, there)
    assert kept == [slot(depot, number).read_bytes() for number in range(1, SLOTS + 1)]
    assert owner.names() == late.names()


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
    monkeypatch.setattr(cut, "_SLOT_BYTES", 1)
    for number in range(3):
        owner.put({"x": b"more %d" % number})
    (pushed,) = owner.push().projects
    assert (3, ["log/uncategorized/"]) == (pushed.pushed.slots, [each for each in listed if each.startswith("log/")])
    listed.clear()
    machine("new").pull()
    assert 1 == listed.count("log/uncategorized/")
