"""A watched folder: real files, real events; nothing half, nothing lost, and nothing deleted that only went away."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import Invalid, Refused, StorageFull
from artstore.lifecycle import events, inotify, watch
from artstore.lifecycle.commit_draft import commit_draft
from artstore.lifecycle.reports import WatchReport
from artstore.lifecycle.watch import Watch
from artstore.store import Store

Begin = Callable[..., Watch]

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who has a file open for writing")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that is watched."""
    place = tmp_path / "folder"
    place.mkdir()
    return place


@pytest.fixture
def told() -> list[WatchReport]:
    """What the watches told."""
    return []


@pytest.fixture
def begin(store: Store, folder: Path, told: list[WatchReport]) -> Iterator[Begin]:
    """Watch the folder in a thread, with short waits if no others are given; ended with the test."""
    with contextlib.ExitStack() as ending:

        def make(**options: Any) -> Watch:
            options = {"quiet_s": 0.15, "longest_s": 1.5, "tell": told.append, **options}
            watching = store.watch(options.pop("folder", folder), name=options.pop("name", "cats"), type="d", **options)
            watching.start()

            def end() -> None:
                watching.stop()
                with contextlib.suppress(Refused):
                    watching.join()

            ending.callback(end)
            return watching

        yield make


def holds(store: Store, name: str = "cats") -> dict[str, bytes]:
    """The files of the latest version."""
    if not any(each.name == name for each in store.collections()):
        return {}
    ref = store.version(name).ref
    return {entry.path: b"".join(store.read(ref, entry.path)) for entry in store.entries(ref)}


def has(store: Store, path: str, data: bytes, name: str = "cats") -> bool:
    """Whether the latest version has a file with these bytes."""
    return holds(store, name).get(path) == data


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def numbers(store: Store, name: str = "cats") -> list[int]:
    return [version.number for version in reversed(store.versions(name))]


def until(claim: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def save(path: Path, data: bytes) -> None:
    """As careful editors do: another file, renamed over the old one."""
    temporary = path.with_name(f".{path.name}.swp")
    temporary.write_bytes(data)
    temporary.replace(path)


def test_what_is_there_is_committed_then_what_changes(store: Store, folder: Path, begin: Begin) -> None:
    (folder / "a").write_bytes(b"1")
    begin()
    until(lambda: holds(store) == {"a": b"1"})
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "b").write_bytes(b"2")
    until(lambda: holds(store) == {"a": b"1", "sub/deep/b": b"2"})
    save(folder / "a", b"3")
    (folder / "sub").rename(folder / "moved")
    until(lambda: holds(store) == {"a": b"3", "moved/deep/b": b"2"})
    (folder / "moved" / "deep" / "b").unlink()

    until(lambda: holds(store) == {"a": b"3"})


def test_a_folder_that_is_as_it_was_makes_no_version(store: Store, folder: Path, begin: Begin) -> None:
    (folder / "a").write_bytes(b"1")
    for _ in range(2):
        watching = begin()
        until(lambda: holds(store) == {"a": b"1"})
        os.utime(folder / "a")
        (folder / "b").write_bytes(b"")
        (folder / "b").unlink()
        time.sleep(0.6)
        watching.stop()
        watching.join()

    assert numbers(store) == [0]


def test_a_thousand_rapid_saves_make_few_versions_and_lose_no_final_state(
    store: Store, folder: Path, begin: Begin
) -> None:
    begin(quiet_s=0.3, longest_s=2)
    for number in range(1000):
        save(folder / f"{number % 10}.txt", b"%d" % number)
        (folder / "log").write_bytes(b"line\n" * number)
    until(lambda: holds(store) == on_disk(folder))

    assert holds(store)["9.txt"] == b"999"
    assert len(numbers(store)) <= 8


def test_what_never_rests_is_committed_all_the_same(store: Store, folder: Path, begin: Begin) -> None:
    begin(quiet_s=0.5, longest_s=1)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.05):
            number += 1
            save(folder / "a", b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: len(holds(store)) > 0 and len(numbers(store)) >= 2)
    finally:
        stop.set()
        writer.join()
    until(lambda: holds(store) == on_disk(folder))


