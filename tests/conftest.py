"""What holds for every test: an environment of its own, and examples that are the same each time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import settings

from tests.faults.equipment import memory
from tests.lacking import lacking
from tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

# A failure found here can be found again anywhere: fixed examples, no database of earlier ones, no stop-watch.
settings.register_profile("steady", derandomize=True, database=None, deadline=None, print_blob=True)
# `--hypothesis-profile=explore` looks where nobody has looked before.
settings.register_profile("explore", parent=settings.get_profile("steady"), derandomize=False, max_examples=2000)
settings.load_profile("steady")

_ROOM: Final = 6 << 30
"""Bytes that the folders of all tests may take."""
_STEERING = ("ARTSTORE_", "XDG_")
"""Variables that begin so would lead a test to the store or the settings of whoever runs it."""
_LOOKS = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR")
"""Variables that change how output looks."""


_REPOSITORY = Path(__file__).parents[1]
_DROP_RIGHTS = """
import os
def drop_rights(group=65534):
    b"x".decode("unicode_escape")  # Codecs are loaded when they are first used, from where only root may read.
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(65534)
"""


def _start_unmeasured(patch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("COVERAGE_"):
            patch.delenv(name)


@pytest.fixture(autouse=True)
def own_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No settings from outside, and an empty home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_STEERING) or name in _LOOKS:
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        if request.node.get_closest_marker("slow") is not None:
            _start_unmeasured(patch)
        yield


class Children:
    """Processes with a Python of their own; none outlives its test."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, code: str, *arguments: object, as_nobody: bool = False) -> subprocess.Popen[str]:
        """Begin to run some code, which may read what is written to it and answer in lines.

        What `as_nobody` runs has no rights that root would have; its imports must all stand before `drop_rights()`.
        """
        environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY), "PYTHONUNBUFFERED": "1"}
        if as_nobody:
            # It could not write what was measured.
            environment = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
        child = subprocess.Popen(
            [sys.executable, "-c", _DROP_RIGHTS + code, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(child)
        return child

    def run(self, code: str, *arguments: object, as_nobody: bool = False) -> str:
        """Run some code to its end; answers what it printed."""
        child = self.start(code, *arguments, as_nobody=as_nobody)
        said, complaints = child.communicate(timeout=60)
        assert child.returncode == 0, complaints
        return said.strip()

    def end(self) -> None:
        """Kill what is still there."""
        for child in self._started:
            child.kill()
            child.communicate()


@pytest.fixture
def children() -> Iterator[Children]:
    """Processes beside this one."""
    started = Children()
    yield started
    started.end()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    folder = Path(tempfile.mkdtemp(prefix="artstore-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 16 MiB of its own. For tests that are marked with `root`."""
    folder = tmp_path_factory.mktemp("volume")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test starts is not measured: coverage would load itself there, and sqlite3 with it."""
    _start_unmeasured(monkeypatch)


@pytest.fixture
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that can share bytes between files. For tests that are marked with `root`."""
    if shutil.which("mkfs.xfs") is None:
        lacking("there is no mkfs.xfs")
    place = tmp_path_factory.mktemp("xfs")
    image, folder = place / "image", place / "mount"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(300 << 20)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def pytest_configure(config: pytest.Config) -> None:
    """Keep files in memory: what has to be on a disk mounts one, and all else would wait for its syncs."""
    if (shared := memory(room=_ROOM)) and "TMPDIR" not in os.environ and not hasattr(config, "workerinput"):
        os.environ["TMPDIR"] = str(shared)
        tempfile.tempdir = None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker begin with its share of what is slow, so that in the end nobody waits for a test just begun.

    Before all with the faults: they fork thousands of times, which costs the less the fewer libraries are loaded yet.
    What is slow is not measured: coverage makes it half as slow again, and quick tests have been to the same lines.
    """
    faults = Path(__file__).parent / "faults"
    slow = [item for item in items if item.get_closest_marker("slow") is not None]
    # Where nothing is measured, the mark has nothing to pause, and fails.
    for item in slow if not config.getoption("no_cov") else ():
        item.add_marker("no_cover")
    slow.sort(key=lambda item: not item.path.is_relative_to(faults))
    rest = [item for item in items if item.get_closest_marker("slow") is None]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    # Each is given as many tests, one after the other.
    shares = [
        slow[worker::workers] + rest[worker * len(rest) // workers : (worker + 1) * len(rest) // workers]
        for worker in range(workers)
    ]
    items[:] = chain.from_iterable(shares)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs root: it mounts file systems, or makes networks")


def _stop_measuring() -> None:
    sys.settrace(None)
    threading.settrace(None)


# A fork ends without a word of what it ran, so coverage would only slow it down.
os.register_at_fork(after_in_child=_stop_measuring)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Servers:
    """Servers that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return Servers(base, os.getpid())
    # A worker is a child of the process that lasts as long as the session does.
    return Servers(base.parent, os.getppid())
