"""Another log than before: one that was set back, or a new upstream. Nothing is lost, and numbers stay if they can."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from artstore.errors import Conflict, Corrupt, NotFound
from artstore.model.digest import Digest
from artstore.store import Store
from artstore.sync import remotes
from artstore.sync.adopt import add_upstream
from artstore.sync.evict import evict
from artstore.sync.objects.families import open_objects
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote, read_remotes, remove_remote
from artstore.sync.rounds import exchange
from artstore.sync.standing import standings
from tests.sync.conftest import Machine
from tests.sync.serving import served
from tests.sync.simulation.fate import Death
from tests.sync.simulation.network import Network
from tests.sync.simulation.places import Wire

Make = Callable[..., Machine]


def set_back(depot: Path, slots: int) -> None:
    """Restore the log from a copy that had so many slots."""
    for path in sorted((depot / "log" / "uncategorized").iterdir())[slots:]:
        path.unlink()


def die() -> None:
    """The machine does."""
    raise Death


def history(machine: Make) -> tuple[Machine, Machine]:
    """Three slots of two machines, which both know all of it."""
    a, b = machine("a"), machine("b")
    for each, content in ((a, b"0"), (b, b"1"), (a, b"2")):
        each.pull()
        each.put({"x": content}, aliases=["best"])
        each.push()
    a.pull()
    b.pull()
    return a, b


def test_a_log_that_was_set_back_is_noticed_and_nothing_moves(machine: Make, depot: Path) -> None:
    """X11. Whoever went on from there would give the same numbers to other versions."""
    a, b = history(machine)
    set_back(depot, 1)
    a.put({"x": b"new"})
    before = a.names()

    for each in (a, b):
        for verb in ("pull", "push"):
            (report,) = exchange(each.store, verb).projects
            assert "rolled-back" == report.code
            assert "artstore remote recover" in str(report.error)
    assert before == a.names()
    assert 1 == len(list((depot / "log" / "uncategorized").iterdir()))


def test_recover_offers_what_was_lost_in_the_same_order(machine: Make, depot: Path) -> None:
    a, b = history(machine)
    before = a.names()
    set_back(depot, 1)
    report = recover(a.store)
    (again,) = exchange(b.store, "pull").projects
    recover(b.store)

    assert 2 == report.projects[0].pushed.versions
    assert "rolled-back" == again.code
    assert before == a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert {"x": b"1"} == a.read("cats:v1")
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)


class Behind(Wire):
    """Its listings do not have yet what was put there."""

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        return (name for name in super().names(prefix, after) if name.startswith("log/"))


def test_what_only_a_listing_lacks_is_not_said_to_be_gone(
    machine: Make, depot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS. All who follow would take it that bytes which are there are nowhere, and send them again."""
    a, b = history(machine)
    set_back(depot, 1)
    packs = set((depot / "packs").rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(remotes, "open_objects", lambda url: Behind(open_objects(url), Network(), "depot", lambda: None))
        recover(a.store)
    recover(b.store)

    assert a.names() == b.names()
    assert not [path for path in (depot / "log").rglob("*") if path.is_file() and b"sweep" in path.read_bytes()]
    assert packs == set((depot / "packs").rglob("*"))


def test_a_recovery_that_died_is_done_by_another_one(machine: Make, depot: Path, network: Network) -> None:
    """The second one said that there was nothing to recover, while all that was lost waited in this store alone."""
    a, b = history(machine)
    before = a.names()
    set_back(depot, 1)
    network.meddle = die
    with pytest.raises(Death):
        recover(a.store)
    network.meddle = lambda: None
    a.again()
    waits = sum(each.pending_ops for each in standings(a.store))
    (report,) = recover(a.store).projects
    recover(b.store)

    assert waits > 0
    assert (None, 2) == (report.error, report.pushed.versions)
    assert 0 == sum(each.pending_ops for each in standings(a.store))
    assert before == a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)


