"""Senders: who has a tree ready here, pushes it to a place on this machine, and pulls it from there again.

A place is empty when it is pushed to, and so is what is pulled into. Servers run already, and are ended with the lap.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.measure import Command, Failed
from benchmarks.subject import Artstore
from benchmarks.tool import Operation, Tool, first_line, own_environment
from benchmarks.yardsticks import Dvc as DvcTool
from benchmarks.yardsticks import Restic as ResticTool

_CAME: Final = re.compile(r" in=(\d+) ")
_STARTS_S: Final = 20.0
_ENDS_S: Final = 20.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PLACE: Final = "tree"
"""The module of the rsync daemon."""


class Server:
    """A process that answers until it is stopped."""

    def __init__(self, words: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        self.said = folder / "said"
        with self._log.open("wb") as log, self.said.open("wb") as said:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=log,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        """Whether it still runs. Raises Failed where it has ended by itself."""
        if self._process.poll() is not None:
            message = f"the server has ended: {self.log().strip()}"
            raise Failed(message)
        return True

    def log(self) -> str:
        """What it has said on its standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def cpu_s(self) -> float:
        """User and system seconds that it took so far, with the processes that it has ended."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS

    @property
    def peak_bytes(self) -> int:
        """Most resident memory that it had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def stop(self) -> None:
        """End it, with all that it started."""
        self._process.terminate()
        try:
            self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Sender(ABC):
    """One life of one side, below `place`, which is deleted with it."""

    name: ClassVar[str]
    program: ClassVar[str]
    is_optional: ClassVar[bool] = True
    server: Server | None = None

    def __init__(self, place: Path, source: Path) -> None:
        self.place = place
        self.source = source

    @classmethod
    def is_installed(cls) -> bool:
        """Whether it can be measured here."""
        return shutil.which(cls.program) is not None

    @classmethod
    def version(cls) -> str:
        """The first line of what it says about itself."""
        return first_line(cls.program, "--version")

    @abstractmethod
    def prepare(self) -> None:
        """Have the tree ready, and the empty place. Raises Failed."""

    @abstractmethod
    def push(self) -> Command:
        """The process that brings the tree there, durably."""

    @abstractmethod
    def pull(self) -> Command:
        """The process that brings it back into what is empty, durably; called once, after a push."""

    @abstractmethod
    def reads(self) -> tuple[Path, Path]:
        """What a push reads, and what a pull."""

    def served_cpu_s(self) -> float:
        """What the other side took so far; 0 where there is none."""
        return 0.0 if self.server is None else self.server.cpu_s

    def close(self) -> None:
        """End the other side."""
        if self.server is not None:
            self.server.stop()
            self.server = None


class ToDepot(Sender):
    """`artstore push` to a depot in a folder, and `artstore pull --blobs` into an empty store."""

    name = "artstore"
    program = "sh"
    is_optional = False

    def __init__(self, place: Path, source: Path) -> None:
        super().__init__(place, source)
        self.here = Artstore(place / "here", source)
        self.far = place / "far"

    def prepare(self) -> None:
        """Put the tree into a store that knows the place."""
        self.here.prepare()
        self.here.do(*self.here.words(Operation.PUT))
        self.follow(self.here)

    def follow(self, store: Artstore) -> None:
        """Let a store have the place as its upstream."""
        store.do(*store.call("remote", "add", "hub", self.url(), "--upstream"))

    def url(self) -> str:
        """Of the place, which is made where it is not there yet."""
        self.far.mkdir(exist_ok=True)
        return self.far.as_uri()

    def push(self) -> Command:
        """It syncs what it sends."""
        return Command(self.here.call("push"), self.here.place, self.here.environment)

    def pull(self) -> Command:
        """Into a store that follows the place, and has nothing yet."""
        there = Artstore(self.place / "there", self.source)
        there.prepare()
        self.follow(there)
        return Command(there.call("pull", "--blobs"), there.place, there.environment)

    def reads(self) -> tuple[Path, Path]:
        """The store, and the depot."""
        return self.here.store, self.far


class ToServer(ToDepot):
    """`artstore push` to `artstore serve`, and `artstore pull --blobs` from it."""

    def url(self) -> str:
        """Of a server that answers."""
        if self.server is None:
            hub = Artstore(self.far, self.source)
            hub.prepare()
            self.server = Server(hub.call("serve", "--listen", "127.0.0.1:0"), self.place / "server", hub.environment)
            _wait(self.server, lambda: bool(self._said()))
        return self._said()

    def asked(self) -> list[int]:
        """The bytes that came with each request so far."""
        assert self.server is not None
        return [int(found[1]) for found in _CAME.finditer(self.server.log())]

    def _said(self) -> str:
        assert self.server is not None
        return self.server.said.read_text(encoding="utf-8").strip()


