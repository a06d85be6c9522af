"""What is written through `artstore://` is a version, whole, or it is nothing."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from artstore.errors import Conflict, Invalid, PathCollision
from artstore.filesystem import ArtstoreFileSystem
from artstore.store import Store

Put = Callable[..., None]

MIB = 1 << 20


def holds(store: Store, name: str = "cats:latest") -> dict[str, bytes]:
    """The files of a version."""
    return {entry.path: b"".join(store.read(name, entry.path)) for entry in store.entries(name)}


def numbers(store: Store, name: str = "cats") -> list[int]:
    return [version.number for version in reversed(store.versions(name))]


def numbers_or_none(store: Store) -> list[int]:
    return numbers(store) if store.collections() else []


def is_tidy(store: Store) -> bool:
    """Whether no session and no unfinished file is left."""
    return not [path for folder in ("locks", "tmp") for path in (store.path / folder).rglob("put*")]


def test_a_file_that_is_closed_is_a_version(store: Store, fs: ArtstoreFileSystem) -> None:
    with fs.open("cats:latest/a.txt", "wb") as file:
        file.write(b"al")
        file.write(b"pha")
        assert not fs.exists("cats:latest/a.txt")

    assert holds(store) == {"a.txt": b"alpha"}
    assert store.version("cats").type == "dataset"
    assert is_tidy(store)


def test_the_next_version_is_the_last_with_what_was_written(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """A file system whose other files vanish when one is written is of no use."""
    put({"a": b"1", "b/c": b"2"})
    fs.pipe_file("cats:latest/b/d", b"3")
    fs.pipe_file("cats:latest/a", b"4")

    assert holds(store) == {"a": b"4", "b/c": b"2", "b/d": b"3"}
    assert holds(store, "cats:v0") == {"a": b"1", "b/c": b"2"}
    assert numbers(store) == [0, 1, 2]


def test_writing_what_is_there_makes_no_version(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a": b"1"})
    fs.pipe_file("cats:latest/a", b"1")

    assert numbers(store) == [0]


def test_a_transaction_is_one_version_of_each_collection(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"old": b"old", "gone": b"gone"})
    with fs.transaction:
        for number in range(20):
            fs.pipe_file(f"cats:latest/{number}", bytes([number]))
        fs.rm("cats:latest/gone")
        with fs.open("dogs:latest/text", "w") as file:
            file.write("wau")
        assert numbers(store) == [0]

    assert holds(store) == {"old": b"old", **{str(number): bytes([number]) for number in range(20)}}
    assert numbers(store) == [0, 1]
    assert holds(store, "dogs:latest") == {"text": b"wau"}
    assert is_tidy(store)


def test_a_transaction_sees_what_it_wrote(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """zarr and pyarrow look at what they have written before they go on."""
    put({"old/a": b"a", "old/b": b"b", "gone/a": b"c"})
    large = os.urandom(2 * MIB + 7)
    with fs.transaction:
        fs.pipe_file("cats:latest/new/x", b"x")
        fs.pipe_file("cats:latest/large", large)
        fs.pipe_file("cats:latest/old/a", b"A")
        fs.rm("cats:latest/gone/a")

        assert fs.cat_file("cats:latest/new/x") == b"x"
        assert fs.cat_file("cats:latest/old/a") == b"A"
        assert fs.cat_file("cats:latest/old/b") == b"b"
        with fs.open("cats:latest/large") as file:
            assert file.read() == large
        assert sorted(fs.ls("cats:latest", detail=False)) == ["cats:latest/large", "cats:latest/new", "cats:latest/old"]
        assert fs.find("cats:latest/old") == ["cats:latest/old/a", "cats:latest/old/b"]
        assert not fs.exists("cats:latest/gone")
        assert fs.isdir("cats:latest/new")
        assert fs.cat_file("cats:v0/gone/a") == b"c"

        other = ArtstoreFileSystem(store.path, skip_instance_cache=True)
        assert other.find("cats:latest") == ["cats:latest/gone/a", "cats:latest/old/a", "cats:latest/old/b"]
    assert holds(store) == {"old/a": b"A", "old/b": b"b", "new/x": b"x", "large": large}


def test_a_transaction_that_fails_leaves_nothing(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a": b"1"})
    with pytest.raises(RuntimeError), fs.transaction:  # noqa: PT012
        fs.pipe_file("cats:latest/b", b"2")
        fs.rm("cats:latest/a")
        fs.pipe_file("dogs:latest/b", os.urandom(2 * MIB))
        raise RuntimeError
    assert is_tidy(store)

    assert holds(store) == {"a": b"1"}
    assert not fs.exists("dogs:latest")
    fs.pipe_file("cats:latest/c", b"3")
    assert holds(store) == {"a": b"1", "c": b"3"}


@pytest.mark.parametrize("compression", [None, "gzip", "bz2", "xz"])
def test_a_file_that_nobody_closes_is_not_kept(store: Store, fs: ArtstoreFileSystem, compression: str | None) -> None:
    """The interpreter closes what it throws away, at a moment that nobody chose."""
    file = fs.open("cats:latest/a", "wt", compression=compression)
    file.write("half" * 10_000)
    with pytest.warns(RuntimeWarning, match="never closed"):
        del file

    assert not fs.exists("cats:latest")
    assert is_tidy(store)


def test_a_file_in_a_cycle_that_is_collected_is_not_kept(store: Store, fs: ArtstoreFileSystem) -> None:
    """Its buffers may be collected before it, in any order."""
    for opened in (_binary, _text, _compressed):
        file = opened(fs, "cats:latest/a")
        file.write(b"half" if opened is _binary else "half")
        holder: list[Any] = [file]
        holder.append(holder)
        del file, holder
        with pytest.warns(RuntimeWarning, match="never closed"):
            gc.collect()

    assert not fs.exists("cats:latest")
    assert is_tidy(store)


_ENDS = {
    "falls off its end": "",
    "exits": "sys.exit(0)",
    "fails": "raise RuntimeError",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "ends at once": "os._exit(0)",
}


@pytest.mark.parametrize("end", _ENDS)
@pytest.mark.parametrize("way", ["a file", "a gzip", "a transaction"])
def test_an_interpreter_that_ends_commits_no_half(store: Store, end: str, way: str) -> None:
    """Python closes at its end what nobody closed, and calls what was registered for it."""
    script = f"""
