"""Data types: the values that an artifact can hold, by the names that W&B's users import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from artstore.api.joined_table import JoinedTable
from artstore.api.partitioned_table import PartitionedTable
from artstore.api.table import Table
from artstore.api.values import Holder, Value, file_name
from artstore.errors import Corrupt

__all__ = ["KINDS", "JoinedTable", "PartitionedTable", "Table", "decode", "find"]

KINDS: Final[Mapping[str, type[Value]]] = {each.kind: each for each in (Table, PartitionedTable, JoinedTable)}


def find(name: str, holder: Holder) -> str | None:
    """The path of the value called `name`, which may be its whole path; None if there is none."""
    candidates = [name, *(file_name(kind, name) for kind in KINDS)]
    there = set(holder.paths(name))
    return next((path for path in candidates if path in there and kind_of(path) is not None), None)


def kind_of(path: str) -> str | None:
    """The kind of value that a file of this path holds; None if it is no value that artstore reads."""
    # The longest suffix first: `x.joined-table.json` ends like a table's file does.
    kinds = sorted(KINDS, key=len, reverse=True)
    return next((kind for kind in kinds if path.endswith(f"{kind}.json")), None)


def decode(path: str, holder: Holder) -> Value:
    """The value in a file of an artifact. Raises Corrupt (bad-value), NotFound (path-not-found)."""
    kind = kind_of(path)
    assert kind is not None, path
    with holder.open(path) as file:
        text = file.read()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"{path!r} is no {kind}: it is not JSON ({error})"
        raise Corrupt(message, code="bad-value") from error
    if not isinstance(data, dict) or data.get("_type") != kind:
        message = f"{path!r} is no {kind}: its JSON says {data.get('_type') if isinstance(data, dict) else data!r:.80}"
        raise Corrupt(message, code="bad-value")
    try:
        return KINDS[kind].from_json(data, holder)
    except Corrupt as error:
        message = f"{path!r} is no {kind} that can be read: {error.message}"
        raise Corrupt(message, code="bad-value") from error
