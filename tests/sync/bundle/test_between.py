"""What a bundle carries is on the other side what it was here, both ways and however often it is taken."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from artstore.errors import Corrupt, NotFound
from artstore.store import Store
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.archive import BundleReader
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.head import Section, inspect_bundle, read_head
from tests.sync.bundle.conftest import Site, Stick
from tests.sync.conftest import PROJECT, Machine

MakeSite = Callable[[str], Site]
Make = Callable[..., Machine]

SMALL = {f"d/{number}": b"small %d" % number for number in range(20)}
LARGE = {"large": random.Random(2).randbytes(1_500_000)}


def journal_of(site: Machine) -> list[str]:
    return sorted(str(path) for path in (site.store.path / "ops").rglob("*"))


def test_what_one_writes_the_other_takes_and_reads(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put(SMALL | LARGE, aliases=["best"], metadata={"n": 1}, description="cats")
    a.put(SMALL | {"more": b"more"})
    report = stick.carry(a, b)

    assert (2, 22) == (report.projects[0].taken.versions, report.blobs)
    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert SMALL | LARGE == b.read("cats:best")
    assert {"n": 1} == b.store.version("cats:v0").metadata
    assert b.store.verify().ok


def test_what_an_older_artstore_says_of_a_project_can_be_read(site: MakeSite, tmp_path: Path) -> None:
    """It was called damaged, and no copy of it was any better."""
    a = site("a")
    a.put(SMALL)
    create_bundle(a.store, tmp_path / "stick")
    with BundleReader(tmp_path / "stick") as reader:
        (section,) = read_head(reader).projects
    before = {name: value for name, value in msgspec.to_builtins(section).items() if name != "awaits"}

    assert section == msgspec.convert(before, Section)


def test_what_is_made_on_either_side_has_one_number_on_both(site: MakeSite, stick: Stick) -> None:
    """I11. Two sites that nobody joins but by a stick would each have a v1 of its own for ever."""
    a, b = site("a"), site("b")
    a.put({"x": b"0"})
    stick.carry(a, b)
    theirs, mine = b.put({"x": b"b"}), a.put({"x": b"a"})
    before = b.store.version("cats:latest").provisional
    stick.carry(b, a)
    stick.carry(a, b)

    assert before
    assert [("cats:v2", theirs.id, ["latest"]), ("cats:v1", mine.id, [])] == b.names()[:2]
    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert not any(each.provisional for each in b.store.versions("cats"))
    assert [theirs.id] == [each.id for each in b.store.moved_numbers()]
    assert b"b" == a.read("cats:v2")["x"]
    assert stick.write(a, since=b.receipt()).files == stick.write(b, since=a.receipt()).files == []


def test_only_what_the_other_side_lacks_is_carried(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put(SMALL | LARGE)
    stick.carry(a, b)
    a.put(SMALL | LARGE | {"one": b"more"})
    stick.carry(a, b)
    (second,) = inspect_bundle(stick.path()).projects

    assert (1, 4, 1, 1) == (second.blobs, second.bytes, second.versions, second.ops)
    assert stick.path().stat().st_size < 20_000
    assert SMALL | LARGE | {"one": b"more"} == b.read("cats")


def test_of_a_large_file_that_was_changed_only_what_is_new_is_carried(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    old = os.urandom(9 << 20)
    a.put({"large": old})
    stick.carry(a, b)
    a.put({"large": b"!" + old})
    stick.carry(a, b)

    assert stick.path().stat().st_size < 500_000
    assert {"large": b"!" + old} == b.read("cats")
    assert b.store.verify().ok


def test_a_bundle_taken_twice_is_taken_once(site: MakeSite, stick: Stick) -> None:
    """I10. A stick that lies about is put in again."""
    a, b = site("a"), site("b")
    a.put(SMALL)
    stick.carry(a, b)
    first = stick.path()
    b.put({"x": b"b"})
    stick.carry(b, a)
    before = [(journal_of(each), each.names(), each.state_hash()) for each in (a, b)]
    again = [apply_bundle(b.store, first), apply_bundle(a.store, stick.path())]

    assert before == [(journal_of(each), each.names(), each.state_hash()) for each in (a, b)]
    assert [0, 0] == [report.blobs for report in again]
    assert [0, 0] == [report.projects[0].taken.ops + report.projects[0].offered.ops for report in again]


def test_bytes_may_be_chosen_and_the_rest_follows_when_it_is_asked_for(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put({"x": b"old"})
    a.put({"x": b"new"})
    stick.carry(a, b, "cats:v1")

    assert a.names() == b.names()
    assert {"x": b"new"} == b.read("cats:v1")
    with pytest.raises(Corrupt, match="missing"):
        b.read("cats:v0")
    stick.carry(a, b, "cats:v0")
    assert {"x": b"old"} == b.read("cats:v0")


def test_what_the_other_side_makes_of_chosen_bytes_is_whole(site: MakeSite, stick: Stick) -> None:
    """A file that came with no version must not be taken for there when the next version needs it."""
    a, b = site("a"), site("b")
    a.put({"x": b"old", "y": b"y"})
    a.put({"x": b"new"})
    stick.carry(a, b, "cats:v1")
    a.put({"x": b"old", "z": b"z"})
    stick.carry(a, b)

    assert {"x": b"old", "z": b"z"} == b.read("cats:v2")


def test_projects_share_their_bytes(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put(SMALL, project="one")
    a.put(SMALL, project="two")
    report = stick.carry(a, b)

    assert 20 == report.blobs
    assert SMALL == b.read("one/cats") == b.read("two/cats")
    with pytest.raises(NotFound):
        stick.write(a, "three/cats")


def test_a_site_behind_a_site_is_in_the_upstreams_order(machine: Make, site: MakeSite, stick: Stick) -> None:
    """The laptop follows a depot, the cluster follows by stick; what is made there comes to everybody by the laptop."""
    laptop, other, cluster = machine("laptop"), machine("other"), site("cluster")
    laptop.put({"x": b"0"})
    laptop.push()
    stick.carry(laptop, cluster)
    made = cluster.put({"x": b"cluster"}, aliases=["best"])
    stick.carry(cluster, laptop)
    waits = laptop.store.version("cats:best").provisional
    laptop.push()
    other.pull()
    stick.carry(laptop, cluster)

    assert waits
    assert made.id == other.store.version("cats:best").id
    assert {"x": b"cluster"} == other.read("cats:best")
    assert len({each.state_hash() for each in (laptop, other, cluster)}) == 1
    assert not cluster.store.version("cats:best").provisional


def test_who_is_ahead_in_the_log_takes_offers_all_the_same(machine: Make, stick: Stick) -> None:
    """A bundle that carries no slot, for one who has more of them, was called damaged."""
    a, b = machine("a"), machine("b")
    for _ in range(2):
        b.put({"x": b"%d" % len(b.store.projects())})
        b.push()
    version = a.put({"x": b"a"})
    a.pull()
    b.put({"x": b"b"})
    b.push()
    report = stick.carry(a, b)

    assert (0, 1) == (report.projects[0].taken.slots, report.projects[0].offered.versions)
    assert version.id in [id_ for _name, id_, _aliases in b.names()]


def test_an_offer_that_comes_too_late_stays_a_conflict_of_its_store(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    versions = [a.put({"x": b"%d" % number}) for number in range(3)]
    a.store.alias("cats:v0", ["best"])
    stick.carry(a, b)
    a.store.alias("cats:v1", ["best"])
    b.store.alias("cats:v2", ["best"])
    report = stick.carry(b, a)
    stick.carry(a, b)

    assert (0, 1) == (report.projects[0].offered.ops, report.projects[0].void)
    assert versions[1].id == a.store.version("cats:best").id == b.store.version("cats:best").id
    assert [] == a.store.conflicts()
    assert 1 == len(b.store.conflicts())


def test_a_rebuilt_catalog_is_the_same(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put(SMALL, aliases=["best"])
    stick.carry(a, b)
    b.put({"x": b"b"})
    stick.carry(b, a)
    for each in (a, b):
        before = each.names(), each.state_hash(), each.receipt().projects
        each.store.close()
        (each.store.path / "catalog.db").unlink()
        assert [] == Store.rebuild(each.store.path).lost
        each.again()
        assert before == (each.names(), each.state_hash(), each.receipt().projects)
    assert SMALL == b.read("cats:best")


@pytest.mark.parametrize("times", [1, 2])
def test_a_version_that_was_deleted_here_alone_is_not_missed_there(
    machine: Make, site: MakeSite, stick: Stick, times: int
) -> None:
    """Its files are gone from here: a version without them would look whole to whoever gets it."""
    a, b = machine("a"), site("b")
    for _ in range(times):
        a.put({"x": b"0"})
        a.put({"x": b"1"})
    a.push()
    a.store.delete("cats:v0", force=True)
    a.store.gc(grace_s=0)
    stick.carry(a, b)

    assert ["cats:v1"] == [name for name, *_ in b.names()]
    assert a.state_hash() == b.state_hash()
    assert b.store.verify().ok


@pytest.mark.parametrize("how", ["deleted", "deleted by force", "gathered"])
def test_what_is_to_end_with_what_waits_keeps_nobody_from_the_log(
    machine: Make, site: MakeSite, stick: Stick, how: str
) -> None:
    """Every bundle was called damaged from a deletion for all on, until the upstream could be reached."""
    a, b = machine("a"), site("b")
    a.put({"x": b"0"})
    a.put({"x": b"1"})
    part: dict[str, Any] = {"name": "cats", "type": "dataset", "project": PROJECT, "distributed_id": "epoch"}
    for path in ("one", "two"):
        with a.store.draft() as draft:
            draft.add_file(a.folder / "tree" / "x", path)
            a.store.add_part(draft, **part)
    a.push()
    if how == "gathered":
        a.store.finish_parts(**part)
    else:
        a.store.delete("cats:v0", everywhere=True, force=how == "deleted by force")
    a.store.gc(grace_s=0)
    stick.carry(a, b)

    assert [id_ for _name, id_, _aliases in a.names()] == [id_ for _name, id_, _aliases in b.names()]
    assert a.read("cats:latest") == b.read("cats:latest")
    assert a.state_hash() == b.state_hash()
    assert a.store.parts(PROJECT) == b.store.parts(PROJECT)
    assert b.store.verify().ok


def test_what_others_have_ended_is_not_missed_where_its_name_is_taken(machine: Make, stick: Stick) -> None:
    """It comes without its files: a bundle of it was called damaged by whoever had made something of another type."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    a.put({"x": b"1"}, name="dogs")
    a.store.delete("dogs:v0", force=True)
    a.push()
    (b.folder / "mine").write_bytes(b"2")
    b.store.put([b.folder / "mine"], name="dogs", type="model")
    stick.carry(a, b)

    assert a.state_hash() == b.state_hash()
    assert ["type"] == [each.kind for each in b.store.conflicts()]


