"""Tables that are made twice: by the real wandb package, whose files are recorded, and by artstore.

A case is a function from a Table class to a table. `record_tables.py` runs them with wandb's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd

Case = Callable[[Any], Any]
NOON: Final = dt.datetime(2024, 2, 29, 12, 30, 15, 250000, tzinfo=dt.UTC)


def of(columns: list[Any], *rows: list[Any], **options: Any) -> Case:
    return lambda table: table(columns=list(columns), data=[list(row) for row in rows], **options)


def primary_key(table: Any) -> Any:
    made = table(columns=["id", "n"], data=[["x", 1], ["y", 2]])
    made.set_pk("id")
    return made


def foreign_key(table: Any) -> Any:
    made = table(columns=["id", "n"], data=[["x", 1]], optional=False)
    made.set_fk("id", primary_key(table), "id")
    return made


def foreign_index(table: Any) -> Any:
    other = table(columns=["a"], data=[[1], [2]])
    made = table(columns=["row", "score"])
    for number, _ in other.iterrows():
        made.add_data(number, 0.5)
    return made


def columns_added(table: Any) -> Any:
    made = table(columns=["a"], data=[[1], [2]])
    made.add_column("b", ["x", "y"])
    made.add_column("c", [None, 1.5], optional=True)
    made.add_computed_columns(lambda number, row: {"double": row["a"] * 2, "number": int(number)})
    return made


def from_frame(table: Any) -> Any:
    frame = pd.DataFrame(
        {
            "i": [1, 2],
            "f": [1.5, None],
            "s": ["x", None],
            "t": np.array(["2024-01-01T00:00:00.000", "2024-01-02T03:04:05.123"], dtype="datetime64[us]"),
            "c": pd.Categorical(["u", "v"]),
            "b": [True, False],
        },
    )
    return table(dataframe=frame)


ALIKE: Final[dict[str, Case]] = {
    "numbers": of(["a", "b", "c"], [0, 0, 1], [1, 2, 2], [2, 4, 4.5], [-1, 1e300, 10**30]),
    "text": of(["t"], ["naïve 😀"], [""], [None], ['"\\\n\x00\u2028']),
    "booleans": of(["b"], [True], [False], [None]),
    "none": of(["n"], [None], [None]),
    "nan": of(["x", "y"], [float("nan"), 1.5], [2.0, float("nan")], [None, None]),
    "infinite": of(["x"], [float("inf")], [float("-inf")]),
    "times": of(["t"], [NOON], [dt.date(1969, 7, 20)], [None], [dt.datetime(2024, 1, 2)]),  # noqa: DTZ001
    "zones": of(["t"], [dt.datetime(2024, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=-5)))]),
    "datetime64": of(
        ["t"], [np.datetime64("2024-01-01T00:00:00.123456789")], [np.datetime64("2024-01-01")], [np.datetime64("NaT")]
    ),
    "lists": of(["l"], [[1, 2, 3]], [[4]], [None], [(5, 6)]),
    "lists of lists": of(["l"], [[[1], [2, 3]]], [[[]]]),
    "lists with none": of(["l"], [[None, "a"]], [["b", None]]),
    "empty lists": of(["l"], [[]], [[1]], [[]]),
    "sets": of(["s"], [{7}], [None]),
    "dictionaries": of(["d"], [{"a": 1, "b": {"c": ["x"]}}], [{"b": {"c": []}, "a": 2}], [None]),
    "short arrays": of(["v"], [np.arange(3)], [np.array([0.5, 1.5, 2.5])]),
    "numpy numbers": of(["n"], [np.int64(3)], [np.float32(0.5)], [np.float64("nan")], [np.uint8(255)], [np.float16(1)]),
    "numpy booleans": of(["b"], [np.bool_(True)], [False]),
    "array as data": lambda table: table(columns=["a", "b"], data=np.array([[1, 2], [3, 4.5]])),
    "mixed": of(["m"], [1], ["x"], [None], [True], [[1, "a"]], allow_mixed_types=True),
    "not optional": of(["a", "b"], [1, "x"], optional=False),
    "some optional": of(["a", "b"], [1, None], optional=[False, True]),
    "typed": of(["a", "b", "c"], [1, "x", [1.5]], dtype=[int, str, [float]]),
    "typed dictionary": of(["d"], [{"a": 1}], dtype=[{"a": int}], optional=False),
    "constants": of(["c"], [5], dtype=5, optional=False),
    "numbered columns": of([1, 2], [3, "x"]),
    "same columns": of(["a", "a"], [1, 2]),
    "no columns": of([]),
    "no rows": of(["a", "b"]),
    "artifact versions": of(["v"], ["wandb-artifact://entity/project/name:v0"]),
    "guide": of(["a", "b", "c"], [3, 6, 8]),
    "mutable": of(["a"], [1], log_mode="MUTABLE"),
    "primary key": primary_key,
    "foreign key": foreign_key,
    "foreign index": foreign_index,
    "columns added": columns_added,
    "frame": from_frame,
    "default columns": lambda table: table(),
}
"""Of these artstore writes the same bytes as wandb, and reads what wandb wrote."""

ARRAYS: Final[dict[str, Case]] = {
    "arrays": of(["image", "n"], [np.arange(6).reshape(2, 3), 1], [np.ones((2, 3)), 2]),
    "long arrays": of(["v"], [np.arange(200)], [np.arange(200) / 3]),
    "arrays not optional": of(["v"], [np.zeros((1, 2, 3), dtype="uint8")], optional=False),
}
"""Of these the same, but for the compressed bytes beside them, which differ between versions of zlib."""

UNREADABLE: Final[dict[str, Case]] = {
    "mixed lists": of(["l"], [[1, "a"]]),
    "lists with nan": of(["l"], [[1.0, float("nan")]]),
    "bytes": of(["b"], [b"abc"], [None]),
    "decimals": of(["d"], [Decimal("1.5")]),
    "times in lists": of(["t"], [[NOON, NOON]]),
    "times in dictionaries": of(["t"], [{"at": NOON, "n": 1}]),
    "arrays of none": of(["v"], [np.arange(3)], [None]),
    "arrays of no dimension": of(["v"], [np.array(5)], [np.array(6)]),
    "arrays with nan": of(["v"], [np.array([1.0, float("nan")])]),
}
"""What wandb writes of these its own reader refuses; what artstore writes, wandb reads."""


def plain(value: Any) -> Any:
    """A cell as JSON can carry it from one interpreter to another, with what matters of its class."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "shape": list(value.shape)}
    if isinstance(value, dt.datetime):
        return {"time": value.isoformat()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, str) else value
