"""A collection that was made on two machines: what somebody put into it is there, whatever becomes of the other's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import AmbiguousVersion
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.remotes import add_remote, remove_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import PROJECT, Machine

Make = Callable[..., Machine]


@pytest.fixture
def pair(machine: Make) -> tuple[Machine, Machine]:
    """Two that have made `cats` apart, each a version of its own; the second one has seen what the first one has."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"theirs"})
    b.put({"x": b"mine"})
    a.push()
    b.pull()
    return a, b


def renamed(pair: tuple[Machine, Machine], name: str = "cats") -> None:
    """The first gives theirs another name, before the second has sent anything."""
    a, b = pair
    a.store.rename(name, "lions")
    a.push()
    b.push()
    a.pull()
    assert [] == b.store.conflicts()
    assert a.state_hash() == b.state_hash()


def contents(each: Machine, name: str) -> list[bytes]:
    """What is in a collection, the newest first."""
    return [each.read(version.exact)["x"] for version in each.store.versions(name)]


def test_what_was_put_into_a_collection_is_in_it_when_others_rename_theirs(pair: tuple[Machine, Machine]) -> None:
    """Else `cats:latest` is something older than what was put there last, and nobody finds the newest under cats."""
    _a, b = pair
    b.put({"x": b"newer"})
    assert b.put({"x": b"theirs"}).number == 0
    renamed(pair)

    for each in pair:
        assert [b"theirs", b"newer", b"mine"] == contents(each, "cats")
        assert [b"theirs"] == contents(each, "lions")


def test_an_alias_stays_with_its_version_when_others_rename_theirs(pair: tuple[Machine, Machine]) -> None:
    _a, b = pair
    mine, theirs = b.store.versions("cats")
    b.put({"x": b"newer"}, aliases=["best"])
    b.store.alias(mine.exact, ["first"])
    b.store.alias(theirs.exact, ["theirs"])
    renamed(pair)

    for each in pair:
        assert [["best", "latest"], ["first"]] == [aliases for _name, _id, aliases in each.names("cats")]
        assert [["latest", "theirs"]] == [aliases for _name, _id, aliases in each.names("lions")]


