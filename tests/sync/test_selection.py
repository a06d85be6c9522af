"""What travels can be chosen: whole collections towards the upstream, bytes of single versions from it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from artstore.cli import main
from artstore.errors import ArtstoreError, Conflict, Invalid, NotFound
from artstore.lifecycle.upstream import attach, followed
from artstore.sync.adopt import add_upstream
from artstore.sync.choice import Pick, choose
from artstore.sync.push import next_offer
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import Verb, exchange
from artstore.sync.standing import standings
from tests.sync.conftest import PROJECT, Machine
from tests.sync.test_agreeing import rebuilt
from tests.sync.test_follow import eventually, following, slots

Make = Callable[..., Machine]


def names_of(machine: Machine) -> dict[str, list[tuple[str, str, list[str]]]]:
    return {each.name: machine.names(each.name) for each in machine.store.collections()}


def test_a_collection_that_is_chosen_goes_whole_and_alone(machine: Make) -> None:
    """With its labels, numbers and the run that made it; and nobody there sees anything of the others."""
    a, b = machine("a"), machine("b")
    secret = a.put({"a": b"secret"}, name="dogs")
    a.store.start_run(id="train", name="training")
    a.store.use("train", secret.exact)
    a.put({"a": b"0"}, run="train")
    a.put({"a": b"1"}, aliases=["best"])
    a.put({"a": b"2"}, name="birds")
    report = a.move("push", references=["cats:v0"])
    b.pull()
    chosen = names_of(b)
    made_by = b.store.version("cats:v0").run
    a.push()
    b.pull()

    assert [2, 2] == [report.projects[0].pushed.versions, report.projects[0].pushed.blobs]
    assert ["cats"] == list(chosen)
    assert chosen["cats"] == a.names("cats")
    assert "train" == made_by
    assert names_of(a) == names_of(b)
    assert a.state_hash() == b.state_hash()
    assert [] == a.store.conflicts()


def test_a_remote_noted_for_some_collections_gets_no_other(machine: Make) -> None:
    """What stays here neither counts as waiting nor wakes anybody."""
    a, b = machine("a"), machine("b")
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats", "zoo/cats"])
    a.put({"a": b"dog"}, name="dogs")
    a.put({"a": b"lion"}, name="lions", project="zoo")
    a.push()
    assert [] == slots(a)
    assert 0 == standings(a.store)[0].waiting_versions
    with following(a) as found:
        eventually(lambda: found.rounds)
        a.put({"a": b"cat"})
        eventually(lambda: slots(a))
        a.put({"a": b"cow"}, name="cows")
        eventually(lambda: found.follow._first is None)
    b.pull()

    assert ["cats"] == [each.name for each in b.store.collections()]
    with pytest.raises(Invalid) as caught:
        exchange(a.store, "push", references=["dogs"])
    assert "not-chosen" == caught.value.code


@pytest.mark.parametrize("by", ["itself", "another"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_collection_that_was_renamed_stays_chosen(machine: Make, by: str, *, is_there: bool) -> None:
    """Work stopped being pushed, without a word, since somebody had changed the name."""
    a, b = machine("a"), machine("b")
    if is_there:
        a.put({"a": b"0"})
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats"])
    if not is_there:
        a.put({"a": b"0"})
    if by == "another":
        a.push()
        b.pull()
        b.store.rename("cats", "lions")
        b.push()
        a.pull()
    else:
        a.store.rename("cats", "lions")
    secret = a.put({"a": b"secret"}, name="cats")
    rebuilt(a)
    a.put({"a": b"1"}, name="lions")
    a.push()
    report = a.push()
    b.pull()

    assert [2, 0] == [len(b.names("lions")), report.projects[0].pushed.ops]
    assert ["lions"] == [each.name for each in b.store.collections()]
    assert report.stays == standings(a.store)[0].stays
    assert ([f"{PROJECT}/cats"], 1) == (report.stays.collections, report.stays.versions) if report.stays else None
    assert a.store.version(secret.exact).provisional


def test_a_collection_that_was_refused_stays_chosen_under_its_new_name(machine: Make) -> None:
    """Whoever had just said how it is to be called would be told that it is not chosen."""
    a, b = machine("a"), machine("b")
    a.put({"a": b"cat"})
    a.push()
    add_upstream(b.store, "hub", f"file://{b.depot}", join=True, only=["cats"])
    (b.folder / "model").write_bytes(b"model")
    b.store.put([b.folder / "model"], name="cats", type="model")
    b.push()
    b.store.rename_mine(b.store.conflicts()[0].id, "felines")
    report = b.move("push", references=["felines"])
    a.pull()

    assert [1] == [each.pushed.versions for each in report.projects]
    assert ["cats", "felines"] == [each.name for each in a.store.collections()]


def test_what_an_upstream_had_before_is_offered_again_by_whoever_is_left(machine: Make) -> None:
    """A recover was killed, and what it had not sent was lost for all others: nothing ever offered it again."""
    a, b, c = machine("a"), machine("b"), machine("c")
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats"])
    a.put({"a": b"secret"}, name="cows")
    a.put({"a": b"cat"})
    a.push()
    for name in ("dogs", "owls"):
        b.put({"a": name.encode()}, name=name)
        b.push()
    a.move("pull", references=["dogs", "owls"])
    for name in slots(a)[1:]:
        (a.depot / "log" / PROJECT / name).unlink()
    # All that a recover has done when it is killed.
    for _ in range(2):
        there = followed(a.store.root, PROJECT)
        assert there is not None
        with a.store.root.session("recover") as session:
            attach(a.store.root, session, PROJECT, there.log)
        a.again()
    c.put({"a": b"ant"}, name="ants")
    c.push()
    rebuilt(a)
    waits = standings(a.store)[0]
    a.push()
    c.pull()

    assert 3 == waits.waiting_versions
    assert waits.stays is not None
    assert ([f"{PROJECT}/cows"], 1) == (waits.stays.collections, waits.stays.versions)
    assert ["ants", "cats", "dogs", "owls"] == sorted(each.name for each in c.store.collections())
    assert 0 == a.push().projects[0].pushed.ops
    assert a.store.version("cows:v0").provisional


def test_a_chosen_name_goes_to_the_next_collection_when_that_was_deleted(machine: Make) -> None:
    """And its end goes too, so that nobody else takes the two for one."""
    a, b = machine("a"), machine("b")
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats"])
    for content in (b"0", b"1", b"2"):
        a.put({"a": content})
        if content != b"2":
            a.store.delete_collection("cats", force=True)
    a.push()
    b.pull()

    assert a.names() == b.names()
    assert {"a": b"2"} == a.read("cats")
    assert a.state_hash() == b.state_hash()


def test_pulling_a_version_brings_its_bytes_and_no_others(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    for number in range(3):
        a.put({"a": b"%d" % number}, aliases=["best"] if number == 1 else [])
    a.push()
    report = b.move("pull", references=["cats:best"])
    a.depot.rename(a.depot.with_name("away"))

    assert (3, 1) == (report.projects[0].pulled.versions, report.projects[0].pulled.blobs)
    assert {"a": b"1"} == b.read("cats:v1")
    with pytest.raises(ArtstoreError):
        b.read("cats:v2")


def test_with_blobs_all_bytes_come_whatever_is_pushed(machine: Make) -> None:
    """A machine that keeps its own work to itself and pulls with `--blobs` as a backup had holes that nobody named."""
    a, b = machine("a"), machine("b")
    for name in ("cats", "dogs"):
        b.put({"a": name.encode()}, name=name)
    b.push()
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats"])
    reports = [a.move(verb, blobs=True).projects[0] for verb in ("pull", "sync")]

    assert [2, 0] == [report.pulled.blobs for report in reports]
    assert 0 == a.store.status().absent_bytes


def test_a_version_that_is_nowhere_is_said_to_be_when_the_rest_has_come(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.put({"a": b"a"})
    a.push()
    (project,) = exchange(b.store, "pull", references=["cats:v7"]).projects

    assert 3 == project.exit_code
    assert a.names() == b.names()


@pytest.mark.parametrize("verb", ["pull", "sync"])
def test_of_a_collection_whose_versions_were_deleted_nothing_is_brought(machine: Make, verb: Verb) -> None:
    """It is no mistake to keep in step with a collection in which nothing is just now; to name one that is not is."""
    a, b = machine("a"), machine("b")
    a.put({"a": b"a"})
    a.push()
    b.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    report = b.move(verb, references=["cats"])
    (gone,) = exchange(b.store, verb, references=["cats:v0"]).projects

    assert (1, 0) == (report.projects[0].pulled.ops, report.projects[0].pulled.blobs)
    assert "version-deleted" == gone.code
    assert [] == b.names()


def test_what_cannot_be_chosen_is_refused_before_anything_moves(machine: Make) -> None:
    a = machine("a")
    a.put({"a": b"a"})
    add_remote(a.store.path, "copy", f"file://{a.depot}", upstream=False, join=True)
    with pytest.raises(NotFound):
        exchange(a.store, "push", references=["cast"])
    with pytest.raises(NotFound):
        exchange(a.store, "push", references=["cats:v9"])
    for verb in ("push", "pull", "sync"):
        with pytest.raises(NotFound, match="no project 'nosuch'"):
            exchange(a.store, verb, projects=["nosuch"])
    with pytest.raises(Invalid):
        exchange(a.store, "push", remote="copy", references=["cats"])
    with pytest.raises(Invalid):
        add_remote(a.store.path, "copy", f"file://{a.depot}", upstream=False, join=True, only={"zoo/cats": Pick()})
    with pytest.raises(Invalid):
        add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats:v1"])

    assert [] == slots(a)


def test_a_name_is_not_taken_from_a_collection_that_others_still_know_by_it(machine: Make) -> None:
    """Or two collections of this machine would be one for everybody else."""
    a = machine("a")
    a.put({"a": b"a"})
    a.push()
    a.store.rename("cats", "old-cats")
    a.put({"a": b"b"})
    with pytest.raises(Conflict) as caught:
        next_offer(a.store.root, PROJECT, choose(a.store.root, PROJECT, ["cats"]))
    add_upstream(a.store, "hub", f"file://{a.depot}", join=True, only=["cats"])
    (stopped,) = exchange(a.store, "push").projects
    (standing,) = standings(a.store)
    add_remote(a.store.path, "hub", f"file://{a.depot}", upstream=True, join=True)
    report = a.move("push", references=["cats", "old-cats"])

    assert "name-freed" == caught.value.code == stopped.code
    assert "was the name of another collection" in str(standing.failure)
    assert 1 == report.projects[0].pushed.versions


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_pushed_first_means_the_same_in_the_end(machine: Make, seed: int) -> None:
    """Choosing changes when something travels, and never what it is: no number, no alias, no conflict."""
    chance = random.Random(seed)
    a, b = machine("a"), machine("b")
    animals = ["cats", "dogs", "birds"]
    for step in range(30):
        name = chance.choice(animals)
        versions = a.names(name) if name in names_of(a) else []
        match chance.randrange(7):
            case 0 if versions:
                a.store.alias(chance.choice(versions)[0], [chance.choice("xyz")])
            case 1 if versions:
                a.store.tag(f"{name}:latest", [chance.choice("xyz")])
            case 2 if len(versions) > 1:
                a.store.delete(versions[-1][0], force=True)
            case 3 if versions:
                a.store.link(f"{name}:latest", "portfolio")
            case 4 if versions:
                a.move("push", references=[name])
                b.pull()
            case _:
                a.store.start_run(id=f"run-{step}")
                a.put({"a": b"%d" % step}, name=name, run=f"run-{step}")
    before = names_of(a)
    a.push()
    b.pull()

    assert before == names_of(a)
    assert a.state_hash() == b.state_hash()
    assert [] == a.store.conflicts()
    assert next_offer(a.store.root, PROJECT) is None


def test_the_words_of_the_command_line(
    machine: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a = machine("a")
    monkeypatch.setenv("ARTSTORE_DIR", str(a.store.path))
    a.put({"a": b"a"})
    a.put({"a": b"b"}, name="dogs")
    assert 0 == main(["remote", "add", "hub", f"file://{a.depot}", "--upstream", "--only", "cats", "--only", "dogs"])
    assert 0 == main(["push", "hub", "cats"])
    assert "pushed 1 version" in capsys.readouterr().out
    assert 0 == main(["push", "dogs", "--json"])
    (project,) = json.loads(capsys.readouterr().out)["projects"]
    assert 2 == main(["push", "bords"])

    assert 1 == project["pushed"]["versions"]
    assert 2 == len(slots(a))
