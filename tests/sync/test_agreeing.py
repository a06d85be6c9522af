"""Two machines that were of different minds: nothing is lost, nothing is guessed, and both end with the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import AmbiguousVersion, Conflict, Invalid, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.set_aside import check_can_be_set_aside
from artstore.model.fold import NEEDED
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.remotes import remove_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import PROJECT, Machine

Make = Callable[..., Machine]


@pytest.fixture
def pair(machine: Make) -> tuple[Machine, Machine]:
    """Two machines that have `cats:v0`, which was made on the first."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    return a, b


def rebuilt(each: Machine) -> None:
    """Lose the catalog, and make it anew from the journal."""
    each.store.close()
    (each.store.path / "catalog.db").unlink()
    assert [] == Store.rebuild(each.store.path).lost
    each.again()


def bytes_of(each: Machine) -> set[tuple[str, bytes]]:
    """What the store of a machine keeps of blobs, by the names of the files."""
    files = (path for folder in ("packs", "blobs") for path in (each.store.path / folder).rglob("*") if path.is_file())
    return {(path.name, path.read_bytes()) for path in files}


def both_make_v1(pair: tuple[Machine, Machine]) -> tuple[VersionInfo, VersionInfo]:
    a, b = pair
    theirs, mine = a.put({"x": b"a"}), b.put({"x": b"b"})
    a.push()
    b.push()
    return theirs, mine


def test_a_number_that_moved_is_refused_until_it_is_accepted(pair: tuple[Machine, Machine]) -> None:
    """I5. A script that says cats:v1 would train on another one's data, and nobody would know."""
    a, b = pair
    theirs, mine = both_make_v1(pair)

    for _ in range(2):
        with pytest.raises(AmbiguousVersion, match="which is v2 now") as caught:
            b.store.version("cats:v1")
        assert "artstore numbers accept uncategorized/cats" in caught.value.message
        assert [(1, 2, mine.id)] == [(each.before, each.now, each.id) for each in b.store.moved_numbers()]
        rebuilt(b)
    assert b.store.version("cats:v2").id == b.store.version(f"cats@{mine.id}").id == mine.id
    b.store.accept_numbers(["cats"])
    assert theirs.id == b.store.version("cats:v1").id == a.store.version("cats:v1").id
    rebuilt(b)
    assert theirs.id == b.store.version("cats:v1").id
    with pytest.raises(NotFound, match="nothing to accept"):
        b.store.accept_numbers(["cats"])


