"""What is read through `artstore://` is what the version holds, or an error; asking about it touches no blob."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artstore.errors import Corrupt, Invalid, NotFound
from artstore.filesystem import ArtstoreFileSystem
from artstore.model.digest import Digest
from artstore.model.manifest import reference
from artstore.references.expand import expand
from artstore.store import Store

Put = Callable[..., None]

MIB = 1 << 20
LARGE = b"".join(bytes([number]) * MIB for number in range(3)) + b"end"
LINES = b"".join(b"line %d\n" % number for number in range(300_000))
FILES = {"a.txt": b"alpha\n", "sub/b.txt": b"beta\n", "sub/deep/c.bin": b"\0\1\2", "large.bin": LARGE}


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


@pytest.mark.parametrize(
    "place", ["cats:latest", "cats:v0", "uncategorized/cats:latest", "me/uncategorized/cats:best", "cats@"]
)
def test_a_reference_of_any_form_leads_to_the_file(store: Store, fs: ArtstoreFileSystem, put: Put, place: str) -> None:
    put(FILES)
    store.alias("cats", ["best"])
    place += store.version("cats").id.removeprefix("blake3:")[:12] if place.endswith("@") else ""

    assert fs.cat_file(f"{place}/a.txt") == b"alpha\n"
    assert fs.cat_file(f"artstore://{place}/sub/b.txt") == b"beta\n"
    with fs.open(f"{place}/large.bin") as file:
        assert file.read() == LARGE


def test_open_finds_the_store_as_every_door_does(store: Store, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put(FILES)
    monkeypatch.setenv("ARTSTORE_DIR", str(store.path))
    with fsspec.open("artstore://cats:latest/a.txt", "rt") as file:
        assert file.read() == "alpha\n"

    monkeypatch.setenv("ARTSTORE_DIR", str(store.path.parent / "other"))
    with pytest.raises(FileNotFoundError):
        fsspec.open("artstore://cats:latest/a.txt").open()
    with fsspec.open("artstore://cats:latest/a.txt", store=store.path) as file:
        assert file.read() == b"alpha\n"


def test_the_project_of_the_environment_is_that_of_bare_names(
    store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put({"a": b"here"})
    put({"a": b"there"}, project="zoo")
    monkeypatch.setenv("ARTSTORE_PROJECT", "zoo")

    assert ArtstoreFileSystem(store.path).cat_file("cats:latest/a") == b"there"
    assert ArtstoreFileSystem(store.path, project="uncategorized").cat_file("cats:latest/a") == b"here"


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A typing error must not end as another, empty store."""
    with pytest.raises(NotFound):
        ArtstoreFileSystem(tmp_path / "mispelt")

    assert not (tmp_path / "mispelt").exists()


def test_a_store_that_was_made_anew_is_not_the_old_one(tmp_path: Path) -> None:
    """What is written to the files of a store that was deleted would be lost without a word."""
    for content in (b"one", b"two"):
        with Store.init(tmp_path / "s"):
            pass
        fs = ArtstoreFileSystem(tmp_path / "s")
        assert not fs.exists("cats:latest")
        fs.pipe_file("cats:latest/a", content)
        with Store.open(tmp_path / "s") as store:
            assert b"".join(store.read("cats", "a")) == content
        shutil.rmtree(tmp_path / "s")