@LINUX
def test_a_checkpoint_is_taken_when_its_writer_has_closed_it(
    store: Store, folder: Path, begin: Begin, told: list[WatchReport]
) -> None:
    """A writer that pauses longer than the quiet time must not have half of its file committed."""
    (folder / "model.ckpt").write_bytes(b"old")
    begin(only=["*.ckpt"], keep_last=2)
    until(lambda: holds(store) == {"model.ckpt": b"old"})
    with (folder / "model.ckpt").open("wb") as file, (folder / "new.ckpt").open("wb") as new:
        for part in (b"he", b"ad", b"er"):
            file.write(part)
            new.write(part)
            file.flush()
            new.flush()
            (folder / "notes.txt").write_bytes(part)
            time.sleep(0.5)
            assert holds(store) == {"model.ckpt": b"old"}
    until(lambda: holds(store) == {"model.ckpt": b"header", "new.ckpt": b"header"})
    for number in range(3):
        (folder / "model.ckpt").write_bytes(b"%d" % number)
        until(partial(has, store, "model.ckpt", b"%d" % number))

    until(lambda: len(numbers(store)) == 2)
    until(lambda: sum(report.pruned for report in told) == numbers(store)[0])


@LINUX
def test_other_files_do_not_wait_for_one_that_stays_open(store: Store, folder: Path, begin: Begin) -> None:
    """A log that a run writes for days must not keep its results from being kept."""
    with (folder / "log").open("wb") as log:
        begin()
        log.write(b"line\n")
        log.flush()
        (folder / "result").write_bytes(b"1")
        until(lambda: holds(store) == {"result": b"1"})
        (folder / "result").write_bytes(b"2")
        until(lambda: holds(store) == {"result": b"2"})

    until(lambda: holds(store) == {"result": b"2", "log": b"line\n"})


