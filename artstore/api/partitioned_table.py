"""PartitionedTable: many tables of an artifact, read as one.

Its file (`.partitioned-table.json`) names a folder; the parts are the tables below it when it is read, by path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from artstore.api.table import Table
from artstore.api.values import Holder, Value
from artstore.errors import BadTable, Corrupt, Invalid


class PartitionedTable(Value):
    """The tables below a folder of an artifact. Raises BadTable (bad-parts-path) for what is no path."""

    kind: ClassVar[str] = "partitioned-table"

    def __init__(self, parts_path: str) -> None:
        self.parts_path = _checked_path(parts_path)
        self._holder: Holder | None = None

    def parts(self) -> list[str]:
        """The paths of the parts, sorted; none before it is read from an artifact."""
        folder = self.parts_path.rstrip("/") + "/"
        return [] if self._holder is None else self._holder.paths(folder)

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """The rows of all parts, numbered through. One part is in memory at a time.

        Raises Invalid (parts-differ) where parts have other columns than the first, or are no tables.
        """
        number = 0
        columns: list[Any] | None = None
        for path in self.parts():
            assert self._holder is not None
            part = self._holder.get(path)
            if not isinstance(part, Table):
                message = f"{path!r} lies among the parts of {self.parts_path!r} and is no table: move it elsewhere"
                raise Invalid(message, code="parts-differ")
            columns = part.columns if columns is None else columns
            if part.columns != columns:
                message = f"Table parts have non-matching columns: {path!r} has {part.columns}, others have {columns}"
                raise Invalid(message, code="parts-differ")
            for row in part.data:
                yield number, row
                number += 1

    def to_json(self, holder: Holder) -> dict[str, Any]:
        """W&B's form; parts may be added later."""
        del holder
        return {"_type": self.kind, "parts_path": self.parts_path}

    @classmethod
    def from_json(cls, data: dict[str, Any], holder: Holder) -> Self:
        """Read W&B's form. Raises Corrupt (bad-value)."""
        try:
            found = cls(data["parts_path"])
        except (KeyError, BadTable) as error:
            message = f"parts_path is {data.get('parts_path')!r}"
            raise Corrupt(message, code="bad-value") from error
        found._holder = holder
        return found

    def __eq__(self, other: object) -> bool:
        """Whether they name one folder."""
        return isinstance(other, PartitionedTable) and self.parts_path == other.parts_path

    def __hash__(self) -> int:
        return hash(self.parts_path)

    def __repr__(self) -> str:
        return f"<PartitionedTable {self.parts_path}>"


def _checked_path(path: Any) -> str:
    if not isinstance(path, str) or not path.strip("/"):
        message = f"{path!r} is no folder of an artifact: give the path where the parts are added"
        raise BadTable(message, code="bad-parts-path")
    return path
