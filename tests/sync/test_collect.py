"""What no version needs any more is freed in a depot, and never what somebody needs, whoever does what meanwhile."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.commit import now_us
from artstore.store import Store
from artstore.sync import pull, remotes
from artstore.sync.adopt import add_upstream
from artstore.sync.depots import collect
from artstore.sync.depots.collect import collect_remote
from artstore.sync.evict import evict
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote
from artstore.sync.reports import CollectedProject
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import served
from tests.sync.simulation.fate import Death
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

GRACE_S = 3600.0
YEARS_US = 10 * 365 * 86_400 * 1_000_000
LARGE = random.Random(7).randbytes(1_100_000)
MANY = {f"d/{number:03}": b"%d" % number for number in range(60)}
"""So many that one file more is kept as a difference."""


def gc(machine: Machine, grace_s: float = 0) -> CollectedProject:
    (report,) = collect_remote(machine.store, "hub", grace_s=grace_s).projects
    assert report.error is None, report.error
    return report


def objects(depot: Path, *kinds: str) -> set[str]:
    """The names of the objects that are there."""
    return {path.name for kind in kinds for path in (depot / kind).rglob("*") if path.is_file()}


def delete(machine: Machine, *references: str) -> None:
    for reference in references:
        machine.store.delete(reference, everywhere=True, force=True)
    machine.push()


def check_all(make: Make, *machines: Machine, name: str = "cold") -> None:
    """All machines, and one that begins now, see the same and can read all of it."""
    everybody = [*machines, make(name)]
    for each in everybody:
        exchange(each.store, "pull", blobs=True)
    for each in everybody:
        assert each.state_hash() == everybody[-1].state_hash()
        assert each.store.verify().ok
        for version in each.store.versions("cats"):
            assert version.bytes == sum(map(len, each.read(version.exact).values()))


def test_what_no_version_needs_goes_when_the_grace_is_over(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    a.put({"x": b"1"})
    a.push()
    delete(a, "cats:v0")
    before = objects(depot, "packs", "blobs", "manifests")

    first, second = gc(a, GRACE_S), gc(b, GRACE_S)
    there = objects(depot, "packs", "blobs", "manifests")
    third = gc(b)

    assert (3, 3, 0) == (first.condemned, first.waiting, first.swept)
    assert (0, 3, 0) == (second.condemned, second.waiting, second.swept)
    assert before == there
    assert (0, 0, 3) == (third.condemned, third.waiting, third.swept)
    assert third.freed_bytes > len(LARGE)
    assert 3 == len(objects(depot, "packs", "blobs", "manifests"))
    check_all(machine, a, b)
    assert 5 == len(objects(depot, "log"))
    assert gc(a) == gc(b) == gc(a, GRACE_S)
    assert 5 == len(objects(depot, "log")), "a collector with nothing to do has written something"


def test_a_dry_run_says_what_would_be_freed_and_frees_nothing(machine: Make, depot: Path) -> None:
    a = machine("a")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    delete(a, "cats:v0")
    before = objects(depot, "packs", "blobs", "manifests", "log")

    (said,) = collect_remote(a.store, "hub", grace_s=0, dry_run=True).projects

    assert before == objects(depot, "packs", "blobs", "manifests", "log")
    assert said == gc(a)


def test_what_only_this_store_has_forgotten_stays(machine: Make) -> None:
    """A person who makes room on a laptop must not take a version from everybody."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.put({"x": b"1"})
    a.push()
    a.store.delete("cats:v0", force=True)
    a.store.gc(grace_s=0)
    a.store.delete("cats:v1", everywhere=True, force=True)

    report = gc(a)
    b.pull()

    assert 0 == report.condemned
    assert {"x": b"0"} == b.read("cats:v0")
    assert {"x": b"1"} == b.read("cats:v1")


