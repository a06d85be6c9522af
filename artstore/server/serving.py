"""Serving: the pages of a store, and its logs for others, at one address."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from anyio import CapacityLimiter
from starlette.routing import Mount

from artstore.server import listening
from artstore.server.api import MOUNT, make_api
from artstore.server.app import THREADS
from artstore.server.listening import Address
from artstore.store import Store
from artstore.sync.hosting.hosted import Hosted


def serve(store: Store, address: Address, *, names: Sequence[str] = (), ready: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM; `ready` is called with the URL once it can be asked for.

    Raises Conflict (locked) where another process serves this store, and as `listening.serve`.
    """
    with contextlib.closing(Hosted(store)) as hosted:
        beside = [Mount(MOUNT, make_api(hosted, CapacityLimiter(THREADS)))]
        listening.serve(store, address, names=names, beside=beside, ready=ready)
