"""Façade: what the names that W&B's users know cost on top of the store."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import Command, Series, answer, run, settle
from benchmarks.rows import Row, compared
from benchmarks.targets import TARGETS, Kind
from benchmarks.tool import remove
from benchmarks.volumes import Volume
from benchmarks.workloads import WORKLOADS

_NAMES: Final = "import artstore as wandb; wandb.init, wandb.Artifact, wandb.Api"


def measure(volume: Volume, laps: int, *, is_quick: bool) -> list[Row]:
    """The rows of the workload `facade`; the first lap is thrown away, as everywhere."""
    workload = WORKLOADS["S"].quick() if is_quick else WORKLOADS["S"]
    source = volume.root / "source"
    workload.generate(source)
    seconds: dict[str, list[float]] = {name: [] for name in ("add_file", "add_dir", "import", "bare")}
    for lap in range(laps + 1):
        taken = {how: _add(volume.root / f"{how}-{lap}", source, how) for how in ("add_file", "add_dir")}
        taken["import"] = run(Command([sys.executable, "-c", _NAMES], volume.root, _environment())).wall_s
        taken["bare"] = run(Command([sys.executable, "-c", "pass"], volume.root, _environment())).wall_s
        if lap:
            for name, wall_s in taken.items():
                seconds[name].append(wall_s)
    series = {name: Series(tuple(values)) for name, values in seconds.items()}
    (limit,) = TARGETS["import", "facade"]
    return [
        *compared(
            "facade",
            "add_file",
            f"{workload.files:,} times add_file",
            series["add_file"],
            [("add_dir", series["add_dir"])],
        ),
        Row(
            "facade",
            "import of init, Artifact and Api",
            "s",
            series["import"],
            "bare Python",
            series["bare"],
            Kind.DIFFERENCE,
            limit,
        ),
    ]


def _add(place: Path, source: Path, how: str) -> float:
    """Seconds that adding every file to one artifact takes, in a store that has none of them."""
    place.mkdir()
    settle(source)
    words = [sys.executable, "-m", "benchmarks.inside", "add", str(place / "store"), str(source), "--how", how]
    seconds = float(json.loads(answer(Command(words, place, _environment())))["seconds"])
    remove(place)
    return seconds


def _environment() -> dict[str, str]:
    paths = [str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
