"""Places: one of each kind that can hold objects, with its real server."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest
from fsspec.config import conf

from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from tests.chaos import Chaos, chaos
from tests.references import emulators, seaweedfs
from tests.servers import Servers
from tests.sync.objects import sshd


class Place(NamedTuple):
    """An empty place, which other processes can reach as well."""

    url: str
    races: int = 300
    """How often many can claim a name at once within a few seconds."""

    def open(self) -> Objects:
        """As one more host would have it."""
        return open_objects(self.url)


class Network(NamedTuple):
    """A place on the other side of a network that can be broken, and the same place as those have it who are there."""

    far: Place
    near: Place
    wire: Chaos


Opened = contextlib.AbstractContextManager[Place]


@contextlib.contextmanager
def _folder(_servers: Servers, scratch: Path) -> Iterator[Place]:
    scratch.mkdir()
    yield Place(f"file://{scratch}")


@contextlib.contextmanager
def _s3(servers: Servers, scratch: Path) -> Iterator[Place]:
    facts = servers.facts("seaweedfs", seaweedfs.start)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in seaweedfs.environment(facts).items():
            patch.setenv(name, value)
        yield Place(f"s3://{facts['plain']}/{scratch.name}", races=45)


@contextlib.contextmanager
def _gs(servers: Servers, scratch: Path) -> Iterator[Place]:
    facts = servers.facts("gcs", emulators.start_gcs)
    with emulators.gcs_reached(facts) as system, pytest.MonkeyPatch.context() as patch:
        bucket = emulators.make_gcs_bucket(system, keeps_versions=False)
        # As gcsfs is configured, for child processes.
        patch.setenv("FSSPEC_GS", json.dumps({"endpoint_url": facts["url"], "token": "anon"}))
        yield Place(f"gs://{bucket}/{scratch.name}", races=150)


@contextlib.contextmanager
def _sftp(servers: Servers, scratch: Path) -> Iterator[Place]:
    scratch.mkdir()
    facts = servers.facts("sshd", sshd.start)
    sshd.trust(facts, Path(os.environ["HOME"]))
    yield Place(f"sftp://depot-host{scratch}", races=60)


PLACES: Final[dict[str, Callable[[Servers, Path], Opened]]] = {
    "folder": _folder,
    "s3": _s3,
    "gs": _gs,
    "sftp": _sftp,
}


@contextlib.contextmanager
def _far_s3(servers: Servers, scratch: Path) -> Iterator[Network]:
    with _s3(servers, scratch) as near, chaos(_port(os.environ["AWS_ENDPOINT_URL"])) as wire:
        yield Network(Place(f"{near.url}?endpoint=http://127.0.0.1:{wire.port}"), near, wire)


@contextlib.contextmanager
def _far_gs(servers: Servers, scratch: Path) -> Iterator[Network]:
    with (
        _gs(servers, scratch) as place,
        chaos(_port(conf["gs"]["endpoint_url"])) as wire,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setitem(conf, "gs", {**conf["gs"], "endpoint_url": f"http://127.0.0.1:{wire.port}"})
        yield Network(place, place, wire)


@contextlib.contextmanager
def _far_sftp(servers: Servers, scratch: Path) -> Iterator[Network]:
    with _sftp(servers, scratch) as near, chaos(int(servers.facts("sshd", sshd.start)["port"])) as wire:
        yield Network(Place(near.url.replace("depot-host", f"depot-host:{wire.port}")), near, wire)


NETWORKS: Final[dict[str, Callable[[Servers, Path], contextlib.AbstractContextManager[Network]]]] = {
    "s3": _far_s3,
    "gs": _far_gs,
    "sftp": _far_sftp,
}


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
