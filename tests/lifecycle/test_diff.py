"""Diff: what it says differs, differs, and nothing else does."""

from __future__ import annotations

import io
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from artstore.errors import Invalid, Refused
from artstore.lifecycle.diff import diff_folder, diff_versions
from artstore.lifecycle.reports import DiffEntry, DiffReport, Renamed, VersionInfo
from artstore.lifecycle.resolve import Resolved
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, reference
from artstore.storage import manifests, stat_cache, whole
from artstore.storage.stat_cache import Findings, Known, stamp_of
from artstore.store import Store

Put = Callable[..., VersionInfo]
Tree = Callable[[Mapping[str, bytes]], Path]
Find = Callable[[str], Resolved]

BEFORE = {
    "same.txt": b"same",
    "z-before-sub-in-a-scan.txt": b"z",
    "sub/changed.txt": b"before",
    "gone.txt": b"went away",
    "old-name.bin": b"moved bytes",
}
AFTER = {
    "same.txt": b"same",
    "z-before-sub-in-a-scan.txt": b"z",
    "sub/changed.txt": b"after, longer",
    "new.txt": b"came",
    "sub/new-name.bin": b"moved bytes",
}
EXPECTED = DiffReport(
    added=[DiffEntry(path="new.txt", size_after=4)],
    removed=[DiffEntry(path="gone.txt", size_before=9)],
    changed=[DiffEntry(path="sub/changed.txt", size_before=6, size_after=13)],
    renamed=[Renamed(before="old-name.bin", after="sub/new-name.bin", size=11)],
    bytes_added=17,
    bytes_removed=15,
    unchanged=2,
)


def test_versions_differ_in_each_way(store: Store, put: Put, version: Find) -> None:
    put(BEFORE)
    put(AFTER)

    assert diff_versions(store._root, version("cats:v0"), version("cats:v1")) == EXPECTED


def test_a_folder_differs_as_the_version_made_of_it_would(store: Store, put: Put, version: Find, tree: Tree) -> None:
    """A user decides by this whether to put: it must not say something else than what put would make."""
    put(BEFORE)

    assert diff_folder(store._root, version("cats:v0"), tree(AFTER)) == EXPECTED


def test_equal_versions_do_not_differ(store: Store, put: Put, version: Find) -> None:
    put(BEFORE)
    put(BEFORE, name="dogs")

    found = diff_versions(store._root, version("cats"), version("dogs"))

    assert found == DiffReport(
        added=[], removed=[], changed=[], renamed=[], bytes_added=0, bytes_removed=0, unchanged=len(BEFORE)
    )


def test_a_path_takes_part_in_one_rename(store: Store, put: Put, version: Find) -> None:
    """Two copies that became three are two renames and one addition, by name first: no path is told of twice."""
    put({"a/x": b"twin", "a/y": b"twin", "keep": b"k"})
    put({"b/w": b"twin", "b/x": b"twin", "b/z": b"twin", "keep": b"k"})

    found = diff_versions(store._root, version("cats:v0"), version("cats:v1"))

    assert found.renamed == [
        Renamed(before="a/x", after="b/x", size=4),
        Renamed(before="a/y", after="b/w", size=4),
    ]
    assert found.added == [DiffEntry(path="b/z", size_after=4)]
    assert found.removed == []


