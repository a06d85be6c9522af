"""Real servers for tests: one of each kind for all workers of a session, on free ports, gone when the session ends.

A server is started by the first test that asks for it. A guard stands beside it, which ends it and deletes its folder
when the process that runs the whole session is no longer there, whatever became of that.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.lacking import lacking

READY_S: Final = 60
"""How long a server may take to answer."""

_GUARD: Final = """
import json, os, shutil, signal, subprocess, sys, time
owner, folder, environment, command = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
log = open(os.path.join(folder, "log"), "wb")
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment},
    cwd=folder)
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    while True:
        os.kill(owner, 0)
        if server.poll() is not None:
            open(os.path.join(folder, "ended"), "wb").close()
        time.sleep(0.2)
except ProcessLookupError:
    server.kill()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
"""

_GUARDS: Final[list[subprocess.Popen[bytes]]] = []
"""They outlive this process, and Python would complain if it forgot them earlier."""

Facts = dict[str, str]
"""What a test must know of a server."""


class Servers:
    """The servers of a session."""

    def __init__(self, folder: Path, owner: int) -> None:
        self._folder = folder
        self._owner = owner

    def facts(self, name: str, start: Callable[[Server], Facts]) -> Facts:
        """What there is to know of a server, which is started if no worker has done that."""
        written = self._folder / f"{name}.json"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not written.exists():
                folder = Path(tempfile.mkdtemp(prefix=f"artstore-{name}-"))
                try:
                    facts = start(Server(folder, self._owner))
                except BaseException:
                    # Also where it is not installed, and the test skipped.
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
                written.write_text(json.dumps(facts))
        found: Facts = json.loads(written.read_text())
        return found


class Server:
    """A server that is being started, in a folder of its own."""

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        self._owner = owner

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start it."""
        about = [str(self._owner), str(self.folder), json.dumps(environment or {})]
        guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, *about, *map(str, command)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        )
        _GUARDS.append(guard)

    def wait_for(self, port: int, url: str | None = None) -> None:
        """Come back when it listens, or when it gives an answer at a URL."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and not (self.folder / "ended").exists():
            with contextlib.suppress(OSError):
                if url is None:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                else:
                    with contextlib.suppress(urllib.error.HTTPError):
                        urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - a server of ours, by http
                return
            time.sleep(0.05)
        log = (self.folder / "log").read_text(errors="replace")
        pytest.fail(f"the server does not answer at port {port}:\n{log[-2000:]}")


def needed(program: str, *places: Path, to_install: str) -> str:
    """Where a program is. Without it the test is skipped, and fails in CI, which installs everything."""
    path = os.pathsep.join([*map(str, places), os.environ["PATH"], "/usr/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        lacking(f"there is no {program}: {to_install}")
    return found


def free_port(*, with_offset: int = 0) -> int:
    """A port that nobody listens at; nor at the one so much higher."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if not with_offset:
                return port
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port - with_offset))
                return port - with_offset


@contextlib.contextmanager
def answering(answer: bytes | Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that gives these bytes, or what suits the request, to whoever asks, and hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    asked, _ = listening.accept()
                    with asked:
                        request = asked.recv(65536)
                        asked.sendall(answer if isinstance(answer, bytes) else answer(request))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
