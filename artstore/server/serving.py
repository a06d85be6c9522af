"""Serving: the pages of a store, and its logs for others, at one address."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from artstore.errors import Refused
from artstore.server import listening
from artstore.server.api import MOUNT, make_api
from artstore.server.app import THREADS, as_json
from artstore.server.guard import ANYBODY, HEALTH, RIGHTS, Admit, Rights
from artstore.server.listening import Address, Certificate
from artstore.server.observing import KIND, Numbers, Observed
from artstore.server.openapi import describe
from artstore.server.patience import Paced
from artstore.store import Store
from artstore.sync.hosting.hosted import Hosted
from artstore.sync.hosting.tokens import find_token, has_tokens, lets_in

_REST_S: Final = 600.0


def serve(
    store: Store,
    address: Address,
    *,
    names: Sequence[str] = (),
    certificate: Certificate | None = None,
    behind_proxy: bool = False,
    quotas: Mapping[str, int] | None = None,
    log: Callable[[str], None] = lambda _line: None,
    ready: Callable[[str], None],
) -> None:
    """Answer until SIGINT or SIGTERM; `ready` is called with the URL once it can be asked for.

    `quotas` has the bytes that projects may take, by name, and under "" that of each other one. `log` is given a line
    for each request.

    Raises Refused (needs-token, needs-tls) where others could reach it, Conflict (locked) where another process serves
    this store, and as `listening.serve`.
    """
    is_public = listening.is_public(address) or behind_proxy
    if is_public and not lets_in(store.path):
        place = "behind a proxy" if behind_proxy else f"at {address.host!r}"
        message = (
            f"{place} other machines could reach the store, and nobody says who may: make a token with "
            "`artstore token create`, or listen at 127.0.0.1 without a proxy"
        )
        raise Refused(message, code="needs-token")
    if is_public and certificate is None and not behind_proxy:
        message = (
            f"what goes to {address.host!r} could be read on the way, tokens too: give --tls-cert and --tls-key, or "
            "say --behind-proxy if something before it speaks TLS"
        )
        raise Refused(message, code="needs-tls")
    with contextlib.closing(Hosted(store, quotas)) as hosted, _resting(hosted):
        numbers = Numbers(hosted.quotas)
        listening.serve(
            store,
            address,
            admit=admitting(store, without_tokens=not is_public),
            names=names,
            beside=beside(hosted, numbers),
            certificate=certificate,
            around=lambda app: Observed(Paced(app), numbers, log),
            ready=ready,
        )


def beside(hosted: Hosted, numbers: Numbers) -> list[BaseRoute]:
    """What is answered besides the pages."""

    async def health(_request: Request) -> Response:
        return Response(b"ok\n", media_type="text/plain")

    async def metrics(request: Request) -> Response:
        rights: Rights = request.scope[RIGHTS]
        if not rights.may("admin", None):
            message = "the numbers tell of all projects: ask with an admin token for all"
            raise Refused(message, code="not-allowed")
        return Response(await run_sync(numbers.written), media_type=KIND)

    async def openapi(_request: Request) -> Response:
        return as_json(describe(metadata.version("artstore")))

    return [
        Mount(MOUNT, make_api(hosted, CapacityLimiter(THREADS))),
        Route(HEALTH, health),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
    ]


@contextlib.contextmanager
def _resting(hosted: Hosted) -> Iterator[None]:
    """Have done what is to be done from time to time."""
    ended = threading.Event()

    def rest() -> None:
        while not ended.wait(_REST_S):
            hosted.rest()

    thread = threading.Thread(target=rest, name="artstore-rest")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def admitting(store: Store, *, without_tokens: bool) -> Admit:
    """Let in who has a token of the store; everybody while none was ever made, if it may be without."""
    is_open = without_tokens

    def admit(word: str | None) -> Rights | None:
        nonlocal is_open
        if has_tokens(store.path):
            # For good: a file that was lost lets in nobody.
            is_open = False
        if is_open:
            return ANYBODY
        found = None if word is None else find_token(store.path, word)
        return None if found is None else Rights(found.scope, found.project, found.id)

    return admit
