"""Objects of a remote are lost or damaged: what somebody has comes again, and what nobody has is named."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artstore.discovery import mend_served
from artstore.errors import Conflict, Corrupt, Invalid
from artstore.model.digest import Digest
from artstore.sync import protocol
from artstore.sync.depots.collect import collect_remote
from artstore.sync.recover import recover
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import exchange
from tests.sync.conftest import Machine
from tests.sync.serving import Served, served
from tests.sync.simulation.network import Network

Make = Callable[..., Machine]

LARGE, OTHER = random.Random(1).randbytes(1_100_000), random.Random(2).randbytes(1_100_000)
MANY = {f"d/{number:03}": b"%d" % number for number in range(60)}
"""So many that one file more is kept as a difference."""


def lying(depot: Path, kind: str, suffix: str = "") -> list[Path]:
    """The files of objects of a kind."""
    return sorted(path for path in (depot / kind).rglob(f"*{suffix}") if path.is_file())


def blob(depot: Path, data: bytes) -> Path:
    """Where a large one lies."""
    (found,) = (path for path in lying(depot, "blobs") if path.name.startswith(Digest.of(data).hex()))
    return found


def spoil(path: Path) -> None:
    """Change the last byte that counts, and the length of nothing."""
    data = path.read_bytes().rstrip(b"\0")
    path.chmod(0o644)
    path.write_bytes((data[:-1] + bytes([data[-1] ^ 1])).ljust(path.stat().st_size, b"\0"))


def test_what_was_changed_in_place_is_found_by_reading_all(machine: Make, depot: Path) -> None:
    """Its length is right, so that no listing tells it, and whoever reads it is told what to do."""
    a, b = machine("a"), machine("b")
    files = {"x": b"0", "large": LARGE}
    a.put(files)
    a.push()
    b.pull()
    for path in (blob(depot, LARGE), *lying(depot, "packs", ".tar"), *lying(depot, "manifests")):
        spoil(path)
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)
    with pytest.raises(Corrupt, match=r"In a store that has it, `artstore remote recover --damaged blake3:") as caught:
        b.read("cats")
    (named,) = recover(a.store, damaged=re.findall("--damaged (blake3:[0-9a-f]+)", str(caught.value))).projects
    (refused,) = exchange(machine("early").store, "pull").projects
    (report,) = recover(a.store, read_all=True).projects
    cold = machine("cold")
    cold.pull()

    assert "recover --read-all" in str(refused.error)
    assert (None, 1, 0) == (named.error, named.pushed.blobs, named.pushed.lists)
    assert (None, 1, 1) == (report.error, report.pushed.blobs, report.pushed.lists)
    assert files == cold.read("cats") == b.read("cats")
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(b.store, read_all=True)


def test_a_list_of_files_that_names_another_base_is_found_by_reading_all(machine: Make, depot: Path) -> None:
    """A bit of the base's digest: all others wait for a list that never was, and whoever has it whole sees nothing."""
    a, b = machine("a"), machine("b")
    a.put(MANY)
    a.push()
    before = set(lying(depot, "manifests"))
    base = Digest.parse(a.store.version("cats").digest)
    a.put(MANY | {"new": b"0"})
    a.push()
    (path,) = set(lying(depot, "manifests")) - before
    data = path.read_bytes()
    assert 1 == data.count(bytes(base))
    path.write_bytes(data.replace(bytes(base), bytes([base[0] ^ 1]) + bytes(base)[1:]))
    (refused,) = exchange(b.store, "pull").projects
    (report,) = recover(a.store, read_all=True).projects
    b.pull()

    assert "as a difference to one that is nowhere" in str(refused.error)
    assert (None, 1) == (report.error, report.pushed.lists)
    assert MANY | {"new": b"0"} == b.read("cats:v1")


def test_a_damaged_index_is_found_by_reading_all_too(machine: Make, depot: Path) -> None:
    """Its length is right, and the pack, whose first header is damaged as well, does not say any more what is in it."""
    a = machine("a")
    a.put({"x": b"0", "y": b"1"})
    a.push()
    (index,), (pack,) = lying(depot, "packs", ".idx"), lying(depot, "packs", ".tar")
    spoil(index)
    data = pack.read_bytes()
    pack.chmod(0o644)
    pack.write_bytes(b"?" + data[1:])
    (report,) = recover(a.store, read_all=True).projects
    cold = machine("cold")
    cold.pull()

    assert (None, 1) == (report.error, report.pushed.lists)
    assert {"x": b"0", "y": b"1"} == cold.read("cats")
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store, read_all=True)