def test_the_tree_is_walked_from_the_projects_down(fs: ArtstoreFileSystem, put: Put) -> None:
    put(FILES)
    put({"x": b"x"}, project="zoo", name="dogs")
    put({"x": b"y"}, project="zoo", name="dogs")

    assert fs.ls("artstore://", detail=False) == ["uncategorized", "zoo"]
    assert fs.ls("zoo", detail=False) == ["zoo/dogs"]
    assert fs.ls("zoo/dogs", detail=False) == ["zoo/dogs:v0", "zoo/dogs:v1"]
    assert sorted(fs.ls("cats:v0", detail=False)) == ["cats:v0/a.txt", "cats:v0/large.bin", "cats:v0/sub"]
    assert fs.find("") == sorted(
        [*(f"uncategorized/cats:v0/{path}" for path in FILES), "zoo/dogs:v0/x", "zoo/dogs:v1/x"]
    )
    assert fs.glob("cats:latest/**/*.txt") == ["cats:latest/a.txt", "cats:latest/sub/b.txt"]
    assert fs.glob("cats:latest/*.txt") == ["cats:latest/a.txt"]
    assert fs.find("cats:latest/sub", withdirs=True) == [
        "cats:latest/sub",
        "cats:latest/sub/b.txt",
        "cats:latest/sub/deep",
        "cats:latest/sub/deep/c.bin",
    ]
    assert fs.find("cats:latest/sub", maxdepth=1) == ["cats:latest/sub/b.txt"]
    assert fs.find("cats:latest/a.txt") == ["cats:latest/a.txt"]
    assert fs.find("cats:latest/none") == []
    assert [path for path, _, _ in fs.walk("cats:latest")] == ["cats:latest", "cats:latest/sub", "cats:latest/sub/deep"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("cats:v*/loss", ["cats:v0/loss", "cats:v1/loss", "cats:v2/loss"]),
        ("artstore://cats:v[12]/loss", ["cats:v1/loss", "cats:v2/loss"]),
        ("cats:*", ["cats:v0", "cats:v1", "cats:v2"]),
        ("z*/d*:latest/sub/*", ["zoo/dogs:latest/sub/1"]),
        ("me/zoo/d*:v?/**/1", ["me/zoo/dogs:v0/sub/1", "me/zoo/dogs:v1/sub/1"]),
        ("zoo/dogs:v*/sub/0", ["zoo/dogs:v0/sub/0"]),
        ("zoo/best:v*/sub/*", ["zoo/best:v0/sub/1", "zoo/best:v1/sub/0", "zoo/best:v1/sub/1"]),
        ("cats:v1*/loss", ["cats:v1/loss"]),
        ("cats:v*/none", []),
        ("none:v*/loss", []),
        ("none/*:v*/loss", []),
    ],
)
def test_a_pattern_may_stand_for_versions(
    store: Store, fs: ArtstoreFileSystem, put: Put, pattern: str, found: list[str]
) -> None:
    """Whoever compares the losses of all versions would otherwise write the loop, or get an empty list."""
    for number in range(3):
        put({"loss": b"%d" % number})
    put({"sub/0": b"0", "sub/1": b"1"}, project="zoo", name="dogs")
    put({"sub/1": b"1"}, project="zoo", name="dogs")
    store.link("zoo/dogs:v1", "zoo/best")
    store.link("zoo/dogs:v0", "zoo/best")

    assert found == fs.glob(pattern)
    assert found == list(fs.glob(pattern, detail=True))