def test_what_was_linked_is_in_its_portfolio_when_others_rename_theirs(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    for each in (a, b):
        each.put({"x": each.folder.name.encode()}, name=each.folder.name)
        each.store.link(each.folder.name, "port")
    b.put({"x": b"gone"}, name="gone")
    b.store.link("gone", "port")
    a.push()
    b.pull()
    gone, mine, _theirs = b.store.versions("port")
    b.put({"x": b"newer"})
    b.store.link("cats", "port", aliases=["best"])
    b.store.alias(f"port@{mine.id}", ["first"])
    b.store.unlink(f"port@{gone.id}")
    renamed((a, b), "port")

    for each in (a, b):
        there = each.store.versions("port")
        assert ["cats:v0", "b:v0"] == [version.name for version in there]
        assert [["best", "latest"], ["first"]] == [version.link.aliases for version in there if version.link]
        assert ["a:v0"] == [version.name for version in each.store.versions("lions")]


def rebuilt(each: Machine) -> None:
    """Lose the catalog, and make it anew from the journal."""
    each.store.close()
    (each.store.path / "catalog.db").unlink()
    assert [] == Store.rebuild(each.store.path).lost
    each.again()


def moved(each: Machine) -> list[tuple[str, int, str]]:
    """The numbers that mean something else: the collection, the number, and what it was is called now."""
    return [(found.collection, found.before, found.called) for found in each.store.moved_numbers()]


def both_link(machine: Make) -> tuple[Machine, Machine]:
    """Two who each link what they have made to a portfolio; the first one is faster."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"}, name="zero")
    a.store.link("zero", "port")
    a.push()
    b.pull()
    for each in (a, b):
        each.put({"x": each.folder.name.encode()}, name=each.folder.name)
        link = each.store.link(each.folder.name, "port").link
        assert link is not None
        assert (link.number, link.provisional) == (1, True)
    a.push()
    b.push()
    return a, b


def test_a_number_of_a_portfolio_that_moved_is_refused_until_it_is_accepted(machine: Make) -> None:
    """Else port:v1 in a script is another one's model, without a word."""
    a, b = both_link(machine)

    for _ in range(2):
        assert [("port", 1, "v2")] == moved(b)
        for look in (b.store.version, b.store.unlink):
            with pytest.raises(AmbiguousVersion, match=r"port@\w+, which is v2 now; now it means uncategorized/port@"):
                look("port:v1")
        assert [False, False, False] == [each.link.provisional for each in b.store.versions("port") if each.link]
        rebuilt(b)
    assert b.store.verify().ok
    assert [] == moved(a)
    assert "b" == b.store.version("port:v2").collection
    b.store.accept_numbers(["port"])
    assert "a" == b.store.version("port:v1").collection


def test_a_number_of_what_somebody_took_out_since_is_not_theirs(machine: Make) -> None:
    _a, b = both_link(machine)
    b.store.unlink("port:v2")
    b.push()

    assert [("port", 1, "gone")] == moved(b)
    with pytest.raises(AmbiguousVersion, match="which was taken out"):
        b.store.version("port:v1")


def test_a_link_that_others_took_out_is_not_called_another_one(machine: Make) -> None:
    a, b = both_link(machine)
    b.store.accept_numbers(["port"])
    a.pull()
    a.store.unlink("port:v0")
    a.push()
    b.put({"x": b"waits"})
    b.pull()

    assert [] == moved(b)


def test_a_link_to_a_portfolio_that_was_refused_is_doubtful(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"}, name="one")
    a.store.link("one", "port")
    a.push()
    b.store.put([a.folder / "tree"], name="two", type="model")
    b.store.link("two", "port")
    b.push()

    assert [("port", 0, "a conflict")] == moved(b)
    with pytest.raises(AmbiguousVersion, match="artstore conflicts"):
        b.store.version("port:v0")
    (conflict,) = b.store.conflicts()
    b.store.rename_mine(conflict.id, "harbour")
    assert [("port", 0, "harbour:v0")] == moved(b)
    b.push()
    rebuilt(b)
    assert [("port", 0, "harbour:v0")] == moved(b)


def test_a_number_by_a_name_that_others_gave_up_is_doubtful(pair: tuple[Machine, Machine]) -> None:
    """cats:v0 was theirs on this machine, and is the first of one's own from then on."""
    a, b = pair
    renamed(pair)

    for _ in range(2):
        assert [("cats", 0, "lions:v0"), ("cats", 1, "v0")] == moved(b)
        with pytest.raises(AmbiguousVersion, match="which is lions:v0 now"):
            b.store.version("cats:v0")
        rebuilt(b)
    # There too it is another one than before, whoever gave up the name.
    assert [("cats", 0, "lions:v0")] == moved(a)


def test_runs_with_one_id_on_two_machines_keep_what_was_said_of_each(machine: Make) -> None:
    """Both were called trial-7 on purpose: which rate made which model must not be what the second one said."""
    a, b = machine("a"), machine("b")
    for each, rate in ((a, 0.1), (b, 0.2)):
        each.store.start_run(project=PROJECT, id="trial-7")
        each.store.edit_run("trial-7", project=PROJECT, config={"lr": rate})  # as `init` does
        each.put({"x": each.folder.name.encode()}, name=each.folder.name, run="trial-7")
    a.push()
    b.pull()
    assert {"lr": 0.2, "epochs": 9} == b.store.edit_run("trial-7", project=PROJECT, config={"epochs": 9}).config
    b.store.hold_run("trial-7", project=PROJECT).release()
    assert "finished" == b.store.finish_run("trial-7", project=PROJECT).state
    b.push()
    a.pull()

    for each in (a, b):
        run = each.store.run("trial-7", project=PROJECT)
        assert ({"lr": 0.1}, "running") == (run.config, run.state)
        assert [({"lr": 0.2, "epochs": 9}, "finished")] == [(other.config, other.state) for other in run.apart]
        made = each.store.outputs("trial-7", project=PROJECT)
        assert ["a", "b"] == sorted(version.collection for version in made)
        rebuilt(each)
    assert b.store.verify().ok
    assert [] == b.store.conflicts()


def test_a_run_that_was_begun_apart_and_died_is_marked(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    for each, rate in ((a, 0.1), (b, 0.2)):
        each.store.start_run(project=PROJECT, id="trial-7", config={"lr": rate})
        each.put({"x": b"x"}, run="trial-7")
    hold = b.store.hold_run("trial-7", project=PROJECT)
    a.push()
    b.push()
    assert hold._fd is not None
    os.close(hold._fd)  # as the kernel does with what a killed process has open

    run = b.store.run("trial-7", project=PROJECT)
    assert ["running", "crashed"] == [run.state, *(other.state for other in run.apart)]


def test_what_is_said_of_ones_own_run_is_not_said_of_one_that_came_by_a_mirror(machine: Make, tmp_path: Path) -> None:
    """The journal has others' ops too where these wait here: their run would end, and this one never."""
    (tmp_path / "stick").mkdir()
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"})
    a.push()
    b.pull()
    for each, rate in ((a, 0.1), (b, 0.2)):
        add_remote(each.store.path, "stick", f"file://{tmp_path / 'stick'}", upstream=False, join=False)
        each.store.start_run(project=PROJECT, id="trial-7", config={"lr": rate})
    a.push()
    exchange(b.store, "push", remote="stick")
    exchange(a.store, "pull", remote="stick")
    a.store.edit_run("trial-7", project=PROJECT, config={"epochs": 9})
    a.store.finish_run("trial-7", project=PROJECT)
    run = a.store.run("trial-7", project=PROJECT)

    assert ({"lr": 0.1, "epochs": 9}, "finished") == (run.config, run.state)
    assert [({"lr": 0.2}, "running")] == [(other.config, other.state) for other in run.apart]


def test_what_was_forgotten_and_is_refused_at_another_upstream_is_not_missed(machine: Make, tmp_path: Path) -> None:
    """Its files were freed as its maker wanted it, and `verify` would call them lost for as long as nobody decides."""
    (tmp_path / "other").mkdir()
    z = machine("z", url=f"file://{tmp_path / 'other'}")
    z.put({"x": b"z"}, name="other")
    z.store.put([z.folder / "tree"], name="cats", type="model")
    z.push()
    a = machine("a")
    a.put({"x": b"a"})
    a.put({"x": b"b"}, name="dogs")
    a.push()
    a.store.delete("cats:v0")
    a.store.gc(grace_s=0)
    remove_remote(a.store.path, "hub")
    add_upstream(a.store, "hub", f"file://{tmp_path / 'other'}", join=True)
    a.move("sync")

    assert 1 == len(a.store.conflicts())
    assert a.store.verify().ok
    a.store.gc(grace_s=0)
    rebuilt(a)


def test_what_was_to_go_with_a_collection_of_both_is_not_missed_when_others_were_first(
    machine: Make,
) -> None:
    """Its maker calls the collection by the id of its own, and the end by that of both: it ends all the same."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"theirs"})
    b.put({"large": os.urandom(1_100_000)})
    b.put({"x": b"mine"})
    a.push()
    for blob in (b.store.path / "blobs").rglob("*"):
        if blob.is_file():
            # What cannot be sent stays, and its collection has gone with the other one.
            blob.unlink()
    assert ["blob-missing"] == [project.code for project in exchange(b.store, "push", renumber=True).projects]
    a.pull()
    b.store.delete_collection("cats", force=True, everywhere=True)
    b.store.gc(grace_s=0)
    a.store.delete_collection("cats", force=True, everywhere=True)
    a.push()
    b.pull()

    assert b.store.verify().ok
    rebuilt(b)
    b.push()
    assert b.store.verify().ok


def test_what_one_has_decided_of_a_refused_collection_is_decided_for_all_who_had_it(
    machine: Make, tmp_path: Path
) -> None:
    """Else each of fifty nodes that followed the old upstream has to say so, and makes the versions once more."""
    (tmp_path / "other").mkdir()
    z = machine("z", url=f"file://{tmp_path / 'other'}")
    z.put({"x": b"z"}, name="other")
    z.store.put([z.folder / "tree"], name="cats", type="model")
    z.push()
    a, c = machine("a"), machine("c")
    version = a.put({"x": b"a"})
    a.push()
    c.pull()
    for each in (a, c):
        remove_remote(each.store.path, "hub")
        add_upstream(each.store, "hub", f"file://{tmp_path / 'other'}", join=True)
        # What one has never had the bytes of, one does not miss.
        assert [2] == [project.conflicts for project in each.move("sync").projects]
        assert each.store.verify().ok
    rebuilt(c)
    (tmp_path / "stick").mkdir()
    for each in (c, a):
        # Nor is it one's own to bring where it is carried about.
        add_remote(each.store.path, "stick", f"file://{tmp_path / 'stick'}", upstream=False, join=True)
        assert [None] == [project.code for project in exchange(each.store, "push", remote="stick").projects]
    (conflict,) = a.store.conflicts()
    a.store.rename_mine(conflict.id, "felines")
    a.push()

    assert [0] == [project.conflicts for project in c.move("sync").projects]
    assert [] == c.store.conflicts()
    for each in (a, c):
        assert [("v0", version.id)] == [(f"v{each.number}", each.id) for each in each.store.versions("felines")]
