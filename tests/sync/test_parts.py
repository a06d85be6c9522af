"""Many nodes, one version: each has a store of its own, and only the upstream is common to them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import AmbiguousVersion, Conflict, Corrupt, NotFound, PathCollision, Unreachable
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store
from artstore.sync import parts
from artstore.sync.adopt import add_upstream
from artstore.sync.depots.collect import collect_remote
from artstore.sync.rounds import exchange
from artstore.sync.standing import standings
from tests.sync.conftest import PROJECT, Machine

Make = Callable[..., Machine]

LARGE = bytes(range(256)) * 5_000


def add(node: Machine, files: Mapping[str, bytes], *, run: str | None = None, **said: Any) -> str | None:
    """Add a part in a node's own store, and send it; answers why it waits, if it does."""
    if run is not None:
        node.store.start_run(id=run, group="night")
    add_here(node, files, run=run, **said)
    return parts.send(node.store, PROJECT)


def add_here(node: Machine, files: Mapping[str, bytes], **said: Any) -> str:
    with node.store.draft() as draft:
        for path, data in files.items():
            draft.add_stream(io.BytesIO(data), path)
        return node.store.add_part(draft, name="cats", type="dataset", distributed_id="night", **said)


def finish_here(node: Machine, files: Mapping[str, bytes] | None = None, **said: Any) -> VersionInfo:
    with node.store.draft() as draft:
        for path, data in (files or {}).items():
            draft.add_stream(io.BytesIO(data), path)
        return node.store.finish_parts(draft, name="cats", type="dataset", distributed_id="night", **said)


def finish(node: Machine, files: Mapping[str, bytes] | None = None, **said: Any) -> VersionInfo:
    expect = said.get("expect")
    return parts.finish(node.store, PROJECT, lambda: finish_here(node, files, **said), expect=expect).version


def rebuilt(node: Machine) -> None:
    """Lose the catalog, and make it anew from the journal."""
    node.store.close()
    (node.store.path / "catalog.db").unlink()
    assert [] == Store.rebuild(node.store.path).lost
    node.again()


def test_any_node_gathers_what_all_have_sent_and_moves_no_bytes(machine: Make) -> None:
    """One that made no part too; the parts may be larger than its disk."""
    a, b, c = machine("a"), machine("b"), machine("c")
    assert [None, None] == [
        add(a, {"a": LARGE, "both": b"same"}, run="one"),
        add(b, {"b": b"b", "both": b"same"}, run="two"),
    ]
    made = finish(c, {"index": b"i"}, expect=2)
    held = c.store.status()
    a.pull()

    assert ("cats:v0", 4, False) == (made.name, made.files, made.provisional)
    assert (1, len(LARGE) + 5) == (held.stored_bytes, held.absent_bytes)
    assert c.store.verify().ok
    for node in (a, c):
        assert {"a": LARGE, "b": b"b", "both": b"same", "index": b"i"} == node.read("cats")
        assert [] == node.store.parts()
    assert a.names() == c.names()


def test_a_rebuilt_finisher_knows_that_bytes_are_elsewhere(machine: Make) -> None:
    """Otherwise every check would call them lost from then on."""
    a, b = machine("a"), machine("b")
    add(a, {"a": LARGE})
    finish(b, {"index": b"i"})
    rebuilt(b)

    assert b.store.verify().ok
    assert {"a": LARGE, "index": b"i"} == b.read("cats")


def test_a_store_that_is_gone_after_it_sent_its_part_is_not_missed(machine: Make) -> None:
    """Node-local disks are wiped when the job ends."""
    a, b = machine("a"), machine("b")
    add(a, {"a": LARGE, "small": b"s"}, run="one")
    a.store.close()
    shutil.rmtree(a.store.path)
    finish(b, expect=1)

    assert {"a": LARGE, "small": b"s"} == b.read("cats")
    assert ["one"] == [run.id for run in b.store.runs() if b.store.outputs(run.id)]


def test_a_part_that_comes_late_belongs_to_the_next_version(machine: Make) -> None:
    a, b, late = machine("a"), machine("b"), machine("late")
    add(a, {"a": b"a"})
    add_here(late, {"late": b"late"})
    first = finish(b)
    parts.send(late.store, PROJECT)
    b.pull()

    assert [b.store.parts()[0].id] == [part.id for part in late.store.parts()]
    assert 1 == b.store.status().unfinished_parts
    assert {"a": b"a"} == b.read(first.ref)
    assert ("cats:v1", {"late": b"late"}) == (finish(a).name, a.read("cats"))