def test_a_version_can_be_had_by_latest_although_its_number_is_doubtful(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    theirs, mine = both_make_v1(pair)
    a.put({"x": b"a"})  # theirs is the latest again
    a.push()
    b.pull()

    assert theirs.id == b.store.version("cats").id
    assert theirs.id != mine.id
    assert {"x": b"a"} == b.read(b.store.version("cats").exact)


def move_best(pair: tuple[Machine, Machine]) -> None:
    """Both put `best` on a version of their own; the first machine is faster."""
    a, b = pair
    a.put({"x": b"a"}, aliases=["best"])
    b.put({"x": b"b"}, aliases=["best"])
    a.push()
    b.push()


def best(each: Machine) -> bytes:
    return each.read(each.store.version("cats:best").exact)["x"]


def test_an_alias_that_both_moved_stands_where_the_first_put_it_and_that_is_shown(
    pair: tuple[Machine, Machine],
) -> None:
    """X7. A move that vanishes without a word is a model that goes into production by accident."""
    a, b = pair
    move_best(pair)
    a.pull()

    for _ in range(2):
        (conflict,) = b.store.conflicts()
        assert ("alias", "alias cats:best to v2, which stands on v1") == (conflict.kind, conflict.what)
        assert b"a" == best(a) == best(b)
        assert a.state_hash() == b.state_hash()
        rebuilt(b)
    assert [] == a.store.conflicts()


def test_a_move_that_was_a_conflict_waits_for_an_answer_wherever_the_alias_goes(pair: tuple[Machine, Machine]) -> None:
    """Weeks later it would override what somebody had decided since, unattended, and nobody had said `resolve`."""
    a, b = pair
    for each in (b"1", b"2"):
        a.put({"x": each})
    a.store.alias("cats:v1", ["best"])
    a.push()
    b.pull()
    a.store.alias("cats:v0", ["best"])
    b.store.alias("cats:v2", ["best"])
    a.push()
    b.push()
    a.store.alias("cats:v1", ["best"])
    a.push()
    (report,) = b.move("sync").projects
    rebuilt(b)
    (conflict,) = b.store.conflicts()

    assert (0, "alias cats:best to v2, which stands on v1") == (report.pushed.ops, conflict.what)
    assert b"1" == best(b)
    b.store.keep_mine(conflict.id)
    b.push()
    a.pull()
    assert ([], b"2", b"2") == (b.store.conflicts(), best(a), best(b))
    assert a.state_hash() == b.state_hash()


def test_what_both_took_away_is_not_taken_away_a_second_time(pair: tuple[Machine, Machine]) -> None:
    """Of one mind, so it was no conflict; whoever puts it back has heard of neither."""
    a, b = pair
    a.store.alias("cats:v0", ["best"])
    a.store.tag("cats:v0", ["good"])
    a.push()
    b.pull()
    for each in (a, b):
        each.store.unalias("cats:v0", ["best"])
        each.store.untag("cats:v0", ["good"])
        each.push()
    a.pull()
    a.store.alias("cats:v0", ["best"])
    a.store.tag("cats:v0", ["good"])
    a.push()
    b.move("sync")
    a.pull()

    assert [(["best", "latest"], ["good"])] * 2 == [
        (found.aliases, found.tags) for found in (each.store.version("cats:v0") for each in (a, b))
    ]
    assert [] == b.store.conflicts()


def test_keeping_mine_moves_it_for_everybody(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    move_best(pair)
    b.store.keep_mine(b.store.conflicts()[0].id[7:19])
    b.push()
    a.pull()

    assert ([], b"b", b"b") == (b.store.conflicts(), best(a), best(b))


def test_of_several_moves_of_one_alias_the_last_is_to_be_decided(pair: tuple[Machine, Machine]) -> None:
    """Who keeps the last one first and then the other would have it stand where it was only in between."""
    a, b = pair
    for number in range(3):
        a.put({"x": b"%d" % (number + 1)})
    a.store.alias("cats:v0", ["best"])
    a.push()
    b.pull()
    for number in (1, 2):
        b.store.alias(f"cats:v{number}", ["best"])
    a.store.alias("cats:v3", ["best"])
    a.push()
    report = b.push()
    (conflict,) = b.store.conflicts()

    assert ([2], "alias cats:best to v2, which stands on v3") == (
        [each.conflicts for each in report.projects],
        conflict.what,
    )
    b.store.keep_mine(conflict.id)
    assert ([], b"2") == (b.store.conflicts(), best(b))
    assert [1] == [each.pushed.ops for each in b.push().projects]


def test_an_alias_that_is_gone_by_now_is_kept_too(pair: tuple[Machine, Machine]) -> None:
    """Or a conflict could be neither kept nor understood: "repeat", for ever."""
    _a, b = pair
    move_best(pair)
    b.store.unalias("cats:best", ["best"])
    b.store.keep_mine(b.store.conflicts()[0].id)
    b.push()

    assert ([], b"b") == (b.store.conflicts(), best(b))


def test_dropping_mine_leaves_theirs_and_sends_nothing(pair: tuple[Machine, Machine]) -> None:
    _a, b = pair
    move_best(pair)
    b.store.drop_mine(b.store.conflicts()[0].id)

    assert [0] == [each.pushed.ops for each in b.push().projects]
    rebuilt(b)
    assert ([], b"a") == (b.store.conflicts(), best(b))
    with pytest.raises(NotFound, match="no conflict"):
        b.store.drop_mine("abcd")


def clash(machine: Make) -> tuple[Machine, Machine, VersionInfo]:
    """`cats` is a dataset on one machine and a model on another, which has two versions of it."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"a"})
    (b.folder / "model").write_bytes(b"model")
    b.store.put([b.folder / "model"], name="cats", type="model", aliases=["best"])
    (b.folder / "model").write_bytes(b"better")
    version = b.store.put([b.folder / "model"], name="cats", type="model").version
    b.put({"y": b"b"}, name="dogs")
    a.push()
    assert version is not None
    return a, b, version


def test_a_name_of_two_types_is_refused_alone_and_its_versions_are_kept(machine: Make) -> None:
    """Nothing else waits behind it, and `gc` must not free what only waits for a name."""
    a, b, version = clash(machine)
    (report,) = b.push().projects
    b.store.gc(grace_s=0)
    (conflict,) = b.store.conflicts()
    a.pull()

    assert 1 == report.pushed.versions
    assert ("type", 3) == (conflict.kind, conflict.followers)
    assert "dataset" == b.store.version("cats").type
    assert {"y": b"b"} == a.read("dogs")
    rebuilt(b)
    b.store.rename_mine(conflict.id, "cat-models")
    assert {"model": b"better"} == b.read("cat-models:v1")
    assert {"model": b"model"} == b.read("cat-models:best")
    b.push()
    a.pull()
    assert [] == b.store.conflicts()
    assert {"model": b"better"} == a.read("cat-models")
    assert a.state_hash() == b.state_hash()
    assert version.id == a.store.version("cat-models").id


def test_what_was_kept_is_what_runs_have_used_and_portfolios_hold(machine: Make) -> None:
    """Lineage holds ids: under another one, a model would come from nothing, and nobody could say what it was."""
    a, b, version = clash(machine)
    b.store.start_run(id="train", project="lab")
    b.store.use("train", "uncategorized/cats:v1", project="lab")
    b.store.link("cats:v1", "lab/shelf")
    b.store.rename("cats", "tigers")
    b.store.rename("tigers", "cats")
    b.push()
    b.store.rename_mine(b.store.conflicts()[0].id, "cat-models")
    rebuilt(b)
    b.push()
    for each in (a, b):
        each.pull()
        assert [version.id] == [used.id for used in each.store.inputs("train", project="lab")]
        assert "cat-models:v1" == each.store.version(f"cat-models@{version.id}").name
        assert {"model": b"better"} == each.read("lab/shelf:v0")
        assert ["train"] == [run.id for run in each.store.used_by("cat-models:v1")]
    assert ([], []) == (a.store.conflicts(), b.store.conflicts())
    assert b.store.verify().ok


def test_a_name_that_others_have_freed_is_taken_when_somebody_says_so(machine: Make) -> None:
    """By itself it would take, weeks later, a name that others know as free, or as something else."""
    a, b, version = clash(machine)
    b.push()
    a.store.rename("cats", "tigers")
    a.push()
    b.move("sync")
    (conflict,) = b.store.conflicts()
    b.store.keep_mine(conflict.id)
    b.push()
    a.pull()

    assert [] == b.store.conflicts()
    assert version.id == a.store.version("cats:v1").id
    assert a.state_hash() == b.state_hash()


def test_a_number_of_what_was_refused_is_doubtful_until_it_is_accepted(machine: Make) -> None:
    """I5. A script that says cats:v0 would be given another type's data, and nobody would know."""
    a, b, version = clash(machine)
    first = b.store.version("cats:v0")
    theirs = a.store.version("cats:v0")
    b.push()
    for _ in range(2):
        with pytest.raises(AmbiguousVersion, match=f"version {first.id[7:19]}, which waits for a decision"):
            b.store.version("cats:v0")
        doubtful = [(each.collection, each.before, each.called, each.id) for each in b.store.moved_numbers()]
        assert [("cats", 0, "a conflict", first.id), ("cats", 1, "a conflict", version.id)] == doubtful
        rebuilt(b)
    b.store.rename_mine(b.store.conflicts()[0].id, "cat-models")
    for _ in range(2):
        with pytest.raises(AmbiguousVersion, match="which is cat-models:v0 now"):
            b.store.version("cats:v0")
        rebuilt(b)
    assert (first.id, theirs.id) == (b.store.version("cat-models:v0").id, b.store.version(f"cats@{theirs.id}").id)
    b.store.accept_numbers(["cats"])
    assert (theirs.id, []) == (b.store.version("cats:v0").id, b.store.moved_numbers())
    assert b.store.verify().ok


def test_a_number_by_a_name_that_others_gave_first_is_doubtful_too(pair: tuple[Machine, Machine]) -> None:
    """It was lions:v0 in a script of this machine, and would be another animal."""
    a, b = pair
    mine = b.store.version("cats:v0")
    b.store.rename("cats", "lions")
    a.put({"x": b"lion"}, name="lions")
    a.push()
    b.push()
    for _ in range(2):
        with pytest.raises(AmbiguousVersion, match="which is cats:v0 now"):
            b.store.version("lions:v0")
        assert mine.id == b.store.version("cats:v0").id
        rebuilt(b)
    b.store.accept_numbers(["lions"])

    assert a.store.version("lions:v0").id == b.store.version("lions:v0").id


@pytest.mark.parametrize(
    ("freed", "between", "waits"),
    [
        ("lions:v0 now", False, True),
        ("lions:v0 now", True, False),
        ("was deleted", False, False),
        ("was deleted", True, True),
    ],
)
def test_a_number_by_a_name_that_others_freed_and_gave_again_is_doubtful(
    pair: tuple[Machine, Machine], freed: str, *, between: bool, waits: bool
) -> None:
    """A script of this machine that names cats:v0 would go on with other data, without a word."""
    a, b = pair
    mine = b.store.version("cats:v0")
    if freed == "was deleted":
        a.store.delete_collection("cats", everywhere=True, force=True)
    else:
        a.store.rename("cats", "lions")
    if between:
        a.push()
        b.pull()
    if waits:
        b.put({"x": b"dog"}, name="dogs")
    a.put({"x": b"another cat"})
    a.push()
    b.move("sync")
    b.move("sync")

    for _ in range(2):
        with pytest.raises(AmbiguousVersion, match=freed):
            b.store.version("cats:v0")
        assert [(0, mine.id)] == [(each.before, each.id) for each in b.store.moved_numbers()]
        rebuilt(b)
    b.store.accept_numbers(["cats"])
    b.move("sync")
    assert a.store.version("cats:v0").id == b.store.version("cats:v0").id
    assert [] == a.store.moved_numbers()


def test_a_number_of_what_was_given_up_means_theirs_alone(machine: Make) -> None:
    a, b, _version = clash(machine)
    b.push()
    b.store.drop_mine(b.store.conflicts()[0].id)

    assert ([], a.store.version("cats:v0").id) == (b.store.moved_numbers(), b.store.version("cats:v0").id)


def test_what_was_deleted_before_it_was_refused_is_not_missed(machine: Make) -> None:
    """`gc` has freed it by then: neither a check nor a new name may ask for it."""
    a, b, _version = clash(machine)
    a.pull()
    b.store.delete("cats:v0", force=True)
    b.store.gc(grace_s=0)
    b.push()

    assert b.store.verify().ok
    b.store.rename_mine(b.store.conflicts()[0].id, "cat-models")
    b.push()
    a.pull()
    assert ["cat-models:v1"] == [each.name for each in a.store.versions("cat-models")]
    assert {"model": b"better"} == a.read("cat-models:v1")
    assert a.state_hash() == b.state_hash()


@pytest.mark.parametrize("at_once", [False, True])
def test_what_was_deleted_before_anybody_saw_it_asks_for_no_decision(machine: Make, *, at_once: bool) -> None:
    """Every push would speak of a conflict, and `--as` be refused, for what is wanted by nobody."""
    a, b, _version = clash(machine)
    if at_once:
        b.store.delete_collection("cats", force=True)
    else:
        b.store.delete_versions(["cats:v0", "cats:v1"], force=True)
    report = b.push()

    assert ([0], []) == ([each.conflicts for each in report.projects], b.store.conflicts())
    check_can_be_set_aside(b.store.root, PROJECT, "mine")
    with pytest.raises(AmbiguousVersion, match="which was deleted; now it means"):
        b.store.version("cats:v0")
    assert a.store.version("cats").id == b.store.version("cats").id


def test_a_refused_collection_can_be_given_up(machine: Make) -> None:
    _a, b, _version = clash(machine)
    b.push()
    (conflict,) = b.store.conflicts()
    with pytest.raises(Invalid, match="cannot be done again"):
        b.store.keep_mine(conflict.id)
    b.store.drop_mine(conflict.id)

    assert [] == b.store.conflicts()
    assert 2 == b.store.gc(grace_s=0).freed_blobs


def test_a_name_that_is_there_is_not_taken_by_a_rename(machine: Make) -> None:
    _a, b, _version = clash(machine)
    b.push()
    with pytest.raises(Conflict, match="there already"):
        b.store.rename_mine(b.store.conflicts()[0].id, "dogs")


def test_what_both_deleted_is_no_conflict(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    a.put({"x": b"a"})
    a.push()
    b.pull()
    a.store.delete("cats:v0", everywhere=True)
    b.store.delete("cats:v0", everywhere=True)
    a.push()
    b.push()

    assert [] == b.store.conflicts()
    assert a.state_hash() == b.state_hash()


def test_delete_forgets_here_what_others_have(pair: tuple[Machine, Machine]) -> None:
    """Freeing a laptop's disk must not take a colleague's data away."""
    a, b = pair
    a.put({"x": b"a"})
    a.push()
    gone = a.store.delete("cats:v1")
    freed = a.store.gc(grace_s=0).freed_blobs
    b.pull()

    assert ("forgotten", 1) == (gone.state, freed)
    assert [0] == [each.pushed.ops for each in a.push().projects]
    for _ in range(2):
        assert ["cats:v0"] == [each.name for each in a.store.versions("cats")]
        assert "cats:v0" == a.store.version("cats").name
        with pytest.raises(NotFound, match="who puts the same content") as caught:
            a.store.version("cats:v1")
        assert "version-forgotten" == caught.value.code
        rebuilt(a)
    assert {"x": b"a"} == b.read("cats:v1")
    assert a.state_hash() == b.state_hash()
    exchange(a.store, "pull", references=[f"cats@{gone.id[7:19]}"])
    assert {"x": b"a"} == a.read("cats:v1")


def test_the_same_content_brings_a_forgotten_version_back(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    first = a.put({"x": b"a"})
    a.push()
    a.store.delete("cats:v1")
    a.store.gc(grace_s=0)
    again = a.put({"x": b"a"})
    a.push()
    b.pull()

    assert (first.id, 1) == (again.id, again.number)
    rebuilt(a)
    assert {"x": b"a"} == a.read("cats:v1") == b.read("cats:v1")
    assert a.store.verify().ok


def test_what_nobody_else_has_seen_is_deleted_and_takes_no_bytes_along(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    b.put({"x": b"b"})
    b.put({"x": b"c"})
    b.store.delete("cats:v1")
    b.store.gc(grace_s=0)
    (report,) = b.push().projects
    a.pull()

    assert 1 == report.pushed.blobs
    assert ["cats:v2", "cats:v0"] == [each.name for each in a.store.versions("cats")]
    assert {"x": b"c"} == a.read("cats:v2")


def test_deleting_everywhere_hides_it_from_all(pair: tuple[Machine, Machine]) -> None:
    """I12. What others say hides a version here, and deletes not one byte of it."""
    a, b = pair
    a.put({"x": b"a"})
    a.push()
    b.pull()
    a.store.start_run(id="r")
    a.store.use("r", "cats:v0")
    with pytest.raises(Conflict, match="a run used"):
        a.store.delete("cats:v0", everywhere=True)
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    # A pull brings what there is, and a read the bytes.
    assert {"x": b"0"} == b.read("cats:v0")
    held = bytes_of(b)
    b.pull()

    with pytest.raises(NotFound, match="was deleted"):
        b.store.version("cats:v0")
    assert held
    assert held <= bytes_of(b)


@pytest.mark.parametrize("need", ["alias", "use", "link"])
def test_what_others_need_is_not_deleted_by_who_had_not_seen_that(pair: tuple[Machine, Machine], need: str) -> None:
    """X8. Without a word version and alias would be gone for everybody, though nobody has said by force."""
    a, b = pair
    a.put({"x": b"a"})
    a.push()
    b.pull()
    if need == "alias":
        a.store.alias("cats:v0", ["best"])
    elif need == "use":
        a.store.start_run(id="r")
        a.store.use("r", "cats:v0")
    else:
        a.store.link("cats:v0", "shelf")
    a.push()
    b.store.delete("cats:v0", everywhere=True)
    b.push()
    a.pull()

    assert a.store.version("cats:v0").id == b.store.version("cats:v0").id
    (conflict,) = b.store.conflicts()
    assert ("delete of v0", NEEDED) == (conflict.what, conflict.reason)
    b.store.keep_mine(conflict.id)
    b.push()
    a.pull()
    with pytest.raises(NotFound, match="was deleted"):
        a.store.version("cats:v0")
    assert [] == b.store.conflicts()


@pytest.mark.parametrize("need", ["alias", "use", "link"])
def test_a_collection_that_others_need_is_not_deleted_by_who_had_not_seen_that(
    pair: tuple[Machine, Machine], need: str
) -> None:
    """One word less than by force ends what is in service elsewhere, and the whole collection with it."""
    a, b = pair
    a.put({"x": b"a"})
    a.push()
    b.pull()
    if need == "alias":
        a.store.alias("cats:v1", ["best"])
    elif need == "use":
        a.store.start_run(id="r")
        a.store.use("r", "cats:v1")
    else:
        a.store.link("cats:v1", "shelf")
    a.push()
    b.read("cats:v1")
    b.store.delete_collection("cats", everywhere=True)
    b.store.gc(grace_s=0)
    b.pull()

    (conflict,) = b.store.conflicts()
    assert NEEDED == conflict.reason
    rebuilt(b)
    for each in (a, b):
        assert ["v1", "v0"] == [f"v{version.number}" for version in each.store.versions("cats")]
        assert {"x": b"a"} == each.read("cats:v1")
    b.store.keep_mine(conflict.id)
    b.push()
    a.pull()
    for each in (a, b):
        with pytest.raises(NotFound):
            each.store.versions("cats")
        assert [] == each.store.conflicts()
    assert [] == (a.store.versions("shelf") if need == "link" else [])


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_forgotten_before_it_is_deleted_for_all_is_not_missed(
    pair: tuple[Machine, Machine], *, whole: bool
) -> None:
    """Its list of files is gone already, and `verify` would call it lost, though it is to be gone for everybody."""
    a, b = pair
    b.store.delete("cats:v0")
    b.store.gc(grace_s=0)
    if whole:
        b.store.delete_collection("cats", everywhere=True)
    else:
        b.store.delete(f"cats@{a.store.version('cats:v0').id}", everywhere=True)

    assert b.store.verify().ok
    b.store.gc(grace_s=0)
    b.push()
    assert b.store.verify().ok


def test_what_was_deleted_and_freed_before_there_was_an_upstream_is_not_missed(machine: Make, depot: Path) -> None:
    """Its end waits with it from then on, and `verify` would call lost what nobody has ever seen."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"a"}, name="birds")
    a.push()
    remove_remote(b.store.path, "hub")
    b.put({"x": b"1"}, name="dogs")
    b.put({"x": b"0"})
    b.store.delete_collection("cats", everywhere=True)
    b.store.gc(grace_s=0)
    add_upstream(b.store, "hub", f"file://{depot}", join=True)
    b.pull()

    assert b.store.verify().ok
    b.push()
    assert b.store.verify().ok


def test_a_portfolio_that_others_speak_of_is_not_deleted_by_who_had_not_seen_that(
    pair: tuple[Machine, Machine],
) -> None:
    """The alias by which a team has it in service would go with it, and nobody is told."""
    a, b = pair
    a.store.link("cats:v0", "shelf")
    a.push()
    b.pull()
    a.store.alias("shelf:v0", ["prod"])
    a.push()
    b.store.delete_collection("shelf", everywhere=True)
    b.push()
    a.pull()

    (conflict,) = b.store.conflicts()
    assert NEEDED == conflict.reason
    assert {"x": b"0"} == a.read("shelf:prod")
    b.store.keep_mine(conflict.id)
    b.push()
    a.pull()
    for each in (a, b):
        assert ["cats"] == [found.name for found in each.store.collections()]
        assert [] == each.store.conflicts()


def test_what_comes_back_since_others_need_it_can_be_read(pair: tuple[Machine, Machine]) -> None:
    """`gc` between a deletion and its push took the list of files, and neither pull nor rebuild got it back."""
    a, b = pair
    b.store.delete("cats:v0", everywhere=True)
    b.store.gc(grace_s=0)
    a.store.alias("cats:v0", ["prod"])
    a.push()
    b.pull()

    assert {"x": b"0"} == b.read("cats:v0")
    rebuilt(b)
    assert {"x": b"0"} == b.read("cats:v0")
    b.store.keep_mine(b.store.conflicts()[0].id)
    b.push()
    b.store.gc(grace_s=0)
    assert set() == bytes_of(b)


def test_what_is_ended_by_force_in_the_end_leaves_no_link(pair: tuple[Machine, Machine]) -> None:
    """`delete --force` takes it out of the portfolios; to all others this one led nowhere."""
    a, b = pair
    b.store.delete("cats:v0", everywhere=True)
    a.store.link("cats:v0", "shelf")
    a.push()
    b.pull()
    b.store.keep_mine(b.store.conflicts()[0].id)
    b.push()
    a.pull()

    for each in (a, b):
        assert [] == each.store.versions("shelf")


def test_an_alias_on_what_was_forgotten_says_so(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    b.put({"x": b"b"}, aliases=["best"])
    b.push()
    a.pull()
    a.store.delete("cats:best", force=True)

    with pytest.raises(NotFound, match="deleted on this machine"):
        a.store.version("cats:best")
    b.pull()
    assert {"x": b"b"} == b.read("cats:best")


def test_prune_forgets_what_others_have(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    a.put({"x": b"a"})
    a.push()
    a.store.prune(["cats"], keep_last=1)
    exchange(a.store, "sync")
    b.pull()

    assert ["cats:v1"] == [each.name for each in a.store.versions("cats")]
    assert ["cats:v1", "cats:v0"] == [each.name for each in b.store.versions("cats")]


def test_what_is_done_to_a_collection_that_nobody_has_seen_is_not_done_to_that_of_others(machine: Make) -> None:
    """A laptop that once made and deleted `cats`, and renamed its `train`, must not do so to those of the team."""
    a, b = machine("a"), machine("b")
    theirs = [b.put({"x": b"0"}), b.put({"x": b"1"}), b.put({"x": b"t"}, name="train")]
    slip, mine = a.put({"x": b"2"}), a.put({"x": b"m"}, name="train")
    a.store.delete_collection("cats")
    again = a.put({"x": b"3"})
    a.store.rename("train", "mine")
    a.store.tag_collection("mine", ["good"])
    b.push()
    report = exchange(a.store, "sync")
    b.pull()

    assert [None] == [project.error for project in report.projects]
    for each in (a, b):
        assert {"cats", "train"} == {found.name for found in each.store.collections("uncategorized")}
        assert {theirs[0].id, theirs[1].id, again.id} == {found.id for found in each.store.versions("cats")}
        assert {theirs[2].id, mine.id} == {found.id for found in each.store.versions("train")}
    assert slip.id not in {found.id for found in b.store.versions("cats")}
    renamed, tagged = a.store.conflicts()
    assert "somebody else's" in renamed.reason
    a.store.drop_mine(renamed.id)
    a.store.keep_mine(tagged.id)
    a.push()
    b.pull()
    assert ["good"] == b.store.collection("train").tags
    assert [] == a.store.conflicts()


def test_a_collection_is_renamed_for_all_where_somebody_says_so(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"a"})
    b.put({"x": b"b"})
    a.store.rename("cats", "mine")
    b.push()
    a.push()
    (conflict,) = a.store.conflicts()
    b.put({"x": b"0"}, name="mine")
    b.push()
    a.pull()
    with pytest.raises(Invalid, match="another collection") as caught:
        a.store.keep_mine(conflict.id)
    b.store.rename("mine", "others")
    b.push()
    a.pull()
    a.store.keep_mine(conflict.id)
    a.push()
    b.pull()

    assert "cannot-be-done-again" == caught.value.code
    assert {"mine", "others"} == {found.name for found in b.store.collections("uncategorized")}


@pytest.mark.parametrize("name", [None, "elsewhere"])
def test_what_came_too_late_for_its_collection_can_be_had(machine: Make, name: str | None) -> None:
    """A version that was said to be kept must not end as bytes without any name."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.pull()
    late = b.put({"x": b"1"}, aliases=["best"])
    more = b.put({"x": b"2"})
    a.store.delete_collection("cats", everywhere=True)
    a.push()
    b.pull()
    first, second = b.store.conflicts()
    if name is None:
        a.put({"x": b"3"})
        a.push()
        b.pull()
        with pytest.raises(Invalid, match="--rename"):
            b.store.keep_mine(first.id)
        a.store.rename("cats", "new")
        a.push()
        b.pull()
        b.store.keep_mine(first.id)
    else:
        b.store.rename_mine(first.id, name)
    b.store.keep_mine(second.id)
    b.push()
    a.pull()

    assert [("v2", more.id, ["latest"]), ("v1", late.id, ["best"])] == [
        (each[0].partition(":")[2], *each[1:]) for each in a.names(name or "cats")
    ]
    assert a.names(name or "cats") == b.names(name or "cats")
    assert {"x": b"1"} == a.read(f"{name or 'cats'}:best")
