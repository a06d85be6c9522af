"""JSON values: metadata as it is written on a command line or in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

T = TypeVar("T")


def metadata_object(text: str) -> dict[str, Any]:
    """Read a JSON object, given as it is or as the name of a file that holds one."""
    is_inline = text.lstrip().startswith("{")
    try:
        return _decode(text.encode() if is_inline else Path(text).read_bytes(), dict[str, Any])
    except OSError as error:
        message = f"{text!r} is neither a JSON object nor a file that can be read: {error.strerror}"
        raise click.BadParameter(message) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        message = f"{'the text' if is_inline else repr(text)} is not a JSON object: {error}"
        raise click.BadParameter(message) from error


def assignment(text: str) -> tuple[str, Any]:
    """Read `KEY=VALUE`: the value is JSON if it can be read as that, else the text itself."""
    key, equals, value = text.partition("=")
    if not (equals and key):
        message = f"{text!r} does not set anything: write KEY=VALUE, for example accuracy=0.93"
        raise click.BadParameter(message)
    try:
        return key, _decode(value.encode("utf-8", "surrogateescape"), object)
    except msgspec.DecodeError:
        return key, value
    except (ValueError, RecursionError) as error:
        message = f"the value of {key!r} is JSON that cannot be kept: {error}"
        raise click.BadParameter(message) from error


def _decode(raw: bytes, kind: type[T]) -> T:
    found = msgspec.json.decode(raw, type=kind)
    # Of a key that stands twice, one value would be lost without a word.
    json.loads(raw, object_pairs_hook=_each_key_once)
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _value in pairs:
        if key in seen:
            message = f"the key {key!r} stands there twice"
            raise ValueError(message)
        seen.add(key)
