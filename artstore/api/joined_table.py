"""JoinedTable: two tables and the column, or columns, that their rows meet by.

Its file (`.joined-table.json`) names the two tables' paths and the key. W&B's page joins them; artstore keeps them.
Tables that are given as objects are put into the artifact under names made of their content, so that equal joins are
equal bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from artstore.api.partitioned_table import PartitionedTable
from artstore.api.table import Table
from artstore.api.values import HASHED_FOLDER, Holder, Value
from artstore.errors import BadTable, Corrupt, Invalid

_SUFFIX = ".table.json"


class JoinedTable(Value):
    """Two tables: a Table, a PartitionedTable, the path of a table in the artifact, or another artifact's entry of one.

    join_key is a column's name, or a list of one name for each. Raises BadTable (bad-join).
    """

    kind: ClassVar[str] = "joined-table"

    def __init__(self, table1: Any, table2: Any, join_key: str | list[str]) -> None:
        keys: Any = [join_key, join_key] if isinstance(join_key, str) else join_key
        if not isinstance(keys, list) or len(keys) != 2 or not all(isinstance(key, str) for key in keys):  # noqa: PLR2004
            message = f"join_key is {join_key!r}: give the name of a column, or a list of two"
            raise BadTable(message, code="bad-join")
        for which, table in (("table1", table1), ("table2", table2)):
            path = table if isinstance(table, str) else getattr(table, "path", "")
            if not isinstance(table, Table | PartitionedTable) and not str(path).endswith(_SUFFIX):
                message = f"{which} is {table!r:.80}: give a Table, or the path in the artifact of a {_SUFFIX} file"
                raise BadTable(message, code="bad-join")
        self.table1 = table1
        self.table2 = table2
        self.join_key = join_key

    def to_json(self, holder: Holder) -> dict[str, Any]:
        """W&B's form. Raises Invalid (no-such-table) for a path that is not in the artifact."""
        for table in (self.table1, self.table2):
            if isinstance(table, str) and table not in holder.paths(table):
                message = f"the artifact has no table {table!r} to join: add it first"
                raise Invalid(message, code="no-such-table")
        return {
            "_type": self.kind,
            "table1": _place(self.table1, holder),
            "table2": _place(self.table2, holder),
            "join_key": self.join_key,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], holder: Holder) -> Self:
        """Read W&B's form; a table that cannot be found stays a path. Raises Corrupt (bad-value)."""
        try:
            paths = data["table1"], data["table2"]
            first, second = (holder.get(path) or path for path in paths)
            return cls(first, second, data["join_key"])
        except (KeyError, BadTable, AttributeError, TypeError) as error:
            message = f"it does not name two tables and a key ({error})"
            raise Corrupt(message, code="bad-value") from error

    def __eq__(self, other: object) -> bool:
        """Whether both tables and the key are equal."""
        return (
            isinstance(other, JoinedTable)
            and self.join_key == other.join_key
            and self.table1 == other.table1
            and self.table2 == other.table2
        )

    __hash__ = None  # type: ignore[assignment]  # Its tables change.

    def __repr__(self) -> str:
        return f"<JoinedTable {self.table1!r} and {self.table2!r} by {self.join_key!r}>"


def _place(table: Any, holder: Holder) -> str:
    if isinstance(table, str):
        return table
    if isinstance(table, Table | PartitionedTable):
        return holder.add(table, f"{HASHED_FOLDER}/t").path
    return holder.add_reference(table, table.path)[0].path
