"""Observing: what was asked of a server, as lines of a log and as numbers for Prometheus.

A line has who (the id of the token, which is not the token), what and how it went; never a query, a header or a body.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artstore.errors import ArtstoreError
from artstore.plain import escape
from artstore.server.guard import RIGHTS
from artstore.sync.hosting.quotas import Quotas

KIND: Final = CONTENT_TYPE_PLAIN_0_0_4
_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600)
_PLACE: Final = 5
"""Where in `/sync/1/projects/P/slots/N` the word stands that says what is asked for."""
_ASKED: Final = frozenset(
    {"slots", "lost", "lacks", "proofs", "manifests", "holders", "packs", "fetch", "blobs", "chunks", "ranges"}
    | {"uploads"}
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT"})


_ending: Final = PlainTextResponse("the server ends: ask again later\n", 503, {"Retry-After": "10"})


class Observed:
    """An ASGI application that notes what another one answers."""

    def __init__(self, app: ASGIApp, numbers: Numbers, log: Callable[[str], None]) -> None:
        self._app = app
        self._numbers = numbers
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = came = went = 0

        async def counting(message: Message) -> None:
            nonlocal status, went
            status = message.get("status", status)
            went += len(message.get("body", b""))
            await send(message)

        async def taking() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message

        with self._numbers.at_work.track_inprogress():
            try:
                await self._app(scope, taking, counting)
            except asyncio.CancelledError:
                # The server ends, and whoever is still asking goes on with the next one.
                if not status:
                    await _ending(scope, taking, counting)
            except RuntimeError as error:
                # What was begun and cannot be ended is cut, so that nobody takes it for whole.
                if not isinstance(error.__cause__, ArtstoreError):
                    raise
                self._log(escape(error.__cause__.message))
            finally:
                seconds = time.monotonic() - began
                self._numbers.count(scope, status, came, went, seconds)
                self._log(_line(scope, status, came, went, seconds))


class Numbers:
    """What Prometheus asks for."""

    def __init__(self, quotas: Quotas) -> None:
        """`quotas` say how many bytes each project takes, and may take."""
        self._registry = CollectorRegistry()
        self._quotas = quotas
        labels = ("method", "asked", "status")
        self._requests = Counter("artstore_requests", "Requests that were answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "artstore_request_seconds", "How long they took.", ("asked",), buckets=_BUCKETS, registry=self._registry
        )
        self._came = Counter("artstore_received_bytes", "Bytes of bodies that came.", registry=self._registry)
        self._went = Counter("artstore_sent_bytes", "Bytes of bodies that went.", registry=self._registry)
        self.at_work = Gauge("artstore_requests_at_work", "Requests that are worked on.", registry=self._registry)
        gauge = partial(Gauge, labelnames=("project",), registry=self._registry)
        self._takes = gauge("artstore_project_bytes", "Bytes that a project takes.")
        self._limit = gauge("artstore_project_quota_bytes", "Bytes that a project may take.")

    def count(self, scope: Scope, status: int, came: int, went: int, seconds: float) -> None:
        """Note a request."""
        asked = _asked(scope["path"])
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, asked, str(status)).inc()
        self._seconds.labels(asked).observe(seconds)
        self._came.inc(came)
        self._went.inc(went)

    def written(self) -> bytes:
        """All of it, in Prometheus's words."""
        for project, size in self._quotas.sizes().items():
            self._takes.labels(project).set(size)
            if (limit := self._quotas.limit(project)) is not None:
                self._limit.labels(project).set(limit)
        return generate_latest(self._registry)


def _asked(path: str) -> str:
    """What kind of thing an address is about: of few kinds, however many addresses there are."""
    parts = path.split("/")
    if len(parts) > _PLACE and parts[1] == "sync":
        return parts[_PLACE] if parts[_PLACE] in _ASKED else "other"
    return "logs" if parts[1] == "sync" else "pages"


def _line(scope: Scope, status: int, came: int, went: int, seconds: float) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    client = scope.get("client") or ("-",)
    rights = scope.get(RIGHTS)
    token = rights.id if rights is not None and rights.id else "-"
    path = escape(scope["path"])
    return f"{now} {client[0]} {token} {scope['method']} {path} {status} in={came} out={went} {seconds:.3f}s"
