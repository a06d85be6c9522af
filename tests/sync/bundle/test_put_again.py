"""Content that is put again waits as an op that names a version which others may have deleted by then."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from artstore.errors import Corrupt
from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.store import Store
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.receipt import make_receipt
from artstore.sync.depots.collect import collect_remote
from artstore.sync.evict import evict
from tests.sync.bundle.conftest import Site, Stick
from tests.sync.conftest import Machine

MakeSite = Callable[[str], Site]
Make = Callable[..., Machine]

FILES = {f"d/{number}": b"small %d" % number for number in range(3)} | {"large": os.urandom(1_200_000)}


def put_again_where_it_is_deleted(office: Site, lab: Site, stick: Stick) -> None:
    office.put(FILES)
    stick.carry(office, lab)
    lab.put({"y": b"y"})
    lab.put(FILES)
    office.store.delete("cats:v0", force=True)
    office.store.gc(grace_s=0)


def lose_list(site: Site, version: VersionInfo) -> None:
    """As damage does."""
    catalog = site.store.root.catalog
    with catalog.write():
        catalog.execute("UPDATE manifest SET digest = NULL WHERE digest = ?", (Digest.parse(version.digest),))


def test_content_that_was_deleted_there_comes_with_its_bytes(site: MakeSite, stick: Stick) -> None:
    """Where its version is gone it is one of its own, and was one of which nothing was there, for ever."""
    office, lab = site("office"), site("lab")
    put_again_where_it_is_deleted(office, lab, stick)
    stick.carry(lab, office)
    stick.carry(office, lab)

    assert FILES == office.read("cats:v2") == lab.read("cats:v2")
    assert office.names() == lab.names()
    assert office.state_hash() == lab.state_hash()
    assert office.store.verify().ok
    assert office.store.gc(grace_s=0).freed_blobs == 0


def test_content_that_went_since_the_receipt_is_named_and_comes_with_the_next(site: MakeSite, stick: Stick) -> None:
    office, lab = site("office"), site("lab")
    office.put(FILES)
    stick.carry(office, lab)
    receipt = office.receipt()
    put_again_where_it_is_deleted(office, lab, stick)
    stick.write(lab, since=receipt)
    (refused,) = apply_bundle(office.store, stick.path()).projects

    assert "bundle-incomplete" == refused.code
    assert lab.store.version("cats:v0").digest in str(refused.error)
    assert [] == office.names()
    assert office.store.verify().ok
    stick.carry(lab, office)
    assert FILES == office.read("cats")


def test_content_that_the_other_side_has_is_not_carried_again(site: MakeSite, stick: Stick) -> None:
    office, lab = site("office"), site("lab")
    office.put(FILES)
    stick.carry(office, lab)
    lab.put({"y": b"y"})
    lab.put(FILES)
    report = stick.carry(lab, office)

    assert 1 == report.blobs
    assert stick.path().stat().st_size < 100_000
    assert FILES == office.read("cats")
    assert ["cats:v1", "cats:v0"] == [name for name, *_ in office.names()]


@pytest.mark.parametrize("frees", [False, True])
def test_bytes_come_also_where_only_the_list_of_files_is(
    machine: Make, site: MakeSite, stick: Stick, *, frees: bool
) -> None:
    """Whoever has evicted a version that is then deleted would have one of which nothing is there."""
    office, lab, other = machine("office"), site("lab"), machine("other")
    office.put(FILES)
    office.push()
    stick.carry(office, lab)
    evict(office.store, ["cats:v0"])
    lab.put({"y": b"y"})
    lab.put(FILES)
    stick.write(lab, since=make_receipt(office.store))
    other.pull()
    other.store.delete("cats:v0", everywhere=True, force=True)
    other.push()
    for _ in range(2):
        collect_remote(other.store, "hub", grace_s=0)
    office.pull()
    if frees:
        office.store.gc(grace_s=0)
    (taken,) = apply_bundle(office.store, stick.path()).projects

    assert ("bundle-incomplete" if frees else None) == taken.code
    if frees:
        stick.carry(lab, office)
    office.push()
    other.pull()
    assert FILES == office.read("cats") == other.read("cats")
    assert office.store.verify().ok


def test_one_version_whose_list_of_files_is_lost_does_not_stop_the_others(site: MakeSite, stick: Stick) -> None:
    """All of a project stopped, in every bundle that was to come."""
    office, lab = site("office"), site("lab")
    lose_list(office, office.put(FILES))
    office.put({"x": b"x"})
    stick.carry(office, lab)
    lose_list(lab, lab.put({"y": b"y"}))
    lab.put({"z": b"z"})
    stick.carry(lab, office)

    assert ["cats:v3", "cats:v2", "cats:v1"] == [name for name, *_ in lab.names()]
    assert {"x": b"x"} == lab.read("cats:v1")
    assert {"z": b"z"} == office.read("cats:v2")
    lab.store.delete("cats:v2", force=True)
    assert lab.store.verify().ok
    Store.rebuild(lab.store.path)
    assert lab.store.verify().ok


def test_what_was_left_out_of_a_bundle_is_named(site: MakeSite, stick: Stick) -> None:
    """Who carries it would find out on the other side of the gap, or never; and damage let no bundle be made at all."""
    office, lab = site("office"), site("lab")
    contents = [bytes([number]) * 1_100_000 for number in range(3)]
    for number, content in enumerate(contents):
        office.put({"x": content, "n": b"%d" % number})
    lose_list(office, office.put({"y": b"y"}, name="dogs"))
    by_digest = {
        Digest.of(path.read_bytes()): path for path in (office.store.path / "blobs").rglob("*") if path.is_file()
    }
    by_digest[Digest.of(contents[1])].unlink()
    damaged = by_digest[Digest.of(contents[2])]
    damaged.chmod(0o644)
    damaged.write_bytes(b"!" * 1_100_000)
    report = stick.write(office)
    (taken,) = apply_bundle(lab.store, stick.path()).projects
    with pytest.raises(Corrupt):
        stick.write(office, "cats:v2")

    assert {"cats:v1", "cats:v2", "dogs:v0"} == {each.path.partition("/")[2] for each in report.left}
    assert all("artstore repair" in each.reason for each in report.left)
    assert taken.error is None
    assert {"x": contents[0], "n": b"0"} == lab.read("cats:v0")
    assert [] == stick.write(lab, "cats:v0").left


@pytest.mark.parametrize("by", ["everywhere", "here"])
def test_bytes_of_what_was_deleted_since_stay_in_an_older_bundle(
    machine: Make, site: MakeSite, stick: Stick, by: str
) -> None:
    """Whoever applies the stick of last week once more would have them back on the disk, and no gc frees them again."""
    a, b = machine("a"), site("b")
    shared, alone = {"x": b"x" * 1_100_000}, {"y": b"y" * 1_200_000, "z": b"z"}
    a.put(shared | alone)
    a.put(shared)
    a.put(alone | {"w": b"w"}, name="dogs")
    a.push()
    stick.write(a)
    first = stick.path()
    apply_bundle(b.store, first)
    for name in ("cats:v0", "dogs:v0"):
        if by == "here":
            b.store.delete(name, force=True)
        else:
            a.store.delete(name, everywhere=True, force=True)
    a.push()
    stick.carry(a, b)
    b.store.gc(grace_s=0, deleted=True)
    held = b.store.status().stored_bytes
    again = apply_bundle(b.store, first)

    assert ([None], 0) == ([project.error for project in again.projects], again.blobs)
    assert held == b.store.status().stored_bytes == len(shared["x"])
    assert shared == b.read("cats:v1")
    b.put(alone, name="mice")
    assert alone == b.read("mice")
    assert b.store.verify().ok
