"""Table: what W&B's users do with one, and what is refused before anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artstore.api.data_types import JoinedTable, PartitionedTable, Table
from artstore.api.values import encode
from artstore.errors import BadTable, Invalid, WrongType
from tests.api.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "artifact")


@pytest.fixture
def table() -> Table:
    return Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])


def test_rows_are_lists_in_data_and_names_are_in_columns(table: Table) -> None:
    assert [[1, "x"], [2, "y"]] == table.data
    assert ["a", "b"] == table.columns


def test_the_rows_and_columns_that_were_given_are_not_the_tables(table: Table) -> None:
    """A column added to the table must not appear in somebody's list."""
    columns: list[str | int] = ["a"]
    rows = [[1]]
    table = Table(columns=columns, data=rows)
    table.add_column("b", [2])

    assert ["a"] == columns
    assert [[1]] == rows


@pytest.mark.parametrize("columns", [("a",), "ab", {"a"}, ["a", 1.5], ["a", None], [["a"]], [True]])
def test_columns_are_a_list_of_names(columns: Any) -> None:
    with pytest.raises(AssertionError):
        Table(columns=columns)


@pytest.mark.parametrize("data", ["ab", {"a": 1}, 5, ([1],)])
def test_data_are_a_list_of_rows(data: Any) -> None:
    with pytest.raises(AssertionError):
        Table(columns=["a"], data=data)


@pytest.mark.parametrize("data", [[[1], 5], [None]])
def test_a_row_is_a_list_of_cells(data: Any) -> None:
    with pytest.raises(TypeError):
        Table(columns=["a"], data=data)


@pytest.mark.parametrize("row", [(), (1,), (1, "x", 2)])
def test_a_row_has_a_cell_for_each_column(table: Table, row: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="2 columns"):
        table.add_data(*row)
    with pytest.raises(ValueError, match="row 1 has"):
        Table(columns=["a", "b"], data=[[1, "x"], list(row)])
    assert 2 == len(table.data)


@pytest.mark.parametrize("cell", ["x", True, [1], {"a": 1}, b"y", object(), np.datetime64("2024")])
def test_a_cell_of_another_type_is_refused_and_the_table_stays(table: Table, cell: Any) -> None:
    """A column whose type changes half way cannot be read as what it was."""
    before = repr(table._types)
    with pytest.raises(TypeError, match=r"incompatible types: column 'a' .* row 2"):
        table.add_data(cell, "z")

    assert 2 == len(table.data)
    assert before == repr(table._types)
    with pytest.raises(TypeError):
        Table(columns=["a"], data=[[1], [cell]])


def test_mixed_types_are_taken_where_they_are_wanted(folder: Folder) -> None:
    table = Table(columns=["a"], data=[[1], ["x"], [[1, "y"]], [None]], allow_mixed_types=True)
    folder.add(table, "t")

    assert table == folder.get("t")


@pytest.mark.parametrize("nothing", [None, float("nan"), np.float64("nan"), np.float32("nan"), pd.NaT, pd.NA], ids=repr)
def test_none_and_nan_are_refused_where_a_column_is_not_optional(nothing: Any) -> None:
    table = Table(columns=["a"], data=[[1.5]], optional=False)

    with pytest.raises(TypeError, match="optional"):
        table.add_data(nothing)
    Table(columns=["a"], data=[[1.5]]).add_data(nothing)


def test_what_was_put_into_data_by_hand_is_checked_before_it_is_written(folder: Folder, table: Table) -> None:
    """`data` is everybody's; a file that no reader takes is not."""
    table.data.append([3, 4])
    with pytest.raises(WrongType, match="row 2"):
        folder.add(table, "t")
    table.data[-1] = [3]
    with pytest.raises(Invalid, match="row 2"):
        folder.add(table, "t")

    assert [] == folder.paths()


@pytest.mark.parametrize(
    "cell",
    [object(), 1 + 2j, b"\xff", {(1, 2): 3}, {1: 2, "1": 3}, [object()], np.timedelta64(1)],
    ids=lambda cell: type(cell).__name__ + repr(cell)[:3],
)
def test_what_json_cannot_say_is_refused_before_anything_is_written(folder: Folder, cell: Any) -> None:
    table = Table(columns=["image", "a"], data=[[np.ones((2, 2)), cell]])

    with pytest.raises(WrongType, match=r"a|row 0"):
        folder.add(table, "t")
    assert [] == folder.paths()


