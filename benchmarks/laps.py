"""Laps: every side through every operation, side by side, again and again."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.measure import Failed, Sample, Series, provide_pages, run, settle
from benchmarks.subject import Artstore
from benchmarks.tool import Operation, Tool, remove
from benchmarks.volumes import Volume
from benchmarks.workloads import Workload, footprint
from benchmarks.yardsticks import Copy


@dataclass(frozen=True)
class Plan:
    """What to measure: `rows` are operations, and `verify` and `size`, whose catalog row needs `put1` as well."""

    workload: Workload
    rows: frozenset[str]
    tools: Sequence[type[Tool]]
    laps: int


@dataclass
class Findings:
    """What the counted laps gave."""

    samples: defaultdict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    """By operation and tool."""

    values: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By what was asked of artstore itself: verify, verify-fast, disk, apparent, inodes, catalog."""

    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    def forget(self, tool: str, reason: str) -> None:
        """Leave a tool out altogether: of half its laps no pairs can be made."""
        for key in [key for key in self.samples if key[1] == tool]:
            del self.samples[key]
        self.notes.append(f"{tool} is left out: {reason}")

    def wall(self, operation: str, tool: str) -> Series | None:
        """Seconds of each lap, or None if that was not measured."""
        samples = self.samples.get((operation, tool))
        return Series(tuple(sample.wall_s for sample in samples)) if samples else None

    def cpu(self, operation: str, tool: str) -> Series | None:
        """User and system seconds of each lap, or None if that was not measured."""
        samples = self.samples.get((operation, tool))
        return Series(tuple(sample.cpu_s for sample in samples)) if samples else None

    def value(self, name: str) -> Series | None:
        """What artstore said in each lap, or None if it was not asked."""
        values = self.values.get(name)
        return Series(tuple(values)) if values else None


def measure(plan: Plan, volume: Volume) -> Findings:
    """Run all laps on an empty volume.

    A peer that fails is left out from then on, and noted. Raises Failed if artstore or the copy does.
    """
    findings = Findings()
    source = volume.root / "source"
    plan.workload.generate(source)
    tools = list(plan.tools)
    # Lap 0 pays for compiled modules and a fresh file system; it is not counted.
    for number in range(plan.laps + 1):
        lap = _Lap(plan, volume.root / "lap", source, number)
        started = time.perf_counter()
        lap.run(tools, findings)
        if number == 0:
            findings.samples.clear()
            findings.values.clear()
        seconds = time.perf_counter() - started
        print(f"{plan.workload.name}: lap {number} of {plan.laps} took {seconds:.0f} s", file=sys.stderr, flush=True)
    return findings


class _Lap:
    """One life of every tool: an empty store, four operations, gone."""

    def __init__(self, plan: Plan, place: Path, source: Path, number: int) -> None:
        self._plan = plan
        self._place = place
        self._source = source
        self._number = number
        self._changed_at = 0.0
        self._first_bytes = 0

    def run(self, kinds: list[type[Tool]], findings: Findings) -> None:
        """Add what every tool took to the findings; take away the kinds that failed, and all that they gave."""
        tools = [kind(self._place / kind.name, self._source) for kind in kinds]
        # Every second lap backwards, so that whatever one leaves to the next is left to both.
        tools = tools if self._number % 2 else tools[::-1]
        _every(tools, kinds, findings, lambda tool: tool.prepare())
        self._changed_at = time.time()
        for operation in Operation:
            # What is put again must have been put, whether or not that is a row.
            if operation is not Operation.PUT and operation not in self._plan.rows:
                continue
            if operation is Operation.PUT1:
                for tree in {self._source, *(tool.tree for tool in tools)}:
                    self._plan.workload.change(tree, seed=f"v{self._number}")
                self._changed_at = time.time()
            _every(tools, kinds, findings, partial(self._measure, operation, findings))
        remove(self._place)

    def _measure(self, operation: Operation, findings: Findings, tool: Tool) -> None:
        command = tool.command(operation)
        if command is None:
            return
        tool.before(operation)
        settle(tool.reads(operation), changed_at=self._changed_at)
        provide_pages(self._place, self._plan.workload.page_bytes)
        bytes_before = tool.bookkeeping_bytes() if isinstance(tool, Artstore) else 0
        findings.samples[operation, tool.name].append(run(command))
        if isinstance(tool, Artstore):
            self._ask(tool, operation, tool.bookkeeping_bytes() - bytes_before, findings)
        if operation is Operation.GET:
            self._check(tool)
            remove(tool.target)
        elif isinstance(tool, Copy):
            # Nothing else needs it.
            remove(tool.store)

    def _ask(self, tool: Artstore, operation: Operation, added_bytes: int, findings: Findings) -> None:
        if operation is Operation.PUT:
            self._first_bytes = added_bytes
            if "size" in self._plan.rows:
                taken = tool.per_byte_and_file(self._plan.workload.total_bytes, self._plan.workload.files)
                for name, value in taken.items():
                    findings.values[name].append(value)
            if "verify" in self._plan.rows:
                for name, options in (("verify", ()), ("verify-fast", ("--fast",))):
                    seconds = tool.verify(*options)
                    findings.values[name].append(self._plan.workload.total_bytes / seconds / 1e9)
        elif operation is Operation.PUT1 and "size" in self._plan.rows:
            findings.values["catalog"].append(added_bytes / self._first_bytes)

    def _check(self, tool: Tool) -> None:
        """A `get` that brings less is no `get`."""
        here = footprint(tool.gotten())
        if here.files != self._plan.workload.files or here.apparent_bytes != self._plan.workload.total_bytes:
            message = f"{tool.name} brought {here.files} files of {here.apparent_bytes} bytes together"
            raise Failed(message)


def _every(tools: list[Tool], kinds: list[type[Tool]], findings: Findings, act: Callable[[Tool], None]) -> None:
    """Do it to each tool in turn; who can be spared and fails is out of this lap and of all that follow."""
    for tool in list(tools):
        try:
            act(tool)
        except Failed as failure:
            if not tool.is_optional:
                raise
            tools.remove(tool)
            kinds.remove(type(tool))
            findings.forget(tool.name, str(failure))
