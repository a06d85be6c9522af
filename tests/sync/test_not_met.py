"""An upstream that is noted and whose log nobody here has met: what waits for it is not this store's alone to say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.create import create_bundle
from artstore.sync.connect import connect
from artstore.sync.remotes import add_remote, remove_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import PROJECT, Machine

Make = Callable[..., Machine]


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A place that nobody has used yet."""
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


def carry(stick: Path, source: Machine, *targets: Machine) -> None:
    """Bring by a disk what waits in one store to others."""
    for each in (source, *targets):
        add_remote(each.store.path, "stick", f"file://{stick}", upstream=False, join=False)
    source.move("push", remote="stick")
    for each in targets:
        each.move("pull", remote="stick")


def change(machine: Machine, place: Path, **options: object) -> None:
    """Follow what is at another place from now on; the old one can still give bytes."""
    remove_remote(machine.store.path, "hub")
    add_remote(machine.store.path, "old", f"file://{machine.depot}", upstream=False, join=False)
    add_upstream(machine.store, "new", f"file://{place}", **{"join": True, **options})  # type: ignore[arg-type]
    connect(machine.store)


def versions(machine: Machine, project: str) -> list[tuple[int, str]]:
    return [(each.number, each.id) for each in machine.store.versions(f"{project}/cats")]


@pytest.mark.parametrize("way", ["by a mirror", "by a mirror, then another upstream", "set aside"])
def test_who_deletes_before_the_first_push_takes_nothing_from_others(
    machine: Make, stick: Path, new: Path, way: str
) -> None:
    """Versions that their maker had never given up were gone for all, the maker included."""
    a, b = machine("a"), machine("b")
    project = "mine" if way == "set aside" else PROJECT
    if "another" in way:
        a.put({"x": b"before"}, name="dogs")
        a.push()
        b.pull()
    for number in range(3):
        a.put({"x": b"%d" % number})
    if "mirror" in way:
        carry(stick, a, b)
    else:
        a.push()
        b.pull()
        exchange(b.store, "pull", blobs=True)
    if way == "set aside":
        z = Machine(new.parent, new, "z")
        z.put({"x": b"theirs"})
        z.push()
        z.store.close()
    for each in (a, b) if way != "by a mirror" else ():
        change(each, new, **({"aside": {"": "mine"}, "join": False} if way == "set aside" else {}))
    before = versions(a, project)
    gone = b.store.delete(f"{project}/cats:v0")
    pruned = b.store.prune([f"{project}/cats"], keep_last=1)
    b.push()
    a.move("sync")

    assert ("forgotten", 1) == (gone.state, len(pruned.deleted))
    assert before[:1] == versions(b, project)
    assert before == versions(a, project)


def test_what_nobody_else_has_seen_ends_for_good_under_its_new_name_too(machine: Make, tmp_path: Path) -> None:
    """It would only be hidden here, and go live to all with the next push."""
    a, b = machine("a"), Store.init(tmp_path / "b")
    a.put({"x": b"theirs"})
    a.push()
    (tmp_path / "x").write_bytes(b"mine")
    b.put([tmp_path / "x"], name="cats", type="dataset")
    add_upstream(b, "hub", f"file://{a.depot}", join=False, aside={"": "mine"})
    gone = b.delete("mine/cats:v0")
    (report,) = [each for each in exchange(b, "push").projects if each.project == "mine"]
    a.pull()

    assert ("deleted", None) == (gone.state, report.error)
    assert [] == a.store.versions("mine/cats")
    b.close()


