"""What is SFTP's own: hosts that are not known, rights, what a killed writer leaves, servers that lack something."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from artstore.errors import Denied, Invalid, StorageFull, Unreachable
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.probe import probe
from tests.conftest import Children
from tests.servers import Facts, Servers
from tests.sync.objects import sshd


@pytest.fixture
def home() -> Path:
    return Path(os.environ["HOME"])


@pytest.fixture
def facts(servers: Servers, home: Path) -> Facts:
    found = servers.facts("sshd", sshd.start)
    sshd.trust(found, home)
    return found


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    folder.mkdir()
    return folder


@pytest.fixture
def objects(facts: Facts, depot: Path) -> Objects:
    del facts
    return open_objects(f"sftp://depot-host{depot}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "url",
    ["sftp://", "sftp://host", "sftp://host/", "sftp:///a", "sftp://host/~/", "sftp://host:port/a", "sftp://h/a?b"],
)
def test_what_names_no_folder_of_a_host_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_objects(url)


def test_a_password_has_no_place_in_a_url() -> None:
    with pytest.raises(Invalid) as caught:
        open_objects("sftp://me:hunter2@host/srv/depot")

    assert ("password-in-url", False) == (caught.value.code, "hunter2" in caught.value.message)


def test_a_host_that_is_not_known_is_not_trusted(facts: Facts, objects: Objects, home: Path) -> None:
    """It could be anybody, who would get all that is pushed."""
    config = home / ".ssh" / "config"
    known = str(Path(facts["folder"]) / "known_hosts")
    config.write_text(config.read_text().replace(known, os.devnull))

    with pytest.raises(Denied, match="Make `ssh depot-host` work without a password first"):
        objects.size("a")


def test_a_key_that_is_not_taken_is_denied(facts: Facts, objects: Objects, home: Path) -> None:
    config = home / ".ssh" / "config"
    config.write_text(config.read_text().replace(f"{facts['folder']}/user", f"{facts['folder']}/host"))

    with pytest.raises(Denied, match="Make `ssh depot-host` work without a password first"):
        objects.size("a")


def test_a_folder_that_is_not_there_is_not_made(objects: Objects, depot: Path) -> None:
    """Below a mount point it would take what was meant for the disk that is not there."""
    depot.rmdir()

    with pytest.raises(Unreachable, match="depot is not there: mount it on that host") as caught:
        objects.claim("a", b"x")

    assert "folder-missing" == caught.value.code
    assert not depot.exists()


@pytest.mark.parametrize(("given", "file"), [(0o2770, 0o440), (0o775, 0o444), (0o700, 0o400)])
def test_who_may_use_the_folder_may_use_all_that_is_in_it(objects: Objects, depot: Path, given: int, file: int) -> None:
    depot.chmod(given)

    objects.claim("log/demo/0001", b"x")
    objects.write("log/demo/0002", [b"x"], 1)

    assert (given, given) == (mode(depot / "log"), mode(depot / "log" / "demo"))
    assert (file, file) == (mode(depot / "log" / "demo" / "0001"), mode(depot / "log" / "demo" / "0002"))


KILLED = """
import os, sys
from artstore.sync.objects.families import open_objects
def chunks():
    yield bytes(5_000_000)
    os.kill(os.getpid(), 9)
open_objects(sys.argv[1]).write("blobs/a", chunks(), 9_000_000)
"""


def test_what_a_killed_writer_leaves_is_seen_by_nobody_and_freed_in_time(
    objects: Objects, depot: Path, children: Children
) -> None:
    children.start(KILLED, objects.url).wait(timeout=60)
    (left,) = (depot / "blobs").iterdir()
    assert ([], None) == (list(objects.names("")), objects.size("blobs/a"))

    assert 0 == objects.tidy(), "it might still be at work"
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(left, (long_ago, long_ago))
    assert 1 == objects.tidy()

    assert not left.exists()


def other(servers: Servers, home: Path, name: str, options: str) -> Callable[[Path], Objects]:
    """A host whose server does not do everything."""
    sshd.trust(servers.facts(f"sshd-{name}", partial(sshd.start, options=options)), home)
    return lambda folder: open_objects(f"sftp://depot-host{folder}")


@pytest.mark.parametrize("lacking", ["hardlink", "fsync", "posix-rename"])
def test_a_server_that_lacks_what_a_claim_or_a_power_cut_asks_for_is_refused(
    servers: Servers, home: Path, depot: Path, lacking: str
) -> None:
    opened = other(servers, home, lacking, f"-P {lacking}")

    with pytest.raises(Invalid, match="its SFTP server lacks one of hardlink") as caught:
        probe(opened(depot))

    assert "unfit-remote" == caught.value.code
    assert [] == [path for path in depot.rglob("*") if path.is_file()]


def test_where_one_may_only_read_one_can_read_and_is_told_the_rest(servers: Servers, home: Path, depot: Path) -> None:
    (depot / "a").write_bytes(b"theirs")
    objects = other(servers, home, "read-only", "-R")(depot)

    assert b"theirs" == objects.read("a")
    for call in (lambda: objects.claim("b", b"x"), lambda: objects.remove("a")):
        with pytest.raises(Denied, match="Ask its owner for the right"):
            call()


@pytest.mark.root
def test_a_full_disk_is_said_and_nothing_is_left(facts: Facts, volume: Path) -> None:
    """The protocol has no word for it but failure."""
    del facts
    objects = open_objects(f"sftp://depot-host{volume}")

    with pytest.raises(StorageFull, match="no space left"):
        objects.write("a", (bytes(1 << 20) for _ in range(32)), 32 << 20)

    assert [] == list(volume.iterdir())
    objects.write("b", [b"x"], 1)
