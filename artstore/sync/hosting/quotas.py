"""Quotas: how many bytes each project may take of a store that keeps its log.

All that is written for it counts, once: blobs, lists of files, slots of the log, and what is on its way. Of that its
blobs can be given back.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict, StorageFull
from artstore.model.digest import Digest
from artstore.model.names import project_name
from artstore.storage.granted import Granted
from artstore.storage.root import Root
from artstore.sync.hosting.closure import needed_blobs
from artstore.sync.hosting.pins import TURN_S, Pins
from artstore.sync.hosting.usage import Usage
from artstore.sync.room import FOR_ENDS, Room

_LOOK_S: Final = 60.0
"""How long what a project may give back is not looked for again, unless `gc` has begun meanwhile."""


class _Kept(NamedTuple):
    """What is on its way."""

    size: int
    """Bytes."""
    blob: Digest | None
    """The large blob that they make, if that comes bit by bit."""


class Quotas:
    """The quotas of all projects. Any number of threads may ask."""

    def __init__(
        self,
        root: Root,
        limits: Mapping[str, int],
        granted: Granted,
        usage: Usage,
        pins: Pins,
        *,
        alone: Callable[[str], AbstractContextManager[object]],
    ) -> None:
        """`limits` has the bytes that projects may take, by name, and under "" that of each other one.

        While `alone` is entered nobody names anything in that project. It may raise Conflict.
        """
        self._root = root
        self._limits = limits
        self._granted = granted
        self._usage = usage
        self._pins = pins
        self._alone = alone
        self._lock = threading.Lock()
        self._kept: dict[str, list[_Kept]] = {}
        self._looked: dict[str, tuple[int, float]] = {}
        """The epoch of `gc`, and when, at which it was looked what a project can give back."""
        self._slots: dict[str, int] = {}
        """The epoch of `gc` in which a project's last slot was claimed, since this began."""

    def sizes(self) -> dict[str, int]:
        """The bytes that each project takes, as `artstore status` counts them, without what `gc` has freed."""
        for project in self._usage.projects():
            # What has lost something is told to who asks for it.
            with contextlib.suppress(ArtstoreError):
                self._give_back(project)
        return {project: self._usage.of(project).bytes for project in self._usage.projects()}

    def limit(self, project: str) -> int | None:
        """The bytes that a project may take; None: as many as there are."""
        return self._limits.get(project, self._limits.get(""))

    def room(self, project: str) -> Room | None:
        """How it is with a project's quota; None: it has none."""
        limit = self.limit(project)
        if limit is None:
            return None
        self._give_back(project)
        return self._now(project, limit)

    @contextlib.contextmanager
    def reserved(self, project: str, size: int, *, blob: Digest | None = None) -> Iterator[None]:
        """Keep so many bytes of a project's quota for what comes. Raises StorageFull (quota-exceeded).

        For a large `blob` it is all of its bytes: those that have come before count among them.
        """
        limit = self.limit(project_name(project))
        if limit is None:
            yield
            return
        kept = _Kept(size, blob)
        error = self._reserve(project, limit, kept)
        if error is not None and self._give_back(project):
            error = self._reserve(project, limit, kept)
        if error is not None:
            raise error
        try:
            yield
        finally:
            with self._lock:
                self._kept[project].remove(kept)

    def check_slot(self, project: str, size: int, *, ends: bool) -> None:
        """Raise StorageFull (quota-exceeded) where a slot that is to be claimed next does not fit.

        One that only `ends` things may go beyond the quota, a little. Call it as `take_back`.
        """
        limit = self.limit(project)
        if limit is None:
            return
        most = limit - size + (FOR_ENDS if ends else 0)
        if self._now(project, limit).takes > most:
            self.take_back(project)
            if (room := self._now(project, limit)).takes > most:
                raise room.too_little(f"project {project!r}", size)

    def take_back(self, project: str) -> None:
        """Let a quota be free of what a project's versions do not need any more and `gc` has freed.

        Call it where nobody names anything in that project meanwhile. It is not looked again at once.
        """
        if self._is_news(project):
            self._take_back(project)

    def _reserve(self, project: str, limit: int, new: _Kept) -> StorageFull | None:
        """Reserve if it fits; answers the error where it does not."""
        with self._lock:
            kept = self._kept.setdefault(project, [])
            before, after = (self._room(project, limit, each) for each in (kept, [*kept, new]))
            if after.takes > limit:
                return before.too_little(f"project {project!r}", after.takes - before.takes)
            kept.append(new)
            return None

    def _now(self, project: str, limit: int) -> Room:
        with self._lock:
            return self._room(project, limit, self._kept.get(project, []))

    def _room(self, project: str, limit: int, kept: Sequence[_Kept]) -> Room:
        # Several requests may bring one blob, of which one goes on when another hangs.
        large = {each.blob: each.size for each in kept if each.blob is not None}
        taken = self._usage.of(project, but=large)
        coming = sum(large.values()) + sum(each.size for each in kept if each.blob is None)
        return Room(limit=limit, takes=taken.bytes + coming, stays=taken.list_bytes + taken.log_bytes)

    def _give_back(self, project: str) -> bool:
        """As `take_back`, whatever others do; answers whether it was worth looking."""
        is_news = self._is_news(project)
        if is_news:
            # Who would name what is taken back is told to send it again.
            with contextlib.suppress(Conflict), self._alone(project):
                self._take_back(project)
        return is_news

    def _is_news(self, project: str) -> bool:
        """Whether `gc` may have freed something since it was looked at last: it takes a while, and anybody may ask."""
        epoch, now = self._root.catalog.epoch(), time.monotonic()
        with self._lock:
            before, at = self._looked.get(project, (-1, 0.0))
            is_news = epoch != before or now - at > _LOOK_S
            if is_news:
                self._looked[project] = epoch, now
        return is_news

    def note_slot(self, project: str) -> None:
        """Be told that a log has one more slot: what ends by it has not been freed yet."""
        epoch = self._root.catalog.epoch()
        with self._lock:
            self._slots[project] = epoch

    def _take_back(self, project: str) -> None:
        needed, now, time_s = needed_blobs(self._root, project), self._root.catalog.epoch(), time.time()
        with self._lock:
            ended = self._slots.get(project, now)
        for some in self._granted.all_of(project):
            free = [digest for digest in some if digest not in needed]
            # A clock that was ahead may have said when it was sent.
            lately = {"sent_after": time_s - 2 * TURN_S, "sent_before": time_s + 2 * TURN_S}
            self._granted.withdraw(project, free, ended, now=now, **lately)
        self._granted.forget(project, self._pins.freed_before())