def test_what_was_lost_and_came_again_can_be_read_by_who_was_at_work_all_the_time(machine: Make, depot: Path) -> None:
    """It looked where the bytes had been before, and said that they are missing, until it was started again."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    kept = shutil.copytree(depot, depot.with_name("kept"))
    a.put({"x": b"1", "y": b"2"})
    a.push()
    b.pull()
    first = b"".join(b.store.read("cats:v1", "x"))
    shutil.rmtree(depot)
    shutil.copytree(kept, depot)
    recover(a.store)
    recover(b.store)

    assert b"1" == first
    assert b"2" == b"".join(b.store.read("cats:v1", "y"))


def test_recover_sends_nothing_that_was_not_chosen(machine: Make, depot: Path) -> None:
    """What was to stay on this machine for good went to all others, when the upstream had been restored."""
    a, b = history(machine)
    b.put({"x": b"dog"}, name="dogs")
    b.push()
    a.pull()
    add_upstream(a.store, "hub", f"file://{depot}", join=True, only=["cats"])
    secret = a.put({"x": b"secret"}, name="dogs")
    a.put({"x": b"3"})
    set_back(depot, 1)
    recover(a.store)
    c = machine("c")
    c.pull()

    assert c.names() == a.names()
    assert a.store.version(secret.exact).provisional
    assert [("dogs:v0", ["latest"])] == [(name, aliases) for name, _id, aliases in c.names("dogs")]


def test_a_place_that_lost_all_is_the_same_log_again(machine: Make, depot: Path) -> None:
    """Those who come second have followed the log that the first one began, as far as they know."""
    a, b = history(machine)
    before = a.names()
    shutil.rmtree(depot)
    depot.mkdir()
    reports = [recover(each.store).projects[0] for each in (a, b)]
    a.push()
    b.pull()

    assert ["blob-missing", "blob-missing"] == [each.code for each in reports]
    assert before == a.names() == b.names()
    assert a.state_hash() == b.state_hash()


@pytest.mark.parametrize("is_moved", [True, False])
def test_what_was_known_of_a_log_is_not_taken_for_what_it_is_now(
    machine: Make, depot: Path, tmp_path: Path, *, is_moved: bool
) -> None:
    """X11. Somebody else has put a lost log back; who comes from elsewhere would never find its bytes there."""
    a, b = history(machine)
    assert {"x": b"1"} == a.read("cats:v1")
    remove_remote(b.store.path, "hub")
    other, mirror = tmp_path / "other", tmp_path / "mirror"
    other.mkdir()
    add_upstream(b.store, "other", f"file://{other}", join=True)
    shutil.rmtree(depot)
    mirror.mkdir()
    add_remote(a.store.path, "copy", f"file://{mirror}", upstream=False, join=True)
    exchange(a.store, "push", remote="copy")
    (tmp_path / "new").mkdir()
    there = tmp_path / "new" if is_moved else depot
    if is_moved:
        remove_remote(a.store.path, "hub")
    else:
        there.mkdir()
    add_upstream(a.store, "hub", f"file://{there}", join=True)
    exchange(a.store, "pull", remote="copy")
    recover(a.store)
    remove_remote(b.store.path, "other")
    add_upstream(b.store, "hub", f"file://{there}", join=True)
    b.pull()
    b.again()

    assert [{"x": b"2"}, {"x": b"1"}, {"x": b"0"}] == [b.read(name) for name, *_ in b.names()]


def test_recover_sends_what_it_has_and_says_who_has_the_rest(machine: Make, depot: Path) -> None:
    """It stopped at the first version whose bytes were never fetched, and did not say whom to ask for them."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"cat"})
    a.push()
    b.pull()
    b.put({"x": b"dog"}, name="dogs")
    b.push()
    a.pull()
    a.put({"x": b"bird"}, name="birds")
    a.put({"x": b"seal"}, name="seals", project="other")
    a.push()
    for part in ("log", "packs"):
        shutil.rmtree(depot / part)
    other, first = sorted(recover(a.store).projects, key=lambda each: each.project)
    seen = [a.store.versions(name) for name in ("cats", "birds")]
    second = recover(b.store).projects[0]
    rest = exchange(a.store, "push").projects[0]

    assert (None, 1) == (other.error, other.pushed.versions)
    assert ("blob-missing", 5, 2) == (first.code, first.exit_code, first.pushed.versions)
    assert "dogs:v0 cannot be sent yet" in str(first.error)
    assert f"It was sent by store {b.store.id}" in str(first.error)
    assert "let that one recover first, then run `artstore push` here" in str(first.error)
    assert [[False], [False]] == [[each.provisional for each in versions] for versions in seen]
    assert (None, 1) == (second.error, second.pushed.versions)
    assert (None, 0) == (rest.error, rest.pushed.versions)
    assert ["dogs:v0"] == [name for name, *_ in a.names("dogs")]


