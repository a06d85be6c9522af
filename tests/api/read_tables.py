"""Read tables with the real wandb package: run by an interpreter that has it.

    python tests/api/read_tables.py FOLDER

FOLDER holds a folder for each table, in it `t.table.json` and what lies beside it. Prints, as JSON, what wandb makes of
each: its columns and cells, or its error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
sys.path.insert(0, str(Path(__file__).parents[2]))

import wandb

from tests.api.table_cases import plain


class Entry:
    """What wandb asks of an entry of an artifact that it has fetched."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def download(self) -> str:
        return str(self.path)


class Fetched:
    """What a table asks of an artifact from the server, which is not to be had here."""

    aliases = ("latest",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = self

    def get_entry(self, path: str) -> Entry:
        return Entry(self._folder / path)

    @property
    def entries(self) -> dict[str, Entry]:
        paths = sorted(path for path in self._folder.rglob("*") if path.is_file())
        return {path.relative_to(self._folder).as_posix(): Entry(path) for path in paths}

    def get_entries_in_directory(self, folder: str) -> list[Any]:
        found = [(path, entry) for path, entry in self.entries.items() if path.startswith(f"{folder}/")]
        return [type("Entry", (), {"path": path}) for path, _ in found]

    def get(self, path: str) -> Any:
        data = json.loads((self._folder / path).read_text(encoding="utf-8"))
        return wandb.data_types.WBValue.type_mapping()[data["_type"]].from_json(data, self)


def main(folder: Path) -> None:
    found = {}
    for place in sorted(folder.iterdir()):
        try:
            table = Fetched(place).get("t.table.json")
            found[place.name] = {"columns": table.columns, "data": plain(table.data)}
        except Exception as error:  # noqa: BLE001 - whatever wandb says is the answer
            found[place.name] = {"error": f"{type(error).__name__}: {error}"}
        for path in place.glob("*.partitioned-table.json"):
            found[f"{place.name}/{path.name}"] = {"data": [row for _, row in Fetched(place).get(path.name).iterrows()]}
        for path in place.glob("*.joined-table.json"):
            joined = Fetched(place).get(path.name)
            found[f"{place.name}/{path.name}"] = {"data": [joined._table1.data, joined._table2.data]}
    json.dump(found, sys.stdout)


main(Path(sys.argv[1]))
