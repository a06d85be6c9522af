"""`artstore watch` as a service manager runs it: a process of its own, ended by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.lacking import lacking

Run = Callable[..., CompletedProcess[str]]
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(artstore: Run, folder: Path) -> Iterator[Begin]:
    """Start a watch in the working directory, which has a store; none outlives its test."""
    assert artstore("init").returncode == 0
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        quick = ["--quiet-s", "0.2", "--longest-s", "2", "--type", "dataset"]
        command = [*before, sys.executable, "-m", "artstore", "watch", *words, *quick]
        started.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def under(limit: str, most: int) -> list[str]:
    """What comes before a command that runs where the system gives only so many events: a user namespace."""
    words = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    tried = [*words, "echo 9 > /proc/sys/user/max_inotify_watches"]
    if sys.platform != "linux" or subprocess.run(tried, check=False, capture_output=True).returncode:
        lacking("user namespaces cannot be made here")
    return [*words, f'echo {most} > /proc/sys/user/{limit} && exec "$@"', "sh"]


def lines(watching: subprocess.Popen[str], count: int) -> list[str]:
    assert watching.stdout is not None
    return [watching.stdout.readline() for _ in range(count)]


def listed(artstore: Run, name: str) -> list[str]:
    return [entry["path"] for entry in json.loads(artstore("ls", f"{name}:latest", "--json").stdout)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_a_last_commit(artstore: Run, folder: Path, begin: Begin, number: int) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "a").write_bytes(b"1")
    watching = begin("notes", "--quiet-s", "30", "--longest-s", "60")
    assert "uncategorized/notes:v0" in lines(watching, 1)[0]
    (folder / "notes" / "b").write_bytes(b"2")
    time.sleep(0.3)
    watching.send_signal(number)
    said, complaints = watching.communicate(timeout=60)

    assert (watching.returncode, complaints) == (0, "")
    assert "uncategorized/notes:v1" in said
    assert ["a", "b"] == listed(artstore, "notes")


def test_several_folders_have_their_own_names(artstore: Run, folder: Path, begin: Begin) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "a").write_bytes(name.encode())
    watching = begin("one", "two", "--json")
    assert {"one", "two"} == {_report(watching)["version"]["collection"] for _ in range(2)}
    (folder / "two" / "b").write_bytes(b"2")
    assert _report(watching)["version"]["number"] == 1
    (folder / "one" / "a").unlink()
    assert "no file left" in _report(watching)["notice"]
    (folder / "two" / "b").write_bytes(b"3")
    assert _report(watching)["version"]["number"] == 2, "the other goes on"
    watching.terminate()
    _said, complaints = watching.communicate(timeout=60)

    assert watching.returncode == 7
    assert "no file left" in complaints
    assert ["a"] == listed(artstore, "one")


def _report(watching: subprocess.Popen[str]) -> dict[str, dict[str, object]]:
    """The next report: a JSON document in one line."""
    assert watching.stdout is not None
    found: dict[str, dict[str, object]] = json.loads(watching.stdout.readline())
    return found


def test_once_makes_one_version_and_ends(artstore: Run, folder: Path, begin: Begin) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "a").write_bytes(b"1")
    (folder / "notes" / "b.tmp").write_bytes(b"2")
    said, complaints = begin("notes", "--once", "--name", "lab/log", "--ignore", "*.tmp").communicate(timeout=60)

    assert ("", "lab/log:v0") == (complaints, said.split()[0])
    assert ["a"] == listed(artstore, "lab/log")


def test_checkpoints_are_kept_and_older_ones_go(artstore: Run, folder: Path, begin: Begin) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "log.txt").write_bytes(b"step 0")
    (folder / "notes" / "0.ckpt").write_bytes(b"0")
    watching = begin("notes", "--name", "net", "--only", "*.ckpt", "--keep-last", "2")
    lines(watching, 1)
    for number in range(1, 4):
        (folder / "notes" / f"{number}.ckpt").write_bytes(b"%d" % number)
        (folder / "notes" / f"{number - 1}.ckpt").unlink()
        assert f"net:v{number}" in lines(watching, 1)[0]
    watching.terminate()
    watching.communicate(timeout=60)

    assert 0 == watching.returncode
    assert ["3.ckpt"] == listed(artstore, "net")
    assert [3, 2] == [each["number"] for each in json.loads(artstore("log", "net", "--json").stdout)]


def test_a_folder_that_is_emptied_is_an_error(artstore: Run, folder: Path, begin: Begin) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "a").write_bytes(b"1")
    watching = begin("notes")
    lines(watching, 1)
    os.unlink(folder / "notes" / "a")
    _said, complaints = watching.communicate(timeout=60)

    assert watching.returncode == 7
    assert "no file left" in complaints
    assert ["a"] == listed(artstore, "notes")


@pytest.mark.parametrize(
    ("limit", "most", "named"),
    [
        ("max_inotify_watches", 3, "fs.inotify.max_user_watches"),
        ("max_inotify_watches", 0, "fs.inotify.max_user_watches"),
        ("max_inotify_instances", 0, "fs.inotify.max_user_instances"),
    ],
)
def test_a_limit_of_the_system_is_named_and_got_over(  # noqa: PLR0917 - fixtures
    artstore: Run, folder: Path, begin: Begin, limit: str, most: int, named: str
) -> None:
    """Otherwise what changes in some folders would not be kept, and nobody would know."""
    for number in range(5):
        (folder / "notes" / str(number)).mkdir(parents=True)
        (folder / "notes" / str(number) / "a").write_bytes(b"1")
    watching = begin("notes", before=under(limit, most))
    assert "notes:v0" in lines(watching, 1)[0]
    for number in range(5):
        (folder / "notes" / str(number) / "b").write_bytes(b"2")
        assert f"notes:v{number + 1}" in lines(watching, 1)[0]
    watching.terminate()
    _said, complaints = watching.communicate(timeout=60)

    assert watching.returncode == 0
    assert complaints.count(f"`sysctl {named}=") == 1
    assert len(listed(artstore, "notes")) == 10


def test_a_limit_that_is_reached_while_it_runs_is_named_too(folder: Path, begin: Begin) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "a").write_bytes(b"1")
    watching = begin("notes", before=under("max_inotify_watches", 3))
    assert "notes:v0" in lines(watching, 1)[0]
    (folder / "notes" / "1" / "2" / "3" / "4").mkdir(parents=True)
    (folder / "notes" / "1" / "2" / "3" / "4" / "b").write_bytes(b"2")
    assert "notes:v1" in lines(watching, 1)[0]
    (folder / "notes" / "1" / "2" / "3" / "4" / "b").write_bytes(b"3")
    assert "notes:v2" in lines(watching, 1)[0]
    watching.terminate()
    _said, complaints = watching.communicate(timeout=60)

    assert complaints.count("`sysctl fs.inotify.max_user_watches=") == 1


def test_one_name_is_for_one_folder(artstore: Run, folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
    ended = artstore("watch", "one", "two", "--name", "both", "--type", "dataset")

    assert ended.returncode == 2
    assert "--name" in ended.stderr


@pytest.mark.parametrize("second", ["new/net", "old/../old/net"])
def test_two_folders_of_one_name_are_refused_before_anything_is_kept(artstore: Run, folder: Path, second: str) -> None:
    """As versions of one collection each would replace the files of the other."""
    assert artstore("init").returncode == 0
    for name in ("old", "new"):
        (folder / name / "net").mkdir(parents=True)
        (folder / name / "net" / name).write_bytes(b"1")
    ended = artstore("watch", "old/net", second, "--type", "dataset", "--once")

    assert ended.returncode == 2
    assert "--name" in ended.stderr
    assert [] == json.loads(artstore("ls", "--json").stdout)


def test_a_folder_whose_name_can_be_none_of_a_collection_is_told_of_name(artstore: Run, folder: Path) -> None:
    assert artstore("init").returncode == 0
    (folder / "my results").mkdir()
    ended = artstore("watch", "my results", "--type", "dataset", "--once")

    assert ended.returncode == 2
    assert "--name" in ended.stderr
