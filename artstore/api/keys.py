"""Keys: cells that point at a row of a table."""

from __future__ import annotations

from typing import Any


class TableIndex(int):
    """The number of a row, which knows its table."""

    table: Any

    @classmethod
    def of(cls, table: Any, number: int) -> TableIndex:
        """The index of a row of a table, from 0."""
        index = cls(number)
        index.table = table
        return index

    def get_row(self) -> dict[str | int, Any]:
        """The row as a dictionary from column to cell."""
        return dict(zip(self.table.columns, self.table.data[self], strict=True))


class TableKey(str):
    """A cell of a column of keys, which knows its table and column."""

    __slots__ = ("column", "table")

    table: Any
    column: str

    @classmethod
    def of(cls, table: Any, column: str, text: str) -> TableKey:
        """The key `text` of a column of a table."""
        key = cls(text)
        key.table = table
        key.column = column
        return key
