"""Put: all of it or nothing, once, and at the price of what is new."""

from __future__ import annotations

import calendar
import io
import mmap
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from artstore.errors import ArtstoreError, Conflict, Corrupt, Invalid, NotFound, PathCollision, Refused
from artstore.lifecycle import draft as drafting
from artstore.lifecycle import reading
from artstore.lifecycle.progress import Tick
from artstore.model.digest import Digest
from artstore.storage import stat_cache
from artstore.storage.database import Connections
from artstore.storage.manifests import MAX_DEPTH
from artstore.store import Store
from tests.conftest import Children

Tree = Callable[[Mapping[str, bytes]], Path]
MIB = 1 << 20


def contents(store: Store, ref: str = "cats") -> dict[str, bytes]:
    """All files of a version."""
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.entries(ref)}


def stored(store: Store) -> set[Path]:
    """Every file with bytes in it."""
    return {path for folder in ("packs", "blobs") for path in (store.path / folder).rglob("*") if path.is_file()}


def put(store: Store, *sources: Path, **more: Any) -> Any:
    return store.put(list(sources), **{"name": "cats", "type": "dataset", **more})


EXAMPLE = {
    "empty": b"",
    "one": b"x",
    "almost": os.urandom(MIB - 1),
    "fitting": os.urandom(MIB),
    "over": os.urandom(MIB + 1),
    "d/large": os.urandom(3 * MIB + 1),
    "d/é 数": b"unicode",
    "n" * 255: b"long name",
    "twin": b"x",
}


def test_every_byte_comes_back(store: Store, tree: Tree) -> None:
    """F10. On both sides of the limit between packs and files of their own."""
    report = put(store, tree(EXAMPLE))

    assert EXAMPLE == contents(store)
    assert (len(EXAMPLE), sum(map(len, EXAMPLE.values()))) == (report.files, report.bytes)
    assert (report.files, report.bytes) == (report.version.files, report.version.bytes)


def test_equal_content_is_stored_once(store: Store, tree: Tree) -> None:
    """Within a put, and across: a second version costs what is new in it."""
    large = os.urandom(2 * MIB)
    first = put(store, tree({"a": b"same", "b": b"same", "c": large, "d": large}))
    second = put(store, tree({"a": b"same", "moved/c": large, "e": b"new"}), name="dogs")

    assert [(2, 4 + 2 * MIB), (1, 3)] == [(report.new_files, report.new_bytes) for report in (first, second)]


def test_the_same_content_is_the_same_version(store: Store, tree: Tree) -> None:
    """A nightly job that puts an unchanged folder makes no versions; `latest` and the aliases say that it ran."""
    old, new = {"a": b"1"}, {"a": b"2"}
    put(store, tree(old), aliases=["best"])
    put(store, tree(new), aliases=["best"])
    before = stored(store)
    again = put(store, tree(old), aliases=["best", "again"])

    assert (False, 0, "cats:v0") == (again.made, again.new_files, again.version.name)
    assert again.version.aliases == ["again", "best", "latest"]
    assert [[], ["again", "best", "latest"]] == [version.aliases for version in store.versions("cats")]
    assert before == stored(store)


def test_content_of_a_deleted_version_is_a_new_one(store: Store, tree: Tree) -> None:
    put(store, tree({"a": b"1"}))
    put(store, tree({"a": b"2"}))
    store.delete("cats:v0")
    report = put(store, tree({"a": b"1"}))

    assert (True, "cats:v2") == (report.made, report.version.name)
    assert contents(store) == {"a": b"1"}


def test_what_would_be_said_of_content_that_is_there_is_warned_about(store: Store, tree: Tree) -> None:
    """The version keeps its metadata: another's numbers under an old name would be a quiet lie."""
    put(store, tree({"a": b"1"}), metadata={"loss": 1}, description="first")
    report = put(store, tree({"a": b"1"}), metadata={"loss": 2}, description="second")

    assert ({"loss": 1}, "first") == (report.version.metadata, report.version.description)
    assert ["other metadata" in report.warnings[0], "another description" in report.warnings[1]] == [True, True]


def test_a_name_has_one_type(store: Store, tree: Tree) -> None:
    put(store, tree({"a": b"1"}))
    with pytest.raises(Invalid) as caught:
        put(store, tree({"a": b"2"}), type="model")

    assert (caught.value.code, len(store.versions("cats"))) == ("type-clash", 1)


