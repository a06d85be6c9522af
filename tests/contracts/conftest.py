"""Each contract is held to every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contracts.fars import FAR_MIRRORS, FARS, Far
from tests.references.sites import SITES, Site
from tests.servers import Servers
from tests.sync.objects.places import NETWORKS, PLACES, Network, Place


@pytest.fixture(params=FARS)
def far(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Far]:
    """A place of each kind through which stores can have the same."""
    with (FARS | FAR_MIRRORS)[request.param](servers, tmp_path) as found:
        yield found
        found.close()


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
