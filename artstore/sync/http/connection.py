"""Connection: requests to a server, and what can go wrong with them.

A server is believed to be one by the header that marks its answers. Nobody is followed elsewhere: a token goes to the
host that the remote names, and nowhere else. What is plain HTTP goes to this machine only.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.util import parse_url

from artstore.errors import (
    ArtstoreError,
    Conflict,
    Corrupt,
    Denied,
    Invalid,
    MissingObject,
    StorageFull,
    Unreachable,
    UpgradeNeeded,
)
from artstore.sync.http.wire import BYTES, LONGEST_ANSWER, MARK, PREFIX
from artstore.sync.objects.pacing import Pace

TRIES: Final = 4
"""Times that a request is sent before its failure is an error."""
_LONGEST_PAUSE_S: Final = 5.0
_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 60.0
"""How long nothing may come before the other side counts as gone."""
_LONGEST_ERROR: Final = 64 << 10
_BLOCK: Final = 1 << 20
_AT_ONCE: Final = 8

_FAILURES: Final[dict[int, type[ArtstoreError]]] = {
    400: Invalid,
    404: MissingObject,
    409: Conflict,
    413: Invalid,
    416: Invalid,
    426: UpgradeNeeded,
    507: StorageFull,
}
_WORDS: Final = {413: "what stands before it takes no bodies of that size: let it (nginx: client_max_body_size 0)"}
"""What it means when something between here and there says so, and no server."""
_FULL: Final = "storage-full"
_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})

Body = Any
"""Bytes, or an iterator of bytes with a Content-Length; the latter is sent once."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Any
    """A mapping that does not mind capitals."""
    data: bytes


class _Failure(msgspec.Struct, rename={"kind": "class"}):
    code: str
    message: str
    kind: str = ""


class _Failed(msgspec.Struct):
    error: _Failure


