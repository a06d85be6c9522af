"""Pages that are really asked for: a store, and the loop that answers, in a thread of this process."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn

from artstore.lifecycle.reports import VersionInfo
from artstore.server.app import make_app
from artstore.server.guard import LOOPBACK_NAMES, Guard, one_token
from artstore.store import Store
from tests.servers import free_port


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Door:
    """A door that is open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, address: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask for an address; underscores in the names of headers are hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, address, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())


@contextlib.contextmanager
def opened(store: Store, *, token: str | None = None, any_address: bool = False) -> Iterator[Door]:
    """Answer for a store."""
    port = free_port()
    app = Guard(
        make_app(store),
        names=LOOPBACK_NAMES,
        any_address=any_address,
        admit=None if token is None else one_token(token),
    )
    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Door(port)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.init(tmp_path / "store") as found:
        yield found


@pytest.fixture
def door(store: Store) -> Iterator[Door]:
    """The pages of the store."""
    with opened(store) as found:
        yield found


@pytest.fixture
def keep(store: Store) -> Callable[..., VersionInfo]:
    """Make a version of files; `cats`, a dataset, if nothing else is said."""

    def make(files: Mapping[str, bytes], name: str = "cats", **label: Any) -> VersionInfo:
        with store.draft() as draft:
            for path, data in files.items():
                draft.add_stream(io.BytesIO(data), path)
            return store.commit(draft, name=name, **{"type": "dataset", **label})

    return make
