"""Api: the logs that a store keeps for others, over HTTP. What is said is written down in `artstore.sync.http.wire`.

What comes is limited before it is taken in, and whoever stops sending in the middle is cut off. Work that waits for a
disk is done in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Annotated, Any, Final, TypeVar
from weakref import WeakValueDictionary

import msgspec
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from artstore.errors import ArtstoreError, Invalid, Refused
from artstore.model.digest import SIZE, Digest
from artstore.plain import plain
from artstore.server.app import failure_of
from artstore.server.downloads import blocks
from artstore.server.guard import RIGHTS, Rights
from artstore.sync.delta.chunks import MEANS, RANGES, SPAN, Range
from artstore.sync.hosting.hosted import Hosted
from artstore.sync.hosting.spool import PIECE, Spool
from artstore.sync.http.stretches import Stretch
from artstore.sync.http.wire import (
    BYTES,
    JSON,
    LONGEST_BODY,
    LONGEST_RANGES,
    LONGEST_SLOT,
    MANY,
    MARK,
    MESSAGES,
    PREFIX,
    About,
    Stand,
)
from artstore.sync.lengths import LONGEST_MANIFESTS

T = TypeVar("T")

_ASKED_ABOUT: Final[ContextVar[str]] = ContextVar("asked about", default="")
"""The project that a request is about."""

_Many = Annotated[list[bytes], msgspec.Meta(max_length=MANY)]
_BLOCK: Final = 1 << 20
MOUNT: Final = "/sync"
_ROOT: Final = PREFIX.removeprefix(MOUNT)
_PROJECT: Final = _ROOT + "/projects/{project}"
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_NAME: Final = re.compile(r"[0-9a-f]{32}\Z", re.ASCII)
_SLOT: Final = re.compile(r"[1-9]\d{0,17}\Z", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}\Z", re.ASCII)
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{0,18})\Z", re.ASCII)


def make_api(hosted: Hosted, at_once: CapacityLimiter) -> Starlette:
    """The application to be mounted at MOUNT."""
    api = _Api(hosted, at_once)
    app = Starlette(
        routes=[
            Route(_ROOT + "/", api.about),
            Route(_ROOT + "/projects", api.projects),
            Route(_PROJECT + "/slots/{number}", api.slots),
            Route(_PROJECT + "/slots/{number}", api.claim, methods=["PUT"]),
            Route(_PROJECT + "/lost", api.lost),
            Route(_PROJECT + "/lacks", api.lacks, methods=["POST"]),
            Route(_PROJECT + "/proofs", api.proofs, methods=["POST"]),
            Route(_PROJECT + "/manifests/{name}", api.manifests),
            Route(_PROJECT + "/manifests/{name}", api.put_manifests, methods=["PUT"]),
            Route(_PROJECT + "/holders/{hex}", api.holder),
            Route(_PROJECT + "/packs", api.packs, methods=["POST"]),
            Route(_PROJECT + "/fetch", api.fetch, methods=["POST"]),
            Route(_PROJECT + "/blobs/{hex}", api.blob),
            Route(_PROJECT + "/chunks", api.chunks, methods=["POST"]),
            Route(_PROJECT + "/ranges", api.ranges, methods=["POST"]),
            Route(_PROJECT + "/uploads/{hex}", api.stand),
            Route(_PROJECT + "/uploads/{hex}", api.upload, methods=["PUT"]),
        ],
        exception_handlers={ArtstoreError: _failed, HTTPException: _failed},
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    """One function an address."""

    def __init__(self, hosted: Hosted, at_once: CapacityLimiter) -> None:
        self._hosted = hosted
        self._at_once = at_once
        self._turns: WeakValueDictionary[str, CapacityLimiter] = WeakValueDictionary()

    async def about(self, request: Request) -> Response:
        """What this server is."""
        rights = _rights(request)
        return answer(About(format=1, store=self._hosted.store_id, scope=rights.scope, project=rights.project))

    async def projects(self, request: Request) -> Response:
        """The logs."""
        only = _rights(request).project
        return answer(await self._work(lambda: self._hosted.heads(only)))

    async def slots(self, request: Request) -> Response:
        """Slots from one on."""
        project, number = _project(request), _number(request)
        return _messages(await self._work(lambda: self._hosted.slots(project, number)))

    async def claim(self, request: Request) -> Response:
        """Claim a slot, or put back one that is lost."""
        project, number = _project(request, "write"), _number(request)
        with self._hosted.spool() as body:
            await self._fill(body, request, LONGEST_SLOT)
            return answer(await self._work(lambda: self._hosted.claim(project, number, body)))

    async def lost(self, request: Request) -> Response:
        """Slots that were claimed, and are lost or damaged."""
        project = _project(request)
        return answer(await self._work(lambda: self._hosted.lost(project)))

    async def lacks(self, request: Request) -> Response:
        """What is not there."""
        project = _project(request)
        asked = _decoded(await _body(request, LONGEST_BODY), tuple[_Many, _Many])
        manifests, blobs = map(_digests, asked)
        found = await self._work(lambda: self._hosted.lacks(project, manifests, blobs))
        return _messages((*(list(map(bytes, each)) for each in found[:2]), found[2]))

    async def proofs(self, request: Request) -> Response:
        """What parts of blobs hash to, as they are on the disk now."""
        project = _project(request)
        stretches = _decoded(await _body(request, LONGEST_BODY), list[Stretch])
        return _messages(await self._work(lambda: self._hosted.blobs.measured(project, stretches)))

    async def manifests(self, request: Request) -> Response:
        """An object of manifests."""
        project, name = _project(request), _matching(request, "name", _NAME)
        return _streamed(*await self._work(lambda: self._hosted.manifests(project, name)))

    async def put_manifests(self, request: Request) -> Response:
        """Keep an object of manifests."""
        project, name = _project(request, "write"), _matching(request, "name", _NAME)
        with self._hosted.spool() as body:
            await self._fill(body, request, LONGEST_MANIFESTS)
            await self._work(lambda: self._hosted.put_manifests(project, name, body))
        return answer({})

    async def holder(self, request: Request) -> Response:
        """The object that has a manifest."""
        project, digest = _project(request), _digest(request)
        return _streamed(*await self._work(lambda: self._hosted.holder(project, digest)))

    async def packs(self, request: Request) -> Response:
        """Store small blobs."""
        project = _project(request, "write")
        with self._hosted.spool() as body:
            await self._fill(body, request, LONGEST_BODY)
            return answer({"taken": await self._work(lambda: self._hosted.blobs.take_packed(project, body))})

    async def fetch(self, request: Request) -> Response:
        """Small blobs together."""
        project = _project(request)
        digests = _digests(_decoded(await _body(request, LONGEST_BODY), _Many))
        return _raw(await self._work(lambda: self._hosted.blobs.packed(project, digests)))

    async def blob(self, request: Request) -> Response:
        """A blob, or the rest of it."""
        project, digest = _project(request), _digest(request)
        reader = await self._work(lambda: self._hosted.blobs.open(project, digest))
        start, end, size = 0, reader.size, reader.size
        headers = {"Accept-Ranges": "bytes", MARK: "1"}
        asked = _RANGE.match(request.headers.get("range", ""))
        if asked is not None:
            start = int(asked[1])
            end = min(size, int(asked[2]) + 1) if asked[2] else size
            if start >= end:
                reader.close()
                failure = {"status": 416, "code": "nothing-more", "class": "Invalid", "message": f"it has {size} bytes"}
                return answer({"error": failure}, status=416, headers={"Content-Range": f"bytes */{size}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            reader.close()
            return Response(status_code=200 if asked is None else 206, headers=headers, media_type=BYTES)
        body = await self._work(lambda: self._hosted.blobs.begun(digest, blocks(reader, [(start, end)])))
        return StreamingResponse(body, status_code=200 if asked is None else 206, headers=headers, media_type=BYTES)

    async def chunks(self, request: Request) -> Response:
        """What some stretches of a large blob consist of."""
        project = _project(request)
        digest, mean, ranges = _decoded(await _body(request, LONGEST_RANGES), tuple[bytes, int, list[Range]])
        of = _digests([digest])[0]
        if mean not in MEANS or len(ranges) > RANGES or _length(ranges) > SPAN:
            message = f"ask for chunks of {MEANS} bytes, of {RANGES} stretches of {SPAN} bytes in all at most"
            raise Invalid(message, code="bad-request")
        return _messages(await self._work(lambda: self._hosted.blobs.chunks(project, of, mean, ranges)))

    async def ranges(self, request: Request) -> Response:
        """Stretches of a blob."""
        project = _project(request)
        digest, ranges = _decoded(await _body(request, LONGEST_RANGES), tuple[bytes, list[Range]])
        of, length = _digests([digest])[0], _length(ranges)
        reader = await self._work(lambda: self._hosted.blobs.open(project, of))
        if len(ranges) > MANY or any(each.end > reader.size for each in ranges):
            reader.close()
            message = f"ask for {MANY} stretches at most, of the {reader.size} bytes that it has"
            raise Invalid(message, code="bad-request")
        headers = {"Content-Length": str(length), MARK: "1"}
        return StreamingResponse(blocks(reader, ranges), headers=headers, media_type=BYTES)

    async def stand(self, request: Request) -> Response:
        """How much of a large blob has come."""
        project, digest = _project(request, "write"), _digest(request)
        return answer(await self._work(lambda: self._hosted.blobs.stand(project, digest)))

    async def upload(self, request: Request) -> Response:
        """Go on with a large blob."""
        project, digest = _project(request, "write"), _digest(request)
        start, size = _count(request, "upload-offset"), _count(request, "upload-length")
        if start > size:
            message = f"an upload of {size} bytes cannot go on at {start}"
            raise Invalid(message, code="bad-request")
        base = _base(request)
        with contextlib.ExitStack() as kept:
            reserved = self._hosted.quotas.reserved(project, size, blob=digest)
            await self._work(lambda: kept.enter_context(reserved))
            writer = await self._work(lambda: self._hosted.blobs.begin(project, digest, start, size, base))
            try:
                await self._each(_gathered(request, _BLOCK), writer.write)
            finally:
                writer.close()
            is_whole = await self._work(lambda: self._hosted.blobs.finish(project, digest, size))
        if is_whole:
            return answer(Stand(offset=size, checksum="", done=True))
        return answer(await self._work(lambda: self._hosted.blobs.stand(project, digest)))

    async def _fill(self, body: Spool, request: Request, limit: int) -> None:
        async for block in _gathered(request, PIECE, limit):
            await self._work(partial(body.write, block))

    async def _each(self, blocks: AsyncIterator[memoryview], work: Callable[[memoryview], None]) -> None:
        """Work on one block after the other, on each while the next one comes."""
        working: asyncio.Future[None] | None = None
        try:
            async for block in blocks:
                if working is not None:
                    await working
                working = asyncio.ensure_future(self._work(partial(work, block)))
            if working is not None:
                await working
        finally:
            if working is not None:
                # Whatever else went wrong: it is not left alone with what it works on.
                await asyncio.gather(working, return_exceptions=True)

    async def _work(self, work: Callable[[], T]) -> T:
        """Do it in a thread. Work of one project waits for each other: it leaves threads for that of others."""
        project = _ASKED_ABOUT.get()
        turn = self._turns.get(project) or CapacityLimiter(max(1, int(self._at_once.total_tokens) // 2))
        self._turns[project] = turn
        async with turn:
            return await run_sync(work, limiter=self._at_once)


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, {MARK: "1", **(headers or {})}, media_type=JSON)


def _failed(_request: Request, error: Exception) -> Response:
    failure = failure_of(error)
    headers = error.headers if isinstance(error, HTTPException) else None
    return answer({"error": plain(failure)}, status=failure.status, headers=headers)


def _messages(value: Any) -> Response:
    return Response(msgspec.msgpack.encode(value), headers={MARK: "1"}, media_type=MESSAGES)


def _raw(data: bytes) -> Response:
    return Response(data, headers={MARK: "1"}, media_type=BYTES)


def _streamed(size: int, blocks: Iterator[bytes]) -> Response:
    """What may be long, a little at a time: who reads slowly takes no more memory."""
    return StreamingResponse(blocks, headers={MARK: "1", "Content-Length": str(size)}, media_type=BYTES)


def _rights(request: Request) -> Rights:
    found: Rights = request.scope[RIGHTS]
    return found


def _project(request: Request, scope: str = "read") -> str:
    """The project that is asked about. Raises Refused (not-allowed), whether or not it is there."""
    project = str(request.path_params["project"])
    if not _rights(request).may(scope, project):
        message = f"this token may not {scope} in project {project!r}"
        raise Refused(message, code="not-allowed")
    _ASKED_ABOUT.set(project)
    return project


def _number(request: Request) -> int:
    return int(_matching(request, "number", _SLOT))


def _digest(request: Request) -> Digest:
    return Digest(bytes.fromhex(_matching(request, "hex", _HEX)))


def _matching(request: Request, name: str, pattern: re.Pattern[str]) -> str:
    text = str(request.path_params[name])
    if pattern.match(text) is None:
        raise HTTPException(404)
    return text


def _count(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if _NUMBER.match(text) is None:
        message = f"the header {name} has to say how many bytes"
        raise Invalid(message, code="bad-request")
    return int(text)


def _base(request: Request) -> Digest | None:
    text = request.headers.get("upload-base")
    if text is None:
        return None
    if _HEX.match(text) is None:
        message = "the header upload-base has to name a blob by 64 hexadecimal digits"
        raise Invalid(message, code="bad-request")
    return Digest(bytes.fromhex(text))


def _length(ranges: list[Range]) -> int:
    if any(not 0 <= each.start < each.end for each in ranges):
        message = "a stretch goes from a byte up to a later one"
        raise Invalid(message, code="bad-request")
    return sum(each.end - each.start for each in ranges)


def _decoded(body: bytes | bytearray, kind: Any) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"the body cannot be read: {error}"
        raise Invalid(message, code="bad-request") from error


def _digests(found: list[bytes]) -> list[Digest]:
    if len(found) > MANY or any(len(each) != SIZE for each in found):
        message = f"ask for {MANY} digests of {SIZE} bytes at most"
        raise Invalid(message, code="bad-request")
    return list(map(Digest, found))


async def _body(request: Request, limit: int) -> bytearray:
    """All of a body. Raises Invalid (too-large) before more of it is kept."""
    body = bytearray()
    async for chunk in _chunks(request, limit):
        body += chunk
    return body


async def _gathered(request: Request, at_once: int, limit: int | None = None) -> AsyncIterator[memoryview]:
    """A body in pieces that are worth the way to a thread; each holds until the one behind the next is asked for."""
    block, other = memoryview(bytearray(at_once)), memoryview(bytearray(at_once))
    used = 0
    async for chunk in _chunks(request, limit):
        rest = memoryview(chunk)
        while rest:
            some, rest = rest[: at_once - used], rest[at_once - used :]
            block[used : used + len(some)] = some
            used += len(some)
            if used == at_once:
                yield block
                block, other = other, block
                used = 0
    if used:
        yield block[:used]


async def _chunks(request: Request, limit: int | None) -> AsyncIterator[bytes]:
    """A body as it comes. Raises Invalid (too-large) before more of it is kept."""
    if limit is not None and int(request.headers.get("content-length", "0")) > limit:
        raise _too_large(limit)
    came = 0
    try:
        async for chunk in request.stream():
            came += len(chunk)
            if limit is not None and came > limit:
                raise _too_large(limit)
            yield chunk
    except ClientDisconnect:
        # Whoever was only too slow is told.
        raise HTTPException(408, "the rest of the body did not come", {"Connection": "close"}) from None


def _too_large(limit: int) -> Invalid:
    message = f"the body is too large: send {limit} bytes at most"
    return Invalid(message, code="too-large")
