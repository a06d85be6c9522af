"""Reachable: whether a service can be there at all, asked before its library, which would try for a minute."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from urllib.request import getproxies

from yarl import URL

from artstore.errors import Unreachable


def check_host(uri: str, service: str) -> None:
    """Raise Unreachable (reference-unreachable) where the host of a service has no address, as without a network.

    Where there is a proxy it looks for the host, so nothing is asked here.
    """
    host = URL(service).host
    if not host or getproxies():
        return
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror as error:
        message = f"{uri!r} cannot be reached: {host} has no address ({error.strerror}). Is there a network?"
        raise Unreachable(message, code="reference-unreachable") from error


@contextlib.contextmanager
def told_once(logger: str) -> Iterator[None]:
    """Keep what a library logs from the terminal, where its error comes too; a script's own logging has it still."""
    nowhere = logging.NullHandler()
    logging.getLogger(logger).addHandler(nowhere)
    try:
        yield
    finally:
        logging.getLogger(logger).removeHandler(nowhere)