def test_a_portfolio_lists_its_versions_under_its_own_numbers(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """What a listing names must be there; the number in the collection that it comes from is another one."""
    for number in range(3):
        put({"a": b"%d" % number})
    store.link("cats:v2", "best")
    store.link("cats:v1", "best")

    assert ["uncategorized/best:v0", "uncategorized/best:v1"] == fs.ls("uncategorized/best", detail=False)
    assert [b"2", b"1"] == [fs.cat_file(f"{each}/a") for each in fs.ls("uncategorized/best", detail=False)]


def test_what_the_catalog_knows_is_answered_without_a_blob(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """A listing that reads gigabytes from a slow disk is one that nobody waits for."""
    put(FILES)
    for folder in ("blobs", "packs"):
        for path in files_of(store.path / folder):
            path.unlink()

    info = fs.info("cats:latest/sub/b.txt")
    assert (info["name"], info["size"], info["type"]) == ("cats:latest/sub/b.txt", 5, "file")
    assert info["digest"] == fs.ukey("cats:latest/sub/b.txt") == str(Digest.of(b"beta\n"))
    assert fs.checksum("cats:latest/a.txt") == fs.checksum("cats:v0/a.txt") != fs.checksum("cats:v0/large.bin")
    assert fs.size("cats:latest/large.bin") == len(LARGE)
    assert fs.du("cats:latest") == sum(map(len, FILES.values()))
    assert fs.exists("cats:latest/sub")
    assert fs.isdir("cats:latest/sub")
    assert not fs.isfile("cats:latest/sub")
    assert not fs.exists("cats:latest/sub/none")
    assert datetime.now(UTC) >= fs.created("cats:latest/a.txt") == fs.modified("cats:latest")
    assert set(fs.find("cats:latest")) == {f"cats:latest/{path}" for path in FILES}
    assert len(list(fs.walk("cats:latest"))) == 3
    assert len(fs.ls("cats:latest")) == 3
    assert fs.glob("cats:latest/**/*.bin") == ["cats:latest/large.bin", "cats:latest/sub/deep/c.bin"]
    assert fs.expand_path("cats:latest/sub", recursive=True)


def test_many_stretches_of_a_file_open_it_once(
    fs: ArtstoreFileSystem, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of columns asks for hundreds."""
    put(FILES)
    opened: list[str] = []

    def note(path: str, *arguments: int) -> int:
        opened.append(str(path))
        return os.open(path, *arguments)

    monkeypatch.setattr("artstore.storage.blob_reader.os", SimpleNamespace(**{**vars(os), "open": note}))
    starts = list(range(0, 3 * MIB, 50_000))
    found = fs.cat_ranges(["cats:latest/large.bin"] * len(starts), starts, [start + 9 for start in starts])

    assert found == [LARGE[start : start + 9] for start in starts]
    assert len(opened) == 1


@pytest.mark.parametrize(
    "path",
    [
        "cats:v7/a.txt",
        "cats:none/a.txt",
        "dogs:latest/a",
        "cats/a.txt",
        "cats:latest/none",
        "cats:/x",
        "cats:v0/a.txt/b",
    ],
)
def test_what_is_not_there_is_a_missing_file(fs: ArtstoreFileSystem, put: Put, path: str) -> None:
    """pandas, dask and zarr go on after FileNotFoundError, and stop at everything else."""
    put(FILES)

    with pytest.raises(FileNotFoundError):
        fs.info(path)
    with pytest.raises(FileNotFoundError):
        fs.cat_file(path)
    with pytest.raises(FileNotFoundError):
        fs.open(path)
    assert not fs.exists(path)


def test_a_path_without_a_version_is_answered_with_one_that_has_it(fs: ArtstoreFileSystem, put: Put) -> None:
    put(FILES)

    with pytest.raises(FileNotFoundError, match=r"artstore://cats:latest/sub/b\.txt"):
        fs.open("artstore://cats/sub/b.txt")
    with pytest.raises(FileNotFoundError, match="no such project or collection"):
        fs.open("artstore://dogs/b.txt")


def test_a_folder_is_not_read_as_a_file(fs: ArtstoreFileSystem, put: Put) -> None:
    put(FILES)

    for path in ("cats:latest/sub", "cats:latest", "uncategorized/cats", ""):
        with pytest.raises(IsADirectoryError):
            fs.open(path)
        with pytest.raises(IsADirectoryError):
            fs.cat_file(path)


def test_a_path_that_leaves_the_version_is_refused(fs: ArtstoreFileSystem, put: Put) -> None:
    put(FILES)

    assert fs.cat_file("cats:latest//sub/./b.txt") == b"beta\n"
    with pytest.raises(Invalid):
        fs.open("cats:latest/sub/../../a.txt")


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 3), (2, None), (None, 4), (-3, None), (-5, -2), (4, 4), (5, 2), (MIB - 2, MIB + 2), (3 * MIB, 99 * MIB)],
)
def test_a_stretch_is_that_of_the_bytes(fs: ArtstoreFileSystem, put: Put, start: int | None, end: int | None) -> None:
    put(FILES)

    assert fs.cat_file("cats:latest/large.bin", start, end) == LARGE[start:end]
    assert fs.cat_file("cats:latest/a.txt", start, end) == FILES["a.txt"][start:end]
    paths = ["cats:latest/large.bin", "cats:latest/a.txt"] * 2
    expected = [LARGE[start:end], FILES["a.txt"][start:end]] * 2
    assert fs.cat_ranges(paths, start, end) == expected


def test_cat_ranges_says_which_one_failed(fs: ArtstoreFileSystem, put: Put) -> None:
    put(FILES)
    paths = ["cats:latest/a.txt", "cats:latest/none"]

    first, second = fs.cat_ranges(paths, [0, 0], [2, 2])
    assert first == b"al"
    assert isinstance(second, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, [0, 0], [2, 2], on_error="raise")
    with pytest.raises(ValueError, match="give as many"):
        fs.cat_ranges(paths, [0], [2, 2])


def test_reading_verifies_the_blocks_that_it_touches_and_no_others(
    store: Store, fs: ArtstoreFileSystem, put: Put
) -> None:
    """Damage must not be handed out as data; nor may it take away what is whole."""
    put({"large.bin": LARGE})
    (blob,) = files_of(store.path / "blobs")
    flip(blob, MIB + 5)

    assert fs.cat_file("cats:latest/large.bin", 0, MIB) == LARGE[:MIB]
    for reading in (
        lambda: fs.cat_file("cats:latest/large.bin", MIB + 7, MIB + 9),
        lambda: fs.open("cats:latest/large.bin").read(),
        lambda: fs.open("cats:latest/large.bin").readinto(bytearray(4 * MIB)) == 4 * MIB,
    ):
        with pytest.raises(Corrupt, match="damaged"):
            reading()
    assert fs.cat_file("cats:latest/large.bin", 2 * MIB) == LARGE[2 * MIB :]


@pytest.mark.parametrize("reads", [1, 100])
def test_a_damaged_small_file_is_an_error(store: Store, fs: ArtstoreFileSystem, put: Put, reads: int) -> None:
    """After many reads the places of all files are in memory; they are verified all the same."""
    files = {f"{number:03}": bytes([number]) * 600 for number in range(100)}
    put(files)
    for path in list(files)[:reads]:
        assert fs.cat_file(f"cats:latest/{path}") == files[path]
    (pack,) = files_of(store.path / "packs")
    flip(pack, 512 + 100)

    damaged = 0
    for path, data in files.items():
        try:
            assert fs.cat_file(f"cats:latest/{path}") == data
        except Corrupt:
            damaged += 1
    assert damaged == 1


def test_reads_go_on_where_gc_moved_the_bytes(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """A training run reads for days, and gc rewrites packs meanwhile."""
    keep = {f"{number:03}": os.urandom(3000) for number in range(60)}
    put({**keep, **{f"x{number}": os.urandom(3000) for number in range(600)}})
    put(keep)
    for path in keep:
        fs.cat_file(f"cats:latest/{path}")
    (before,) = files_of(store.path / "packs")
    store.delete("cats:v0")
    store.gc(grace_s=0)
    assert before not in files_of(store.path / "packs")

    assert keep == {path: fs.cat_file(f"cats:latest/{path}") for path in keep}
    assert keep == {path: fs._store.tree("cats:latest").at_hand(path) for path in keep}, "and they are fast again"


def test_an_alias_that_moved_is_followed_at_once(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a": b"one", "large": LARGE})
    assert fs.cat_file("cats:latest/a") == b"one"
    file = fs.open("cats:latest/large")
    put({"a": b"two", "large": b"small now"})

    assert fs.cat_file("cats:latest/a") == b"two"
    assert fs.cat_file("cats:v0/a") == b"one"
    with file:
        assert file.read() == LARGE, "what is open stays what it was"
    store.delete("cats:v1")
    assert fs.cat_file("cats:latest/a") == b"one"


@pytest.fixture
def far(store: Store, tmp_path: Path) -> Path:
    """A folder outside of the store, whose files are references in `cats`, beside a blob."""
    folder = tmp_path / "far"
    folder.mkdir()
    (folder / "large").write_bytes(LARGE)
    (folder / "t.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "near").write_bytes(b"near")
    store.put([tmp_path / "near"], name="cats", type="dataset", references=expand(f"file://{folder}"))
    return folder


def test_what_a_reference_stands_for_is_read_as_any_file(
    store: Store, fs: ArtstoreFileSystem, far: Path, tmp_path: Path
) -> None:
    assert fs.cat_file("cats:latest/large") == LARGE
    assert fs.cat_file("cats:latest/large", MIB - 3, MIB + 3) == LARGE[MIB - 3 : MIB + 3]
    assert fs.cat_ranges(["cats:latest/large", "cats:latest/near"], [5, 1], [9, 3]) == [LARGE[5:9], b"ea"]
    with fs.open("cats:latest/large") as file:
        file.seek(-3, os.SEEK_END)
        assert (file.size, file.read()) == (len(LARGE), b"end")
        file.seek(MIB)
        sent = pickle.dumps(file)
    with pickle.loads(sent) as again:  # noqa: S301
        assert again.read() == LARGE[MIB:]
    assert pd.read_csv("artstore://cats:latest/t.csv", storage_options={"store": store.path}).to_numpy().tolist() == [
        [1, 2]
    ]
    fs.get("cats:latest", str(tmp_path / "out"), recursive=True)
    assert (tmp_path / "out" / "large").read_bytes() == LARGE
    assert fs.du("cats:latest") == len(LARGE) + 8 + 4
    assert fs.ukey("cats:latest/large") == str(Digest.of(LARGE))
    with fs.open("cats:latest/t.csv", "ab") as file:
        file.write(b"3,4\n")
    assert fs.cat_file("cats:latest/t.csv") == b"a,b\n1,2\n3,4\n"
    assert far.is_dir()


@pytest.mark.parametrize("now", [None, b"a,b\n1,3\n", b"a,b\n1,2\n3"])
def test_what_stands_in_the_place_of_a_reference_is_not_read(
    fs: ArtstoreFileSystem, far: Path, now: bytes | None
) -> None:
    """Nor is it a missing file, for which zarr and dask would put in zeros or nothing."""
    (far / "t.csv").unlink()
    if now is not None:
        (far / "t.csv").write_bytes(now)

    assert fs.exists("cats:latest/t.csv")
    for reading in (
        lambda: fs.open("cats:latest/t.csv"),
        lambda: fs.cat_file("cats:latest/t.csv"),
        lambda: fs.cat_file("cats:latest/t.csv", 0, 1),
        lambda: fs.cat_ranges(["cats:latest/t.csv"], 0, 1, on_error="raise"),
        lambda: fs.open("cats:latest/t.csv", "ab"),
    ):
        with pytest.raises(Corrupt) as refused:
            reading()
        assert refused.value.code == ("reference-missing" if now is None else "reference-changed")
        assert str(far / "t.csv") in str(refused.value)


def test_a_reference_that_nothing_can_fetch_says_where_its_bytes_are(store: Store, fs: ArtstoreFileSystem) -> None:
    with store.draft() as draft:
        draft.add_entry(reference("far.bin", "gopher://host/far.bin", checksum="etag", size=None, extra={}))
        draft.add_entry(reference("near.bin", "gopher://host/near.bin", checksum="other", size=9, extra={}))
        store.commit(draft, name="cats", type="dataset")

    info = fs.info("cats:latest/far.bin")
    assert (info["type"], info["size"], info["uri"]) == ("file", None, "gopher://host/far.bin")
    assert fs.du("cats:latest") == 9
    assert fs.checksum("cats:latest/far.bin") == fs.checksum("cats:v0/far.bin") != fs.checksum("cats:v0/near.bin")
    with pytest.raises(Invalid, match=r"gopher://host/far\.bin.*can fetch"):
        fs.open("cats:latest/far.bin")


def test_files_are_as_python_has_them(fs: ArtstoreFileSystem, put: Put) -> None:
    put({"small": b"one\ntwo\n", "large": LARGE})

    for path, data in (("cats:latest/small", b"one\ntwo\n"), ("cats:latest/large", LARGE)):
        with fs.open(path) as file:
            assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
            assert file.size == len(data)
            assert file.seek(-3, os.SEEK_END) == len(data) - 3
            assert file.read() == data[-3:]
            file.seek(1)
            assert bytes(file.read(5)) == data[1:6]
            with pytest.raises(io.UnsupportedOperation):
                file.write(b"no")
    with fs.open("cats:latest/small", "rt") as text:
        assert text.readlines() == ["one\n", "two\n"]
    with fs.open("cats:latest/small") as file, pytest.raises(io.UnsupportedOperation):
        file.truncate(0)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "readinto", "read1"]), st.integers(0, 5 * MIB)),
        st.tuples(st.sampled_from(["read", "readinto"]), st.sampled_from([MIB, 2 * MIB])),
        st.tuples(st.just("seek"), st.one_of(st.integers(0, 4 * MIB), st.sampled_from([0, MIB, 2 * MIB]))),
        st.tuples(st.sampled_from(["readline", "rest"]), st.just(0)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_a_large_file_is_read_in_any_way(fs: ArtstoreFileSystem, put: Put, moves: list[tuple[str, int]]) -> None:
    """A reader that mixes them must not be given the bytes of another place."""
    if not fs.exists("cats:latest"):
        put({"large": LINES})
    with io.BytesIO(LINES) as model, fs.open("cats:latest/large") as file:
        for move, number in moves:
            if move == "readinto":
                expected, found = bytearray(number), bytearray(number)
                assert model.readinto(expected) == file.readinto(found)
                assert expected == found
            elif move == "read1":
                part = file.read1(number)
                assert model.read(len(part)) == part
            elif move == "rest":
                assert model.read() == file.read()
            else:
                arguments = [] if move == "readline" else [number]
                assert getattr(model, move)(*arguments) == getattr(file, move)(*arguments)
            assert model.tell() == file.tell()


def test_file_systems_and_open_files_can_be_sent_elsewhere(
    store: Store, fs: ArtstoreFileSystem, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker starts in another folder, later, and must read the same version of the same store."""
    put({"small": b"small", "large": LARGE})
    with fs.open("cats:latest/large") as large, fs.open("cats:latest/small") as small:
        large.seek(2 * MIB)
        sent = pickle.dumps((fs, large, small))
    put({"small": b"new", "large": b"new"})
    monkeypatch.chdir(tmp_path)

    there, large, small = pickle.loads(sent)  # noqa: S301
    with large, small:
        assert (large.read(), small.read()) == (LARGE[2 * MIB :], b"small")
    assert there.cat_file("cats:v0/small") == b"small"
    assert there.fsid == fs.fsid
    assert there == ArtstoreFileSystem(store.path, project="uncategorized")


def _read_all(arguments: tuple[ArtstoreFileSystem, list[str]]) -> list[bytes]:
    fs, paths = arguments
    return [fs.cat_file(path) for path in paths]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_worker_processes_read_what_their_parent_reads(fs: ArtstoreFileSystem, put: Put, method: Any) -> None:
    """A data loader forks after the parent has opened packs and the catalog."""
    files = {f"{number:03}": os.urandom(2000) for number in range(120)} | {"large": LARGE}
    put(files)
    paths = [f"cats:latest/{path}" for path in files]
    assert _read_all((fs, paths)) == list(files.values())

    with multiprocessing.get_context(method).Pool(3) as pool:
        for found in pool.map(_read_all, [(fs, paths)] * 6):
            assert found == list(files.values())
    assert _read_all((fs, paths)) == list(files.values())


def test_threads_share_one_file_system(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """A handle that one thread closed while another reads would give it another file's bytes."""
    for number in range(3):
        put({f"{number}/{path:02}": os.urandom(1500) for path in range(60)}, name=f"c{number}")
    expected = {path: fs.cat_file(path) for number in range(3) for path in fs.find(f"c{number}:latest")}
    failures: list[str] = []

    def read() -> None:
        for _ in range(5):
            failures.extend(path for path, data in expected.items() if fs.cat_file(path) != data)
            store._root.blobs.close()
            fs._store._root.blobs.close()

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.mark.parametrize("path", ["a.txt", "large.bin"])
@pytest.mark.parametrize("cache", ["filecache", "simplecache"])
def test_a_cache_of_fsspec_can_stand_before_it(store: Store, put: Put, cache: str, path: str) -> None:
    put(FILES)
    options = {cache: {"cache_storage": str(store.path.parent / "cache")}, "artstore": {"store": store.path}}
    for _ in range(2):
        with fsspec.open(f"{cache}::artstore://cats:latest/{path}", **options) as file:
            assert file.read() == FILES[path]


@pytest.mark.parametrize("path", ["a.txt", "large.bin"])
def test_a_cache_of_blocks_is_refused_with_what_works_instead(store: Store, put: Put, path: str) -> None:
    put(FILES)
    options = {"blockcache": {"cache_storage": str(store.path.parent / "cache")}, "artstore": {"store": store.path}}

    with pytest.raises(AttributeError, match="filecache::"):
        fsspec.open(f"blockcache::artstore://cats:latest/{path}", **options).open()
