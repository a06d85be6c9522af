"""The real wandb package beside artstore: it reads what artstore writes, and writes what artstore writes.

Run where ARTSTORE_WANDB_PYTHON names an interpreter that has wandb, numpy and pandas; `.ci/run` and the soak `wandb`
provide one. Elsewhere what it wrote once is compared (`test_table_files.py`, `tests/imports`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from artstore.api.data_types import JoinedTable, PartitionedTable, Table
from artstore.api.values import encode
from artstore.errors import Invalid
from artstore.imports.wandb import import_wandb
from artstore.store import Store
from tests.api.folder import Folder
from tests.api.table_cases import ALIKE, ARRAYS, UNREADABLE, plain

HERE: Final = Path(__file__).parent
# Read here: within a test the environment is one that says nothing of artstore.
PYTHON: Final = os.environ.get("ARTSTORE_WANDB_PYTHON")
SEED: Final = os.environ.get("ARTSTORE_WANDB_SEED", "0")
TABLES: Final = int(os.environ.get("ARTSTORE_WANDB_TABLES", "300"))
"""How many tables of chance are compared."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="no interpreter with wandb was named"),
]


def wandb(script: Path, *words: str, stdin: str = "") -> str:
    """What a script prints that the interpreter with wandb runs."""
    assert PYTHON is not None
    ended = subprocess.run(
        [PYTHON, str(script), *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_wandb_reads_every_table_that_artstore_writes(tmp_path: Path) -> None:
    wanted = {}
    for name, make in (ALIKE | ARRAYS | UNREADABLE).items():
        folder = Folder(tmp_path / name)
        folder.add(make(Table), "t")
        ours = folder.get("t")
        assert isinstance(ours, Table)
        wanted[name] = {"columns": ours.columns, "data": plain(ours.data)}
    folder = Folder(tmp_path / "several")
    for number in range(3):
        folder.add(Table(columns=["a"], data=[[number]]), f"parts/t_{number}")
    folder.add(PartitionedTable("parts"), "whole")
    folder.add(Table(columns=["id"], data=[["x"]]), "t")
    folder.add(JoinedTable(Table(columns=["id"], data=[["y"]]), "t.table.json", "id"), "joined")
    wanted["several"] = {"columns": ["id"], "data": [["x"]]}
    wanted["several/whole.partitioned-table.json"] = {"data": [[0], [1], [2]]}
    wanted["several/joined.joined-table.json"] = {"data": [[["y"]], [["x"]]]}

    found = json.loads(wandb(HERE / "read_tables.py", str(tmp_path)))

    # Times within lists and dictionaries, which wandb cannot read as such, it reads as their milliseconds.
    for name in ("times in lists", "times in dictionaries"):
        assert "error" not in found.pop(name)
        del wanted[name]
    assert wanted == found


def test_wandb_still_writes_what_was_recorded() -> None:
    recorded = json.loads((HERE / "recorded_tables.json").read_text(encoding="utf-8"))
    now = json.loads(wandb(HERE / "record_tables.py"))

    assert recorded["cases"] == now["cases"]
    assert recorded["partitioned"] == now["partitioned"]


def test_both_write_the_same_or_both_refuse(tmp_path: Path) -> None:
    """Tables of chance: the types that artstore finds are wandb's, and so is what it takes."""
    chance = random.Random(SEED)
    recipes = [recipe(chance) for _ in range(TABLES)]
    written = wandb(HERE / "write_tables.py", stdin="".join(f"{each!r}\n" for each in recipes)).splitlines()
    theirs = [json.loads(line) for line in written]
    ours = [text_of(each, Folder(tmp_path)) for each in recipes]

    refused = sum(text is None for text in theirs)
    assert [] == [(each, a, b) for each, a, b in zip(recipes, theirs, ours, strict=True) if a != b]
    assert TABLES / 20 < refused < TABLES * 0.9, "both outcomes have to occur"


def text_of(made: tuple[list[Any], list[list[Any]], dict[str, Any]], folder: Folder) -> str | None:
    columns, rows, options = made
    try:
        return encode(Table(columns=columns, data=rows, **options), folder).decode()
    except Invalid:
        return None


def recipe(chance: random.Random) -> tuple[list[Any], list[list[Any]], dict[str, Any]]:
    columns = [f"c{number}" for number in range(chance.randint(1, 3))]
    kinds = [chance.choice(KINDS) for _ in columns]
    rows = [
        [cell(chance, kind if chance.random() < 0.98 else chance.choice(KINDS)) for kind in kinds]
        for _ in range(chance.randint(0, 4))
    ]
    options: dict[str, Any] = {}
    if chance.random() < 0.3:
        options["optional"] = chance.choice([False, True, [chance.random() < 0.5 for _ in columns]])
    if chance.random() < 0.1:
        options["allow_mixed_types"] = True
    return columns, rows, options


def cell(chance: random.Random, kind: str) -> Any:
    return None if chance.random() < 0.1 else MAKERS[kind](chance)


def time(chance: random.Random) -> dt.datetime:
    return dt.datetime(2024, 1, chance.randint(1, 28), 5, 6, 7, 250_000 * chance.randint(0, 3))  # noqa: DTZ001


MAKERS: Final[dict[str, Callable[[random.Random], Any]]] = {
    "int": lambda chance: chance.choice([0, -1, 2**70, chance.randrange(10**6)]),
    "float": lambda chance: chance.choice([0.5, float("nan"), float("inf"), -0.0, chance.random()]),
    "bool": lambda chance: chance.random() < 0.5,
    "str": lambda chance: chance.choice(["", "é", "\U0001f600", '"', "wandb-artifact://x", str(chance.random())]),
    "time": time,
    "date": lambda chance: dt.date(1950 + chance.randint(0, 99), 1, 2),
    "list": lambda chance: [chance.randrange(9) for _ in range(chance.randint(0, 3))],
    "texts": lambda chance: [chance.choice("abc") for _ in range(chance.randint(1, 3))],
    "dict": lambda chance: {key: chance.randrange(9) for key in ("a", "b")[: chance.randint(1, 2)]},
    "nested": lambda chance: {"a": [[chance.random()] * chance.randint(1, 2)], "b": {"c": "x"}},
    "none": lambda _: None,
}
KINDS: Final = tuple(MAKERS)


def test_what_wandb_leaves_behind_today_is_imported(tmp_path: Path) -> None:
    wandb(HERE.parent / "imports" / "record_runs.py", str(tmp_path / "now.zip"))
    refs = []
    for name, archive in (("now", tmp_path / "now.zip"), ("then", HERE.parent / "imports" / "recorded_runs.zip")):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(tmp_path / name)
        folder = tmp_path / name
        with Store.init(tmp_path / f"store-{name}") as store:
            report = import_wandb(store, folder / "wandb", places=[folder / "data", folder / "cache"])
        refs.append(sorted(version.ref for version in report.versions if version.made))

    assert refs[0] == refs[1]
    assert refs[0]