def test_a_bundle_is_split_for_disks_that_hold_no_large_files(site: MakeSite, stick: Stick) -> None:
    a, b = site("a"), site("b")
    a.put(SMALL | LARGE)
    made = stick.write(a, split=400_000)
    files = [Path(file) for file in made.files]

    assert ["1.bundle.001", "1.bundle.002", "1.bundle.003", "1.bundle.004"] == [file.name for file in files]
    assert [400_000] * 3 == [file.stat().st_size for file in files[:-1]]
    files[1].rename(stick.folder / "forgotten")
    assert "bundle-damaged" == stick.refused(b)
    (stick.folder / "forgotten").rename(files[1])
    apply_bundle(b.store, files[0])
    assert SMALL | LARGE == b.read("cats")


@pytest.mark.parametrize("is_taker_first", [True, False])
def test_who_has_an_upstream_noted_does_not_follow_the_log_of_another_store(
    machine: Make, stick: Stick, *, is_taker_first: bool
) -> None:
    """That log ended with its owner's first push, and whoever had taken it could neither push nor pull any more."""
    a, c = machine("a", join=False), machine("c", join=False)
    a.put({"x": b"x"}, aliases=["best"])
    a.put({"y": b"y"})
    a.put({"y": b"y"}, name="dogs")
    a.store.delete("cats:v1", force=True)
    stick.carry(a, c)
    stick.carry(a, c)
    assert {"x": b"x"} == c.read("cats:best")
    c.put({"c": b"c"}, name="dogs")
    for each in (c, a, c) if is_taker_first else (a, c, a):
        each.push()
        each.pull()

    assert a.names() == c.names()
    assert {"y": b"y"} == c.read("dogs:v0")
    assert {"c": b"c"} == a.read("dogs:v1")
    assert a.store.verify().ok
    assert c.store.verify().ok


