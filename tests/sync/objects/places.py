"""Places: one of each kind that can hold objects, with its real server."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
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


@contextlib.contextmanager
def _folder(servers: Servers, scratch: Path) -> Iterator[Place]:
    del servers
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


PLACES: Final[dict[str, Callable[[Servers, Path], contextlib.AbstractContextManager[Place]]]] = {
    "folder": _folder,
    "s3": _s3,
    "gs": _gs,
    "sftp": _sftp,
}
