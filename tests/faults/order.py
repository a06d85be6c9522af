"""The order of calls: bytes before names, names before what relies on them, and all of it before the answer.

A missing sync of a folder is hard to see by cutting the power: not at all on ext4 and XFS, whose journals keep the
order, and on btrfs only where a transaction ends between the sync of a file and the link, since else the next sync of
any file takes the new name along. So the calls are noted as they come and compared with the rules. A rule is broken
where some file system would be allowed to lose something.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.faults.layer import Call, Layer

_WRITES: Final = frozenset({"write", "pwritev", "ftruncate", "create"})
_NAMES: Final = frozenset({"link", "replace", "rename", "mkdir"})
_TELLING: Final = ("INSERT OR IGNORE INTO pack", "INSERT OR IGNORE INTO stored")
_KEPT: Final = ("packs", "blobs", "ops", "format.json")
"""Where names must not be lost."""


def noted(store: Path, work: Callable[[], None]) -> list[Call]:
    """The calls of some work, in the order in which they came to an end. For a process that does nothing else."""
    calls: list[Call] = []
    lock = threading.Lock()

    def note(call: Call) -> None:
        with lock:
            calls.append(call)

    layer = Layer(store, lambda _call: None, note)
    layer.install()
    try:
        work()
    finally:
        layer.remove()
    return calls


def broken(calls: Sequence[Call]) -> list[str]:
    """The rules that the calls of one verb broke, in words."""
    return [
        *_unsynced_bytes(calls),
        *_unsynced_names(calls),
        *_early_ops(calls),
        *_early_rows(calls),
        *_late_locks(calls),
    ]


def _is_kept(path: str) -> bool:
    return path.split("/", 1)[0] in _KEPT


def _unsynced_bytes(calls: Sequence[Call]) -> list[str]:
    """What gets a name was synced after its last write."""
    dirty: set[str] = set()
    wrong: list[str] = []
    for call in calls:
        if call.name in _WRITES:
            dirty.add(call.path)
        elif call.name in {"fsync", "fdatasync"}:
            dirty.discard(call.path)
        elif call.name in _NAMES and call.source in dirty and _is_kept(call.path):
            wrong.append(f"{call.path} got its name before its bytes were synced")
    return wrong


def _unsynced_names(calls: Sequence[Call]) -> list[str]:
    """At the end every folder that got a name was synced."""
    return [f"{folder!r} got a name and was never synced" for folder in sorted(_dirty_folders(calls))]


def _dirty_folders(calls: Sequence[Call]) -> set[str]:
    dirty: set[str] = set()
    for call in calls:
        if call.name in _NAMES and _is_kept(call.path):
            dirty.add(_folder(call.path))
        elif call.name in {"fsync", "fdatasync"}:
            dirty.discard(call.path)
    return dirty


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _early_ops(calls: Sequence[Call]) -> list[str]:
    """When an op is linked, everything that it may name is on the disk under its name."""
    wrong: list[str] = []
    for number, call in enumerate(calls):
        if call.name == "link" and call.path.startswith("ops/"):
            before = _dirty_folders([each for each in calls[:number] if not each.path.startswith("ops/")])
            wrong += [f"{call.path} was linked before {folder!r} was synced" for folder in sorted(before)]
    return wrong


def _early_rows(calls: Sequence[Call]) -> list[str]:
    """When the catalog says that something is stored, its name is on the disk."""
    wrong: list[str] = []
    for number, call in enumerate(calls):
        if call.name == "statement" and call.sql.lstrip().startswith(_TELLING):
            before = {each for each in _dirty_folders(calls[:number]) if each.startswith(("packs", "blobs"))}
            wrong += [f"the catalog told of a file before {folder!r} was synced" for folder in sorted(before)]
    return wrong


def _late_locks(calls: Sequence[Call]) -> list[str]:
    """An op is linked, and a row is written, under the write lock, which is taken at the beginning."""
    is_locked = False
    wrong: list[str] = []
    for call in calls:
        if call.name in {"statement", "commit"} and call.sql.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            is_locked = call.sql == "BEGIN IMMEDIATE"
        elif call.name == "link" and call.path.startswith("ops/") and "-" not in call.path.rpartition("/")[2]:
            wrong += [] if is_locked else [f"{call.path} was linked without the write lock"]
    return wrong
