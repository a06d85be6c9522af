"""Tokens: what a server is shown, and where it is found. None is ever in a URL, a message or the store.

In this order: the file that the remote names, what the door was given (ARTSTORE_TOKEN, for the server in
ARTSTORE_SERVER alone: what remotes a store has is said by whoever made it), the keyring. That is a TOML file of the
user's, which nobody else may read:

    "https://hub.example" = "artstore_…"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from artstore.errors import Invalid, MissingFile, Refused
from artstore.storage.files import storage_errors

_PORTS: Final = {"http": 80, "https": 443}


class _Given:
    """What the door has found in its surroundings, once for the process."""

    token: str | None = None
    server: str | None = None
    """The only one that the token is for."""
    keyring: Callable[[], Path] | None = None


def give(token: str | None, server: str | None, keyring: Callable[[], Path]) -> None:
    """From now on, show this token to this server, where the remote names none; to others what the keyring has."""
    _Given.token, _Given.server, _Given.keyring = token, server, keyring


def token_for(url: str, file: str | None) -> str | None:
    """The token to show to a server.

    Raises MissingFile (token-not-found), Invalid (bad-token, bad-keyring), Refused (open-keyring).
    """
    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = f"{file!r}, which was to hold the token for {url}, cannot be read: {error}"
            raise MissingFile(message, code="token-not-found") from error
        return _checked(text.strip(), repr(file))
    if _Given.token is not None and _Given.server is not None and _host(_Given.server) == _host(url):
        return _checked(_Given.token.strip(), "ARTSTORE_TOKEN")
    return None if _Given.keyring is None else _in_keyring(_Given.keyring(), url)


def _in_keyring(path: Path, url: str) -> str | None:
    with storage_errors("reading the keyring"):
        if not path.exists():
            return None
        if path.stat().st_mode & 0o077:
            message = f"others may read {str(path)!r}, which holds tokens: chmod 600 {path}, and make new ones"
            raise Refused(message, code="open-keyring")
        text = path.read_text(encoding="utf-8")
    try:
        found = msgspec.convert(tomllib.loads(text), dict[str, str])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        message = f'{str(path)!r} cannot be read: write lines as "https://HOST" = "TOKEN"'
        raise Invalid(message, code="bad-keyring") from error
    token = next((token for server, token in found.items() if _host(server) == _host(url)), None)
    return None if token is None else _checked(token, repr(str(path)))


def _host(url: str) -> tuple[str, str, int | None]:
    """Whom a URL reaches, however it is written. Raises Invalid (bad-url)."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(scheme)
    except ValueError as error:
        message = f"{url!r} is no address of a server: write https://HOST or https://HOST:PORT"
        raise Invalid(message, code="bad-url") from error


def _checked(token: str, where: str) -> str:
    # It becomes part of a header.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        message = f"{where} holds no token: it is one word, as `artstore token create` prints it"
        raise Invalid(message, code="bad-token")
    return token
