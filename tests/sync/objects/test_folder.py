"""What is a folder's own: links, rights, what a killed writer leaves, file systems that cannot link."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artstore.errors import ArtstoreError, Denied, Invalid, MissingObject, StorageFull, Unreachable
from artstore.sync.objects import folder as module
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.objects.probe import probe
from tests.conftest import Children


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    folder.mkdir()
    return folder


@pytest.fixture
def objects(depot: Path) -> Objects:
    return open_objects(f"file://{depot}")


@pytest.fixture
def umask() -> Iterator[None]:
    """The one that most people have, which takes away from a group what its folder gives it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Below a mount point it would take what was meant for the disk that is not plugged in."""
    objects = open_objects(f"file://{tmp_path}/usb")

    for call in (lambda: objects.claim("a", b"x"), lambda: objects.read("a"), lambda: list(objects.names(""))):
        with pytest.raises(Unreachable, match=r"usb is not there: mount it") as caught:
            call()
        assert "folder-missing" == caught.value.code
    assert not (tmp_path / "usb").exists()


@pytest.mark.parametrize("url", ["file://depot", "file://", "file:///a?b", "file:///a%00b"])
def test_what_names_no_folder_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_objects(url)


def test_a_url_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "our depot").mkdir()

    objects = open_objects(f"file://{tmp_path}/our%20depot")

    assert objects.claim("a", b"x")
    assert (tmp_path / "our depot" / "a").exists()
    assert f"file://{tmp_path}/our%20depot" == objects.url


def test_the_folder_itself_may_be_a_link(depot: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(depot)

    open_objects(f"file://{tmp_path}/link").claim("a/b", b"x")

    assert b"x" == (depot / "a" / "b").read_bytes()


def test_no_link_leads_out(objects: Objects, depot: Path, tmp_path: Path) -> None:
    """Whoever may write into the depot could have us read our own secrets into it, or write over what is ours."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"mine")
    (depot / "blobs").symlink_to(outside)
    (depot / "packs").mkdir()
    (depot / "packs" / "secret").symlink_to(outside / "secret")

    for call in (
        lambda: objects.read("blobs/secret"),
        lambda: objects.size("blobs/secret"),
        lambda: objects.write("blobs/secret", [b"theirs"], 6),
        lambda: objects.claim("blobs/new", b"theirs"),
        lambda: objects.remove("blobs/secret"),
        lambda: list(objects.names("blobs/")),
        lambda: objects.read("packs/secret"),
    ):
        with pytest.raises(Denied, match="is a link") as caught:
            call()
        assert "link-in-depot" == caught.value.code
    assert objects.size("packs/secret") is None
    assert [] == list(objects.names(""))
    assert ([outside / "secret"], b"mine") == (list(outside.iterdir()), (outside / "secret").read_bytes())


def test_a_link_in_the_place_of_an_object_is_replaced_and_not_written_through(
    objects: Objects, depot: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (depot / "a").symlink_to(tmp_path / "mine")

    assert not objects.claim("a", b"theirs")
    objects.write("a", [b"theirs"], 6)

    assert (b"mine", b"theirs") == ((tmp_path / "mine").read_bytes(), objects.read("a"))


def test_a_pipe_is_no_object(objects: Objects, depot: Path) -> None:
    """Opened as a file, it would have a pull wait for ever."""
    os.mkfifo(depot / "pipe")

    with pytest.raises(MissingObject):
        objects.read("pipe")
    assert [] == list(objects.names(""))


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    ("given", "folders", "files"),
    [(0o2770, 0o2770, 0o440), (0o775, 0o775, 0o444), (0o755, 0o755, 0o444), (0o700, 0o700, 0o400)],
)
def test_who_may_use_the_folder_may_use_all_that_is_in_it(
    objects: Objects, depot: Path, given: int, folders: int, files: int
) -> None:
    """A group's folder in which the first of them to push locks out the others is none."""
    depot.chmod(given)

    objects.claim("log/demo/0001", b"x")
    objects.write("log/demo/0002", [b"x"], 1)

    assert (folders, folders) == (mode(depot / "log"), mode(depot / "log" / "demo"))
    assert (files, files) == (mode(depot / "log" / "demo" / "0001"), mode(depot / "log" / "demo" / "0002"))