def test_numbers_stay_where_a_version_waits_for_its_bytes_under_a_new_name(machine: Make, new: Path) -> None:
    """All behind it came to have other numbers, for everybody, and `latest` was a version of the past."""
    a, b, z = machine("a"), machine("b"), Machine(new.parent, new, "z")
    z.put({"x": b"theirs"})
    z.push()
    for number in range(4):
        a.put({"x": b"%d" % number})
    a.push()
    b.pull()
    exchange(b.store, "pull", blobs=True)
    a.store.delete("cats:v1")
    a.store.gc(grace_s=0)
    before = versions(b, PROJECT)
    for each in (a, b):
        change(each, new, join=False, aside={"": "mine"})
        remove_remote(each.store.path, "old")
        exchange(each.store, "sync")
    z.pull()

    assert before == versions(b, "mine") == versions(z, "mine")
    assert [] == b.store.moved_numbers()
    z.store.close()


def test_what_clashes_and_came_by_a_mirror_waits_for_a_decision(machine: Make, stick: Path) -> None:
    """It was passed over without a word, and the store that had it may never come again."""
    a, b = machine("a"), machine("b")
    (a.folder / "x").write_bytes(b"of a")
    a.store.put([a.folder / "x"], name="cats", type="model")
    a.put({"x": b"of a"}, name="dogs")
    b.put({"x": b"of b"})
    carry(stick, a, b)
    (conflict,) = b.store.conflicts()
    b.push()
    b.store.rename_mine(conflict.id, "lions")
    b.push()
    a.pull()

    assert {"x": b"of a"} == b.read("lions") == a.read("lions")
    assert {"x": b"of b"} == a.read("cats")


def test_content_that_was_put_again_is_kept_while_the_new_upstream_is_not_met(machine: Make, new: Path) -> None:
    """Its list and its bytes were freed, and every later pull and push failed of it."""
    a, z = machine("a"), Machine(new.parent, new, "z")
    a.put({"x": b"0"})
    a.put({"x": b"1"})
    a.push()
    a.put({"x": b"0"})
    z.put({"x": b"of z"}, name="dogs")
    z.push()
    change(a, new)
    a.store.delete("cats:v0")
    a.store.gc(grace_s=0)
    report = exchange(a.store, "pull", blobs=True)
    a.push()
    z.pull()

    assert [None] == [each.error for each in report.projects]
    assert [] == a.store.verify().problems
    assert {"x": b"0"} == z.read("cats:v0")
    z.store.close()


def test_a_mirror_does_not_bring_the_old_upstream_back(machine: Make, stick: Path, new: Path) -> None:
    """The store followed that log again without a word, and the new upstream was said to have been set back."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    carry(stick, a, b)
    change(b, new)
    (refused,) = exchange(b.store, "pull", remote="stick").projects
    b.push()

    assert "other-log" == refused.code
    assert a.names() == b.names()
    assert 1 == len(list((new / "log" / PROJECT).iterdir()))


def test_a_bundle_of_what_waits_is_offered_to_the_log_that_is_followed(machine: Make, tmp_path: Path) -> None:
    """Who applied it was told to leave the upstream for the log of one store, which that one ends itself."""
    a, b = machine("a"), machine("b")
    b.put({"x": b"of b"})
    b.push()
    made = a.put({"x": b"of a"}, name="dogs")
    create_bundle(a.store, tmp_path / "bundle")
    (taken,) = apply_bundle(b.store, tmp_path / "bundle").projects
    b.push()
    a.pull()

    assert (None, 1) == (taken.error, taken.offered.versions)
    assert [("dogs:v0", made.id, ["latest"])] == a.names("dogs") == b.names("dogs")
    assert b.names() == a.names()


def test_a_number_is_provisional_until_the_upstream_has_it(machine: Make, new: Path) -> None:
    """What was shown as final became another number with the first pull."""
    a = machine("a")
    put = a.put({"x": b"0"})
    link = a.store.link("cats:v0", "shelf").link
    assert link is not None
    before = put.provisional, link.provisional
    a.push()
    pushed = a.store.version("cats").provisional
    change(a, new)
    changed = a.store.version("cats").provisional
    remove_remote(a.store.path, "new")
    alone = a.store.version("cats").provisional

    assert ((True, True), False, True, False) == (before, pushed, changed, alone)
