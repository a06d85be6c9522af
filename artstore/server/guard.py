"""Guard: who may ask, and what every answer says about itself.

It stands around the whole application, so that errors and static files pass it too. Refused before anything is looked
at: a request under a name that is not ours (a page of another site may have made its own name point here, "DNS
rebinding"), one that a page of another site sends, and, where there is a token, one without it. No answer may be shown
in a frame, read by other sites, taken for another type than it says, or load anything from elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artstore.errors import ArtstoreError

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load: our own scripts, styles and pictures, and nothing that stands in the page itself."""
BLOB_POLICY: Final = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""The same for somebody's bytes: nothing at all."""
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FROM_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})


RIGHTS: Final = "artstore.rights"
"""Where a request that was let in says what it may, in its scope."""
HEALTH: Final = "/healthz"
"""The one address that everybody may ask for: it says no more than that somebody answers."""
FOR_ONE_PROJECT: Final = ("/sync/", "/openapi.json")
"""How addresses begin that who may see one project only may ask for."""


class Rights(NamedTuple):
    """What somebody may who was let in."""

    scope: str
    """`read`, `write`, or `admin`, each with what those before may."""
    project: str | None
    """The only project; None: all."""
    id: str
    """Of the token, which is not the token; empty without one."""

    def may(self, scope: str, project: str | None) -> bool:
        """Whether something may be done in a project, or, with None, where all of them can be seen."""
        return _SCOPES.index(scope) <= _SCOPES.index(self.scope) and self.project in {None, project}


_SCOPES: Final = ("read", "write", "admin")
ANYBODY: Final = Rights("admin", None, "")
Admit = Callable[[str | None], Rights | None]
"""Says what may who brings a token, or none; None: nothing."""


def one_token(token: str) -> Admit:
    """Admit who has this token to everything."""
    return lambda given: ANYBODY if given is not None and hmac.compare_digest(_bytes(given), _bytes(token)) else None


class Guard:
    """An ASGI application that lets through to another one what may pass."""

    def __init__(
        self, app: ASGIApp, *, names: Iterable[str], any_address: bool = False, admit: Admit | None = None
    ) -> None:
        """Answer under these host names and, with any_address, every IP address; with `admit`, to whom that lets in."""
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._any_address = any_address
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope), scope)

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._mark(MutableHeaders(scope=message))
            await send(message)

        if refusal is None:
            await self._app(scope, receive, send_marked)
        else:
            await _refuse(refusal, send_marked)

    def _refusal(self, headers: Headers, scope: Scope) -> tuple[int, str, str] | None:
        """Why a request must not pass: status, code and words; None if it may."""
        hosts = headers.getlist("host")
        host = _host_of(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._is_ours(host):
            return 421, "other-host", "this address is not known here: --allow-host NAME makes it so"
        if _comes_from_elsewhere(headers, scope["method"]):
            return 403, "cross-site", "a page of another site has asked for this"
        if self._admit is None or scope["path"] == HEALTH:
            scope[RIGHTS] = ANYBODY
            return None
        return _let_in(self._admit, headers, scope)

    def _is_ours(self, host: str) -> bool:
        return host in self._names or (self._any_address and _is_address(host))

    def _mark(self, headers: MutableHeaders) -> None:
        for name, value in _ALWAYS.items():
            headers[name] = value
        headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        if self._admit is not None:
            headers["Cache-Control"] = "private, no-store"
        else:
            headers.setdefault("Cache-Control", "no-cache")


def _let_in(admit: Admit, headers: Headers, scope: Scope) -> tuple[int, str, str] | None:
    """Note what somebody may, or answer why he must not pass."""
    try:
        rights = admit(_token(headers))
    except ArtstoreError as error:
        words = "the tokens cannot be read: whoever keeps the server has to look at `artstore token ls`"
        return 503, error.code, words
    if rights is None:
        return 401, "bad-token", "say the token, as a password or as `Authorization: Bearer`"
    if rights.project is not None and not scope["path"].startswith(FOR_ONE_PROJECT):
        return 403, "not-allowed", "this shows all projects, and the token is for one"
    scope[RIGHTS] = rights
    return None


async def _refuse(refusal: tuple[int, str, str], send: Send) -> None:
    status, code, words = refusal
    body = json.dumps({"error": {"status": status, "code": code, "class": "Refused", "message": words}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:  # noqa: PLR2004 - as every browser knows it: it asks for a password then
        headers.append((b"www-authenticate", b'Basic realm="artstore", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host_of(text: str) -> str | None:
    """The name in a Host header, without its port and without the brackets of IPv6."""
    try:
        parts = urlsplit(f"//{text}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == text and not parts.username and parts.password is None else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _comes_from_elsewhere(headers: Headers, method: str) -> bool:
    """Whether another site's page asks for more than to be left for ours."""
    site = headers.get("sec-fetch-site")
    if site in _FROM_ELSEWHERE:
        is_a_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return not (is_a_link and method in {"GET", "HEAD"})
    # Older browsers say no more than this, and it where it matters: `null` is a page that hides where it is from.
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _token(headers: Headers) -> str | None:
    """The token that a request brings."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return given if scheme.lower() == "bearer" else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
