"""Trees: a version as folders and files, the same whichever way it is kept, and however often it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from artstore.errors import NotFound
from artstore.lifecycle import tree as trees
from artstore.lifecycle.reports import VersionInfo
from artstore.storage.oplog import OpLog
from artstore.store import Store

Put = Callable[..., VersionInfo]


def test_the_places_of_a_version_are_those_of_its_own_files(store: Store, put: Put) -> None:
    """Far from its full ancestor, where most paths were something else before, each path still has its own bytes."""
    files = {f"{number:03}": os.urandom(9) for number in range(120)}
    history = []
    for step in range(12):
        files |= {f"{number:03}": os.urandom(9) for number in range(step, 120, 40)}
        files.pop(f"{100 + step:03}")
        put(files)
        history.append(dict(files))

    for number, expected in enumerate(history):
        tree = store.tree(f"cats:v{number}")
        for _ in range(2):
            assert expected == {path: tree.small(path) for path in expected}
        assert set(tree._packed) == set(expected)
        with pytest.raises(NotFound):
            tree.small(f"{100:03}")


def test_a_large_version_is_read_without_all_places_in_memory(
    store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "_MOST_PLACES", 50)
    files = {f"{number:03}": os.urandom(9) for number in range(80)}
    put(files)
    tree = store.tree("cats")

    assert files == {path: tree.small(path) for path in files}
    assert tree._packed == {}


def test_versions_that_were_read_last_stay_at_hand(store: Store, put: Put) -> None:
    for number in range(trees._KEPT + 3):
        put({"a": bytes([number])})
    first = store.tree("cats:v1")
    assert store.tree("cats:v1") is first
    for number in range(2, trees._KEPT + 3):
        assert store.tree(f"cats:v{number}").small("a") == bytes([number])
    put({"a": b"other"})

    assert store.tree("cats:v1") is not first
    assert store.tree("cats:v1").small("a") == first.small("a") == b"\1"


def test_a_commit_whose_process_was_killed_is_seen(store: Store, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the link of its file a commit holds, although the catalog does not know of it."""
    put({"a": b"1"})
    assert store.tree("cats").small("a") == b"1"
    publish = OpLog.publish

    def killed(*arguments: Any) -> bool:
        publish(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OpLog, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            put({"a": b"2"})

    monkeypatch.setattr(trees, "_LOOK_S", 0)
    assert store.tree("cats").small("a") == b"2"
