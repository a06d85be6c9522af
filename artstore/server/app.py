"""App: the pages, the same values as JSON, and the files, as one ASGI application.

It can stand alone or be mounted at `/` beside others: what it answers to lies under `/`, `/projects`, `/runs`, `/run`,
`/search`, `/space`, `/remotes`, `/api`, and `/static`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from artstore.errors import (
    ArtstoreError,
    Conflict,
    Corrupt,
    Invalid,
    NotFound,
    Refused,
    StorageFull,
    Unreachable,
    UpgradeNeeded,
)
from artstore.plain import plain
from artstore.server import looks, pages, remotes
from artstore.server.asked import Asked
from artstore.server.downloads import download
from artstore.server.guard import FOR_ONE_PROJECT
from artstore.store import Store

API: Final = "/api"
STATIC: Final = Path(__file__).parent / "static"
THREADS: Final = 8
"""Requests that are worked on at once: each thread has a connection to the catalog, with its cache."""
VERSION: Final = "/projects/{project}/{collection}/v{number:int}"

STATUS: Final[dict[type[ArtstoreError], int]] = {
    NotFound: 404,
    Invalid: 400,
    Conflict: 409,
    StorageFull: 507,
    Refused: 403,
    Unreachable: 502,
    Corrupt: 500,
    UpgradeNeeded: 426,
}
"""What an error is in HTTP; 500 for any other."""
BY_CODE: Final = {"too-large": 413}
"""What some are by their code."""


class View(NamedTuple):
    """A page: where it is, what it shows, and the template that shows it."""

    address: str
    look: Callable[[Store, Asked], msgspec.Struct]
    template: str


VIEWS: Final = (
    View("/", looks.home, "home.html"),
    View("/projects/{project}", looks.project, "project.html"),
    View(VERSION, looks.version, "version.html"),
    View(VERSION + "/files/{path:path}", looks.files, "files.html"),
    View(VERSION + "/lineage", looks.lineage, "lineage.html"),
    View(VERSION + "/diff", looks.diff, "diff.html"),
    View("/projects/{project}/{collection}", looks.collection, "collection.html"),
    View("/runs", looks.runs, "runs.html"),
    View("/run", looks.run, "run.html"),
    View("/search", looks.search, "search.html"),
    View("/space", looks.space, "space.html"),
    View("/remotes", remotes.remotes, "remotes.html"),
)


def make_app(store: Store, beside: Sequence[BaseRoute] = ()) -> Starlette:
    """The application on an open store, with routes to others. Put a Guard in front: by itself it lets everybody in."""
    pages.prepare()
    at_once = CapacityLimiter(THREADS)

    def answering(answer: Callable[[Request, Asked], Response]) -> Callable[[Request], Awaitable[Response]]:
        """Answer in a thread: a store waits for the disk."""

        async def endpoint(request: Request) -> Response:
            asked = Asked(request.path_params, request.query_params)
            return await run_sync(answer, request, asked, limiter=at_once)

        return endpoint

    def page(view: View) -> Callable[[Request, Asked], Response]:
        return lambda request, asked: HTMLResponse(pages.render(view.template, view.look(store, asked), request))

    def data(view: View) -> Callable[[Request, Asked], Response]:
        return lambda _, asked: as_json(plain(view.look(store, asked)))

    def raw(request: Request, asked: Asked) -> Response:
        return download(store, asked, request.method, request.headers)

    routes: list[BaseRoute] = list(beside)
    for view in VIEWS:
        routes.append(Route(view.address, answering(page(view))))
        routes.append(Route(API + view.address, answering(data(view))))
    routes.append(Route(VERSION + "/raw/{path:path}", answering(raw)))
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))

    def failed(request: Request, error: Exception) -> Response:
        failure = failure_of(error)
        headers = error.headers if isinstance(error, HTTPException) else None
        if request.url.path.startswith((f"{API}/", *FOR_ONE_PROJECT)):
            return as_json({"error": plain(failure)}, status=failure.status, headers=headers)
        return HTMLResponse(pages.render("error.html", failure, request), status_code=failure.status, headers=headers)

    app = Starlette(routes=routes, exception_handlers={ArtstoreError: failed, HTTPException: failed})
    # An address with one slash more or less is another one, and nobody is sent anywhere.
    app.router.redirect_slashes = False
    return app


def as_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """What went wrong, as `artstore --json` says it."""

    status: int
    code: str
    kind: str
    message: str


def failure_of(error: Exception) -> Failure:
    """What an error of the store, or of HTTP, is to who asked."""
    if isinstance(error, ArtstoreError):
        status = BY_CODE.get(error.code) or next((by for kind, by in STATUS.items() if isinstance(error, kind)), 500)
        return Failure(status=status, code=error.code, kind=type(error).__name__, message=error.message)
    assert isinstance(error, HTTPException)
    words = {
        404: "there is no such page",
        405: "that cannot be done at this address: pages can be read, and no more",
    }.get(error.status_code)
    return Failure(status=error.status_code, code="http", kind="HTTPException", message=words or error.detail)
