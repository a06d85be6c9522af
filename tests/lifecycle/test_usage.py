"""Usage: what a collection is said to cost alone is what deleting it frees."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import NotFound
from artstore.lifecycle.reports import DuReport, Usage, VersionInfo
from artstore.lifecycle.usage import du, on_disk_bytes
from artstore.model.manifest import reference
from artstore.store import Store

Put = Callable[..., VersionInfo]


def test_content_is_counted_once_however_often_it_is_held(store: Store, put: Put) -> None:
    put({"a": b"1" * 10, "b": b"2" * 20, "a-again": b"1" * 10})
    put({"a": b"1" * 10, "b": b"3" * 5})
    put({"x": b"2" * 20, "y": b"4" * 40}, name="dogs")
    root = store._root

    found = du(root)
    assert found == DuReport(
        collections=[
            Usage(
                project="uncategorized",
                collection="cats",
                versions=2,
                files=5,
                logical_bytes=55,
                unique_bytes=15,
                shared_bytes=20,
            ),
            Usage(
                project="uncategorized",
                collection="dogs",
                versions=1,
                files=2,
                logical_bytes=60,
                unique_bytes=40,
                shared_bytes=20,
            ),
        ],
        logical_bytes=115,
        stored_bytes=75,
        on_disk_bytes=found.on_disk_bytes,
    )


def test_one_project_is_told_with_what_it_shares_with_others(store: Store, put: Put) -> None:
    """What another project holds too would not be freed: it must not count as unique."""
    put({"a": b"1" * 10, "b": b"2" * 20})
    put({"a": b"1" * 10, "c": b"3" * 30}, project="zoo")
    found = du(store._root, "zoo")

    assert [(usage.project, usage.unique_bytes, usage.shared_bytes) for usage in found.collections] == [("zoo", 30, 10)]
    assert (found.logical_bytes, found.stored_bytes) == (40, 40)
    with pytest.raises(NotFound):
        du(store._root, "aquarium")


def test_deleted_versions_hold_nothing(store: Store, put: Put) -> None:
    put({"a": b"1" * 10})
    store.delete("cats:v0")
    (usage,) = du(store._root).collections

    assert (usage.versions, usage.files, usage.logical_bytes, usage.unique_bytes) == (0, 0, 0, 0)
    assert du(store._root).stored_bytes == 0


def test_a_reference_has_a_size_and_takes_no_space(store: Store) -> None:
    with store.draft() as draft:
        draft.add_entry(reference("far", "s3://b/far", checksum="e", size=1000, extra={}))
        store.commit(draft, name="cats", type="dataset")
    found = du(store._root)

    assert (found.logical_bytes, found.stored_bytes) == (1000, 0)


def test_what_stands_alone_is_what_gc_frees(store: Store, put: Put) -> None:
    put({"a": b"1" * 10, "b": b"2" * 20})
    put({"b": b"2" * 20}, name="dogs")
    root = store._root
    unique = du(root).collections[0].unique_bytes
    before = du(root).stored_bytes
    store.delete("cats:v0")

    assert before - du(root).stored_bytes == unique == 10


def test_random_histories_agree_with_dictionaries(store: Store, put: Put) -> None:
    """Differences whose bases are deleted, or are another collection's, count with all that they inherit."""
    rng = random.Random(5)
    states: dict[str, dict[str, bytes]] = {}
    files = {f"{i}": bytes([i]) * (i + 1) for i in range(40)}
    for _ in range(30):
        files[f"{rng.randrange(45)}"] = rng.randbytes(rng.randrange(1, 50))
        files.pop(rng.choice(sorted(files)))
        states[put(files, name=rng.choice(["cats", "dogs", "eels"])).name] = dict(files)
        if rng.random() < 0.3:
            name = rng.choice(sorted(states))
            other = put(states[name], name=rng.choice(["cats", "dogs"]))
            states[other.name] = states[name]
    for name in rng.sample(sorted(states), len(states) // 2):
        store.delete(name)
        del states[name]
    held: dict[str, set[bytes]] = {"cats": set(), "dogs": set(), "eels": set()}
    for name, has in states.items():
        held[name.partition(":")[0]].update(has.values())
    report = du(store._root)

    assert report.stored_bytes == sum(map(len, set[bytes]().union(*held.values())))
    for usage in report.collections:
        others = set[bytes]().union(*(blobs for name, blobs in held.items() if name != usage.collection))
        assert usage.unique_bytes == sum(map(len, held[usage.collection] - others))
        assert usage.shared_bytes == sum(map(len, held[usage.collection] & others))
    seen = set[bytes]()
    grown: list[tuple[int, int]] = []
    for has in states.values():
        seen.update(has.values())
        logical = sum(map(len, has.values())) + (grown[-1][0] if grown else 0)
        grown.append((logical, sum(map(len, seen))))
    assert grown == [(each.logical_bytes, each.stored_bytes) for each in store.growth().points]


def test_what_the_disk_gives_is_counted_in_blocks(tmp_path: Path) -> None:
    """A hole takes nothing, a link is not followed, and a folder takes something."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    with open(folder / "sub" / "sparse", "wb") as file:
        file.truncate(1 << 30)
    (folder / "sub" / "small").write_bytes(os.urandom(10_000))
    os.symlink("/", folder / "root")
    expected = sum(os.lstat(path).st_blocks * 512 for path in [folder, *folder.rglob("*")])

    assert 10_000 < on_disk_bytes(folder) == expected < 1 << 20
