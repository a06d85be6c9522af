"""Cells: what a table's cells are in JSON, and what they were.

As W&B writes them: NaN is null; infinities stay, as `Infinity`, which JSON proper does not know and Python does; a
time is a whole number of milliseconds since 1970 in UTC, a time without a zone is taken as UTC, and finer parts of it
are cut; bytes are their UTF-8 text; tuples and sets are lists, a set in the order of its items' texts; a Decimal is a
float; an enumeration's member is its name; an array is nested lists. So some come back as another type than they went.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from artstore.api.column_types import (
    INVALID,
    NUMBER,
    TIMESTAMP,
    UNKNOWN,
    ColumnType,
    List,
    PythonObject,
    TypedDict,
    Union,
    accepts_none,
    assign_all,
    holds,
    member,
    optional,
    plain_type,
)
from artstore.errors import WrongType

_AS_THEY_ARE: Final = frozenset({type(None), bool, int, str})
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NS_IN_MS: Final = 1_000_000


def column_to_json(values: Sequence[Any]) -> Sequence[Any]:
    """The cells of a column as JSON has them. Raises WrongType (not-json), which names the row."""
    classes: set[type[Any]] = set(map(type, values))
    numbers = {cls for cls in classes if cls.__module__ == "numpy" and plain_type(cls) is not None}
    if numbers:
        values = [value.item() if value.__class__ in numbers else value for value in values]
        classes = set(map(type, values))
    if classes <= _AS_THEY_ARE:
        return values
    if classes <= _AS_THEY_ARE | {float}:
        return [None if value != value else value for value in values]  # noqa: PLR0124 - only NaN differs from itself
    found = []
    for row, value in enumerate(values):
        try:
            found.append(cell_to_json(value))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            message = f"row {row} holds {_short(value)}, which JSON cannot say ({error}): make it numbers or text"
            raise WrongType(message, code="not-json") from error
    return found


def cell_to_json(value: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line for each kind of value
    """One cell as JSON has it. Raises TypeError or ValueError for what it cannot have."""
    cls = value.__class__
    if cls in _AS_THEY_ARE:
        return value
    if isinstance(value, float):
        return None if value != value else float(value)  # noqa: PLR0124
    if isinstance(value, dict):
        return _dict_to_json(value)
    if cls.__name__ == "datetime64" and cls.__module__ == "numpy":
        return _datetime64_to_json(value)
    if hasattr(value, "tolist") and cls.__name__ != "timedelta64":
        return cell_to_json(_python_of(value))
    if cls.__name__ in {"NaTType", "NAType"}:
        return None
    if isinstance(value, dt.datetime):
        aware = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value
        return (aware - _EPOCH) // dt.timedelta(milliseconds=1)
    if isinstance(value, dt.date):
        return cell_to_json(dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC))
    if isinstance(value, list | tuple):
        return [cell_to_json(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(cell_to_json, value), key=lambda each: json.dumps(each, sort_keys=True))
    if isinstance(value, Decimal):
        return cell_to_json(float(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str | int):
        return value
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    message = f"a {cls.__name__} has no form in JSON"
    raise TypeError(message)


def written_type(kind: ColumnType, cells: Sequence[Any]) -> ColumnType:
    """The type to write for a column whose cells are these in JSON: one that readers find to fit.

    W&B checks cells against their type when it reads. Where it writes a type that its own reader refuses (objects,
    times within lists and dictionaries), this is one that takes what is there.
    """
    if not holds(kind, PythonObject):
        return _with_inner_times(kind, top=True)
    found = assign_all(optional(UNKNOWN) if accepts_none(kind) else UNKNOWN, cells)
    return found if found != INVALID else kind


def has_inner_times(kind: ColumnType) -> bool:
    """Whether times lie in lists or dictionaries of a column."""
    return any(
        _has_times(part) for part in ([kind] if not isinstance(kind, Union) else kind.allowed) if part != TIMESTAMP
    )


def time_from_json(value: Any) -> Any:
    """The time that a number of milliseconds stands for, in UTC; anything else as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + dt.timedelta(milliseconds=value)
    return value


def times_from_json(value: Any, kind: ColumnType) -> Any:
    """A cell whose times are times again, wherever its type has them."""
    if isinstance(value, list):
        inside = next((part.element for part in _members(kind) if isinstance(part, List)), None)
        return value if inside is None or not _has_times(inside) else [times_from_json(each, inside) for each in value]
    if isinstance(value, dict):
        found = next((part for part in _members(kind) if isinstance(part, TypedDict)), None)
        types = {} if found is None else found.type_map
        return {key: times_from_json(each, types[key]) if key in types else each for key, each in value.items()}
    return time_from_json(value) if member(kind, TIMESTAMP) else value


def _with_inner_times(kind: ColumnType, *, top: bool = False) -> ColumnType:
    if kind == TIMESTAMP:
        return kind if top else Union.of((NUMBER, TIMESTAMP))
    if isinstance(kind, Union):
        return Union.of(_with_inner_times(each, top=top) for each in kind.allowed)
    if isinstance(kind, List):
        return List(_with_inner_times(kind.element), kind.length)
    if isinstance(kind, TypedDict):
        return TypedDict({key: _with_inner_times(each) for key, each in kind.type_map.items()})
    return kind


def _has_times(kind: ColumnType) -> bool:
    return kind == TIMESTAMP or any(_has_times(part) for part in kind.parts())


def _members(kind: ColumnType) -> Sequence[ColumnType]:
    return kind.allowed if isinstance(kind, Union) else (kind,)


def _dict_to_json(value: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, each in value.items():
        plain = _python_of(key) if hasattr(key, "tolist") else key
        if not isinstance(plain, str | int | float | bool | None):
            message = f"{plain!r} cannot be a key"
            raise TypeError(message)
        text = plain if isinstance(plain, str) else json.dumps(plain)
        if text in found:
            message = f"two keys are {text!r} as text"
            raise ValueError(message)
        found[text] = cell_to_json(each)
    return found


def _python_of(value: Any) -> Any:
    plain = value.tolist()
    # A long double answers itself. What is no number raises TypeError.
    return float(value) if plain.__class__ is value.__class__ else plain


def _datetime64_to_json(value: Any) -> Any:
    plain = value.tolist()
    if not isinstance(plain, int):
        return cell_to_json(plain)
    if not value.dtype.str.endswith("[ns]"):
        message = f"{value} is not between the years 1 and 9999"
        raise ValueError(message)
    return plain / _NS_IN_MS  # W&B writes what is finer than a microsecond as a fraction


def _short(value: Any) -> str:
    text = f"a {value.__class__.__name__}, {value!r}"
    return text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004