def test_what_is_not_here_either_is_named_with_who_sent_it_and_comes_from_there(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put({"x": b"a", "large": LARGE})
    a.push()
    b.pull()
    b.put({"x": b"b", "large": OTHER}, name="dogs")
    b.push()
    a.pull()
    for path in (*lying(depot, "packs"), *lying(depot, "blobs")):
        path.unlink()
    (first,) = recover(a.store).projects
    (second,) = recover(b.store, "hub").projects
    c = machine("c")
    c.pull()

    assert {"dogs:v0/large", "dogs:v0/x"} == {each.path for each in first.lost}
    assert ("blob-missing", 5, 2) == (first.code, first.exit_code, first.pushed.blobs)
    assert f"it was sent by store {b.store.id}" in str(first.error)
    assert (None, [], 2) == (second.error, second.lost, second.pushed.blobs)
    assert {"x": b"b", "large": OTHER} == c.read("dogs") == a.read("dogs")
    assert {"x": b"a", "large": LARGE} == c.read("cats") == b.read("cats")


def test_what_is_damaged_here_is_not_sent_and_all_else_is(machine: Make, depot: Path) -> None:
    a, b = machine("a"), machine("b")
    a.put({"large": LARGE, "other": OTHER})
    a.push()
    b.pull()
    for path in lying(depot, "blobs"):
        path.unlink()
    (here,) = (path for path in lying(a.store.path, "blobs") if Digest.of(path.read_bytes()) == Digest.of(LARGE))
    spoil(here)
    (report,) = recover(a.store).projects

    assert ["cats:v0/large"] == [each.path for each in report.lost]
    assert 1 == report.pushed.blobs
    assert OTHER == b"".join(b.store.read("cats", "other"))


def test_lists_that_cannot_be_made_again_as_they_were_give_way(machine: Make, depot: Path) -> None:
    """The first of two, on which the second builds, was of a version that is no more, and is gone from here too."""
    a = machine("a")
    a.put(MANY, name="dogs")
    a.push()
    a.put(MANY | {"x": b"0"}, name="dogs")
    a.push()
    a.put({"y": b"1"})
    a.push()
    a.store.delete("dogs:v0", everywhere=True, force=True)
    a.push()
    a.store.gc(grace_s=0)
    gone = max(lying(depot, "manifests"), key=lambda path: path.stat().st_size)
    gone.unlink()
    (report,) = recover(a.store).projects
    cold = machine("cold")
    cold.pull()

    assert (None, []) == (report.error, report.lost)
    assert a.state_hash() == cold.state_hash()
    assert b"0" == b"".join(cold.store.read("dogs:v1", "x"))
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)


