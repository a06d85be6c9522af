"""Restore: the cells of a table become what they were before they were written to its file."""

from __future__ import annotations

import json
import re
from typing import Any

from artstore.api.arrays import array_of, replaced, unpack
from artstore.api.cells import has_inner_times, time_from_json, times_from_json
from artstore.api.column_types import TIMESTAMP, ColumnType, NDArray, member
from artstore.api.values import Holder
from artstore.errors import Corrupt


def restore(rows: list[list[Any]], number: int, kind: ColumnType, holder: Holder) -> ColumnType:
    """Make the cells of a column what they were; answers the column's type."""
    array = array_of(kind)
    if array is not None and array.path is not None:
        whole = unpack(array, holder)
        if len(whole) != len(rows):
            message = f"{array.path!r} has {len(whole)} arrays for {len(rows)} rows"
            raise Corrupt(message, code="bad-value")
        for place, row in enumerate(rows):
            row[number] = whole[place, ...]  # An array even where it has no dimension.
        return replaced(kind, array, NDArray(array.shape))
    if member(kind, TIMESTAMP):
        for row in rows:
            row[number] = time_from_json(row[number])
    elif has_inner_times(kind):
        for row in rows:
            row[number] = times_from_json(row[number], kind)
    return kind


def pointed_at(holder: Holder, path: str) -> Any:
    table = holder.get(path)
    if table is None:
        message = f"it points into {path!r}, which is not there"
        raise Corrupt(message, code="bad-value")
    return table


def increments(data: dict[str, Any], holder: Holder) -> list[Any]:
    """The rows of a table that was logged bit by bit: those of all tables beside it, in the order of the logs."""
    if data.get("increment_num") is None:
        return []
    rows: list[Any] = []
    for path in sorted((path for path in holder.paths() if path.endswith(".table.json")), key=_increment_of):
        with holder.open(path) as file:
            rows += json.load(file)["data"]
    return rows


def _increment_of(path: str) -> tuple[int, int]:
    # W&B's names: INCREMENT-MILLISECONDS.KEY.table.json
    match = re.match(r"(\d+)(?:-(\d+))?\.", path)
    return (0, 0) if match is None else (int(match[1]), int(match[2] or 0))
