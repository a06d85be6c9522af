"""Remotes: what one machine pushes another pulls, whatever is on the other side; against real servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artstore.store import Store
from artstore.sync.remotes import add_remote
from artstore.sync.rounds import Verb, exchange
from tests.contracts.conftest import Far

FILES = {"large": os.urandom(9_000_000), **{f"d/{number}": b"small %d" % number for number in range(30)}}
"""One that every remote takes in several pieces, and some that travel together."""


class Machine:
    """A store whose upstream is a remote."""

    def __init__(self, folder: Path, far: Far) -> None:
        self.store = Store.init(folder)
        add_remote(self.store.path, "hub", far.url, upstream=True, join=True)

    def move(self, verb: Verb) -> None:
        report = exchange(self.store, verb)
        assert [] == [project.error for project in report.projects if project.error]

    def read(self, reference: str) -> dict[str, bytes]:
        return {each.path: b"".join(self.store.read(reference, each.path)) for each in self.store.entries(reference)}


@pytest.fixture
def machines(far: Far, tmp_path: Path) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "one", far), Machine(tmp_path / "other", far)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_what_one_pushes_the_other_pulls_and_reads(machines: tuple[Machine, Machine], tree: Path) -> None:
    one, other = machines
    one.store.put([tree], name="cats", type="dataset", aliases=["best"])
    one.move("push")

    other.move("pull")

    assert FILES == other.read("cats:best")
    assert other.store.verify().ok


def test_both_may_commit_offline_and_end_with_the_same_numbers(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    one, other = machines
    for machine, text in ((one, "one"), (other, "other")):
        (tmp_path / text).with_suffix(".txt").write_text(text)
        machine.store.put([(tmp_path / text).with_suffix(".txt")], name="cats", type="dataset")

    one.move("push")
    other.move("push")
    one.move("pull")

    assert {"one.txt": b"one"} == one.read("cats:v0")
    for machine in machines:
        assert {"other.txt": b"other"} == machine.read("cats:latest")


def test_a_push_of_nothing_new_writes_nothing(far: Far, machines: tuple[Machine, Machine], tree: Path) -> None:
    one, _ = machines
    one.store.put([tree], name="cats", type="dataset")
    one.move("push")
    before = far.written()

    one.move("push")

    assert before == far.written()
