"""Serve: a store as the server that other stores push to and pull from."""

from __future__ import annotations

import signal

import click

from artstore.cli.discovery import open_store
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, say
from artstore.errors import NotFound

try:
    from artstore.server import listening, serving
except ModuleNotFoundError as error:
    message = f"a server needs {error.name}, which is not installed: pip install 'artstore[server]'"
    raise NotFound(message, code="extra-missing") from error


@verb("artstore serve", "artstore serve --store /srv/artstore --listen 127.0.0.1:7717")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7717", show_default=True, help="Where to answer.")
@click.option("--allow-host", metavar="NAME", multiple=True, help="A name by which others reach it; repeatable.")
def serve(call: Call, *, listen: str, allow_host: tuple[str, ...]) -> None:
    """Let other stores push to this one and pull from it, and browsers look into it.

    On the other machines: `artstore remote add hub http://HOST:PORT --upstream`. Projects that are here already are
    offered as they are. Ctrl-C ends it.
    """
    address = listening.Address.parse(listen)

    def ready(url: str) -> None:
        emit(call, {"url": url}, lambda found: say(found["url"]), outcome="the server is there")

    with open_store(call) as store:
        # The loop ends in its own way at both; afterwards they come here, where there is nothing left to do.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            serving.serve(store, address, names=allow_host, ready=ready)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
