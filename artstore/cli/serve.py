"""Serve: a store as the server that other stores push to and pull from."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import click

from artstore.cli.discovery import open_store
from artstore.cli.options import Call, Place, verb
from artstore.cli.output import emit, say
from artstore.errors import Invalid, NotFound
from artstore.model.names import project_name

try:
    from artstore.server import listening, serving
except ModuleNotFoundError as error:
    message = f"a server needs {error.name}, which is not installed: pip install 'artstore[server]'"
    raise NotFound(message, code="extra-missing") from error

_SIZE = re.compile(r"(\d{1,15})([KMGT]?)\Z", re.ASCII)


def quota(text: str) -> tuple[str, int]:
    """`PROJECT=SIZE` or `SIZE`, in bytes or with K, M, G or T behind it, which are powers of 1024."""
    project, equals, amount = text.rpartition("=")
    found = _SIZE.match(amount)
    if found is None or (equals and not project):
        message = f"{text!r} is no quota: write for example 500G, or cats=2T"
        raise click.BadParameter(message)
    if project:
        project_name(project)
    return project, int(found[1]) << (10 * " KMGT".index(found[2] or " "))


@verb("artstore serve", "artstore serve --store /srv/artstore --listen 127.0.0.1:7717")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7717", show_default=True, help="Where to answer.")
@click.option("--allow-host", metavar="NAME", multiple=True, help="A name by which others reach it; repeatable.")
@click.option("--tls-cert", type=Place(path_type=Path), metavar="FILE", help="The certificate, with its chain, as PEM.")
@click.option("--tls-key", type=Place(path_type=Path), metavar="FILE", help="Its key, as PEM.")
@click.option(
    "--quota",
    "quotas",
    type=quota,
    metavar="[PROJECT=]SIZE",
    multiple=True,
    help="What a project, or each other one, may take: 500G, cats=2T; repeatable.",
)
@click.option("--behind-proxy", is_flag=True, help="Something before it speaks TLS: plain HTTP is enough here.")
def serve(
    call: Call,
    *,
    listen: str,
    allow_host: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    quotas: tuple[tuple[str, int], ...],
    behind_proxy: bool,
) -> None:
    """Be the server that other stores push to and pull from.

    Browsers find the pages of the store at the same address. On the other machines: `artstore remote add hub
    https://HOST:PORT --upstream`. Projects that are here already are offered as they are. Once `artstore token create`
    has made a token, only who has one is let in; an address that other machines can reach needs that, and TLS. Browsers
    ask for the token as a password. Standard error has a line for each request, /metrics numbers for Prometheus, and
    /healthz says that it lives. Ctrl-C ends it.
    """
    address = listening.Address.parse(listen)
    if not all(allow_host):
        message = "--allow-host names a host, and was given an empty name"
        raise Invalid(message, code="bad-option")
    if (tls_cert is None) != (tls_key is None):
        message = "--tls-cert and --tls-key belong together: give both"
        raise Invalid(message, code="bad-option")
    certificate = None if tls_cert is None or tls_key is None else listening.Certificate(tls_cert, tls_key)

    def ready(url: str) -> None:
        emit(call, {"url": url}, lambda found: say(found["url"]), outcome="the server is there")

    with open_store(call) as store:
        # The loop ends in its own way at both; afterwards they come here, where there is nothing left to do.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            serving.serve(
                store,
                address,
                names=allow_host,
                certificate=certificate,
                behind_proxy=behind_proxy,
                quotas=dict(quotas),
                log=lambda line: click.echo(line, err=True),
                ready=ready,
            )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