def test_recover_does_not_put_two_logs_together(machine: Make, depot: Path) -> None:
    """All that a store had came behind what another team has, for everybody there, for good, and unasked."""
    a, _b = history(machine)
    before = a.names()
    shutil.rmtree(depot)
    depot.mkdir()
    z = machine("z")
    z.put({"x": b"z"})
    z.push()
    theirs = [path.name for path in (depot / "log" / "uncategorized").iterdir()]
    reports = [*exchange(a.store, "pull").projects, *exchange(a.store, "push").projects, *recover(a.store).projects]
    left = [path.name for path in (depot / "log" / "uncategorized").iterdir()]

    assert {"other-log"} == {each.code for each in reports}
    assert all(f"`artstore remote add hub file://{depot} --upstream --join`" in str(each.error) for each in reports)
    assert before == a.names()
    assert theirs == left
    add_upstream(a.store, "hub", f"file://{depot}", join=True)
    assert 1 == exchange(a.store, "push").projects[0].pushed.versions


def test_a_log_that_went_on_after_it_was_set_back_comes_first(machine: Make, depot: Path) -> None:
    a, _b = history(machine)
    set_back(depot, 1)
    c = machine("c")
    c.pull()
    c.put({"x": b"c"})
    c.push()
    recover(a.store)
    c.pull()

    assert ["v0", "v1", "v2", "v3"] == sorted(name.rpartition(":")[2] for name, *_ in a.names())
    assert a.names() == c.names()
    assert {"x": b"c"} == c.read("cats:v1")
    assert [(1, 2), (2, 3)] == [(each.before, each.now) for each in a.store.moved_numbers()]


def test_a_new_empty_upstream_keeps_all_numbers(machine: Make, tmp_path: Path) -> None:
    a, b = history(machine)
    before = a.names()
    new = tmp_path / "new"
    new.mkdir()
    for each in (a, b):
        add_remote(each.store.path, "hub", f"file://{each.depot}", upstream=False, join=True)
        add_upstream(each.store, "new", f"file://{new}", join=True)
        each.push()

    assert before == a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    shutil.rmtree(a.depot)
    c = Machine(tmp_path, new, "c")
    c.pull()
    assert before == c.names()
    assert [{"x": b"0"}, {"x": b"1"}, {"x": b"2"}] == [c.read(f"cats:v{number}") for number in range(3)]
    c.store.close()


@pytest.mark.parametrize("name", ["hub", "new"])
@pytest.mark.parametrize("is_server", [False, True])
def test_an_upstream_that_is_found_elsewhere_takes_its_own_place(tmp_path: Path, name: str, *, is_server: bool) -> None:
    """Each command sent one to another that did not go, while versions were evicted here."""
    folder, moved = tmp_path / "there", tmp_path / "elsewhere"
    with contextlib.ExitStack() as open_servers:
        if is_server:
            before = served(folder)
            url = open_servers.enter_context(before).url
        else:
            folder.mkdir()
            url = f"file://{folder}"
        a = Machine(tmp_path, url, "a")
        a.put({"x": b"0"})
        a.push()
        evict(a.store, ["cats:v0"])
        open_servers.pop_all().close()
        folder.rename(moved)
        new = open_servers.enter_context(served(moved)).url if is_server else f"file://{moved}"
        info = add_upstream(a.store, name, new, join=False)
        a.put({"x": b"1"})
        a.push()

        assert (url, [name]) == (info.moved_from, list(read_remotes(a.store.path)))
        assert {"x": b"0"} == a.read("cats:v0")
        a.store.close()