@pytest.mark.parametrize("skew_us", [-YEARS_US, 0, YEARS_US])
def test_what_is_needed_again_before_the_sweep_stays(
    machine: Make, monkeypatch: pytest.MonkeyPatch, skew_us: int
) -> None:
    """Whatever the clock of the machine said that condemned it."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    b.pull()
    delete(a, "cats:v0")
    with monkeypatch.context() as patch:
        patch.setattr(collect, "now_us", lambda: now_us() + skew_us)
        gc(a, GRACE_S)
    b.put({"y": b"0", "large": LARGE})
    b.push()

    report = gc(a)

    assert (2, 1) == (report.kept, report.swept)
    check_all(machine, a, b)


@pytest.mark.parametrize("skew_us", [-YEARS_US, YEARS_US])
def test_a_clock_that_is_wrong_neither_ends_a_grace_nor_lets_it_last(
    machine: Make, monkeypatch: pytest.MonkeyPatch, skew_us: int
) -> None:
    """What one machine had condemned ten years ahead nobody freed before that, and nothing said until when."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    delete(a, "cats:v0")

    def seen(each: Machine, later_us: int) -> CollectedProject:
        with monkeypatch.context() as patch:
            patch.setattr(collect, "now_us", lambda: now_us() + later_us)
            return gc(each, GRACE_S)

    first = seen(b, skew_us)
    waiting = [seen(a, 0), seen(a, int(GRACE_S * 0.9e6))]

    assert (2, 2) == (first.condemned, first.waiting)
    assert [(2, 0), (2, 0)] == [(each.waiting, each.swept) for each in waiting]
    assert all(each.due_at == pytest.approx(now_us() / 1e6 + GRACE_S, abs=60) for each in waiting)
    assert 2 == seen(a, int(GRACE_S * 1.1e6)).swept


@pytest.mark.parametrize("pushed", [{"x": b"0", "large": LARGE}, {"y": b"0", "large": LARGE, "new": b"new"}])
def test_a_store_that_has_not_pulled_since_sends_again_what_was_swept(machine: Make, pushed: dict[str, bytes]) -> None:
    """It remembers that these bytes were there."""
    a, b = machine("a"), machine("b")
    b.put({"x": b"0", "large": LARGE})
    b.push()
    a.pull()
    a.put({"x": b"1"})
    delete(a, "cats:v0")
    gc(a)
    b.put(pushed)
    b.push()

    check_all(machine, a, b)
    assert pushed == a.read("cats:latest")


def test_a_difference_to_what_was_swept_is_whole(machine: Make) -> None:
    """Files that did not change since a version that is gone are nowhere any more."""
    a, b = machine("a"), machine("b")
    b.put(MANY)
    b.push()
    a.pull()
    a.put({"x": b"1"})
    delete(a, "cats:v0")
    gc(a)
    b.put(MANY | {"more": b"more"}, aliases=["more"])
    b.push()

    check_all(machine, a, b)
    assert MANY | {"more": b"more"} == a.read("cats:more")


