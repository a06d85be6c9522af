"""Planted bugs: mistakes that artstore could have made, each put into a child so that a harness can catch it.

A harness that cannot fail says nothing, and neither does a plant that fell over by itself. So each stand-in has to have
the signature of what it stands for, is counted when it is called, over all forks, and only a violation that the oracle
saw counts as caught: see `Plant.doubts`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from artstore.errors import ArtstoreError
from artstore.lifecycle import collect, compact, replay
from artstore.lifecycle import commit as commit_module
from artstore.lifecycle.draft import Draft
from artstore.model.digest import Digest
from artstore.storage import database, files, gather, intake, oplog, sessions, stat_cache
from artstore.storage.database import Connections
from artstore.storage.oplog import LogFile, OpLog, Prepared
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.storage.stat_cache import StatCache
from tests.faults.processes import is_crash

_MISFITS: Final = (TypeError, AttributeError, NameError)
"""How a stand-in falls over when what it stands for has changed."""


class Plant:
    """A bug to be planted, and whether anybody has come by. Make one for each run of a harness."""

    def __init__(self, sow: Callable[[Plant], None]) -> None:
        self._sow = sow
        self._counts = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        """Calls of stand-ins, and those that fell over: shared with all forks, and roughly counted where they meet."""

    @classmethod
    def named(cls, name: str) -> Plant:
        """One of PLANTED."""
        return cls(PLANTED[name])

    def __call__(self) -> None:
        """Break artstore in this process, for good."""
        self._sow(self)

    def doubts(self, wrong: Sequence[str]) -> list[str]:
        """Why a harness that found this wrong cannot be said to have caught the plant; empty: it can."""
        doubts = [] if self._counts[0] else ["no stand-in was ever called"]
        if self._counts[1]:
            doubts.append("a stand-in fell over: it does not fit what it stands for")
        if all(map(is_crash, wrong)):
            doubts.append(f"no violation was found, but {list(wrong)}")
        return doubts

    def replace(self, owner: Any, name: str, stand_in: Callable[..., Any]) -> None:
        """Put a stand-in in place of a function or a method, whose signature it must have."""
        setattr(owner, name, self._fitted(owner, name, stand_in))

    def replace_everywhere(self, owner: Any, name: str, stand_in: Callable[..., Any]) -> None:
        """As replace, in every module of artstore that knows the function by this name."""
        original, fitted = getattr(owner, name, None), self._fitted(owner, name, stand_in)
        for path, module in list(sys.modules.items()):
            if path.startswith("artstore.") and getattr(module, name, None) is original:
                setattr(module, name, fitted)

    @contextlib.contextmanager
    def replaced(self, owner: Any, name: str, stand_in: Callable[..., Any]) -> Iterator[None]:
        """As replace, for a while."""
        original = getattr(owner, name, None)
        self.replace(owner, name, stand_in)
        try:
            yield
        finally:
            setattr(owner, name, original)

    def _fitted(self, owner: Any, name: str, stand_in: Callable[..., Any]) -> Callable[..., Any]:
        original = getattr(owner, name, None)
        assert original is not None, f"{owner} has no {name} any more"
        wanted, given = _signature(original), _signature(stand_in)
        assert wanted == given, f"{owner} has {name}{wanted}, and the stand-in is {given}"

        @functools.wraps(stand_in)
        def counted(*arguments: Any, **named: Any) -> Any:
            self._counts[0] += 1
            try:
                return stand_in(*arguments, **named)
            except _MISFITS:
                self._counts[1] += 1
                raise

        return counted


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With the types as they are written; that of `self` is not."""
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=inspect.Parameter.empty) if each.name == "self" else each
        for each in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters)


def ack_before_link(plant: Plant) -> None:
    """A commit returns, and the file of the log gets its name when the next one does."""
    waiting: list[Callable[[], bool]] = []
    publish = OpLog.publish

    def late(self: OpLog, project: str, first: int, last: int, prepared: Prepared) -> bool:
        if first != last:
            return publish(self, project, first, last, prepared)
        while waiting:
            waiting.pop()()
        # Not in the session's own folder, which goes with it.
        kept = self._ops.with_name(f"late-{os.getpid()}-{first}")
        os.link(prepared.path, kept)

        def link() -> bool:
            files.make_directory(self._ops / project)
            return files.publish(str(kept), str(self._ops / project / f"{first:012d}"))

        waiting.append(link)
        return True

    plant.replace(OpLog, "publish", late)


def no_roll_forward(plant: Plant) -> None:
    """What a killed process has linked is not folded by whoever comes next."""

    def nothing(root: Root, name: str) -> int:
        del root, name
        return 0

    # Not for `rebuild`, which folds with it too.
    for module in (replay, commit_module, compact):
        plant.replace(module, "replay_project", nothing)


def gc_without_sessions(plant: Plant) -> None:
    """`gc` frees what it condemned at once, whoever is at work."""

    def none(root: Path, *, but: Session | None = None) -> list[tuple[int, dict[str, Any]]]:
        del root, but
        return []

    plant.replace(collect, "live_sessions", none)


