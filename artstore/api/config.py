"""Config: what a run was told, kept as it is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from artstore.api.metadata import plain
from artstore.errors import Invalid, WrongType


class Config(MutableMapping[str, Any]):
    """The config of a run, by key or as attributes; every change is kept at once.

    What is read back is what was set. What is kept is that as JSON can say it, and for an artifact which version it is,
    which counts as use.
    """

    def __init__(self, values: Mapping[str, Any], keep: Callable[[dict[str, Any], list[str]], None]) -> None:
        vars(self)["_values"] = dict(values)
        vars(self)["_keep"] = keep

    def update(self, *given: Any, allow_val_change: bool | None = None, **more: Any) -> None:
        """Set several keys in one step. Values may always change, with or without allow_val_change."""
        del allow_val_change
        values = {**(as_mapping(given[0]) if given else {}), **more}
        self._keep(values, [])
        self._values.update(values)

    def setdefaults(self, values: Any) -> None:
        """Set the keys that are not there."""
        self.update({key: value for key, value in as_mapping(values).items() if key not in self._values})

    def as_dict(self) -> dict[str, Any]:
        """A copy of all of it."""
        return dict(self._values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._keep({}, [key])
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError as error:
            message = f"the config has no key {key!r} (it has: {', '.join(self._values) or 'none'})"
            raise AttributeError(message, name=key, obj=self) from error

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __repr__(self) -> str:
        return repr(self._values)


def recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a config: as metadata, but of any size, and what JSON cannot say as its text.

    So is an infinity, and an array that is too large for metadata. Raises Invalid (bad-config) for what holds itself.
    """
    try:
        return plain({key: _sayable(value) for key, value in values.items()})
    except RecursionError as error:
        message = "the config holds itself, or is nested too deep: flatten it"
        raise Invalid(message, code="bad-config") from error


def _sayable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sayable(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_sayable(each) for each in value]
    try:
        plain({"value": value})
    except (Invalid, WrongType):
        return str(value)
    return value


def as_mapping(given: Any) -> dict[str, Any]:
    """The config that is meant: a mapping, or an object with attributes, as `argparse` makes. Raises WrongType."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(key): value for key, value in given.items()}
    if hasattr(given, "__dict__") and not isinstance(given, type):
        return {key: value for key, value in vars(given).items() if not key.startswith("_")}
    message = f"a config is a dictionary or an argparse namespace, not {given!r}"
    raise WrongType(message, code="bad-config")
