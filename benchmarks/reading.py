"""Reading: files through `artstore://`, with no checkout, beside the same files on the disk, read by the same calls.

    python -m benchmarks.reading small|large URL [STORE]

Prints, as JSON, the seconds of each part. Many small files are opened and read in an order of chance, all of them
twice: in the first pass nothing is known yet but their names. A large one is read through, by the calls that readers
make.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import fsspec

from benchmarks.measure import Command, Series, answer, settle
from benchmarks.rows import Row, compared
from benchmarks.subject import NAME, Artstore
from benchmarks.tool import Operation, remove
from benchmarks.volumes import Volume
from benchmarks.workloads import MIB, WORKLOADS, Workload

_DISK: Final = "files on disk"
_SMALL: Final = {"first": "a first pass", "next": "a second pass"}
_LARGE: Final = {"read": "read(1 MiB)", "readinto": "readinto(1 MiB)", "whole": "read()"}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading")
    parser.add_argument("what", choices=["small", "large"])
    parser.add_argument("url")
    parser.add_argument("store", nargs="?")
    options = parser.parse_args()
    if options.store is None:
        folder = Path(options.url)
        paths = [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]
        print(json.dumps(_times(options.what, paths, open, sum(map(os.path.getsize, paths)))))
    else:
        fs, folder = fsspec.url_to_fs(options.url, store=options.store)
        print(json.dumps(_times(options.what, fs.find(folder), fs.open, fs.du(folder))))


def measure(volume: Volume, laps: int, *, is_quick: bool) -> list[Row]:
    """The rows of the workload `reading`; the first lap is thrown away, as everywhere."""
    rows: list[Row] = []
    for what, name, parts in (("small", "S", _SMALL), ("large", "L", _LARGE)):
        workload = WORKLOADS[name].quick() if is_quick else WORKLOADS[name]
        rows += _compared(workload, what, parts, volume.root / what, laps)
    return rows


def _compared(workload: Workload, what: str, parts: dict[str, str], place: Path, laps: int) -> list[Row]:
    source = place / "source"
    workload.generate(source)
    subject = Artstore(place / "artstore", source)
    subject.prepare()
    subject.do(*subject.words(Operation.PUT))
    words = [sys.executable, "-m", "benchmarks.reading", what]
    sides = {
        "artstore": [*words, f"artstore://{NAME}:latest", str(subject.store)],
        _DISK: [*words, str(source)],
    }
    settle(source, subject.store)
    seconds: dict[tuple[str, str], list[float]] = {}
    for lap in range(laps + 1):
        # Every second lap backwards, so that whatever one leaves to the next is left to both.
        for side in sorted(sides, reverse=bool(lap % 2)):
            taken = json.loads(answer(Command(sides[side], place, subject.environment)))
            if lap:
                for part, wall_s in taken.items():
                    seconds.setdefault((side, part), []).append(wall_s)
    remove(place)
    series = {key: Series(tuple(values)) for key, values in seconds.items()}
    rows: list[Row] = []
    for part, title in parts.items():
        text = f"{workload.describe()} through artstore://, {title}"
        rows += compared("reading", f"{what} {part}", text, series["artstore", part], [(_DISK, series[_DISK, part])])
    return rows


def _times(what: str, paths: list[str], opened: Callable[..., Any], total_bytes: int) -> dict[str, float]:
    parts: dict[str, Callable[[], int]]
    if what == "small":
        chance = random.Random(0)
        parts = dict.fromkeys(_SMALL, lambda: _all_of(chance.sample(paths, len(paths)), opened))
    else:
        block = bytearray(MIB)
        ways: dict[str, Callable[[Any], int]] = {
            "read": lambda file: len(file.read(MIB)),
            "readinto": lambda file: int(file.readinto(block)),
            "whole": lambda file: len(file.read()),
        }
        parts = {name: _through(paths[0], opened, ways[name]) for name in _LARGE}
    taken: dict[str, float] = {}
    for name, part in parts.items():
        start = time.perf_counter()
        size = part()
        taken[name] = time.perf_counter() - start
        assert size == total_bytes
    return taken


def _all_of(paths: list[str], opened: Callable[..., Any]) -> int:
    size = 0
    for path in paths:
        with opened(path, "rb") as file:
            size += len(file.read())
    return size


def _through(path: str, opened: Callable[..., Any], step: Callable[[Any], int]) -> Callable[[], int]:
    def read() -> int:
        size = 0
        with opened(path, "rb") as file:
            while some := step(file):
                size += some
        return size

    return read


if __name__ == "__main__":
    main()