def test_what_nobody_needs_is_known_to_be_gone_as_well(machine: Make, depot: Path) -> None:
    """Where nothing was recovered since nothing needed it, a later version with the same bytes had none there."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    a.put({"y": b"1"}, name="dogs")
    a.push()
    b.pull()
    a.store.delete("cats:v0", everywhere=True, force=True)
    a.push()
    for path in lying(depot, "blobs"):
        path.unlink()
    pack = next(path for path in lying(depot, "packs", ".tar") if b"0" in path.read_bytes()[512:513])
    pack.unlink()
    (report,) = recover(a.store).projects
    b.put({"x": b"0", "large": LARGE}, name="birds")
    b.push()
    cold = machine("cold")
    cold.pull()

    assert (None, 1, 0) == (report.error, report.pushed.slots, report.pushed.blobs)
    assert {"x": b"0", "large": LARGE} == cold.read("birds")
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)


def test_beside_a_collector_and_a_push_nothing_is_lost(machine: Make, depot: Path, network: Network) -> None:
    """What is put back is deleted, swept or sent by another store before its slot is claimed: nothing is left to do."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "large": LARGE})
    a.push()
    a.put({"x": b"1", "large": OTHER})
    a.push()
    b.pull()
    exchange(b.store, "pull", blobs=True)
    for path in (*lying(depot, "packs"), *lying(depot, "blobs")):
        path.unlink()

    def meanwhile() -> None:
        b.store.delete("cats:v0", everywhere=True, force=True)
        b.put({"z": b"0"}, name="dogs")
        b.push()
        collect_remote(b.store, "hub", grace_s=0)
        recover(b.store)

    deeds = [meanwhile]
    network.meddle = lambda: deeds.pop()() if deeds else None
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)
    collect_remote(b.store, "hub", grace_s=0)
    cold = machine("cold")
    cold.pull()

    assert not deeds
    assert {"x": b"1", "large": OTHER} == cold.read("cats:latest")
    assert {"z": b"0"} == cold.read("dogs")
    assert 0 == collect_remote(b.store, "hub", grace_s=0).projects[0].missing
    assert 1 == len(lying(depot, "blobs"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """A store behind a server."""
    with served(tmp_path / "server") as found:
        yield found


def test_a_server_is_recovered_by_those_whose_upstream_it_is(machine: Make, server: Served) -> None:
    a = machine("a")
    add_remote(a.store.path, "beside", server.url, upstream=False, join=False)

    with pytest.raises(Invalid, match="those whose upstream it is"):
        recover(a.store, "beside")


def test_a_server_makes_lost_lists_of_files_again(machine: Make, server: Served) -> None:
    """They are in its catalog, and nobody who came new could follow the log any more."""
    a = machine("a", url=server.url)
    for name in ("cats", "dogs"):
        a.put({name: b"0"}, name=name)
        a.push()
    lists = lying(server.store.path / "hosted", "manifests")
    whole = server.store.verify().ok
    for path in lists:
        path.unlink()
    problems = server.store.verify().problems
    b, c = (machine(name, url=server.url) for name in "bc")
    b.pull()
    there_again = lying(server.store.path / "hosted", "manifests")
    for path in lists:
        spoil(path)
    damaged = server.store.verify().problems
    (refused,) = exchange(c.store, "pull").projects
    with pytest.raises(Conflict, match="nothing to recover"):
        recover(a.store)
    c.pull()
    lists[0].unlink()
    mended = mend_served(server.store)

    assert whole
    assert ["lists-lost", "lists-lost"] == [each.kind for each in problems]
    assert ["lists-damaged", "lists-damaged"] == [each.kind for each in damaged]
    assert lists == there_again
    assert "remote-corrupt" == refused.code
    assert a.names() == b.names() == c.names()
    assert ([str(lists[0].relative_to(server.store.path))], []) == mended
    assert server.store.verify().ok


def test_a_list_of_files_whose_base_is_lost_is_given_whole(machine: Make, server: Served) -> None:
    """It is a difference to those of versions that were deleted since, which nothing can make again."""
    a = machine("a", url=server.url)
    files = {f"{number:03}": b"%d" % number for number in range(100)}
    a.put(files)
    a.push()
    (lost,) = lying(server.store.path / "hosted", "manifests")
    for more in ({"more": b"1"}, {"more": b"2"}):
        a.put(files | more)
        a.push()
    for version in ("cats:v0", "cats:v1"):
        a.store.delete(version, everywhere=True, force=True)
    a.push()
    server.store.gc(grace_s=0, deleted=True)
    spoil(lost)
    b = machine("b", url=server.url)
    (refused,) = exchange(b.store, "pull").projects
    named = [each.kind for each in server.store.verify().problems]
    mended = mend_served(server.store)
    b.pull()

    # Nobody needs it, and it held up whoever came new for good.
    assert ("remote-corrupt", ["lists-damaged"]) == (refused.code, named)
    assert ([str(lost.relative_to(server.store.path))], []) == mended
    assert server.store.verify().ok
    assert files | {"more": b"2"} == b.read("cats")
    assert a.names() == b.names()
    assert b.store.verify().ok


def test_a_base_may_lie_in_another_object_of_the_same_slot(
    machine: Make, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` called the lists of a long push damaged once the first of them was let go, and nothing mended that."""
    a, b = machine("a", url=server.url), machine("b", url=server.url)
    for more in ({}, {"new": b"0"}):
        a.put(MANY | more)
    monkeypatch.setattr(protocol, "_OBJECT_BYTES", 10)
    a.push()
    a.store.delete("cats:v0", everywhere=True)
    a.push()
    server.store.gc(grace_s=0, deleted=True)

    assert 2 == len(lying(server.store.path / "hosted", "manifests"))
    assert [] == server.store.verify().problems
    b.pull()
    assert MANY | {"new": b"0"} == b.read("cats")


def test_a_server_that_found_damage_in_its_store_is_given_it_again(machine: Make, server: Served) -> None:
    """It has no remote of its own to mend it from, and a push takes it for there."""
    a, b = (machine(name, url=server.url) for name in ("a", "b"))
    a.put({"x": b"0", "large": LARGE})
    a.push()
    b.pull()
    for path in (*lying(server.store.path, "blobs"), *lying(server.store.path, "packs", ".tar")):
        spoil(path)
    problems = server.store.verify().problems
    with pytest.raises(Corrupt):
        b.read("cats")
    (report,) = recover(a.store).projects

    assert 2 == len(problems)
    assert (None, 2) == (report.error, report.pushed.blobs)
    assert server.store.verify().ok
    server.store.gc(grace_s=0)
    assert {"x": b"0", "large": LARGE} == b.read("cats")