@pytest.mark.parametrize("few", [0, 8, 1000])
def test_random_histories_agree_with_dictionaries(  # noqa: PLR0917 - fixtures
    store: Store, put: Put, version: Find, tree: Tree, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Manifests are kept as differences to each other, with paths that went and came back.

    What all say alike is passed over where little differs; always, sometimes and never.
    """
    monkeypatch.setattr(manifests, "_FEW", few)
    rng = random.Random(7)
    states: list[dict[str, bytes]] = [{f"{i % 5}/{i}": bytes([i]) for i in range(60)}]
    put(states[0])
    while len(states) < 8:
        files = dict(states[-1])
        for _ in range(3):
            path = f"{rng.randrange(5)}/{rng.randrange(70)}"
            files.pop(path, None)
            files[f"{rng.randrange(5)}/{rng.randrange(70)}"] = rng.randbytes(rng.randrange(3))
        if files not in states:
            put(files)
            states.append(files)
    root = store._root
    depths = {root.manifests.get(version(f"cats:v{n}").manifest).depth for n in range(len(states))}

    assert max(depths) > 3
    for one in range(len(states)):
        for other in range(len(states)):
            found = diff_versions(root, version(f"cats:v{one}"), version(f"cats:v{other}"))
            _assert_is_difference(found, states[one], states[other])
        found = diff_folder(root, version(f"cats:v{one}"), tree(states[3]))
        _assert_is_difference(found, states[one], states[3])


def _assert_is_difference(found: DiffReport, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    gone = {entry.path for entry in found.removed} | {entry.before for entry in found.renamed}
    come = {entry.path for entry in found.added} | {entry.after for entry in found.renamed}
    assert gone == set(before) - set(after)
    assert come == set(after) - set(before)
    assert [e.path for e in found.changed] == sorted(p for p in set(before) & set(after) if before[p] != after[p])
    assert found.unchanged == sum(before[path] == after[path] for path in set(before) & set(after))
    assert all(before[entry.before] == after[entry.after] for entry in found.renamed)
    left = {before[entry.path] for entry in found.removed} & {after[entry.path] for entry in found.added}
    assert left == set()


def test_a_file_of_another_size_is_not_read(
    store: Store, put: Put, version: Find, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terabyte that plainly changed, or plainly is new, costs no hour of hashing."""
    put({"a": b"1", "b": b"22"})
    folder = tree({"a": b"longer", "b": b"33", "new": b"4444"})
    read: list[int] = []
    measure = whole.measure

    def counting(fd: int) -> whole.Stored:
        read.append(os.fstat(fd).st_size)
        return measure(fd)

    monkeypatch.setattr(whole, "measure", counting)
    found = diff_folder(store._root, version("cats"), folder)

    assert read == [2]
    assert [entry.path for entry in found.changed] == ["a", "b"]


def test_a_file_hashed_long_ago_and_not_touched_is_not_read(
    store: Store, put: Put, version: Find, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison with a folder that was put costs what changed in it, as a put of it does."""
    files = {"old": b"1", "touched": b"2"}
    put(files)
    folder = tree(files)
    findings = Findings(str(folder), "", time.time_ns() + 60_000_000_000, stat_cache.era(store.root.catalog))
    findings.add(
        [Known(name, stamp_of((folder / name).stat()), Digest.of(data), len(data)) for name, data in files.items()]
    )
    stat_cache.save(store.path, version("cats").manifest, findings, lambda _path, _digest: True)
    (folder / "touched").write_bytes(b"3")
    read: list[int] = []
    measure = whole.measure

    def counting(fd: int) -> whole.Stored:
        read.append(os.fstat(fd).st_ino)
        return measure(fd)

    monkeypatch.setattr(whole, "measure", counting)
    found = diff_folder(store._root, version("cats"), folder)

    assert read == [(folder / "touched").stat().st_ino]
    assert [entry.path for entry in found.changed] == ["touched"]
    assert found.unchanged == 1


def test_ignored_files_are_not_there(store: Store, put: Put, version: Find, tree: Tree) -> None:
    """As put leaves them out, they would be shown as additions that no put ever makes."""
    put({"a.txt": b"a", "b.log": b"b"})
    folder = tree({"a.txt": b"a", "b.log": b"b", "c.log": b"c", ".artstoreignore": b"*.log\n"})

    found = diff_folder(store._root, version("cats"), folder)

    assert [entry.path for entry in found.added] == [".artstoreignore"]
    assert [entry.path for entry in found.removed] == ["b.log"]


def test_what_cannot_be_kept_is_an_error_and_no_difference(store: Store, put: Put, version: Find, tree: Tree) -> None:
    """Shown as removed it would be taken for deleted."""
    put({"a": b"a"})
    folder = tree({"a": b"a"})
    os.mkfifo(folder / "pipe")

    with pytest.raises(Refused, match="pipe"):
        diff_folder(store._root, version("cats"), folder)


def test_only_a_folder_can_be_compared(store: Store, put: Put, version: Find, tmp_path: Path) -> None:
    put({"a": b"a"})

    with pytest.raises(Invalid):
        diff_folder(store._root, version("cats"), tmp_path / "nowhere")


def test_references_are_compared_by_what_their_owner_says(store: Store, version: Find, tree: Tree) -> None:
    for etag in ("one", "two"):
        with store.draft() as draft:
            draft.add_entry(reference("far.bin", "s3://b/far.bin", checksum=etag, size=5, extra={}))
            draft.add_entry(reference("same.bin", "s3://b/same.bin", checksum="e", size=None, extra={}))
            store.commit(draft, name="cats", type="dataset")
    found = diff_versions(store._root, version("cats:v0"), version("cats:v1"))

    assert found.changed == [DiffEntry(path="far.bin", size_before=5, size_after=5)]
    assert found.unchanged == 1
    assert [e.path for e in diff_folder(store._root, version("cats:v1"), tree({"far.bin": b"12345"})).changed] == [
        "far.bin"
    ]


def test_equal_entries_take_no_memory(store: Store, version: Find) -> None:
    """Two versions of a million entries must not be in memory at the same time."""
    for last in ("one", "two"):
        with store.draft() as draft:
            entry = draft.add_stream(io.BytesIO(b"same"), last)
            for number in range(60_000):
                draft.add_entry(BlobEntry(f"folder/{number:09d}", entry.digest, entry.size))
            store.commit(draft, name="cats", type="dataset")
    before, after = version("cats:v0"), version("cats:v1")
    tracemalloc.start()
    try:
        found = diff_versions(store._root, before, after)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found.renamed == [Renamed(before="one", after="two", size=4)]
    assert found.unchanged == 60_000
    assert peak < 8_000_000  # One side alone takes 16 MB.
