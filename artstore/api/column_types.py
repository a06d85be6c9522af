"""Column types: what the cells of a table's column may be, in the words of W&B's table files.

The algebra is W&B's (wandb 0.31, `wandb/sdk/data_types/_dtypes.py` and `table.py`), so what it takes is taken here,
and what it writes is read here: a type that a value is assigned to answers the type it has become, or INVALID. On
purpose one thing is different: W&B gives a list of mixed items (`[1, "a"]`, `[1.0, nan]`) a type that no reader takes,
its own neither; here the items may then be anything.

A column begins as unknown, optional or not. None and NaN are one. `assign_all` is the fast way for whole columns.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Final

import msgspec

from artstore.api.keys import TableIndex, TableKey

Place = Callable[[Any], str]
"""Puts a table that keys point into beside the one that is written, and answers its path."""

ARTIFACT_PREFIX: Final = "wandb-artifact://"
_LISTS: Final = frozenset({list, tuple, set, frozenset})
_MISSING: Final = frozenset({"NaTType", "NAType"})
"""What pandas has in place of a value."""


class ColumnType(msgspec.Struct, frozen=True):
    """What a cell may be."""

    name: ClassVar[str] = ""

    def assign(self, value: Any) -> ColumnType:
        """The type after a value came in; INVALID if it may not."""
        return self.assign_type(type_of(value))

    def assign_type(self, other: ColumnType) -> ColumnType:
        """The type after a value of another type came in; INVALID if it may not."""
        return self if other == self else INVALID

    def params(self) -> dict[str, Any]:
        """What else the type says, by W&B's names."""
        return {}

    def parts(self) -> Sequence[ColumnType]:
        """The types that it is made of."""
        return ()

    def to_json(self, place: Place) -> dict[str, Any]:
        """W&B's form."""
        params = {key: _plain(value, place) for key, value in self.params().items()}
        return {"wb_type": self.name, **({"params": params} if params else {})}

    def __str__(self) -> str:
        # W&B sorts the members of a union by such texts; alike here, so that equal tables are equal bytes.
        params = self.params()
        inside = ", ".join(f"{key}:{value}" for key, value in params.items())
        return self.name.capitalize() + (f"({inside})" if params else "")

    __repr__ = __str__


class Simple(ColumnType, frozen=True):
    """A type that has a name and no parameters."""

    kind: str

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.kind


class AnyType(ColumnType, frozen=True):
    """Everything but None."""

    name = "any"

    def assign_type(self, other: ColumnType) -> ColumnType:
        return INVALID if other in (NONE, INVALID) else self


class Unknown(ColumnType, frozen=True):
    """Whatever comes first, unless it is None."""

    name = "unknown"

    def assign_type(self, other: ColumnType) -> ColumnType:
        return INVALID if other == NONE else other


class Never(ColumnType, frozen=True):
    """What nothing can be assigned to."""

    name = "invalid"

    def assign_type(self, other: ColumnType) -> ColumnType:  # noqa: ARG002
        return self


NONE: Final = Simple("none")
STRING: Final = Simple("string")
NUMBER: Final = Simple("number")
BOOLEAN: Final = Simple("boolean")
TIMESTAMP: Final = Simple("timestamp")
ARTIFACT_VERSION: Final = Simple("artifactVersion")
ANY: Final = AnyType()
UNKNOWN: Final = Unknown()
INVALID: Final = Never()


class PythonObject(ColumnType, frozen=True):
    """An object of a class that has no type of its own."""

    class_name: str
    name = "pythonObject"

    def params(self) -> dict[str, Any]:
        return {"class_name": self.class_name}


class Const(ColumnType, frozen=True):
    """One value, or one of a set of values."""

    value: Any
    is_set: bool = False
    name = "const"

    def assign(self, value: Any) -> ColumnType:
        return self if not _is_numpy(value, "ndarray") and value == self.value else INVALID

    def params(self) -> dict[str, Any]:
        return {"val": sorted(self.value, key=repr) if self.is_set else self.value, "is_set": self.is_set}

    def __str__(self) -> str:
        return str(self.value)


