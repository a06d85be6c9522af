"""Listening: where the pages may be offered, and the loop that answers.

Without a token that is this machine alone. Every user of the machine can reach its loopback address, whatever the
rights of the store's folder are; where that matters, a token is for loopback as well.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import uvicorn
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from artstore.errors import Conflict, Invalid, MissingFile, Refused
from artstore.server.app import make_app
from artstore.server.guard import LOOPBACK_NAMES, Admit, Guard
from artstore.server.patience import PatientLoop, PatientProtocol
from artstore.store import Store

if sys.platform != "win32":
    import resource

SHORTEST_TOKEN: Final = 16
"""Characters: a shorter one could be guessed."""
_AT_ONCE: Final = 256
"""Connections: whoever comes then is asked to come again."""
_FAREWELL_S: Final = 3
"""How long downloads may go on when it is to end."""


_OPEN_FILES: Final = 8192
"""What the process asks for, connections and files together, where it may have so many."""
_OWN_FILES: Final = 256
"""What of that is kept for the store."""


class Listening(socket.socket):
    """A socket that accepts no more connections than leave the store its files; who comes then is hung up on."""

    last = sys.maxsize
    """The highest descriptor that a connection may have."""

    def accept(self) -> tuple[socket.socket, Any]:
        """See socket."""
        connection, address = super().accept()
        if connection.fileno() <= self.last:
            return connection, address
        connection.close()
        # As if nobody had come.
        raise BlockingIOError


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


class Certificate(NamedTuple):
    """What proves to others who is asked."""

    chain: Path
    key: Path


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
    admit: Admit | None = None,
    names: Sequence[str] = (),
    beside: Sequence[BaseRoute] = (),
    certificate: Certificate | None = None,
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    ready: Callable[[str], None],
) -> None:
    """Offer the pages of a store until SIGINT or SIGTERM; `ready` is called with their URL once they can be asked for.

    `names` are those by which browsers reach it, besides the address itself; `beside` is what else is offered, and
    `around` what stands even before the guard. Raises Refused (needs-token) where others than this machine could reach
    it and nobody says who may, Invalid (bad-address, bad-certificate), and Conflict (address-in-use).
    """
    with listen(address, has_token=admit is not None) as listening:
        own = listening.getsockname()[0]
        is_any = ipaddress.ip_address(own).is_unspecified
        known = {
            *LOOPBACK_NAMES,
            address.host,
            own,
            *names,
            *([socket.gethostname(), socket.getfqdn()] if is_any else []),
        }
        app = around(Guard(make_app(store, beside), names=known, any_address=is_any, admit=admit))
        config = configured(app, certificate)
        scheme = "http" if certificate is None else "https"
        url = _url(scheme, "localhost" if is_any else address.host, listening.getsockname()[1])
        _Server(config, lambda: ready(url)).run(sockets=[listening])


def configured(app: ASGIApp, certificate: Certificate | None) -> uvicorn.Config:
    """How an application is served. Raises Invalid (bad-certificate)."""
    config = uvicorn.Config(
        app,
        ssl_certfile=None if certificate is None else certificate.chain,
        ssl_keyfile=None if certificate is None else certificate.key,
        # Any: for a key with a pass phrase OpenSSL would ask at the terminal.
        ssl_keyfile_password="none",  # noqa: S106 - it opens nothing
        access_log=False,
        lifespan="off",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_FAREWELL_S,
        http=PatientProtocol,
        loop=f"{PatientLoop.__module__}:{PatientLoop.__name__}",
        limit_concurrency=_AT_ONCE,
        ws="none",
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        assert certificate is not None
        message = (
            f"{str(certificate.chain)!r} is no certificate for the key {str(certificate.key)!r}: {error}. A key "
            "must have no pass phrase"
        )
        raise Invalid(message, code="bad-certificate") from error
    return config


class _Server(uvicorn.Server):
    """uvicorn's own, that says when it answers, and may be ended."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin. Signals are heeded by now: one that came sooner after the word would be lost."""
        await super().startup(sockets)
        self._ready()


def is_public(address: Address) -> bool:
    """Whether others than this machine could reach an address. Raises Invalid (bad-address)."""
    return not all(ipaddress.ip_address(str(each[4][0])).is_loopback for each in _resolved(address))


def listen(address: Address, *, has_token: bool) -> Listening:
    """Begin to listen. Raises as `serve`."""
    family, *_, place = _resolved(address)[0]
    if not has_token and is_public(address):
        message = (
            f"at {address.host!r} other machines could look into the store. Write a long word of chance into a file "
            "and name it with --token-file, or listen at 127.0.0.1"
        )
        raise Refused(message, code="needs-token")
    try:
        listening = Listening(fileno=socket.create_server(place[:2], family=family, backlog=128).detach())
        listening.last = _open_files() - _OWN_FILES
        # Inherited by each connection. asyncio sets it only on sockets that say themselves that they are TCP, and
        # without it the body of a small answer waits 40 ms for somebody to acknowledge the head.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"somebody listens at port {address.port} already: choose another, or port 0 for any"
            raise Conflict(message, code="address-in-use") from error
        message = f"{address.host}:{address.port} cannot be listened at: {error.strerror or error}"
        raise Invalid(message, code="bad-address") from error
    return listening


def _open_files() -> int:
    """How many files this process may have open; as many as are of use, where it may say so itself."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if 0 <= soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return soft if soft >= 0 else sys.maxsize


def _resolved(address: Address) -> list[Any]:
    try:
        return socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"{address.host!r} is no host that this machine knows: {error}"
        raise Invalid(message, code="bad-address") from error


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