@pytest.mark.root
@pytest.mark.usefixtures("umask")
def test_what_is_made_has_the_group_of_the_folder(objects: Objects, depot: Path) -> None:
    os.chown(depot, -1, 1234)
    depot.chmod(0o770)

    objects.claim("log/0001", b"x")

    assert (1234, 1234) == ((depot / "log").stat().st_gid, (depot / "log" / "0001").stat().st_gid)


def test_rights_that_a_killed_writer_did_not_give_are_given_by_the_next(objects: Objects, depot: Path) -> None:
    depot.chmod(0o775)
    (depot / "log").mkdir(mode=0o700)

    objects.claim("log/0001", b"x")

    assert 0o775 == mode(depot / "log")


WITHOUT_RIGHTS = """
import sys
from artstore.errors import Denied
from artstore.sync.objects import folder
from artstore.sync.objects.families import open_objects
objects = open_objects(sys.argv[1])
drop_rights()
print(objects.read("log/0001").decode())
for call in (lambda: objects.claim("log/0002", b"x"), lambda: objects.write("new/a", [b"x"], 1),
             lambda: objects.remove("log/0001"), lambda: objects.read("closed/a")):
    try:
        call()
    except Denied as error:
        print(error.code)
"""


@pytest.mark.root
def test_without_the_right_to_write_one_can_read_and_is_told_the_rest(open_folder: Path, children: Children) -> None:
    objects = open_objects(f"file://{open_folder}")
    objects.claim("log/0001", b"theirs")
    objects.claim("closed/a", b"theirs")
    (open_folder / "closed").chmod(0o700)

    said = children.run(WITHOUT_RIGHTS, objects.url, as_nobody=True)

    assert ["theirs", *["remote-denied"] * 4] == said.split()


KILLED = """
import os, sys
from artstore.sync.objects.families import open_objects
def chunks():
    yield b"half"
    os.kill(os.getpid(), 9)
open_objects(sys.argv[1]).write("blobs/a", chunks(), 8)
"""


def test_what_a_killed_writer_leaves_is_seen_by_nobody_and_freed_in_time(
    objects: Objects, depot: Path, children: Children
) -> None:
    children.start(KILLED, objects.url).wait(timeout=60)
    (left,) = (depot / "blobs").iterdir()
    assert ([], None) == (list(objects.names("")), objects.size("blobs/a"))

    assert 0 == objects.tidy(), "it might still be at work"
    assert left.exists()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(left, (long_ago, long_ago))
    objects.claim("old", b"x")
    os.utime(depot / "old", (long_ago, long_ago))
    assert 1 == objects.tidy()

    assert not left.exists()
    assert ["old"] == list(objects.names("")), "an object is never taken for litter"


