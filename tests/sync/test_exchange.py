"""Two machines and a folder that both see: what one has committed, the other has too, and means the same by it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import artstore
from artstore.errors import Corrupt, NotFound
from artstore.model.digest import Digest
from artstore.model.manifest import ReferenceEntry, digest_of_lines, encode_full
from artstore.storage import packs, stat_cache
from artstore.store import Store
from artstore.sync import lengths, pull
from artstore.sync.depots import depot as depots
from artstore.sync.rounds import Verb, exchange
from tests.sync.conftest import Machine
from tests.sync.serving import served
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

SMALL = {f"d/{number}": b"small %d" % number for number in range(20)}
LARGE = {"large": random.Random(1).randbytes(1_500_000)}


def files_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_one_pushes_the_other_pulls_and_reads(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE, aliases=["best"], metadata={"n": 1}, description="cats")
    a.put(SMALL | {"more": b"more"})
    a.push()
    b.pull()

    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert SMALL | LARGE == b.read("cats:best")
    assert SMALL | {"more": b"more"} == b.read("cats:latest")
    assert b.store.version("cats:v0").metadata == {"n": 1}
    assert b.store.verify().ok


def test_pull_brings_no_bytes_until_they_are_needed(machine: Make) -> None:
    """A version of 100 GB must not fill the disk of whoever only wants to know its name."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    b.pull()
    before = b.store.status().stored_bytes
    b.again()

    assert b.store.verify().ok
    assert before == 0
    exchange(b.store, "pull", blobs=True)
    assert sum(map(len, [*SMALL.values(), *LARGE.values()])) == b.store.status().stored_bytes


EMPTY = {f"{number:04}": b"" for number in range(900)}
"""Their list is many times as long as what it is packed in."""


