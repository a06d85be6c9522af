"""Table files: what artstore writes the real wandb package would have written, and what that wrote is read here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from artstore.api.data_types import JoinedTable, PartitionedTable, Table
from artstore.errors import Corrupt
from tests.api.folder import Folder
from tests.api.table_cases import ALIKE, ARRAYS, UNREADABLE, plain

RECORDED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded_tables.json").read_text("utf-8"))
CASES: Final[dict[str, dict[str, str]]] = RECORDED["cases"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "artifact")


def cells(table: Any) -> Any:
    return plain(table.data)


@pytest.mark.parametrize("case", ALIKE)
def test_the_file_is_what_wandb_writes_to_the_byte(folder: Folder, case: str) -> None:
    """Other bytes would be another version of the artifact, and somebody's tool might not read them."""
    folder.add(ALIKE[case](Table), "t")

    assert CASES[case]["t.table.json"] == folder.text("t.table.json")
    assert sorted(CASES[case]) == folder.paths()


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_lie_beside_the_table_as_wandb_puts_them(folder: Folder, case: str) -> None:
    folder.add(ARRAYS[case](Table), "t")

    (ours,) = folder.paths("media/")
    (theirs,) = (path for path in CASES[case] if path.startswith("media/"))
    assert CASES[case]["t.table.json"].replace(theirs, ours) == folder.text("t.table.json")


@pytest.mark.parametrize("case", [*ALIKE, *ARRAYS])
def test_what_wandb_wrote_reads_as_what_was_put_in(tmp_path: Path, folder: Folder, case: str) -> None:
    """A table from years ago, made by wandb, must not change by being read with artstore."""
    folder.add((ALIKE | ARRAYS)[case](Table), "t")
    theirs = Folder.of(tmp_path / "theirs", CASES[case]).get("t")

    ours = folder.get("t")

    assert isinstance(theirs, Table)
    assert isinstance(ours, Table)
    assert cells(theirs) == cells(ours)
    assert theirs == ours


@pytest.mark.parametrize("case", sorted({*ALIKE, *ARRAYS, *UNREADABLE} - {"datetime64"}))
def test_written_again_it_is_the_same(tmp_path: Path, folder: Folder, case: str) -> None:
    """Reading and writing again must not wear a table down; a time's nanoseconds alone have no place in Python's."""
    folder.add((ALIKE | ARRAYS | UNREADABLE)[case](Table), "t")
    again = Folder(tmp_path / "again")
    table = folder.get("t")
    assert isinstance(table, Table)
    again.add(table, "t")

    assert cells(table) == cells(again.get("t"))
    assert json.loads(folder.text("t.table.json"))["data"] == json.loads(again.text("t.table.json"))["data"]


@pytest.mark.parametrize("case", sorted(UNREADABLE.keys() - {"arrays of no dimension"}))
def test_the_cells_that_wandb_cannot_read_again_are_written_as_it_writes_them(folder: Folder, case: str) -> None:
    folder.add(UNREADABLE[case](Table), "t")

    assert json.loads(CASES[case]["t.table.json"])["data"] == json.loads(folder.text("t.table.json"))["data"]


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_wandb_itself_cannot_read_again_is_read_here(tmp_path: Path, case: str) -> None:
    theirs = Folder.of(tmp_path, CASES[case]).get("t")

    assert isinstance(theirs, Table)
    assert len(theirs.data) == len(UNREADABLE[case](Table).data)


def test_a_partitioned_table_of_wandb_is_read_as_one(tmp_path: Path) -> None:
    table = Folder.of(tmp_path, RECORDED["partitioned"]).get("whole")

    assert isinstance(table, PartitionedTable)
    assert [(n, [n, n * 2, 2**n]) for n in range(5)] == list(table.iterrows())


def test_a_partitioned_table_is_written_as_wandb_does(folder: Folder) -> None:
    folder.add(PartitionedTable("parts"), "whole")

    assert RECORDED["partitioned"]["whole.partitioned-table.json"] == folder.text("whole.partitioned-table.json")


