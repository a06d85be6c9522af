"""Rows: what was found, each figure of artstore beside its yardstick and its target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.laps import Findings
from benchmarks.measure import Series
from benchmarks.subject import Artstore
from benchmarks.targets import TARGETS, Kind, Target
from benchmarks.tool import Operation
from benchmarks.workloads import Workload

_VALUES: Final = {
    "verify": ("verify everything, in process", "GB/s"),
    "verify-fast": ("verify --fast, in process", "GB/s"),
    "disk": ("bytes on disk over bytes put", ""),
    "apparent": ("lengths of files over bytes put", ""),
    "inodes": ("inodes a file", ""),
    "catalog": ("catalog and op bytes of a version with 1 % changed, of the first's", "%"),
}


@dataclass(frozen=True)
class Row:
    """One comparison: artstore's figure, somebody else's if there is one, and what was to be reached."""

    workload: str
    title: str
    unit: str
    ours: Series
    rival: str | None = None
    theirs: Series | None = None
    kind: Kind = Kind.VALUE
    target: Target | None = None

    @property
    def figure(self) -> Series:
        """What the target speaks of: the value itself, or the ratio or the difference of every pair."""
        if self.theirs is None:
            return self.ours
        return self.ours.above(self.theirs) if self.kind is Kind.DIFFERENCE else self.ours.over(self.theirs)

    @property
    def is_reached(self) -> bool | None:
        """Whether the median reaches the target; None without one, or without the rival that it names."""
        if self.target is None or not self.is_measured:
            return None
        return self.target.is_reached(self.figure.median)

    @property
    def is_measured(self) -> bool:
        """Whether everything is there that the row compares."""
        return self.rival is None or self.theirs is not None


def rows_of(workload: Workload, findings: Findings) -> list[Row]:
    """Every row that the findings of one workload give, in the order of the table."""
    tools = list(dict.fromkeys(tool for _, tool in findings.samples if tool != Artstore.name))
    tools.sort(key=lambda tool: tool != "cp")
    rows: list[Row] = []
    for operation in Operation:
        ours = findings.wall(operation, Artstore.name)
        if ours is None:
            continue
        theirs = [(tool, wall) for tool in tools if (wall := findings.wall(operation, tool))]
        rows += compared(workload.name, operation, operation.heading, ours, theirs)
        cpu = findings.cpu(operation, Artstore.name)
        copied = findings.cpu(operation, "cp")
        if workload.is_bulk and cpu and copied:
            title = f"{operation.heading}: user + system seconds"
            target = next(iter(TARGETS.get((f"{operation} cpu", workload.name), ())), None)
            rows.append(Row(workload.name, title, "s", cpu, "cp", copied, Kind.DIFFERENCE, target))
    for name, (title, unit) in _VALUES.items():
        values = findings.value(name)
        if values is not None:
            rows.append(plain(workload.name, name, title, unit, values))
    return rows


def compared(workload: str, name: str, title: str, ours: Series, theirs: Sequence[tuple[str, Series]]) -> Iterator[Row]:
    """A row for each rival, and one for the limit in seconds if there is one."""
    targets = {target.rival: target for target in TARGETS.get((name, workload), ())}
    if None in targets or not theirs:
        yield Row(workload, title, "s", ours, target=targets.get(None))
    measured = dict(theirs)
    for tool in dict.fromkeys([*measured, *targets]):
        if tool is not None:
            yield Row(workload, title, "s", ours, tool, measured.get(tool), Kind.RATIO, targets.get(tool))


def plain(workload: str, name: str, title: str, unit: str, values: Series) -> Row:
    """The row of a figure that stands on its own."""
    target = next((target for target in TARGETS.get((name, workload), ()) if target.rival is None), None)
    return Row(workload, title, unit, values, target=target)


def misses(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows whose target was not reached."""
    return (row for row in rows if row.is_reached is False)
