"""Rows: what a table can be made of, and when two tables hold the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from artstore.api.libraries import library
from artstore.errors import BadTable, Invalid, WrongType


def checked_columns(columns: Any) -> list[Any]:
    """The names, if columns can be called so. Raises BadTable (bad-columns)."""
    if not isinstance(columns, list):
        message = f"columns is a {class_of(columns)}: give a list of names"
        raise BadTable(message, code="bad-columns")
    odd = [name for name in columns if type(name) not in (str, int)]
    if odd:
        message = f"{odd[0]!r} cannot name a column: names are text or whole numbers"
        raise BadTable(message, code="bad-columns")
    return list(columns)


def check_new_column(name: Any, data: Any, optional: Any, columns: Sequence[Any]) -> None:
    """Raise BadTable (bad-column, bad-data) for what cannot be added to columns of these names."""
    if not isinstance(name, str) or name in columns:
        why = "there is a column of this name" if name in columns else "a column's name is text"
        message = f"{name!r} cannot be added: {why}"
        raise BadTable(message, code="bad-column")
    if not isinstance(data, list) and not _is_array(data):
        message = f"the data of column {name!r} are a {class_of(data)}: give a list or a NumPy array"
        raise BadTable(message, code="bad-data")
    if not isinstance(optional, bool):
        message = f"optional is {optional!r}: give True or False"
        raise BadTable(message, code="bad-data")


def names_in_json(columns: Sequence[Any]) -> list[str]:
    """The columns as the types in the file name them. Raises Invalid (bad-columns) where two would be one."""
    names = [str(name) for name in columns]
    for name in columns:
        if isinstance(name, int) and str(name) in columns:
            message = f"columns {name!r} and {str(name)!r} are one in a file: rename one of them"
            raise Invalid(message, code="bad-columns")
    return names


def is_dataframe(value: Any) -> bool:
    """Whether it is a pandas.DataFrame, which is told without pandas."""
    return any(
        base.__name__ == "DataFrame" and base.__module__.partition(".")[0] == "pandas" for base in type(value).__mro__
    )


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"


def rows_of_dataframe(frame: Any) -> list[list[Any]]:
    """The rows of a DataFrame."""
    # By position: a DataFrame may have two columns of one name. As W&B, the cells are what `values` holds.
    columns = [list(frame.iloc[:, number].values) for number in range(len(frame.columns))]
    return [list(row) for row in zip(*columns, strict=True)]


def rows_of(source: Any) -> list[list[Any]]:
    """The rows of a list of such, or of an array. Raises BadTable (bad-data), WrongType (bad-row)."""
    if not isinstance(source, list) and not _is_array(source):
        message = f"data is a {class_of(source)}: give a list of rows, a NumPy array or a DataFrame"
        raise BadTable(message, code="bad-data")
    try:
        return [list(row) for row in source]
    except TypeError as error:
        message = f"not every row of data is a list of cells: {error}"
        raise WrongType(message, code="bad-row") from error


def class_of(value: Any) -> str:
    """What messages call the kind of a value."""
    return type(value).__name__


def rows_are_equal(left: list[list[Any]], right: list[list[Any]]) -> bool:
    """Whether all cells are; NaN is NaN, and arrays are compared as a whole."""
    if len(left) != len(right):
        return False
    try:
        if left == right:
            return True
    except ValueError:
        pass  # The truth of a comparison of arrays is ambiguous.
    return all(map(_row_is_equal, left, right))


def _row_is_equal(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(map(_cells_are_equal, left, right))


def _cells_are_equal(left: Any, right: Any) -> bool:
    if _is_array(left) or _is_array(right):
        kind = "f" if _is_array(left) and left.dtype.kind in "fc" else ""
        return bool(library("numpy").array_equal(left, right, equal_nan=kind == "f"))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)