@pytest.mark.parametrize("name", ["hub", "new"])
def test_a_copy_of_the_upstream_does_not_take_its_place(machine: Make, tmp_path: Path, name: str) -> None:
    """Two places of one log would each go on from where the copy was made."""
    a = machine("a")
    a.put({"x": b"0"})
    a.push()
    shutil.copytree(a.depot, tmp_path / "copy")
    with pytest.raises(Conflict, match="remote rm hub") as refused:
        add_upstream(a.store, name, f"file://{tmp_path}/copy", join=True)

    assert "has-upstream" == refused.value.code
    assert [f"file://{a.depot}"] == [each.url for each in read_remotes(a.store.path).values()]


def test_what_was_to_stay_here_stays_here_when_the_upstream_is_found_elsewhere(tmp_path: Path, depot: Path) -> None:
    """The collections that were chosen were forgotten with the old address, and the next push sent all."""
    a = Machine(tmp_path, depot, "a")
    a.put({"x": b"0"})
    a.put({"y": b"1"}, name="private")
    add_upstream(a.store, "hub", f"file://{depot}", join=True, only=["cats"], background=True)
    a.push()
    depot.rename(tmp_path / "elsewhere")
    info = add_upstream(a.store, "hub", f"file://{tmp_path}/elsewhere", join=True)
    (pushed,) = a.push().projects

    assert (True, ["uncategorized/cats"], 0) == (info.background, info.only, pushed.pushed.versions)
    a.store.close()


def test_another_log_does_not_take_the_place_of_the_upstream(machine: Make, tmp_path: Path) -> None:
    a, b = history(machine)
    (tmp_path / "other").mkdir()
    other = Machine(tmp_path, tmp_path / "other", "c")
    other.put({"y": b"y"})
    other.push()
    for name in ("hub", "new"):
        with pytest.raises(Conflict, match="remote rm hub"):
            add_upstream(a.store, name, f"file://{tmp_path}/other", join=True)

    assert a.state_hash() == b.state_hash()
    assert [f"file://{a.depot}"] == [each.url for each in read_remotes(a.store.path).values()]
    other.store.close()


def test_what_each_has_of_a_lost_upstream_comes_together_in_a_new_one(machine: Make, tmp_path: Path) -> None:
    """Each of two waited for the other's bytes, and nothing was ever sent again."""
    a, b = machine("a"), machine("b")
    for number, each in enumerate((a, b, a, b)):
        each.put({"x": b"%d" % number})
        each.move("sync")
    a.pull()
    before = a.names()
    shutil.rmtree(a.depot)
    new = tmp_path / "new"
    new.mkdir()
    for each in (a, b):
        remove_remote(each.store.path, "hub")
        add_upstream(each.store, "new", f"file://{new}", join=True)
    codes = [exchange(each.store, "sync").projects[0].code for each in (a, b, a, b, a)]

    assert ["blob-missing", "blob-missing", "blob-missing", None, None] == codes
    assert before == a.names() == b.names()
    assert [{"x": b"%d" % number} for number in (3, 2, 1, 0)] == [
        a.read(each.exact) for each in a.store.versions("cats")
    ]


def lost(machines: Sequence[Machine], new: Path) -> None:
    """The upstream is gone with all that it had, and an empty one stands in its place."""
    shutil.rmtree(machines[0].depot)
    new.mkdir()
    for each in machines:
        remove_remote(each.store.path, "hub")
        add_upstream(each.store, "new", f"file://{new}", join=True)