def test_a_part_that_was_gathered_too_late_comes_for_the_next_version(site: MakeSite, stick: Stick) -> None:
    """No bundle of that machine could be applied any more, for what it lacked."""
    hub, a = site("hub"), site("a")
    part: dict[str, Any] = {"name": "cats", "type": "dataset", "project": PROJECT, "distributed_id": "epoch"}

    def add(each: Machine, path: str) -> None:
        with each.store.draft() as draft:
            draft.add_stream(io.BytesIO(path.encode()), path)
            each.store.add_part(draft, **part)

    add(hub, "first")
    stick.carry(hub, a)
    add(a, "second")
    a.store.finish_parts(**part)
    a.store.gc(grace_s=0)
    hub.store.finish_parts(**part)
    stick.carry(a, hub)

    assert {"second": b"second"} == hub.read(hub.store.finish_parts(**part).ref)


def test_what_goes_with_a_collection_that_others_have_come_to_need_comes_along(site: MakeSite, stick: Stick) -> None:
    """The end of all of it was void there, and what only its maker had was lacking: no bundle of it could be taken."""
    hub, a, c = site("hub"), site("a"), site("c")
    hub.put({"x": b"0"})
    stick.carry(hub, a)
    stick.carry(hub, c)
    a.put({"x": b"mine"})
    a.store.delete_collection("cats", everywhere=True)
    a.store.gc(grace_s=0)
    hub.store.alias("cats:v0", ["best"])
    for target in (c, hub):
        stick.carry(a, target)
    c.store.gc(grace_s=0)
    for target in (a, c):
        stick.carry(hub, target)

    for each in (hub, a, c):
        assert {"x": b"mine"} == each.read("cats:v1")
        assert each.store.verify().ok
        assert [] == Store.rebuild(each.store.path).lost


def test_what_goes_with_a_collection_of_which_others_were_given_some_comes_along(site: MakeSite, stick: Stick) -> None:
    """Who had taken some of it before anybody accepted it came to need that, and the rest was in no bundle any more."""
    hub, a, c = site("hub"), site("a"), site("c")
    hub.put({"x": b"0"}, name="birds")
    for target in (a, c):
        stick.carry(hub, target)
    a.put({"x": b"given"})
    stick.carry(a, c)
    c.store.alias("cats:v0", ["best"])
    a.put({"x": b"mine"})
    a.store.delete_collection("cats", everywhere=True)
    a.store.gc(grace_s=0)
    for source in (c, a):
        stick.carry(source, hub)
    for target in (a, c):
        stick.carry(hub, target)

    for each in (hub, a, c):
        assert {"x": b"mine"} == each.read("cats:v1")
        assert each.store.verify().ok
