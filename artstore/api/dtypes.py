"""Dtypes: column types as users say them and as W&B's files spell them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from artstore.api.column_types import (
    ANY,
    ARTIFACT_VERSION,
    BOOLEAN,
    INVALID,
    NONE,
    NUMBER,
    STRING,
    TIMESTAMP,
    UNKNOWN,
    ColumnType,
    Const,
    Foreign,
    ForeignIndex,
    ForeignKey,
    List,
    NDArray,
    PrimaryKey,
    PythonObject,
    TypedDict,
    Union,
    type_of_class,
)

Fetch = Callable[[str], Any]
"""Reads a table that keys point into."""


def type_from(dtype: Any) -> ColumnType:  # noqa: PLR0911 - one for each way to say it
    """The type that a user means: a Python class, a list or dictionary of such, or a constant."""
    if isinstance(dtype, ColumnType):
        return dtype
    if isinstance(dtype, type):
        if issubclass(dtype, ColumnType):
            return dtype()
        return type_of_class(dtype)
    if isinstance(dtype, list):
        if len(dtype) > 1:
            return Union.of(map(type_from, dtype))
        return List(type_from(dtype[0]) if dtype else UNKNOWN, None)
    if isinstance(dtype, dict):
        return TypedDict({key: type_from(each) for key, each in dtype.items()})
    return Const(dtype, is_set=isinstance(dtype, set))


def type_from_json(data: Any, fetch: Fetch) -> ColumnType:
    """Read W&B's form, its older names too. Raises TypeError, KeyError or ValueError on what is none."""
    kind, params = data["wb_type"], data.get("params", {})
    if kind in _NAMED:
        return _NAMED[kind]
    reader = _READERS.get(kind)
    return Foreign(kind, params) if reader is None else reader(params, fetch)


_NAMED: Final[Mapping[str, ColumnType]] = {
    **{
        kind.name: kind
        for kind in (NONE, STRING, NUMBER, BOOLEAN, TIMESTAMP, ARTIFACT_VERSION, ANY, UNKNOWN, INVALID, PrimaryKey())
    },
    "wandb.TablePrimaryKey": PrimaryKey(),
}


def _read_array(params: Mapping[str, Any], _fetch: Fetch) -> ColumnType:
    where = params.get("serialization_path") or {}
    return NDArray(tuple(params["shape"]), where.get("path"), where.get("key"))


def _read_dict(params: Mapping[str, Any], fetch: Fetch) -> ColumnType:
    return TypedDict({key: type_from_json(each, fetch) for key, each in params.get("type_map", {}).items()})


def _read_foreign_key(params: Mapping[str, Any], fetch: Fetch) -> ColumnType:
    return ForeignKey(fetch(params["table"]), params["col_name"])


def _read_const(params: Mapping[str, Any], _fetch: Fetch) -> ColumnType:
    is_set = bool(params.get("is_set"))
    return Const(set(params["val"]) if is_set else params["val"], is_set)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Fetch], ColumnType]]] = {
    "union": lambda params, fetch: Union.of(type_from_json(each, fetch) for each in params["allowed_types"]),
    "list": lambda params, fetch: List(type_from_json(params["element_type"], fetch), params.get("length")),
    "typedDict": _read_dict,
    "dictionary": _read_dict,
    "ndarray": _read_array,
    "pythonObject": lambda params, _: PythonObject(params["class_name"]),
    "object": lambda params, _: PythonObject(params["class_name"]),
    "const": _read_const,
    "foreignKey": _read_foreign_key,
    "wandb.TableForeignKey": _read_foreign_key,
    "foreignIndex": lambda params, fetch: ForeignIndex(fetch(params["table"])),
    "wandb.TableForeignIndex": lambda params, fetch: ForeignIndex(fetch(params["table"])),
}
