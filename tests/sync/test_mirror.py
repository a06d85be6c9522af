"""A mirror: what a log has, and what waits, reaches those who cannot reach the upstream, and means the same there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from artstore.errors import Conflict, Invalid, NotFound
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.receipt import make_receipt
from artstore.sync.depots.collect import collect_remote
from artstore.sync.evict import evict
from artstore.sync.explain import explain
from artstore.sync.mirrors.mirror import Mirror
from artstore.sync.mirrors.pages import More, Pending
from artstore.sync.mirrors.said import Said
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote
from artstore.sync.reports import Moved
from artstore.sync.rounds import Verb, exchange
from tests.sync.conftest import PROJECT, Machine
from tests.sync.simulation.fate import Death
from tests.sync.simulation.network import Network
from tests.sync.test_agreeing import rebuilt
from tests.sync.test_lost_objects import LARGE, lying, spoil

Make = Callable[..., Machine]
DAMAGED = re.compile(r"--damaged (blake3:[0-9a-f]{64})")
FILES = {f"d/{number}": b"small %d" % number for number in range(20)} | {"large": bytes(1_500_000)}


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Callable[[str], Lone]]:
    """Set up a store that has no upstream."""
    made: list[Lone] = []

    def make(name: str) -> Lone:
        made.append(Lone(tmp_path, name))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


class Lone(Machine):
    """A store without an upstream."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.store = Store.init(self.folder / "store")


def mirror_at(machine: Machine, stick: Path, *, join: bool = False) -> None:
    add_remote(machine.store.path, "stick", f"file://{stick}", upstream=False, join=join)


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


class _Page(msgspec.Struct):
    slots: list[msgspec.Raw]


def test_the_slots_of_a_mirror_are_those_of_the_upstream(machine: Make, depot: Path, stick: Path) -> None:
    """They must be counted the same, wherever somebody follows the log next."""
    a = machine("a")
    mirror_at(a, stick)
    for number in range(3):
        a.put(FILES | {"n": b"%d" % number}, aliases=[f"a{number}"])
        a.push()
    report = a.move("push", remote="stick")
    pages = files(stick / "mirror" / "log")
    kept = [bytes(raw) for page in pages for raw in msgspec.json.decode(page.read_bytes(), type=_Page).slots]

    assert [path.read_bytes() for path in files(depot / "log")] == kept
    assert 1 == len(pages)
    assert (3, 3) == (report.projects[0].pushed.slots, report.projects[0].pushed.versions)


def test_a_store_that_sees_the_mirror_alone_has_all_of_it(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path
) -> None:
    a, b = machine("a"), lone("b")
    mirror_at(a, stick)
    a.put(FILES, aliases=["best"])
    a.put(FILES | {"more": b"more"})
    a.push()
    a.move("push", remote="stick")
    shutil.rmtree(depot)
    mirror_at(b, stick)
    b.move("pull", remote="stick")
    b.again()

    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert FILES == b.read("cats:best")
    assert FILES | {"more": b"more"} == b.read("cats")
    assert b.store.verify().ok


def test_files_that_are_read_one_by_one_are_each_asked_for_once(
    lone: Callable[[str], Lone], stick: Path, network: Network
) -> None:
    """Each took five questions, so a version of some thousand files in a bucket took minutes where it takes seconds."""
    a, b = lone("a"), lone("b")
    for each in (a, b):
        mirror_at(each, stick)
    a.put(FILES)
    a.move("push", remote="stick")
    b.move("pull", remote="stick")
    network.calls = 0
    read = b.read("cats")

    assert FILES == read
    # The index of the pack, and what the mirror has, once.
    assert network.calls <= len(FILES) + 7


def test_a_round_that_finds_nothing_new_asks_few_questions(
    machine: Make, lone: Callable[[str], Lone], stick: Path, network: Network
) -> None:
    """Each is a way to a bucket and back, for each project and round: they were as many as pushes there had ever
    been."""
    a, b = machine("a"), lone("b")
    for each in (a, b):
        mirror_at(each, stick)

    def asked(who: Machine, verb: Verb) -> int:
        network.calls = 0
        who.move(verb, remote="stick")
        return network.calls

    for number in range(5):
        a.put({"n": b"%d" % number})
        a.push()
        a.move("push", remote="stick")
    # Of each push the page, what it said beside that, and the list of files.
    first = asked(b, "pull")
    asked(b, "push")
    quiet = [asked(a, "push"), asked(b, "push"), asked(b, "pull")]
    a.put({"waits": b"waits"})
    a.move("push", remote="stick")
    b.move("pull", remote="stick")
    with_one_that_waits = [asked(a, "push"), asked(b, "pull")]

    assert 3 * 5 + 9 == first
    assert [12, 12, 9] == quiet
    assert [13, 10] == with_one_that_waits


def test_what_waits_reaches_the_upstream_by_way_of_the_mirror(machine: Make, stick: Path) -> None:
    """A machine that never reaches the upstream must not lose its work with its disk."""
    a, b = machine("a"), machine("b")
    a.put(FILES)
    a.push()
    b.pull()
    for each in (a, b):
        mirror_at(each, stick)
    made = b.put({"x": b"made on b"}, aliases=["best"])
    b.move("push", remote="stick")
    shutil.rmtree(b.folder)
    a.move("pull", remote="stick")

    assert [made.id] == [version.id for version in a.store.versions("cats") if version.provisional]
    # What b made is not a's to end, which only has it here.
    assert "forgotten" == a.store.delete("cats:v1", force=True).state
    a.put({"x": b"made on b"})
    a.push()
    assert {"x": b"made on b"} == a.read("cats:v1")
    c = machine("c")
    c.pull()
    assert a.names() == c.names()
    assert {"x": b"made on b"} == c.read("cats:best")