import os, signal, sys
from artstore.filesystem import ArtstoreFileSystem
fs = ArtstoreFileSystem(sys.argv[1])
fs.pipe_file("cats:latest/before", b"whole")
if "transaction" in sys.argv[2]:
    fs.start_transaction()
    fs.pipe_file("cats:latest/a", b"half")
file = fs.open("cats:latest/b", "wt", compression="gzip" if "gzip" in sys.argv[2] else None)
file.write("half" * 500_000)
{_ENDS[end]}
"""
    subprocess.run([sys.executable, "-c", script, str(store.path), way], check=False, capture_output=True, timeout=60)

    assert holds(store) == {"before": b"whole"}
    assert numbers(store) == [0]
    store.gc(grace_s=0)
    assert is_tidy(store)


def test_a_file_that_was_not_kept_is_spoken_of(store: Store) -> None:
    """Of a file on the disk everything would be there; who is not told finds out when it is too late."""
    script = """
import json, sys
from artstore.filesystem import ArtstoreFileSystem
json.dump({"a": 1}, ArtstoreFileSystem(sys.argv[1]).open("cats:latest/a.json", "w"))
"""
    words = [sys.executable, "-c", script, str(store.path)]
    said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stderr

    assert "'cats:latest/a.json' was never closed" in said
    assert "`with`" in said


def test_a_transaction_within_another_is_part_of_it(store: Store, fs: ArtstoreFileSystem) -> None:
    """A function that has one of its own must not commit half of its caller's."""
    with fs.transaction:
        fs.pipe_file("cats:latest/a", b"1")
        with fs.transaction:
            fs.pipe_file("cats:latest/b", b"2")
        assert numbers_or_none(store) == []
        fs.start_transaction()
        fs.pipe_file("cats:latest/c", b"3")
        fs.end_transaction()
        fs.pipe_file("cats:latest/d", b"4")

    assert holds(store) == {"a": b"1", "b": b"2", "c": b"3", "d": b"4"}
    assert numbers(store) == [0]
    fs.pipe_file("cats:latest/e", b"5")
    assert numbers(store) == [0, 1]