class Union(ColumnType, frozen=True):
    """One of several types."""

    allowed: tuple[ColumnType, ...]
    name = "union"

    @classmethod
    def of(cls, types: Iterable[ColumnType]) -> Union:
        """The union of types; unions among them are dissolved."""
        flat = chain.from_iterable(each.allowed if isinstance(each, Union) else (each,) for each in types)
        return cls(tuple(sorted(flat, key=str)))

    def assign(self, value: Any) -> ColumnType:
        return self.become(lambda member: member.assign(value))

    def assign_type(self, other: ColumnType) -> ColumnType:
        here: ColumnType = self
        for each in other.allowed if isinstance(other, Union) else (other,):
            if not isinstance(here, Union):
                break
            here = here.become(partial(_assign_type, other=each))
        return here

    def become(self, assign: Callable[[ColumnType], ColumnType]) -> ColumnType:
        """The union after one of its members has taken something; INVALID if none does."""
        # What is known comes first: an unknown member would take anything.
        for number in sorted(range(len(self.allowed)), key=lambda n: isinstance(self.allowed[n], Unknown)):
            result = assign(self.allowed[number])
            if result != INVALID:
                if result is self.allowed[number]:
                    return self
                return Union.of((*self.allowed[:number], result, *self.allowed[number + 1 :]))
        return INVALID

    def params(self) -> dict[str, Any]:
        return {"allowed_types": list(self.allowed)}

    def parts(self) -> Sequence[ColumnType]:
        return self.allowed

    def __str__(self) -> str:
        return " or ".join(map(str, self.allowed))


class List(ColumnType, frozen=True):
    """A list of items of one type; its length too while all have the same."""

    element: ColumnType
    length: int | None
    name = "list"

    @classmethod
    def of(cls, values: Sequence[Any]) -> List:
        """The type of a list."""
        kinds = _distinct_types(values)
        start = optional(UNKNOWN) if NONE in (map(type_of, values) if kinds is None else kinds) else UNKNOWN
        element = assign_all(start, values)
        return cls(optional(ANY) if element == INVALID else element, len(values))

    def assign(self, value: Any) -> ColumnType:
        try:
            values = list(value)
        except TypeError:
            return INVALID
        element = assign_all(self.element, values)
        return INVALID if element == INVALID else List(element, len(values))

    def assign_type(self, other: ColumnType) -> ColumnType:
        if not isinstance(other, List):
            return INVALID
        element = self.element.assign_type(other.element)
        return INVALID if element == INVALID else List(element, self.length if self.length == other.length else None)

    def params(self) -> dict[str, Any]:
        return {"element_type": self.element, "length": self.length}

    def parts(self) -> Sequence[ColumnType]:
        return (self.element,)

    def __str__(self) -> str:
        return f"{self.element}[]"


class TypedDict(ColumnType, frozen=True):
    """A dictionary whose keys have types; none is added later."""

    type_map: dict[Any, ColumnType]
    name = "typedDict"

    def assign(self, value: Any) -> ColumnType:
        if not isinstance(value, dict) or value.keys() - self.type_map.keys():
            return INVALID
        return self._each(lambda key, kind: kind.assign(value.get(key)))

    def assign_type(self, other: ColumnType) -> ColumnType:
        if not isinstance(other, TypedDict) or other.type_map.keys() - self.type_map.keys():
            return INVALID
        return self._each(lambda key, kind: kind.assign_type(other.type_map.get(key, UNKNOWN)))

    def _each(self, become: Callable[[Any, ColumnType], ColumnType]) -> ColumnType:
        found = {key: become(key, kind) for key, kind in self.type_map.items()}
        return INVALID if INVALID in found.values() else TypedDict(found)

    def params(self) -> dict[str, Any]:
        return {"type_map": self.type_map}

    def parts(self) -> Sequence[ColumnType]:
        return list(self.type_map.values())

    def __str__(self) -> str:
        return str(self.type_map)


class NDArray(ColumnType, frozen=True):
    """A NumPy array of one shape. The arrays of a column may lie in an `.npz` file beside the table."""

    shape: tuple[int, ...]
    path: str | None = None
    key: str | None = None
    name = "ndarray"

    def assign(self, value: Any) -> ColumnType:
        if isinstance(value, list):
            return self if _shape_of_list(value) == self.shape else INVALID
        return self.assign_type(type_of(value)) if _is_numpy(value, "ndarray") else INVALID

    def assign_type(self, other: ColumnType) -> ColumnType:
        fits = isinstance(other, List) or (isinstance(other, NDArray) and other.shape == self.shape)
        return self if fits else INVALID

    def params(self) -> dict[str, Any]:
        where = None if self.path is None else {"path": self.path, "key": self.key}
        return {"shape": list(self.shape), "serialization_path": where}

    def __str__(self) -> str:
        return f"Ndarray(shape:{list(self.shape)})"