class Rsync(Sender):
    """`rsync --archive --fsync` to a daemon, and from it."""

    name = "rsync"
    program = "rsync"

    def prepare(self) -> None:
        """Start the daemon on an empty folder."""
        self._environment = own_environment(self.place / "home")
        far = self.place / "far"
        far.mkdir()
        settings = self.place / "rsyncd.conf"
        is_root = os.geteuid() == 0
        rights = ["uid = 0", "gid = 0"] if is_root else []
        lines = ["use chroot = no", *rights, f"[{_PLACE}]", f"path = {far}", "read only = no"]
        settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        port = _free_port()
        self._url = f"rsync://127.0.0.1:{port}/{_PLACE}/"
        words = ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}", f"--config={settings}"]
        self.server = Server(words, self.place / "server", self._environment)
        _wait(self.server, lambda: _answers(port))

    def push(self) -> Command:
        """Every file is synced by the daemon."""
        return self._command(f"{self.source}/", self._url)

    def pull(self) -> Command:
        """Every file is synced here."""
        return self._command(self._url, f"{self.place / 'there'}/")

    def reads(self) -> tuple[Path, Path]:
        """The tree, and its copy."""
        return self.source, self.place / "far"

    def _command(self, *ways: str) -> Command:
        return Command(["rsync", "--archive", "--fsync", *ways], self.place, self._environment)


class Copied(Sender):
    """`cp -r` and `sync`, to a folder and back."""

    name = "cp"
    program = "cp"

    def prepare(self) -> None:
        """Nothing is needed."""
        self._environment = own_environment(self.place / "home")

    def push(self) -> Command:
        """What the file system itself takes for the bytes."""
        return self._command(self.source, self.place / "far")

    def pull(self) -> Command:
        """The same back."""
        return self._command(self.place / "far", self.place / "there")

    def reads(self) -> tuple[Path, Path]:
        """The tree, and its copy."""
        return self.source, self.place / "far"

    def _command(self, source: Path, target: Path) -> Command:
        return Command(["cp", "-r", str(source), str(target)], self.place, self._environment).synced()


class _OfTool(Sender):
    """A tool that keeps versions, and can send them elsewhere."""

    kind: ClassVar[type[Tool]]

    def __init__(self, place: Path, source: Path) -> None:
        super().__init__(place, source)
        self.tool = self.kind(place / "here", source)

    @classmethod
    def version(cls) -> str:
        """As the tool says it."""
        return cls.kind.version()

    def prepare(self) -> None:
        """Put the tree in."""
        self.tool.prepare()
        command = self.tool.words(Operation.PUT)
        assert command is not None
        self.tool.do(*command)
        self.far = self.place / "far"

    def reads(self) -> tuple[Path, Path]:
        """The store, and what was pushed."""
        return self.tool.store, self.far


class Restic(_OfTool):
    """`restic copy` of a snapshot into another repository, and from that into a third."""

    name = "restic"
    program = "restic"
    kind = ResticTool

    def prepare(self) -> None:
        """Make the other repository, with the same chunker, so that chunks go as they are."""
        super().prepare()
        self.tool.environment["RESTIC_FROM_PASSWORD"] = self.tool.environment["RESTIC_PASSWORD"]
        self._init(self.far, self.tool.store)

    def push(self) -> Command:
        """It syncs what it copies."""
        return self._copy(self.tool.store, self.far)

    def pull(self) -> Command:
        """The same, from there."""
        there = self.place / "there"
        self._init(there, self.far)
        return self._copy(self.far, there)

    def _init(self, repository: Path, like: Path) -> None:
        words = ["restic", "--quiet", "--repo", str(repository), "init", "--from-repo", str(like)]
        self.tool.do(*words, "--copy-chunker-params")

    def _copy(self, source: Path, target: Path) -> Command:
        words = ["restic", "--quiet", "--repo", str(target), "copy", "--from-repo", str(source)]
        return Command(words, self.tool.place, self.tool.environment)


class Dvc(_OfTool):
    """`dvc push` to a folder, `dvc fetch` from it into an empty cache, and `sync`."""

    name = "dvc"
    program = "dvc"
    kind = DvcTool

    def prepare(self) -> None:
        """Name the folder."""
        super().prepare()
        self.tool.do("dvc", "remote", "add", "--quiet", "--default", "far", str(self.far), folder=self.tool.store)

    def push(self) -> Command:
        """It leaves its bytes to the kernel."""
        return Command(["dvc", "push", "--quiet"], self.tool.store, self.tool.environment).synced()

    def pull(self) -> Command:
        """In a project that has the names of the files, and nothing else."""
        there = self.place / "there"
        there.mkdir()
        self.tool.do("dvc", "init", "--quiet", "--no-scm", folder=there)
        self.tool.do("dvc", "remote", "add", "--quiet", "--default", "far", str(self.far), folder=there)
        shutil.copy(self.tool.store / "data.dvc", there)
        return Command(["dvc", "fetch", "--quiet"], there, self.tool.environment).synced()


def _wait(server: Server, is_ready: Callable[[], bool]) -> None:
    until = time.monotonic() + _STARTS_S
    while server.is_alive() and not is_ready():
        if time.monotonic() > until:
            server.stop()
            message = f"the server does not answer: {server.log().strip()}"
            raise Failed(message)
        time.sleep(0.02)


def _answers(port: int) -> bool:
    with socket.socket() as probing:
        return probing.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        return int(probing.getsockname()[1])
