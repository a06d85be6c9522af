"""Many small packs of a depot become few, and nobody who pushes, reads or collects meanwhile loses anything by it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.sync.depots import join
from artstore.sync.depots.collect import collect_remote
from tests.sync.conftest import Machine
from tests.sync.simulation.fate import Death
from tests.sync.simulation.network import Network
from tests.sync.test_collect import GRACE_S, LARGE, check_all, delete, gc, objects, once

Make = Callable[..., Machine]


def push_each(machine: Machine, *contents: bytes) -> None:
    """A version a push, each with a small file of its own."""
    for content in contents:
        machine.put({"x": content, "large": LARGE})
        machine.push()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four packs are many."""
    monkeypatch.setattr(join, "MANY", 4)


def test_many_small_packs_are_put_together(machine: Make, depot: Path) -> None:
    """A training that pushes each epoch fills the inodes of a cluster's folder, and a bucket is asked for each."""
    a, b = machine("a"), machine("b")
    push_each(a, *(b"%d" % number for number in range(6)))
    b.pull()
    b.read("cats:v0")
    delete(a, "cats:v5")
    (said,) = collect_remote(a.store, "hub", grace_s=0, dry_run=True).projects
    waits = gc(a, GRACE_S)
    between = objects(depot, "packs")
    done = gc(b)

    assert (5, 5, 0) == (said.joined, waits.joined, done.joined)
    assert (waits.condemned, waits.condemned_bytes, done.swept) == (said.condemned, said.condemned_bytes, said.swept)
    assert 2 * 6 + 2 == len(between)
    assert 2 == len(objects(depot, "packs"))
    assert {"x": b"3", "large": LARGE} == a.read("cats:v3") == b.read("cats:v3")
    check_all(machine, a, b)
    log = objects(depot, "log")
    assert (0, 0, 0) == (gc(a).joined, gc(b).condemned, len(objects(depot, "log") - log))


def test_few_are_left_as_they_are(machine: Make, depot: Path) -> None:
    a = machine("a")
    push_each(a, b"0", b"1", b"2")

    assert 0 == gc(a).condemned
    assert 2 * 3 == len(objects(depot, "packs"))


def test_what_others_need_by_then_is_not_lost(machine: Make, network: Network) -> None:
    """Bytes that no version needed when the packs were read, of which a push says just then that they are there."""
    a, b = machine("a"), machine("b")
    a.put({"x": b"0", "y": b"y"}, name="dogs")
    a.put({"x": b"0"})
    a.push()
    push_each(a, b"1", b"2", b"3", b"4")
    b.pull()
    delete(a, "dogs:v0")
    b.put({"y": b"y"})
    network.meddle = once(b.push)
    report = gc(a)

    # The pack that has it stays.
    assert (4, 0) == (report.joined, gc(b).missing)
    check_all(machine, a, b, name="another")


def test_a_damaged_blob_keeps_its_pack(machine: Make, depot: Path) -> None:
    """It is all that somebody could still mend; and what lies beside it goes on."""
    a, b = machine("a"), machine("b")
    push_each(a, *(b"%d" % number for number in range(5)))
    pack = next(path for path in (depot / "packs").rglob("*.tar") if b"2" == path.read_bytes()[512:513])
    data = bytearray(pack.read_bytes())
    data[512] ^= 1
    pack.write_bytes(data)
    b.pull()
    report = gc(b)

    assert (4, 0) == (report.joined, report.missing)
    assert pack.exists()
    assert 2 * 2 == len(objects(depot, "packs"))
    assert {"x": b"4", "large": LARGE} == b.read("cats:v4")


def test_two_at_once_and_killed_ones_lose_nothing(
    machine: Make, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the other one only sweeps what no slot has named yet."""
    a, b = machine("a"), machine("b")

    def collect() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(join, "MANY", 4 if turn % 2 else 1000)
            gc(b)

    for turn in range(8):
        push_each(a, *(b"%d %d" % (turn, number) for number in range(4)))
        b.pull()
        network.meddle = once(collect)
        network.dies_at = network.calls + 9 * turn if turn % 2 else None
        with contextlib.suppress(Death):
            report = gc(a)
            assert 0 == report.joined, "packs that the other one has swept, or joined, were named"
        network.dies_at, network.meddle = None, lambda: None
        a.again()
        b.again()
    gc(a)

    assert 0 == gc(b).missing
    check_all(machine, a, b)
