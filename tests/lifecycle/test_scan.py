"""Scan: every file that can be kept, and the name of all that cannot."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from artstore.lifecycle.scan import Scan
from artstore.store import Store

Tree = Callable[[Mapping[str, bytes]], Path]


def scan(store: Store, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The paths that were found, and the problems by the name of the file."""
    walk = Scan(folder, store=store.path)
    found = [each.path for each in walk.files()]
    return found, {Path(problem.path).name: problem.reason for problem in walk.problems}


def test_every_file_is_found_once(store: Store, tree: Tree) -> None:
    folder = tree({"b/c": b"", "a": b"", "b/a/z": b"", "-rf": b"", ".hidden/.x": b"", "*": b"", "é": b""})
    found, problems = scan(store, folder)

    assert sorted(found) == sorted(["b/c", "a", "b/a/z", "-rf", ".hidden/.x", "*", "é"])
    assert problems == {}


def test_the_order_is_the_same_every_time(store: Store, tree: Tree) -> None:
    """Packs are laid out in it, and a listing in the order of the disk would read them all over."""
    folder = tree({f"{name}/{number}": b"" for name in "cab" for number in range(9)})

    assert scan(store, folder)[0] == sorted(scan(store, folder)[0])


def test_what_is_no_file_is_named_and_never_waited_for(store: Store, tree: Tree) -> None:
    """F6. Opening a pipe that nobody writes to would hang a put for ever."""
    folder = tree({"file": b"x"})
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / ".artstoreignore")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        found, problems = scan(store, folder)

    # What a folder's patterns would have left out is not known, so nothing of it is taken.
    assert found == []
    assert problems == {".artstoreignore": "it is a named pipe (FIFO), not a file"}
    (folder / ".artstoreignore").unlink()
    found, problems = scan(store, folder)
    assert found == ["file"]
    assert problems == {"pipe": "it is a named pipe (FIFO), not a file", "socket": "it is a socket, not a file"}


def test_devices_are_named(store: Store, tree: Tree) -> None:
    """A copy of /dev/zero has no end."""
    folder = tree({"file": b"x"})
    (folder / "zero").symlink_to("/dev/zero")

    assert (["file"], {"zero": "it is a character device, not a file"}) == scan(store, folder)