def test_more_rows_than_the_limit_are_an_error_that_says_what_to_do(folder: Folder) -> None:
    """W&B cuts the table off and says so in a log."""
    table = Table(columns=["a"], data=[[number] for number in range(Table.MAX_ARTIFACT_ROWS + 1)])

    with pytest.raises(Invalid, match=r"200,001 rows.*PartitionedTable") as caught:
        folder.add(table, "t")
    assert "too-many-rows" == caught.value.code
    assert [] == folder.paths()
    table.data.pop()
    folder.add(table, "t")


def test_the_limit_can_be_raised(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "MAX_ARTIFACT_ROWS", 1)
    with pytest.raises(Invalid, match="1 are the most"):
        folder.add(Table(columns=["a"], data=[[1], [2]]), "t")

    monkeypatch.setattr(Table, "MAX_ARTIFACT_ROWS", 2)
    folder.add(Table(columns=["a"], data=[[1], [2]]), "t")


def test_a_column_is_added_at_the_right(table: Table) -> None:
    table.add_column("c", np.array([0.5, 1.5]))

    assert ["a", "b", "c"] == table.columns
    assert [[1, "x", 0.5], [2, "y", 1.5]] == table.data


def test_the_first_column_makes_the_rows() -> None:
    table = Table(columns=[])
    table.add_column("a", [1, 2])

    assert [[1], [2]] == table.data


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a", [1, 2], AssertionError),
        (3, [1, 2], AssertionError),
        ("c", [1], AssertionError),
        ("c", (1, 2), AssertionError),
        ("c", [1, "x"], TypeError),
        ("c", [1, None], TypeError),
    ],
)
def test_a_column_that_does_not_fit_leaves_the_table_as_it_was(
    table: Table, name: Any, data: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        table.add_column(name, data)

    assert Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]]) == table


def test_columns_are_computed_from_rows(table: Table) -> None:
    table.add_computed_columns(lambda number, row: {"c": row["a"] * 10, "n": int(number)})

    assert [[1, "x", 10, 0], [2, "y", 20, 1]] == table.data
    with pytest.raises(AssertionError):
        table.add_computed_columns(lambda number, _: number)  # type: ignore[arg-type, return-value]


def test_a_column_is_read_as_list_or_array(table: Table) -> None:
    assert [1, 2] == table.get_column("a")
    assert [1, 2] == table.get_column("a", convert_to="numpy").tolist()
    for name, convert in (("z", None), ("a", "torch")):
        with pytest.raises(AssertionError):
            table.get_column(name, convert_to=convert)  # type: ignore[arg-type]


def test_a_frame_becomes_a_table_and_comes_back(folder: Folder) -> None:
    frame = pd.DataFrame({"i": [1, 2], "s": ["x", "y"], "f": [0.5, float("nan")]})
    folder.add(Table(dataframe=frame), "t")
    found = folder.get("t")

    assert isinstance(found, Table)
    pd.testing.assert_frame_equal(frame, found.get_dataframe(), check_dtype=False)
    assert Table(dataframe=frame).columns == Table(data=frame, columns=["ignored"]).columns


def test_a_frame_with_two_columns_of_one_name_keeps_both() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])

    assert [[1, 2]] == Table(dataframe=frame).data


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(AssertionError):
        Table(dataframe=[[1]])


def test_an_index_leads_back_to_its_row(folder: Folder, table: Table) -> None:
    """A table of results points at the rows of a table of samples, also after both were stored."""
    scores = Table(columns=["row", "score"])
    for index, _ in table.iterrows():
        scores.add_data(index, 0.5)
    folder.add(scores, "scores")
    found = folder.get("scores")

    assert isinstance(found, Table)
    assert {"a": 2, "b": "y"} == found.data[1][0].get_row()
    assert [0, 1] == table.get_index()
    assert {"a": 1, "b": "x"} == table.index_ref(0).get_row()
    with pytest.raises(AssertionError):
        table.index_ref(2)


