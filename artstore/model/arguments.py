"""Arguments: what a caller hands over is of the kind that the signature says, or refused before anything is done.

`delete("cats:v0", force="no")` would delete, since text is true, and a number where a name belongs would end in a
traceback from somewhere below. Kinds are looked at here, once for all methods; what a value may be, where it is used.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
import types
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from artstore.errors import WrongType

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

Kinds = tuple[type, ...]

_WORDS: Final[dict[type, str]] = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    type(None): "None",
    Mapping: "a mapping",
    Callable: "a function",  # type: ignore[dict-item]  # The class that functions are instances of.
}
"""By what stands in signatures. A hint that is none of these, nor a class of ours, has rules of its own below: a path,
a list of names, one word of some."""


def checked(cls: type[T]) -> type[T]:
    """Let every public method of a class look at its arguments first. They raise WrongType (wrong-type) then."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, classmethod | staticmethod):
            setattr(cls, name, type(member)(checking(member.__func__)))
        elif inspect.isfunction(member):
            setattr(cls, name, checking(member))
    return cls


def checking(method: Callable[P, R]) -> Callable[P, R]:
    """The same method or function, which looks at its arguments first. It raises WrongType (wrong-type) then."""

    @functools.cache
    def known() -> tuple[tuple[str, ...], dict[str, Kinds]]:
        # Not before the first call: the types may be of modules that are not loaded to their end, and most methods are
        # never called.
        names = tuple(inspect.signature(method).parameters)
        hints = get_type_hints(method)
        return names, {name: kinds for name in names if (kinds := _kinds(hints.get(name)))}

    @functools.wraps(method)
    def looking(*arguments: P.args, **named: P.kwargs) -> R:
        names, wanted = known()
        for name, value in chain(zip(names, arguments, strict=False), named.items()):
            kinds = wanted.get(name)
            if kinds is not None and not _is_one(value, kinds):
                words = " or ".join(_WORDS.get(kind, f"a {kind.__name__}") for kind in kinds)
                message = f"{name} of {method.__name__} is {reprlib.repr(value)}: give {words}"
                raise WrongType(message, code="wrong-type")
        return method(*arguments, **named)

    return looking


def _kinds(hint: Any) -> Kinds:
    """The classes that a hint means; none, where it says more than a class can."""
    hints = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    kinds = tuple(get_origin(each) or each for each in hints)
    return kinds if all(each in _WORDS or _is_ours(each) for each in kinds) else ()


def _is_ours(kind: Any) -> bool:
    return inspect.isclass(kind) and kind.__module__.startswith("artstore.")


def _is_one(value: object, kinds: Kinds) -> bool:
    if isinstance(value, bool):
        # Python takes it for a number.
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