def test_where_a_transaction_within_another_fails_nothing_is_kept(store: Store, fs: ArtstoreFileSystem) -> None:
    with pytest.raises(Conflict, match="nothing of either was kept"), fs.transaction:  # noqa: PT012
        fs.pipe_file("cats:latest/a", b"1")
        with pytest.raises(Interrupted), fs.transaction:  # noqa: PT012
            fs.pipe_file("cats:latest/b", b"2")
            raise Interrupted
        fs.pipe_file("cats:latest/c", b"3")
    assert numbers_or_none(store) == []
    assert is_tidy(store)
    with pytest.raises(Interrupted), fs.transaction, fs.transaction:  # noqa: PT012
        fs.pipe_file("cats:latest/a", b"1")
        raise Interrupted

    fs.pipe_file("cats:latest/d", b"4")
    assert holds(store) == {"d": b"4"}


def test_a_transaction_of_another_thread_is_not_ended_by_this_one(store: Store, fs: ArtstoreFileSystem) -> None:
    refused: list[Conflict] = []

    def write() -> None:
        try:
            with fs.transaction:
                fs.pipe_file("cats:latest/theirs", b"2")
        except Conflict as error:
            refused.append(error)

    with fs.transaction:
        fs.pipe_file("cats:latest/a", b"1")
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert numbers_or_none(store) == []

    assert ["transaction-open"] == [error.code for error in refused]
    assert holds(store) == {"a": b"1"}


@pytest.mark.parametrize("size", [3, 2 * MIB])
def test_a_file_may_be_committed_later_than_it_is_closed(store: Store, fs: ArtstoreFileSystem, size: int) -> None:
    """`autocommit=False` is how fsspec says that somebody else decides."""
    for decide in ("commit", "discard"):
        with fs.open(f"cats:latest/{decide}", "wb", autocommit=False) as file:
            file.write(b"x" * size)
        assert not fs.exists(f"cats:latest/{decide}")
        getattr(file, decide)()
        file.commit()

    assert holds(store) == {"commit": b"x" * size}
    assert numbers(store) == [0]
    assert is_tidy(store)


class Interrupted(Exception):
    """What goes wrong while a file is being written."""


def _binary(fs: ArtstoreFileSystem, path: str) -> Any:
    return fs.open(path, "wb")


def _text(fs: ArtstoreFileSystem, path: str) -> Any:
    return fs.open(path, "wt")


def _compressed(fs: ArtstoreFileSystem, path: str) -> Any:
    return fs.open(path, "wt", compression="gzip")


def _by_url(fs: ArtstoreFileSystem, path: str) -> Any:
    return fsspec.open(f"artstore://{path}", "wt", store=fs._store.path)


@pytest.mark.parametrize("opened", [_binary, _text, _compressed, _by_url])
@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_a_file_whose_writer_fails_leaves_nothing(
    store: Store, fs: ArtstoreFileSystem, opened: Callable[..., Any], size: int
) -> None:
    """`close` is called then, too; half a checkpoint would be the latest version."""
    with pytest.raises(Interrupted), opened(fs, "cats:latest/a") as file:  # noqa: PT012
        file.write(b"x" * size if opened is _binary else "x" * size)
        raise Interrupted

    assert not fs.exists("cats:latest")
    assert is_tidy(store)


def test_a_file_written_while_another_error_is_dealt_with_is_kept(store: Store, fs: ArtstoreFileSystem) -> None:
    try:
        raise Interrupted  # noqa: TRY301
    except Interrupted:
        with fs.open("cats:latest/report", "w") as file:
            file.write("it failed")

    assert holds(store) == {"report": b"it failed"}


