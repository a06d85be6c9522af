"""Syncing: trees on their way to a server or a depot on this machine, and back, beside tools that do the same."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measure import Command, Failed, Sample, Series, provide_pages, run, settle
from benchmarks.rows import Row, compared, plain
from benchmarks.senders import Copied, Dvc, Restic, Rsync, Sender, ToDepot, ToServer
from benchmarks.subject import Artstore
from benchmarks.targets import Kind
from benchmarks.tool import Operation, remove
from benchmarks.volumes import Volume
from benchmarks.workloads import GIB, MIB, WORKLOADS, Workload, entries, footprint

VOLUME_BYTES: Final = 16 * GIB
TREES: Final = ("S", "L")
"""The workloads that are moved as they are."""
_WAYS: Final = ("push", "pull")
_CHANGES: Final = ("in place", "at its start")
_ENDS_S: Final = 0.2
_CHANGED_LAPS: Final = 2
_VERSIONS: Final = 1_000
_VERSION_FILES: Final = 100
_PUSHES: Final = 10
_PUSH_FILES: Final = 200
_CLIENTS: Final = 16
_CLIENT_FILES: Final = Workload("client", 2_500, 10 * 1024, 25, volume_bytes=0)
_CLIENT_FILE: Final = Workload("client file", 1, 32 * MIB, 1, volume_bytes=0)


@dataclass
class _Found:
    """What the counted laps gave."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    """By what was done and by whom; processor seconds are of both sides."""

    values: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, way: str, who: str, sample: Sample) -> None:
        """Note what a process took."""
        self.samples.setdefault((way, who), []).append(sample)

    def of(self, way: str, who: str, figure: Callable[[Sample], float]) -> Series | None:
        """A figure of each lap, or None if that was not measured."""
        samples = self.samples.get((way, who))
        return Series(tuple(map(figure, samples))) if samples else None

    def forget(self, who: str, reason: str) -> None:
        """Leave a side out altogether."""
        for key in [key for key in self.samples if key[1] == who]:
            del self.samples[key]
        self.notes.append(f"{who} is left out: {reason}")


def measure(
    volume: Volume, laps: int, peers: Sequence[str] | None, workloads: Sequence[str], *, is_quick: bool
) -> tuple[list[Row], list[str]]:
    """The rows of the workload `sync`, and who did not take part; the first lap is thrown away, as everywhere.

    `peers` are tools that do the same work and that no target names, if they are asked for. Where `workloads` leaves
    out one of TREES, nothing is measured but the other ones.
    """
    beside = [kind for kind in (Restic, Dvc) if kind.name in (peers or ())]
    small, large = ((WORKLOADS[name].quick() if is_quick else WORKLOADS[name]) for name in TREES)
    scale = 10 if is_quick else 1
    rows: list[Row] = []
    notes: list[str] = []
    for where, workload, kinds in (
        ("server", small, [ToServer, Rsync]),
        ("depot", small, [ToDepot, Copied, *beside]),
        ("server", large, [ToServer, Rsync]),
    ):
        if workload.name not in workloads:
            continue
        found = _moved(where, workload, kinds, volume.root / "laps", laps)
        rows += _rows(found, where, workload)
        notes += found.notes
    if set(TREES) <= set(workloads):
        rows += _nothing_new(volume.root / "nothing", laps, _VERSIONS // scale)
        rows.append(_few_objects(volume.root / "objects"))
        rows.append(_crowd(volume.root / "crowd", min(laps, 2), _CLIENTS // (4 if is_quick else 1)))
    everybody = (Artstore, Copied, Rsync, *beside)
    versions = ", ".join(each.version() for each in everybody if each.is_installed())
    return rows, [versions, *dict.fromkeys(notes)]


def _moved(where: str, workload: Workload, kinds: Sequence[type[Sender]], place: Path, laps: int) -> _Found:
    """Each side pushes the tree and pulls it, side by side, in every lap."""
    found = _Found()
    found.notes += [f"{kind.name} is not installed" for kind in kinds if not kind.is_installed()]
    kinds = [kind for kind in kinds if kind.is_installed()]
    source = place / "source"
    workload.generate(source)
    changed_at = time.time()
    for number in range(laps + 1):
        began = time.perf_counter()
        lap = _Lap(workload, place / "lap", source, number, changed_at)
        # Every second lap backwards, so that whatever one leaves to the next is left to both.
        lap.run(kinds if number % 2 else kinds[::-1], found)
        if number == 0:
            found.samples.clear()
            found.values.clear()
        kinds = [kind for kind in kinds if ("pull", kind.name) in found.samples or number == 0]
        _say(f"sync {workload.name}, {where}", number, laps, began)
    remove(place)
    return found


class _Lap:
    """One life of every side: a push, a pull, and for a single large file two pushes of a changed one."""

    def __init__(self, workload: Workload, place: Path, source: Path, number: int, changed_at: float) -> None:
        self._workload = workload
        self._place = place
        self._source = source
        self._number = number
        self._changed_at = changed_at

    def run(self, kinds: Sequence[type[Sender]], found: _Found) -> None:
        """Add what every side took; who can be spared and fails is out of this lap, and forgotten."""
        senders = [kind(self._place / kind.name, self._source) for kind in kinds]
        steps: list[Callable[[Sender], None]] = [_prepare, *(partial(self._move, way, found) for way in _WAYS)]
        try:
            for step in steps:
                for sender in list(senders):
                    try:
                        step(sender)
                    except Failed as failure:
                        if not sender.is_optional:
                            raise
                        sender.close()
                        senders.remove(sender)
                        found.forget(sender.name, str(failure))
            for sender in senders:
                # They send the same bytes in every lap.
                if isinstance(sender, ToServer) and self._workload.files == 1 and self._number <= _CHANGED_LAPS:
                    self._push_changed(sender, found)
        finally:
            for sender in senders:
                sender.close()
        remove(self._place)

    def _move(self, way: str, found: _Found, sender: Sender) -> None:
        command = sender.push() if way == "push" else sender.pull()
        settle(sender.reads()[_WAYS.index(way)], changed_at=self._changed_at)
        provide_pages(self._place, self._workload.page_bytes)
        before_s = sender.served_cpu_s()
        sample = run(command)
        # What it started has to end before it counts.
        time.sleep(_ENDS_S)
        served_s = sender.served_cpu_s() - before_s
        found.add(way, sender.name, replace(sample, cpu_s=sample.cpu_s + served_s))
        there = sender.reads()[1] if way == "push" else sender.place / "there"
        if footprint(there).apparent_bytes < self._workload.total_bytes:
            message = f"{sender.name} did not {way} all of it"
            raise Failed(message)

    def _push_changed(self, sender: ToServer, found: _Found) -> None:
        path = self._source / self._workload.path_of(0)
        kept = path.with_name(f"{path.name}.kept")
        for change in _CHANGES:
            if change == "in place":
                self._workload.change(self._source, seed=f"v{self._number}")
            else:
                path.rename(kept)
                _insert(kept, path)
            sender.here.do(*sender.here.words(Operation.PUT))
            settle(sender.here.store)
            provide_pages(self._place, self._workload.page_bytes)
            asked = len(sender.asked())
            found.add(change, sender.name, run(sender.push()))
            sent_bytes = sum(sender.asked()[asked:])
            found.values.setdefault(change, []).append(sent_bytes / self._workload.total_bytes)
        kept.replace(path)


def _rows(found: _Found, where: str, workload: Workload) -> list[Row]:
    rows: list[Row] = []
    name = f"{where} {workload.name}"
    others = [kind.name for kind in (Copied, Rsync, Restic, Dvc)]
    for way in _WAYS:
        title = f"{way} {'to' if way == 'push' else 'from'} a {where}: {workload.describe()}"
        ours = found.of(way, ToServer.name, _wall)
        assert ours is not None
        theirs = [(who, wall) for who in others if (wall := found.of(way, who, _wall)) is not None]
        rows += compared("sync", f"{way} {name}", title, ours, theirs)
        our_cpu, their_cpu = (found.of(way, who, _cpu) for who in (ToServer.name, Rsync.name))
        if where == "server" and our_cpu is not None:
            title = f"{title}: user + system seconds of both sides"
            rows.append(Row("sync", title, "s", our_cpu, Rsync.name if their_cpu else None, their_cpu, Kind.DIFFERENCE))
        if where == "server" and workload.is_bulk:
            rate = Series(tuple(workload.total_bytes / wall_s / 1e6 for wall_s in ours.values))
            rows.append(plain("sync", f"{way} rate", f"{way} {workload.describe()}: rate", "MB/s", rate))
    for change, words in zip(_CHANGES, ("1 % changed in place", "a byte put before it"), strict=True):
        seconds = found.of(change, ToServer.name, _wall)
        if seconds is not None:
            title = f"push to a server: {workload.describe()}, {words}"
            rows.append(plain("sync", change, title, "s", seconds))
            sent = Series(tuple(found.values[change]))
            rows.append(plain("sync", f"sent {change}", f"{title}: bytes sent, of all", "%", sent))
    return rows


def _nothing_new(place: Path, laps: int, versions: int) -> list[Row]:
    """A push that has nothing to offer, in a store with many versions that were pushed."""
    source = place / "source"
    entries(_VERSION_FILES).generate(source)
    sender = ToServer(place / "lap", source)
    seconds: dict[str, list[float]] = {"push": [], "sync": []}
    requests: dict[str, list[float]] = {"push": [], "sync": []}
    try:
        sender.prepare()
        sender.here.fill(_VERSION_FILES, 1, versions - 1)
        run(sender.push())
        settle(sender.here.store)
        for lap in range(laps + 1):
            for verb, series in seconds.items():
                asked = len(sender.asked())
                sample = run(Command(sender.here.call(verb), sender.here.place, sender.here.environment))
                series.append(sample.wall_s)
                requests[verb].append(len(sender.asked()) - asked)
            if lap == 0:
                seconds = {"push": [], "sync": []}
                requests = {"push": [], "sync": []}
    finally:
        sender.close()
    remove(place)
    title = f"of nothing new, {versions:,} versions"
    return [
        *(plain("sync", f"{verb} nothing", f"{verb} {title}", "s", Series(tuple(seconds[verb]))) for verb in seconds),
        *(
            plain("sync", f"{verb} requests", f"{verb} {title}: requests", "", Series(tuple(requests[verb])))
            for verb in requests
        ),
    ]


def _few_objects(place: Path) -> Row:
    """What a depot holds after many small blobs have come, some at a time; the same in every lap, so there is one."""
    source = place / "source"
    sender = ToDepot(place / "lap", source)
    for push in range(_PUSHES):
        Workload(f"push {push}", _PUSH_FILES, 1024, 1, volume_bytes=0).generate(source / str(push))
        if push == 0:
            sender.prepare()
        else:
            sender.here.do(*sender.here.words(Operation.PUT))
        run(sender.push())
    objects = footprint(sender.far).files
    remove(place)
    title = f"objects in a depot of {_PUSHES * _PUSH_FILES:,} small blobs, after {_PUSHES} pushes"
    return plain("sync", "objects", title, "", Series((objects,)))


def _crowd(place: Path, laps: int, clients: int) -> Row:
    """The most memory of a server that many clients push to at once, each what nobody else has."""
    peaks: list[float] = []
    for lap in range(laps):
        began = time.perf_counter()
        hub = ToServer(place / "hub", place / "source")
        try:
            url = hub.url()
            pushes = [_client(place, number, url) for number in range(clients)]
            with ThreadPoolExecutor(clients) as pool:
                list(pool.map(run, pushes))
            assert hub.server is not None
            peaks.append(hub.server.peak_bytes / 1e6)
        finally:
            hub.close()
        remove(place)
        _say(f"sync, {clients} clients", lap + 1, laps, began)
    title = f"memory of a server that {clients} clients push to, each {_CLIENT_FILES.describe()} and one of 32 MiB"
    return plain("sync", "crowd", title, "MB", Series(tuple(peaks)))


def _client(place: Path, number: int, url: str) -> Command:
    source = place / f"source {number}"
    for workload in (_CLIENT_FILES, _CLIENT_FILE):
        replace(workload, name=f"{workload.name} {number}").generate(source / workload.name)
    client = Artstore(place / f"client {number}", source)
    client.prepare()
    client.do(*client.words(Operation.PUT), "--project", f"project-{number}")
    client.do(*client.call("remote", "add", "hub", url, "--upstream"))
    remove(source)
    return Command(client.call("push"), client.place, client.environment)


def _insert(source: Path, target: Path) -> None:
    """Write a file anew with one byte before all others."""
    with source.open("rb") as old, target.open("wb") as new:
        new.write(b"\0")
        shutil.copyfileobj(old, new, MIB)


def _prepare(sender: Sender) -> None:
    sender.prepare()


def _wall(sample: Sample) -> float:
    return sample.wall_s


def _cpu(sample: Sample) -> float:
    return sample.cpu_s


def _say(what: str, lap: int, laps: int, began: float) -> None:
    print(f"{what}: lap {lap} of {laps} took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
