"""What a store calls its files: where case does not count nothing becomes one, and nothing lies outside of it.

No file system of this kind can be mounted everywhere, so the names themselves are looked at.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import Conflict
from tests.damage.disks import put, read

LARGE = bytes(range(256)) * 8_000


def at_work(store: Store, tmp: Path) -> None:
    """Something of everything that makes files."""
    first = put(store, b"1")
    put(store, LARGE)
    for name in ("Cats", "cats", "CATS"):
        # Collections are rows, and may differ in case alone.
        put(store, name.encode(), name)
    store.start_run(id="Run", project="p")
    store.hold_run("Run", project="p").release()
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(LARGE + b"2"), "A")
        draft.add_stream(io.BytesIO(b"b"), "a")
        store.commit(draft, name="twins", type="t", project="q")
    store.delete(first)
    store.gc(grace_s=3600)
    store.gc(grace_s=0)
    store.verify()
    store.backup(tmp / "backup")
    store.get("q/twins", tmp / "out")


def test_no_two_names_are_one_where_case_does_not_count(store: Store, tmp_path: Path) -> None:
    """S13. On a Mac's disk, and on exFAT, a pack would take the place of another."""
    at_work(store, tmp_path)
    names = [str(path.relative_to(store.path)) for path in store.path.rglob("*")]

    assert len(names) > 20
    assert len({name.casefold() for name in names}) == len(names)
    assert [] == [name for name in names if name != name.lower() and not name.startswith("ops")]


def test_two_projects_that_differ_in_case_alone_are_refused(store: Store) -> None:
    """S13. Each project is a folder of the log: one would be told that its transactions are there already."""
    first = put(store, b"1")
    with pytest.raises(Conflict) as caught:
        store.put([io.BytesIO(b"2")], name="cats", type="t", project="P", prefix="f")

    assert caught.value.code == "case-twin"
    assert (["p"], b"1") == (store.projects(), read(store, first))
    assert store.verify().ok


def test_nothing_is_written_outside_of_the_store(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S13, P8. What is named by a link must lie on the store's own disk, and `/tmp` may be full, or another one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    at_work(store, tmp_path)
    store.close()
    (store.path / "catalog.db").unlink()
    Store.rebuild(store.path)

    with Store.open(store.path) as again:
        assert again.verify().ok
        assert ["backup", "out", "store"] == sorted(os.listdir(tmp_path))