def test_what_each_lacks_of_a_lost_upstream_holds_up_only_what_builds_on_it(machine: Make, tmp_path: Path) -> None:
    """Each of two had the bytes of what the other one had to send first, so neither ever sent anything again."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"cat"}, aliases=["best"])
    a.push()
    b.put({"x": b"dog"}, name="dogs")
    b.move("sync")
    a.pull()
    # Here they stand in another order: what b has made was once behind, and is in front now.
    other = tmp_path / "other"
    other.mkdir()
    add_remote(b.store.path, "hub", f"file://{b.depot}", upstream=False, join=True)
    add_upstream(b.store, "other", f"file://{other}", join=True)
    b.store.tag("dogs", ["seen"])
    lost([a], tmp_path / "new")
    remove_remote(b.store.path, "other")
    remove_remote(b.store.path, "hub")
    add_upstream(b.store, "new", f"file://{tmp_path / 'new'}", join=True)
    (first,) = exchange(b.store, "push").projects
    (waiting,) = standings(b.store)
    a.move("sync")
    (second,) = exchange(b.store, "sync").projects

    assert ("blob-missing", 5, 1) == (first.code, first.exit_code, first.pushed.versions)
    assert "cats:v0 cannot be sent yet: blob " in str(first.error)
    assert (1, waiting.failure) == (waiting.waiting_versions, f"uncategorized: {first.error}")
    assert (None, 1) == (second.code, second.pulled.versions)
    assert a.names() == b.names()
    assert a.names("dogs") == b.names("dogs")
    assert a.state_hash() == b.state_hash()
    assert [] == a.store.moved_numbers() + b.store.moved_numbers()


def test_who_would_rather_have_other_numbers_than_wait_says_so(machine: Make, tmp_path: Path) -> None:
    """A machine that nobody will ever switch on again must not hold up the others for ever."""
    a, b = machine("a"), machine("b")
    for number, each in enumerate((a, b, a)):
        each.put({"x": b"%d" % number})
        each.move("sync")
    before = [id_ for _name, id_, _aliases in a.names()]
    lost([a], tmp_path / "new")
    (kept,) = exchange(a.store, "push").projects
    (given_up,) = exchange(a.store, "push", renumber=True).projects
    c = Machine(tmp_path, tmp_path / "new", "c")
    c.pull()

    assert ("blob-missing", 1) == (kept.code, kept.pushed.versions)
    assert "cats:v1 and 1 more version cannot be sent yet" in str(kept.error)
    assert "`artstore push --renumber` sends it" in str(kept.error)
    assert ("blob-missing", 1) == (given_up.code, given_up.pushed.versions)
    assert "--renumber" not in str(given_up.error)
    assert [before[0], before[2]] == [id_ for _name, id_, _aliases in c.names()]
    assert [(2, 1)] == [(each.before, each.now) for each in a.store.moved_numbers() if each.id == before[0]]
    c.store.close()


@pytest.mark.parametrize("is_known", [False, True])
def test_a_collection_goes_without_its_first_version_where_that_is_lost(
    machine: Make, tmp_path: Path, *, is_known: bool
) -> None:
    """Nothing of it ever went, since what makes a collection comes with its first version."""
    a, b = machine("a"), machine("b")
    whole = [a.put({"x": bytes([number]) * 1_200_000}).id for number in range(3)]
    a.put({"x": b"alone" * 300_000}, name="dogs")
    if is_known:
        a.push()
        lost([a, b], tmp_path / "new")
    for name in ("cats:v0", "dogs:v0"):
        (entry,) = a.store.entries(name)
        (place,) = a.store.root.blobs.locate([Digest.parse(str(entry.digest))]).values()
        Path(place.path).unlink()
    foretold, kept = (exchange(a.store, "push", dry_run=dry).projects[0] for dry in (True, False))
    a.store.close()
    (a.store.path / "catalog.db").unlink()
    Store.rebuild(a.store.path)
    a.again()
    (first,) = exchange(a.store, "push", renumber=True).projects
    (again,) = exchange(a.store, "push", renumber=True).projects
    b.pull()

    assert [0 if is_known else 2, 2 if is_known else 0, 0] == [each.pushed.versions for each in (kept, first, again)]
    for_all = " --everywhere" if is_known else ""
    assert f"`artstore delete uncategorized/cats@{whole[0]}{for_all}`" in str(again.error)
    assert (kept.pushed, kept.code) == (foretold.pushed, foretold.code)
    assert ["cats"] == [each.name for each in b.store.collections()]
    assert whole[1:] == [id_ for _name, id_, _aliases in reversed(b.names())]
    a.put({"x": bytes(1_200_000)}, name="birds")
    (left,) = exchange(a.store, "push").projects
    assert f"`artstore delete uncategorized/dogs:v0{for_all}`" in str(left.error)
    a.store.delete("dogs:v0", everywhere=is_known)
    a.push()
    b.pull()
    assert {"x": bytes(1_200_000)} == b.read("cats:v2")
    assert a.state_hash() == b.state_hash()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"BAD" * 400_000)])
def test_a_version_whose_bytes_are_lost_holds_up_no_other(machine: Make, damage: Callable[[Path], None]) -> None:
    """One bad item never blocks what is behind it: not what was made since, and not other collections."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    bad = a.put({"x": b"bad" * 400_000}, aliases=["best"])
    a.store.tag(bad.exact, ["seen"])
    good = a.put({"x": b"good"})
    a.store.alias(good.exact, ["best"])
    a.put({"x": b"dog"}, name="dogs")
    whole = next(path for path in (a.store.path / "blobs").rglob("*") if path.is_file())
    whole.chmod(0o600)
    damage(whole)
    reports = [exchange(a.store, "push").projects[0] for _ in range(2)]
    b.pull()
    seen = [b.names(), b.names("dogs")]
    a.put({"x": b"bad" * 400_000}, name="birds")
    a.push()
    b.pull()

    assert [2, 0] == [report.pushed.versions for report in reports]
    assert {5} == {report.exit_code for report in reports}
    assert "cats:v2 cannot be sent yet: blob " in str(reports[0].error)
    named = f"uncategorized/cats@{bad.id}"
    assert f"has the bytes of {named} push first. If none has, `artstore delete {named}` lets" in str(reports[0].error)
    # An alias that was on the bad one in between has come from there, and waits for it.
    names = [[(name, aliases) for name, _id, aliases in each] for each in seen]
    assert [[("cats:v1", ["latest"]), ("cats:v0", [])], [("dogs:v0", ["latest"])]] == names
    assert [bad.id, good.id] == [id_ for _name, id_, _aliases in b.names()[:2]]
    assert a.names() == b.names()
    assert ["best"] == b.store.version(f"cats@{good.id}").aliases
    assert ["seen"] == b.store.version(f"cats@{bad.id}").tags


