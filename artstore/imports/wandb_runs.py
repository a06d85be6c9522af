"""What the logs of W&B runs say: runs, and the artifacts that they logged.

Field numbers: `wandb/proto/wandb_internal.proto` of wandb 0.31, messages Record, RunRecord, ConfigRecord,
ArtifactRecord, ArtifactManifest, ArtifactManifestEntry, OutputRawRecord, StatsRecord, RunExitRecord and
UseArtifactRecord. Protobuf keeps them for ever.

An artifact record has no date. It gets the latest date that stands before it in its log: of the run's start, a line of
output or a measurement of the machine, of which there is one every 15 seconds.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from artstore.errors import Corrupt
from artstore.imports.protobuf import Message
from artstore.imports.reports import Left
from artstore.imports.wandb_log import records

# Kinds of record, by their number in Record.
_HISTORY: Final = 2
_CONFIG: Final = 5
_STATS: Final = 7
_ARTIFACT: Final = 8
_OUTPUT: Final = (4, 13)
_RUN: Final = 17
_EXIT: Final = 18
_USE: Final = 25

_INTERNAL: Final = "_wandb"


class LoggedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A path of a logged artifact."""

    path: str
    digest: str
    """Of a file: MD5, or XXH3-128 where `extra` says `alg`, in base64. Of a reference: its owner's."""
    reference: str | None
    size: int | None
    local_path: str | None
    """Where the bytes were when it was logged."""
    extra: dict[str, Any]


class LoggedArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact as a run logged it."""

    run: str
    project: str
    name: str
    type: str
    description: str | None
    metadata: str
    """JSON; may be empty."""
    aliases: list[str]
    tags: list[str]
    entries: list[LoggedEntry]
    client_id: str
    distributed_id: str
    is_final: bool
    """False for a part of a distributed artifact."""
    is_incremental: bool
    ttl_s: int
    """0: none."""
    logged_at: float


class LoggedRun(msgspec.Struct, kw_only=True):
    """A run, from one or several logs."""

    id: str
    project: str
    name: str | None = None
    job_type: str | None = None
    group: str | None = None
    notes: str | None = None
    tags: list[str] = msgspec.field(default_factory=list)
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    """None: the log does not say how it ended."""
    artifacts: list[LoggedArtifact] = msgspec.field(default_factory=list)
    folders: list[Path] = msgspec.field(default_factory=list)


def read_runs(folder: Path) -> tuple[list[LoggedRun], list[Left]]:
    """The runs whose logs lie anywhere below a folder, by their start, and what cannot be carried over.

    Links are not followed: `latest-run` is one. A log that is damaged is read up to there.
    """
    runs: dict[tuple[str, str], LoggedRun] = {}
    left: list[Left] = []
    for path in _logs(folder):
        reader = _Reader(path, runs)
        try:
            for record in records(path):
                reader.take(Message(record))
        except (Corrupt, OSError) as error:
            left.append(Left(what="log", where=str(path), why=str(error)))
        left += reader.left()
    return sorted(runs.values(), key=lambda run: (run.started_at, run.id)), left


def _logs(folder: Path) -> list[Path]:
    """By the name of the folder they lie in, which begins with the date."""
    found = (Path(top) / name for top, _, names in os.walk(folder) for name in names if _is_log(name))
    return sorted(found, key=lambda path: (path.parent.name, path))


def _is_log(name: str) -> bool:
    return name.startswith("run-") and name.endswith(".wandb")


class _Reader:
    """Takes the records of one log into the runs that are known so far."""

    def __init__(self, path: Path, runs: dict[tuple[str, str], LoggedRun]) -> None:
        self._path = path
        self._runs = runs
        self._run: LoggedRun | None = None
        self._now = 0.0
        self._left: list[Left] = []
        self._steps = 0
        self._lines = 0

    def take(self, record: Message) -> None:
        """Take one record; kinds that say nothing about artifacts only count."""
        if record.has(_RUN):
            self._begin(record.message(_RUN))
        elif record.has(_CONFIG):
            _configure(self._known().config, record.message(_CONFIG))
        elif record.has(_ARTIFACT):
            self._artifact(record.message(_ARTIFACT))
        elif record.has(_USE):
            self._use(record.message(_USE))
        elif record.has(_EXIT):
            self._known().exit_code = record.message(_EXIT).integer(1)
        elif record.has(_STATS):
            self._tell(record.message(_STATS).message(2))
        elif any(map(record.has, _OUTPUT)):
            self._lines += 1
            self._tell(record.message(_OUTPUT[1]).message(2))
        elif record.has(_HISTORY):
            self._steps += 1

    def left(self) -> list[Left]:
        """What this log has besides artifacts."""
        where = str(self._path)
        found = list(self._left)
        if self._steps:
            found.append(Left(what="metrics", where=where, why=f"{self._steps} steps: artstore keeps no metrics"))
        if self._lines:
            found.append(
                Left(what="output", where=where, why=f"{self._lines} records: artstore keeps no console output")
            )
        files = [path for path in (self._path.parent / "files").rglob("*") if path.is_file()]
        if files:
            found.append(
                Left(what="files", where=str(self._path.parent / "files"), why=f"{len(files)} files of the run")
            )
        if self._run is None:
            found.append(Left(what="run", where=where, why="the log does not say whose it is"))
        return found

    def _begin(self, record: Message) -> None:
        key = record.text(3), record.text(1)
        run = self._runs.setdefault(key, LoggedRun(id=key[1], project=key[0]))
        run.name = record.text(8) or run.name
        run.job_type = record.text(7) or run.job_type
        run.group = record.text(6) or run.group
        run.notes = record.text(9) or run.notes
        run.tags = record.texts(10) or run.tags
        _configure(run.config, record.message(4))
        if self._run is None:
            run.folders.append(self._path.parent)
            run.exit_code = None
        self._run = run
        self._tell(record.message(17))
        run.started_at = run.started_at or self._now

    def _known(self) -> LoggedRun:
        if self._run is None:
            message = f"{str(self._path)!r} speaks of a run before it says which"
            raise Corrupt(message, code="log-damaged")
        return self._run

    def _tell(self, timestamp: Message) -> None:
        self._now = max(self._now, timestamp.integer(1) + timestamp.integer(2) / 1e9)
        if self._run is not None:
            self._run.ended_at = max(self._run.ended_at, self._now)

    def _artifact(self, record: Message) -> None:
        run = self._known()
        client_id = record.text(15)
        if client_id and any(each.client_id == client_id for each in run.artifacts):
            return  # The same once more, as W&B writes it for a link.
        manifest = record.message(12)
        run.artifacts.append(
            LoggedArtifact(
                run=run.id,
                project=run.project,
                name=record.text(5),
                type=record.text(4),
                description=record.text(7) or None,
                metadata=record.text(8),
                aliases=record.texts(11),
                tags=record.texts(19),
                entries=list(_entries(manifest)),
                client_id=client_id,
                distributed_id=record.text(13),
                is_final=bool(record.integer(14)),
                is_incremental=bool(record.integer(100)),
                ttl_s=record.integer(18),
                logged_at=self._now,
            ),
        )

    def _use(self, record: Message) -> None:
        what = f"{record.text(3)} of type {record.text(2)!r}"
        why = (
            f"the run used {what}, which W&B's server has under the id {record.text(1)!r}, and no log names its content"
        )
        self._left.append(Left(what="use", where=str(self._path), why=why))


def _entries(manifest: Message) -> Iterator[LoggedEntry]:
    beside = manifest.text(5)
    if beside:
        yield from _entries_of_file(Path(beside))
    for entry in manifest.messages(4):
        yield LoggedEntry(
            path=entry.text(1),
            digest=entry.text(2),
            reference=entry.text(3) or None,
            size=entry.integer(4) if entry.has(4) or not entry.has(3) else None,
            local_path=entry.text(6) or None,
            extra={item.text(1): json.loads(item.text(2)) for item in entry.messages(16)},
        )


def _entries_of_file(path: Path) -> Iterator[LoggedEntry]:
    """The entries of a manifest of more than 100,000, which W&B writes as lines of JSON into a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            yield LoggedEntry(
                path=entry["path"],
                digest=entry["digest"],
                reference=entry.get("ref"),
                size=entry.get("size"),
                local_path=entry.get("local_path"),
                extra=entry.get("extra") or {},
            )


def _configure(config: dict[str, Any], record: Message) -> None:
    for item in record.messages(1):
        *above, key = item.texts(2) or [item.text(1)]
        place = config
        for each in above:
            place = place.setdefault(each, {})
        place[key] = json.loads(item.text(16))
    for item in record.messages(2):
        *above, key = item.texts(2) or [item.text(1)]
        place = config
        for each in above:
            place = place.get(each, {})
        place.pop(key, None)
    config.pop(_INTERNAL, None)
