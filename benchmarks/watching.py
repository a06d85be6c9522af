"""Watching: how soon a save is a version, and what a watch takes while nothing happens."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import IO, Final

from benchmarks.measure import Failed, Series
from benchmarks.rows import Row, plain
from benchmarks.subject import Artstore
from benchmarks.volumes import Volume
from benchmarks.workloads import entries

_FILES: Final = 1_000
_QUIET_S: Final = 0.2
_PAUSE_S: Final = 10.0
_SAVES: Final = 10


def measure(volume: Volume, laps: int) -> list[Row]:
    """The rows of the workload `watching`; in each lap some saves, then a pause."""
    source = volume.root / "source"
    entries(_FILES).generate(source)
    subject = Artstore(volume.root / "artstore", source)
    subject.prepare()
    options = ["--name", "tree", "--type", "dataset", "--quiet-s", str(_QUIET_S)]
    with subprocess.Popen(
        subject.call("watch", str(source), *options),
        cwd=subject.place,
        env=subject.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _next_version(process.stdout)
            soon: list[float] = []
            used: list[float] = []
            for lap in range(laps + 1):
                took = [_save(source / f"{lap}-{number}", process.stdout) for number in range(_SAVES)]
                time.sleep(1)
                before = _processor_s(process.pid)
                time.sleep(_PAUSE_S)
                if lap:
                    soon.append(sum(took) / _SAVES)
                    used.append((_processor_s(process.pid) - before) * 1000)
        finally:
            process.terminate()
    title = f"from a save to its version, of {_FILES:,} files, with a quiet time of {_QUIET_S} s"
    return [
        plain("watching", "save", title, "s", Series(tuple(soon))),
        plain("watching", "quiet", f"processor time of {_PAUSE_S:.0f} quiet seconds", "ms", Series(tuple(used))),
    ]


def _save(path: Path, said: IO[str] | None) -> float:
    path.write_bytes(path.name.encode())
    start = time.perf_counter()
    _next_version(said)
    return time.perf_counter() - start


def _next_version(said: IO[str] | None) -> None:
    if said is None or not said.readline():
        message = "artstore watch has ended"
        raise Failed(message)


def _processor_s(pid: int) -> float:
    """What a process took so far; in nanoseconds where the system says it so, which Linux does for each thread."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