class Connection:
    """Requests to one server. Any number of threads may use it."""

    def __init__(self, url: str, token: str | None = None, pace: Pace | None = None) -> None:
        """Nothing is asked yet; what goes and comes keeps to a pace, if one is given.

        Raises Invalid (bad-url, password-in-url, insecure-url, bad-proxy).
        """
        parts = _checked(url)
        self.url = url.rstrip("/")
        self._path = parts.path.rstrip("/") + PREFIX
        self._token = token
        self._pace = pace
        self._pool = _pools(parts).connection_from_url(
            f"{parts.scheme}://{parts.netloc}",
            {
                "maxsize": _AT_ONCE,
                "timeout": urllib3.Timeout(connect=_CONNECT_S, read=_SILENCE_S),
                "retries": False,
            },
        )

    def ask(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        doing: str,
        kind: str = BYTES,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, sent again where no answer comes; all that is asked of a server may be asked twice.

        Raises what the server says, Unreachable where it does not, Denied.
        """
        pause_s = 0.1
        for left in reversed(range(TRIES)):
            try:
                with self.open(method, path, body, doing=doing, kind=kind, headers=headers) as answer:
                    return Answer(answer.status, answer.headers, self._read(answer, doing))
            except Unreachable as error:
                is_over = error.code != "remote-unreachable" or isinstance(error.__cause__, NewConnectionError)
                if not left or is_over or not isinstance(body, bytes | None):
                    raise
                # Full jitter: who was cut at one moment does not come back at one moment.
                time.sleep(random.uniform(0, pause_s))  # noqa: S311 - no secret
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 4)
        raise AssertionError

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        doing: str,
        kind: str = BYTES,
        headers: dict[str, str] | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """As `ask`, once, for an answer that is read bit by bit."""
        sent = {"Accept-Encoding": "identity", "User-Agent": "artstore", **(headers or {})}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            sent["Content-Type"] = kind
            if self._pace is not None:
                if isinstance(body, bytes | bytearray):
                    sent["Content-Length"], body = str(len(body)), [bytes(body)]
                body = self._pace.paced(body)
        with self._told(doing):
            answer = self._pool.urlopen(
                method, f"{self._path}/{path}", body=body, headers=sent, preload_content=False, redirect=False
            )
        try:
            self._check(answer, doing)
            yield answer
        finally:
            # What was not read would be taken for the next answer.
            if not answer.closed:
                answer.close()
            answer.release_conn()

    def blocks(self, answer: urllib3.BaseHTTPResponse, size: int, doing: str) -> Iterator[bytes]:
        """What an answer holds, some bytes at a time. Raises Unreachable where it is cut."""
        with self._told(doing):
            yield from self._came(answer, size)

    def _read(self, answer: urllib3.BaseHTTPResponse, doing: str) -> bytes:
        """All of an answer. Raises Corrupt (remote-corrupt) before more of it is kept than any answer has."""
        blocks: list[bytes] = []
        size = 0
        with self._told(doing):
            for block in self._came(answer, _BLOCK):
                blocks.append(block)
                size += len(block)
                if size > LONGEST_ANSWER:
                    message = f"{self.url} answers without an end while {doing}. Is it an artstore server?"
                    raise Corrupt(message, code="remote-corrupt")
        return b"".join(blocks)

    def _came(self, answer: urllib3.BaseHTTPResponse, size: int) -> Iterator[bytes]:
        if self._pace is None:
            yield from answer.stream(size, decode_content=False)
            return
        for block in answer.stream(min(size, self._pace.block), decode_content=False):
            # It has come already; the next one waits for it, and so does whoever sends that.
            self._pace.wait(len(block))
            yield block

    def _check(self, answer: urllib3.BaseHTTPResponse, doing: str) -> None:
        status = answer.status
        is_chunked = answer.headers.get("transfer-encoding", "").lower() == "chunked"
        has_length = is_chunked or answer.headers.get("content-length", "").isdecimal()
        if answer.version > 10 and not has_length:  # noqa: PLR2004 - HTTP/1.0, which ends where the connection does
            # What is cut among its headers is taken for the end of them, and for an answer of no bytes.
            message = f"{self.url} hangs up while {doing}. Nothing is lost; try again later"
            raise Unreachable(message, code="remote-unreachable")
        if status in {401, 403}:
            raise self._denied(doing, self._said(answer, doing))
        if 300 <= status < 400:  # noqa: PLR2004 - as HTTP has them
            target = urlsplit(answer.headers.get("location", "")).netloc or "another place"
            message = (
                f"{self.url} sends elsewhere, to {target!r}: if that is where the server is, name it as the remote"
            )
            raise Unreachable(message, code="remote-moved")
        if status < 300:  # noqa: PLR2004 - as above
            if MARK not in answer.headers:
                message = (
                    f"{self.url} answers, but no artstore server does: look at the address, and whether a network asks "
                    "for a login first"
                )
                raise Unreachable(message, code="not-a-server")
            return
        said = self._said(answer, doing)
        words = said.message if said is not None else _WORDS.get(status, f"it says {status}")
        if said is not None and said.code == _FULL:
            # It speaks to whoever keeps it.
            words = "its disk is full. Whoever keeps it can make room there (`artstore gc` in its store); then repeat"
        if status in _FAILURES and MARK in answer.headers:
            raise _FAILURES[status](f"{self.url}: {words}", code="remote-refused" if said is None else said.code)
        if said is not None and said.kind == Corrupt.__name__ and MARK in answer.headers:
            # It stays so until somebody mends it.
            raise Corrupt(f"{self.url}: {words}", code=said.code)
        message = f"{self.url} cannot answer while {doing}: {words}. Nothing is lost; try again later"
        raise Unreachable(message, code="remote-unreachable" if status in _LATER else "not-a-server")

    def _denied(self, doing: str, said: _Failure | None) -> Denied:
        words = "it wants a token" if said is None else said.message
        message = (
            f"{self.url} does not allow {doing}: {words}. Give a token that may with `artstore remote add … "
            "--token-file`, in tokens.toml, or in ARTSTORE_TOKEN with this server in ARTSTORE_SERVER"
        )
        return Denied(message, code="remote-denied")

    def _said(self, answer: urllib3.BaseHTTPResponse, doing: str) -> _Failure | None:
        """What an error says of itself, if it is a server's.

        Raises Unreachable where a server's own words are cut, which say what has to be done: they are asked for again.
        """
        data = b""
        with self._told(doing) if MARK in answer.headers else contextlib.suppress(HTTPError, OSError):
            while len(data) < _LONGEST_ERROR and (more := answer.read(_LONGEST_ERROR, decode_content=False)):
                data += more
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            said = msgspec.json.decode(data, type=_Failed).error
            # What a server says is one line: the next one could pass for artstore's own.
            return msgspec.structs.replace(said, message=" ".join(said.message.splitlines()))
        return None

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except SSLError as error:
            message = (
                f"{self.url} does not prove that it is that host: {error}. If it has a certificate of your own, name "
                "the file of your authority in SSL_CERT_FILE"
            )
            raise Denied(message, code="bad-certificate") from error
        except (HTTPError, OSError) as error:
            if isinstance(error, ArtstoreError):
                raise
            said = str(error).rpartition(": ")[2] or type(error).__name__
            message = f"{self.url} does not answer while {doing}: {said}. Nothing is lost; try again later"
            raise Unreachable(message, code="remote-unreachable") from error


def decode(data: bytes, kind: type[Any], url: str) -> Any:
    """Read a JSON answer. Raises Corrupt (remote-corrupt)."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{url} answers what cannot be read: {error}. Is it of another artstore?"
        raise Corrupt(message, code="remote-corrupt") from error


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.query or parts.fragment:
        shown = url.rpartition("@")[2].partition("?")[0].partition("#")[0]
        message = f"{shown!r} is no address of a server: write https://HOST or https://HOST:PORT"
        raise Invalid(message, code="bad-url")
    if parts.username is not None or parts.password is not None:
        message = f"an address for {host!r} was given with a password, which would be kept and shown: use a token"
        raise Invalid(message, code="password-in-url")
    if parts.scheme.lower() == "http" and not _is_here(host):
        message = (
            f"what goes to {host!r} by http:// can be read and changed on the way: use https://, or a tunnel (ssh -L) "
            "and http://127.0.0.1"
        )
        raise Invalid(message, code="insecure-url")
    return parts


def _pools(parts: SplitResult) -> urllib3.PoolManager:
    """Connections to a host, by way of the proxy that the system or HTTPS_PROXY names for it, NO_PROXY heeded.

    A proxy carries what it cannot read: there is none for what stays on this machine.
    """
    host = parts.hostname or ""
    proxy = None if _is_here(host) or proxy_bypass(parts.netloc) else _first(getproxies(), parts.scheme, "all")
    if proxy is None:
        return urllib3.PoolManager()
    try:
        found = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        login = None if found.auth is None else urllib3.make_headers(proxy_basic_auth=unquote(found.auth))
        return urllib3.ProxyManager(found._replace(auth=None).url, proxy_headers=login)
    except (HTTPError, ValueError) as error:
        # What it is stays unsaid: it may have a password.
        message = f"the proxy that is named for {host!r} (HTTPS_PROXY, ALL_PROXY) is none that speaks HTTP: write http://HOST:PORT"
        raise Invalid(message, code="bad-proxy") from error


def _first(known: Mapping[str, str], *names: str) -> str | None:
    return next((known[name] for name in names if known.get(name)), None)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
