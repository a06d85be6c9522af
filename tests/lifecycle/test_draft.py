"""Drafts: stored when added, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from artstore.errors import ArtstoreError, Conflict, Invalid, NotFound, PathCollision, Refused
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, reference
from artstore.store import Store
from tests.conftest import Children

Tree = Callable[[Mapping[str, bytes]], Path]
MIB = 1 << 20

CHANGE = """
import os, sys
path, how = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
for number, _ in enumerate(sys.stdin):
    if how == "appended to":
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, bytes(1 << 18))
    elif how == "rewritten":
        os.pwrite(fd, number.to_bytes(8, "big"), number)
    print("changed")
"""


@pytest.fixture
def draft(store: Store) -> Iterator[Draft]:
    with store.draft() as begun:
        yield begun


def contents(store: Store, ref: str = "cats") -> dict[str, bytes]:
    """All files of a version."""
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.entries(ref)}


def test_what_is_added_is_stored_when_it_is_added(store: Store, draft: Draft, tree: Tree) -> None:
    """A training script goes on writing to the file; the version is of the moment at which it said so."""
    folder = tree({"small": b"old", "large": b"o" * (MIB + 1)})
    entries = [draft.add_file(folder / name) for name in ("small", "large")]
    tree({"small": b"new", "large": b"n"})
    store.commit(draft, name="cats", type="dataset")

    assert [Digest.of(b"old"), Digest.of(b"o" * (MIB + 1))] == [entry.digest for entry in entries]
    assert contents(store) == {"small": b"old", "large": b"o" * (MIB + 1)}


def test_files_folders_and_streams_come_together(store: Store, draft: Draft, tree: Tree) -> None:
    folder = tree({"a": b"1", "sub/b": b"2"})
    draft.add_directory(folder, "data")
    draft.add_file(folder / "a", "./other//name")
    draft.add_stream(io.BytesIO(b"3"), "stream")
    draft.add_stream(io.BytesIO(b"4" * (2 * MIB)), "long")
    store.commit(draft, name="cats", type="dataset")

    expected = {"data/a": b"1", "data/sub/b": b"2", "other/name": b"1", "stream": b"3", "long": b"4" * (2 * MIB)}
    assert expected == contents(store)
    assert sum(map(len, expected.values())) == draft.bytes == store.version("cats").bytes


def test_a_path_has_one_content(draft: Draft) -> None:
    """F14. Two workers that both write `model.bin` must not lose one of them in silence."""
    draft.add_stream(io.BytesIO(b"one"), "a")
    draft.add_stream(io.BytesIO(b"one"), "./a")
    with pytest.raises(PathCollision) as caught:
        draft.add_stream(io.BytesIO(b"two"), "a")

    assert caught.value.code == "path-taken"
    assert [BlobEntry("a", Digest.of(b"one"), 3)] == draft.sorted_entries()


def test_a_path_can_be_overwritten_on_purpose(draft: Draft, tree: Tree) -> None:
    draft.add_stream(io.BytesIO(b"long"), "a")
    draft.add_file(tree({"a": b"x"}) / "a", overwrite=True)

    assert ([Digest.of(b"x")], 1) == (
        [e.digest for e in draft.sorted_entries() if isinstance(e, BlobEntry)],
        draft.bytes,
    )


def test_a_file_cannot_be_a_folder_too(store: Store, draft: Draft) -> None:
    """N7. No file system could hold it, so no checkout could ever succeed."""
    draft.add_stream(io.BytesIO(b"1"), "a")
    draft.add_stream(io.BytesIO(b"2"), "a/b")
    with pytest.raises(PathCollision):
        store.commit(draft, name="cats", type="dataset")

    assert store.collections() == []


def test_what_was_added_can_be_removed(draft: Draft) -> None:
    for path in ("a", "d/b", "d/c", "da"):
        draft.add_stream(io.BytesIO(b"12"), path)

    assert (2, 1) == (draft.remove("d/"), draft.remove("a"))
    assert (["da"], 2) == (list(draft.entries), draft.bytes)
    with pytest.raises(NotFound) as caught:
        draft.remove("d")
    assert caught.value.code == "path-not-found"


@pytest.mark.parametrize("path", ["../a", "/a", "", "a/../b", ".artstore/x", "a\nb", "x" * 256])
def test_no_path_leads_out(draft: Draft, path: str) -> None:
    """N1, N2. Checked before anything is stored."""
    with pytest.raises(Invalid) as caught:
        draft.add_stream(io.BytesIO(b"1"), path)

    assert (caught.value.code, draft.entries) == ("bad-path", {})


def test_entries_of_other_versions_and_references_move_no_bytes(store: Store, draft: Draft) -> None:
    store.put([io.BytesIO(b"here")], name="old", type="t", prefix="a")
    draft.add_entry(BlobEntry("b", Digest.of(b"here"), 4))
    draft.add_entry(reference("far", "s3://bucket/key", checksum="etag", size=9, extra={}))
    version = store.commit(draft, name="cats", type="t")

    assert (2, 13, 0) == (version.files, version.bytes, draft.intake.new_blobs)
    assert [("b", None), ("far", "s3://bucket/key")] == [(e.path, e.uri) for e in store.entries("cats")]


@pytest.mark.parametrize("how", ["appended to", "rewritten"])
def test_a_file_that_does_not_stand_still_is_an_error(
    store: Store, draft: Draft, tree: Tree, children: Children, how: str
) -> None:
    """F1, F3. Half of one epoch's weights and half of the next's would be stored as one checkpoint."""
    file = tree({"weights": b"w" * (16 * MIB)}) / "weights"
    # Or the first change could fall into the same tick of the file system's clock.
    os.utime(file, (1, 1))
    child = children.start(CHANGE, file, how)

    def change() -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("go on\n")
        child.stdin.flush()
        child.stdout.readline()

    with pytest.MonkeyPatch.context() as patch:
        # Two processes of which only one gets a processor are no reason for a whole checkpoint.
        after_each_read(patch, change, times=1000)
        with pytest.raises(Conflict) as caught:
            draft.add_file(file)

    assert (caught.value.code, repr(str(file)) in caught.value.message) == ("file-changed", True)
    assert draft.entries == {}
    draft.add_file(file)
    store.commit(draft, name="cats", type="dataset")
    assert {"weights": file.read_bytes()} == contents(store)


def append(file: Path) -> None:
    with file.open("ab") as end:
        end.write(b"more" * 65_536)


def rewrite(file: Path) -> None:
    with file.open("r+b") as start:
        start.write(b"other")


def rewrite_and_restore_the_time(file: Path) -> None:
    """As `rsync -t` or an editor does; the ctime cannot be restored."""
    before = file.stat()
    time.sleep(0.02)  # More than the grain of time stamps on any kernel.
    rewrite(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


CHANGES = [append, rewrite, rewrite_and_restore_the_time, cut]


def after_each_read(patch: pytest.MonkeyPatch, change: Callable[[], None], *, times: int) -> None:
    """Let something happen to a file while somebody reads it."""
    real = os.readv
    left = [times]

    def read(fd: int, buffers: list[memoryview]) -> int:
        got = real(fd, buffers)
        if left[0] > 0:
            left[0] -= 1
            change()
        return got

    patch.setattr(os, "readv", read)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [20, MIB, 2 * MIB])
def test_every_change_during_a_read_is_noticed(
    draft: Draft, tree: Tree, change: Callable[[Path], None], size: int
) -> None:
    """F1. As above, at the worst moment of each try."""
    file = tree({"weights": b"w" * size}) / "weights"
    os.utime(file, (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        after_each_read(patch, lambda: change(file), times=1000)
        with pytest.raises(Conflict) as caught:
            draft.add_file(file)

    assert (caught.value.code, draft.entries) == ("file-changed", {})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [20, MIB, 2 * MIB])
def test_a_file_that_changed_once_is_read_again(
    store: Store, draft: Draft, tree: Tree, change: Callable[[Path], None], size: int
) -> None:
    """F1. A log file gets a line now and then; that is no reason to give up, and nothing torn may be kept."""
    file = tree({"weights": b"w" * size}) / "weights"
    os.utime(file, (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        after_each_read(patch, lambda: change(file), times=1)
        draft.add_file(file)
    store.commit(draft, name="cats", type="dataset")

    assert {"weights": file.read_bytes()} == contents(store)


def test_a_file_that_is_replaced_while_it_is_read_is_one_of_the_two(
    store: Store, draft: Draft, tree: Tree, children: Children
) -> None:
    """F2. Whoever writes as `os.replace` does never gives a torn file."""
    code = """