def covered_by_two_listings(plant: Plant) -> None:
    """What is committed between two listings of the log is taken for covered, and deleted. (This was a bug.)"""

    def covered(self: OpLog, project: str) -> list[LogFile]:
        kept = {file.path for file in self.files(project)}
        return [file for file in self.all_files(project) if file.path not in kept]

    plant.replace(OpLog, "covered", covered)


def unlink_before_segment(plant: Plant) -> None:
    """Compaction unlinks what the segment is to hold, and publishes it then."""
    publish = OpLog.publish

    def early(self: OpLog, project: str, first: int, last: int, prepared: Prepared) -> bool:
        if first != last:
            for file in self.all_files(project):
                if first <= file.first <= last:
                    os.unlink(file.path)
        return publish(self, project, first, last, prepared)

    plant.replace(OpLog, "publish", early)


def deferred_begin(plant: Plant) -> None:
    """Write transactions begin as reads, and find out at the first row that another was faster."""

    def begin(self: database.Connections, connection: Any, patience_s: float) -> None:
        del self, patience_s
        connection.execute("BEGIN")

    plant.replace(database.Connections, "_begin_immediate", begin)


def no_file_sync(plant: Plant) -> None:
    """The bytes of a file are not synced."""

    def nothing(fd: int) -> None:
        del fd

    plant.replace_everywhere(files, "sync_file", nothing)


def no_pack_sync(plant: Plant) -> None:
    """The bytes of packs and large blobs are not synced; those of the log are."""

    def nothing(fd: int) -> None:
        del fd

    for module in (gather, intake, collect):
        plant.replace(module, "sync_file", nothing)


def no_folder_sync(plant: Plant) -> None:
    """Names are not synced."""

    def nothing(directory: str | os.PathLike[str]) -> None:
        del directory

    plant.replace_everywhere(files, "sync_directory", nothing)


def publish_before_sync(plant: Plant) -> None:
    """The log's file gets its name first, and its bytes are synced afterwards."""
    late: list[int] = []
    seal = Prepared.seal
    publish = OpLog.publish

    def later(fd: int) -> None:
        late.append(fd)

    def sealed(self: Prepared, transactions: list[bytes]) -> None:
        with plant.replaced(oplog, "sync_file", later):
            seal(self, transactions)

    def published(self: OpLog, project: str, first: int, last: int, prepared: Prepared) -> bool:
        done = publish(self, project, first, last, prepared)
        while late:
            os.fsync(late.pop())
        return done

    plant.replace(Prepared, "seal", sealed)
    plant.replace(OpLog, "publish", published)


def op_before_blobs(plant: Plant) -> None:
    """The op is linked while the packs that it needs are not synced yet: they are when the process has time."""
    late: list[int] = []

    def later(fd: int) -> None:
        late.append(os.dup(fd))
        while len(late) > 8:
            old = late.pop(0)
            os.fsync(old)
            os.close(old)

    for module in (gather, intake):
        plant.replace(module, "sync_file", later)


def eaten_sync_errors(plant: Plant) -> None:
    """A sync that fails is taken for one that did not."""
    sync_file, sync_directory = files.sync_file, files.sync_directory

    def file(fd: int) -> None:
        with contextlib.suppress(OSError):
            sync_file(fd)

    def folder(directory: str | os.PathLike[str]) -> None:
        with contextlib.suppress(OSError):
            sync_directory(directory)

    plant.replace_everywhere(files, "sync_file", file)
    plant.replace_everywhere(files, "sync_directory", folder)


def raw_errors(plant: Plant) -> None:
    """What the system says is passed on as it is."""

    def raw(error: OSError, doing: str, *, room: str = "") -> ArtstoreError:
        del doing, room
        return error  # type: ignore[return-value]  # That is the bug.

    plant.replace(files, "storage_error", raw)


def session_in_name_only(plant: Plant) -> None:
    """A session's file is not locked, so every collector takes it for a dead one's."""

    def pretend(fd: int) -> bool:
        del fd
        return True

    plant.replace(sessions, "try_lock", pretend)


def hashed_for_ever(plant: Plant) -> None:
    """What was hashed once is taken for stored, in whatever era, and whatever was freed since."""

    def one(catalog: Connections) -> bytes:
        del catalog
        return b"for ever"

    def usable(self: Draft, folder: str) -> StatCache:
        return stat_cache.load(self.root.path, folder, b"for ever")

    def nothing(root: Path, is_here: Callable[[Digest], bool]) -> None:
        del root, is_here

    plant.replace(stat_cache, "era", one)
    plant.replace(stat_cache, "tidy", nothing)
    plant.replace(Draft, "_usable_cache", usable)


PLANTED: Final[dict[str, Callable[[Plant], None]]] = {
    each.__name__: each
    for each in (
        *(ack_before_link, no_roll_forward, gc_without_sessions, covered_by_two_listings),
        *(unlink_before_segment, deferred_begin, no_file_sync, no_pack_sync, no_folder_sync, publish_before_sync),
        *(op_before_blobs, eaten_sync_errors, raw_errors, session_in_name_only, hashed_for_ever),
    )
}
"""By name."""
