"""Status: the numbers are those of the store as it is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.status import status
from artstore.lifecycle.usage import on_disk_bytes
from artstore.storage.root import Root
from artstore.store import Store

Put = Callable[..., VersionInfo]


def test_an_empty_store_has_nothing(store: Store) -> None:
    found = status(store._root)

    assert (found.projects, found.collections, found.versions, found.files, found.stored_bytes) == (0, 0, 0, 0, 0)
    assert found.dedup_ratio == 1.0
    assert found.last_commit_at is None


def test_what_is_committed_is_counted(store: Store, put: Put) -> None:
    put({"a": b"1" * 30, "b": b"2" * 10})
    put({"a": b"1" * 30, "b": b"3" * 20})
    last = put({"a": b"1" * 30}, name="dogs", project="zoo")
    found = status(store._root)

    assert (found.projects, found.collections, found.versions, found.files) == (2, 2, 3, 5)
    assert (found.logical_bytes, found.stored_bytes, found.dedup_ratio) == (120, 60, 2.0)
    assert found.on_disk_bytes == on_disk_bytes(store.path)
    assert found.last_commit_at == last.created_at
    assert (found.root, found.store_id) == (str(store.path), store.id)


def test_a_deleted_version_is_not_counted_until_gc_its_bytes_are(store: Store, put: Put) -> None:
    put({"a": b"1" * 30})
    put({"a": b"2" * 10})
    store.delete("cats:v0")
    before = status(store._root)
    store.gc()
    after = status(store._root)

    assert (before.versions, before.logical_bytes, before.stored_bytes, before.trash_bytes) == (1, 10, 40, 0)
    assert (after.versions, after.logical_bytes, after.stored_bytes) == (1, 10, 10)
    assert after.trash_bytes > 0


def test_who_is_at_work_is_named(store: Store) -> None:
    began = time.time()
    with store._root.session("put") as session:
        (found,) = status(store._root).sessions

        assert (found.id, found.verb) == (session.id, "put")
        assert began - 1 < found.since < time.time() + 1
    assert status(store._root).sessions == []


def test_a_store_that_cannot_be_written_has_a_status(store: Store, put: Put) -> None:
    """Looking must not need rights that only writing needs."""
    put({"a": b"1" * 30})
    store.close()
    about = json.loads((store.path / "format.json").read_text())
    # A newer format that may be read is the one reason that holds for root as well.
    (store.path / "format.json").write_text(json.dumps({**about, "format": 2}))
    root = Root(store.path)

    assert root.read_only
    assert status(root).versions == 1
    root.close()