import os, sys, time
path = sys.argv[1]
print("begun")
number = 0
while os.getppid() != 1:
    number = (number + 1) % 250
    with open(path + ".tmp", "wb") as file:
        file.write(bytes([number]) * (2 << 20))
    os.replace(path + ".tmp", path)
    time.sleep(0.002)
"""
    file = tree({"weights": b"w" * (2 * MIB)}) / "weights"
    child = children.start(code, file)
    assert child.stdout is not None
    child.stdout.readline()
    for number in range(20):
        with contextlib.suppress(Conflict):  # The disk was slower than three new files.
            draft.add_file(file, f"{number}")
    child.kill()
    child.wait()
    draft.add_file(file, "last")
    store.commit(draft, name="cats", type="dataset")

    assert {1} == {len(set(data)) for data in contents(store).values()}


def test_a_file_that_is_not_there_is_not_found(draft: Draft, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        draft.add_file(tmp_path / "missing")

    assert (caught.value.code, "missing" in caught.value.message) == ("source-not-found", True)


def test_what_is_no_file_is_refused_at_once(draft: Draft, tmp_path: Path) -> None:
    """F6. Opening a pipe waits for a writer, and reading /dev/zero for its end."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        refused: list[ArtstoreError] = []
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), tmp_path):
            with pytest.raises(ArtstoreError) as caught:
                draft.add_file(path)
            refused.append(caught.value)

    assert [(type(error), error.code) for error in refused] == [(Invalid, "not-a-file")] * 4
    assert ["named pipe", "socket", "character device", "folder"] == [
        next(kind for kind in ("named pipe", "socket", "character device", "folder") if kind in error.message)
        for error in refused
    ]


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_a_disk_that_fails_while_it_is_read_is_named_with_the_file(draft: Draft, tree: Tree, size: int) -> None:
    """F5. `Input/output error` alone does not say which of a million files, nor that the store is well."""

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    file = tree({"file": b"x" * size}) / "file"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "readv", fail)
        with pytest.raises(Refused) as caught:
            draft.add_file(file)
        with pytest.raises(Refused) as of_folder:
            draft.add_directory(file.parent)

    for error in (caught.value, of_folder.value):
        assert (error.code, repr(str(file)) in error.message) == ("unreadable", True)
        assert "Input/output error" in error.message


