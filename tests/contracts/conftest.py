"""Each contract is held to every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from tests.references.sites import SITES, Site
from tests.servers import Servers
from tests.sync.objects.places import NETWORKS, PLACES, Network, Place
from tests.sync.serving import served


class Far(NamedTuple):
    """A remote that has nothing yet."""

    url: str
    written: Callable[[], list[str]]
    """Names of all that was written there."""


@pytest.fixture(params=[*PLACES, "server"])
def far(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Far]:
    """A remote of each kind."""
    if request.param == "server":
        with served(tmp_path / "server") as server:
            yield Far(server.url, server.written)
    else:
        with PLACES[request.param](servers, tmp_path / uuid4().hex) as empty:
            yield Far(empty.url, lambda: list(empty.open().names("")))


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Site]:
    """A place of each kind at which a reference can point."""
    with SITES[request.param](servers, tmp_path / uuid4().hex) as place:
        yield place


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """A place of each kind that can hold objects."""
    with PLACES[request.param](servers, tmp_path / uuid4().hex) as empty:
        yield empty


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Network]:
    """A place of each kind that is reached through a network."""
    with NETWORKS[request.param](servers, tmp_path / uuid4().hex) as reached:
        yield reached
