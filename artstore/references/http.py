"""HTTP: what a web server gives for an address, `http://` and `https://`.

A server tells the state of what it gives by an entity tag, and need not. The tag is never taken for a digest; without
one the size, the date and the address that answered are all that can be compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import aiohttp
import fsspec
from fsspec.asyn import sync
from fsspec.config import conf
from yarl import URL

from artstore.errors import ArtstoreError, ReferenceChanged, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry, reference
from artstore.model.paths import quoted
from artstore.references.address import check_address, last_name
from artstore.references.streaming import blocks_of
from artstore.references.wanted import Wanted
from artstore.references.warning import warn

MOST_REDIRECTS: Final = 10

_HEADERS: Final = {"Accept-Encoding": "identity"}  # A compressed answer has another tag and another length.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=120)
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({404, 410})
_NOT_ALLOWED: Final = frozenset({401, 402, 403, 407, 451})
_OK: Final = 200


def expand(wanted: Wanted) -> list[ReferenceEntry]:
    """The one entry for an address; its body is not read."""
    check_address(wanted.uri)
    name = wanted.name or last_name(wanted.uri)
    if not wanted.checksum:
        return [reference(name, wanted.uri, checksum=wanted.uri, size=None, extra={})]
    with _opened(wanted.uri) as answer:
        entry = reference(
            name, wanted.uri, checksum=_checksum(answer, wanted.uri), size=_size(answer), extra=_extra(answer)
        )
    if entry.checksum == entry.uri:
        compared = ["the address"] + ["the size"] * (entry.size is not None) + ["the date"] * ("date" in entry.extra)
        warn(f"{wanted.uri!r} has no ETag: a change can be told by {' and '.join(compared)} alone")
    return [entry]


def fetch(entry: ReferenceEntry) -> Generator[bytes, None, None]:
    """The body, if the answer is the one that was recorded."""
    with _opened(entry.uri) as answer:
        if entry.checksum != entry.uri or entry.extra != "{}":
            _compare(entry, answer)
        yield from blocks_of(answer.content.read)


def _compare(entry: ReferenceEntry, answer: aiohttp.ClientResponse) -> None:
    """Raise ReferenceChanged where this is not the answer that was recorded."""
    now = reference(
        entry.path, entry.uri, checksum=_checksum(answer, entry.uri), size=_size(answer), extra=_extra(answer)
    )
    if now.checksum != entry.checksum:
        what = f"the ETag {now.checksum!r} now" if now.checksum != entry.uri else "no ETag any more"
        why = f"has {what}, and had {entry.checksum!r} when it was recorded"
    elif entry.size is not None and now.size not in {None, entry.size}:
        why = f"is {now.size:,} bytes long now, and was {entry.size:,} when it was recorded"
    elif entry.checksum == entry.uri and now.extra != entry.extra:
        why = f"answers as {now.extra} now, and as {entry.extra} when it was recorded"
    else:
        return
    message = f"{entry.uri!r} {why}: it was changed or moved"
    raise ReferenceChanged(message, code="reference-changed")


def _checksum(answer: aiohttp.ClientResponse, uri: str) -> str:
    """The entity tag without its quotes; the URI where there is none."""
    return answer.headers.get("ETag", "").removeprefix("W/").strip('"') or uri


def _extra(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    if tag := answer.headers.get("ETag", "").removeprefix("W/").strip('"'):
        return {"etag": answer.headers["ETag"]} if tag else {}
    # Without the query: in an address that was redirected to, it often is a signature with a date.
    told = {"location": str(answer.url.with_query(None).with_fragment(None))}
    if date := answer.headers.get("Last-Modified"):
        told["date"] = date
    return told


def _size(answer: aiohttp.ClientResponse) -> int | None:
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return None
    return answer.content_length


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[aiohttp.ClientResponse]:
    """The answer to a GET whose body is still to be read; errors while that is done are told here, too."""
    with _told(uri):
        system = _system()
        answer = sync(system.loop, _get, system, uri)
        try:
            yield answer
        finally:
            system.loop.call_soon_threadsafe(answer.close)


def _system() -> Any:
    """The HTTP of fsspec, as the user configured it; proxies and ~/.netrc count unless that says otherwise."""
    chosen = {**conf.get("http", {}).get("client_kwargs", {}), **conf.get("https", {}).get("client_kwargs", {})}
    return fsspec.filesystem("https", client_kwargs={"trust_env": True, "timeout": _TIMEOUT, **chosen})


async def _get(system: Any, uri: str) -> aiohttp.ClientResponse:
    """The answer at the end of all redirects; what identifies the user is shown to the first host alone."""
    own: aiohttp.ClientSession = await system.set_session()
    at: URL = system.encode_url(uri)
    start = at.origin()
    options: Mapping[str, Any] = system.kwargs
    for _ in range(MOST_REDIRECTS + 1):
        if at.origin() == start:
            headers = {**options.get("headers", {}), **_HEADERS}
            answer = await own.get(at, **{**options, "headers": headers}, allow_redirects=False)
        else:
            answer = await _get_as_nobody(own, at, options)
        if answer.status not in _MOVED:
            _check_status(answer, uri)
            return answer
        answer.close()
        at = _next(answer, uri)
    message = f"{uri!r} was redirected more than {MOST_REDIRECTS} times"
    raise Unreachable(message, code="reference-unreachable")


async def _get_as_nobody(own: aiohttp.ClientSession, at: URL, options: Mapping[str, Any]) -> aiohttp.ClientResponse:
    """Ask another host by the same connections, certificates and proxies, without headers, cookies or passwords."""
    transport = {name: options[name] for name in ("ssl", "proxy") if name in options}
    async with aiohttp.ClientSession(
        connector=own.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=own.timeout,
        trust_env=own.trust_env,
    ) as nobody:
        answer: aiohttp.ClientResponse = await nobody.get(at, headers=_HEADERS, allow_redirects=False, **transport)
        return answer


def _next(answer: aiohttp.ClientResponse, uri: str) -> URL:
    location = answer.headers.get("Location", "")
    try:
        target = answer.url.join(URL(location))
        target.origin()
    except ValueError as error:
        message = f"{uri!r} is redirected to {quoted(location)}, which is no address"
        raise Unreachable(message, code="reference-unreachable") from error
    if target.scheme not in {"http", "https"} or (answer.url.scheme == "https" and target.scheme != "https"):
        message = f"{uri!r} is redirected to {quoted(location)}, away from https: that is not followed"
        raise Refused(message, code="reference-refused")
    if target.user is not None or target.password is not None:
        target = target.with_user(None)
    return target


def _check_status(answer: aiohttp.ClientResponse, uri: str) -> None:
    if answer.status == _OK:
        return
    answer.close()
    said = f"{uri!r}: the server says {answer.status} {answer.reason or ''}".rstrip()
    if answer.status in _GONE:
        message = f"{said}: it is not there, or not any more"
        raise ReferenceMissing(message, code="reference-missing")
    if answer.status in _NOT_ALLOWED:
        message = f"{said}: it needs credentials, or others (~/.netrc, or ~/.config/fsspec)"
        raise Refused(message, code="reference-refused")
    raise Unreachable(said, code="reference-unreachable")


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what aiohttp raises into an error that a caller can act on."""
    try:
        yield
    except ArtstoreError:
        raise
    except aiohttp.ClientPayloadError as error:
        message = f"{uri!r} broke off before its end: {error}. Repeat it"
        raise Unreachable(message, code="reference-cut-short") from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        message = f"{uri!r} cannot be reached: {str(error) or type(error).__name__}"
        raise Unreachable(message, code="reference-unreachable") from error
