"""Ui: the pages of a store, for a browser."""

from __future__ import annotations

import signal
import webbrowser
from pathlib import Path

import click

from artstore.cli.discovery import open_store
from artstore.cli.options import Call, Place, verb
from artstore.cli.output import emit, note, say
from artstore.errors import NotFound

try:
    from artstore.server import listening
    from artstore.server.guard import one_token
except ModuleNotFoundError as error:
    message = f"the pages need {error.name}, which is not installed: pip install 'artstore[server]'"
    raise NotFound(message, code="extra-missing") from error


@verb("artstore ui", "artstore ui --listen 127.0.0.1:0 --open", "artstore ui --listen 0.0.0.0:7717 --token-file token")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7717", show_default=True, help="Where to answer.")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option("--token-file", type=Place(path_type=Path), metavar="FILE", help="Let in only who knows what it holds.")
@click.option("--allow-host", metavar="NAME", multiple=True, help="A name by which browsers reach it; repeatable.")
def ui(call: Call, *, listen: str, opens: bool, token_file: Path | None, allow_host: tuple[str, ...]) -> None:
    """Show what is in the store as pages for a browser.

    They change nothing, and load nothing from elsewhere. Ctrl-C ends it. Other machines are let in with a token only,
    which a browser asks for as a password; programs say it as `Authorization: Bearer`. What a page shows can be had as
    JSON under /api.
    """
    admit = None if token_file is None else one_token(listening.read_token(token_file))
    address = listening.Address.parse(listen)

    def ready(url: str) -> None:
        emit(call, {"url": url}, lambda found: say(found["url"]), outcome="the pages are there")
        if opens and not webbrowser.open(url):
            note("no browser could be opened")

    with open_store(call) as store:
        # The loop ends in its own way at both; afterwards they come here, where there is nothing left to do.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            listening.serve(store, address, admit=admit, names=allow_host, ready=ready)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
