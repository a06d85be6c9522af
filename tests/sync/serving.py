"""Servers that are really asked, over a socket: in a thread of this process, or in one that may be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from anyio import CapacityLimiter
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from artstore.server.api import MOUNT, make_api
from artstore.server.app import THREADS, make_app
from artstore.server.guard import LOOPBACK_NAMES, Guard
from artstore.store import Store
from artstore.sync.hosting.hosted import Hosted
from tests.servers import free_port


class Served:
    """A store that is behind a server."""

    def __init__(self, store: Store, hosted: Hosted, port: int) -> None:
        self.store = store
        self.hosted = hosted
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []
        """What was asked for so far: method and path of each."""

    def written(self) -> list[str]:
        """The files that a push adds to."""
        folders = ("hosted/log", "hosted/manifests", "ops", "packs", "blobs")
        return sorted(str(path) for folder in folders for path in (self.store.path / folder).rglob("*"))


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a store, which is made if it is not there."""
    with (
        Store.open(folder) if folder.exists() else Store.init(folder) as store,
        contextlib.closing(Hosted(store)) as hosted,
    ):
        found = Served(store, hosted, free_port())
        api = Mount(MOUNT, make_api(hosted, CapacityLimiter(THREADS)))
        guard = Guard(make_app(store, [api]), names=LOOPBACK_NAMES)

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            found.requests.append(f"{scope['method']} {scope['path']}")
            await guard(scope, receive, send)

        config = uvicorn.Config(
            noting, port=found.port, log_level="warning", access_log=False, lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield found
        finally:
            server.should_exit = True
            thread.join()


class ServerProcess:
    """A server that can be killed, and started again at the same address."""

    def __init__(self, folder: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = options
        self._environment = environment or {}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it answers."""
        argv: Sequence[str] = [sys.executable, "-m", "artstore.cli", "serve", "--store", str(self.folder)]
        self._process = subprocess.Popen(
            [*argv, "--listen", f"127.0.0.1:{self.port}", *self._options],
            env={**os.environ, **self._environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), self.end()

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def end(self) -> str:
        """End it as its owner would; answers what it has complained of."""
        assert self._process is not None
        self._process.terminate()
        _, complaints = self._process.communicate(timeout=30)
        return complaints
