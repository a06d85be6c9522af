"""A project of this machine and one of the same name elsewhere: both can be had, each whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.cli import main
from artstore.errors import ArtstoreError, Conflict, Invalid
from artstore.lifecycle import set_aside
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.connect import connect
from artstore.sync.remotes import add_remote, read_remotes, remove_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import PROJECT, Machine

Make = Callable[..., Machine]


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    """A store that nobody knows, with two versions of `cats`, one deleted, and one that was made from them."""
    store = Store.init(tmp_path / "mine")
    for number in range(3):
        (tmp_path / "file").write_bytes(b"mine %d" % number)
        store.put([tmp_path / "file"], name="cats", type="dataset", aliases=["best"] if number == 0 else [])
    store.delete("cats:v1")
    store.start_run(id="train")
    store.use("train", "cats:best")
    (tmp_path / "file").write_bytes(b"made")
    store.put([tmp_path / "file"], name="model", type="model", run="train")
    store.link("cats:v2", "shelf")
    return store


def seen(store: Store, project: str) -> list[tuple[str, str, list[str], bytes]]:
    return [
        (version.name, version.id, version.aliases, b"".join(store.read(version.exact, "file", project=project)))
        for collection in store.collections(project)
        for version in store.versions(collection.name, project=project)
    ]


def add(store: Store, machine: Machine, **options: object) -> None:
    add_upstream(store, "hub", f"file://{machine.depot}", **{"join": False, **options})  # type: ignore[arg-type]
    connect(store)


def test_what_was_made_here_gets_a_name_of_its_own_here_and_there(machine: Make, mine: Store) -> None:
    """Neither log is renumbered, nothing that anybody made is lost, and both travel from now on."""
    a = machine("a")
    a.put({"file": b"theirs"})
    a.push()
    before = seen(mine, PROJECT)
    mine.start_run(id="judge", project="lab")
    used = mine.use("judge", f"{PROJECT}/model", project="lab")
    mine.link("model", "lab/shelf")
    add(mine, a, aside={"": "my-zoo"})
    moved = exchange(mine, "sync")
    a.pull()

    assert [] == [each.error for each in moved.projects if each.error]
    assert before == seen(mine, "my-zoo") == seen(a.store, "my-zoo")
    assert a.names() == [(each.name, each.id, each.aliases) for each in mine.versions("cats")]
    assert ["cats:v0"] == [each.name for each in mine.inputs("train", project="my-zoo")]
    assert ["model:v0"] == [each.name for each in mine.outputs("train", project="my-zoo")]
    for each in (mine, a.store):
        # What another project has said of it holds its id.
        assert [("my-zoo", used.id)] == [(found.project, found.id) for found in each.inputs("judge", project="lab")]
        assert [b"made"] == list(each.read("lab/shelf:v0", "file"))
        walked = each.lineage("model", project="my-zoo").nodes
        assert {"run:lab/judge", "run:my-zoo/train"} == {node.key for node in walked if node.run}
    assert [] == mine.conflicts()
    assert [] == mine.verify().problems
    mine.close()
    Store.rebuild(mine.path)
    with Store.open(mine.path) as again:
        assert before == seen(again, "my-zoo")
        assert {0} == {each.pushed.ops for each in exchange(again, "push").projects}


def test_two_names_that_are_one_on_some_disks_do_not_come_together(machine: Make) -> None:
    """Every other store of that depot could go on with neither, and nobody could rename one there."""
    a, b, c = (machine(name) for name in "abc")
    a.put({"file": b"a"}, project="Zoo")
    b.put({"file": b"b"}, project="zoo")
    a.push()
    (refused,) = exchange(b.store, "push").projects
    add(b.store, a, aside={"zoo": "animals"})
    b.push()
    c.pull()

    assert "case-twin" == refused.code
    assert "--as zoo=ANOTHER" in str(refused.error)
    assert ["Zoo", "animals"] == sorted(each.name for each in c.store.root.catalog.projects())
    assert [b"b"] == list(c.store.read("animals/cats:v0", "file"))


def test_without_a_word_nothing_is_put_together_and_what_would_become_of_it_is_said(machine: Make, mine: Store) -> None:
    a = machine("a")
    a.put({"file": b"theirs"})
    a.put({"file": b"theirs"}, name="other")
    a.store.retype("other", "model")
    a.push()
    with pytest.raises(Conflict, match="versions of cats would get new numbers") as caught:
        add(mine, a)

    assert "needs-join" == caught.value.code
    assert {} == read_remotes(mine.path)
    mine.close()


@pytest.mark.parametrize(
    ("aside", "code"),
    [
        ({"": "taken"}, "project-exists"),
        ({"": PROJECT}, "project-exists"),
        ({"dogs": "my-dogs"}, "nothing-to-rename"),
        ({"": "a/b"}, "bad-name"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused_before_anything_is_changed(
    machine: Make, mine: Store, aside: dict[str, str], code: str
) -> None:
    a = machine("a")
    a.put({"file": b"theirs"})
    a.put({"file": b"theirs"}, project="taken")
    a.push()
    before = seen(mine, PROJECT)
    with pytest.raises((Conflict, Invalid)) as caught:
        add(mine, a, aside=aside)

    assert code == caught.value.code
    assert {} == read_remotes(mine.path)
    assert before == seen(mine, PROJECT)
    mine.close()


def test_who_is_killed_in_between_does_it_again_and_has_nothing_twice(
    machine: Make, mine: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = machine("a")
    a.put({"file": b"theirs"})
    a.push()
    before = seen(mine, PROJECT)

    def die(*_arguments: object) -> None:
        raise ArtstoreError("killed", code="killed")

    monkeypatch.setattr(set_aside, "commit", die)
    with pytest.raises(ArtstoreError, match="killed"):
        add(mine, a, aside={PROJECT: "my-zoo"})
    monkeypatch.undo()
    still = seen(mine, PROJECT)
    add(mine, a, aside={PROJECT: "my-zoo"})
    exchange(mine, "sync")

    assert before == still == seen(mine, "my-zoo")
    mine.close()


def test_who_changes_the_upstream_need_not_mix_what_all_had_with_what_is_there(machine: Make, tmp_path: Path) -> None:
    """The way that was named did nothing for a log that others follow too: all were to be put together for good."""
    a, b = machine("a"), machine("b")
    new = tmp_path / "new"
    new.mkdir()
    z = Machine(tmp_path, new, "z")
    z.put({"file": b"theirs"})
    z.push()
    for number in range(3):
        a.put({"file": b"%d" % number, "large": bytes(1_200_000)}, aliases=["best"])
    a.push()
    b.pull()
    a.store.delete("cats:v0")
    a.store.gc(grace_s=0)
    mine = b.put({"file": b"of b"})
    log, seen = a.names(), []
    for each in (a, b):
        remove_remote(each.store.path, "hub")
        with pytest.raises(Conflict, match="versions of cats would get new numbers") as caught:
            add_upstream(each.store, "new", f"file://{new}", join=False)
        assert "needs-join" == caught.value.code
        add_remote(each.store.path, "old", f"file://{each.depot}", upstream=False, join=False)
        add_upstream(each.store, "new", f"file://{new}", join=False, aside={"": "ours"})
        connect(each.store)
        reports = exchange(each.store, "sync").projects
        seen.append([(v.name, v.id, v.aliases) for v in each.store.versions("cats", project="ours")])
        assert z.names() == each.names()
        assert [] == each.store.verify().problems
        assert {None} <= {report.code for report in reports} <= {None, "manifest-missing"}
    exchange(a.store, "sync")
    z.pull()

    assert log == seen[0]
    assert [f"cats:v{number}" for number in (3, 2, 1, 0)] == [name for name, *_ in seen[1]]
    assert mine.id == seen[1][0][1] == z.store.version("cats", project="ours").id
    assert a.state_hash("ours") == b.state_hash("ours") == z.state_hash("ours")
    assert ["cats:v3", "cats:v2", "cats:v1"] == [each.name for each in a.store.versions("cats", project="ours")]
    z.store.close()


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_log_that_others_follow_by_a_mirror_keeps_its_name_and_what_they_send(
    machine: Make, mine: Store, tmp_path: Path, *, is_seen: bool
) -> None:
    """Their versions were pulled into nothing, and every pull said that they are here."""
    a, stick = machine("a"), tmp_path / "stick"
    a.put({"file": b"theirs"})
    a.push()
    stick.mkdir()
    c = Store.init(tmp_path / "c")
    for each in (mine, c):
        add_remote(each.path, "stick", f"file://{stick}", upstream=False, join=False)
    exchange(mine, "push", remote="stick")
    exchange(c, "pull", remote="stick")
    if is_seen:
        with pytest.raises(Conflict) as caught:
            add(mine, a, aside={"": "my-zoo"})
        assert "not-its-own" == caught.value.code
        assert ["stick"] == list(read_remotes(mine.path))
    else:
        # The stick is not at hand.
        stick.rename(tmp_path / "away")
        add(mine, a, aside={"": "my-zoo"})
        (tmp_path / "away").rename(stick)
    (tmp_path / "file").write_bytes(b"of c")
    made = c.put([tmp_path / "file"], name="cats", type="dataset").version
    assert made is not None
    exchange(c, "push", remote="stick")
    (pulled,) = exchange(mine, "pull", remote="stick").projects

    if is_seen:
        assert made.id in [each.id for each in mine.versions("cats")]
    else:
        assert ("not-its-own", 0, 0) == (pulled.code, pulled.pulled.ops, pulled.pulled.versions)
    for each in (mine, c):
        each.close()


def test_the_words_of_the_command_line(machine: Make, mine: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    a = machine("a")
    a.put({"file": b"theirs"})
    a.push()
    mine.close()
    monkeypatch.setenv("ARTSTORE_DIR", str(mine.path))
    url = f"file://{a.depot}"

    assert 2 == main(["remote", "add", "hub", url, "--as", "my-zoo"])
    assert 4 == main(["remote", "add", "hub", url, "--upstream"])
    assert 0 == main(["remote", "add", "hub", url, "--upstream", "--as", f"{PROJECT}=my-zoo"])
    assert 0 == main(["sync"])
    assert 0 == main(["show", "my-zoo/cats:best"])