def test_a_file_of_the_kernel_without_a_size_is_an_error(draft: Draft) -> None:
    """F6. It says that it has 0 bytes, and reads as more: nothing must pass for its content.

    Nor must it be called changed, which sends its owner to try again.
    """
    with pytest.raises(Invalid, match="it says that it has 0 bytes and gives others") as caught:
        draft.add_file(Path("/proc/self/status"))

    assert caught.value.code == "not-a-file"


def test_what_is_not_committed_is_never_seen(store: Store, tree: Tree) -> None:
    folder = tree({"a": b"1", "b": b"2" * (2 * MIB)})
    with store.draft() as draft:
        draft.add_directory(folder)
        draft.discard()
    draft.discard()

    assert ([], []) == (store.collections(), list((store.path / "tmp").iterdir()))


def test_two_drafts_of_one_collection_are_two_versions(store: Store) -> None:
    with store.draft() as one, store.draft() as other:
        one.add_stream(io.BytesIO(b"1"), "a")
        other.add_stream(io.BytesIO(b"2"), "a")
        names = [store.commit(draft, name="cats", type="t").name for draft in (other, one)]

    assert names == ["cats:v0", "cats:v1"]
    assert (contents(store, "cats:v0"), contents(store)) == ({"a": b"2"}, {"a": b"1"})