def test_what_the_upstream_has_accepted_waits_on_the_mirror_no_more(machine: Make, stick: Path) -> None:
    a = machine("a")
    mirror_at(a, stick)
    a.put(FILES)
    a.move("push", remote="stick")
    a.push()
    a.put({"x": b"x"})
    a.move("push", remote="stick")

    assert 1 == len(files(stick / "mirror" / "pending"))
    before = len(list((stick / "mirror" / "packs").rglob("*.tar")))
    a.push()
    a.move("push", remote="stick")
    assert [] == files(stick / "mirror" / "pending")
    assert before == len(list((stick / "mirror" / "packs").rglob("*.tar")))


def test_a_push_that_finds_nothing_new_writes_nothing(machine: Make, stick: Path) -> None:
    a = machine("a")
    mirror_at(a, stick)
    a.put(FILES)
    a.push()
    a.put({"x": b"x"})
    a.move("push", remote="stick")

    def there() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in stick.rglob("*")}

    before = there()
    report = a.move("push", remote="stick")
    assert before == there()
    assert 0 == report.projects[0].pushed.ops


def test_several_may_write_one_mirror(machine: Make, stick: Path) -> None:
    """Whoever comes later goes on where the other ended."""
    a, b = machine("a"), machine("b")
    for each in (a, b):
        mirror_at(each, stick)
    a.put(FILES)
    a.push()
    a.move("push", remote="stick")
    b.pull()
    b.put({"y": b"y"})
    b.push()
    b.move("push", remote="stick")
    a.move("pull", remote="stick")

    assert a.names() == b.names()
    assert {"y": b"y"} == a.read("cats:v1")
    a.put({"z": b"z"})
    a.push()
    b.move("pull", remote="stick")
    b.pull()
    assert a.state_hash() == b.state_hash()


def test_a_store_without_an_upstream_is_followed_by_its_mirror(lone: Callable[[str], Lone], stick: Path) -> None:
    """Two machines that meet through a stick alone; the log is the first one's, and both number alike."""
    a, b = lone("a"), lone("b")
    for each in (a, b):
        mirror_at(each, stick)
    a.put(FILES)
    a.move("push", remote="stick")
    b.move("pull", remote="stick")
    b.put({"y": b"y"}, aliases=["mine"])
    b.move("push", remote="stick")
    a.move("sync", remote="stick")
    b.move("sync", remote="stick")

    assert a.names() == b.names()
    assert not any(version.provisional for version in b.store.versions("cats"))
    assert {"y": b"y"} == a.read("cats:mine")
    assert a.store.verify().ok
    assert b.store.verify().ok


def test_a_log_is_not_mirrored_over_another(lone: Callable[[str], Lone], stick: Path) -> None:
    a, b = lone("a"), lone("b")
    for each in (a, b):
        mirror_at(each, stick)
        each.put({"x": each.folder.name.encode()})
    a.move("push", remote="stick")
    (pushed,) = exchange(b.store, "push", remote="stick").projects
    (pulled,) = exchange(b.store, "pull", remote="stick").projects

    assert ("other-log", "needs-join") == (pushed.code, pulled.code)
    mirror_at(b, stick, join=True)
    b.move("sync", remote="stick")
    a.move("sync", remote="stick")
    b.move("sync", remote="stick")
    assert a.names() == b.names()
    assert 2 == len(a.names())


