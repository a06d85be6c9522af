"""What somebody deletes is gone for all, and its bytes go from another machine only when somebody there says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.cli import main
from artstore.cli.moving import render
from artstore.errors import Conflict, NotFound
from artstore.lifecycle.reports import GcReport
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.connect import connect
from artstore.sync.depots.collect import collect_remote
from artstore.sync.evict import evict
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote, remove_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine

Make = Callable[..., Machine]

SMALL = {f"d/{number}": b"small %d" % number for number in range(3)}
LARGE = {"large": bytes(1_500_000)}


def deleted_by_another(machine: Make) -> tuple[Machine, Machine]:
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.put(SMALL)
    a.push()
    b.pull()
    b.store.delete("cats:v0", everywhere=True, force=True)
    b.push()
    a.pull()
    return a, b


def named(report: GcReport) -> tuple[list[str], int, int]:
    return report.deleted_versions, report.deleted_bytes, report.freed_blobs


def test_bytes_of_what_another_deleted_stay_until_they_are_let_go(machine: Make) -> None:
    """Whoever made them would lose them by a gc of every night, unasked, to anybody with the right to write."""
    a, _b = deleted_by_another(machine)
    kept = [named(a.store.gc(grace_s=0, dry_run=dry_run)) for dry_run in (True, False, False)]
    whole = a.store.verify().ok
    foreseen = named(a.store.gc(grace_s=0, deleted=True, dry_run=True))
    freed = named(a.store.gc(grace_s=0, deleted=True))

    assert [(["uncategorized/cats:v0"], 1_500_000, 0)] * 3 == kept
    assert ["cats:v1"] == [name for name, *_ in a.names()]
    assert whole
    assert foreseen == freed == (["uncategorized/cats:v0"], 1_500_000, 1)
    assert ([], 0, 0) == named(a.store.gc(grace_s=0))
    assert SMALL == a.read("cats:v1")
    assert a.store.verify().ok


def test_what_is_put_again_finds_the_bytes_that_another_deleted(machine: Make) -> None:
    a, b = deleted_by_another(machine)
    a.store.gc(grace_s=0)
    before = a.store.status().stored_bytes
    a.put(SMALL | LARGE)
    a.push()
    b.pull()

    assert before == a.store.status().stored_bytes
    assert ([], 0, 0) == named(a.store.gc(grace_s=0))
    assert SMALL | LARGE == a.read("cats:v2") == b.read("cats:v2")


@pytest.mark.parametrize("collected", [True, False])
def test_what_was_deleted_on_this_machine_alone_is_had_back_by_asking_for_it(
    machine: Make, capsys: pytest.CaptureFixture[str], *, collected: bool
) -> None:
    """Whoever made room on a small disk would have to look for another machine to read it again."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.put(SMALL)
    a.push()
    b.pull()
    exchange(b.store, "pull", blobs=True)
    b.store.delete("cats:v0", force=True)
    if collected:
        b.store.gc(grace_s=0)
    with pytest.raises(NotFound, match="artstore pull uncategorized/cats:v0"):
        b.read("cats:v0")

    render(exchange(b.store, "pull", references=["cats:v0"]))

    assert "pulled 1 version" in capsys.readouterr().out
    assert SMALL | LARGE == b.read("cats:v0")
    Store.rebuild(b.store.path)
    assert SMALL | LARGE == b.read("cats:v0")
    assert b.store.verify().ok
    assert a.names() == b.names()


def test_a_list_that_the_upstream_has_lost_holds_up_nothing_but_its_own_version(machine: Make, depot: Path) -> None:
    """Nothing of that project went either way any more, and nobody was told what could be done."""
    a, b = machine("a"), machine("b")
    a.put(SMALL)
    a.put(LARGE)
    a.push()
    b.pull()
    b.store.delete("cats:v0")
    b.store.gc(grace_s=0)
    shutil.rmtree(depot / "manifests")
    (asked,) = exchange(b.store, "pull", references=["cats:v0"]).projects
    b.put({"x": b"dog"}, name="dogs")
    (synced,) = exchange(b.store, "sync").projects
    (mended,) = recover(b.store).projects
    a.pull()
    recover(a.store)
    (again,) = exchange(b.store, "pull", references=["cats:v0"]).projects

    assert [("blob-missing", 5)] * 3 == [(each.code, each.exit_code) for each in (asked, synced, mended)]
    assert "lists of files of cats:v0 are lost" in str(synced.error)
    assert "artstore delete uncategorized/cats:v0" in str(synced.error)
    assert 1 == synced.pushed.versions
    assert {"x": b"dog"} == a.read("dogs")
    assert again.error is None
    assert SMALL == b.read("cats:v0")