def test_a_part_that_is_sent_twice_is_once(machine: Make) -> None:
    """A task that is tried again, here or on another node, must not stand for one that never came."""
    a, b, c = machine("a"), machine("b"), machine("c")
    for node in (a, a, b):
        add(node, {"a": b"a"}, run="same")
    with pytest.raises(Conflict) as caught:
        finish(c, expect=2)

    assert "parts-missing" == caught.value.code
    assert "1 of 2 parts" in caught.value.message
    assert 1 == len([part for part in c.store.parts() if part.store == a.store.root.format.store_id])
    assert {"a": b"a"} == c.read(finish(c, expect=1).ref)


def test_too_few_parts_are_said_to_be_and_whose_came(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    add(a, {"a": b"a"}, run="one")
    add(b, {"b": b"b"}, run="two")
    with pytest.raises(Conflict) as caught:
        finish(b, expect=3)

    ids = [node.store.root.format.store_id[:8] for node in (a, b)]
    assert "parts-missing" == caught.value.code
    for said in ("2 of 3 parts", "run 'two' in this store", f"run 'one' in store {ids[0]}"):
        assert said in caught.value.message
    assert [] == b.store.collections()


def test_two_contents_of_one_path_are_refused_and_nothing_is_lost(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    add(a, {"x": b"one"}, run="one")
    add(b, {"x": b"two"}, run="two")
    with pytest.raises(PathCollision, match=r"'one'.*'two'"):
        finish(a)

    assert 2 == len(a.store.parts())


def test_offline_a_part_waits_and_says_so(machine: Make, depot: Path) -> None:
    """The work of a night must not be lost because the network was."""
    a, b = machine("a"), machine("b")
    add(a, {"0": b"0"}, run="zero")
    moved = depot.rename(depot.with_name("away"))
    why = add(a, {"a": LARGE}, run="one")
    assert why is not None
    assert [False, True] == [part.provisional for part in a.store.parts()]
    (standing,) = standings(a.store)
    assert (0, 1, len(LARGE)) == (standing.waiting_versions, standing.waiting_parts, standing.waiting_bytes)
    moved.rename(depot)
    a.push()
    finish(b, expect=2)

    assert {"0": b"0", "a": LARGE} == b.read("cats")
    assert [] == [part for part in a.store.parts() if part.provisional]


def test_a_part_of_what_stays_on_this_machine_is_said_to_wait(machine: Make) -> None:
    """Whoever gathers would miss it, and nobody would know why."""
    a = machine("a")
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["dogs"])
    part = add_here(a, {"a": b"a"})

    assert "--only" in str(parts.send(a.store, PROJECT, part=part))
    assert None is parts.send(a.store, PROJECT)


def test_offline_nothing_is_finished_that_may_not_be_all(machine: Make, depot: Path) -> None:
    """Half of a data set would be trained on; with `expect` it is known to be whole."""
    a, b = machine("a"), machine("b")
    add(a, {"a": b"a"})
    b.pull()
    add_here(b, {"b": b"b"})
    moved = depot.rename(depot.with_name("away"))
    with pytest.raises(Unreachable) as caught:
        finish(b)
    assert ("parts-unknown", []) == (caught.value.code, b.store.collections())
    with pytest.raises(Conflict, match="2 of 3"):
        finish(b, expect=3)
    made = finish(b, expect=2)
    assert made.provisional
    moved.rename(depot)
    b.push()
    a.pull()

    assert {"a": b"a", "b": b"b"} == a.read("cats:v0")


@pytest.mark.parametrize("said", [{"aliases": ["v3"]}, {"type": "\x1b[2J"}, {"name": "a/b"}])
def test_a_part_that_says_what_cannot_be_is_not_taken(machine: Make, said: dict[str, Any]) -> None:
    """Whoever gathers it would say the same in its own name, and nobody could follow the log any more."""
    a, b = machine("a"), machine("b")
    add(a, {"a": b"a"})
    (path,) = (a.depot / "log" / PROJECT).iterdir()
    slot = json.loads(path.read_bytes())
    slot["transactions"][0][0].update(said)
    path.write_bytes(json.dumps(slot).encode())
    (report,) = exchange(b.store, "pull", projects=[PROJECT]).projects

    assert ("remote-corrupt", []) == (report.code, b.store.parts())
    assert "cannot be taken" in (report.error or "")


# Two at once.


def both_finish(one: Machine, other: Machine, own: bytes, **said: Any) -> VersionInfo:
    """Both have pulled, and both gather; `one` is faster."""

    def make() -> VersionInfo:
        made = finish_here(other, {"index": own}, **said)
        finish(one, {"index": b"one"}, aliases=["best"])
        return made

    return parts.finish(other.store, PROJECT, make).version


def test_of_two_who_finish_at_once_with_the_same_content_both_have_one_version(machine: Make) -> None:
    a, b, c = machine("a"), machine("b"), machine("c")
    add(c, {"c": LARGE})
    theirs = both_finish(a, b, b"one", aliases=["best"])

    assert (a.names(), 1) == (b.names(), len(a.names()))
    assert theirs.id == a.names()[0][1]
    assert ([], []) == (b.store.conflicts(), b.store.moved_numbers())
    assert b.store.verify().ok


@pytest.mark.parametrize(("own", "aliases"), [(b"two", ["best"]), (b"one", ["mine"])], ids=["content", "aliases"])
def test_of_two_who_finish_at_once_with_another_version_the_later_is_told(
    machine: Make, own: bytes, aliases: list[str]
) -> None:
    """A part in two versions would be counted twice by whoever adds them up."""
    a, b, c = machine("a"), machine("b"), machine("c")
    add(c, {"c": LARGE})
    with pytest.raises(Conflict) as caught:
        both_finish(a, b, own, aliases=aliases)

    assert "parts-gathered" == caught.value.code
    assert a.names() == b.names()
    assert [("cats:v0", ["best", "latest"])] == [(name, said) for name, _id, said in b.names()]
    assert [] == b.store.conflicts()
    assert 0 == b.store.status().pending_ops
    assert b.store.verify().ok
    b.push()
    a.pull()
    assert a.state_hash() == b.state_hash()


def late_offline(machine: Make, depot: Path) -> tuple[Machine, Machine]:
    """`b` has finished offline, with all parts, and so has `a` with the upstream."""
    a, b = machine("a"), machine("b")
    add(a, {"a": LARGE})
    b.pull()
    moved = depot.rename(depot.with_name("away"))
    finish(b, {"index": b"b"}, expect=1, aliases=["mine"])
    moved.rename(depot)
    finish(a, {"index": b"a"})
    return a, b


def test_a_version_that_came_too_late_is_kept_until_somebody_decides(machine: Make, depot: Path) -> None:
    """I6. It was acknowledged, so it must not vanish; the parts are in the other one, so it must not count unasked."""
    a, b = late_offline(machine, depot)
    late = b.store.version("cats").id
    b.push()
    (conflict,) = b.store.conflicts()
    assert ["cats:v0"] == [name for name, *_ in b.names()]
    with pytest.raises(AmbiguousVersion, match="which waits for a decision"):
        b.store.version("cats:v0")
    assert b.store.verify().ok
    rebuilt(b)
    assert [conflict] == b.store.conflicts()
    b.store.gc(grace_s=0)

    b.store.keep_mine(conflict.id)
    b.push()
    assert b.store.verify().ok
    a.pull()
    assert {"a": LARGE, "index": b"b"} == a.read("cats:mine") == b.read("cats:v1")
    b.store.accept_numbers(["cats"])
    assert late == b.store.version("cats:v1").id, "what names it by its id would lead nowhere"
    assert a.names() == b.names()
    assert [] == b.store.conflicts()
    assert b.store.verify().ok


def test_a_version_that_came_too_late_brings_its_bytes_here(machine: Make, depot: Path) -> None:
    """The version that has its parts may be deleted everywhere while nobody has decided, and nobody else has them."""
    a, b = late_offline(machine, depot)
    b.push()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    a.store.gc(grace_s=0)
    collect_remote(a.store, "hub", grace_s=0)
    b.pull()
    assert b.store.verify().ok
    b.store.gc(grace_s=0)
    b.store.keep_mine(b.store.conflicts()[0].id)
    rebuilt(b)
    assert b.store.verify().ok
    b.push()
    a.pull()

    assert {"a": LARGE, "index": b"b"} == a.read("cats:mine")


def test_no_version_is_made_of_what_came_too_late_and_has_no_bytes(machine: Make, depot: Path) -> None:
    """It would be `latest`, and nobody could ever read it. What could not come is said, and comes later.

    A push or a pull would fail for ever, as long as nobody decides.
    """
    _, b = late_offline(machine, depot)
    away = (depot / "blobs").rename(depot.parent / "blobs")
    for _ in range(2):
        (report,) = exchange(b.store, "push").projects
        assert (None, 0, 1) == (report.code, report.exit_code, len(report.lost))
    (conflict,) = b.store.conflicts()
    named = f"conflict {conflict.id[7:19]}"
    assert f"{named}/a" == report.lost[0].path
    (problem,) = b.store.verify().problems
    assert ("blob-missing", True) == (problem.kind, f"'a' of {named}: " in problem.message)
    with pytest.raises(Corrupt, match="'a'") as caught:
        b.store.keep_mine(conflict.id)
    assert ("blob-missing", [conflict]) == (caught.value.code, b.store.conflicts())
    assert ["cats:v0"] == [name for name, *_ in b.names()]
    away.rename(depot / "blobs")

    b.store.keep_mine(conflict.id)
    assert b.store.verify().ok
    assert {"a": LARGE, "index": b"b"} == b.read("cats:v1")


def test_a_version_that_came_too_late_can_be_given_up(machine: Make, depot: Path) -> None:
    a, b = late_offline(machine, depot)
    b.push()
    b.store.drop_mine(b.store.conflicts()[0].id)
    b.push()
    a.pull()

    assert ([], a.names()) == (b.store.conflicts(), b.names())


# What keeps, and what frees.


def test_what_came_too_late_and_was_to_go_with_its_collection_is_kept_if_that_stays(machine: Make) -> None:
    """The collection's end is a conflict itself, and `gc` freed what was to be decided after it."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    add(a, {"0": b"a"})
    b.pull()
    add_here(b, {"1": b"b"})
    finish_here(b)
    b.store.delete_collection("cats", everywhere=True)
    finish_here(a)
    a.store.alias("cats:v0", ["best"])
    a.push()
    b.pull()
    b.store.gc(grace_s=0)
    rebuilt(b)
    late, end = b.store.conflicts()
    b.store.drop_mine(end.id)

    assert b.store.verify().ok
    b.store.keep_mine(late.id)
    b.push()
    a.pull()
    assert {"0": b"a", "1": b"b"} == a.read("cats") == b.read("cats")


@pytest.mark.parametrize("is_ended", [False, True], ids=["", "and its version was deleted"])
def test_a_part_that_was_gathered_too_late_is_there_for_the_next_version(
    machine: Make, depot: Path, *, is_ended: bool
) -> None:
    """Nobody else has it, and `gc` had freed its list of files with the version that was made of it."""
    a, b = machine("a"), machine("b")
    add(a, {"a": b"a"})
    b.pull()
    moved = depot.rename(depot.with_name("away"))
    add(b, {"b": LARGE, "small": b"s"})
    finish(b, expect=2)
    if is_ended:
        b.store.delete("cats:v0")
    b.store.gc(grace_s=0)
    moved.rename(depot)
    finish(a)
    b.push()
    b.store.gc(grace_s=0)
    rebuilt(b)
    finish(a, expect=1)

    assert {"b": LARGE, "small": b"s"} == a.read("cats:v1")
    b.pull()
    assert [] == b.store.parts()
    assert b.store.verify().ok


def test_a_part_that_is_dropped_is_dropped_everywhere(machine: Make) -> None:
    """And who gathered it meanwhile is told, since its bytes may be gone."""
    a, b = machine("a"), machine("b")
    add(a, {"a": LARGE})
    b.pull()

    def make() -> VersionInfo:
        made = finish_here(b)
        assert 1 == a.store.drop_parts("cats", distributed_id="night")
        a.push()
        return made

    with pytest.raises(Conflict, match="gave one of them up"):
        parts.finish(b.store, PROJECT, make)
    with pytest.raises(NotFound):
        finish(b)
    assert ([], [0]) == (b.store.parts(), [each.versions for each in b.store.collections()])


@pytest.mark.parametrize("gathered", [False, True], ids=["before it is gathered", "after"])
def test_a_gc_of_the_depot_between_part_and_finish_loses_nothing(machine: Make, gathered: bool) -> None:
    """The depot is all that has the part by then."""
    a, b, c, cold = machine("a"), machine("b"), machine("c"), machine("cold")
    add(a, {"a": LARGE, "small": b"s"})
    add_here(a, {"given up": LARGE[1:]}, run="one")
    parts.send(a.store, PROJECT)
    a.store.drop_parts("cats", distributed_id="night", run="one")
    a.push()
    shutil.rmtree(a.store.path / "blobs")

    def gc() -> int:
        return sum(each.freed_bytes for each in collect_remote(c.store, "hub", grace_s=0).projects)

    def make() -> VersionInfo:
        made = finish_here(b, {"index": b"i"}) if gathered else None
        assert gc() >= len(LARGE[1:])
        return made or finish_here(b, {"index": b"i"})

    parts.finish(b.store, PROJECT, make)
    gc()
    cold.pull()

    assert {"a": LARGE, "small": b"s", "index": b"i"} == cold.read("cats")


def test_gc_keeps_what_a_part_needs_before_and_after_it_was_sent(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    moved = depot.rename(depot.with_name("away"))
    add(a, {"a": LARGE, "small": b"s"})
    a.store.gc(grace_s=0)
    moved.rename(depot)
    a.push()
    b.pull()
    for node in (a, b):
        node.store.gc(grace_s=0)
        node.store.gc(grace_s=0)
    finish(b)
    for node in (a, b):
        node.pull()
        node.store.gc(grace_s=0)
        assert node.store.verify().ok

    assert {"a": LARGE, "small": b"s"} == a.read("cats") == b.read("cats")
