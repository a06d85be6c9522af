"""Opening: a server by its URL. What HTTP needs is loaded only then, which for a depot would be in vain."""

from __future__ import annotations

from importlib import import_module
from typing import Final, Protocol, cast

from artstore.sync.http.wire import About
from artstore.sync.objects.pacing import Pace
from artstore.sync.protocol import Remote

SCHEMES: Final = frozenset({"http", "https"})


class Server(Remote, Protocol):
    """A remote that is a server."""

    def about(self) -> About:
        """What it says of itself. Raises Unreachable (not-a-server), Denied."""


class _Module(Protocol):
    def open_server(self, url: str, token: str | None, pace: Pace | None) -> Server: ...


def is_server(url: str) -> bool:
    """Whether a URL is that of a server, by its scheme."""
    return url.partition("://")[0].lower() in SCHEMES


def open_server(url: str, token: str | None, pace: Pace | None = None) -> Server:
    """The server at a URL, which is not asked for anything yet. Raises Invalid as Connection."""
    return cast("_Module", import_module("artstore.sync.http.remote")).open_server(url, token, pace)
