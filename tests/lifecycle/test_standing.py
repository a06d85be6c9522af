"""Standing: a folder is read later as it was, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from artstore.errors import Conflict, Invalid, PathCollision
from artstore.lifecycle.standing import GRAIN_NS, Standing
from artstore.store import Store

Tree = Callable[[Mapping[str, bytes]], Path]


def test_it_is_what_was_there(store: Store, tree: Tree) -> None:
    folder = tree({"a": b"1", "d/b": b"2"})
    with store.draft() as draft:
        there = Standing(draft, folder)
        (folder / "later").write_bytes(b"3")
        there.add()

        assert ["a", "d/b"] == sorted(draft.entries)


def test_what_is_left_out_may_change(store: Store, tree: Tree) -> None:
    """A log beside the weights is written all the time."""
    folder = tree({".artstoreignore": b"*.log", "a": b"1", "x.log": b"1"})
    with store.draft() as draft:
        there = Standing(draft, folder)
        (folder / "x.log").write_bytes(b"22")
        there.add()

        assert [".artstoreignore", "a"] == sorted(draft.entries)


def test_a_look_outlasts_the_grain_of_the_time_stamps(store: Store, tree: Tree) -> None:
    """A write right after it would else leave the very stamp that the one before it left, on kernels before 6.13."""
    for _ in range(5):
        folder = tree({"d/a": b"1"})
        with store.draft() as draft:
            Standing(draft, folder)

            assert time.time_ns() - (folder / "d/a").stat().st_mtime_ns >= GRAIN_NS


def test_a_look_at_what_is_old_does_not_wait(store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree({"a": b"1"})
    time.sleep(2 * GRAIN_NS / 1e9)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with store.draft() as draft:
        Standing(draft, folder)

    assert [] == waits


def test_ten_of_what_changed_are_named_and_all_are_counted(store: Store, tree: Tree) -> None:
    folder = tree({f"{number:02}": b"1" for number in range(13)})
    with store.draft() as draft:
        there = Standing(draft, folder)
        for number in range(1, 13):
            (folder / f"{number:02}").write_bytes(b"2")
        with pytest.raises(Conflict, match=r": '01', .*'10', and 2 more\.") as caught:
            there.add()

    assert "file-changed" == caught.value.code


def test_another_error_than_a_change_stays_what_it_is(store: Store, tree: Tree) -> None:
    folder = tree({"a": b"1"})
    with store.draft() as draft:
        there = Standing(draft, folder)
        draft.add_file(folder / "a", "b")
        draft.add_file(Path(__file__), "a")
        with pytest.raises(PathCollision):
            there.add()


def test_a_file_stands_by_itself(store: Store, tree: Tree) -> None:
    folder = tree({"a": b"1", "b": b"2"})
    with store.draft() as draft:
        there = Standing(draft, folder / "a")
        (folder / "b").write_bytes(b"3")
        there.add()

        assert ["a"] == list(draft.entries)


@pytest.mark.parametrize("change", ["written", "removed", "a folder"])
def test_a_file_that_changes_is_named(store: Store, tree: Tree, change: str) -> None:
    file = tree({"a": b"1"}) / "a"
    with store.draft() as draft:
        there = Standing(draft, file)
        if change == "written":
            file.write_bytes(b"2")
        else:
            file.unlink()
        if change == "a folder":
            file.mkdir()
        with pytest.raises(Conflict, match="'a'") as caught:
            there.add()

    assert "file-changed" == caught.value.code


def test_the_store_itself_is_no_folder_to_keep(store: Store) -> None:
    with store.draft() as draft, pytest.raises(Invalid, match="store's own") as caught:
        Standing(draft, store.path)

    assert "own-store" == caught.value.code