def test_a_version_that_was_deleted_here_alone_is_not_there_without_its_files(
    machine: Make, lone: Callable[[str], Lone], stick: Path
) -> None:
    """A version that is seen is whole."""
    a, b = machine("a"), lone("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.put({"x": b"x"})
    a.push()
    a.store.delete("cats:v0")
    a.store.gc(grace_s=0)
    a.move("push", remote="stick")
    b.move("pull", remote="stick")

    assert ["cats:v1"] == [name for name, *_ in b.names()]
    assert {"x": b"x"} == b.read("cats")
    assert b.store.verify().ok
    Store.rebuild(b.store.path)
    assert ["cats:v1"] == [name for name, *_ in b.names()]


@pytest.mark.parametrize("how", ["version", "collection"])
def test_what_has_ended_is_not_missed_where_its_name_is_taken(machine: Make, stick: Path, how: str) -> None:
    """It comes without its files, and all that waits there was called incomplete for as long as it waited."""
    a, b = machine("a"), machine("b")
    mirror_at(a, stick)
    a.put({"x": b"0"})
    a.push()
    b.pull()
    a.put({"x": b"1"}, name="dogs")
    if how == "version":
        a.store.delete("dogs:v0", force=True)
    else:
        a.store.delete_collection("dogs", force=True)
    a.store.gc(grace_s=0)
    a.move("push", remote="stick")
    b.put({"x": b"2"}, name="other")
    b.store.put([b.folder / "tree"], name="dogs", type="model")
    b.push()
    mirror_at(b, stick)
    b.move("pull", remote="stick")
    rebuilt(b)

    assert [] == b.store.conflicts()
    assert b.store.verify().ok


def test_what_one_store_means_to_end_is_whole_on_its_mirror(
    machine: Make, lone: Callable[[str], Lone], stick: Path
) -> None:
    """It stands where others need it by then, and nobody put its files there any more."""
    a, b, c = machine("a"), machine("b"), lone("c")
    a.put(FILES)
    a.push()
    b.pull()
    mirror_at(a, stick)
    a.store.delete("cats:v0", everywhere=True)
    a.move("push", remote="stick")
    b.store.alias("cats:v0", ["prod"])
    b.push()
    a.pull()
    a.move("push", remote="stick")
    mirror_at(c, stick)
    c.move("pull", remote="stick")

    assert FILES == c.read("cats:prod")


def test_what_goes_with_a_collection_that_others_have_come_to_need_is_had_from_the_mirror(
    machine: Make, stick: Path
) -> None:
    """Its end was void by then, and who had taken it from the mirror had a version without its files."""
    a, b, c = (machine(name) for name in "abc")
    a.put({"x": b"0"})
    a.push()
    for each in (b, c):
        each.pull()
        mirror_at(each, stick)
    b.put({"x": b"mine"})
    b.store.delete_collection("cats", everywhere=True)
    b.move("push", remote="stick")
    freed = [collect_remote(b.store, "stick", grace_s=0).projects[0].swept for _ in range(2)]
    c.move("pull", remote="stick")
    c.store.gc(grace_s=0)
    a.store.alias("cats:v0", ["best"])
    a.push()
    c.pull()
    rebuilt(c)
    c.push()
    a.pull()

    assert [0, 0] == freed
    for each in (a, c):
        assert {"x": b"mine"} == each.read("cats:v1")
        assert each.store.verify().ok


@pytest.mark.parametrize("by", ["mirror", "upstream", "bundle"])
def test_what_one_machine_has_deleted_for_itself_comes_to_the_others_from_who_has_it(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path, by: str
) -> None:
    """A delete that was of one machine hid the version for ever on all that see the mirror, and its bytes never came
    there."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    b.put(FILES, aliases=["best"])
    b.push()
    a.pull()
    a.store.delete("cats:v0", force=True)
    a.store.gc(grace_s=0)
    a.move("push", remote="stick")
    c.move("pull", remote="stick")
    with pytest.raises(NotFound, match="not here yet") as caught:
        c.store.version("cats:v0")
    rebuilt(c)
    if by == "mirror":
        b.move("push", remote="stick")
        there = files(stick)
        b.move("push", remote="stick")
        assert there == files(stick)
        shutil.rmtree(depot)
        c.move("pull", remote="stick", blobs=True)
        d = lone("d")
        mirror_at(d, stick)
        assert 1 == d.move("pull", remote="stick", blobs=True).projects[0].pulled.versions
        assert FILES == d.read("cats:best")
    elif by == "upstream":
        add_upstream(c.store, "hub", f"file://{depot}", join=False)
        c.pull()
    else:
        create_bundle(b.store, stick / "x.bundle", since=make_receipt(c.store))
        assert [None] == [each.error for each in apply_bundle(c.store, stick / "x.bundle").projects]
        shutil.rmtree(depot)
    rebuilt(c)

    assert "version-absent" == caught.value.code
    assert FILES == c.read("cats:best")
    assert c.store.verify().ok
    a.move("pull", remote="stick")
    assert [] == a.names()


@pytest.mark.parametrize("is_away", [False, True])
def test_bytes_are_freed_here_that_the_mirror_has(machine: Make, stick: Path, depot: Path, *, is_away: bool) -> None:
    """A full disk cannot wait until the upstream answers, and a mirror at hand has all that is asked for."""
    a = machine("a")
    mirror_at(a, stick)
    a.put(FILES)
    a.push()
    a.move("push", remote="stick")
    if is_away:
        depot.rename(depot.with_name("away"))
    for lost in [*depot.rglob("packs/*/*.tar"), *depot.rglob("blobs/*/*")]:
        lost.unlink()
    freed = evict(a.store, ["cats"]).blobs
    a.again()

    assert 21 == freed
    assert FILES == a.read("cats")
    assert 0 == explain(a.store, "cats", "stick").sent_bytes


def test_a_mirror_that_is_behind_holds_nothing_of_what_came_since(machine: Make, stick: Path, depot: Path) -> None:
    """It has the same bytes for another version, and nothing that keeps them there for this one."""
    a = machine("a")
    mirror_at(a, stick)
    a.put(FILES)
    a.push()
    a.move("push", remote="stick")
    a.put(FILES, name="dogs")
    a.push()
    for lost in [*depot.rglob("packs/*/*.tar"), *depot.rglob("blobs/*/*")]:
        lost.unlink()

    with pytest.raises(Conflict, match="last cop"):
        evict(a.store, ["cats", "dogs"])
    a.move("push", remote="stick")
    assert 21 == evict(a.store, ["cats", "dogs"]).blobs


def test_a_store_from_a_backup_keeps_what_it_had_said_to_the_mirror_since(machine: Make, stick: Path) -> None:
    """The disk died after that, and the mirror is where it was safe."""
    a, b = machine("a"), machine("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.push()
    a.store.backup(a.folder / "backup")
    a.put({"today": b"today"})
    a.move("push", remote="stick")
    a.store.close()
    shutil.rmtree(a.folder / "store")
    shutil.copytree(a.folder / "backup", a.folder / "store")
    a.again()
    a.put({"after": b"after"})
    a.move("push", remote="stick")
    b.move("pull", remote="stick")

    assert ["today", "after"] == [next(iter(b.read(f"cats:v{number}"))) for number in (2, 1)]
    assert [{"after": b"after"}, {"today": b"today"}] == [a.read(f"cats:v{number}") for number in (1, 2)]


def test_what_waits_is_sent_to_a_mirror_once(machine: Make, stick: Path) -> None:
    a = machine("a")
    mirror_at(a, stick)
    a.put(FILES)
    a.move("push", remote="stick")
    a.put({"x": b"x"})

    assert 1 == a.move("push", remote="stick").projects[0].pushed.bytes


def test_the_new_upstream_may_be_the_one_that_was_mirrored(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path
) -> None:
    """Who followed a log by its mirror goes on with it where it is."""
    a, b = machine("a"), lone("b")
    mirror_at(a, stick)
    a.put(FILES)
    a.push()
    a.move("push", remote="stick")
    mirror_at(b, stick)
    b.move("pull", remote="stick")
    b.put({"y": b"y"})
    add_upstream(b.store, "hub", f"file://{depot}", join=False)
    b.push()
    a.pull()

    assert a.names() == b.names()


def test_a_mirror_that_was_changed_is_noticed(machine: Make, lone: Callable[[str], Lone], stick: Path) -> None:
    a, b = machine("a"), lone("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES, aliases=["best"])
    a.push()
    a.put({"x": b"x"})
    a.push()
    a.move("push", remote="stick")
    (page,) = files(stick / "mirror" / "log")
    page.chmod(0o600)
    page.write_bytes(page.read_bytes().replace(b'"alias":"best"', b'"alias":"bast"'))

    (report,) = exchange(b.store, "pull", remote="stick").projects
    assert "remote-corrupt" == report.code
    assert [] == b.store.projects()


def test_what_waits_for_lost_bytes_keeps_nothing_else_from_the_mirror(
    machine: Make, lone: Callable[[str], Lone], stick: Path
) -> None:
    """One file that the disk had lost kept all else on a machine that reached nothing but the mirror."""
    a, b = machine("a"), lone("b")
    mirror_at(a, stick)
    mirror_at(b, stick, join=True)
    a.put({"x": b"bad" * 400_000})
    good = a.put({"x": b"good"}, name="dogs")
    next(path for path in (a.store.path / "blobs").rglob("*") if path.is_file()).unlink()
    (report,) = exchange(a.store, "push", remote="stick").projects
    b.move("pull", remote="stick")

    assert ("blob-missing", 5, 1) == (report.code, report.exit_code, report.pushed.versions)
    assert [good.id] == [id_ for _name, id_, _aliases in b.names("dogs")]
    assert ["dogs"] == [each.name for each in b.store.collections()]


@pytest.mark.parametrize("is_emptied", [True, False])
def test_a_mirror_that_was_set_back_gets_again_what_it_has_lost(
    machine: Make, lone: Callable[[str], Lone], stick: Path, tmp_path: Path, *, is_emptied: bool
) -> None:
    """It got the versions without their files, since they had been there once."""
    a, b = machine("a"), machine("b")
    for each in (a, b):
        mirror_at(each, stick)
    a.put(FILES)
    a.push()
    shutil.copytree(stick, tmp_path / "kept")
    if not is_emptied:
        a.move("push", remote="stick")
        shutil.rmtree(tmp_path / "kept")
        shutil.copytree(stick, tmp_path / "kept")
    a.put({"x": b"1"})
    a.push()
    b.pull()
    a.move("push", remote="stick")
    shutil.rmtree(stick)
    shutil.copytree(tmp_path / "kept", stick)
    b.store.delete("cats:v1", force=True)
    b.move("push", remote="stick")
    a.put({"x": b"1", "y": b"2"})
    a.push()
    a.move("push", remote="stick")
    c = lone("c")
    mirror_at(c, stick, join=True)
    c.move("pull", remote="stick", blobs=True)

    assert a.names() == c.names()
    assert {"x": b"1"} == c.read("cats:v1")
    assert FILES == c.read("cats:v0")
    assert {"x": b"1", "y": b"2"} == c.read("cats:v2")


def test_the_space_of_what_was_deleted_comes_back_in_a_mirror(
    machine: Make, lone: Callable[[str], Lone], stick: Path
) -> None:
    """A disk that is carried about filled up for good."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    for number in range(3):
        a.put(FILES | {"large": bytes([number]) * 1_500_000, "n": b"%d" % number})
    a.push()
    b.pull()
    waits = b.put({"waits": b"w" * 1_200_000})
    b.move("push", remote="stick")
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    a.move("push", remote="stick")
    before = len(files(stick / "mirror" / "blobs"))
    reports = [collect_remote(a.store, "stick", grace_s=grace).projects[0] for grace in (3600.0, 3600.0, 0.0, 0.0)]
    a.move("push", remote="stick")
    there = files(stick)
    a.move("push", remote="stick")
    c.move("pull", remote="stick", blobs=True)

    assert [None] * 4 == [each.error for each in reports]
    assert [(1, 0), (1, 0), (0, 1), (0, 0)] == [(each.waiting, each.swept) for each in reports]
    assert before - 1 == len(files(stick / "mirror" / "blobs"))
    assert there == files(stick)
    assert {"waits": b"w" * 1_200_000} == c.read(waits.exact)
    assert bytes([2]) * 1_500_000 == c.read("cats:v2")["large"]
    assert c.store.verify().ok


def test_the_space_of_what_was_deleted_comes_back_before_an_upstream_was_met(
    machine: Make, lone: Callable[[str], Lone], stick: Path
) -> None:
    """A laptop with a stick, on the way for months: nothing was freed there, and nothing was said of that."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    for number in range(3):
        a.put({"large": bytes([number]) * 1_500_000})
    a.move("push", remote="stick")
    for gone in ("cats:v0", "cats:v1"):
        a.store.delete(gone, force=True)
    # Its list of files is nowhere else, and needed nowhere.
    a.put({"never": b"sent"}, name="mice")
    a.store.delete("mice:v0", force=True)
    a.move("push", remote="stick")
    b.put({"waits": b"w" * 1_200_000}, name="dogs")
    b.move("push", remote="stick")
    foreseen, freed, again = (
        collect_remote(b.store, "stick", grace_s=0.0, dry_run=is_dry).projects[0] for is_dry in (True, False, False)
    )
    c.move("pull", remote="stick", blobs=True)

    assert [(None, 2, 0), (None, 2, 0), (None, 0, 0)] == [
        (each.error, each.swept or each.condemned, each.missing) for each in (foreseen, freed, again)
    ]
    assert 2 == len(files(stick / "mirror" / "blobs"))
    assert bytes([2]) * 1_500_000 == c.read("cats")["large"]
    assert {"waits": b"w" * 1_200_000} == c.read("dogs")
    a.push()
    a.move("push", remote="stick")
    b.pull()
    (report,) = collect_remote(b.store, "stick", grace_s=0.0).projects
    assert (None, 0) == (report.error, report.swept)


def test_who_names_what_is_swept_just_then_puts_it_there_again(
    machine: Make, lone: Callable[[str], Lone], stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had looked before, and its version would be there without its bytes."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    a.put({"large": b"again" * 300_000})
    a.push()
    a.move("push", remote="stick")
    b.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    b.put({"large": b"again" * 300_000, "x": b"x"}, name="dogs")
    claim = Said.offer

    def offer(said: Said, project: str, store: str, count: int, pending: Pending) -> bool:
        monkeypatch.undo()
        # Also what was put there just now, and nothing names yet.
        report = collect_remote(a.store, "stick", grace_s=0).projects[0]
        assert 2 == report.swept
        assert report.condemned_bytes == report.freed_bytes > 0
        return claim(said, project, store, count, pending)

    monkeypatch.setattr(Said, "offer", offer)
    b.move("push", remote="stick")
    shutil.rmtree(b.folder)
    c.move("pull", remote="stick")

    assert {"large": b"again" * 300_000, "x": b"x"} == c.read("dogs")


def test_a_push_that_comes_before_the_sweep_keeps_what_it_needs(
    machine: Make, lone: Callable[[str], Lone], stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that had looked before it would free what others were told is there."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    a.put({"large": b"again" * 300_000})
    a.push()
    a.move("push", remote="stick")
    b.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    b.put({"large": b"again" * 300_000, "x": b"x"}, name="dogs")
    tell = Said.tell

    def say(said: Said, project: str, number: int, more: More) -> bool:
        if more.swept:
            monkeypatch.undo()
            b.move("push", remote="stick")
        return tell(said, project, number, more)

    monkeypatch.setattr(Said, "tell", say)
    (report,) = collect_remote(a.store, "stick", grace_s=0).projects
    shutil.rmtree(b.folder)
    c.move("pull", remote="stick")

    assert (None, 0) == (report.error, report.swept)
    assert {"large": b"again" * 300_000, "x": b"x"} == c.read("dogs")


def test_what_is_said_anew_of_what_waits_counts_on_behind_what_was_told(
    machine: Make, lone: Callable[[str], Lone], stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after what had waited was removed, and before it said so, it would seem to have said it all before: a
    collector that had looked before would free what others were told is there."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    a.put({"large": b"again" * 300_000})
    a.push()
    b.pull()
    b.put({"x": b"x"})
    b.move("push", remote="stick")
    b.push()
    tell = Said.tell

    def die(*_: object) -> bool:
        raise Death

    monkeypatch.setattr(Said, "tell", die)
    with pytest.raises(Death):
        b.move("push", remote="stick")
    monkeypatch.undo()
    assert [] == files(stick / "mirror" / "pending")
    a.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    a.move("push", remote="stick")
    b.put({"large": b"again" * 300_000, "x": b"x"}, name="dogs")

    def say(said: Said, project: str, number: int, more: More) -> bool:
        if more.swept:
            monkeypatch.undo()
            b.move("push", remote="stick")
        return tell(said, project, number, more)

    monkeypatch.setattr(Said, "tell", say)
    (report,) = collect_remote(a.store, "stick", grace_s=0).projects
    shutil.rmtree(b.folder)
    c.move("pull", remote="stick")

    assert (None, 0) == (report.error, report.swept)
    assert {"large": b"again" * 300_000, "x": b"x"} == c.read("dogs")


def test_what_a_killed_push_relied_on_comes_again_with_the_next_push_of_anybody(
    machine: Make, lone: Callable[[str], Lone], stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page is there, and says of bytes that they are."""
    a, b, c, d = machine("a"), machine("b"), machine("c"), lone("d")
    for each in (a, b, c, d):
        mirror_at(each, stick)
    a.put({"large": b"again" * 300_000})
    a.push()
    a.move("push", remote="stick")
    b.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    a.move("push", remote="stick")
    b.put({"large": b"again" * 300_000, "x": b"x"}, name="dogs")
    b.push()
    claim = Mirror.claim

    def say(mirror: Mirror, project: str, number: int, data: bytes) -> bool:
        monkeypatch.undo()
        assert 1 <= collect_remote(a.store, "stick", grace_s=0).projects[0].swept
        claim(mirror, project, number, data)
        raise Death

    monkeypatch.setattr(Mirror, "claim", say)
    with pytest.raises(Death):
        b.move("push", remote="stick")
    c.move("pull", blobs=True)
    c.move("push", remote="stick")
    d.move("pull", remote="stick", blobs=True)

    assert {"large": b"again" * 300_000, "x": b"x"} == d.read("dogs")
    assert d.store.verify().ok


def test_what_was_evicted_is_not_freed_for_what_others_only_mean_to_do(machine: Make, stick: Path, depot: Path) -> None:
    """What waits in a store may never be accepted, and what it has forgotten is forgotten there alone."""
    a, b = machine("a"), machine("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.put({"y": b"y" * 1_200_000})
    a.push()
    a.move("push", remote="stick")
    b.pull()
    shutil.rmtree(depot)
    evict(a.store, ["cats:v0", "cats:v1"])
    b.store.delete("cats:v0")
    b.store.gc(grace_s=0)
    b.store.delete("cats:v1", everywhere=True, force=True)
    (report,) = collect_remote(b.store, "stick", grace_s=0).projects
    a.again()

    assert (None, 0) == (report.error, report.swept)
    assert FILES == a.read("cats:v0")
    assert {"y": b"y" * 1_200_000} == a.read("cats:v1")


def test_who_knows_less_of_the_log_frees_nothing(machine: Make, stick: Path) -> None:
    """It would take for needless what versions need that it has not seen."""
    a, b = machine("a"), machine("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.push()
    b.pull()
    a.put({"y": b"y" * 1_200_000})
    a.push()
    a.move("push", remote="stick")
    before = files(stick)
    reports = [collect_remote(b.store, "stick", grace_s=0, dry_run=dry).projects[0] for dry in (True, False)]

    assert ["behind"] * 2 == [each.code for each in reports]
    assert before == files(stick)


def test_a_server_is_no_mirror(machine: Make) -> None:
    a = machine("a")
    settings = a.store.path / "remotes.toml"
    settings.write_text(settings.read_text() + '\n[remotes.other]\nurl = "http://127.0.0.1:9"\n')
    with pytest.raises(Invalid, match="not the upstream"):
        exchange(a.store, "push", remote="other")


def test_a_dry_run_says_it_and_does_nothing(machine: Make, lone: Callable[[str], Lone], stick: Path) -> None:
    a, b = machine("a"), lone("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.push()
    a.put({"y": b"y"})
    said = a.move("push", remote="stick", dry_run=True).projects[0].pushed

    assert [] == files(stick / "mirror")
    done = a.move("push", remote="stick").projects[0].pushed
    assert (said.versions, said.blobs, said.ops) == (done.versions, done.blobs, done.ops)
    seen = b.move("pull", remote="stick", dry_run=True).projects[0].pulled
    assert 2 == seen.versions
    assert [] == b.store.projects()
    assert PROJECT == b.move("pull", remote="stick").projects[0].project


def test_a_dry_run_says_what_would_not_go(machine: Make, stick: Path) -> None:
    """Whoever asks before a stick is carried away would hear of the gap when it has gone."""
    a = machine("a")
    mirror_at(a, stick)
    a.put({"large": bytes(1_200_000)})
    a.push()
    a.put({"large": b"w" * 1_300_000}, name="dogs")
    a.put({"y": b"y"}, name="mice")
    for path in files(a.store.path / "blobs"):
        path.chmod(0o600)
        path.write_bytes(b"x" + path.read_bytes()[1:])
    (said,) = exchange(a.store, "push", remote="stick", dry_run=True).projects
    untouched = files(stick / "mirror")
    (done,) = exchange(a.store, "push", remote="stick").projects

    assert [] == untouched
    assert (said.code, said.exit_code, said.error) == (done.code, done.exit_code, done.error)
    assert "cats:v0" in str(said.error)
    assert "dogs:v0" in str(said.error)
    assert (said.pushed.versions, said.pushed.blobs) == (done.pushed.versions, done.pushed.blobs) == (2, 1)


def test_content_that_was_put_again_waits_on_the_mirror_with_its_bytes(machine: Make, stick: Path) -> None:
    """Where its version was deleted meanwhile it is one of its own, and nobody else may have its bytes by then."""
    a, b = machine("a"), machine("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.push()
    b.pull()
    a.put({"x": b"x"})
    a.put(FILES)
    a.move("push", remote="stick")
    a.store.close()
    shutil.rmtree(a.store.path)
    b.store.delete("cats:v0", everywhere=True, force=True)
    b.push()
    b.store.gc(grace_s=0)
    for _ in range(2):
        collect_remote(b.store, "hub", grace_s=0)
    b.move("pull", remote="stick")
    b.push()
    c = machine("c")
    c.pull()

    assert ["cats:v2", "cats:v1"] == [name for name, *_ in b.names()]
    assert FILES == b.read("cats:v2") == c.read("cats:v2")
    assert b.store.verify().ok


def test_content_that_was_put_again_keeps_its_bytes_while_it_waits(machine: Make, stick: Path) -> None:
    """Where it waits in another's store, its version may be deleted later still."""
    a, b = machine("a"), machine("b")
    mirror_at(a, stick)
    mirror_at(b, stick)
    a.put(FILES)
    a.push()
    b.pull()
    a.put({"x": b"x"})
    a.put(FILES)
    a.move("push", remote="stick")
    b.move("pull", remote="stick")
    c = machine("c")
    c.pull()
    c.store.delete("cats:v0", everywhere=True, force=True)
    c.push()
    for _ in range(2):
        collect_remote(c.store, "hub", grace_s=0)
    b.store.delete("cats:v0")
    b.store.gc(grace_s=0)
    b.push()
    c.pull()

    assert FILES == b.read("cats:v2") == c.read("cats:v2")
    assert b.store.verify().ok


def test_a_waiting_version_of_content_that_is_there_comes_with_its_bytes(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path
) -> None:
    """It was taken as if it were safe here, with not one byte; then the disk died on which it had been made."""
    a, b, c = machine("a"), machine("b"), lone("c")
    mirror_at(b, stick)
    mirror_at(c, stick)
    a.put(FILES)
    a.push()
    b.pull()
    waits = b.put(FILES, name="dogs")
    depot.rename(depot.with_name("away"))
    b.move("push", remote="stick")
    c.move("pull", remote="stick")
    shutil.rmtree(stick)

    assert [waits.id] == [id_ for _name, id_, _aliases in c.names("dogs")]
    assert FILES == c.read("dogs")
    assert c.store.verify().ok
    Store.rebuild(c.store.path)
    assert FILES == c.read("dogs")


@pytest.mark.parametrize("lost", ["blobs", "manifests", "names"])
def test_what_waits_and_is_not_whole_is_left_and_named_and_holds_nothing_up(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path, lost: str
) -> None:
    """Work of all stores that had come to the mirror was out of reach, since one of its files was gone."""
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    depot.rename(depot.with_name("away"))
    a.put({"kept": b"kept"}, name="birds")
    a.move("push", remote="stick")
    there = set(files(stick))
    a.put({"large": b"dogs" * 400_000, "small": b"dogs"}, name="dogs")
    a.put({"large": b"dogs" * 400_000, "more": b"more"}, name="dogs")
    a.move("push", remote="stick")
    if lost == "names":
        (path,) = (stick / "mirror" / "pending").rglob(f"{a.store.id}/*")
        said = msgspec.json.decode(path.read_bytes())
        path.chmod(0o600)
        path.write_bytes(msgspec.json.encode({**said, "blobs": []}, order="sorted"))
    for path in set(files(stick)) - there:
        if lost in path.parts and path.suffix != ".idx":
            path.unlink()
    b.put({"large": b"mice" * 400_000}, name="mice")
    b.move("push", remote="stick")
    for _ in range(2):
        (pulled,) = exchange(c.store, "pull", remote="stick").projects

        assert ("offer-incomplete", 5) == (pulled.code, pulled.exit_code)
        assert "dogs:v0 and 1 more version" in str(pulled.error)
        assert a.store.id in str(pulled.error)
        assert {"birds", "mice"} == {each.name for each in c.store.collections()}
        assert {"large": b"mice" * 400_000} == c.read("mice")
        assert {"kept": b"kept"} == c.read("birds")
        assert c.store.verify().ok


def test_what_is_still_being_put_there_is_not_called_damaged(
    machine: Make, lone: Callable[[str], Lone], stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector was there between its bytes and its offer: they go there again before that is told."""
    a, b, c = machine("a"), machine("b"), lone("c")
    b.put({"kept": b"kept"}, name="birds")
    b.push()
    for each in (a, b, c):
        mirror_at(each, stick)
    b.move("push", remote="stick")
    a.put(FILES)
    pulled: list[str | None] = []
    offer, tell = Said.offer, Said.tell

    def collected(self: Said, *args: Any) -> bool:
        monkeypatch.setattr(Said, "offer", offer)
        collect_remote(b.store, "stick", grace_s=0)
        monkeypatch.setattr(Said, "tell", pulled_before)
        return offer(self, *args)

    def pulled_before(self: Said, *args: Any) -> bool:
        monkeypatch.setattr(Said, "tell", tell)
        pulled.extend(project.code for project in exchange(c.store, "pull", remote="stick").projects)
        return tell(self, *args)

    monkeypatch.setattr(Said, "offer", collected)
    a.move("push", remote="stick")
    assert [None] == pulled
    assert ["birds"] == [each.name for each in c.store.collections()]
    c.move("pull", remote="stick")

    assert FILES == c.read("cats")


def test_what_waits_and_cannot_be_read_holds_nothing_up_and_is_said_anew(
    machine: Make, lone: Callable[[str], Lone], stick: Path
) -> None:
    a, b, c = machine("a"), machine("b"), lone("c")
    for each in (a, b, c):
        mirror_at(each, stick)
    a.put({"x": b"x"})
    b.put({"y": b"y"}, name="dogs")
    for each in (a, b):
        each.move("push", remote="stick")
    (path,) = (stick / "mirror" / "pending").rglob(f"{a.store.id}/*")
    path.chmod(0o600)
    path.write_bytes(b"{")
    (pulled,) = exchange(c.store, "pull", remote="stick").projects

    assert ("remote-corrupt", 5) == (pulled.code, pulled.exit_code)
    assert a.store.id in str(pulled.error)
    assert {"y": b"y"} == c.read("dogs")
    a.move("push", remote="stick")
    c.move("pull", remote="stick")
    assert {"x": b"x"} == c.read("cats")


@pytest.mark.parametrize("step", ["take", "accept"])
def test_a_pull_that_was_killed_behind_the_lists_of_files_has_lost_nothing(
    machine: Make, lone: Callable[[str], Lone], stick: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Lists that nothing but the catalog knew went with it, of what waits in a mirror and of its log."""
    a, b = machine("a"), lone("b")
    for each in (a, b):
        mirror_at(each, stick)
    a.put(FILES)
    if step == "accept":
        a.push()
    a.move("push", remote="stick")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"artstore.sync.mirrors.from_mirror.{step}", die)
        with pytest.raises(KeyboardInterrupt):
            b.move("pull", remote="stick")
    b.move("pull", remote="stick")
    b.store.close()
    Store.rebuild(b.store.path)
    b.again()

    assert FILES == b.read("cats")
    assert b.store.verify().ok


@pytest.mark.parametrize("is_evicted", [True, False])
def test_bytes_that_cannot_be_had_keep_nothing_else_from_the_mirror(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path, *, is_evicted: bool
) -> None:
    """While the upstream was away, which is what a mirror is for, nothing went there at all: not even what waited."""
    a, c = machine("a"), lone("c")
    mirror_at(a, stick)
    a.put(FILES)
    a.put({"y": b"y"}, name="birds")
    a.push()
    if is_evicted:
        evict(a.store, ["cats"])
    else:
        large = next(path for path in (a.store.path / "blobs").rglob("*") if path.is_file())
        large.chmod(0o600)
        large.write_bytes(b"x" * 1_500_000)
    depot.rename(depot.with_name("away"))
    a.put({"dogs": b"dogs"}, name="dogs")
    (pushed,) = exchange(a.store, "push", remote="stick").projects
    there = files(stick)
    (again,) = exchange(a.store, "push", remote="stick").projects
    mirror_at(c, stick)
    c.move("pull", remote="stick")

    assert (2, 5, 5) == (pushed.pushed.slots + 1, pushed.exit_code, again.exit_code)
    assert "cats:v0" in str(pushed.error)
    assert "birds" not in str(pushed.error)
    assert files(stick) == there
    assert {"y": b"y"} == c.read("birds")
    assert {"dogs": b"dogs"} == c.read("dogs")
    if is_evicted:
        depot.with_name("away").rename(depot)
    else:
        a.put(FILES)
    a.move("push", remote="stick")
    shutil.rmtree(a.folder)
    assert FILES == c.read("cats")
    assert c.store.verify().ok


@pytest.mark.parametrize("kind", ["blobs", "packs", "manifests"])
def test_what_a_mirror_has_lost_is_put_there_again(
    machine: Make, lone: Callable[[str], Lone], stick: Path, depot: Path, kind: str
) -> None:
    """A push found nothing to do, and who had only the mirror never got it."""
    a, c = machine("a"), lone("c")
    mirror_at(a, stick)
    mirror_at(c, stick)
    a.put(FILES)
    a.push()
    depot.rename(depot.with_name("away"))
    dogs = {"large": b"dogs" * 400_000, "small": b"dogs"}
    a.put(dogs, name="dogs")
    a.put(FILES, name="birds")
    a.move("push", remote="stick")
    for lost in (stick / "mirror" / kind).rglob("*"):
        if lost.is_file():
            lost.unlink()
    a.put({"x": b"x"}, name="x")
    a.move("push", remote="stick")
    there = files(stick)
    a.move("push", remote="stick")
    is_left_alone = files(stick) == there
    c.move("pull", remote="stick", blobs=True)
    shutil.rmtree(stick)

    assert is_left_alone
    assert (FILES, dogs, FILES) == (c.read("cats"), c.read("dogs"), c.read("birds"))
    assert c.store.verify().ok


@pytest.mark.parametrize("read_all", [True, False])
def test_what_is_damaged_on_a_mirror_is_replaced_by_who_has_it(
    machine: Make, lone: Callable[[str], Lone], stick: Path, *, read_all: bool
) -> None:
    """It lay there, so that a push took it for whole, and whoever has the mirror alone could never read it."""
    a, c = machine("a"), lone("c")
    files = {"small": b"small", "large": LARGE}
    for each in (a, c):
        mirror_at(each, stick)
    a.put(files)
    a.push()
    a.put({"y": b"waits"}, name="dogs")
    a.move("push", remote="stick")
    for path in (*lying(stick / "mirror", "blobs"), *lying(stick / "mirror", "packs", ".tar")):
        spoil(path)
    (refused,) = exchange(c.store, "pull", remote="stick", blobs=True).projects
    said = {
        match
        for text in (refused.error, *(each.reason for each in refused.lost))
        for match in DAMAGED.findall(str(text))
    }
    (a_push,) = exchange(a.store, "push", remote="stick").projects
    (report,) = recover(a.store, "stick", read_all=read_all, damaged=[] if read_all else sorted(said)).projects
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store, "stick", read_all=True)
    c.move("pull", remote="stick", blobs=True)
    shutil.rmtree(stick)

    assert 3 == len(said)
    assert a_push.pushed == Moved()
    assert (None, 3) == (report.error, report.pushed.blobs)
    assert files == c.read("cats")
    assert {"y": b"waits"} == c.read("dogs")


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_lost_list_of_files_holds_nothing_up_and_comes_again(
    machine: Make, lone: Callable[[str], Lone], stick: Path, *, is_gone: bool
) -> None:
    """One of them kept all that came behind it, for years of work, from whoever has the mirror alone."""
    a, c = machine("a"), lone("c")
    for each in (a, c):
        mirror_at(each, stick)
    for name in ("cats", "dogs"):
        a.put({name: b"0"}, name=name)
        a.push()
        a.move("push", remote="stick")
        if name == "cats":
            (path,) = lying(stick / "mirror", "manifests")
    a.put({"y": b"waits"}, name="birds")
    a.move("push", remote="stick")
    path.unlink() if is_gone else spoil(path)
    refused = [exchange(c.store, "pull", remote="stick").projects[0] for _ in range(2)]
    with pytest.raises(NotFound, match="cats:v0 is not here yet"):
        c.read("cats:v0")
    before = c.read("dogs"), c.read("birds")
    recover(a.store, "stick", damaged=DAMAGED.findall(str(refused[0].error)))
    c.move("pull", remote="stick")
    rebuilt(c)

    assert ["blob-missing", "blob-missing"] == [each.code for each in refused]
    assert all("of cats:v0 are lost" in str(each.error) for each in refused)
    assert ({"dogs": b"0"}, {"y": b"waits"}) == before
    assert {"cats": b"0"} == c.read("cats")
    assert a.state_hash() == c.state_hash()


@pytest.mark.parametrize("by", ["mirror", "bundle"])
def test_what_has_no_place_is_kept_elsewhere_too_until_somebody_decides(
    machine: Make, tmp_path: Path, stick: Path, by: str
) -> None:
    """Who lost a name to another type had that work on one disk alone, with a mirror at hand."""
    a, b, c = machine("a"), machine("b"), machine("c")
    a.put({"a": b"theirs"})
    a.push()
    tree = b.folder / "tree"
    tree.mkdir()
    (tree / "x").write_bytes(b"mine")
    b.store.put([tree], name="cats", type="model", aliases=["best"])
    b.push()
    assert 1 == len(b.store.conflicts())
    for _ in range(2):
        if by == "mirror":
            mirror_at(b, stick)
            mirror_at(c, stick)
            exchange(b.store, "push", remote="stick")
            exchange(c.store, "pull", remote="stick")
        else:
            (tmp_path / "x.bundle").unlink(missing_ok=True)
            create_bundle(b.store, tmp_path / "x.bundle")
            apply_bundle(c.store, tmp_path / "x.bundle")
    b.store.close()
    shutil.rmtree(b.folder)
    rebuilt(c)
    (lost,) = c.store.conflicts()
    c.store.rename_mine(lost.id, "kept")
    c.push()
    a.pull()

    assert {"x": b"mine"} == a.read("kept:best")
    assert [] == c.store.conflicts()
    assert a.state_hash() == c.state_hash()


@pytest.mark.parametrize(("number", "is_damaged"), [(0, False), (1, False), (2, True)])
def test_a_page_that_was_lost_is_noticed_and_put_there_again(
    machine: Make, lone: Callable[[str], Lone], stick: Path, number: int, *, is_damaged: bool
) -> None:
    """Who had only the mirror took the log to end there, and no push ever mended it."""
    a, c = machine("a"), lone("c")
    for each in (a, c):
        mirror_at(each, stick)
    for n in range(3):
        a.put({"large": b"%d" % n * 1_200_000})
        a.push()
        a.move("push", remote="stick")
    page = files(stick / "mirror" / "log")[number]
    if is_damaged:
        page.chmod(0o600)
        page.write_bytes(page.read_bytes()[:-30])
    else:
        page.unlink()
    (pulled,) = exchange(c.store, "pull", remote="stick").projects

    assert ("remote-corrupt" if is_damaged else "slot-lost") == pulled.code
    assert "artstore push" in str(pulled.error)
    assert number == len(c.names() if c.store.projects() else [])
    a.move("push", remote="stick")
    there = files(stick)
    a.move("push", remote="stick")
    assert there == files(stick)
    assert 3 == len(files(stick / "mirror" / "blobs"))
    c.move("pull", remote="stick", blobs=True)
    shutil.rmtree(stick)
    assert a.names() == c.names()
    assert [b"0" * 1_200_000, b"2" * 1_200_000] == [c.read(f"cats:v{n}")["large"] for n in (0, 2)]
