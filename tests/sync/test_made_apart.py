"""A collection that was made on two machines: what somebody put into it is there, whatever becomes of the other's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sync.conftest import Machine

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