def test_age_is_told_by_the_clock_of_the_file_system(
    objects: Objects, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is a year ahead would otherwise take away what others are writing now."""
    children.start(KILLED, objects.url).wait(timeout=60)
    monkeypatch.setattr(time, "time", lambda: 2e9)

    assert 0 == objects.tidy()


class Calls:
    """What was asked of the system, in order."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        for holder, name in ((module, "sync_file"), (os, "link"), (os, "rename")):
            patch.setattr(holder, name, self._noting(name, getattr(holder, name)))

    def _noting(self, name: str, real: Any) -> Any:
        def noting(*arguments: Any, **options: Any) -> Any:
            is_folder = name == "sync_file" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
            self.made.append("sync folder" if is_folder else name)
            return real(*arguments, **options)

        return noting


def test_bytes_are_synced_before_they_have_a_name_and_the_name_after(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut leaves the name of an object with nothing in it, or an acknowledged one with no name."""
    calls = Calls(monkeypatch)

    objects.claim("a", b"x")
    objects.claim("a", b"x")
    objects.write("a", [b"x"], 1)

    assert ["sync_file", "link", "sync folder"] * 2 + ["sync_file", "rename", "sync folder"] == calls.made


def test_each_new_folder_is_synced_into_the_one_above_before_it_is_used(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)

    objects.claim("a/b/c", b"x")
    objects.claim("a/b/d", b"x")

    first = ["sync folder", "sync folder", "sync_file", "link", "sync folder"]
    assert [*first, "sync_file", "link", "sync folder"] == calls.made


def failing(code: int) -> Any:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_system_without_links_has_one_winner_too(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on exFAT, which a USB disk often has."""
    monkeypatch.setattr(os, "link", failing(errno.EPERM))

    probe(objects)
    for race in range(50):
        rivals = [f"{number}".encode() for number in range(8)]
        claimed = in_parallel(lambda mine, race=race: objects.claim(f"log/{race}", mine), rivals)  # type: ignore[misc]
        won = [mine for mine, is_mine in claimed if is_mine]
        assert [objects.read(f"log/{race}")] == won


def test_a_file_system_with_neither_is_refused(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else that could be done there has moments in which two have won."""
    monkeypatch.setattr(os, "link", failing(errno.EOPNOTSUPP))
    monkeypatch.setattr(module, "_libc", object())

    with pytest.raises(Invalid, match="can neither link files nor rename") as caught:
        probe(objects)
    assert "unfit-remote" == caught.value.code


def test_a_link_whose_answer_the_network_lost_is_known_for_ones_own(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS asks again by itself, and hears that the name is taken: by the very file that it linked."""
    real = os.link

    def asked_twice(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        real(*arguments, **options)

    monkeypatch.setattr(os, "link", asked_twice)

    assert objects.claim("log/0001", b"mine")
    assert not objects.claim("log/0001", b"mine")


def test_a_rename_whose_answer_the_network_lost_is_done(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def asked_twice(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        real(*arguments, **options)

    monkeypatch.setattr(os, "rename", asked_twice)

    objects.write("a", [b"x"], 1)

    assert b"x" == objects.read("a")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, (StorageFull, "remote-full")),
        (errno.EDQUOT, (StorageFull, "remote-full")),
        (errno.EACCES, (Denied, "remote-denied")),
        (errno.EROFS, (Denied, "remote-denied")),
        (errno.ESTALE, (Unreachable, "remote-unreachable")),
        (errno.EIO, (Unreachable, "remote-unreachable")),
    ],
)
def test_what_the_system_says_is_told_as_what_can_be_done(
    objects: Objects, depot: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: tuple[type[Exception], str]
) -> None:
    monkeypatch.setattr(module, "sync_file", failing(code))

    with pytest.raises(ArtstoreError, match="depot") as caught:
        objects.write("a", [b"x"], 1)

    assert expected == (type(caught.value), caught.value.code)
    assert [] == list(depot.iterdir()), "what failed leaves nothing"


@pytest.mark.root
def test_a_full_disk_is_said_and_nothing_is_left(volume: Path) -> None:
    objects = open_objects(f"file://{volume}")

    with pytest.raises(StorageFull, match="no space left"):
        objects.write("a", (bytes(1 << 20) for _ in range(32)), 32 << 20)

    assert [] == list(volume.iterdir())
    objects.write("b", [b"x"], 1)


@pytest.mark.root
def test_a_file_shares_its_bytes_where_the_disk_can(xfs: Path) -> None:
    """A depot on the store's own disk takes no more space than its names do."""
    (xfs / "depot").mkdir()
    (xfs / "source").write_bytes(os.urandom(50_000_000))
    os.sync()
    before = os.statvfs(xfs).f_bfree
    objects = open_objects(f"file://{xfs}/depot")

    objects.write_file("a", xfs / "source")

    assert (xfs / "source").read_bytes() == objects.read("a")
    assert 5_000_000 > (before - os.statvfs(xfs).f_bfree) * os.statvfs(xfs).f_frsize
