"""Tables: a table written and read back, beside pandas with the same JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.measure import Command, Series, answer
from benchmarks.rows import Row, compared

ROWS: Final = 200_000
COLUMNS: Final = "abcdefghij"

_PARTS: Final[tuple[tuple[str, str, Callable[[Sequence[float]], float]], ...]] = (
    ("table", "write and read back", sum),
    ("table write", "write", lambda pair: pair[0]),
    ("table read", "read back", lambda pair: pair[1]),
)


def measure(folder: Path, laps: int) -> list[Row]:
    """The rows of the workload `tables`. Both sides run in one process, which has nothing else in memory."""
    # `python -m` looks for the package where it is started.
    paths = [str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        words = [sys.executable, "-m", "benchmarks.beside_pandas", place, str(laps)]
        seconds = json.loads(answer(Command(words, Path(place), environment)))
    rows: list[Row] = []
    for key, title, part in _PARTS:
        ours, theirs = (Series(tuple(map(part, seconds[name]))) for name in ("artstore", "pandas"))
        text = f"{title}: {ROWS:,} rows of {len(COLUMNS)} cells"
        rows += compared("tables", key, text, ours, [("pandas", theirs)])
    return rows
