"""Beside pandas: a table written and read back in this process, by artstore and by pandas, the same JSON.

    python -m benchmarks.beside_pandas FOLDER LAPS

pandas writes and reads `orient="split"` without an index: the same columns and the same cells. Both have the table in
memory before, and have it in memory again after; the first lap is thrown away. Prints, as JSON, for each side the
seconds of writing and of reading in each lap.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from artstore.api.data_types import Table, decode
from artstore.api.values import encode
from benchmarks.tables import COLUMNS, ROWS


def main() -> None:
    """Do what the command line says."""
    folder, laps = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(0)
    cells = [_row(chance, number) for number in range(ROWS)]
    table = Table(columns=[*COLUMNS], data=cells)
    frame = pd.DataFrame(cells, columns=[*COLUMNS])
    sides: dict[str, _Ours | _Pandas] = {
        "artstore": _Ours(folder / "t.table.json", table),
        "pandas": _Pandas(folder / "pandas.json", frame),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for lap in range(laps + 1):
        # Every second lap backwards, so that whatever one leaves to the next is left to both.
        for name in sorted(sides, reverse=bool(lap % 2)):
            start = time.perf_counter()
            sides[name].write()
            middle = time.perf_counter()
            sides[name].read()
            end = time.perf_counter()
            if lap:
                seconds[name].append((middle - start, end - middle))
    print(json.dumps(seconds))


def _row(chance: random.Random, number: int) -> list[Any]:
    return [
        number,
        chance.random(),
        f"row {number}",
        number % 2 == 0,
        chance.randrange(1000),
        chance.gauss(0, 1),
        "the same",
        None if number % 10 == 0 else number / 2,
        f"{number:08x}",
        -number,
    ]


class _Ours:
    """A folder as far as a plain table needs an artifact."""

    def __init__(self, path: Path, table: Table) -> None:
        self._path = path
        self._table = table

    def write(self) -> None:
        self._path.write_bytes(encode(self._table, self))  # type: ignore[arg-type]

    def read(self) -> None:
        table: Any = decode(self._path.name, self)  # type: ignore[arg-type]
        assert len(table.data) == ROWS

    def open(self, path: str) -> BinaryIO:
        return self._path.with_name(path).open("rb")


class _Pandas:
    def __init__(self, path: Path, frame: Any) -> None:
        self._path = path
        self._frame = frame

    def write(self) -> None:
        self._frame.to_json(self._path, orient="split", index=False)

    def read(self) -> None:
        assert len(pd.read_json(self._path, orient="split")) == ROWS


if __name__ == "__main__":
    main()