def test_an_alias_goes_with_what_is_written_to_it(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    """What was written to a path can be read there, and what stood on `best` is what it was made from."""
    put({"a": b"1"})
    store.alias("cats", ["best"])
    put({"a": b"2", "b": b"2"})
    fs.pipe_file("cats:best/c", b"3")

    assert holds(store, "cats:best") == {"a": b"1", "c": b"3"}
    assert store.version("cats:best").number == store.version("cats:latest").number == 2
    assert fs.cat_file("cats:best/c") == b"3"
    fs.pipe_file("cats:fresh/only", b"4")
    assert holds(store, "cats:fresh") == {"only": b"4"}


def test_what_never_changes_cannot_be_written(fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a": b"1"})

    for path in ("cats:v0/a", "cats:v7/a", "uncategorized", "uncategorized/cats", "cats/a"):
        with pytest.raises(PermissionError):
            fs.open(path, "wb")
    with pytest.raises(PermissionError):
        fs.rm("cats:v0/a")
    with pytest.raises(PermissionError):
        fs.mv("cats:v0/a", "cats:v0/b")
    with pytest.raises(PermissionError):
        fs.rm("uncategorized")
    assert fs.find("cats:latest") == ["cats:latest/a"]


@pytest.mark.parametrize("mode", ["r+b", "w+b", "rw"])
def test_a_mode_that_is_not_possible_is_refused(fs: ArtstoreFileSystem, put: Put, mode: str) -> None:
    put({"a": b"1"})

    with pytest.raises(ValueError, match="mode"):
        fs.open("cats:latest/a", mode)


def test_a_path_that_cannot_be_leaves_nothing(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a": b"1", "d/e": b"2"})

    with pytest.raises(Invalid):
        fs.open("cats:latest/../x", "wb")
    with pytest.raises(IsADirectoryError):
        fs.open("cats:latest/d", "wb")
    with pytest.raises(PathCollision):
        fs.pipe_file("cats:latest/a/b", b"3")
    assert numbers(store) == [0]
    assert is_tidy(store)


def test_large_files_are_written_wherever_the_writer_goes(store: Store, fs: ArtstoreFileSystem) -> None:
    """zip archives are written backwards in part."""
    data = bytearray(os.urandom(3 * MIB))
    with fs.open("cats:latest/large", "wb") as file:
        file.write(data)
        assert file.tell() == len(data)
        file.seek(5)
        file.write(b"head")
        file.seek(-4, os.SEEK_END)
        file.write(b"tail!")
    data[5:9] = b"head"
    data[-4:] = b"tail!"

    assert holds(store) == {"large": bytes(data)}
    with fs.open("cats:latest/large", "wb") as file:
        file.write(data)
        file.truncate(3)
    assert holds(store) == {"large": bytes(data[:3])}
    assert is_tidy(store)


@pytest.mark.parametrize("size", [3, 2 * MIB])
def test_appending_goes_on_where_the_file_ended(store: Store, fs: ArtstoreFileSystem, size: int) -> None:
    for _ in range(2):
        with fs.open("cats:latest/log", "ab") as file:
            file.write(b"x" * size)

    assert holds(store) == {"log": b"x" * 2 * size}


@pytest.mark.parametrize("name", ["a.gz", "a.bz2", "a.xz", "a.txt"])
def test_compressed_files_are_whole(fs: ArtstoreFileSystem, name: str) -> None:
    with fs.open(f"cats:latest/{name}", "wt", compression="infer") as file:
        file.write("hello")

    with fs.open(f"cats:latest/{name}", "rt", compression="infer") as file:
        assert file.read() == "hello"
    assert (fs.cat_file(f"cats:latest/{name}") == b"hello") == (name == "a.txt")


def test_calls_for_many_files_make_one_version(store: Store, fs: ArtstoreFileSystem, tmp_path: Path) -> None:
    for path in ("x/1", "x/2", "x/y/3"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    fs.put(str(tmp_path / "x"), "cats:latest/", recursive=True)
    assert set(holds(store)) == {"x/1", "x/2", "x/y/3"}
    fs.copy("cats:latest/x", "cats:latest/z", recursive=True)
    assert set(holds(store)) == {"x/1", "x/2", "x/y/3", "z/1", "z/2", "z/y/3"}
    fs.mv("cats:latest/x", "cats:latest/w", recursive=True)
    assert set(holds(store)) == {"w/1", "w/2", "w/y/3", "z/1", "z/2", "z/y/3"}
    fs.rm("cats:latest/z", recursive=True)
    assert set(holds(store)) == {"w/1", "w/2", "w/y/3"}
    fs.pipe({"cats:latest/p": b"p", "cats:latest/q": b"q"})
    assert set(holds(store)) == {"w/1", "w/2", "w/y/3", "p", "q"}
    fs.copy("cats:v0/x/1", "dogs:latest/one")
    assert holds(store, "dogs") == {"one": b"x/1"}

    assert numbers(store) == [0, 1, 2, 3, 4]
    with pytest.raises(IsADirectoryError):
        fs.rm("cats:latest/w")
    with pytest.raises(FileNotFoundError):
        fs.rm("cats:latest/none")
    assert numbers(store) == [0, 1, 2, 3, 4]


def test_what_was_written_in_a_transaction_can_be_copied_in_it(store: Store, fs: ArtstoreFileSystem) -> None:
    with fs.transaction:
        fs.pipe_file("cats:latest/a", b"1")
        fs.copy("cats:latest/a", "dogs:latest/a")
        fs.mv("cats:latest/a", "cats:latest/b")

    assert holds(store) == {"b": b"1"}
    assert holds(store, "dogs") == {"a": b"1"}


def test_a_version_can_be_begun_anew(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a": b"1"})
    with fs.transaction:
        fs.rm("cats:latest", recursive=True)
        fs.pipe_file("cats:latest/b", b"2")

    assert holds(store) == {"b": b"2"}


def test_writers_beside_each_other_lose_nothing(store: Store, fs: ArtstoreFileSystem) -> None:
    """Each makes its version of the one before: that of the other, if that one was faster."""
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            mine = fs if number % 2 else ArtstoreFileSystem(store.path)
            for each in range(5):
                mine.pipe_file(f"cats:latest/{number}/{each}", bytes([number, each]))
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert holds(store) == {f"{number}/{each}": bytes([number, each]) for number in range(4) for each in range(5)}


def test_threads_write_into_one_transaction(store: Store, fs: ArtstoreFileSystem) -> None:
    """pyarrow and dask write each file in a thread of its own."""
    with fs.transaction:
        threads = [
            threading.Thread(target=fs.pipe_file, args=(f"cats:latest/{number}", bytes([number]) * (number * 99_999)))
            for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert holds(store) == {str(number): bytes([number]) * (number * 99_999) for number in range(16)}
    assert numbers(store) == [0]


def test_a_call_that_fails_takes_nothing_of_another_thread_along(store: Store, fs: ArtstoreFileSystem) -> None:
    """What another thread closed is acknowledged, whatever becomes of this one's `put`."""
    inside, closed = threading.Event(), threading.Event()

    class Halting(dict[str, bytes]):
        def items(self) -> Any:
            yield "cats:latest/mine", b"1"
            inside.set()
            closed.wait(30)
            raise Interrupted

    def write() -> None:
        inside.wait(30)
        fs.pipe_file("cats:latest/theirs", b"2")
        closed.set()

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.raises(Interrupted):
        fs.pipe(Halting())
    thread.join()

    assert holds(store) == {"theirs": b"2"}


def test_a_new_file_is_new_at_the_commit_too(store: Store, fs: ArtstoreFileSystem) -> None:
    """Who claims a name with "x" must be the only one who got it."""
    with pytest.raises(FileExistsError), fs.open("cats:latest/claim", "xb") as mine:  # noqa: PT012
        mine.write(b"mine")
        ArtstoreFileSystem(store.path).pipe_file("cats:latest/claim", b"theirs")

    assert holds(store) == {"claim": b"theirs"}
    assert numbers(store) == [0]


def test_folders_are_what_paths_imply(store: Store, fs: ArtstoreFileSystem, put: Put) -> None:
    put({"a/b": b"1"})
    fs.mkdir("cats:latest/new")
    fs.makedirs("cats:latest/a", exist_ok=True)
    fs.rmdir("cats:latest/new")

    assert not fs.exists("cats:latest/new")
    assert numbers(store) == [0]
    with pytest.raises(FileExistsError):
        fs.makedirs("cats:latest/a")
    with pytest.raises(FileExistsError):
        fs.mkdir("cats:latest/a/b")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("cats:latest/a")


def test_the_type_is_that_of_the_collection_or_the_option(store: Store, put: Put) -> None:
    put({"a": b"1"})
    models = ArtstoreFileSystem(store.path, type="model")
    models.pipe_file("net:latest/w", b"2")
    models.pipe_file("cats:latest/b", b"3")

    assert (store.version("net").type, store.version("cats").type) == ("model", "dataset")


def test_a_full_or_read_only_store_says_so(
    store: Store, fs: ArtstoreFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fs._store._root.catalog, "read_only", True)

    with pytest.raises(PermissionError):
        fs.open("cats:latest/a", "wb")
    assert is_tidy(store)


def test_a_change_of_what_does_not_stand_still_gives_up(
    store: Store, fs: ArtstoreFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that could never finish would hang for ever without a word."""
    monkeypatch.setattr("artstore.lifecycle.change._TRIES", 3)
    with store.change("cats:latest", type="dataset") as change:
        change.write("a", b"1")
        begin_again = change._draft.begin_again

        def overtaken(entries: Any) -> None:
            begin_again(entries)
            fs.pipe_file("cats:latest/b", os.urandom(5))

        monkeypatch.setattr(change._draft, "begin_again", overtaken)
        with pytest.raises(Conflict, match="did not stand still"):
            change.commit()
    assert set(holds(store)) == {"b"}