def test_what_was_forgotten_here_comes_from_others_to_a_new_upstream(machine: Make, tmp_path: Path) -> None:
    """What comes before it waited too, and somebody was told to make a catalog anew that was whole."""
    a, b = machine("a"), machine("b")
    for number, each in enumerate((a, b)):
        each.put({"x": b"%d" % number})
        each.move("sync")
    a.pull()
    a.store.delete("cats:v1", force=True)
    a.store.gc(grace_s=0)
    shutil.rmtree(a.depot)
    new = tmp_path / "new"
    new.mkdir()
    for each in (a, b):
        remove_remote(each.store.path, "hub")
        add_upstream(each.store, "new", f"file://{new}", join=True)
    reports = [exchange(each.store, "sync").projects[0] for each in (a, b, a)]

    assert ["manifest-missing", None, None] == [each.code for each in reports]
    assert [0, 1, 1] == [each.pulled.versions for each in reports]
    assert a.state_hash() == b.state_hash()
    assert [{"x": b"1"}, {"x": b"0"}] == [b.read(each.exact) for each in b.store.versions("cats")]


def test_what_was_forgotten_here_and_is_nowhere_any_more_holds_up_nothing_once_it_is_deleted(
    machine: Make, tmp_path: Path
) -> None:
    """What a message said that one can do was refused, and the collection was never sent again."""
    a, b = machine("a"), machine("b")
    for number in range(2):
        b.put({"x": b"%d" % number}, aliases=["best"])
    b.push()
    a.pull()
    a.move("pull", blobs=True)
    a.store.delete("cats:v0", force=True)
    a.store.gc(grace_s=0)
    with pytest.raises(NotFound, match="who puts the same content"):
        a.store.delete("cats:v0")
    new = tmp_path / "new"
    new.mkdir()
    remove_remote(a.store.path, "hub")
    add_upstream(a.store, "new", f"file://{new}", join=True)
    a.put({"x": b"2"})
    (stuck,) = exchange(a.store, "push").projects
    gone = a.store.delete("cats:v0", everywhere=True)
    a.push()
    c = Machine(tmp_path, new, "c")
    c.pull()

    assert "`artstore delete uncategorized/cats:v0 --everywhere`" in str(stuck.error)
    assert "deleted" == gone.state
    assert ["cats:v2", "cats:v1"] == [name for name, *_ in a.names()]
    assert a.names() == c.names()
    c.store.close()


