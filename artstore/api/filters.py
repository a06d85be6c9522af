"""Filters: which of many things are meant, in the part of MongoDB's words that W&B's users write.

A filter is a dictionary: a field and what it has to be, `{"name": "cats"}`, or what is to be true of it,
`{"created_at": {"$gte": "2026-01-01"}}`; all of it has to hold. `$and`, `$or`, `$nor` and `$not` put filters together.
A field that is a list, as tags are, is meant if one of its elements is. Times are compared as times, written as ISO
says, in UTC where they say no more.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from artstore.errors import Invalid

T = TypeVar("T")

Fields = Callable[[str], Callable[[T], Any]]
"""What reads a field of an element, by the field's name. Raises Invalid (bad-filter) for a name that is none."""


def matcher(filters: Mapping[str, Any] | None, fields: Fields[T]) -> Callable[[T], bool]:
    """What says of an element whether it is meant. Raises Invalid (bad-filter) for what no filter can say."""
    if filters is None:
        return lambda _: True
    given: object = filters
    if not isinstance(given, Mapping):
        message = f"a filter is a dictionary such as {{'name': 'cats'}}, not {given!r}"
        raise Invalid(message, code="bad-filter")
    parts = [_part(key, wanted, fields) for key, wanted in filters.items()]
    return lambda element: all(part(element) for part in parts)


def unknown_field(name: str, known: Mapping[str, object]) -> Invalid:
    """The error for a field that elements do not have."""
    message = f"there is no field {name!r} to go by: there are {', '.join(sorted(known))}"
    return Invalid(message, code="bad-filter")


def _part(key: str, wanted: Any, fields: Fields[T]) -> Callable[[T], bool]:
    if key == "$not":
        inner = matcher(wanted, fields)
        return lambda element: not inner(element)
    if key in _TOGETHER:
        if not isinstance(wanted, list | tuple) or not wanted:
            message = f"{key} takes a list of filters, not {wanted!r}"
            raise Invalid(message, code="bad-filter")
        inners, together = [matcher(each, fields) for each in wanted], _TOGETHER[key]
        return lambda element: together(inner(element) for inner in inners)
    if key.startswith("$"):
        raise _unknown(key, [*_TOGETHER, "$not"])
    read, condition = fields(key), _condition(wanted)
    return lambda element: condition(read(element))


def _condition(wanted: Any) -> Callable[[Any], bool]:
    if not (isinstance(wanted, Mapping) and any(str(key).startswith("$") for key in wanted)):
        return _one("$eq", wanted)
    conditions = [_one(str(name), operand) for name, operand in wanted.items()]
    return lambda value: all(condition(value) for condition in conditions)


def _one(name: str, operand: Any) -> Callable[[Any], bool]:
    if name == "$not":
        inner = _condition(operand)
        return lambda value: not inner(value)
    if name in _DENIALS:
        denied = _one(_DENIALS[name], operand)
        return lambda value: not denied(value)
    if name == "$exists":
        return lambda value: (value is not None) == bool(operand)
    if name not in _OPERATORS:
        raise _unknown(name, [*_OPERATORS, *_DENIALS, "$exists", "$not"])
    _check_operand(name, operand)
    holds = _OPERATORS[name]

    def condition(value: Any) -> bool:
        # Of a list one element is enough, or all of it.
        return any(_holds(holds, each, operand) for each in (value if isinstance(value, list) else []) + [value])

    return condition


def _holds(holds: Callable[[Any, Any], bool], value: Any, operand: Any) -> bool:
    if isinstance(value, dt.datetime):
        operand = [_time(each) for each in operand] if isinstance(operand, list | tuple) else _time(operand)
    try:
        return bool(holds(value, operand))
    except TypeError:
        # A text is neither more nor less than a number.
        return False


def _check_operand(name: str, operand: Any) -> None:
    if name == "$in" and not isinstance(operand, list | tuple):
        message = f"$in and $nin take a list, not {operand!r}"
        raise Invalid(message, code="bad-filter")
    if name == "$regex":
        try:
            re.compile(operand)
        except (re.error, TypeError) as error:
            message = f"{operand!r} is no regular expression: {error}"
            raise Invalid(message, code="bad-filter") from error


def _time(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        moment = dt.datetime.fromisoformat(given)
    except ValueError as error:
        message = f"{given!r} is no time: write 2026-01-31, or 2026-01-31T12:00:00Z"
        raise Invalid(message, code="bad-filter") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _is_same(value: Any, operand: Any) -> bool:
    # To Python True is 1.
    return isinstance(value, bool) == isinstance(operand, bool) and bool(value == operand)


def _unknown(name: str, known: list[str]) -> Invalid:
    message = f"{name!r} is no operator that is known here: there are {', '.join(sorted(known))}"
    return Invalid(message, code="bad-filter")


_TOGETHER: Final[dict[str, Callable[[Any], bool]]] = {"$and": all, "$or": any, "$nor": lambda found: not any(found)}
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": _is_same,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, operand: any(_is_same(value, each) for each in operand),
    "$regex": lambda value, operand: isinstance(value, str) and re.search(operand, value) is not None,
    "$contains": lambda value, operand: isinstance(value, str) and operand in value,
}
_DENIALS: Final = {"$ne": "$eq", "$nin": "$in"}
