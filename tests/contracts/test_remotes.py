"""Remotes: what one machine pushes another pulls, whatever is on the other side; against real servers."""

from __future__ import annotations

import io
import os
import shutil
from typing import Any

import pytest

from artstore.errors import AmbiguousVersion, NotFound
from tests.contracts.fars import FAR_MIRRORS, FARS, Far, Member

FILES = {"large": os.urandom(9_000_000), **{f"d/{number}": b"small %d" % number for number in range(30)}}
"""One that every remote takes in several pieces, and some that travel together."""


def agree(*members: Member) -> None:
    """They have the same, by the same names, and all of it is whole."""
    assert 1 == len({(each.machine.state_hash(), str(each.machine.names())) for each in members})
    for each in members:
        assert each.machine.store.verify().ok


def test_what_one_pushes_the_other_pulls_and_reads(far: Far) -> None:
    one, other = far.join(), far.join()
    version = one.machine.put(FILES, aliases=["best"], metadata={"n": 1})
    one.push()

    other.pull()

    assert FILES == other.machine.read("cats:best")
    assert (version.id, {"n": 1}) == (other.machine.store.version("cats:v0").id, version.metadata)
    agree(one, other)


@pytest.mark.parametrize("far", [*FARS, *FAR_MIRRORS], indirect=True)
def test_both_may_commit_offline_and_end_with_the_same_numbers(far: Far) -> None:
    """And what was v0 on the one that came second is never silently another's."""
    one, other = far.join(), far.join()
    first, second = one.machine.put({"x": b"one"}, aliases=["best"]), other.machine.put({"x": b"other"})

    one.push()
    other.push()
    one.pull()
    other.pull()

    agree(one, other)
    assert [("cats:v1", second.id, ["latest"]), ("cats:v0", first.id, ["best"])] == one.machine.names()
    assert {"x": b"other"} == one.machine.read("cats:latest")
    with pytest.raises(AmbiguousVersion):
        other.machine.store.version("cats:v0")


def test_what_both_changed_is_as_the_first_has_it_and_what_one_deletes_goes_for_all(far: Far) -> None:
    one, other = far.join(), far.join()
    versions = [one.machine.put({"x": b"%d" % number}) for number in range(3)]
    one.push()
    other.pull()
    one.machine.store.alias("cats:v1", ["best"])
    one.push()
    other.machine.store.alias("cats:v2", ["best"])
    other.machine.store.delete("cats:v0", everywhere=True)
    other.push()
    one.pull()
    other.pull()

    agree(one, other)
    assert versions[1].id == other.machine.store.version("cats:best").id
    assert (0, 1) == (len(one.machine.store.conflicts()), len(other.machine.store.conflicts()))
    with pytest.raises(NotFound, match="was deleted"):
        one.machine.store.version("cats:v0")


def test_a_push_of_nothing_new_writes_nothing(far: Far) -> None:
    """Not even where all is lost that a store has noted beside its journal."""
    one, other = far.join(), far.join()
    other.machine.put({"x": b"0", "large": FILES["large"][: 2 << 20]})
    other.push()
    before = far.written()

    other.push()
    shutil.rmtree(other.machine.store.path / "sync", ignore_errors=True)
    other.push()

    assert before == far.written()
    one.pull()
    agree(one, other)


def test_parts_of_several_stores_are_gathered_by_one_that_has_none(far: Far) -> None:
    """No bytes are moved for that, and what has them takes the version all the same."""
    one, other, third = far.join(), far.join(), far.join()
    said: dict[str, Any] = {"name": "cats", "type": "dataset", "distributed_id": "night"}
    for member, paths in ((one, ["large"]), (other, [path for path in FILES if path != "large"])):
        with member.machine.store.draft() as draft:
            for path in paths:
                draft.add_stream(io.BytesIO(FILES[path]), path)
            member.machine.store.add_part(draft, **said)
        member.push()
    third.pull()
    held = third.machine.store.status().stored_bytes

    third.machine.store.finish_parts(**said, expect=2)
    third.push()
    for member in (one, other, third):
        member.pull()

    assert held == third.machine.store.status().stored_bytes
    agree(one, other, third)
    for member in (one, other, third):
        assert FILES == member.machine.read("cats:v0")
