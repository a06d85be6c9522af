"""Tokens: who may do what with the logs that a store keeps for others.

A token is a long word of chance. The store's folder has only a hash of it, in `tokens.json`, so who reads a backup can
do nothing with it; since nobody can guess the word, a fast hash is enough. The file is read at every request that
brings a token, so what is revoked is refused at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from artstore.errors import Invalid, NotFound
from artstore.model.names import project_name
from artstore.storage.files import storage_errors, write_file
from artstore.storage.sessions import Exclusive

FILE_NAME: Final = "tokens.json"
PREFIX: Final = "artstore"
Scope = Literal["read", "write", "admin"]

_TEXT: Final = re.compile(rf"{PREFIX}_([0-9a-f]{{8}})_[A-Za-z0-9_-]{{43}}\Z", re.ASCII)
_NOBODY: Final = "0" * 64


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a token, which is not the token."""

    id: str
    scope: Scope
    """`read` pulls, `write` pushes too, and `admin` may ask how the server is."""
    project: str | None
    """The only project that it is for; None: all."""
    created_at: float
    """UTC seconds."""
    expires_at: float | None
    """UTC seconds; None: never."""


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was made. The word is shown once: nothing here has it."""

    token: str
    info: TokenInfo


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    hash: str
    """SHA-256 of the word, in hexadecimal."""
    info: TokenInfo


class _File(msgspec.Struct, frozen=True):
    tokens: list[_Kept] = []


def create_token(store: Path, *, scope: Scope, project: str | None, expires_s: float | None) -> NewToken:
    """Make a token, which ends after so many seconds, if that is said. Raises Invalid (bad-name, bad-expiry)."""
    if project is not None:
        project_name(project)
    if expires_s is not None and expires_s <= 0:
        message = "a token that has ended already helps nobody: let it end later"
        raise Invalid(message, code="bad-expiry")
    now = time.time()
    id_ = secrets.token_hex(4)
    word = f"{PREFIX}_{id_}_{secrets.token_urlsafe(32)}"
    info = TokenInfo(
        id=id_,
        scope=scope,
        project=project,
        created_at=now,
        expires_at=None if expires_s is None else now + expires_s,
    )
    with Exclusive(store, "tokens"):
        _write(store, [*_read(store), _Kept(hash=_hash(word), info=info)])
    return NewToken(token=word, info=info)


def list_tokens(store: Path) -> list[TokenInfo]:
    """The tokens that were made and not revoked, the oldest first."""
    return [kept.info for kept in _read(store)]


def lets_in(store: Path) -> bool:
    """Whether there is a token that has not ended."""
    return any(not _has_ended(info) for info in list_tokens(store))


def has_tokens(store: Path) -> bool:
    """Whether a token was ever made: when the last one is revoked nobody is let in, rather than everybody."""
    return (store / FILE_NAME).exists()


def revoke_token(store: Path, id: str) -> TokenInfo:
    """End a token now. Raises NotFound (token-not-found)."""
    with Exclusive(store, "tokens"):
        known = _read(store)
        found = next((kept.info for kept in known if kept.info.id == id), None)
        if found is None:
            there = ", ".join(kept.info.id for kept in known) or "none"
            message = f"there is no token {id!r} (there is: {there}): `artstore token ls` shows them"
            raise NotFound(message, code="token-not-found")
        _write(store, [kept for kept in known if kept.info.id != id])
    return found


def find_token(store: Path, word: str) -> TokenInfo | None:
    """The token that a word is, if it is one and has not ended. It takes as long for every word."""
    match = _TEXT.match(word)
    id_ = "" if match is None else match[1]
    kept = next((each for each in _read(store) if each.info.id == id_), None)
    is_it = hmac.compare_digest(_hash(word), _NOBODY if kept is None else kept.hash)
    if kept is None or not is_it:
        return None
    return None if _has_ended(kept.info) else kept.info


def _has_ended(info: TokenInfo) -> bool:
    return info.expires_at is not None and info.expires_at <= time.time()


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "surrogateescape")).hexdigest()


def _read(store: Path) -> list[_Kept]:
    path = store / FILE_NAME
    try:
        with storage_errors("reading the tokens"):
            data = path.read_bytes() if path.exists() else b"{}"
        return msgspec.json.decode(data, type=_File).tokens
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{str(path)!r} cannot be read: {error}. Mend it, or write {{}} into it and make the tokens again"
        raise Invalid(message, code="bad-tokens") from error


def _write(store: Path, tokens: list[_Kept]) -> None:
    with storage_errors("noting the tokens"):
        data = msgspec.json.format(msgspec.json.encode(_File(tokens))) + b"\n"
        write_file(store / "tmp", store / FILE_NAME, data, mode=0o600)
