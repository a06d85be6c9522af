"""Table: rows and columns, in W&B's table files.

Rows are lists in `data`, columns are names in `columns`. Each column has a type that follows its cells; a cell of
another type is an error (`allow_mixed_types` lifts it), and so is None in a column that is not optional. What a cell
becomes in the file is in `artstore.api.cells`. Format: wandb 0.31, `wandb/sdk/data_types/table.py`; a file written
here reads there and the other way round, and equal tables are equal bytes.

pandas, numpy and pyarrow are asked for only by what needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from artstore.api import parquet
from artstore.api.arrays import array_of, as_list, is_embedding, pack, place_of, replaced
from artstore.api.cells import column_to_json, written_type
from artstore.api.column_types import (
    ANY,
    ARTIFACT_PREFIX,
    INVALID,
    NONE,
    UNKNOWN,
    ColumnType,
    ForeignIndex,
    ForeignKey,
    NDArray,
    PrimaryKey,
    TypedDict,
    Union,
    assign_all,
    optional,
    quick_classes,
    type_of,
)
from artstore.api.dtypes import type_from, type_from_json
from artstore.api.keys import TableIndex, TableKey
from artstore.api.libraries import library
from artstore.api.restore import increments, pointed_at, restore
from artstore.api.rows import (
    check_new_column,
    checked_columns,
    class_of,
    is_dataframe,
    names_in_json,
    rows_are_equal,
    rows_of,
    rows_of_dataframe,
)
from artstore.api.values import HASHED_FOLDER, Holder, Value
from artstore.errors import BadTable, Corrupt, Invalid, NotFound, WrongType

ColumnName = str | int
LogMode = Literal["IMMUTABLE", "MUTABLE", "INCREMENTAL"]

DEFAULT_COLUMNS: Final = ("Input", "Output", "Expected")
_LOG_MODES: Final = ("IMMUTABLE", "MUTABLE", "INCREMENTAL")


class Table(Value):
    """Rows of cells in named columns. Raises BadTable for columns that cannot be, WrongType for cells that do not fit.

    columns     names, text or whole numbers; without them and without a DataFrame, Input, Output and Expected
    data        rows, or a NumPy array of two dimensions, or a DataFrame; `rows` is an old name for it
    dataframe   a DataFrame, whose columns are the table's
    dtype       a type for all columns, or a list with one for each: a Python class, `[int]` for a list of such,
                `{"a": int}` for a dictionary, or a constant. Without it the first cell decides
    optional    whether cells may be None: for all columns, or a list with one for each
    allow_mixed_types   take cells of any type, whatever dtype says
    log_mode    kept in the file; INCREMENTAL forbids to add columns
    """

    kind: ClassVar[str] = "table"

    MAX_ROWS: ClassVar[int] = 10_000
    """Rows that W&B shows of a table that is logged to a run; artstore does not log to charts, and cuts nothing."""
    MAX_ARTIFACT_ROWS: ClassVar[int] = 200_000
    """Rows of a table in an artifact; more are an error. May be set to more: W&B shows such tables slowly."""
    MAX_EMBEDDING: ClassVar[int] = 150
    """Numbers in the longest array that is written as a list; longer ones, and those of more dimensions, go into an
    `.npz` file beside the table."""

    data: list[list[Any]]
    columns: list[Any]

    def __init__(
        self,
        columns: list[ColumnName] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: bool | list[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: LogMode | None = "IMMUTABLE",
    ) -> None:
        if log_mode not in _LOG_MODES:
            message = f"{log_mode!r} is no log_mode: use one of {', '.join(_LOG_MODES)}"
            raise BadTable(message, code="bad-log-mode")
        self.log_mode = log_mode
        source: Any = next((each for each in (dataframe, data, rows) if each is not None), [])
        if is_dataframe(source):
            self.columns = checked_columns(list(source.columns))
            given = rows_of_dataframe(source)
        elif dataframe is not None:
            message = f"dataframe is a {class_of(dataframe)}: give a pandas.DataFrame, or rows as data"
            raise BadTable(message, code="bad-data")
        else:
            self.columns = checked_columns(list(DEFAULT_COLUMNS) if columns is None else columns)
            given = rows_of(source)
        self.data = []
        # Replaced as a whole whenever a type changes, so that what was found out about it can be kept.
        self._types: dict[Any, ColumnType] = {}
        self._quick: tuple[object, list[frozenset[type]]] = (None, [])
        self._types = self._initial_types(ANY if allow_mixed_types else dtype, optional)
        self._extend(given)

    # Rows.

    def add_data(self, *data: Any) -> None:
        """Add a row: one cell for each column. Raises Invalid (bad-row), WrongType (wrong-type); then none is added."""
        if len(data) != len(self.columns):
            message = f"this table has {len(self.columns)} columns, {self.columns}; the row has {len(data)} cells"
            raise Invalid(message, code="bad-row")
        if not self._fits_at_once(data):
            self._assign_row(data)
        row = list(data)
        self._wrap_keys([row])
        self.data.append(row)

    add_row = add_data

    def iterrows(self) -> Iterator[tuple[TableIndex, list[Any]]]:
        """The rows with their numbers. A number put into another table links it to this row."""
        for number, row in enumerate(self.data):
            yield TableIndex.of(self, number), row

    def get_index(self) -> list[TableIndex]:
        """The numbers of the rows, which link other tables to them."""
        return [TableIndex.of(self, number) for number in range(len(self.data))]

    def index_ref(self, index: int) -> TableIndex:
        """The number of one row, which links another table to it. Raises BadTable (no-such-row)."""
        if not 0 <= index < len(self.data):
            message = f"there is no row {index}: the table has {len(self.data)}"
            raise BadTable(message, code="no-such-row")
        return TableIndex.of(self, index)

    # Columns.

    def add_column(self, name: str, data: Any, optional: bool = False) -> None:
        """Add a column: a list or an array with a cell for each row; the first column of a table makes the rows.

        Raises BadTable (bad-column, bad-data, column-length) and WrongType (wrong-type); the table is as before then.
        """
        self._refuse_incremental("add_column")
        check_new_column(name, data, optional, self.columns)
        cells = list(data)
        if self.columns and len(cells) != len(self.data):
            message = f"column {name!r} has {len(cells)} cells for {len(self.data)} rows: give one for each row"
            raise BadTable(message, code="column-length")
        kind = self._assigned(name, _maybe(UNKNOWN, optional=optional), cells)
        rows = self.data if self.columns else [[] for _ in cells]
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
        self.data = rows
        self.columns.append(name)
        self._types = {**self._types, name: kind}

    def add_computed_columns(self, fn: Callable[[int, dict[ColumnName, Any]], Mapping[str, Any]]) -> None:
        """Add what fn(row number, row as a dictionary) answers, by column. Raises BadTable, as add_column does."""
        self._refuse_incremental("add_computed_columns")
        found: dict[str, list[Any]] = {}
        for number, row in self.iterrows():
            answer = fn(number, dict(zip(self.columns, row, strict=True)))
            if not isinstance(answer, dict):
                message = f"the function answers a {class_of(answer)} for row {number}: answer a dictionary"
                raise BadTable(message, code="bad-data")
            for key, cell in answer.items():
                found.setdefault(key, []).append(cell)
        for name, cells in found.items():
            self.add_column(name, cells)

    def get_column(self, name: ColumnName, convert_to: Literal["numpy"] | None = None) -> Any:
        """The cells of a column as a list, or as a NumPy array. Raises BadTable (no-such-column, bad-conversion)."""
        if convert_to not in (None, "numpy"):
            message = f"{convert_to!r} is nothing to convert to: use 'numpy', or nothing"
            raise BadTable(message, code="bad-conversion")
        number = self._number(name)
        cells = [row[number] for row in self.data]
        return cells if convert_to is None else library("numpy").array(cells)

    def get_dataframe(self) -> Any:
        """The table as a pandas.DataFrame."""
        return library("pandas").DataFrame.from_records(self.data, columns=self.columns)

    def cast(self, col_name: ColumnName, dtype: Any, optional: bool = False) -> ColumnType:
        """Give a column another type. Raises WrongType (wrong-type) where a cell does not fit, BadTable (…-key)."""
        number = self._number(col_name)
        wanted = _maybe(type_from(dtype), optional=optional)
        self._check_key(col_name, wanted, is_optional=optional)
        kind = self._assigned(col_name, wanted, [row[number] for row in self.data])
        self._types = {**self._types, col_name: kind}
        self._wrap_keys(self.data)
        return kind

    def set_pk(self, col_name: ColumnName) -> None:
        """Say that a column of text names the rows. Raises BadTable (two-primary-keys), WrongType (wrong-type)."""
        self.cast(col_name, PrimaryKey())

    def set_fk(self, col_name: ColumnName, table: Table, table_col: str) -> None:
        """Say that a column of text names rows of another table. Raises BadTable (no-such-column, …), WrongType."""
        table._number(table_col)
        self.cast(col_name, ForeignKey(table, table_col))

    # Files.

    @classmethod
    def from_parquet(cls, source: str | Path) -> Self:
        """The table in a Parquet file. Needs pyarrow, the extra `parquet`. Raises Invalid (bad-parquet), OSError."""
        names, cells = parquet.read(Path(source))
        return cls(columns=[*names], data=[list(row) for row in zip(*cells, strict=True)])

    def to_parquet(self, target: str | Path) -> None:
        """Write a Parquet file, whole or not at all. Needs pyarrow. Raises WrongType (not-parquet)."""
        parquet.write(Path(target), [str(name) for name in self.columns], self._cells())

    def to_json(self, holder: Holder) -> dict[str, Any]:
        """W&B's form. Raises Invalid (too-many-rows) and WrongType (wrong-type, not-json) before anything is put."""
        if len(self.data) > self.MAX_ARTIFACT_ROWS:
            message = (
                f"the table has {len(self.data):,} rows, and {self.MAX_ARTIFACT_ROWS:,} are the most of one: add it "
                "in parts below one folder, and a PartitionedTable of that folder"
            )
            raise Invalid(message, code="too-many-rows")
        cells = self._cells()
        names = names_in_json(self.columns)
        self._types = self._types_of(cells)  # What was put into `data` by hand is checked here.
        written: dict[str, ColumnType] = {}
        columns: list[Sequence[Any]] = []
        arrays: dict[str, bytes] = {}
        for name, text, column in zip(self.columns, names, cells, strict=True):
            kind = self._types[name]
            array = array_of(kind)
            if array is not None and not is_embedding(array, self.MAX_EMBEDDING):
                packed = pack(text, column)
                path = place_of(packed)
                arrays[path] = packed
                written[text] = replaced(kind, array, NDArray(array.shape, path, text))
                columns.append([None] * len(column))
                continue
            found = column_to_json(column)
            columns.append(found)
            written[text] = written_type(kind if array is None else as_list(kind, array, found), found)
        for path, packed in arrays.items():
            holder.add_bytes(packed, path)
        data: dict[str, Any] = {
            "_type": self.kind,
            "column_types": TypedDict(written).to_json(lambda table: holder.add(table, f"{HASHED_FOLDER}/t").path),
            "columns": self.columns,
            "data": [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in self.data],
            "log_mode": self.log_mode,
            "ncols": len(self.columns),
            "nrows": len(self.data),
        }
        if self.log_mode == "INCREMENTAL":
            data |= {"increment_num": 0, "previous_increments_paths": []}
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any], holder: Holder) -> Self:
        """Read W&B's form. Raises Corrupt (bad-value)."""
        try:
            return cls._from_json(data, holder)
        except (Corrupt, NotFound):
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            message = f"it is not what a table's JSON is ({type(error).__name__}: {error})"
            raise Corrupt(message, code="bad-value") from error

    @classmethod
    def _from_json(cls, data: dict[str, Any], holder: Holder) -> Self:
        rows = data["data"] if data.get("log_mode") != "INCREMENTAL" else increments(data, holder)
        table = cls(columns=data["columns"], log_mode=data.get("log_mode") or "IMMUTABLE")
        width = len(table.columns)
        if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != width for row in rows):
            message = f"not every row is a list of {width} cells"
            raise Corrupt(message, code="bad-value")
        table.data = rows
        if data.get("column_types") is None:
            table._types = {name: optional(ANY) for name in table.columns}
            return table
        types = type_from_json(data["column_types"], lambda path: pointed_at(holder, path))
        assert isinstance(types, TypedDict)
        for number, name in enumerate(table.columns):
            kind = types.type_map[str(name)]
            table._types[name] = restore(rows, number, kind, holder)
        table._wrap_keys(rows)
        return table

    def __eq__(self, other: object) -> bool:
        """Whether columns, their types and all cells are equal; NaN is NaN, and arrays are compared as a whole."""
        if not isinstance(other, Table):
            return NotImplemented
        return self.columns == other.columns and self._types == other._types and rows_are_equal(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]  # A table changes.

    def __repr__(self) -> str:
        return f"<Table {len(self.data):,} x {len(self.columns)}: {', '.join(map(str, self.columns))}>"

    # What its columns may hold.

    def _initial_types(self, dtype: Any, optionals: Any) -> dict[Any, ColumnType]:
        dtypes = dtype if isinstance(dtype, list) else [dtype] * len(self.columns)
        flags = optionals if isinstance(optionals, list) else [optionals] * len(self.columns)
        if not len(dtypes) == len(flags) == len(self.columns):
            message = (
                f"the table has {len(self.columns)} columns: give as many in dtype and in optional, or one for all"
            )
            raise BadTable(message, code="bad-columns")
        types: dict[Any, ColumnType] = {}
        for name, each, flag in zip(self.columns, dtypes, flags, strict=True):
            kind = _maybe(UNKNOWN if each is None else type_from(each), optional=flag)
            self._check_key(name, kind, is_optional=flag)
            types[name] = kind
        return types

    def _extend(self, rows: list[list[Any]]) -> None:
        width = len(self.columns)
        for number, row in enumerate(rows):
            if len(row) != width:
                message = f"this table has {width} columns, {self.columns}; row {number} has {len(row)} cells"
                raise Invalid(message, code="bad-row")
        cells: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * width
        if any({TableIndex, TableKey} & set(map(type, column)) for column in cells):
            for row in rows:  # A key may make its column one.
                self.add_data(*row)
            return
        self._types = self._types_of(cells)
        self._wrap_keys(rows)
        self.data = rows

    def _cells(self) -> list[Sequence[Any]]:
        """The cells by column. Raises Invalid (bad-row) where a row that was put in by hand is too long or short."""
        width = len(self.columns)
        wrong = next((number for number, row in enumerate(self.data) if len(row) != width), None)
        if wrong is not None:
            message = f"row {wrong} has {len(self.data[wrong])} cells for {width} columns: mend `data`"
            raise Invalid(message, code="bad-row")
        return list(zip(*self.data, strict=True)) if self.data else [()] * width

    def _types_of(self, cells: Sequence[Sequence[Any]]) -> dict[Any, ColumnType]:
        types = dict(self._types)
        for name, column in zip(self.columns, cells, strict=True):
            types[name] = self._assigned(name, types[name], column)
        return types

    def _assigned(self, name: ColumnName, kind: ColumnType, cells: Sequence[Any]) -> ColumnType:
        found = assign_all(kind, cells)
        if found != INVALID:
            return found
        for number, cell in enumerate(cells):
            after = kind.assign(cell)
            if after == INVALID:
                _refuse_cell(name, kind, cell, number)
            kind = after
        return kind

    def _fits_at_once(self, row: Sequence[Any]) -> bool:
        """Whether the row changes no type, as is seen from the classes of its cells. 1 µs instead of 30 for ten."""
        types, quick = self._quick
        if types is not self._types:
            quick = [quick_classes(self._types[name]) for name in self.columns]
            self._quick = (self._types, quick)
        return all(
            type(cell) in classes and (type(cell) is not str or not cell.startswith(ARTIFACT_PREFIX))
            for cell, classes in zip(row, quick, strict=True)
        )

    def _assign_row(self, row: Sequence[Any]) -> None:
        types = dict(self._types)
        for name, cell in zip(self.columns, row, strict=True):
            kind = types[name]
            if isinstance(cell, TableIndex | TableKey) and not isinstance(kind, PrimaryKey | ForeignKey | ForeignIndex):
                # A key in a column that is none yet makes it one.
                number = self.columns.index(name)
                kind = self._assigned(name, type_of(cell), [each[number] for each in self.data])
                self._check_key(name, kind, is_optional=False)
            types[name] = kind.assign(cell)
            if types[name] == INVALID:
                _refuse_cell(name, kind, cell, len(self.data))
        self._types = types

    def _check_key(self, name: ColumnName, kind: ColumnType, *, is_optional: bool) -> None:
        members = kind.allowed if isinstance(kind, Union) else (kind,)
        keys = [each for each in members if isinstance(each, PrimaryKey | ForeignKey | ForeignIndex)]
        if keys and is_optional:
            message = f"column {name!r} is a key, which cannot be optional"
            raise BadTable(message, code="optional-key")
        if any(isinstance(each, ForeignKey | ForeignIndex) and each.table is self for each in keys):
            message = f"column {name!r} would point into its own table: name another one"
            raise BadTable(message, code="own-key")
        taken = [
            each for each in getattr(self, "_types", {}) if isinstance(self._types[each], PrimaryKey) and each != name
        ]
        if any(isinstance(each, PrimaryKey) for each in keys) and taken:
            message = f"column {name!r} cannot be the primary key: {taken[0]!r} is"
            raise BadTable(message, code="two-primary-keys")

    def _wrap_keys(self, rows: list[list[Any]]) -> None:
        """Let cells of key columns know where they point."""
        for number, name in enumerate(self.columns):
            kind = self._types[name]
            if isinstance(kind, PrimaryKey):
                for row in rows:
                    row[number] = TableKey.of(self, str(name), row[number])
            elif isinstance(kind, ForeignKey):
                for row in rows:
                    row[number] = TableKey.of(kind.table, kind.column, row[number])
            elif isinstance(kind, ForeignIndex):
                for row in rows:
                    row[number] = TableIndex.of(kind.table, row[number])

    def _number(self, name: ColumnName) -> int:
        if name not in self.columns:
            message = f"there is no column {name!r}: the table has {self.columns}"
            raise BadTable(message, code="no-such-column")
        return self.columns.index(name)

    def _refuse_incremental(self, what: str) -> None:
        if self.log_mode == "INCREMENTAL":
            message = f"{what} is not for a table with log_mode='INCREMENTAL', which only grows in rows: use 'MUTABLE'"
            raise BadTable(message, code="incremental")


def _maybe(kind: ColumnType, *, optional: bool) -> ColumnType:
    return _optional(kind) if optional else kind


_optional: Final = optional  # The parameters of W&B's signatures have the same name.


def _refuse_cell(name: ColumnName, kind: ColumnType, cell: Any, row: int) -> None:
    given = type_of(cell)
    text = repr(cell)
    shown = text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004
    way = "make the column optional" if given == NONE else "give cells of one type, or allow_mixed_types=True"
    message = (
        f"Data row contained incompatible types: column {name!r} holds {kind}; {shown} in row {row} is {given}: {way}"
    )
    raise WrongType(message, code="wrong-type")