class PrimaryKey(ColumnType, frozen=True):
    """Text that names the row."""

    name = "primaryKey"

    def assign(self, value: Any) -> ColumnType:
        return self if isinstance(value, TableKey) else self.assign_type(type_of(value))

    def assign_type(self, other: ColumnType) -> ColumnType:
        return self if other in (STRING, self) else INVALID


class ForeignKey(ColumnType, frozen=True):
    """Text that names a row of another table."""

    table: Any
    column: str
    name = "foreignKey"

    def assign_type(self, other: ColumnType) -> ColumnType:
        same = isinstance(other, ForeignKey) and other.table is self.table and other.column == self.column
        return self if same or other == STRING else INVALID

    def to_json(self, place: Place) -> dict[str, Any]:
        return {"wb_type": self.name, "params": {"table": place(self.table), "col_name": self.column}}

    def __str__(self) -> str:
        return f"Foreignkey(col_name:{self.column})"


class ForeignIndex(ColumnType, frozen=True):
    """The number of a row of another table."""

    table: Any
    name = "foreignIndex"

    def assign_type(self, other: ColumnType) -> ColumnType:
        same = isinstance(other, ForeignIndex) and other.table is self.table
        return self if same or other == NUMBER else INVALID

    def to_json(self, place: Place) -> dict[str, Any]:
        return {"wb_type": self.name, "params": {"table": place(self.table)}}

    def __str__(self) -> str:
        return "Foreignindex"


class Foreign(ColumnType, frozen=True):
    """A type that a file names and artstore has no use for, such as that of images; kept as it was found."""

    kind: str
    found: dict[str, Any]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.kind

    def params(self) -> dict[str, Any]:
        return self.found

    def assign(self, value: Any) -> ColumnType:
        return self if isinstance(value, dict) and "_type" in value else INVALID


def _assign_type(kind: ColumnType, other: ColumnType) -> ColumnType:
    return kind.assign_type(other)


def optional(kind: ColumnType) -> Union:
    """The type, or None."""
    return Union.of((kind, NONE))


def type_of(value: Any) -> ColumnType:  # noqa: PLR0911 - one for each kind of value
    """The type of one value."""
    cls = value.__class__
    if (isinstance(value, str) and value.startswith(ARTIFACT_PREFIX)) or (
        isinstance(value, dict) and value.get("_type") == "artifactVersion"
    ):
        return ARTIFACT_VERSION
    known = _BY_CLASS.get(cls)
    if known is not None:
        return NONE if known is NUMBER and value != value else known  # noqa: PLR0124 - only NaN differs from itself
    if cls in _LISTS:
        return List.of(list(value))
    if cls is dict:
        return TypedDict({key: type_of(each) for key, each in value.items()})
    if cls is TableIndex:
        return ForeignIndex(value.table)
    if cls is TableKey:
        return ForeignKey(value.table, value.column)
    if cls.__module__ == "numpy":
        return _type_of_numpy(value)
    return NONE if cls.__name__ in _MISSING else PythonObject(cls.__name__)


def assign_all(kind: ColumnType, values: Sequence[Any]) -> ColumnType:
    """The type after many values came in, in their order; INVALID if one may not. As `assign` one by one, and faster.

    2 million cells of numbers and text take 60 ms, one by one 9 s.
    """
    distinct = _distinct_types(values)
    if distinct is not None and not _has_const(kind):
        for each in distinct:
            kind = kind.assign_type(each)
        return kind
    plain = _plain_lists(values)
    start = 0
    if plain is not None:
        # The first list says whether its items may be None, as it does one by one; the others are looked at together.
        for start, value in enumerate(values, 1):  # noqa: B007 - used below
            kind = kind.assign(value)
            if value is not None:
                break
        together = _assign_lists(kind, plain[1:])
        if together is not None:
            return together if None not in values else together.assign(None)
    for value in values[start:]:
        kind = kind.assign(value)
        if kind == INVALID:
            break
    return kind


def quick_classes(kind: ColumnType) -> frozenset[type]:
    """The classes whose values leave the type as it is, text that begins with ARTIFACT_PREFIX excepted."""
    if _has_const(kind):
        return frozenset()
    same = {each for each in (NONE, *_BY_CLASS.values()) if kind.assign_type(each) == kind}
    # A float may be NaN, which is None.
    return frozenset(cls for cls, each in _BY_CLASS.items() if each in same and (cls is not float or NONE in same))


def holds(kind: ColumnType, wanted: type[ColumnType]) -> bool:
    """Whether a type is of a class, or has one in it that is."""
    return isinstance(kind, wanted) or any(holds(part, wanted) for part in kind.parts())