def test_links_are_followed(store: Store, tree: Tree, tmp_path: Path) -> None:
    """As `cp -rL`: a version has to be whole without what lay around it."""
    folder = tree({"real/file": b"x"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "far").write_bytes(b"")
    (folder / "to-file").symlink_to("real/file")
    (folder / "to-folder").symlink_to("real")
    (folder / "out").symlink_to(tmp_path / "outside")
    found, problems = scan(store, folder)

    assert sorted(found) == ["out/far", "real/file", "to-file", "to-folder/file"]
    assert problems == {}


def test_a_loop_of_links_ends(store: Store, tree: Tree) -> None:
    """F7. Followed, it would be a tree without an end."""
    folder = tree({"a/b/file": b"x"})
    (folder / "a" / "b" / "up").symlink_to("..")
    (folder / "top").symlink_to(".")
    (folder / "self").symlink_to("self")
    found, problems = scan(store, folder)

    assert found == ["a/b/file"]
    assert problems["up"] == problems["top"] == "a link that leads back to a folder above it"
    assert set(problems) == {"up", "top", "self"}


def test_a_link_to_nothing_is_named(store: Store, tree: Tree) -> None:
    folder = tree({"file": b"x"})
    (folder / "dangling").symlink_to("missing")

    assert (["file"], {"dangling": "a link to nothing"}) == scan(store, folder)


def test_names_that_are_not_utf8_are_named_readably(store: Store, tree: Tree) -> None:
    """N11. Everything else in the folder is still found, and the message can be printed."""
    folder = tree({"file": b"x"})
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    (folder / os.fsdecode(b"dir\xff")).mkdir()
    (folder / os.fsdecode(b"dir\xff") / "below").write_bytes(b"")
    walk = Scan(folder, store=store.path)
    found = [each.path for each in walk.files()]
    reasons = sorted(problem.reason for problem in walk.problems)

    assert found == ["file"]
    assert ["caf\\xe9" in reasons[0], "dir\\xff" in reasons[1]] == [True, True]
    assert all(reason.isprintable() and "not valid UTF-8" in reason for reason in reasons)


@pytest.mark.parametrize("name", ["a\nb", "a\u202eb", "a\tb"])
def test_names_that_mislead_are_named(store: Store, tree: Tree, name: str) -> None:
    folder = tree({"file": b"x"})
    (folder / name).write_bytes(b"")
    found, problems = scan(store, folder)

    assert found == ["file"]
    assert [reason.isprintable() for reason in problems.values()] == [True]


def test_a_store_is_no_part_of_what_is_put(store: Store, tree: Tree) -> None:
    """A store inside the folder that it keeps would put itself into itself, twice as large each time."""
    folder = tree({"file": b"x"})
    Store.init(folder / ".artstore").close()
    Store.init(folder / "sub" / ".artstore").close()
    store.path.rename(folder / "store")
    walk = Scan(folder, store=folder / "store")

    assert (["file"], []) == ([each.path for each in walk.files()], walk.problems)
    assert [str(folder / ".artstore"), str(folder / "sub" / ".artstore")] == [each.path for each in walk.stores]


def test_the_store_in_use_is_left_out_without_a_word(store: Store, tree: Tree) -> None:
    """It lies beside the data nearly always, and has what is put."""
    folder = tree({"file": b"x"})
    store.path.rename(folder / ".artstore")
    walk = Scan(folder, store=folder / ".artstore")

    assert (["file"], [], []) == ([each.path for each in walk.files()], walk.problems, walk.stores)


def test_a_file_that_has_the_store_s_name_is_not_lost_in_silence(store: Store, tree: Tree) -> None:
    """I16. It cannot be kept, since a checkout could not write it; whoever has one must hear of it."""
    folder = tree({"file": b"x", "sub/.artstore": b"mine"})
    found, problems = scan(store, folder)

    assert (found, list(problems)) == (["file"], [".artstore"])


def test_empty_folders_are_counted(store: Store, tree: Tree) -> None:
    folder = tree({"a/file": b""})
    for name in ("empty", "nested/empty", "a/empty"):
        (folder / name).mkdir(parents=True)
    walk = Scan(folder, store=store.path)
    list(walk.files())

    assert walk.empty_directories == 3


def test_a_folder_that_is_gone_is_a_problem(store: Store, tmp_path: Path) -> None:
    found, problems = scan(store, tmp_path / "gone")

    assert (found, list(problems)) == ([], ["gone"])


def test_a_deep_tree_is_walked_to_the_last_level_that_can_be_kept(store: Store, tmp_path: Path) -> None:
    """N10. No RecursionError, and no file left out unseen."""
    folder = tmp_path / "deep"
    deep = folder
    for _ in range(300):
        deep = deep / "d"
    os.makedirs(deep)
    (folder / "d" / "file").write_bytes(b"")
    (deep / "file").write_bytes(b"")
    walk = Scan(folder, store=store.path)
    found = [each.path for each in walk.files()]

    assert found == ["d/file"]
    assert ["256 are possible" in problem.reason for problem in walk.problems] == [True]


IGNORING = {
    ".artstoreignore": b"*.log\n/top.txt\nbuild/\n# a comment\n\n!keep.log\nsub/deep.bin\n",
    "a.log": b"",
    "keep.log": b"",
    "top.txt": b"",
    "build/out": b"",
    "sub/a.log": b"",
    "sub/top.txt": b"",
    "sub/deep.bin": b"",
    "sub/x/deep.bin": b"",
    "sub/build": b"",
}


def test_ignored_files_are_left_out(store: Store, tree: Tree) -> None:
    """The syntax is gitignore's: a leading slash means here, a last one folders alone, `!` takes back."""
    found, problems = scan(store, tree(IGNORING))

    assert sorted(found) == [".artstoreignore", "keep.log", "sub/build", "sub/top.txt", "sub/x/deep.bin"]
    assert problems == {}


def test_a_nearer_ignore_file_has_the_last_word(store: Store, tree: Tree) -> None:
    """In its own folder and below, and nowhere else."""
    files = {
        ".artstoreignore": b"*.log\n",
        "sub/.artstoreignore": b"!*.log\n/here\n",
        "sub/a.log": b"",
        "sub/x/b.log": b"",
        "sub/here": b"",
        "sub/x/here": b"",
        "other/c.log": b"",
    }

    assert sorted(scan(store, tree(files))[0]) == [
        ".artstoreignore",
        "sub/.artstoreignore",
        "sub/a.log",
        "sub/x/b.log",
        "sub/x/here",
    ]


def test_a_file_in_an_ignored_folder_cannot_be_taken_back(store: Store, tree: Tree) -> None:
    """As in git; and a folder of a million files that nobody wants is not even listed."""
    files = {".artstoreignore": b"build/\n!build/keep\n", "build/keep": b"", "build/x": b""}

    assert scan(store, tree(files))[0] == [".artstoreignore"]


def test_what_is_ignored_is_no_problem(store: Store, tree: Tree) -> None:
    """An ignored pipe, socket or dangling link is what its owner wants to leave out."""
    folder = tree({".artstoreignore": b"*.pipe\n", "file": b""})
    os.mkfifo(folder / "a.pipe")
    (folder / "b.pipe").symlink_to("missing")
    (folder / "c.pipe").symlink_to("c.pipe")

    assert ([".artstoreignore", "file"], {}) == scan(store, folder)


def test_what_no_version_can_hold_can_be_ignored(store: Store, tree: Tree) -> None:
    """The error about it says so: a name that is not UTF-8, or has a line in it, or is a store's."""
    folder = tree({".artstoreignore": b"*.txt\n\xfe*\n.artstore\n", "file": b"", "a\nb.txt": b""})
    (folder / os.fsdecode(b"\xff.txt")).write_bytes(b"")
    (folder / os.fsdecode(b"\xfe")).write_bytes(b"")
    Store.init(folder / ".artstore").close()
    walk = Scan(folder, store=store.path)

    assert [".artstoreignore", "file"] == [each.path for each in walk.files()]
    assert ([], []) == (walk.problems, walk.stores)


def test_a_line_that_is_no_pattern_is_named(store: Store, tree: Tree) -> None:
    """What it would have left out is not known; no right and no other time would help."""
    folder = tree({".artstoreignore": b"*.log\n\n[z-a]\n", "secret": b""})
    walk = Scan(folder, store=store.path)

    assert [] == list(walk.files())
    assert [(str(folder / ".artstoreignore"), True)] == [(each.path, each.unkeepable) for each in walk.problems]
    assert walk.problems[0].reason.startswith("line 3: '[z-a]' is not a pattern: ")


@pytest.mark.parametrize("kind", ["folder", "bad pattern", "dangling"])
def test_an_ignore_file_that_cannot_be_read_is_named(store: Store, tree: Tree, kind: str) -> None:
    """Passed over, the secrets that it names would be stored; raised raw, no other problem would be named."""
    folder = tree({"sub/secret": b"", "file": b""})
    if kind == "folder":
        (folder / "sub" / ".artstoreignore").mkdir()
    elif kind == "dangling":
        (folder / "sub" / ".artstoreignore").symlink_to("missing")
    else:
        (folder / "sub" / ".artstoreignore").write_bytes(b"secret\n!\n")
    found, problems = scan(store, folder)

    assert (found, list(problems)) == (["file"], [".artstoreignore"])


@pytest.mark.parametrize("pattern", ["*.txt", "bad/"])
def test_what_cannot_be_kept_can_be_left_out(store: Store, tree: Tree, pattern: str) -> None:
    """The error for a name that is not UTF-8 says so."""
    folder = tree({"good": b"x"})
    (folder / "bad").mkdir()
    with open(os.fsencode(folder / "bad") + b"/\xff\xfe.txt", "wb"):
        pass
    assert scan(store, folder)[1]
    (folder / ".artstoreignore").write_text(pattern)

    assert scan(store, folder) == ([".artstoreignore", "good"], {})