def test_who_gives_up_a_list_that_is_lost_is_asked_no_more(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL)
    a.push()
    b.pull()
    b.store.delete("cats:v0")
    b.store.gc(grace_s=0)
    shutil.rmtree(depot / "manifests")
    exchange(b.store, "pull", references=["cats:v0"])
    b.store.delete("cats:v0")

    assert [None] == [each.error for each in exchange(b.store, "sync").projects]


def test_what_the_upstream_of_before_has_alone_is_had_from_there(machine: Make, tmp_path: Path) -> None:
    """Its version could not be had though all of it was in reach, and all behind it waited."""
    a, new = machine("a"), tmp_path / "new"
    new.mkdir()
    z = Machine(tmp_path, new, "z")
    z.put({"x": b"dog"}, name="dogs")
    z.push()
    a.put(SMALL)
    a.put(LARGE)
    a.push()
    a.store.delete("cats:v0")
    a.store.gc(grace_s=0)
    remove_remote(a.store.path, "hub")
    add_remote(a.store.path, "old", f"file://{a.depot}", upstream=False, join=False)
    add_upstream(a.store, "new", f"file://{new}", join=True)
    connect(a.store)
    (held,) = exchange(a.store, "push").projects
    a.move("pull", references=["cats:v0"])
    a.push()
    z.pull()

    assert "cats:v0" in str(held.error)
    assert a.names() == z.names()
    assert (SMALL, LARGE) == (z.read("cats:v0"), z.read("cats:v1"))
    z.store.close()


@pytest.mark.parametrize("to_fit", [None, 0])
def test_what_another_deleted_is_not_freed_with_what_stays(machine: Make, to_fit: int | None) -> None:
    """What the remote showed it had for the other version, and may free with that one, was the last copy."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.put(LARGE | {"x": b"x"})
    a.push()
    b.pull()
    b.store.delete("cats:v0", everywhere=True, force=True)
    b.push()
    a.pull()
    report = evict(a.store, [] if to_fit is not None else ["cats:v1"], to_fit=to_fit)
    b.store.delete("cats:v1", everywhere=True, force=True)
    b.push()
    collect_remote(b.store, "hub", grace_s=0)
    a.pull()
    kept = a.store.status().stored_bytes
    a.put(SMALL | LARGE)

    assert 1 == report.blobs
    assert report.stored_bytes == kept == a.store.status().stored_bytes
    if to_fit is None:
        assert (1, [], ["uncategorized/cats:v0"]) == (report.held_blobs, report.held_by, report.held_deleted)


@pytest.mark.parametrize("everywhere", [True, False])
def test_what_was_deleted_here_goes_at_once(machine: Make, *, everywhere: bool) -> None:
    """Also where another was first: whoever deletes does not ask for it to be kept."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    b.pull()
    b.read("cats:v0")
    a.store.delete("cats:v0", everywhere=everywhere, force=True)
    b.store.delete("cats:v0", everywhere=True, force=True)
    b.push()
    a.move("sync")

    assert ([], 0, 4) == named(a.store.gc(grace_s=0))
    assert ([], 0, 4) == named(b.store.gc(grace_s=0))


