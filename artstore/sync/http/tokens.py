"""Tokens: what a server is shown, and where it is found. None is ever in a URL, a message or the store.

In this order: the file that the remote names, what the door was given (ARTSTORE_TOKEN), the keyring. That is a TOML
file of the user's, which nobody else may read:

    "https://hub.example" = "artstore_…"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from artstore.errors import Invalid, MissingFile, Refused
from artstore.storage.files import storage_errors


class _Given:
    """What the door has found in its surroundings, once for the process."""

    token: str | None = None
    keyring: Callable[[], Path] | None = None


def give(token: str | None, keyring: Callable[[], Path]) -> None:
    """From now on, show this token to servers whose remote names none; or else what the keyring has for them."""
    _Given.token, _Given.keyring = token, keyring


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
    if _Given.token is not None:
        return _checked(_Given.token.strip(), "ARTSTORE_TOKEN")
    return None if _Given.keyring is None else _in_keyring(_Given.keyring(), url)


def _in_keyring(path: Path, url: str) -> str | None:
    parts = urlsplit(url)
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
    token = found.get(f"{parts.scheme}://{parts.netloc}")
    return None if token is None else _checked(token, repr(str(path)))


def _checked(token: str, where: str) -> str:
    # It becomes part of a header.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        message = f"{where} holds no token: it is one word, as `artstore token create` prints it"
        raise Invalid(message, code="bad-token")
    return token
