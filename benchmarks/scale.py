"""Scale: how the cost grows from a thousand entries to a million, and from one version to a thousand.

What is asked is growth, so artstore is measured against itself; the copy stands beside the entries because the file
system does not grow evenly either.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, measure, table
from benchmarks.measure import Command, Sample, Series
from benchmarks.subject import NAME, Artstore
from benchmarks.targets import TARGETS
from benchmarks.tool import Operation, remove
from benchmarks.volumes import Volume, journaled
from benchmarks.workloads import GIB, Workload, entries
from benchmarks.yardsticks import Copy

_Samples = defaultdict[str, list[Sample]]

_MILLION: Final = 10**6
_VERSION_FILES: Final = 1_000
_BY_ENTRIES: Final = {
    "cp": "cp -r, sync",
    "put": "put",
    "reput": "put, unchanged",
    "put1": "put, 1 % changed",
    "ls": "ls of the version",
    "get one": "get of one file",
    "get": "get of all",
    "gc": "gc after a deletion",
}
_BY_VERSIONS: Final = {
    "put1": "put, 1 % changed",
    "ls": "ls",
    "log": "log",
    "get one": "get of one file of the first",
    "gc": "gc",
}


def run(folder: Path, files: Sequence[int], versions: Sequence[int], laps: int) -> Iterator[tuple[str, str]]:
    """Measure both growths; the name and the text of each block as soon as it is done. Raises Failed.

    No lap is thrown away here: the first of a million entries takes minutes.
    """
    yield "scale-entries", _by_entries(folder, files, laps)
    yield "scale-versions", _by_versions(folder, versions, laps)


def _by_entries(folder: Path, counts: Sequence[int], laps: int) -> str:
    found: dict[int, _Samples] = {}
    largest = entries(max(counts))
    with journaled(folder, largest.volume_bytes, inode_bytes=largest.inode_bytes) as volume:
        label = volume.label
        for count in counts:
            workload = entries(count)
            source = volume.root / "source"
            workload.generate(source)
            found[count] = defaultdict(list)
            for lap in range(laps):
                _entries_lap(volume, workload, source, lap, found[count])
                print(f"{workload.name}: lap {lap + 1} of {laps} is done", file=sys.stderr, flush=True)
            shutil.rmtree(source)
    rows = _growing(found, _BY_ENTRIES)
    for row, samples in zip(rows, found.values(), strict=True):
        row += [f"{_peak(samples, verb).median / 1e6:.0f} MB" for verb in ("put", "get")]
    header = ["entries", *_BY_ENTRIES.values(), "peak of put", "peak of get"]
    lines = ["### Growth by entries", "", *_facts(label, laps), "", *table.grid(header, rows)]
    if _MILLION in found:
        lines += ["", *_verdicts(found[_MILLION])]
    return "\n".join(lines) + "\n"


def _entries_lap(volume: Volume, workload: Workload, source: Path, lap: int, found: _Samples) -> None:
    place = volume.root / "lap"
    copy, subject = Copy(place / "cp", source), Artstore(place / "artstore", source)
    changed_at = time.time()
    subject.prepare()
    put = subject.words(Operation.PUT)
    whole = f"{NAME}:v0"

    def step(name: str, command: Command, *reads: Path) -> None:
        measure.settle(*reads, changed_at=changed_at)
        found[name].append(measure.run(command))

    step("cp", Command(["cp", "-r", str(source), str(copy.store)]).synced(), source)
    remove(copy.store)
    step("put", _of(subject, put), source)
    step("reput", _of(subject, put), source)
    step("ls", _of(subject, subject.call("ls", whole)), subject.store)
    step("get one", _of(subject, _get_one(subject, workload)), subject.store)
    remove(subject.target)
    step("get", _of(subject, subject.call("get", whole, str(subject.target))).synced(), subject.store)
    remove(subject.target)
    workload.change(source, seed=f"v{lap}")
    changed_at = time.time()
    step("put1", _of(subject, put), source)
    subject.do(*subject.call("delete", whole))
    step("gc", _of(subject, subject.call("gc", "--grace", "0")))
    remove(place)


def _by_versions(folder: Path, counts: Sequence[int], laps: int) -> str:
    found: dict[int, _Samples] = {}
    bookkeeping: list[str] = []
    workload = entries(_VERSION_FILES)
    with journaled(folder, 4 * GIB) as volume:
        label = volume.label
        source = volume.root / "source"
        workload.generate(source)
        subject = Artstore(volume.root / "artstore", source)
        subject.prepare()
        made = 0
        for count in counts:
            if made < count:
                subject.fill(workload.files, made + 1, count)
                made = count
            bookkeeping.append(f"{subject.bookkeeping_bytes() / made / 1e3:.1f} kB")
            found[count] = defaultdict(list)
            for _ in range(laps):
                made += 1
                _versions_lap(subject, workload, made, found[count])
    rows = _growing(found, _BY_VERSIONS)
    for row, size in zip(rows, bookkeeping, strict=True):
        row.append(size)
    heading = f"### Growth by versions of {workload.files:,} files"
    header = ["versions", *_BY_VERSIONS.values(), "catalog and ops, each version"]
    return "\n".join([heading, "", *_facts(label, laps), "", *table.grid(header, rows)]) + "\n"


def _versions_lap(subject: Artstore, workload: Workload, number: int, found: _Samples) -> None:
    for name, words in {
        "ls": subject.call("ls"),
        "log": subject.call("log", NAME),
        "get one": _get_one(subject, workload),
        "gc": subject.call("gc"),
    }.items():
        measure.settle(subject.store)
        found[name].append(measure.run(_of(subject, words)))
        remove(subject.target)
    workload.change(subject.tree, seed=str(number))
    measure.settle(subject.tree, changed_at=time.time())
    found["put1"].append(measure.run(_of(subject, subject.words(Operation.PUT))))


def _get_one(subject: Artstore, workload: Workload) -> list[str]:
    path = workload.path_of(workload.files // 2)
    return subject.call("get", f"{NAME}:v0", str(subject.target), "--path", path)


def _of(subject: Artstore, words: Sequence[str]) -> Command:
    return Command(words, subject.place, subject.environment)


def _wall(samples: _Samples, name: str) -> Series:
    return Series(tuple(sample.wall_s for sample in samples[name]))


def _peak(samples: _Samples, name: str) -> Series:
    return Series(tuple(float(sample.peak_bytes) for sample in samples[name]))


def _growing(found: dict[int, _Samples], columns: dict[str, str]) -> list[list[str]]:
    """A row for each count, each median with how many times the row before it is."""
    rows, before = [], None
    for count, samples in found.items():
        row = [f"{count:,}"]
        for name in columns:
            median = _wall(samples, name).median
            growth = "" if before is None else f" (x{median / _wall(before, name).median:.1f})"
            row.append(f"{median:.2f} s{growth}")
        rows.append(row)
        before = samples
    return rows


def _verdicts(samples: _Samples) -> Iterator[str]:
    measured = {
        "get one": (_wall(samples, "get one").median, "s", 1.0, "one file out of a million"),
        "put peak": (_peak(samples, "put").median, "MB", 1e6, "memory of putting a million"),
        "get peak": (_peak(samples, "get").median, "MB", 1e6, "memory of getting a million"),
    }
    for name, (figure, unit, scale, title) in measured.items():
        (target,) = TARGETS[name, "scale"]
        verdict = "pass" if target.is_reached(figure) else "**miss**"
        yield f"- {title}: {figure / scale:.2f} {unit}, to reach ≤ {target.limit / scale:g} {unit}: {verdict}"


def _facts(label: str, laps: int) -> list[str]:
    return [
        f"- {machine.today()}: median of {laps} laps on {label}; in brackets, times the row above",
        f"- {machine.describe()}; {Artstore.version()}",
    ]
