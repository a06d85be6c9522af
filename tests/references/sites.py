"""Sites: places of every kind at which a reference can point, each with its real server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from tests.references import nginx
from tests.servers import Servers


class Site(Protocol):
    """A place where somebody else keeps files."""

    keeps_versions: bool
    """Whether what was recorded can be had after it was changed or removed."""
    has_folders: bool
    """Whether a URI can stand for several files."""

    def publish(self, files: Mapping[str, bytes]) -> str:
        """Put files into a new folder; answers its URI, without a slash at the end."""

    def change(self, uri: str, data: bytes) -> None:
        """Give a file other content, of whatever size."""

    def remove(self, uri: str) -> None:
        """Delete a file."""


class Folder:
    """A folder of this machine."""

    keeps_versions = False
    has_folders = True

    def __init__(self, top: Path) -> None:
        self._top = top
        self._made = 0

    def publish(self, files: Mapping[str, bytes]) -> str:
        self._made += 1
        folder = self._top / f"site-{self._made}"
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return f"file://{folder}"

    def change(self, uri: str, data: bytes) -> None:
        Path(uri.removeprefix("file://")).write_bytes(data)

    def remove(self, uri: str) -> None:
        Path(uri.removeprefix("file://")).unlink()


class Web(Folder):
    """What nginx shows, by TLS."""

    has_folders = False

    def __init__(self, server: nginx.Nginx, top: Path) -> None:
        super().__init__(top)
        self._www, self._url = f"file://{server.www}", server.url
        self._changes = 0

    def publish(self, files: Mapping[str, bytes]) -> str:
        return super().publish(files).replace(self._www, self._url)

    def change(self, uri: str, data: bytes) -> None:
        """Give it another second too: nginx makes its tags of the size and the seconds of the date."""
        file = uri.replace(self._url, self._www)
        super().change(file, data)
        self._changes += 1
        os.utime(file.removeprefix("file://"), (self._changes, self._changes))

    def remove(self, uri: str) -> None:
        super().remove(uri.replace(self._url, self._www))


@contextlib.contextmanager
def _folder(servers: Servers, scratch: Path) -> Iterator[Site]:
    del servers
    yield Folder(scratch)


@contextlib.contextmanager
def _web(servers: Servers, scratch: Path) -> Iterator[Site]:
    server = nginx.Nginx(servers.facts("nginx", nginx.start))
    with nginx.trusting(server):
        yield Web(server, server.www / scratch.name)


SITES: Final[dict[str, Callable[[Servers, Path], contextlib.AbstractContextManager[Site]]]] = {
    "file": _folder,
    "https": _web,
}