def test_a_version_says_what_it_was_told(store: Store, tree: Tree) -> None:
    metadata = {"loss": 0.1, "big": 2**70, "ü": [None, True, {"x": "\x00"}]}
    report = put(
        store, tree({"a": b"1"}), project="p", aliases=["best", "best", "latest"], description="ü", metadata=metadata,
        ttl_s=60.0, run="r1",
    )  # fmt: skip
    version = store.version("cats:best", project="p")

    assert report.version == version
    assert ("p/cats:v0", metadata, "ü", 60.0, "r1", ["best", "latest"]) == (
        *(version.ref, version.metadata, version.description, version.ttl_s, version.run, version.aliases),
    )


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"name": "a/b"}, "bad-name"),
        ({"project": ".."}, "bad-name"),
        ({"type": "job"}, "bad-type"),
        ({"aliases": ["v1"]}, "bad-alias"),
        ({"ttl_s": 0}, "bad-ttl"),
        ({"ttl_s": float("nan")}, "bad-ttl"),
        ({"metadata": {"a": float("nan")}}, "bad-metadata"),
        ({"metadata": {"a": object()}}, "bad-metadata"),
        ({"metadata": {"a": "\udcff"}}, "bad-metadata"),
        ({"metadata": {"\udcff": 1}}, "bad-metadata"),
        ({"description": "\udcff"}, "bad-description"),
        ({"prefix": "../up"}, "bad-path"),
        ({"prefix": "/top"}, "bad-path"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    store: Store, tree: Tree, more: dict[str, Any], code: str
) -> None:
    """N13, D4. A log line that is not UTF-8 arrives as surrogates; it must be an error that says so, at once."""
    with pytest.raises(Invalid) as caught:
        put(store, tree({"a": b"1"}), **more)

    assert (caught.value.code, store.collections(), stored(store)) == (code, [], set())


