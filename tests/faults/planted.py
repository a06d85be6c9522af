"""Planted bugs: mistakes that artstore could have made, each put into a child so that a harness can catch it.

A harness that cannot fail says nothing. Each function breaks one promise in this process, for good.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from artstore.lifecycle import collect, compact, replay
from artstore.lifecycle import commit as commit_module
from artstore.storage import database, files, gather, intake, oplog, sessions
from artstore.storage.oplog import LogFile, OpLog, Prepared

Plant = Callable[[], None]
"""Breaks artstore in this process."""


def ack_before_link() -> None:
    """A commit returns, and the file of the log gets its name when the next one does."""
    waiting: list[Callable[[], bool]] = []
    publish = OpLog.publish

    def late(self: OpLog, project: str, first: int, last: int, prepared: Prepared) -> bool:
        if first != last:
            return publish(self, project, first, last, prepared)
        while waiting:
            waiting.pop()()
        kept = prepared.path.with_name(f"late-{first}")
        os.link(prepared.path, kept)

        def link() -> bool:
            files.make_directory(self._ops / project)
            return files.publish(str(kept), str(self._ops / project / f"{first:012d}"))

        waiting.append(link)
        return True

    _set(OpLog, "publish", late)


def no_roll_forward() -> None:
    """What a killed process has linked is not folded by whoever comes next."""

    def nothing(*_arguments: Any, **_named: Any) -> int:
        return 0

    for module in (replay, commit_module, collect, compact):
        for name in ("catch_up", "replay_project"):
            if hasattr(module, name):
                _set(module, name, nothing)


def gc_without_sessions() -> None:
    """`gc` frees what it condemned at once, whoever is at work."""

    def none(_root: Path, *, but: object = None) -> list[Any]:
        del but
        return []

    _set(collect, "live_sessions", none)


def covered_by_two_listings() -> None:
    """What is committed between two listings of the log is taken for covered, and deleted. (This was a bug.)"""

    def covered(self: OpLog, project: str) -> list[LogFile]:
        kept = {file.path for file in self.files(project)}
        return [file for file in self.all_files(project) if file.path not in kept]

    _set(OpLog, "covered", covered)


def unlink_before_segment() -> None:
    """Compaction unlinks what the segment is to hold, and publishes it then."""
    publish = OpLog.publish

    def early(self: OpLog, project: str, first: int, last: int, prepared: Prepared) -> bool:
        if first != last:
            for file in self.all_files(project):
                if first <= file.first <= last:
                    os.unlink(file.path)
        return publish(self, project, first, last, prepared)

    _set(OpLog, "publish", early)


def deferred_begin() -> None:
    """Write transactions begin as reads, and find out at the first row that another was faster."""

    def begin(_self: object, connection: Any, _patience_s: float) -> None:
        connection.execute("BEGIN")

    _set(database.Connections, "_begin_immediate", begin)


def no_file_sync() -> None:
    """The bytes of a file are not synced."""

    def nothing(_fd: int) -> None:
        return

    for module in (files, gather, intake, oplog, collect):
        if hasattr(module, "sync_file"):
            _set(module, "sync_file", nothing)


def no_pack_sync() -> None:
    """The bytes of packs and large blobs are not synced; those of the log are."""

    def nothing(_fd: int) -> None:
        return

    for module in (gather, intake, collect):
        _set(module, "sync_file", nothing)


def no_folder_sync() -> None:
    """Names are not synced."""

    def nothing(_directory: object) -> None:
        return

    for module in (files, gather, intake, oplog, collect, compact):
        if hasattr(module, "sync_directory"):
            _set(module, "sync_directory", nothing)


def publish_before_sync() -> None:
    """The log's file gets its name first, and its bytes are synced afterwards."""
    late: list[int] = []
    seal = Prepared.seal
    publish = OpLog.publish

    def sealed(self: Prepared, transactions: list[bytes]) -> None:
        with _without(oplog, "sync_file", late.append):
            seal(self, transactions)

    def published(self: OpLog, project: str, first: int, last: int, prepared: Prepared) -> bool:
        done = publish(self, project, first, last, prepared)
        while late:
            os.fsync(late.pop())
        return done

    _set(Prepared, "seal", sealed)
    _set(OpLog, "publish", published)


def op_before_blobs() -> None:
    """The op is linked while the packs that it needs are not synced yet: they are when the process has time."""
    late: list[int] = []

    def later(fd: int) -> None:
        late.append(os.dup(fd))
        while len(late) > 8:
            old = late.pop(0)
            os.fsync(old)
            os.close(old)

    for module in (gather, intake):
        _set(module, "sync_file", later)


def eaten_sync_errors() -> None:
    """A sync that fails is taken for one that did not."""
    sync_file, sync_directory = files.sync_file, files.sync_directory

    def file(fd: int) -> None:
        with contextlib.suppress(OSError):
            sync_file(fd)

    def folder(directory: str | os.PathLike[str]) -> None:
        with contextlib.suppress(OSError):
            sync_directory(directory)

    for module in (files, gather, intake, oplog, collect, compact):
        for name, stand_in in (("sync_file", file), ("sync_directory", folder)):
            if hasattr(module, name):
                _set(module, name, stand_in)


def raw_errors() -> None:
    """What the system says is passed on as it is."""

    def raw(error: OSError, _doing: str) -> OSError:
        return error

    _set(files, "storage_error", raw)


def session_in_name_only() -> None:
    """A session's file is not locked, so every collector takes it for a dead one's."""

    def pretend(_fd: int) -> bool:
        return True

    _set(sessions, "try_lock", pretend)


PLANTED: Final[dict[str, Callable[[], None]]] = {
    each.__name__: each
    for each in (
        *(ack_before_link, no_roll_forward, gc_without_sessions, covered_by_two_listings),
        *(unlink_before_segment, deferred_begin, no_file_sync, no_pack_sync, no_folder_sync, publish_before_sync),
        *(op_before_blobs, eaten_sync_errors, raw_errors, session_in_name_only),
    )
}
"""By name."""


def _set(owner: Any, name: str, value: object) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)


@contextlib.contextmanager
def _without(owner: Any, name: str, stand_in: object) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        setattr(owner, name, original)
