"""Servers that are really asked, over a socket: in a thread of this process, or in one that may be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Self

import uvicorn
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from artstore.server.app import make_app
from artstore.server.guard import LOOPBACK_NAMES, Guard
from artstore.server.listening import Certificate, configured
from artstore.server.observing import Numbers, Observed
from artstore.server.patience import Paced
from artstore.server.serving import admitting, beside
from artstore.store import Store
from artstore.sync.hosting.hosted import Hosted
from tests.servers import free_port


class Served:
    """A store that is behind a server."""

    def __init__(self, store: Store, hosted: Hosted, port: int, scheme: str) -> None:
        self.store = store
        self.hosted = hosted
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.requests: list[str] = []
        """What was asked for so far: method and path of each."""
        self.log: list[str] = []
        """The lines of the access log."""
        self.received = 0
        """Bytes of all bodies that came."""
        self.routes: list[tuple[str, str]] = []
        """What the API answers to: method and address."""

    def written(self) -> list[str]:
        """The files that a push adds to."""
        return written(self.store.path)


def written(store: Path) -> list[str]:
    """The files of a store that a push to it adds to."""
    folders = ("hosted/log", "hosted/manifests", "ops", "packs", "blobs")
    return sorted(str(path) for folder in folders for path in (store / folder).rglob("*"))


@contextlib.contextmanager
def served(
    folder: Path,
    certificate: Certificate | None = None,
    quotas: Mapping[str, int] | None = None,
    names: Collection[str] = LOOPBACK_NAMES,
    port: int | None = None,
) -> Iterator[Served]:
    """Serve a store, which is made if it is not there, to those who call it by these names, at a port or any."""
    with (
        Store.open(folder) if folder.exists() else Store.init(folder) as store,
        contextlib.closing(Hosted(store, quotas)) as hosted,
    ):
        found = Served(store, hosted, port or free_port(), "http" if certificate is None else "https")
        numbers = Numbers(hosted.quotas)
        more = beside(hosted, numbers)
        found.routes = [
            (method, route.path.removeprefix("/1"))
            for mount in more
            if isinstance(mount, Mount)
            for route in mount.routes
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}
        ]
        guard = Guard(make_app(store, more), names=names, admit=admitting(store, without_tokens=True))
        app = Observed(Paced(guard), numbers, found.log.append)

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            found.requests.append(f"{scope['method']} {scope['path']}")

            async def counting() -> Message:
                message = await receive()
                found.received += len(message.get("body", b""))
                return message

            await app(scope, counting, send)

        config = configured(noting, certificate)
        config.port = found.port
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

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        certificate: Certificate | None = None,
        through: Callable[[list[str]], list[str]] = lambda command: command,
    ) -> None:
        """Of the store in a folder, which is made if it is not there; `through` says how the command is run."""
        if not folder.exists():
            Store.init(folder).close()
        self.folder = folder
        self._log = folder.with_suffix(".log")
        self.port = free_port()
        self.url = f"{'http' if certificate is None else 'https'}://{host}:{self.port}"
        self._command = [sys.executable, "-m", "artstore", "serve", "--store", str(folder)]
        self._command += ["--listen", f"{host}:{self.port}"]
        if certificate is not None:
            self._command += ["--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)]
        self._command = through(self._command)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Return when it answers."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=log,
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
        """End it as its owner would; answers what it has said of all that was asked."""
        assert self._process is not None
        self._process.terminate()
        self._process.communicate(timeout=30)
        return self._log.read_text()
