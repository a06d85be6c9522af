"""Metadata: what people put into a dictionary, as JSON can say it.

The rules are W&B's: tuples and sets become lists, keys text, dates ISO text, bytes UTF-8 text, arrays lists, slices and
dataclasses dictionaries, paths text, and NaN becomes null; an infinity is an error.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Final

from artstore.errors import Invalid, WrongType

MOST_KEYS: Final = 100
"""Keys on the top level."""
MOST_ELEMENTS: Final = 32
"""Elements of the largest array that is kept: metadata are for looking things up, and arrays belong into files."""


def metadata_of(given: object) -> dict[str, Any]:
    """A copy of what was given, as JSON can say it: None, a mapping, or the JSON text of an object.

    Raises WrongType (bad-metadata) for anything else, and Invalid (bad-metadata, too-many-keys).
    """
    if given is None:
        return {}
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            message = f"the metadata are text that is not JSON: {error}"
            raise Invalid(message, code="bad-metadata") from error
    if not isinstance(given, Mapping):
        message = f"cannot take {type(given)} as metadata: give a dictionary, or the JSON text of one"
        raise WrongType(message, code="bad-metadata")
    if len(given) > MOST_KEYS:
        message = f"the metadata have {len(given)} keys on the top level; at most {MOST_KEYS} are possible: nest them"
        raise Invalid(message, code="too-many-keys")
    try:
        return plain(given)
    except RecursionError as error:
        message = "the metadata hold themselves, or are nested too deep: flatten them"
        raise Invalid(message, code="bad-metadata") from error


def _plain(value: Any) -> Any:
    for kinds, turn in _TURNS:
        if isinstance(value, kinds):
            return turn(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    return _foreign(value)


def plain(values: Mapping[Any, Any]) -> dict[str, Any]:
    """A mapping as JSON can say it. Raises WrongType, Invalid (bad-metadata), and RecursionError for one in itself."""
    return {key if isinstance(key, str) else _key(key): _plain(value) for key, value in values.items()}


def _key(key: object) -> str:
    # As json.dumps writes them.
    return {"True": "true", "False": "false", "None": "null"}.get(str(key), str(key))


def _number(value: float) -> float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        message = "the metadata hold an infinity, which JSON cannot say: leave it out, or write it as text"
        raise Invalid(message, code="bad-metadata")
    return float(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        message = f"the metadata hold {value[:20]!r}, which is not UTF-8: write it as text"
        raise Invalid(message, code="bad-metadata") from error


def _list(values: Iterable[Any]) -> list[Any]:
    return [_plain(each) for each in values]


def _set(values: Iterable[Any]) -> list[Any]:
    # In the order of their texts: a set has another one in every process, and equal metadata should be equal.
    return _list(sorted(values, key=repr))


def _slice(value: slice) -> dict[str, Any]:
    return plain({"slice_start": value.start, "slice_stop": value.stop, "slice_step": value.step})


def _foreign(value: Any) -> Any:
    """Arrays and numbers of libraries that are not imported here: what they call `tolist` and `item`."""
    size = getattr(value, "size", None)
    if callable(size):
        # A torch tensor: its numpy twin knows how many elements there are.
        size = getattr(value, "numel", lambda: None)()
    if hasattr(value, "tolist") and isinstance(size, int):
        if size > MOST_ELEMENTS:
            message = (
                f"the metadata hold an array of {size} elements; at most {MOST_ELEMENTS} are possible: add it as a file"
            )
            raise Invalid(message, code="bad-metadata")
        return _plain(value.tolist())
    message = f"the metadata hold {value!r}, of {type(value)}, which JSON cannot say"
    raise WrongType(message, code="bad-metadata")


_TURNS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    ((bool, NoneType), lambda value: value),
    # Numbers and texts of subclasses, NumPy's among them, as plain ones.
    (str, str),
    (int, int),
    (float, _number),
    (Mapping, plain),
    ((list, tuple), _list),
    ((set, frozenset), _set),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    ((bytes, bytearray), lambda value: _text(bytes(value))),
    (slice, _slice),
    (os.PathLike, os.fspath),
)
