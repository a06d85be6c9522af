"""Listening: where the pages may be offered, and the loop that answers.

Without a token that is this machine alone. Every user of the machine can reach its loopback address, whatever the
rights of the store's folder are; where that matters, a token is for loopback as well.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import uvicorn
from starlette.routing import BaseRoute

from artstore.errors import Conflict, Invalid, MissingFile, Refused
from artstore.server.app import make_app
from artstore.server.guard import LOOPBACK_NAMES, Guard
from artstore.store import Store

SHORTEST_TOKEN: Final = 16
"""Characters: a shorter one could be guessed."""
_FAREWELL_S: Final = 3
"""How long downloads may go on when it is to end."""


class Address(NamedTuple):
    """A host, by name or number, and a port; 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT`, an IPv6 number in brackets. Raises Invalid (bad-address)."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or port is None or parts.netloc != text or "@" in text:
            message = f"{text!r} is no address to listen at: write HOST:PORT, for example 127.0.0.1:7717 or [::1]:7717"
            raise Invalid(message, code="bad-address")
        return cls(host, port)


def read_token(file: Path) -> str:
    """The token that stands in a file. Raises NotFound (token-not-found), Invalid (bad-token)."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        message = f"{str(file)!r} is no file with a token: write a long word of chance into one"
        raise MissingFile(message, code="token-not-found") from error
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        message = f"{str(file)!r} has no good token: write {SHORTEST_TOKEN} or more ASCII characters without a space"
        raise Invalid(message, code="bad-token")
    return token


def serve(
    store: Store,
    address: Address,
    *,
    token: str | None = None,
    names: Sequence[str] = (),
    beside: Sequence[BaseRoute] = (),
    ready: Callable[[str], None],
) -> None:
    """Offer the pages of a store until SIGINT or SIGTERM; `ready` is called with their URL once they can be asked for.

    `names` are those by which browsers reach it, besides the address itself; `beside` is what else is offered. Raises
    Refused (needs-token) where others than this machine could reach it and there is no token, Invalid (bad-address),
    and Conflict (address-in-use).
    """
    with _listen(address, has_token=token is not None) as listening:
        own = listening.getsockname()[0]
        is_any = ipaddress.ip_address(own).is_unspecified
        known = {
            *LOOPBACK_NAMES,
            address.host,
            own,
            *names,
            *([socket.gethostname(), socket.getfqdn()] if is_any else []),
        }
        app = Guard(make_app(store, beside), names=known, any_address=is_any, token=token)
        ready(_url("localhost" if is_any else address.host, listening.getsockname()[1]))
        config = uvicorn.Config(
            app,
            access_log=False,
            lifespan="off",
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_FAREWELL_S,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(address: Address, *, has_token: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"{address.host!r} is no host that this machine knows: {error}"
        raise Invalid(message, code="bad-address") from error
    family, *_, place = found[0]
    if not has_token and not all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in found):
        message = (
            f"at {address.host!r} other machines could look into the store. Write a long word of chance into a file "
            "and name it with --token-file, or listen at 127.0.0.1"
        )
        raise Refused(message, code="needs-token")
    try:
        return socket.create_server(place[:2], family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"somebody listens at port {address.port} already: choose another, or port 0 for any"
            raise Conflict(message, code="address-in-use") from error
        message = f"{address.host}:{address.port} cannot be listened at: {error.strerror or error}"
        raise Invalid(message, code="bad-address") from error


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