def test_a_folder_is_added_whole_or_not_at_all(draft: Draft, tree: Tree) -> None:
    """Whoever catches the error and commits the rest must not commit half of a folder."""
    folder = tree({"a": b"1", "b": b"2"})
    (folder / "gone").symlink_to("nowhere")

    with pytest.raises(Invalid, match="link to nothing"):
        draft.add_directory(folder)
    assert {} == draft.entries

    (folder / "gone").unlink()
    draft.add_stream(io.BytesIO(b"other"), "b")
    with pytest.raises(PathCollision, match="'b' was added already"):
        draft.add_directory(folder)
    assert ["b"] == list(draft.entries)


def test_a_folder_may_write_over_what_was_added(draft: Draft, tree: Tree) -> None:
    draft.add_stream(io.BytesIO(b"other"), "b")
    draft.add_stream(io.BytesIO(b"stays"), "c")
    draft.add_directory(tree({"a": b"1", "b": b"22"}), overwrite=True)

    assert {"a": 1, "b": 2, "c": 5} == {path: entry.size for path, entry in draft.entries.items()}
    assert 8 == draft.bytes


def test_a_draft_builds_on_a_version_without_reading_its_files(
    store: Store, draft: Draft, put: Callable[..., VersionInfo], tree: Tree
) -> None:
    """A large dataset that grows by one file does not cost its size again."""
    put({"a": b"1", "b": b"2"})
    tree({})
    draft.add_stream(io.BytesIO(b"mine"), "b")
    base = store.build_on(draft, "cats:v0")
    store.commit(draft, name="cats", type="dataset")

    assert "cats:v0" == base.name
    assert {"a": b"1", "b": b"mine"} == contents(store)


def add_to_cats(store: Store, path: str) -> VersionInfo:
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(path.encode()), path)
        return store.commit(draft, name="cats", type="dataset", incremental=True)


def test_an_increment_is_to_what_is_the_latest_when_it_is_committed(
    store: Store, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there was no version yet when it began: what another writer made meanwhile would be left out."""
    settle, others = draft.intake.settle, iter(["first", "second"])

    def overtaken() -> None:
        settle()
        for path in others:
            add_to_cats(store, path)
            break

    monkeypatch.setattr(draft.intake, "settle", overtaken)
    draft.add_stream(io.BytesIO(b"mine"), "mine")
    version = store.commit(draft, name="cats", type="dataset", incremental=True)

    assert ("cats:v2", 3, 15) == (version.name, version.files, version.bytes)
    assert {"first": b"first", "second": b"second", "mine": b"mine"} == contents(store)


def test_an_increment_has_its_own_word_and_begins_with_nothing_where_nothing_is_left(store: Store) -> None:
    """What was deleted does not come back, and a file that is written anew is what was written last."""
    add_to_cats(store, "a")
    store.delete("cats:v0")
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b"new"), "b")
        assert 1 == store.commit(draft, name="cats", type="dataset", incremental=True).files
    with store.draft() as draft:
        draft.add_stream(io.BytesIO(b"newer"), "b")
        assert 5 == store.commit(draft, name="cats", type="dataset", incremental=True).bytes
    with store.draft() as draft, pytest.raises(Invalid, match="type"):
        store.commit(draft, name="cats", type="model", incremental=True)


def test_tags_come_with_the_version(store: Store, draft: Draft) -> None:
    """In one transaction: a version that somebody selects by its tags is never seen without them."""
    draft.add_stream(io.BytesIO(b"1"), "a")
    with pytest.raises(Invalid, match="tag"):
        store.commit(draft, name="cats", type="dataset", tags=["a/b"])
    assert [] == store.collections()

    assert ["new", "raw"] == store.commit(draft, name="cats", type="dataset", tags=["raw", "new", "raw"]).tags
    assert ["new", "raw"] == store.version("cats").tags


def test_what_a_commit_has_to_say_stands_in_the_draft(
    store: Store, draft: Draft, put: Callable[..., VersionInfo]
) -> None:
    put({"a": b"1"})
    draft.add_stream(io.BytesIO(b"1"), "a")
    store.commit(draft, name="cats", type="dataset", metadata={"new": 1})

    (warning,) = draft.warnings
    assert "other metadata" in warning