def test_keys_point_into_another_table(folder: Folder, table: Table) -> None:
    table.set_pk("b")
    other = Table(columns=["b"], data=[["x"]], optional=False)
    other.set_fk("b", table, "b")
    folder.add(other, "o")
    found = folder.get("o")

    assert isinstance(found, Table)
    assert table == found.data[0][0].table
    with pytest.raises(AssertionError):
        table.set_fk("a", table, "b")
    with pytest.raises(AssertionError):
        table.set_pk("z")
    with pytest.raises(TypeError):
        Table(columns=["n"], data=[[1]]).set_pk("n")


def test_a_column_is_cast_if_every_cell_fits(table: Table) -> None:
    with pytest.raises(TypeError):
        table.cast("a", str)
    table.cast("a", int)

    with pytest.raises(TypeError):
        table.add_data(None, "z")
    table.cast("a", int, optional=True)
    table.add_data(None, "z")


def test_a_table_that_grows_bit_by_bit_gets_no_columns() -> None:
    table = Table(columns=["a"], data=[[1]], log_mode="INCREMENTAL")
    table.add_data(2)

    with pytest.raises(Invalid, match="INCREMENTAL"):
        table.add_column("b", [1, 2])
    with pytest.raises(Invalid, match="INCREMENTAL"):
        table.add_computed_columns(lambda _, __: {"b": 1})
    with pytest.raises(AssertionError):
        Table(log_mode="SOMETIMES")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        Table(columns=["a", "b"], data=[[1, "x"]]),
        Table(columns=["a", "c"], data=[[1, "x"], [2, "y"]]),
        Table(columns=["a", "b"], data=[[1, "x"], [2, "z"]]),
        Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]], optional=False),
        [[1, "x"], [2, "y"]],
    ],
)
def test_tables_that_differ_are_not_equal(table: Table, other: object) -> None:
    assert table != other
    assert Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]]) == table


def test_arrays_and_nan_are_compared_by_what_they_hold() -> None:
    def made(last: float) -> Table:
        return Table(columns=["v", "x"], data=[[np.array([1.0, np.nan, last]), float("nan")]])

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_a_table_may_hold_more_than_its_types_see_at_a_glance() -> None:
    """Row by row or all at once, fast or slow: the types are the same."""
    rows: list[list[Any]] = [
        [1, "x", None, [1], {"a": 1}],
        [2.5, "y", True, [], {"a": 2}],
        [None, None, None, [3, 4], None],
    ]
    at_once = Table(columns=list("abcde"), data=rows)
    one_by_one = Table(columns=list("abcde"))
    for row in rows:
        one_by_one.add_data(*row)

    assert at_once == one_by_one


def test_parquet_keeps_what_it_can(tmp_path: Path, folder: Folder) -> None:
    recorded = Table(
        columns=["i", "f", "s", "l", "d", "v"],
        data=[[1, 0.5, "x", [1, 2], {"a": 1}, np.arange(3)], [None, float("inf"), None, [], {"a": 2}, np.arange(3)]],
    )
    recorded.to_parquet(tmp_path / "t.parquet")

    found = Table.from_parquet(tmp_path / "t.parquet")

    assert [row[:5] for row in recorded.data] == [row[:5] for row in found.data]
    assert [[0, 1, 2], [0, 1, 2]] == found.get_column("v")
    folder.add(found, "t")


def test_what_parquet_cannot_hold_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    Table(columns=["a"], data=[[1]]).to_parquet(target)
    before = target.read_bytes()

    with pytest.raises(WrongType, match="column 'a'"):
        Table(columns=["a"], data=[[1], ["x"]], allow_mixed_types=True).to_parquet(target)
    assert before == target.read_bytes()
    assert [target] == list(tmp_path.iterdir())


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR0")

    with pytest.raises(Invalid, match=r"t\.parquet"):
        Table.from_parquet(tmp_path / "t.parquet")


def test_without_the_library_the_error_says_what_installs_it() -> None:
    """Plain tables need nothing; what needs pandas says so."""
    code = """
import sys
sys.modules |= dict.fromkeys(["numpy", "pandas", "pyarrow"])
from artstore.api.data_types import Table
table = Table(columns=["a"], data=[[1]])
table.add_data(2.5)
for call in (table.get_dataframe, lambda: table.get_column("a", "numpy"), lambda: table.to_parquet("x")):
    try:
        call()
    except LookupError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ["artstore[pandas]", "artstore[pandas]", "artstore[parquet]"] == [
        line.split("'")[1] for line in found.stdout.splitlines()
    ]


def test_nothing_heavy_is_imported_for_a_plain_table() -> None:
    code = """
