"""A machine that dies in the middle of a push or a pull has lost nothing, and nothing is there twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.store import Store
from artstore.sync.bundle.create import create_bundle
from artstore.sync.rounds import exchange
from tests.conftest import Children
from tests.sync.conftest import Machine
from tests.sync.simulation.naive import fold

Make = Callable[..., Machine]

CODE = """
import os, signal, sys
from pathlib import Path
from artstore.store import Store
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.rounds import exchange

store = Store.open(Path(sys.argv[1]))
left = int(sys.argv[3])

def dying(work):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments, **options)
    return call

# What is on the disk before one of these is not what is there after it.
for name in ("link", "replace", "rename", "fsync", "unlink"):
    setattr(os, name, dying(getattr(os, name)))
if sys.argv[2] == "apply":
    apply_bundle(store, Path(sys.argv[4]))
else:
    exchange(store, sys.argv[2], blobs=sys.argv[2] == "pull")
print("done", left)
"""
STEP = 5
"""Every so many calls: one after the other would take minutes."""


def kill_everywhere(children: Children, each: Machine, verb: str, *more: object) -> int:
    """Begin a round again and again, dying a little later each time, until it is done; answers how often it died."""
    each.store.close()
    deaths = 0
    while True:
        child = children.start(CODE, each.store.path, verb, STEP * deaths + 1, *more)
        said, complaints = child.communicate(timeout=120)
        if child.returncode == 0:
            assert said.startswith("done")
            break
        assert child.returncode == -signal.SIGKILL, complaints
        deaths += 1
    each.store = Store.open(each.store.path)
    return deaths


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_push_that_dies_anywhere_is_done_in_the_end_and_once(machine: Make, children: Children) -> None:
    """X1. A death between the slot and its note must not offer the same twice, and none before it leaves a hole."""
    a, b = machine("a"), machine("b")
    b.put({"x": b"b"})
    b.push()
    for number in range(3):
        a.put({"x": b"%d" % number, "large": bytes([number]) * 1_100_000}, aliases=["best"])
    deaths = kill_everywhere(children, a, "push")
    b.pull()

    naive = fold(a.depot / "log" / "uncategorized")
    assert deaths > 3
    assert (4, []) == (len(naive.versions), naive.void)
    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert b"2" == b.read("cats:best")["x"]
    assert a.store.verify().ok


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_pull_that_dies_anywhere_is_done_in_the_end(machine: Make, children: Children) -> None:
    """X13. What came stays, and the next one goes on behind it."""
    a, b = machine("a"), machine("b")
    for number in range(3):
        a.put({"x": b"%d" % number, "large": bytes([number]) * 1_100_000})
        a.push()
    b.put({"x": b"mine"})
    deaths = kill_everywhere(children, b, "pull")

    assert deaths > 3
    assert ["cats:v3", "cats:v2", "cats:v1", "cats:v0"] == [name for name, *_ in b.names()]
    assert [b"0", b"1", b"2"] == [b.read(each.exact)["x"] for each in b.store.versions("cats")[:0:-1]]
    assert b.store.verify().ok
    exchange(b.store, "push")
    a.pull()
    assert a.state_hash() == b.state_hash()


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_an_apply_that_dies_anywhere_is_done_in_the_end(machine: Make, children: Children, tmp_path: Path) -> None:
    a, b = machine("a"), machine("b")
    for number in range(2):
        a.put({"x": b"%d" % number, "large": bytes([number]) * 1_100_000}, aliases=["best"])
    create_bundle(a.store, tmp_path / "x.bundle")
    deaths = kill_everywhere(children, b, "apply", tmp_path / "x.bundle")

    assert deaths > 2
    assert a.names() == b.names()
    assert a.state_hash() == b.state_hash()
    assert [b"0", b"1"] == [b.read(each.exact)["x"] for each in b.store.versions("cats")[::-1]]
    assert b.store.verify().ok