def test_sources_have_their_places_as_with_cp(store: Store, tmp_path: Path) -> None:
    for path in ("one/a", "one/sub/b", "two/a", "file"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    one, two, file = tmp_path / "one", tmp_path / "two", tmp_path / "file"
    cases: list[tuple[list[Any], str | None, set[str]]] = [
        ([one], None, {"a", "sub/b"}),
        ([one], "p/q/", {"p/q/a", "p/q/sub/b"}),
        ([file], None, {"file"}),
        ([file], "p", {"p/file"}),
        ([one, two, file], None, {"one/a", "one/sub/b", "two/a", "file"}),
        ([one, file], "p", {"p/one/a", "p/one/sub/b", "p/file"}),
        ([io.BytesIO(b"s")], None, {"stdin"}),
        ([io.BytesIO(b"s")], "p/name", {"p/name"}),
    ]
    for number, (sources, prefix, expected) in enumerate(cases):
        store.put(sources, name=f"case{number}", type="t", prefix=prefix)
        assert expected == set(contents(store, f"case{number}"))


def test_two_sources_of_one_name_do_not_hide_each_other(store: Store, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(folder.encode())
    with pytest.raises(PathCollision):
        put(store, tmp_path / "one" / "file", tmp_path / "two" / "file")

    assert store.collections() == []


def test_what_not_every_system_can_hold_is_warned_about(store: Store, tree: Tree) -> None:
    """N5, N6, N8. It is kept as it is; whoever checks it out on a Mac or on Windows hears of it before."""
    report = put(store, tree({"A": b"1", "a": b"2", "nul.txt": b"3", "d/é": b"4", "d/e\u0301": b"5"}))
    said = "\n".join(report.warnings)

    assert len(contents(store)) == 5
    assert ["'A' and 'a'" in said, "nul.txt" in said, len(report.warnings)] == [True, True, 3]


def test_nothing_is_no_version(store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder" / "empty").mkdir(parents=True)
    with pytest.raises(Invalid) as caught:
        put(store, tmp_path / "folder")

    assert (caught.value.code, store.collections()) == ("empty-draft", [])


def test_empty_folders_are_reported(store: Store, tree: Tree) -> None:
    folder = tree({"a": b"1"})
    (folder / "empty").mkdir()

    assert put(store, folder).empty_directories == 1


def test_all_that_cannot_be_read_is_named_and_nothing_is_committed(store: Store, tmp_path: Path) -> None:
    """One run has to say all of it: whoever mends one name at a time puts a terabyte ten times."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(folder.encode())
        os.mkfifo(tmp_path / folder / "pipe")
        (tmp_path / folder / "dangling").symlink_to("nowhere")
    with pytest.raises(Invalid) as caught:
        put(store, tmp_path / "one", tmp_path / "two")

    assert (caught.value.code, store.collections(), stored(store)) == ("unkeepable", [], set())
    named = re.findall(r"'([^']*)': ", caught.value.message)
    assert {f"{tmp_path}/{folder}/{name}" for folder in ("one", "two") for name in ("pipe", "dangling")} == set(named)


def test_the_error_has_all_that_its_message_has_no_room_for(store: Store, tree: Tree) -> None:
    folder = tree({"good": b"1"})
    for number in range(12):
        (folder / f"{number:02}").symlink_to("nowhere")
    with pytest.raises(Invalid) as caught:
        put(store, folder)
    put(store, folder, skip_unreadable=True)
    with pytest.raises(Refused) as compared:
        store.diff("cats", folder)

    for error in (caught.value, compared.value):
        assert [(str(folder / f"{number:02}"), "a link to nothing") for number in range(12)] == list(error.problems)
        assert "and 2 more (--json lists all)" in error.message


@pytest.mark.parametrize("skip", ["bad name", "pipe", "dangling", "loop", "link loop"])
def test_what_no_version_can_hold_is_the_input_s_fault(store: Store, tmp_path: Path, skip: str) -> None:
    """Exit code 2 and not 7: no right and no space would help, and a script has to tell the two apart."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "good").write_bytes(b"1")
    if skip == "bad name":
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_bytes(b"x")
    elif skip == "pipe":
        os.mkfifo(folder / "pipe")
    elif skip == "dangling":
        (folder / "dangling").symlink_to("nowhere")
    elif skip == "loop":
        (folder / "loop").symlink_to(folder)
    else:
        (folder / "own").symlink_to("own")
    with pytest.raises(Invalid) as caught:
        put(store, folder)

    assert ("unkeepable", 2) == (caught.value.code, caught.value.exit_code)
    assert store.collections() == []
    assert len(put(store, folder, skip_unreadable=True).skipped) == 1


def test_places_may_be_text(store: Store, tree: Tree, tmp_path: Path) -> None:
    """Nobody imports pathlib to put a folder whose name is at hand."""
    folder = str(tree({"a": b"1"}))
    store.put(folder, name="cats", type="t")
    store.put([folder], name="cats", type="t")
    out, copy = str(tmp_path / "out"), str(tmp_path / "copy")
    store.get("cats", out)
    report = store.diff("cats", folder)
    store.backup(copy)
    store.repair([folder])
    with store.draft() as draft:
        draft.add_directory(folder)
        draft.add_file(f"{folder}/a", "b")
        store.commit(draft, name="dogs", type="t")
    with Store.open(copy) as other:
        other.version("cats:v0")
    with Store.init(str(tmp_path / "new")):
        pass
    Store.rebuild(copy)

    assert (tmp_path / "out" / "a").read_bytes() == b"1"
    assert (report.unchanged, report.added, report.removed) == (1, [], [])
    assert sorted(entry.path for entry in store.entries("dogs")) == ["a", "b"]


@pytest.mark.parametrize("verb", ["put", "get", "backup", "repair", "init", "open"])
def test_an_empty_place_is_no_place(store: Store, tree: Tree, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable became the working folder, and a version was written all over it."""
    folder = tree({"a": b"1"})
    store.put([folder], name="cats", type="t")
    monkeypatch.chdir(folder)
    verbs: dict[str, Callable[[], object]] = {
        "put": lambda: store.put([""], name="cats", type="t"),
        "get": lambda: store.get("cats", "", delete=True),
        "backup": lambda: store.backup(""),
        "repair": lambda: store.repair([""]),
        "init": lambda: Store.init(""),
        "open": lambda: Store.open(""),
    }
    with pytest.raises(Invalid, match="names nothing"):
        verbs[verb]()

    assert [path.name for path in folder.iterdir()] == ["a"]


def test_what_cannot_be_read_may_be_left_out_and_is_reported(store: Store, tree: Tree) -> None:
    """I16. A version that lacks files says so to whoever made it."""
    folder = tree({"a": b"1"})
    os.mkfifo(folder / "pipe")
    report = put(store, folder, skip_unreadable=True)

    assert [(str(folder / "pipe"), "it is a named pipe (FIFO), not a file")] == [
        (s.path, s.reason) for s in report.skipped
    ]
    assert contents(store) == {"a": b"1"}


UNREADABLE = """
import sys
from pathlib import Path
import sqlite_utils
import encodings.ascii
import artstore.storage.gather
import sqlite_utils
from artstore.errors import ArtstoreError
from artstore.store import Store
store_path, folder = map(Path, sys.argv[1:])
drop_rights()
with Store.init(store_path) as store:
    try:
        store.put([folder], name="cats", type="t")
    except ArtstoreError as error:
        print(error.code, "a/secret" in error.message, "closed" in error.message, "public" in error.message)
    print(store.collections())
    report = store.put([folder], name="cats", type="t", skip_unreadable=True)
    print(sorted(Path(each.path).name + ": " + each.reason for each in report.skipped))
    print([entry.path for entry in store.entries("cats")])
    try:
        store.put([folder / "a" / "secret"], name="cats", type="t")
    except ArtstoreError as error:
        print(error.code, type(error).__name__)
"""


def test_files_without_permission_are_named(open_folder: Path, children: Children) -> None:
    """F5. In a child process, since root may read everything."""
    folder = open_folder / "data"
    for path in ("a/secret", "a/public", "closed/file"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x")
    (folder / "a" / "secret").chmod(0)
    (folder / "closed").chmod(0)
    (open_folder / "home").mkdir()
    (open_folder / "home").chmod(0o777)
    try:
        said = children.run(UNREADABLE, open_folder / "home" / "store", folder, as_nobody=True).splitlines()
    finally:
        (folder / "closed").chmod(0o755)

    assert said == [
        "unreadable True True False",
        "[]",
        "['closed: Permission denied', 'secret: Permission denied']",
        "['a/public']",
        "unreadable Refused",
    ]


def when_begun(act: Callable[[], None]) -> Callable[[Tick], None]:
    """Something that happens once, in the middle of a put."""
    done: list[bool] = []

    def progress(_tick: Tick) -> None:
        if not done:
            done.append(True)
            act()

    return progress


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read one after the other, and each is noted before the next is opened."""
    monkeypatch.setattr(reading, "FILES", 1)
    monkeypatch.setattr(reading, "can_fork", lambda: False)


def test_a_name_that_no_file_can_have_is_the_input_s_fault(store: Store) -> None:
    """The system's own error has all 5,000 letters of it, and no code."""
    for source, code in (("x" * 5000, "bad-path"), (f"{'x' * 5000}/y", "not-a-file")):
        with pytest.raises(Invalid) as caught:
            store.put(source, name="x", type="t")
        assert (code, True) == (caught.value.code, len(caught.value.message) < 300)


@pytest.mark.usefixtures("one_by_one")
def test_a_file_that_vanishes_is_named(store: Store, tree: Tree) -> None:
    """F4. It was listed, and is gone when its turn comes."""
    folder = tree({"a": b"1", "b": b"2", "c": b"3"})
    with pytest.raises(Refused) as caught:
        put(store, folder, progress=when_begun((folder / "b").unlink))

    assert (caught.value.code, repr(str(folder / "b")) in caught.value.message) == ("unreadable", True)
    assert store.collections() == []


@pytest.mark.usefixtures("one_by_one")
def test_a_vanished_file_may_be_left_out(store: Store, tree: Tree) -> None:
    folder = tree({"a": b"1", "b": b"2", "c": b"3"})
    report = put(store, folder, progress=when_begun((folder / "b").unlink), skip_unreadable=True)

    assert [str(folder / "b")] == [skipped.path for skipped in report.skipped]
    assert set(contents(store)) == {"a", "c"}


def test_a_source_that_is_missing_or_odd_is_refused(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("missing")
    errors: list[ArtstoreError] = []
    for name in ("missing", "dangling", "pipe"):
        with pytest.raises(ArtstoreError) as caught:
            put(store, tmp_path / name)
        errors.append(caught.value)

    assert [(type(error), error.code) for error in errors] == [
        (NotFound, "source-not-found"),
        (NotFound, "source-not-found"),
        (Invalid, "not-a-file"),
    ]


def test_names_that_are_not_utf8_are_refused_with_their_bytes(store: Store, tree: Tree) -> None:
    """N11. Never a UnicodeEncodeError in the middle of a commit."""
    folder = tree({"a": b"1"})
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"2")
    with pytest.raises(Invalid) as caught:
        put(store, folder)

    assert ("caf\\xe9" in caught.value.message, caught.value.message.isprintable()) == (True, True)
    with pytest.raises(Invalid):
        put(store, folder / os.fsdecode(b"caf\xe9"))
    assert store.collections() == []


def test_a_sparse_file_stays_sparse(store: Store, tmp_path: Path) -> None:
    """F9. A disk image of 64 MiB that holds 4 KiB takes 4 KiB here, and 4 KiB where it is checked out."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(30 * MIB)
        file.write(b"data" * 1024)
    digest = Digest.of(image.read_bytes())
    put(store, image)
    store.get("cats", tmp_path / "out")
    (inside,) = stored(store)
    outside = tmp_path / "out" / "image"

    for copy in (inside, outside):
        assert (64 * MIB, digest) == (copy.stat().st_size, Digest.of(copy.read_bytes()))
        assert copy.stat().st_blocks * 512 <= 2 * MIB


@pytest.mark.parametrize("how", ["file", "folder", "stream"])
def test_progress_moves_within_a_large_file(
    store: Store, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of 100 GB takes minutes, in which nothing was said: who waits takes it for stuck."""
    monkeypatch.setattr(drafting, "_TICK_S", -1)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"x")
    (tree / "b").write_bytes(data := os.urandom(5 * MIB))
    sources: dict[str, Any] = {"file": tree / "b", "folder": tree, "stream": io.BytesIO(data)}
    seen: list[int] = []
    put(store, sources[how], progress=lambda tick: seen.append(tick.bytes), prefix="p" if how == "stream" else None)

    assert seen == sorted(seen)
    assert sum(MIB <= size < 5 * MIB for size in seen) >= 4


def test_another_store_is_not_put_file_by_file(store: Store, tmp_path: Path) -> None:
    """Its catalog and its log change together: what was read of them one after the other may open as no store."""
    other = tmp_path / "tree" / "other"
    Store.init(other).close()
    (other.parent / "file").write_bytes(b"x")
    with pytest.raises(Invalid) as caught:
        put(store, other)
    report = put(store, other.parent)

    assert "other-store" == caught.value.code
    assert "backup" in caught.value.message
    assert (1, [str(other)]) == (report.files, [each.path for each in report.skipped])


def test_a_store_is_not_put_into_itself(store: Store) -> None:
    """Each put would be larger than all before it together."""
    before = stored(store)
    for folder in (store.path, store.path / "ops"):
        with pytest.raises(Invalid) as caught:
            put(store, folder)
        assert caught.value.code == "own-store"

    assert (before, store.collections()) == (stored(store), [])


def test_versions_with_few_changes_are_kept_as_differences(store: Store, tree: Tree) -> None:
    """Version 1,000 of a million files must cost its changes, and still read in a bounded number of steps."""
    files = {f"{number:03d}": b"%d" % number for number in range(100)}
    history: list[dict[str, bytes]] = []
    for number in range(MAX_DEPTH + 6):
        files = {**files, f"{number:03d}": b"changed %d" % number, f"new{number}": b"n"}
        files.pop(f"{99 - number:03d}")
        put(store, tree(files))
        history.append(dict(files))
    catalog = store._root.catalog
    (depth,) = catalog.one("SELECT max(depth) FROM manifest") or (None,)
    (rows,) = catalog.one("SELECT count(*) FROM entry") or (0,)

    assert 2 <= depth <= MAX_DEPTH
    assert rows < len(history) * 100 / 3
    for number in (0, 1, MAX_DEPTH - 1, MAX_DEPTH, len(history) - 1):
        assert history[number] == contents(store, f"cats:v{number}")


def test_a_put_that_is_interrupted_leaves_nothing(store: Store, tree: Tree) -> None:
    """P7. Ctrl-C is a clean end: nothing to be seen, no session that `gc` would wait for, and the next put works."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    folder = tree(EXAMPLE)
    with pytest.raises(KeyboardInterrupt):
        put(store, folder, progress=when_begun(interrupt))

    assert (store.collections(), stored(store)) == ([], set())
    assert ([], []) == (list((store.path / "tmp").iterdir()), sessions(store))
    put(store, folder)
    assert EXAMPLE == contents(store)


def sessions(store: Store) -> list[str]:
    return [path.name for path in (store.path / "locks").iterdir() if re.match(r"\d+-", path.name)]


def test_a_put_that_is_interrupted_while_it_settles_leaves_nothing_to_see(
    store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7. At the worst moment: everything is stored, and only the log lacks it."""

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            put(store, tree({"a": b"1"}))

    assert (store.collections(), sessions(store)) == ([], [])
    assert put(store, tree({"a": b"1"})).version.name == "cats:v0"


def test_a_dry_run_says_what_would_be_and_stores_nothing(store: Store, tree: Tree) -> None:
    put(store, tree({"a": b"1"}))
    before = stored(store)
    report = put(store, tree({"a": b"1", "b": b"22", "c": b"3" * (2 * MIB)}), dry_run=True)
    same = put(store, tree({"a": b"1"}), dry_run=True)

    assert (None, True, 3, 2, 2 + 2 * MIB) == (
        *(report.version, report.made, report.files, report.new_files, report.new_bytes),
    )
    assert ("cats:v0", False) == (same.version.name, same.made)
    assert (before, 1) == (stored(store), len(store.versions("cats")))


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need not be two seconds old to be trusted."""
    monkeypatch.setattr(stat_cache, "MARGIN_NS", -(10**12))


def opened_below(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened from now on."""
    real = os.open
    seen: list[str] = []

    def noting(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).startswith(str(folder)):
            seen.append(Path(path).name)
        return real(path, *arguments, **more)

    patch.setattr(os, "open", noting)
    return seen


@pytest.mark.usefixtures("no_margin")
def test_an_unchanged_file_is_not_read_again(store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second put of a terabyte takes a listing, not a day."""
    folder = tree({"a": b"1", "b": b"2", "d/c": b"3"})
    put(store, folder)
    (folder / "b").write_bytes(b"changed")
    seen = opened_below(folder, monkeypatch)
    report = put(store, folder)

    assert (["b"], 1) == (seen, report.new_files)
    assert contents(store) == {"a": b"1", "b": b"changed", "d/c": b"3"}


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("size", [5_000, 2_000_000])
def test_what_is_written_through_a_mapping_is_seen(store: Store, tree: Tree, size: int) -> None:
    """F1. np.memmap: the system dates the first write to a page, and no other before that is on the disk."""
    folder = tree({"a": bytes(size), "b": b"2"})
    with (folder / "a").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        for word in (b"one", b"two", b"six"):
            mapped[:3] = word
            put(store, folder)

            assert contents(store) == {"a": word + bytes(size - 3), "b": b"2"}


@pytest.mark.usefixtures("no_margin")
def test_a_change_that_restores_size_and_time_is_seen(store: Store, tree: Tree) -> None:
    """`rsync -t` of a file with the same length; the ctime gives it away."""
    folder = tree({"a": b"old"})
    put(store, folder)
    before = (folder / "a").stat()
    (folder / "a").write_bytes(b"new")
    os.utime(folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    put(store, folder)

    assert contents(store) == {"a": b"new"}


@pytest.mark.usefixtures("no_margin")
def test_what_was_hashed_for_a_version_that_is_gone_is_read_again(
    store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stat cache that outlives its blobs would make a version of bytes that nobody has."""
    folder = tree({"a": b"1"})
    put(store, folder)
    put(store, tree({"a": b"1", "b": b"2"}))
    store.delete("cats:v0", force=True)
    store.delete("cats:v1", force=True)
    store.gc(grace_s=0)
    seen = opened_below(folder, monkeypatch)
    put(store, folder)

    assert ["a", "b"] == seen
    assert contents(store) == {"a": b"1", "b": b"2"}


def test_every_write_begins_at_once_with_the_lock(
    store: Store, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D10. One deferred transaction among them would lose its commit to another writer, now and then."""
    statements: dict[int, list[str]] = {}
    real: Callable[[Connections], Any] = Connections._open

    def traced(self: Connections) -> Any:
        opened = real(self)
        opened.set_trace_callback(statements.setdefault(id(opened), []).append)
        return opened

    monkeypatch.setattr(Connections, "_open", traced)
    with Store.open(store.path) as again:
        put(again, tree(EXAMPLE), aliases=["best"])
        put(again, tree({**EXAMPLE, "one": b"y"}))
        again.alias("cats:v0", ["old"])
        again.tag("cats:v0", ["t"])
        again.get("cats", tmp_path / "out")
        again.copy("cats:v0", "other/cats")
        again.delete("cats:v0", force=True)
        again.gc(grace_s=0)

    assert sum(len(each) for each in statements.values()) > 50
    assert list(deferred(statements)) == []


def deferred(statements: dict[int, list[str]]) -> Iterator[str]:
    """Statements that write outside a transaction which took the lock first."""
    for each in statements.values():
        began = ""
        for statement in each:
            words = statement.split(None, 1)[0].upper() if statement.strip() else ""
            if words == "BEGIN":
                began = statement
            elif words in {"COMMIT", "ROLLBACK"}:
                began = ""
            elif words in {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP"} and began != "BEGIN IMMEDIATE":
                yield statement


def test_threads_that_put_at_once_all_get_a_number(store: Store) -> None:
    """P12. None lost, none twice."""
    made: list[int] = []

    def work(name: int) -> None:
        for turn in range(4):
            report = store.put([io.BytesIO(b"%d %d" % (name, turn))], name="cats", type="t", prefix="a")
            assert report.version is not None
            made.append(report.version.number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(16)) == sorted(made)
    assert {b"%d %d" % (name, turn) for name in range(4) for turn in range(4)} == {
        contents(store, f"cats:v{number}")["a"] for number in range(16)
    }


def test_a_file_that_grows_without_end_is_named_among_the_problems(
    store: Store, tree: Tree, children: Children
) -> None:
    """F1. In a folder, with everything else that is wrong there."""
    code = """
import os, sys
with open(sys.argv[1], "ab", buffering=0) as file:
    print("begun")
    while os.getppid() != 1:
        file.write(b"x" * 10_000)
        os.truncate(sys.argv[1], 48 << 20)
"""
    folder = tree({"a": b"1", "log": b"l" * (48 * MIB)})
    child = children.start(code, folder / "log")
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises((Refused, Conflict)) as caught:
        put(store, folder)
    child.kill()
    child.wait()

    assert (repr(str(folder / "log")) in caught.value.message, store.collections()) == (True, [])


def test_metadata_too_deep_to_be_read_back_are_refused(store: Store, tree: Tree) -> None:
    """A log that one process could write and another cannot decode would lock everybody out of the store."""
    metadata: dict[str, object] = {}
    for _ in range(70):
        metadata = {"deeper": metadata}
    with pytest.raises(Invalid) as caught:
        store.put([tree({"a": b"1"})], name="cats", type="dataset", metadata=metadata)

    assert (caught.value.code, store.collections()) == ("bad-metadata", [])


def test_reading_on_does_not_keep_from_writing(store: Store, tree: Tree) -> None:
    """A listing that is still open must not make the next alias wait until it gives up."""
    store.put([tree({f"{number:05}": b"1" for number in range(6_000)})], name="cats", type="dataset")
    with Store.open(store.path) as other:
        for number, _entry in enumerate(store.entries("cats")):
            if number == 5_500:
                other.alias("cats", ["theirs"])
                store.alias("cats", ["mine"])

    assert ["latest", "mine", "theirs"] == store.version("cats").aliases


def test_a_damaged_log_of_one_project_leaves_the_others_usable(store: Store, tree: Tree) -> None:
    """One flipped byte must not lock the whole store."""
    store.put([tree({"a": b"1"})], name="cats", type="dataset")
    folder = store.path / "ops" / "broken"
    folder.mkdir()
    (folder / "000000000001").write_bytes(b"garbage")
    with Store.open(store.path) as again:
        assert again.version("cats").number == 0
        with pytest.raises(Corrupt):
            again.version("broken/cats")
        with pytest.raises(Corrupt):
            again.gc()


@pytest.mark.parametrize("state", ["weird", None, 1])
def test_what_could_not_be_read_back_is_not_recorded(store: Store, state: Any) -> None:
    """One wrong argument must not make every later command fail at the same op."""
    run = store.start_run(name="first")
    with pytest.raises(Invalid) as caught:
        store.finish_run(run.id, state=state)
    with pytest.raises(Invalid):
        store.start_run(name=cast("str", 1))

    assert caught.value.code == "bad-state"
    assert store.verify().ok


def test_what_a_killed_checkout_left_is_no_data(store: Store, tree: Tree) -> None:
    """An unfinished file that nobody named must not come back as a part of the next version."""
    folder = tree({"a": b"1", ".artstore-0123456789abcdef.tmp": b"half"})

    assert store.put([folder], name="cats", type="dataset").files == 1


def test_a_folder_of_the_name_of_a_store_is_named_and_not_dropped(store: Store, tree: Tree) -> None:
    with pytest.raises(Invalid) as caught:
        store.put([tree({"a": b"1", "sub/.artstore/data": b"2"})], name="cats", type="dataset")

    assert ".artstore" in caught.value.message


def test_a_source_with_two_names_stays_what_it_is(store: Store, tmp_path: Path) -> None:
    """F12. Whoever writes to one of its names must not write into the store; its bytes are kept once all the same."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for name, size in (("small", 100), ("large", 2 * MIB)):
        (folder / name).write_bytes(os.urandom(size))
        os.link(folder / name, folder / f"{name}-again")
    before = {path: (path.stat().st_nlink, path.stat().st_ino) for path in folder.iterdir()}
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = put(store, folder)

    assert (4, 2) == (report.files, report.new_files)
    assert before == {path: (path.stat().st_nlink, path.stat().st_ino) for path in folder.iterdir()}
    assert {inode for _, inode in before.values()}.isdisjoint(path.stat().st_ino for path in stored(store))
    for path in folder.iterdir():
        path.write_bytes(b"overwritten in place")
    assert expected == contents(store)
    assert store.verify().ok


@pytest.mark.skipif(os.name == "nt", reason="there are no such bits on Windows")
@pytest.mark.parametrize("bits", [0o4000, 0o2000, 0o1000], ids=["setuid", "setgid", "sticky"])
@pytest.mark.parametrize("year", [1901, 2200])
def test_special_bits_and_times_of_other_centuries_are_not_kept(
    store: Store, tmp_path: Path, bits: int, year: int
) -> None:
    """F13. A program of somebody's must not come back with rights that nobody gave it, nor a date stop anything."""
    folder = tmp_path / "tree"
    folder.mkdir()
    moment = calendar.timegm((year, 12, 14, 0, 0, 0))
    for name in ("program", "large"):
        (folder / name).write_bytes(os.urandom(100 if name == "program" else 2 * MIB))
        (folder / name).chmod(bits | 0o755)
        os.utime(folder / name, (moment, moment))
        assert bits == (folder / name).stat().st_mode & 0o7000
        if int((folder / name).stat().st_mtime) != moment:
            pytest.skip(f"the file system cannot hold a time of {year}")
    began = time.time()
    put(store, folder)
    again = put(store, folder)
    for mode in ("copy", "auto", "hardlink"):
        out = tmp_path / mode
        store.get("cats", out, mode=cast("Any", mode))
        for name in ("program", "large"):
            status = (out / name).stat()
            assert (folder / name).read_bytes() == (out / name).read_bytes()
            assert 0 == status.st_mode & 0o7000
            assert abs(status.st_mtime - began) < 3600

    assert not again.made
    assert 0 == again.new_files
    assert [] == [path for path in stored(store) if path.stat().st_mode & 0o7000]
    assert store.verify().ok


def test_another_store_in_a_folder_is_left_out_and_named(store: Store, tree: Tree) -> None:
    """Who archives a project and deletes it then must not have lost the store that was in it."""
    folder = tree({"a": b"1", "sub/b": b"2"})
    Store.init(folder / "sub" / ".artstore").close()
    report = put(store, folder)

    assert contents(store) == {"a": b"1", "sub/b": b"2"}
    assert [str(folder / "sub" / ".artstore")] == [skipped.path for skipped in report.skipped]


def test_the_store_that_is_put_into_is_no_news(tree: Tree) -> None:
    folder = tree({"a": b"1"})
    with Store.init(folder / ".artstore") as own:
        assert [] == put(own, folder).skipped