import sys
from artstore.api.data_types import Table
Table(columns=["a"], data=[[1], [None]])
print(sorted({"numpy", "pandas", "pyarrow"} & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == found.stdout.strip()


# Many tables as one, and two as one -------------------------------------------------------------------------------


def test_parts_are_found_when_they_are_read(folder: Folder) -> None:
    """Whoever finishes a distributed artifact does not know how many parts the others have added."""
    folder.add(PartitionedTable("parts"), "whole")
    for number in range(5):
        folder.add(Table(columns=["a", "b"], data=[[number, number * 2]]), f"parts/table_{number}")
    whole = folder.get("whole")

    assert isinstance(whole, PartitionedTable)
    assert [(number, [number, number * 2]) for number in range(5)] == list(whole.iterrows())


def test_a_neighbouring_folder_is_not_among_the_parts(folder: Folder) -> None:
    folder.add(PartitionedTable("parts"), "whole")
    folder.add(Table(columns=["a"], data=[[1]]), "parts/a")
    folder.add(Table(columns=["b"], data=[[1]]), "parts-of-others/a")
    whole = folder.get("whole")

    assert isinstance(whole, PartitionedTable)
    assert [(0, [1])] == list(whole.iterrows())


def test_parts_have_the_same_columns(folder: Folder) -> None:
    folder.add(PartitionedTable("parts"), "whole")
    folder.add(Table(columns=["a"], data=[[1]]), "parts/a")
    folder.add(Table(columns=["b"], data=[[1]]), "parts/b")
    whole = folder.get("whole")

    assert isinstance(whole, PartitionedTable)
    with pytest.raises(ValueError, match="non-matching columns"):
        list(whole.iterrows())


def test_a_stray_file_among_the_parts_is_not_passed_over(folder: Folder) -> None:
    folder.add(PartitionedTable("parts"), "whole")
    folder.add_bytes(b"x", "parts/notes.txt")
    whole = folder.get("whole")

    assert isinstance(whole, PartitionedTable)
    with pytest.raises(Invalid, match="notes"):
        list(whole.iterrows())


@pytest.mark.parametrize("path", ["", "/", None, 5])
def test_parts_lie_somewhere(path: Any) -> None:
    with pytest.raises(BadTable):
        PartitionedTable(path)


def test_equal_joins_are_equal_bytes(tmp_path: Path, table: Table) -> None:
    """W&B names the tables of a join by where they lie in memory, so the same artifact is never the same twice."""
    texts = []
    for name in ("one", "two"):
        folder = Folder(tmp_path / name)
        folder.add(JoinedTable(table, Table(columns=["b"], data=[["x"]]), "b"), "joined")
        texts.append({path: folder.text(path) for path in folder.paths()})

    assert texts[0] == texts[1]
    assert 3 == len(texts[0])


def test_a_join_is_of_tables_that_are_there(folder: Folder, table: Table) -> None:
    with pytest.raises(ValueError, match=r"gone\.table\.json"):
        folder.add(JoinedTable(table, "gone.table.json", "a"), "joined")
    assert [] == folder.paths()


@pytest.mark.parametrize("key", [None, 5, ["a"], ["a", "b", "c"], ["a", 1], ("a", "b")])
def test_a_join_has_one_key_or_two(table: Table, key: Any) -> None:
    with pytest.raises(ValueError, match="join_key"):
        JoinedTable(table, table, key)
    with pytest.raises(ValueError, match="table2"):
        JoinedTable(table, 5, "a")


def test_numbers_of_a_dataframe_are_looked_at_by_the_column(folder: Folder) -> None:
    """One by one, a table of 200,000 rows took 18 times what pandas takes to write it and to read it."""
    rows = 2_000
    frame = pd.DataFrame({"a": np.arange(rows), "b": np.linspace(0, 1, rows), "c": np.arange(rows) % 2 == 0})
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        encoded = encode(Table(dataframe=frame), folder)
    finally:
        sys.setprofile(None)

    assert calls < rows
    rows_of_python = [list(row) for row in zip(*(frame[name].tolist() for name in frame), strict=True)]
    assert encoded == encode(Table(columns=["a", "b", "c"], data=rows_of_python), folder)