def member(kind: ColumnType, wanted: ColumnType) -> bool:
    """Whether a type is another one, or is a union with it."""
    return kind == wanted or (isinstance(kind, Union) and wanted in kind.allowed)


def plain_type(cls: type) -> ColumnType | None:
    """The type of all values of a class, NaN and text that begins with ARTIFACT_PREFIX excepted; None if they differ.

    Those of NumPy's numbers are as those of Python's.
    """
    kind = type_of_class(cls)
    return kind if cls in _BY_CLASS or (cls.__module__ == "numpy" and kind in (NUMBER, BOOLEAN)) else None


def accepts_none(kind: ColumnType) -> bool:
    """Whether a cell may be None."""
    return kind.assign_type(NONE) != INVALID


_BY_CLASS: Final[Mapping[type, ColumnType]] = {
    type(None): NONE,
    str: STRING,
    int: NUMBER,
    float: NUMBER,
    bool: BOOLEAN,
    dt.datetime: TIMESTAMP,
    dt.date: TIMESTAMP,
}


def _plain(value: Any, place: Place) -> Any:
    if isinstance(value, ColumnType):
        return value.to_json(place)
    if isinstance(value, dict):
        return {key: _plain(each, place) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, place) for each in value]
    return value


def _is_numpy(value: Any, name: str) -> bool:
    cls: type = value.__class__
    return cls.__module__ == "numpy" and cls.__name__ == name


def _type_of_numpy(value: Any) -> ColumnType:
    kind = type_of_class(value.__class__)
    if kind in (NUMBER, TIMESTAMP) and value != value:  # noqa: PLR0124 - only NaN and NaT differ from themselves
        return NONE
    return NDArray(tuple(value.shape)) if isinstance(kind, NDArray) else kind


def type_of_class(cls: type) -> ColumnType:  # noqa: PLR0911 - one for each kind of class
    if cls in _BY_CLASS:
        return _BY_CLASS[cls]
    if cls in _LISTS:
        return List(UNKNOWN, None)
    if cls is dict:
        return TypedDict({})
    if cls.__module__ == "numpy":
        # By name, so that numpy is not imported for those who do not use it.
        if cls.__name__ == "ndarray":
            return NDArray(())
        if cls.__name__ in {"bool", "bool_"}:
            return BOOLEAN
        if cls.__name__ == "datetime64":
            return TIMESTAMP
        if cls.__name__ != "timedelta64" and any(base.__name__ == "number" for base in cls.__mro__):
            return NUMBER
    return PythonObject(cls.__name__)


def _shape_of_list(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _distinct_types(values: Sequence[Any]) -> list[ColumnType] | None:
    """The types of values that are all plain, each once; None if one of them is not."""
    kinds = {cls: plain_type(cls) for cls in set(map(type, values))}
    if None in kinds.values():
        return None
    found = {kind for kind in kinds.values() if kind is not None}
    if str in kinds:
        texts = {value.startswith(ARTIFACT_PREFIX) for value in values if value.__class__ is str}
        if True in texts:
            found.add(ARTIFACT_VERSION)
        if False not in texts:
            found.discard(STRING)
    floats = {cls for cls, kind in kinds.items() if kind == NUMBER and cls is not int}
    if floats:
        nan = {value != value for value in values if value.__class__ in floats}  # noqa: PLR0124
        if True in nan:
            found.add(NONE)
        if False not in nan and int not in kinds:
            found.discard(NUMBER)
    return sorted(found, key=str)


def _plain_lists(values: Sequence[Any]) -> list[Sequence[Any]] | None:
    """The lists among values that are lists or None; None if one is neither."""
    if not set(map(type, values)) <= {list, tuple, type(None)}:
        return None
    return [value for value in values if value is not None]


def _assign_lists(kind: ColumnType, lists: Sequence[Sequence[Any]]) -> ColumnType | None:
    """The type after lists of plain values came in; None if that has to be found one by one."""
    if not lists:
        return kind
    members = kind.allowed if isinstance(kind, Union) else (kind,)
    takers = [each for each in members if isinstance(each, List)]
    others = [each for each in members if not isinstance(each, List)]
    if len(takers) != 1 or any(each != NONE for each in others):
        return None
    inside = list(chain.from_iterable(lists))
    if _distinct_types(inside) is None:
        return None
    element = assign_all(takers[0].element, inside)
    if element == INVALID:
        return INVALID
    become = List(element, len(lists[-1]))
    return Union.of((become, *others)) if isinstance(kind, Union) else become


def _has_const(kind: ColumnType) -> bool:
    return holds(kind, Const)
