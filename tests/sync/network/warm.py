"""Warm: a server that is killed and there again within a blink, since what it is made of was loaded long before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, Self

from artstore.store import Store
from tests.servers import free_port

_CODE: Final = """
import os, sys
from pathlib import Path
import uvicorn.loops.auto, uvicorn.protocols.http.h11_impl
from artstore.server import pages
from artstore.server.listening import Address
from artstore.server.serving import serve
from artstore.store import Store
from tests.sync.network import planted

folder, port = Path(sys.argv[1]), int(sys.argv[2])
for plant in sys.argv[3:]:
    getattr(planted, plant)()
pages.prepare()
for _ in sys.stdin:
    child = os.fork()
    if not child:
        with Store.open(folder) as store:
            serve(store, Address("127.0.0.1", port), ready=lambda _url: print("ready", os.getpid(), flush=True))
        os._exit(0)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


class WarmServer:
    """As `artstore serve`, for a store that is made if it is not there. Any thread may kill it and start it again."""

    def __init__(self, folder: Path, *plants: str) -> None:
        """Of a store in a folder; with these bugs, by their names in `planted`."""
        if not folder.exists():
            Store.init(folder).close()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._log = folder.with_suffix(".log")
        self._pid: int | None = None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, folder, str(self.port), *plants],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=Path(__file__).parents[3],
                text=True,
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def start(self) -> None:
        """Have it answer, if it does not."""
        with self._lock:
            if self._pid is None:
                assert self._process.stdin is not None
                self._process.stdin.write("start\n")
                self._process.stdin.flush()
                word, _, pid = self._heard().partition(" ")
                assert word == "ready", self._log.read_text()
                self._pid = int(pid)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, if it is there: as its owner does, or with SIGKILL as a power cut would."""
        with self._lock:
            if self._pid is not None:
                os.kill(self._pid, number)
                assert self._heard() == "gone"
                self._pid = None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.stop(signal.SIGKILL)

    def complaints(self) -> str:
        """What it has said of what it did not expect."""
        return self._log.read_text()

    def _heard(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
