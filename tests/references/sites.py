"""Sites: places of every kind at which a reference can point, each with its real server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from fsspec.asyn import get_loop, sync

from tests.references import emulators, nginx, seaweedfs
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


class Objects:
    """A bucket, of any service."""

    has_folders = True

    def __init__(
        self,
        base: str,
        put: Callable[[str, bytes], object],
        delete: Callable[[str], object],
        *,
        keeps_versions: bool,
    ) -> None:
        self.keeps_versions = keeps_versions
        self._base, self._put, self._delete = base, put, delete

    def publish(self, files: Mapping[str, bytes]) -> str:
        folder = f"site-{uuid4().hex}"
        for name, data in files.items():
            self._put(f"{folder}/{name}", data)
        return f"{self._base}/{folder}"

    def change(self, uri: str, data: bytes) -> None:
        self._put(uri.removeprefix(f"{self._base}/"), data)

    def remove(self, uri: str) -> None:
        self._delete(uri.removeprefix(f"{self._base}/"))


@contextlib.contextmanager
def _folder(servers: Servers, scratch: Path) -> Iterator[Site]:
    del servers
    yield Folder(scratch)


@contextlib.contextmanager
def _web(servers: Servers, scratch: Path) -> Iterator[Site]:
    server = nginx.Nginx(servers.facts("nginx", nginx.start))
    with nginx.trusting(server):
        yield Web(server, server.www / scratch.name)


@contextlib.contextmanager
def _s3(servers: Servers, _scratch: Path, *, keeps_versions: bool) -> Iterator[Site]:
    facts = servers.facts("seaweedfs", seaweedfs.start)
    with seaweedfs.reached(facts) as system:
        name = facts["versioned" if keeps_versions else "plain"]

        def put(key: str, data: bytes) -> object:
            return system.call_s3("put_object", Bucket=name, Key=key, Body=data)

        def delete(key: str) -> object:
            return system.call_s3("delete_object", Bucket=name, Key=key)

        yield Objects(f"s3://{name}", put, delete, keeps_versions=keeps_versions)


@contextlib.contextmanager
def _gs(servers: Servers, _scratch: Path, *, keeps_versions: bool) -> Iterator[Site]:
    with emulators.gcs_reached(servers.facts("gcs", emulators.start_gcs)) as system:
        name = emulators.make_gcs_bucket(system, keeps_versions=keeps_versions)

        def put(key: str, data: bytes) -> object:
            return system.pipe_file(f"{name}/{key}", data)

        def delete(key: str) -> object:
            return system.call("DELETE", "b/{}/o/{}", name, key)

        yield Objects(f"gs://{name}", put, delete, keeps_versions=keeps_versions)


@contextlib.contextmanager
def _azure(servers: Servers, _scratch: Path, *, host: str | None) -> Iterator[Site]:
    with emulators.azure_reached(servers.facts("azurite", emulators.start_azurite)) as container:

        def put(key: str, data: bytes) -> object:
            return sync(get_loop(), container.upload_blob, key, data, overwrite=True)

        def delete(key: str) -> object:
            return sync(get_loop(), container.delete_blob, key)

        base = f"{host or 'az:/'}/{container.container_name}"
        yield Objects(base, put, delete, keeps_versions=False)


SITES: Final[dict[str, Callable[[Servers, Path], contextlib.AbstractContextManager[Site]]]] = {
    "file": _folder,
    "https": _web,
    "s3": partial(_s3, keeps_versions=False),
    "s3-versioned": partial(_s3, keeps_versions=True),
    "gs": partial(_gs, keeps_versions=False),
    "gs-versioned": partial(_gs, keeps_versions=True),
    "az": partial(_azure, host=None),
    "azure": partial(_azure, host=f"https://{emulators.ACCOUNT}.blob.core.windows.net"),
}
