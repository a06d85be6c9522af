"""Start-up: what a command costs before it does anything."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.measure import Command, Series, run, settle
from benchmarks.rows import Row, compared, plain
from benchmarks.subject import ARTSTORE, Artstore
from benchmarks.volumes import Volume
from benchmarks.workloads import entries

_VERSIONS: Final = 1_000
_FILES: Final = 100


def measure(volume: Volume, laps: int) -> list[Row]:
    """The rows of the workload `startup`; the first lap is thrown away, as everywhere."""
    source = volume.root / "source"
    entries(_FILES).generate(source)
    subject = Artstore(volume.root / "artstore", source)
    subject.prepare()
    subject.fill(_FILES, 1, _VERSIONS)
    commands = {
        "help": [*ARTSTORE, "--help"],
        "ls": subject.call("ls"),
        "import": [sys.executable, "-c", "import artstore"],
        "bare": [sys.executable, "-c", "pass"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    settle(subject.store)
    for lap in range(laps + 1):
        for name, words in commands.items():
            sample = run(Command(words, subject.place, subject.environment))
            if lap:
                seconds[name].append(sample.wall_s)
    series = {name: Series(tuple(values)) for name, values in seconds.items()}
    return [
        plain("startup", "help", "artstore --help", "s", series["help"]),
        plain("startup", "ls", f"artstore ls, {_VERSIONS:,} versions", "s", series["ls"]),
        *compared("startup", "import", "import artstore", series["import"], [("bare Python", series["bare"])]),
    ]