def test_a_list_that_others_are_differences_to_stays_and_is_not_relied_on(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put(MANY | {"large": LARGE})
    a.push()
    a.put(MANY)
    a.push()
    b.pull()
    delete(a, "cats:v0")
    gc(a)
    kept = objects(depot, "manifests", "blobs")
    b.put(MANY | {"large": LARGE})
    b.push()

    # The two lists, without the blob that only the first one names.
    assert 2 == len(kept)
    check_all(machine, a, b)
    assert MANY | {"large": LARGE} == a.read("cats:latest")


def test_a_log_of_which_much_is_gone_can_be_followed_in_small_steps(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot that says what is gone comes long after those that brought it."""
    a, b = machine("a"), machine("b")
    for number in range(3):
        a.put({"x": b"%d" % number}, name=f"cats{number}")
        a.push()
    delete(a, "cats0:v0", "cats1:v0")
    gc(a)
    monkeypatch.setattr(pull, "_BATCH_BYTES", 1)
    b.pull()

    assert a.state_hash() == b.state_hash()
    assert {"x": b"2"} == b.read("cats2:v0")
    assert b.store.verify().ok


def test_what_is_swept_and_damaged_holds_nobody_up(machine: Make, depot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that was killed leaves it there, and nobody puts it there again that could be read."""
    monkeypatch.setattr(pull, "_BATCH_BYTES", 1)
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    (lists,) = (depot / "manifests" / "uncategorized").iterdir()
    data = lists.read_bytes()
    a.put({"x": b"1"})
    a.push()
    delete(a, "cats:v0")
    gc(a)
    for damaged in (b"", bytes(5), data[:-1] + bytes([data[-1] ^ 1])):
        lists.write_bytes(damaged)
        check_all(machine, a, b, name=f"cold{len(damaged)}")
        lists.unlink()


def test_an_evicted_version_can_be_read_again_afterwards(machine: Make) -> None:
    """Its only copy is the depot's."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.put({"x": b"1"})
    a.push()
    b.pull()
    exchange(b.store, "pull", blobs=True)
    evict(b.store, ["cats:v0"])
    delete(a, "cats:v1")
    gc(a)
    b.again()

    assert {"x": b"0", "large": LARGE} == b.read("cats:v0")


def test_a_push_that_relies_on_what_goes_meanwhile_sends_it_again(machine: Make, network: Network) -> None:
    """X9. It has looked, it was there; when the slot is claimed it is gone."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    b.pull()
    delete(a, "cats:v0")
    b.pull()
    b.put({"y": b"0", "large": LARGE})
    network.meddle = once(lambda: gc(a))
    b.push()

    assert not gc(a).missing
    check_all(machine, a, b)


def test_a_sweep_that_comes_behind_a_push_keeps_what_that_needs(machine: Make, network: Network) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    b.pull()
    delete(a, "cats:v0")
    gc(a, GRACE_S)
    b.put({"y": b"0", "large": LARGE})
    network.meddle = once(b.push)
    report = gc(a)

    assert (2, 1, 0) == (report.kept, report.swept, report.missing)
    check_all(machine, a, b)


@pytest.mark.parametrize("grace_s", [0, GRACE_S])
def test_two_at_once_free_the_same_once(machine: Make, network: Network, grace_s: float) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.put({"x": b"1"})
    a.push()
    delete(a, "cats:v0")
    b.pull()
    found: list[CollectedProject] = []
    network.meddle = once(lambda: found.append(gc(b, grace_s)))
    found.append(gc(a, grace_s))

    assert 2 == sum(each.condemned for each in found)
    assert (2 if grace_s == 0 else 0) == sum(each.swept for each in found)
    check_all(machine, a, b)


def test_what_a_killed_push_left_goes_and_the_next_one_sends_it_again(
    machine: Make, network: Network, depot: Path
) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.put({"y": b"y", "large": LARGE})
    network.meddle = die
    with pytest.raises(Death):
        b.push()
    network.meddle = lambda: None
    b.again()
    left = objects(depot, "packs", "blobs", "manifests")
    waits, done = gc(a, GRACE_S), gc(a)

    assert 6 + 1 == len(left)
    assert (3, 0, 3) == (waits.condemned, waits.swept, done.swept)
    assert 3 == len(objects(depot, "packs", "blobs", "manifests"))
    b.push()
    check_all(machine, a, b)


def test_what_a_killed_push_left_is_kept_where_it_goes_on_before_the_sweep(machine: Make, network: Network) -> None:
    """Hours of sending are not for nothing."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0"})
    a.push()
    b.put({"y": b"y", "large": LARGE})
    network.meddle = die
    with pytest.raises(Death):
        b.push()
    network.meddle = lambda: None
    b.again()
    gc(a, GRACE_S)
    (pushed,) = b.push().projects
    done = gc(a)

    # The list of files of the first try is named by nobody.
    assert (0, 1) == (done.kept, done.swept)
    assert pushed.pushed.blobs
    check_all(machine, a, b)


def _killed(machine: Machine, network: Network) -> None:
    """Push, and be killed when all is there and no slot says so."""
    network.meddle = die
    with pytest.raises(Death):
        machine.push()
    network.meddle = lambda: None
    machine.again()


def test_what_the_first_push_of_a_project_left_goes_too(machine: Make, network: Network, depot: Path) -> None:
    """No slot speaks of that project yet, so nobody would ever hear of it. A stranger's folder is none of ours."""
    a, b = machine("a"), machine("b")
    b.put({"y": b"y", "large": LARGE})
    _killed(b, network)
    (depot / "packs" / "x.uzz").mkdir()
    (depot / "packs" / "x.uzz" / "y").touch()
    (said,) = collect_remote(a.store, "hub", grace_s=0, dry_run=True).projects
    untouched = objects(depot, "log")
    waits, done = gc(a, GRACE_S), gc(a)

    assert not untouched
    assert (3, 3) == (said.condemned, said.swept)
    assert (3, 0, 3) == (waits.condemned, waits.swept, done.swept)
    assert {"y"} == objects(depot, "packs", "blobs", "manifests")
    c = machine("c")
    c.put({"z": b"z"}, name="dogs")
    remotes.remove_remote(c.store.path, "hub")
    # It was made apart from nothing.
    add_upstream(c.store, "hub", f"file://{depot}", join=False)
    c.push()
    b.push()
    assert 0 == gc(a).missing
    check_all(machine, a, b, c)


@pytest.mark.parametrize("is_condemned", [False, True])
def test_a_first_push_that_was_killed_goes_on_where_it_was(
    machine: Make, network: Network, depot: Path, *, is_condemned: bool
) -> None:
    """Also where a collector has claimed the first slot meanwhile."""
    a, b = machine("a"), machine("b")
    b.put({"y": b"y", "large": LARGE})
    _killed(b, network)
    sent = objects(depot, "packs", "blobs")
    if is_condemned:
        gc(a, GRACE_S)
    b.push()

    assert sent == objects(depot, "packs", "blobs")
    # The list of files of the first try.
    assert 1 == gc(a).swept
    check_all(machine, a, b)


def test_a_first_push_beside_a_collector_sends_again_what_goes(machine: Make, network: Network) -> None:
    """It is about to claim the first slot, and the collector does."""
    a, b = machine("a"), machine("b")
    b.put({"y": b"y", "large": LARGE})
    network.meddle = once(lambda: gc(a))
    b.push()

    assert (0, 0) == (gc(a).missing, gc(a).swept)
    check_all(machine, a, b)


def test_a_collector_may_die_anywhere(machine: Make, network: Network) -> None:
    """X1. What it has said is gone is gone in the end, and nothing else."""
    a, b = machine("a"), machine("b")
    for number in range(3):
        a.put({"x": b"%d" % number, f"large{number}": LARGE[number:]})
        a.push()
    b.pull()
    delete(a, "cats:v0", "cats:v1")
    deaths = 0
    while True:
        network.calls, network.dies_at = 0, deaths + 1
        try:
            gc(a)
        except Death:
            deaths += 1
            a.again()
            continue
        break
    network.dies_at = None

    assert deaths >= 10
    report = gc(b)
    assert (0, 0, 0) == (report.condemned, report.swept, report.missing)
    check_all(machine, a, b)


def test_a_rebuilt_store_knows_what_was_condemned(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.put({"x": b"1"}, aliases=["best"])
    a.push()
    delete(a, "cats:v0")
    gc(a, GRACE_S)
    before = a.names(), a.state_hash()
    a.store.close()
    (a.store.path / "catalog.db").unlink()
    shutil.rmtree(a.store.path / "sync")
    assert [] == Store.rebuild(a.store.path).lost
    a.again()
    report = gc(a, GRACE_S)
    written = objects(depot, "log")
    a.push()

    assert before == (a.names(), a.state_hash())
    assert (0, 2) == (report.condemned, report.waiting)
    assert written == objects(depot, "log")
    assert 2 == gc(a).swept
    check_all(machine, a, b)


def test_another_log_is_not_told_of_objects_that_it_never_had(machine: Make, tmp_path: Path) -> None:
    a = machine("a")
    a.put({"x": b"0"})
    a.put({"x": b"1"})
    a.push()
    delete(a, "cats:v0")
    gc(a)
    other = tmp_path / "other"
    other.mkdir()
    remotes.remove_remote(a.store.path, "hub")
    add_upstream(a.store, "hub", f"file://{other}", join=False)
    (pushed,) = a.push().projects
    b = Machine(tmp_path, other, "b")
    b.pull()

    assert 0 == pushed.conflicts
    assert [] == a.store.conflicts()
    assert {"x": b"1"} == b.read("cats:v1")
    assert not [path for path in other.rglob("log/*/*") if b"sweep" in path.read_bytes()]


def test_a_log_that_was_set_back_is_not_believed_about_what_was_swept_since(machine: Make, depot: Path) -> None:
    """The copy of the log is older than the objects: it names what is gone."""
    a = machine("a")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    delete(a, "cats:v0")
    gc(a)
    a.put({"x": b"0", "large": LARGE}, aliases=["again"])
    a.push()
    for path in sorted((depot / "log" / "uncategorized").iterdir())[1:]:
        path.unlink()
    recover(a.store)
    b = machine("b")
    b.pull()

    assert {"x": b"0", "large": LARGE} == b.read("cats:again")


def test_only_a_depot_is_collected(machine: Make, tmp_path: Path) -> None:
    a = machine("a")
    with pytest.raises(Invalid, match="grace"):
        collect_remote(a.store, "hub", grace_s=-1)
    with served(tmp_path / "server") as server:
        add_remote(a.store.path, "server", server.url, upstream=False, join=False)
        with pytest.raises(Invalid, match="run `artstore gc` on its machine"):
            collect_remote(a.store, "server")


def test_a_depot_that_has_holes_is_said_to(machine: Make, depot: Path) -> None:
    a = machine("a")
    a.put({"x": b"0"})
    a.push()
    for path in (depot / "packs").rglob("*.tar"):
        path.unlink()

    assert 1 == gc(a).missing


def once(deed: Callable[[], object]) -> Callable[[], None]:
    left = [deed]

    def call() -> None:
        if left:
            left.pop()()

    return call


def die() -> None:
    raise Death


def test_a_project_that_is_not_there_is_not_said_to_need_all(machine: Make) -> None:
    """A slip of the keyboard: nothing is freed, night after night, and nobody is told."""
    a = machine("a")
    a.put({"x": b"1"})
    a.push()

    with pytest.raises(NotFound, match="no project 'nope'"):
        collect_remote(a.store, "hub", projects=["nope"])
    with pytest.raises(NotFound, match="no project 'nope'"):
        a.store.conflicts("nope")
