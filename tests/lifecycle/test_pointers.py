"""Pointers: an entry that says which file of which version it is, and keeps its bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import ArtstoreError
from artstore.lifecycle.diff import diff_folder
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.resolve import Resolved
from artstore.model.manifest import BlobEntry, Pointed, ReferenceEntry, blob_of, pointed, reference
from artstore.store import Store

Put = Callable[..., VersionInfo]

LARGE = bytes(range(256)) * 5_000


def point(store: Store, source: str | VersionInfo, *paths: str, name: str = "dogs", **more: bytes) -> VersionInfo:
    with store.draft() as draft:
        for path in paths:
            draft.add_link(source, path)
        for path, data in more.items():
            draft.add_stream(io.BytesIO(data), path)
        return store.commit(draft, name=name, type="dataset")


def contents(store: Store, ref: str) -> dict[str, bytes]:
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.entries(ref)}


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ArtstoreError) as caught:
        act()
    return caught.value.code


def test_a_pointer_says_where_the_file_comes_from(store: Store, put: Put) -> None:
    source = put({"d/a b.txt": b"one"})
    with store.draft() as draft:
        entry = draft.add_link("cats:v0", "d/a b.txt", "mine/x")
        assert isinstance(entry, ReferenceEntry)
        store.commit(draft, name="dogs", type="dataset")
    (shown,) = store.entries("dogs")
    (original,) = store.entries("cats")

    assert Pointed("uncategorized", source.id, "d/a b.txt") == pointed(entry)
    assert f"artstore://uncategorized/{source.id}/d/a b.txt" == shown.uri
    assert ("mine/x", 3, original.digest, original.digest) == (shown.path, shown.size, shown.digest, shown.checksum)
    assert 3 == store.version("dogs").bytes


def test_a_pointer_is_written_like_any_file(store: Store, put: Put, tmp_path: Path) -> None:
    """Whoever gets the version need not know which of its files were made elsewhere."""
    put({"small": b"one", "large": LARGE})
    point(store, "cats", "small", "large", own=b"own")
    report = store.get("dogs", tmp_path / "out")

    assert (3, 0, []) == (report.written, report.fetched, report.missing)
    expected = {"small": b"one", "large": LARGE, "own": b"own"}
    assert expected == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert expected == contents(store, "dogs")
    assert 3 == store.get("dogs", tmp_path / "out").unchanged
    assert b"one" == store.tree("dogs").small("small")
    assert store.verify("dogs").ok
    assert 3 == store.verify("dogs").checked_blobs


def test_a_version_can_be_given_as_it_was_found(store: Store, put: Put) -> None:
    """By its id: somebody may have renamed the collection since, or moved the alias."""
    source = put({"a": b"one"})
    put({"a": b"two"})
    store.rename("cats", "felines")
    store.link("felines:v0", "best")
    point(store, source, "a")
    point(store, store.version("best"), "a", name="others")

    assert [{"a": b"one"}] * 2 == [contents(store, name) for name in ("dogs", "others")]


def test_a_pointer_to_a_pointer_leads_to_its_end(store: Store, put: Put) -> None:
    source = put({"a": b"one"})
    point(store, "cats", "a")
    point(store, "dogs", "a", name="others")

    assert [f"artstore://uncategorized/{source.id}/a"] == [entry.uri for entry in store.entries("others")]


def test_a_pointer_to_a_reference_is_that_reference(store: Store) -> None:
    with store.draft() as draft:
        draft.add_entry(reference("r", "https://example.org/r", checksum="e", size=None, extra={"etag": '"e"'}))
        store.commit(draft, name="cats", type="dataset")
    point(store, "cats", "r")
    (shown,) = store.entries("dogs")

    assert ("https://example.org/r", "e", {"etag": '"e"'}, None) == (
        shown.uri, shown.checksum, shown.extra, shown.digest,
    )  # fmt: skip


def test_what_a_pointer_needs_is_never_collected(store: Store, put: Put) -> None:
    """The version that it points to may go: the bytes must not."""
    put({"a": b"one", "large": LARGE, "gone": LARGE[1:]})
    point(store, "cats", "a", "large")
    store.delete("cats:v0")
    store.gc(grace_s=0)
    store.gc(grace_s=0)

    assert {"a": b"one", "large": LARGE} == contents(store, "dogs")
    assert len(LARGE) + 3 == store.du().stored_bytes
    store.delete("dogs:v0")
    store.gc(grace_s=0)
    store.gc(grace_s=0)
    assert 0 == store.status().stored_bytes


def test_a_pointer_in_a_draft_holds_its_bytes(store: Store, put: Put) -> None:
    """Between the pointing and the commit somebody deletes the version and collects."""
    put({"large": LARGE})
    with store.draft() as draft:
        draft.add_link("cats", "large")
        store.delete("cats:v0")
        store.gc(grace_s=0)
        store.commit(draft, name="dogs", type="dataset")
    store.gc(grace_s=0)

    assert {"large": LARGE} == contents(store, "dogs")


def test_a_rebuild_gives_back_pointers_and_what_they_keep(store: Store, put: Put) -> None:
    put({f"f{number}": bytes([number]) for number in range(40)})
    point(store, "cats", *(f"f{number}" for number in range(40)))
    point(store, "cats", *(f"f{number}" for number in range(39)), new=LARGE)
    store.delete("cats:v0")
    store.gc(grace_s=0)
    before = [list(store.entries(ref)) for ref in ("dogs:v0", "dogs:v1")]
    path = store.path
    store.close()
    for file in path.glob("catalog.db*"):
        file.unlink()
    assert [] == Store.rebuild(path).lost

    with Store.open(path) as again:
        again.gc(grace_s=0)
        again.gc(grace_s=0)
        assert before == [list(again.entries(ref)) for ref in ("dogs:v0", "dogs:v1")]
        assert 41 == len({**contents(again, "dogs:v0"), **contents(again, "dogs:v1")})
        assert again.verify().ok


def test_lost_bytes_of_a_pointer_are_named(store: Store, put: Put) -> None:
    put({"large": LARGE})
    point(store, "cats", "large")
    store.delete("cats:v0")
    (blob,) = [path for path in (store.path / "blobs").rglob("*") if path.is_file()]
    blob.unlink()

    assert [] != store.verify("dogs").problems
    assert "blob-missing" in {problem.kind for problem in store.verify().problems}


@pytest.mark.parametrize("is_difference", [False, True])
def test_a_rebuild_names_the_lost_bytes_of_a_pointer(store: Store, put: Put, is_difference: bool) -> None:
    """It must say so, and give back everything else, however the manifest was written."""
    put({"large": LARGE})
    own: dict[str, Any] = {"a": b"a", "b": b"b", "c": b"c"}
    if is_difference:
        point(store, "cats", **own)
    point(store, "cats", "large", **own)
    digest = next(entry.digest for entry in store.entries("cats"))
    store.delete("cats:v0")
    for _ in range(2):
        # Nothing but the pointer may tell of the bytes.
        store.gc(grace_s=0)
    (blob,) = [path for path in (store.path / "blobs").rglob("*") if path.is_file()]
    path = store.path
    store.close()
    blob.unlink()
    assert [digest] == Store.rebuild(path).lost

    with Store.open(path) as again:
        assert ["a", "b", "c", "large"] == [entry.path for entry in again.entries("dogs")]
        assert b"c" == b"".join(again.read("dogs", "c"))


def test_a_backup_has_what_pointers_keep(store: Store, put: Put, tmp_path: Path) -> None:
    put({"large": LARGE})
    point(store, "cats", "large")
    store.delete("cats:v0")
    store.backup(tmp_path / "copy")

    with Store.open(tmp_path / "copy") as copy:
        assert {"large": LARGE} == contents(copy, "dogs")


def test_a_pointer_differs_by_its_bytes_alone(
    store: Store, put: Put, version: Callable[[str], Resolved], tmp_path: Path
) -> None:
    """The same bytes are no difference, wherever they are said to come from."""
    put({"a": b"one", "b": b"two"})
    point(store, "cats", "a", b=b"other")
    report = store.diff("cats", "dogs")
    assert (["b"], 1) == ([entry.path for entry in report.changed], report.unchanged)
    store.get("dogs", tmp_path / "out")

    assert 2 == diff_folder(store._root, version("dogs"), tmp_path / "out").unchanged


def test_a_pointer_is_found_by_its_digest(store: Store, put: Put) -> None:
    put({"a": b"one"})
    point(store, "cats", "a")
    (entry,) = store.entries("cats")
    assert entry.digest is not None

    assert {"cats:v0", "dogs:v0"} == {match.version.name for match in store.find(entry.digest)}


@pytest.mark.parametrize(
    ("source", "path", "code"),
    [
        ("cats", "b", "path-not-found"),
        ("cats:v7", "a", "version-not-found"),
        ("mice", "a", "collection-not-found"),
        ("cats", "../a", "bad-path"),
    ],
)
def test_what_is_not_there_cannot_be_pointed_to(store: Store, put: Put, source: str, path: str, code: str) -> None:
    put({"a": b"one"})
    with store.draft() as draft:
        assert code == code_of(lambda: draft.add_link(source, path))
        assert {} == draft.entries


def test_a_deleted_version_cannot_be_pointed_to(store: Store, put: Put) -> None:
    """Its bytes may be on their way out."""
    source = put({"a": b"one"})
    store.delete("cats:v0")
    with store.draft() as draft:
        assert "version-deleted" == code_of(lambda: draft.add_link(source, "a"))


@pytest.mark.parametrize(
    "entry",
    [
        ReferenceEntry("p", "https://example.org/x", checksum="blake3:" + "0" * 64, size=1),
        ReferenceEntry("p", "artstore://p", checksum="blake3:" + "0" * 64, size=1),
        ReferenceEntry("p", "artstore://p/blake3:00/x", checksum="etag", size=1),
        ReferenceEntry("p", "artstore://p/blake3:00/x", checksum="blake3:" + "0" * 64, size=None),
    ],
    ids=["elsewhere", "no-file", "no-digest", "no-size"],
)
def test_what_only_looks_like_a_pointer_has_no_bytes_here(entry: ReferenceEntry) -> None:
    """A manifest may come from elsewhere, and says what it likes."""
    assert blob_of(entry) is None


def test_a_pointer_that_names_bytes_which_are_nowhere_is_not_committed(store: Store) -> None:
    with store.draft() as draft:
        draft.add_entry(ReferenceEntry("p", "artstore://p/blake3:00/x", checksum="blake3:" + "0" * 64, size=1))
        assert "blob-missing" == code_of(lambda: store.commit(draft, name="dogs", type="dataset"))
    assert [] == store.collections()


def test_a_blob_is_its_own(store: Store, put: Put) -> None:
    put({"a": b"one"})
    entry = next(iter(store._root.manifests.entries(store._resolve("cats", "uncategorized").manifest)))

    assert isinstance(entry, BlobEntry)
    assert (entry, None) == (blob_of(entry), pointed(entry))