def test_a_long_list_of_files_is_taken_if_its_bytes_came(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 MB said that four million files follow, which took 1.2 GB of memory of everybody who pulled them."""
    a, b = machine("a"), machine("b")
    a.put({path: path.encode() for path in EMPTY})
    a.push()
    a.put(EMPTY)
    monkeypatch.setattr(lengths, "MOST_ENTRIES", 500)
    (refused,) = exchange(a.store, "push").projects
    monkeypatch.undo()
    b.pull()
    a.push()
    monkeypatch.setattr(lengths, "MOST_ENTRIES", 500)
    (left,) = exchange(b.store, "pull").projects

    assert "so many are the same" in (refused.error or "")
    assert "so many are the same" in (left.error or "")
    assert ["cats:v0"] == [name for name, *_ in b.names()]


def test_a_long_list_of_references_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is the same in all addresses compresses well: such a list went nowhere, though it could be made."""
    uris = [f"s3://datasets/some-team/train/{number:05}/image_{number:07}.jpeg" for number in range(2000)]
    lines = [
        ReferenceEntry(path=uri.removeprefix("s3://"), uri=uri, checksum=uri, size=number * 7919 % 100_000).line()
        for number, uri in enumerate(uris)
    ]
    monkeypatch.setattr(lengths, "MOST_ENTRIES", 500)

    assert lengths.why_swelling(encode_full(digest_of_lines(lines), lines)) is None


def test_the_bytes_of_many_versions_come_together(tmp_path: Path) -> None:
    """Each by itself costs a request, a sync of the disk and room for a pack: minutes for a thousand small ones."""
    with served(tmp_path / "server") as server:
        a, b = (Machine(tmp_path, server.url, name) for name in "ab")
        for number in range(12):
            a.put({"x": b"%d" % number, "same": b"same"})
        a.push()
        server.requests.clear()
        (report,) = exchange(b.store, "pull", blobs=True).projects

        assert len(server.requests) < 12
        assert (12, 13) == (report.pulled.versions, report.pulled.blobs)
        assert {"x": b"7", "same": b"same"} == b.read("cats:v7")
        a.store.close()
        b.store.close()


def test_a_folder_whose_version_came_back_by_name_is_stored(
    machine: Make, depot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its bytes were there, and a put of them wanted the remote; without one it failed for good."""
    monkeypatch.setattr(stat_cache, "MARGIN_NS", 0)
    a, b = machine("a"), machine("b")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x").write_bytes(b"x")
    a.store.put([folder], name="mine", type="dataset")
    a.store.delete("mine:v0", force=True)
    for _ in range(2):
        a.store.gc(grace_s=0)
    a.push()
    b.pull()
    b.store.put([folder], name="theirs", type="dataset")
    b.push()
    a.pull()
    depot.rename(tmp_path / "away")
    a.store.put([folder], name="again", type="dataset")

    assert {"x": b"x"} == a.read("again")


def test_a_pull_that_was_killed_behind_its_rows_leaves_all_to_the_next(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of files that came again had rows and was in no log: a rebuild made a version without files of it."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"})
    a.push()
    b.pull()
    b.store.delete("cats:v0", force=True)
    for _ in range(2):
        b.store.gc(grace_s=0)
    a.put({"x": b"x"}, name="dogs")
    a.push()
    with monkeypatch.context() as patch:
        patch.setattr(pull, "accept", _die)
        with pytest.raises(KeyboardInterrupt):
            b.pull()
    b.pull()
    Store.rebuild(b.store.path)
    b.again()

    assert {"x": b"x"} == b.read("dogs")


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_get_fetches_what_it_writes(machine: Make, tmp_path: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    report = b.pull()
    b.store.get("cats", tmp_path / "out", patterns=["d/1*"])

    assert 1 == report.projects[0].pulled.versions
    assert 11 == len(list((tmp_path / "out" / "d").iterdir()))
    assert not list((b.store.path / "blobs").rglob("*/*/*"))


def test_a_program_is_given_what_only_the_remote_has(machine: Make, tmp_path: Path) -> None:
    """It was told that the bytes are missing, while the command line fetched them."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"x"})
    a.push()
    b.pull()
    with artstore.Store.open(b.store.path) as store:
        store.get("cats", tmp_path / "out")

    assert b"x" == (tmp_path / "out" / "x").read_bytes()


def test_both_may_commit_offline_and_end_with_the_same_numbers(machine: Make) -> None:
    """I11. Elsewhere a second offline sync makes versions twice, or each machine has a v0 of its own for ever."""
    a, b = machine("a"), machine("b")
    mine, theirs = a.put({"x": b"a"}, aliases=["best"]), b.put({"x": b"b"})
    a.push()
    b.push()
    a.pull()

    assert [("cats:v1", theirs.id, ["latest"]), ("cats:v0", mine.id, ["best"])] == a.names()
    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert {"x": b"b"} == a.read("cats:v1")


def test_many_projects_travel_each_in_a_log_of_its_own(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    for name in ("zoo", "Zoo.u1", "_x", "My_Proj"):
        a.put({"x": name.encode()}, project=name)
    a.push()
    b.pull()

    assert ["My_Proj", "Zoo.u1", "_x", "zoo"] == b.store.projects()
    assert {"x": b"_x"} == b.read("_x/cats")


def test_a_push_with_nothing_new_writes_nothing(machine: Make, depot: Path) -> None:
    a = machine("a")
    a.put(SMALL)
    a.push()
    before = files_of(depot), files_of(a.store.path / "ops")

    (report,) = a.push().projects
    a.pull()
    assert 0 == report.pushed.ops
    assert before == (files_of(depot), files_of(a.store.path / "ops"))


@pytest.mark.parametrize(("verb", "calls"), [("push", 1), ("pull", 3), ("sync", 3)])
def test_where_nothing_is_new_few_questions_say_so(
    machine: Make, depot: Path, network: Network, verb: Verb, calls: int
) -> None:
    """A cluster of a thousand nodes that all follow one depot lives by that, and in a bucket each is paid for.

    A depot cannot say in one answer that there is no slot behind the last, and that this one is still as it was taken;
    one more names the projects that it has.
    """
    a = machine("a")
    for number in range(3):
        a.put({"x": b"%d" % number})
        a.push()
    before = files_of(depot)
    network.calls = 0
    a.move(verb)

    assert calls == network.calls
    assert before == files_of(depot)


def test_all_projects_of_a_depot_are_found_where_one_has_more_slots_than_a_page(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind many slots was not to be listed slot by slot, and must not be left out."""
    monkeypatch.setattr(depots, "_PAGE", 2)
    a, b = machine("a"), machine("b")
    for project, slots in (("a", 1), ("b", 5), ("c", 2), ("d", 3)):
        for number in range(slots):
            a.put({"x": b"%d" % number}, project=project)
            a.move("push", projects=[project])
    b.pull()

    assert ["a", "b", "c", "d"] == b.store.projects()


def test_known_bytes_are_not_sent_again(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    b.pull()
    b.put({**SMALL, **LARGE, "one": b"more"})
    (report,) = b.push().projects

    assert (1, 4) == (report.pushed.blobs, report.pushed.bytes)
    assert 1 == len(list((depot / "blobs").rglob("*.*")))


def test_a_dry_run_says_what_would_move_and_moves_nothing(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL)
    (said,) = a.move("push", dry_run=True).projects
    assert {} == files_of(depot)
    (done,) = a.push().projects
    (coming,) = b.move("pull", dry_run=True).projects

    assert said == done
    assert (1, 1) == (coming.pulled.slots, coming.pulled.versions)
    assert [] == b.store.projects()


def test_a_number_that_nobody_else_has_seen_is_marked(machine: Make) -> None:
    """I7. What is called v1 here may be another one's v1 by tomorrow."""
    a = machine("a")
    a.put({"x": b"1"})
    before = a.store.version("cats:v0").provisional
    a.push()
    second = a.put({"x": b"2"})

    assert (True, True) == (before, second.provisional)
    a.push()
    assert [False, False] == [each.provisional for each in a.store.versions("cats")]


def test_a_version_of_what_was_never_here_is_made_whole(machine: Make) -> None:
    """A copy of a version whose bytes are elsewhere would be a version that only this machine promises to have."""
    a, b = machine("a"), machine("b")
    a.put(SMALL)
    a.push()
    b.pull()
    b.store.copy("cats", "dogs")

    assert b.store.verify("dogs").ok
    assert SMALL == b.read("dogs")
    (b.store.path / "remotes.toml").unlink()
    b.again()
    assert SMALL == b.read("dogs")


def test_what_is_gone_or_damaged_in_a_depot_is_named_and_holds_up_nothing_else(
    machine: Make, depot: Path, tmp_path: Path
) -> None:
    """One object that a disk has lost must not cost all that lies beside it, nor one file the others of its version."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE, name="ants")
    for name in ("bats", "cats", "dogs"):
        a.put({name: name.encode() * 500_000}, name=name)
    a.push()
    blobs = {path.name[:64]: path for path in (depot / "blobs").rglob("*.*")}
    gone, cut, other = (blobs[Digest.of(data).hex()] for data in (LARGE["large"], b"bats" * 500_000, b"dogs" * 500_000))
    (pack,) = (depot / "packs").rglob("*.tar")
    last = list(packs.members(pack))[-1]
    for path in (cut, other, pack):
        path.chmod(0o644)
    gone.unlink()
    os.truncate(cut, 1_999_999)
    os.truncate(pack, last.offset)
    other.write_bytes(b"!" + other.read_bytes()[1:])

    (report,) = exchange(b.store, "pull", blobs=True).projects
    said = r"^'large' of (uncategorized/)?ants:v0: blob .* is gone .*there is no 'blobs/.*artstore repair"
    with pytest.raises(Corrupt, match=said):
        b.store.get("ants", tmp_path / "out", patterns=["large"])
    with pytest.raises(Corrupt, match=said):
        b"".join(b.store.read("ants", "large"))
    with pytest.raises(Corrupt, match=r"2 files of .*ants:v0") as caught:
        b.store.get("ants", tmp_path / "out")

    (cut_off,) = [path for path, data in SMALL.items() if Digest.of(data) == last.digest]
    assert {f"ants:v0/{cut_off}", "ants:v0/large", "bats:v0/bats", "dogs:v0/dogs"} == {e.path for e in report.lost}
    assert 5 == report.exit_code
    assert all(each.path in str(report.error) for each in report.lost)
    assert {cut_off, "large"} == {problem.path for problem in caught.value.problems}
    assert len(SMALL) - 1 == sum((tmp_path / "out" / path).exists() for path in SMALL)
    assert {"cats": b"cats" * 500_000} == b.read("cats")
    assert {} == b.store.root.blobs.locate([Digest.of(other.read_bytes())])


def test_what_is_damaged_here_and_partly_over_there_is_mended_as_far_as_that_goes(machine: Make, depot: Path) -> None:
    """Damage on both sides is what repair is for."""
    a = machine("a")
    a.put({name: name.encode() * 500_000 for name in ("ants", "bats", "cats")})
    a.push()
    next((depot / "blobs").rglob("*.*")).unlink()
    for path in [path for path in (a.store.path / "blobs").rglob("*") if path.is_file()]:
        path.chmod(0o644)
        path.write_bytes(b"!" + path.read_bytes()[1:])
    assert 3 == len(a.store.verify().problems)
    report = a.store.repair()

    assert (2, 1) == (len(report.mended), len(report.still_damaged))
    assert "is gone" in report.reasons[report.still_damaged[0]]


def test_other_bytes_than_those_that_were_named_are_not_taken(machine: Make, depot: Path) -> None:
    """X3. Whoever can write to the depot would write into every checkout."""
    a, b = machine("a"), machine("b")
    a.put(SMALL | LARGE)
    a.push()
    b.pull()
    for stored in [*(depot / "packs").rglob("*.tar"), *(depot / "blobs").rglob("*.*")]:
        data = bytearray(stored.read_bytes())
        data[514] ^= 1
        stored.chmod(0o644)
        stored.write_bytes(data)

    for path in ("d/0", "large"):
        with pytest.raises(Corrupt, match="other bytes") as caught:
            b"".join(b.store.read("cats", path))
        assert "remote-corrupt" == caught.value.code


def test_a_rebuilt_catalog_is_the_same_and_pushes_nothing_again(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put(SMALL, aliases=["best"])
    a.push()
    b.put({"x": b"b"})
    b.push()
    b.put({"x": b"c"})
    before = b.names(), b.state_hash(), [each.provisional for each in b.store.versions("cats")]
    b.store.close()
    (b.store.path / "catalog.db").unlink()
    report = Store.rebuild(b.store.path)
    b.again()

    assert [] == report.lost
    assert before == (b.names(), b.state_hash(), [each.provisional for each in b.store.versions("cats")])
    b.push()
    there = files_of(depot)
    b.push()
    a.pull()
    assert there == files_of(depot)
    assert a.state_hash() == b.state_hash()


def test_what_was_deleted_on_this_machine_counts_nowhere(machine: Make) -> None:
    """What a version brought would be another number when `gc` has been, or the catalog was made anew."""
    a = machine("a")
    a.put({"x": b"same", "y": b"1"})
    a.put({"x": b"same", "y": b"2"})
    a.push()
    a.store.delete("cats:v0")
    (line,) = a.store.history("cats").lines

    assert (2, 5) == (line.new_blobs, line.new_bytes)
    assert 5 == a.store.du().logical_bytes


def test_two_logs_are_not_put_together_unasked(machine: Make) -> None:
    """Numbers that somebody has written down would mean something else."""
    a, b = machine("a"), machine("b", join=False)
    a.put({"x": b"a"})
    a.push()
    b.put({"x": b"b"})
    (report,) = exchange(b.store, "push").projects

    assert "needs-join" == report.code
    assert ["cats:v0"] == [each.name for each in b.store.versions("cats")]


def test_without_an_upstream_there_is_nowhere_to_go(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store, pytest.raises(NotFound, match="no upstream"):
        exchange(store, "push")


def test_a_remote_that_is_not_noted_is_named(machine: Make) -> None:
    with pytest.raises(NotFound, match="no remote 'other'"):
        exchange(machine("a").store, "push", remote="other")
