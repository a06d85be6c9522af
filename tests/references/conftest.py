"""A web server that is trusted, and a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artstore.store import Store
from tests.references.nginx import Nginx, start, trusting
from tests.servers import Servers


@pytest.fixture
def nginx(servers: Servers) -> Iterator[Nginx]:
    """nginx with TLS, whose certificate fsspec trusts, as an organisation's own authority would be."""
    server = Nginx(servers.facts("nginx", start))
    with trusting(server):
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store.init(tmp_path / "store") as opened:
        yield opened