def test_what_never_came_here_is_not_named(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    b.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    b.pull()

    assert [] == b.store.gc(grace_s=0).deleted_versions
    assert ([], 0, 4) == named(a.store.gc(grace_s=0))


def test_a_rebuilt_catalog_knows_who_deleted(machine: Make) -> None:
    a, b = deleted_by_another(machine)
    b.read("cats:v1")
    for each in (a, b):
        each.store.gc(grace_s=0)
        each.store.close()
        (each.store.path / "catalog.db").unlink()
        assert [] == Store.rebuild(each.store.path).lost
        each.again()

    assert (["uncategorized/cats:v0"], 1_500_000, 0) == named(a.store.gc(grace_s=0))
    assert ([], 0, 0) == named(b.store.gc(grace_s=0))


def test_the_command_names_it_and_a_depot_has_nothing_of_the_kind(
    machine: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    a, _b = deleted_by_another(machine)
    command = ["--store", str(a.store.path), "gc", "--grace", "0"]
    assert 0 == main(command)
    kept = capsys.readouterr().out
    assert 0 == main([*command, "--deleted"])
    gone = capsys.readouterr().out

    assert "others have deleted uncategorized/cats:v0: 1.4 MiB of it stay until artstore gc --deleted" in kept
    assert "1 blob; freed: 1.4 MiB" in gone
    assert 2 == main([*command, "--deleted", "--remote", "hub"])


def test_a_collection_that_only_this_machine_forgets_is_said_to_be(
    machine: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever took it for gone for all would find it back here, with the next version that somebody makes of it."""
    a, b = machine("a"), machine("b")
    a.put({"a": b"1"})
    a.push()
    a.put({"a": b"1"}, name="dogs")
    words = ["--store", str(a.store.path), "delete", "cats", "dogs", "--collection"]
    assert 0 == main(words)
    cats, dogs = capsys.readouterr().out.splitlines()
    b.pull()
    b.put({"a": b"2"})
    b.push()
    a.pull()

    assert "deleted uncategorized/cats, 1 version, on this machine; artstore gc frees their space" == cats
    assert "deleted uncategorized/dogs, 1 version; artstore gc frees their space" == dogs
    assert ["cats:v1"] == [name for name, *_ in a.names()]


def test_a_portfolio_that_others_have_goes_for_all_where_that_is_said(machine: Make) -> None:
    """Whoever tidies up their own machine must not take away what a team has chosen."""
    a, b = machine("a"), machine("b")
    a.put({"a": b"1"})
    a.put({"a": b"2"})
    for portfolio in ("best", "mine"):
        a.store.link("cats:v0", portfolio)
    a.push()
    b.pull()
    words = ["--store", str(b.store.path), "delete", "best", "--collection"]
    codes = [main(words)]
    alone = b.store.link("cats:v0", "alone")
    b.store.delete_collection("alone")
    a.store.link("cats:v1", "mine")
    a.push()
    b.store.delete_collection("mine", everywhere=True)
    codes.append(main([*words, "--everywhere"]))
    b.push()
    a.pull()

    assert [4, 0] == codes
    assert alone.link is not None
    for each in (a, b):
        assert ["cats", "mine"] == sorted(found.name for found in each.store.collections())
        # What was put into it meanwhile, nobody has seen who deleted it.
        assert ["cats:v1"] == [version.name for version in each.store.versions("mine")]


def test_what_is_deleted_on_one_machine_stays_in_the_portfolios_of_all(machine: Make) -> None:
    """Who makes room on a small disk would take a model that is in service out of the registry of a whole team."""
    a, b = machine("a"), machine("b")
    b.put(SMALL)
    b.put(SMALL | LARGE)
    for number in range(2):
        b.store.link(f"cats:v{number}", "shelf", aliases=["prod"])
    b.push()
    a.pull()
    with pytest.raises(Conflict, match="is linked"):
        a.store.delete("cats:v1")
    a.store.delete("cats:v1", force=True)
    a.store.delete_collection("cats", force=True)
    a.put(LARGE, "alone")
    a.store.link("alone:v0", "shelf")
    a.store.delete("alone:v0", force=True)
    a.push()
    b.pull()

    assert ["shelf:v0", "shelf:v1"] == sorted(each.link.name for each in b.store.versions("shelf") if each.link)
    assert SMALL | LARGE == b.read("shelf:prod")
    with pytest.raises(NotFound, match="nothing is left of uncategorized/cats"):
        a.store.delete_collection("cats", force=True)
    assert 0 == a.push().projects[0].conflicts


def test_what_others_have_linked_goes_with_a_collection_by_force_alone(machine: Make) -> None:
    """Who has forgotten it sees no version of it, and would be told that none went."""
    a, b = machine("a"), machine("b")
    b.put(SMALL)
    b.put(SMALL | LARGE)
    b.push()
    a.pull()
    a.store.delete_collection("cats")
    b.store.link("cats:v1", "shelf")
    b.push()
    a.pull()
    with pytest.raises(Conflict, match="cats:v1 is linked as uncategorized/shelf:v0"):
        a.store.delete_collection("cats", everywhere=True)

    assert 2 == a.store.delete_collection("cats", everywhere=True, force=True).versions
    a.push()
    b.pull()
    assert [] == b.store.versions("shelf")