def test_what_an_upstream_had_is_forgotten_here_alone_although_it_is_lost(machine: Make, tmp_path: Path) -> None:
    """A laptop tidies up as every day, and its new upstream tells all that their versions are deleted."""
    a, b = machine("a"), machine("b")
    for number in range(4):
        b.put({"x": b"%d" % number})
    b.push()
    a.pull()
    new = tmp_path / "new"
    new.mkdir()
    remove_remote(a.store.path, "hub")
    add_upstream(a.store, "new", f"file://{new}", join=True)
    mine = a.put({"x": b"m"}, name="mine")
    gone = [a.store.delete("cats:v0"), a.store.delete("mine:v0")]
    a.store.prune(["cats"], keep_last=1)
    a.store.delete_collection("cats", force=True)
    exchange(a.store, "push")
    remove_remote(b.store.path, "hub")
    add_upstream(b.store, "new", f"file://{new}", join=True)
    b.push()
    a.move("sync")

    assert ["forgotten", "deleted"] == [each.state for each in gone]
    assert [{"x": b"%d" % number} for number in (3, 2, 1, 0)] == [b.read(v.exact) for v in b.store.versions("cats")]
    assert mine.id not in {each.id for each in b.store.versions("mine")}
    assert [] == a.store.versions("cats")


def test_an_upstream_with_a_log_of_its_own_is_not_followed_unasked(machine: Make, tmp_path: Path) -> None:
    a, _b = history(machine)
    new = tmp_path / "new"
    new.mkdir()
    c = Machine(tmp_path, new, "c")
    c.put({"x": b"c"})
    c.push()
    c.store.close()
    add_remote(a.store.path, "hub", f"file://{a.depot}", upstream=False, join=True)
    with pytest.raises(Conflict, match="another one") as caught:
        add_upstream(a.store, "new", f"file://{new}", join=False)

    assert "needs-join" == caught.value.code
    assert ["cats:v2", "cats:v1", "cats:v0"] == [name for name, *_ in a.names()]
    add_upstream(a.store, "new", f"file://{new}", join=True)
    a.push()
    assert ["cats:v3", "cats:v2", "cats:v1", "cats:v0"] == [name for name, *_ in a.names()]
    assert {"x": b"c"} == a.read("cats:v0" if not a.store.moved_numbers() else a.store.versions("cats")[-1].exact)


def test_who_cannot_read_a_log_is_told_who_can_put_it_back(machine: Make, tmp_path: Path) -> None:
    """Whoever comes new to a damaged place cannot mend it, and has to know who can."""
    a = machine("a")
    a.put({"x": b"0"})
    a.push()
    hub = read_remotes(a.store.path)["hub"].url
    (slot,) = Path(hub.removeprefix("file://")).glob("log/*/000000000001")
    slot.chmod(0o644)
    slot.write_bytes(slot.read_bytes()[:40])
    store = Store.init(tmp_path / "new")
    (tmp_path / "x").write_bytes(b"1")
    store.put([tmp_path / "x"], name="cats", type="dataset")
    with pytest.raises(Corrupt, match="`artstore remote recover` in a store that had followed the log") as refused:
        add_upstream(store, "hub", hub, join=True)

    assert "remote-corrupt" == refused.value.code
    assert {} == read_remotes(store.path)
    recover(a.store)
    add_upstream(store, "hub", hub, join=True)
    store.close()