def test_where_nobody_says_who_writes_a_young_file_waits(
    store: Store, folder: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_has_writer", lambda _fd: None)
    (folder / "rested").write_bytes(b"1")
    os.utime(folder / "rested", (1, 1))
    begin(quiet_s=1, longest_s=1.5)
    (folder / "young").write_bytes(b"2")
    until(lambda: holds(store) == {"rested": b"1"})

    until(lambda: holds(store) == {"rested": b"1", "young": b"2"})


@pytest.mark.parametrize("how", ["emptied", "gone", "replaced"])
def test_a_folder_that_went_away_is_not_everything_deleted(
    store: Store, folder: Path, begin: Begin, told: list[WatchReport], how: str
) -> None:
    """A disk that is not mounted looks like an empty folder."""
    (folder / "a").write_bytes(b"1")
    watching = begin()
    until(lambda: holds(store) == {"a": b"1"})
    if how == "emptied":
        (folder / "a").unlink()
    else:
        folder.rename(folder.with_name("elsewhere"))
        if how == "replaced":
            folder.mkdir()
            (folder / "b").write_bytes(b"2")

    watching.hint()
    with pytest.raises(Refused) as raised:
        watching.join()
    assert raised.value.code == f"folder-{how}"
    assert holds(store) == {"a": b"1"}
    assert told[-1].notice is not None


def test_a_folder_that_is_empty_from_the_start_stops_what_had_files(store: Store, folder: Path, begin: Begin) -> None:
    """The watch is started at boot, and the disk is not."""
    (folder / "a").write_bytes(b"1")
    store.put([folder], name="cats", type="d")
    (folder / "a").unlink()

    with pytest.raises(Refused, match="no file left"):
        begin().join()
    assert holds(store) == {"a": b"1"}


def test_an_empty_folder_waits_for_its_first_file(store: Store, folder: Path, begin: Begin) -> None:
    begin()
    time.sleep(0.4)
    assert holds(store) == {}
    (folder / "a").write_bytes(b"1")

    until(lambda: holds(store) == {"a": b"1"})


def test_what_cannot_be_read_stays_as_it_was(store: Store, folder: Path, told: list[WatchReport], begin: Begin) -> None:
    """A file that is unreadable for a moment is not one that was deleted."""
    (folder / "a").write_bytes(b"1")
    (folder / "b").write_bytes(b"2")
    begin()
    until(lambda: holds(store) == {"a": b"1", "b": b"2"})
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    (folder / "b").write_bytes(b"3")

    until(lambda: holds(store) == {"a": b"1", "b": b"3"})
    until(lambda: any("pipe" in each.reason for report in told for each in report.kept_back))


def test_ignored_files_and_the_store_itself_make_no_version(folder: Path, told: list[WatchReport]) -> None:
    """A store inside the folder that it keeps would commit its own commits for ever."""
    inner = Store.init(folder / ".artstore")
    (folder / "a").write_bytes(b"1")
    with inner.watch(folder, name="cats", type="d", quiet_s=0.1, longest_s=1, ignore=["*.tmp"], tell=told.append):
        until(lambda: holds(inner) == {"a": b"1"})
        (folder / "x.tmp").write_bytes(b"no")
        time.sleep(1)
        assert numbers(inner) == [0]
        assert len(told) == 1
        (folder / "a").write_bytes(b"2")
        until(lambda: holds(inner) == {"a": b"2"})
        time.sleep(0.5)
        assert numbers(inner) == [0, 1]
    inner.close()


def test_without_events_the_folder_is_looked_at(
    store: Store, folder: Path, begin: Begin, told: list[WatchReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS does not tell what other machines change."""
    monkeypatch.setattr(events, "is_network", lambda _path: True)
    begin()
    for number in range(3):
        (folder / "a").write_bytes(b"%d" % number)
        until(partial(has, store, "a", b"%d" % number))

    assert "network file system" in str(told[0].notice)


def test_behind_a_link_the_folder_is_looked_at(store: Store, folder: Path, begin: Begin) -> None:
    """The system tells nothing of what a link leads to."""
    other = folder.with_name("other")
    other.mkdir()
    (other / "a").write_bytes(b"1")
    (folder / "link").symlink_to(other)
    begin()
    until(lambda: holds(store) == {"link/a": b"1"})
    (other / "a").write_bytes(b"2")

    until(lambda: holds(store) == {"link/a": b"2"})


@LINUX
def test_an_event_that_was_missed_is_made_up_for(
    store: Store, folder: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_HEARTBEAT_S", 0.5)
    monkeypatch.setattr(watch, "_SHARE", 1)
    monkeypatch.setattr(inotify.Tree, "on_event", lambda _self, _event: None)
    begin()
    (folder / "a").write_bytes(b"1")

    until(lambda: holds(store) == {"a": b"1"})


@pytest.mark.slow
@LINUX
def test_a_storm_that_overflows_the_queue_loses_no_final_state(store: Store, folder: Path, begin: Begin) -> None:
    """F15. The kernel keeps 16,384 events; what does not fit is dropped without a trace."""
    watching = begin(quiet_s=0.5, longest_s=30)
    until(lambda: watching._done is not None)
    script = """
import os, sys
os.chdir(sys.argv[1])
for folder in range(40):
    os.mkdir(str(folder))
    for number in range(60):
        for turn in range(8):
            with open(f"{folder}/{number}", "w") as file:
                file.write(str(turn))
"""
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    until(lambda: holds(store) == on_disk(folder), 90)
    save(folder / "39" / "59", b"after")

    until(lambda: holds(store)["39/59"] == b"after", 90)


@LINUX
def test_folders_that_are_renamed_in_a_storm_are_found_where_they_end(store: Store, folder: Path, begin: Begin) -> None:
    """Whoever knows a folder by its path hears of none of them afterwards."""
    for number in range(20):
        (folder / f"{number}" / "deep").mkdir(parents=True)
        (folder / f"{number}" / "deep" / "a").write_bytes(b"%d" % number)
    begin()
    until(lambda: holds(store) == on_disk(folder))
    for turn in range(10):
        for number in range(20):
            # Each takes the place of the next; every fifth goes and comes again.
            (folder / f"{number}").rename(folder / "aside")
            (folder / f"{(number + 1) % 20}").rename(folder / f"{number}")
            (folder / "aside").rename(folder / f"{(number + 1) % 20}")
            if number % 5 == 0:
                shutil.rmtree(folder / f"{number}")
                (folder / f"{number}" / "deep").mkdir(parents=True)
                (folder / f"{number}" / "deep" / "a").write_bytes(b"%d in %d" % (number, turn))
    until(lambda: holds(store) == on_disk(folder))
    for number in (0, 7, 19):
        (folder / f"{number}" / "deep" / "a").write_bytes(b"after %d" % number)
        until(partial(has, store, f"{number}/deep/a", b"after %d" % number))


def _in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _as_vim_does(path: Path, data: bytes) -> None:
    """A file to see whether one can be made, the old one moved aside, a new one, the old one removed."""
    probe, aside = path.with_name("4913"), path.with_name(f"{path.name}~")
    probe.write_bytes(b"")
    probe.unlink()
    path.rename(aside)
    path.write_bytes(data)
    aside.unlink()


def _as_emacs_does(path: Path, data: bytes) -> None:
    """A link to nowhere for a lock, a copy of what is not saved yet, and a backup under another name."""
    lock, unsaved = path.with_name(f".#{path.name}"), path.with_name(f"#{path.name}#")
    lock.symlink_to("me@here.1:1")
    unsaved.write_bytes(data)
    path.rename(path.with_name(f"{path.name}~"))
    path.write_bytes(data)
    unsaved.unlink()
    lock.unlink()


def _as_jetbrains_does(path: Path, data: bytes) -> None:
    """A new file beside it, the old one moved aside, the new one in its place."""
    new, old = path.with_name(f"{path.name}___jb_tmp___"), path.with_name(f"{path.name}___jb_old___")
    new.write_bytes(data)
    path.rename(old)
    new.rename(path)
    old.unlink()


@LINUX
@pytest.mark.parametrize("edit", [_in_place, save, _as_vim_does, _as_emacs_does, _as_jetbrains_does])
def test_a_file_that_is_saved_in_any_editor_is_whole_in_every_version(
    store: Store, folder: Path, begin: Begin, edit: Callable[[Path, bytes], None]
) -> None:
    """Each makes the file vanish, or be empty, for a moment, and leaves others that were never meant to be kept."""
    texts = [b"%d " % number * 20_000 for number in range(40)]
    (folder / "notes.txt").write_bytes(texts[0])
    begin(quiet_s=0.05, longest_s=0.4, ignore=["*~", ".#*", "#*#", "4913", "*___jb_*", ".*.swp"])
    until(lambda: holds(store) == {"notes.txt": texts[0]})
    for text in texts:
        edit(folder / "notes.txt", text)
        time.sleep(0.02)
    until(lambda: holds(store) == {"notes.txt": texts[-1]})

    for number in numbers(store):
        assert [entry.path for entry in store.entries(f"cats:v{number}")] == ["notes.txt"]
        assert b"".join(store.read(f"cats:v{number}", "notes.txt")) in texts


@pytest.mark.root
def test_a_disk_that_is_taken_out_is_not_everything_deleted(
    store: Store, folder: Path, begin: Begin, told: list[WatchReport]
) -> None:
    """The folder on which it was mounted is still there, and empty."""
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    try:
        (folder / "a").write_bytes(b"1")
        watching = begin()
        until(lambda: holds(store) == {"a": b"1"})
    finally:
        subprocess.run(["umount", folder], check=True)

    until(lambda: told[-1].notice is not None)
    with pytest.raises(Refused) as raised:
        watching.join()
    assert raised.value.code == "folder-replaced"
    assert holds(store) == {"a": b"1"}


@pytest.mark.root
@pytest.mark.parametrize("how", ["bare", "removed", "linked"])
def test_a_disk_below_the_folder_that_is_taken_out_is_not_its_files_deleted(
    store: Store, folder: Path, begin: Begin, told: list[WatchReport], how: str
) -> None:
    """The folder itself is still there, and with few versions kept the only one that had the files would go."""
    place = folder.parent / "disk" if how == "linked" else folder / "disk"
    place.mkdir()
    if how == "linked":
        (folder / "disk").symlink_to(place)
    (folder / "a").write_bytes(b"1")
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        (place / "b").write_bytes(b"2")
        watching = begin(keep_last=1)
        until(lambda: holds(store) == {"a": b"1", "disk/b": b"2"})
    finally:
        subprocess.run(["umount", place], check=True)
    if how == "removed":
        place.rmdir()

    until(lambda: told[-1].notice is not None)
    with pytest.raises(Refused, match="the disk at"):
        watching.join()
    assert holds(store) == {"a": b"1", "disk/b": b"2"}


@pytest.mark.root
def test_a_link_to_a_disk_can_be_removed(store: Store, folder: Path, begin: Begin, volume: Path) -> None:
    """Whoever removes it means it: the disk is where it was."""
    (folder / "link").symlink_to(volume)
    (folder / "a").write_bytes(b"1")
    (volume / "b").write_bytes(b"2")
    begin()
    until(lambda: holds(store) == {"a": b"1", "link/b": b"2"})
    (folder / "link").unlink()

    until(lambda: holds(store) == {"a": b"1"})


def test_a_quiet_folder_costs_no_time_of_the_processor(store: Store, folder: Path, begin: Begin) -> None:
    for number in range(200):
        (folder / str(number)).write_bytes(b"x")
    watching = begin(quiet_s=0.1)
    until(lambda: watching._done is not None and len(holds(store)) == 200)
    time.sleep(0.3)
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(3)
    after = resource.getrusage(resource.RUSAGE_SELF)

    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used_s < 0.1


def test_several_folders_are_watched_beside_each_other(store: Store, begin: Begin, tmp_path: Path) -> None:
    folders = [tmp_path / f"more{number}" for number in range(3)]
    for each in folders:
        each.mkdir()
        begin(folder=each, name=each.name)
    for each in folders:
        (each / "a").write_bytes(each.name.encode())

    for each in folders:
        until(partial(has, store, "a", each.name.encode(), each.name))


def test_stopping_commits_what_has_changed(store: Store, folder: Path, begin: Begin) -> None:
    watching = begin(quiet_s=20, longest_s=60)
    until(lambda: watching._done is not None)
    (folder / "a").write_bytes(b"1")
    until(lambda: watching._first is not None)
    watching.stop()
    watching.join()

    assert holds(store) == {"a": b"1"}


@LINUX
def test_stopping_commits_what_no_event_has_told_of_yet(
    store: Store, folder: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the events of the last save come after the signal that ends the watch, or never."""
    close = inotify.Tree.close

    def close_during_a_save(tree: inotify.Tree) -> None:
        (folder / "b").write_bytes(b"2")
        close(tree)

    monkeypatch.setattr(inotify.Tree, "on_event", lambda _self, _event: None)
    monkeypatch.setattr(inotify.Tree, "close", close_during_a_save)
    watching = begin(quiet_s=20, longest_s=60)
    until(lambda: watching._done is not None)
    (folder / "a").write_bytes(b"1")
    watching.stop()
    watching.join()

    assert holds(store) == {"a": b"1", "b": b"2"}


def test_a_full_store_is_tried_again(
    store: Store, folder: Path, begin: Begin, told: list[WatchReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that ends because of a moment without space keeps nothing from then on."""
    monkeypatch.setattr(watch, "_RETRY_S", 0.3)
    failures = iter([StorageFull("no space left", code="storage-full")])

    def fail_once(*arguments: Any) -> Any:
        for failure in failures:
            raise failure
        return commit_draft(*arguments)

    monkeypatch.setattr(watch, "commit_draft", fail_once)
    (folder / "a").write_bytes(b"1")
    begin()

    until(lambda: holds(store) == {"a": b"1"})
    assert "no space left" in str(told[0].notice)


def test_once_waits_until_the_folder_stands_still(store: Store, folder: Path) -> None:
    def write() -> None:
        for number in range(10):
            time.sleep(0.1)
            save(folder / "a", b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.15)
    store.watch(folder, name="cats", type="d", quiet_s=0.5, longest_s=20).once()
    writer.join()

    assert holds(store) == {"a": b"9"}
    assert numbers(store) == [0]


@pytest.mark.parametrize(
    "options",
    [
        *({"quiet_s": -1}, {"quiet_s": 5, "longest_s": 1}, {"keep_last": 0}, {"name": "no/good"}, {"folder": "none"}),
        *({"ignore": ["[z-a]"]}, {"only": ["!"]}),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(store: Store, folder: Path, options: dict[str, Any]) -> None:
    place = folder / options.pop("folder") if "folder" in options else folder
    with pytest.raises(Invalid):
        store.watch(place, **{"name": "cats", "type": "d", **options})


def test_the_store_cannot_watch_itself(store: Store) -> None:
    with pytest.raises(Invalid, match="own folder"):
        store.watch(store.path / "packs", name="cats", type="d")


def test_the_events_of_the_system_are_loaded_with_a_watch_only(children: Any, store: Store) -> None:
    shutil.rmtree(store.path / "stat_cache")
    said = children.run("import sys\nimport artstore.store\nprint('watchdog' in sys.modules)")

    assert said == "False"