def test_a_joined_table_is_written_as_wandb_does(folder: Folder) -> None:
    folder.add(Table(columns=["id", "x"], data=[["a", 1]]), "left")
    folder.add(Table(columns=["id", "y"], data=[["a", 2]]), "right")
    folder.add(JoinedTable("left.table.json", "right.table.json", ["id", "id"]), "by_path")

    for path in folder.paths():
        assert RECORDED["joined"][path] == folder.text(path)


@pytest.mark.parametrize("name", ["by_path", "by_object"])
def test_a_joined_table_of_wandb_has_its_tables(tmp_path: Path, name: str) -> None:
    joined = Folder.of(tmp_path, RECORDED["joined"]).get(name)

    assert isinstance(joined, JoinedTable)
    assert Table(columns=["id", "x"], data=[["a", 1]]) == joined.table1
    assert Table(columns=["id", "y"], data=[["a", 2]]) == joined.table2


def test_media_in_a_table_stay_what_the_file_says(tmp_path: Path, folder: Folder) -> None:
    """artstore shows no pictures, and must not lose them: the cell that points at one is kept, and so is its type."""
    source = Folder.of(tmp_path / "theirs", RECORDED["media"])
    table = source.get("t")
    assert isinstance(table, Table)

    assert "html-file" == table.data[0][0]["_type"]
    folder.add(table, "t")
    assert source.text("t.table.json") == folder.text("t.table.json")


def test_a_table_that_was_logged_bit_by_bit_is_read_whole(tmp_path: Path) -> None:
    recorded = dict(RECORDED["increments"])
    (first,) = recorded
    later = json.loads(recorded[first]) | {"data": [[2], [3]], "increment_num": 1}
    recorded["1-1700000000001.key.table.json"] = json.dumps(later)
    recorded["10-1700000000009.key.table.json"] = json.dumps(later | {"data": [[5]], "increment_num": 10})
    recorded["2-1700000000009.key.table.json"] = json.dumps(later | {"data": [[4]], "increment_num": 2})

    table = Folder.of(tmp_path, recorded).get("1-1700000000001.key")

    assert isinstance(table, Table)
    assert [[1], [2], [3], [4], [5]] == table.data


ARRAY_ELSEWHERE: Final = """
{"wb_type": "ndarray", "params": {"shape": [1], "serialization_path": {"path": "t.table.json", "key": "a"}}}
"""


def typed(data: str, kind: str) -> str:
    types = f'{{"wb_type": "typedDict", "params": {{"type_map": {{"a": {kind}}}}}}}'
    return f'{{"_type": "table", "columns": ["a"], "data": {data}, "column_types": {types}}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"_type": "image-file"}',
        '{"_type": "table"}',
        '{"_type": "table", "columns": ["a"], "data": [[1, 2]]}',
        '{"_type": "table", "columns": "ab", "data": [[1, 2]]}',
        '{"_type": "table", "columns": ["a"], "data": 5}',
        '{"_type": "table", "columns": ["a"], "data": [[1]], "column_types": {"wb_type": "typedDict", "params": {}}}',
        '{"_type": "table", "columns": ["a"], "data": [[1]], "column_types": 7}',
        typed("[[1e300]]", '{"wb_type": "timestamp"}'),
        typed("[[null]]", ARRAY_ELSEWHERE),
        typed('[["x"]]', '{"wb_type": "foreignKey", "params": {"table": "gone.table.json", "col_name": "a"}}'),
        "[" * 100_000,
    ],
)
def test_a_damaged_table_is_an_error_that_names_it(folder: Folder, text: str) -> None:
    folder.add_bytes(text.encode(), "t.table.json")

    with pytest.raises(Corrupt, match=r"t\.table\.json") as caught:
        folder.get("t")

    assert "bad-value" == caught.value.code
    assert "\n" not in caught.value.message
