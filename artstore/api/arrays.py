"""Arrays: a column of a table whose cells are NumPy arrays, which lies in a file beside the table.

Short arrays of one dimension are written as lists instead. Format: wandb 0.31, `wandb/sdk/data_types/table.py`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any, Final

from artstore.api.column_types import (
    ANY,
    INVALID,
    NONE,
    NUMBER,
    UNKNOWN,
    ColumnType,
    List,
    NDArray,
    Union,
    assign_all,
    optional,
    type_of,
)
from artstore.api.libraries import library
from artstore.api.values import Holder
from artstore.errors import Corrupt, WrongType

_FOLDER: Final = "media/serialized_data"


def array_of(kind: ColumnType) -> NDArray | None:
    """The type of the arrays in a column, if it holds some."""
    members = kind.allowed if isinstance(kind, Union) else (kind,)
    return next((each for each in members if isinstance(each, NDArray)), None)


def is_embedding(array: NDArray, longest: int) -> bool:
    """Whether such arrays are written as lists, in the table's own file."""
    # Of no dimension: a number in all but name. W&B puts it into a file, which it then refuses to read.
    return not array.shape or (len(array.shape) == 1 and array.shape[0] <= longest)


def as_list(kind: ColumnType, array: NDArray, cells: Sequence[Any]) -> ColumnType:
    """The type of a column of short arrays, which are written as lists."""
    if not array.shape:
        return assign_all(optional(UNKNOWN), cells)
    lists = [cell for cell in cells if cell is not None]
    flat = [item for cell in lists for item in cell]
    element = assign_all(optional(UNKNOWN) if None in flat else UNKNOWN, flat)
    found = List(optional(ANY) if element == INVALID else (NUMBER if element == UNKNOWN else element), array.shape[0])
    # W&B writes that such a column is not optional, whatever it is; where a cell is None its reader would refuse it.
    return replaced(kind, array, found) if len(lists) != len(cells) else found


def replaced(kind: ColumnType, old: ColumnType, new: ColumnType) -> ColumnType:
    """The type with another one in place of one of those that it allows."""
    if isinstance(kind, Union):
        return Union.of(new if each is old else each for each in kind.allowed)
    return new


def pack(name: str, column: Sequence[Any]) -> bytes:
    """The arrays of a column as one, in an `.npz` file. Raises WrongType (not-json) for what such a file cannot say."""
    numpy = library("numpy")
    missing = next((row for row, cell in enumerate(column) if type_of(cell) == NONE), None)
    if missing is not None:
        message = f"column {name!r} holds arrays, and row {missing} is None, which W&B's files cannot say: fill it"
        raise WrongType(message, code="not-json")
    whole = numpy.array(list(column))
    if whole.dtype.hasobject:
        message = f"column {name!r} holds arrays of objects: make them numbers or text"
        raise WrongType(message, code="not-json")
    file = io.BytesIO()
    numpy.savez_compressed(file, **{name: whole})
    return file.getvalue()


def place_of(packed: bytes) -> str:
    """The path of the file, which is named by what it holds."""
    # As W&B names it; no security hangs on it.
    return f"{_FOLDER}/{hashlib.md5(packed, usedforsecurity=False).hexdigest()[:20]}.npz"


def unpack(array: NDArray, holder: Holder) -> Any:
    """The arrays of a column as one. Raises Corrupt (bad-value)."""
    numpy = library("numpy")
    assert array.path is not None
    with holder.open(array.path) as file:
        data = io.BytesIO(file.read())
    try:
        with numpy.load(data, allow_pickle=False) as found:
            return found[array.key]
    except Exception as error:  # numpy raises what zipfile, zlib and struct do
        message = f"{array.path!r} holds no arrays that can be read: {error}"
        raise Corrupt(message, code="bad-value") from error
