"""Parquet: tables in Parquet files, by pyarrow."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artstore.api.libraries import library
from artstore.errors import Invalid, WrongType


def read(source: Path) -> tuple[list[str], list[list[Any]]]:
    """The names and the cells of the columns; times are datetimes. Raises Invalid (bad-parquet), OSError."""
    pyarrow = library("pyarrow")
    try:
        found = library("pyarrow.parquet").ParquetFile(source).read()
        names = [str(name) for name in found.column_names]
        return names, [_without_nanoseconds(pyarrow, column).to_pylist() for column in found.columns]
    except pyarrow.ArrowException as error:
        message = f"{str(source)!r} is no Parquet file that a table can be read from: {_first_line(error)}"
        raise Invalid(message, code="bad-parquet") from error


def write(target: Path, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
    """Write a file whole, or leave what is there. Raises WrongType (not-parquet), which names the column; OSError."""
    pyarrow = library("pyarrow")
    arrays = []
    for name, cells in zip(names, columns, strict=True):
        try:
            arrays.append(pyarrow.array([_plain(cell) for cell in cells]))
        except (pyarrow.ArrowException, OverflowError) as error:
            message = f"column {name!r} is nothing that Parquet can hold: {_first_line(error)}"
            raise WrongType(message, code="not-parquet") from error
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        library("pyarrow.parquet").write_table(pyarrow.Table.from_arrays(arrays, names=list(names)), temporary)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _without_nanoseconds(pyarrow: Any, column: Any) -> Any:
    """A column whose times Python can hold; where that would cut something, pyarrow raises."""
    kind = column.type
    return column.cast(pyarrow.timestamp("us", tz=kind.tz)) if pyarrow.types.is_timestamp(kind) else column


def _plain(cell: Any) -> Any:
    return cell.tolist() if hasattr(cell, "tolist") else cell


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
