"""Hints: whatever happens to a tree, the next change in any folder of it is told."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.lifecycle import events
from artstore.lifecycle.events import Listener
from artstore.lifecycle.inotify import Tree

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class Heard:
    """Whether there was a hint since the last time that was asked."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        self._event.set()

    def within(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def forget(self) -> None:
        """Wait until nothing more comes, and forget it all."""
        while True:
            self._event.clear()
            if not self._event.wait(0.2):
                return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    place.mkdir()
    return place


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def listener(folder: Path, heard: Heard) -> Iterator[Listener]:
    with contextlib.closing(Listener(folder, folder / ".artstore", heard)) as opened:
        yield opened


def check_that_all_are_heard(folder: Path, heard: Heard) -> None:
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        heard.forget()
        (place / "probe").write_bytes(b"p")
        assert heard.within(5), f"nothing was told of {place}"


@pytest.mark.parametrize("has_inotify", [pytest.param(True, marks=LINUX), False])
def test_what_changes_anywhere_is_told_and_what_is_read_is_not(
    folder: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch, has_inotify: bool
) -> None:
    monkeypatch.setattr(events, "_HAS_INOTIFY", has_inotify)
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_bytes(b"1")
    (folder / ".artstore" / "ops").mkdir(parents=True)
    with contextlib.closing(Listener(folder, folder / ".artstore", heard)) as listener:
        assert listener.refusal is None
        heard.forget()
        (folder / "a" / "b" / "file").read_bytes()
        list(folder.rglob("*"))
        (folder / ".artstore" / "ops" / "1").write_bytes(b"1")
        assert not heard.within(0.5)
        for change in (
            lambda: (folder / "a" / "b" / "file").write_bytes(b"2"),
            lambda: (folder / "a" / "b" / "file").rename(folder / "file"),
            lambda: (folder / "a" / "new" / "newer").mkdir(parents=True),
            lambda: (folder / "a" / "new" / "newer" / "file").write_bytes(b"3"),
            lambda: (folder / "a").rename(folder / "z"),
            (folder / "z" / "new" / "newer" / "file").unlink,
        ):
            change()
            assert heard.within(5)
            heard.forget()


@LINUX
@pytest.mark.parametrize("seed", range(4))
def test_no_storm_of_moves_makes_it_deaf(
    folder: Path, heard: Heard, listener: Listener, tmp_path: Path, seed: int
) -> None:
    """A folder may be moved, removed and made again before the first of it is heard."""
    chance = random.Random(seed)
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(4000):
        here = chance.choice([folder, *(folder / str(name) for name in range(6))])
        name = folder / str(chance.randrange(6))
        with contextlib.suppress(OSError):
            match chance.randrange(8):
                case 0:
                    (here / str(chance.randrange(6))).mkdir()
                case 1 if here != folder:
                    here.rename(name)
                case 2 if here != folder:
                    here.rename(outside / str(number))
                case 3:
                    chance.choice(list(outside.iterdir()) or [name]).rename(name)
                case 4 if here != folder:
                    shutil.rmtree(here)
                case 5:
                    (here / "x").write_bytes(b"x")
                case 6:
                    (here / "x").rename(folder / "z")
                case _:
                    (here / "a" / "b" / "c").mkdir(parents=True)

    check_that_all_are_heard(folder, heard)
    assert listener.refusal is None


@LINUX
def test_an_overflow_of_the_queue_makes_it_deaf_to_no_new_folder(
    folder: Path, heard: Heard, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps so many events and drops the others, with them those of folders that are new."""
    overflows: list[bool] = []
    follow = Tree.on_queue_overflow

    def note(self: Tree) -> None:
        overflows.append(True)
        follow(self)

    monkeypatch.setattr(Tree, "on_queue_overflow", note)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    tree = listener._source
    assert isinstance(tree, Tree)
    with tree._lock:
        # Who reads the events waits for the lock at the first new folder.
        (folder / "first").mkdir()
        for number in range(most):
            (folder / f"{number % 2}").write_bytes(b"x")
        (folder / "late" / "later").mkdir(parents=True)

    check_that_all_are_heard(folder, heard)
    assert overflows


def test_a_folder_that_is_gone_is_told(folder: Path, heard: Heard, listener: Listener) -> None:
    heard.forget()
    folder.rename(folder.with_name("elsewhere"))

    assert heard.within(5)
    assert listener.refusal is None
