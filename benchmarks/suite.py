"""The suite: the workloads, each on a volume of its own, and the start-up rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import cold, facade, laps, listing, machine, pages, reading, startup, syncing, tables, watching
from benchmarks.measure import Failed
from benchmarks.rows import Row, compared, rows_of
from benchmarks.subject import Artstore
from benchmarks.tool import Operation, Tool
from benchmarks.volumes import NoVolume, Volume, journaled, reflinking
from benchmarks.workloads import GIB, WORKLOADS, Workload
from benchmarks.yardsticks import PEERS, Copy

STARTUP: Final = "startup"
REFERENCES: Final = "references"
TABLES: Final = "tables"
FACADE: Final = "facade"
READING: Final = "reading"
WATCHING: Final = "watching"
PAGES: Final = "pages"
SYNC: Final = "sync"
COLD: Final = "cold"
APART: Final = frozenset({STARTUP, REFERENCES, TABLES, FACADE, READING, WATCHING, PAGES, SYNC, COLD})
"""What is measured without a workload."""
BY_NAME: Final = frozenset({COLD})
"""What takes long, and is measured only where it is asked for."""
ROWS: Final = (*(operation.value for operation in Operation), "verify", "size", *sorted(APART))


@dataclass(frozen=True)
class Options:
    """What to measure, and where."""

    folder: Path
    """Where images and temporary folders are made: on a disk, not in memory."""

    workloads: Sequence[str] = tuple(WORKLOADS)
    rows: frozenset[str] = frozenset(ROWS) - BY_NAME
    peers: Sequence[str] | None = None
    """Tools beside artstore and the copy, on every workload; None for those that a target names, where it does."""

    laps: int = 5
    is_quick: bool = False
    """Small workloads, which no target speaks of."""


@dataclass(frozen=True)
class Block:
    """The rows of one workload, and how they came about."""

    name: str
    heading: str
    facts: Sequence[str]
    rows: Sequence[Row]


def run(options: Options) -> Iterator[Block]:
    """Measure, and give every block as soon as it is done. Raises Failed if artstore fails at anything."""
    if options.rows - APART:
        for name in options.workloads:
            yield _workload(name, options)
    for name, (heading, volume_bytes, measure) in _ON_A_VOLUME.items():
        if name in options.rows:
            with journaled(options.folder, volume_bytes) as volume:
                rows, notes = measure(volume, options)
                facts = [_conditions(options, volume.label), machine.describe(), *notes]
            yield Block(name, heading, facts, _judged(rows, options))
    if REFERENCES in options.rows:
        yield _references(options)
    if TABLES in options.rows:
        yield _tables(options)
    if PAGES in options.rows:
        yield _pages(options)


_Measured = tuple[list[Row], list[str]]
"""Rows, and notes."""

_ON_A_VOLUME: Final[dict[str, tuple[str, int, Callable[[Volume, Options], _Measured]]]] = {
    STARTUP: ("Start-up", 2 * GIB, lambda volume, options: (startup.measure(volume, options.laps), [])),
    FACADE: (
        "Façade",
        2 * GIB,
        lambda volume, options: (facade.measure(volume, options.laps, is_quick=options.is_quick), []),
    ),
    READING: (
        "Reading in place",
        4 * GIB,
        lambda volume, options: (reading.measure(volume, options.laps, is_quick=options.is_quick), []),
    ),
    WATCHING: ("Watching", 2 * GIB, lambda volume, options: (watching.measure(volume, options.laps), [])),
    SYNC: (
        "Sync",
        syncing.VOLUME_BYTES,
        lambda volume, options: syncing.measure(
            volume, options.laps, options.peers, options.workloads, is_quick=options.is_quick
        ),
    ),
    COLD: (
        "A cold pull",
        4 * GIB,
        lambda volume, options: cold.measure(volume, options.laps, is_quick=options.is_quick),
    ),
}
"""What needs a file system of its own and nothing else: its heading, the size of that, and how it is measured."""


def _pages(options: Options) -> Block:
    if not pages.is_possible():
        return Block(PAGES, "Pages", [machine.describe(), "chromium or playwright is not installed"], [])
    with journaled(options.folder, 2 * GIB) as volume:
        rows = pages.measure(volume, options.laps, is_quick=options.is_quick)
        facts = [_conditions(options, volume.label), machine.describe()]
    return Block(PAGES, "Pages", facts, _judged(rows, options))


def _references(options: Options) -> Block:
    facts = [_conditions(options, "SeaweedFS on this machine"), machine.describe()]
    rows: list[Row] = []
    if listing.is_possible():
        rows = listing.measure(options.laps, listing.OBJECTS // 20 if options.is_quick else listing.OBJECTS)
    else:
        facts.append("weed is not installed")
    return Block(REFERENCES, "References", facts, _judged(rows, options))


def _tables(options: Options) -> Block:
    facts = [_conditions(options, "a temporary folder"), machine.describe()]
    return Block(TABLES, "Tables", facts, _judged(tables.measure(options.folder, options.laps), options))


def _workload(name: str, options: Options) -> Block:
    workload = WORKLOADS[name].quick() if options.is_quick else WORKLOADS[name]
    tools, notes = _tools(name, options)
    plan = laps.Plan(workload, options.rows, tools, options.laps)
    with journaled(options.folder, workload.volume_bytes, inode_bytes=workload.inode_bytes) as volume:
        findings = laps.measure(plan, volume)
        facts = [_conditions(options, volume.label)]
    rows = rows_of(workload, findings)
    if name == "L" and Operation.GET in options.rows:
        try:
            rows += _reflinked(workload, options)
        except NoVolume as reason:
            notes.append(f"get by reflink was not run: {reason}")
    facts += [machine.describe(), machine.versions(tools), *notes, *findings.notes]
    return Block(name, f"{name}: {workload.describe()}", facts, _judged(rows, options))


def _tools(name: str, options: Options) -> tuple[list[type[Tool]], list[str]]:
    """Who takes part, artstore after the copy, and who would have."""
    wanted = [PEERS[peer] for peer in options.peers or ()]
    if options.peers is None:
        wanted = [peer for peer in PEERS.values() if name in peer.stands_on]
    absent = [f"{peer.name} is not installed" for peer in wanted if not peer.is_installed()]
    return [Copy, Artstore, *(peer for peer in wanted if peer.is_installed())], absent


def _reflinked(workload: Workload, options: Options) -> Iterator[Row]:
    """One row more: `get` where the file system can share the blocks of store and target."""
    plan = laps.Plan(workload, frozenset({Operation.GET}), [Copy, Artstore], options.laps)
    with reflinking(options.folder, workload.volume_bytes) as volume:
        findings = laps.measure(plan, volume)
    ours, copied = (findings.wall(Operation.GET, tool.name) for tool in (Artstore, Copy))
    if ours is None or copied is None:
        message = "no lap of get by reflink was counted"
        raise Failed(message)
    title = f"{Operation.GET.heading}, {volume.label.partition(' ')[0]}"
    return compared(workload.name, "get reflink", title, ours, [(Copy.name, copied)])


def _judged(rows: Sequence[Row], options: Options) -> Sequence[Row]:
    return [replace(row, target=None) for row in rows if row.is_measured] if options.is_quick else rows


def _conditions(options: Options, label: str) -> str:
    size = "small workload, not judged; " if options.is_quick else ""
    return f"{machine.today()}: {size}{options.laps} laps on {label}; median (least-most)"
