"""Follow: a store that keeps up with its upstream by itself, and sleeps in between.

What wakes it is a commit of any process of this machine, and the clock: now and then it looks whether others have
pushed. While the upstream cannot be reached it tries again after pauses that grow, of a length that is left to chance,
so that those who were cut off together do not come back together. What cannot be moved though it was reached is tried
again after such pauses too, which grow to that of the clock at most. One process a store does this at a time.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from artstore.errors import ArtstoreError, Conflict, NotFound, Unreachable, UpgradeNeeded
from artstore.lifecycle.events import Listener
from artstore.storage.root import is_store
from artstore.storage.sessions import Exclusive
from artstore.store import Store
from artstore.sync.push import next_offer
from artstore.sync.remotes import upstream_of
from artstore.sync.reports import FollowReport, SyncReport

EVERY_S: Final = 60.0
LOCK: Final = "follow"

_QUIET_S: Final = 0.5
"""How long nothing is committed before what was committed goes: many small commits travel together."""
_LONGEST_S: Final = 5.0
"""The longest that a commit waits for that."""
_POLL_S: Final = 2.0
"""Between two looks at the log's folder, where the system does not tell of changes."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
_LAST_DOUBLING: Final = 12
_ENDING: Final = frozenset(
    {"no-upstream", "not-the-upstream", "remote-not-found", "bad-remotes", "store-not-found", "bad-name"}
)
"""What no waiting mends."""
_BUSY: Final = frozenset({"locked", "busy", "other-upstream", "slot-gap"})
"""Another process is at it."""
_chance: Final = random.SystemRandom()


class Follow:
    """A store that is kept up with its upstream: `run` it, and `stop` it from another thread or a signal handler."""

    def __init__(
        self,
        store: Store,
        move: Callable[[], SyncReport],
        *,
        remote: str | None = None,
        projects: Sequence[str] | None = None,
        every_s: float = EVERY_S,
        idle_s: float | None = None,
        tell: Callable[[FollowReport], None] | None = None,
    ) -> None:
        """`move` is a round of both ways, with this remote or the upstream, as `exchange` makes one.

        Others' changes are looked for every `every_s` or so. With `idle_s`, it ends when nothing was to be moved for so
        long and nothing waits for an upstream that is out of reach. `tell` is called with what moved, and with what
        keeps it from moving, each once.
        """
        self._root = store.root
        self._move = move
        self._remote = remote
        self._projects = projects
        self._every_s = every_s
        self._idle_s = idle_s
        self._tell = tell or (lambda _report: None)
        self._changed = threading.Condition()
        self._first: float | None = None
        """When the first change came that was not looked at, as time.monotonic has it."""
        self._last = 0.0
        self._stopped = threading.Event()
        self._is_moving = False
        self._failures = 0
        """How many rounds in a row did not reach it."""
        self._stops = 0
        """How many rounds in a row that did have left something where it was."""
        self._said: str | None = None
        """What keeps it from moving, as it was told."""
        self._is_away = False
        self._next = 0.0
        self._busy_at = time.monotonic()

    def stop(self) -> bool:
        """End, at once if it sleeps; True: it is moving something, which can be cut off without harm."""
        self._stopped.set()
        # Without the lock, which the thread that was interrupted may hold.
        threading.Thread(target=self._wake, daemon=True).start()
        return self._is_moving

    def run(self, *, lock: Exclusive | None = None, patience_s: float | None = None) -> None:
        """Keep up until `stop`, or until there was nothing to do for long enough.

        Another process that does the same is waited for, unless this one was given the `lock` of it; after `patience_s`
        this returns and leaves it to that one. Raises NotFound (no-upstream), Invalid, UpgradeNeeded: what no waiting
        mends.
        """
        until = None if patience_s is None else time.monotonic() + patience_s
        given = lock
        while not self._stopped.is_set() and (lock := given or self._lock(until)) is not None:
            given = None
            with lock:
                self._said = None
                self._keep_up()
            # Who committed just now may have seen that somebody was at it, and left it to this process.
            if self._is_blocked or not self._has_news():
                return
            until = time.monotonic()

    def hint(self) -> None:
        """Something may have been committed."""
        with self._changed:
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last
                self._changed.notify_all()

    @property
    def _is_blocked(self) -> bool:
        """Whether it waits for a person."""
        return self._stops > 0 and not self._is_away

    def _lock(self, until: float | None) -> Exclusive | None:
        while True:
            try:
                return Exclusive(self._root.path, LOCK)
            except Conflict:
                now = time.monotonic()
                if self._stopped.is_set() or (until is not None and now >= until):
                    return None
                if until is None and self._said is None:
                    self._said = "another process keeps this store up with its upstream, and is waited for"
                    self._tell(FollowReport(at=time.time(), notice=self._said))
                # Not in step with others who wait.
                self._stopped.wait(_chance.uniform(0.5, 1.0) * (2.0 if until is None else 0.1))

    def _keep_up(self) -> None:
        listener = Listener(self._root.path / "ops", None, self.hint)
        seen = self._stamps()
        try:
            self._busy_at = time.monotonic()
            self._round()
            while not self._stopped.is_set() and not self._is_idle():
                if time.monotonic() >= self._next or (self._is_due() and self._has_news()):
                    self._round()
                elif listener.refusal is None:
                    self._sleep(None)
                else:
                    self._sleep(_POLL_S)
                    before, seen = seen, self._stamps()
                    if seen != before:
                        self.hint()
        finally:
            listener.close()

    def _round(self) -> None:
        """Move what is to be moved, and decide when the next round is due at the latest."""
        with self._changed:
            self._first = None
        if not is_store(self._root.path):
            message = f"there is no store in {str(self._root.path)!r} any more"
            raise NotFound(message, code="store-not-found")
        self._root.reconsider()
        try:
            self._is_moving = True
            report = self._move()
        except ArtstoreError as error:
            if error.code in _ENDING or isinstance(error, UpgradeNeeded):
                raise
            self._failed(error)
            return
        finally:
            self._is_moving = False
        self._succeeded(report)

    def _failed(self, error: ArtstoreError) -> None:
        self._is_away = isinstance(error, Unreachable) or error.code in _BUSY
        if self._is_away:
            self._next = time.monotonic() + _pause_s(self._failures)
            self._failures += 1
        else:
            self._stay()
        if error.code not in _BUSY and error.message != self._said:
            self._said = error.message
            self._tell(FollowReport(at=time.time(), notice=error.message, code=error.code))

    def _succeeded(self, report: SyncReport) -> None:
        self._is_away = False
        stopped = "\n".join(f"{each.project}: {each.error}" for each in report.projects if each.error)
        if any(
            each.pulled.ops or each.pulled.versions or each.pushed.ops or each.pulled.blobs for each in report.projects
        ):
            self._busy_at = time.monotonic()
            self._tell(FollowReport(at=time.time(), moved=report))
        elif stopped and stopped != self._said:
            self._tell(FollowReport(at=time.time(), moved=report))
        elif self._said is not None and not stopped:
            self._tell(
                FollowReport(at=time.time(), notice=f"nothing is in the way any more: {report.remote} was reached")
            )
        self._said = stopped or None
        if stopped:
            self._stay()
        else:
            self._failures = self._stops = 0
            self._next = time.monotonic() + _chance.uniform(0.5, 1.5) * self._every_s

    def _stay(self) -> None:
        """Try again what was left where it was, but never look for others' changes later than else."""
        self._failures = 0
        self._next = time.monotonic() + min(_pause_s(self._stops), self._every_s)
        self._stops += 1

    def _is_due(self) -> bool:
        """Whether what was committed has waited long enough; it waits longer where nothing could be sent."""
        due = self._due_at()
        return due is not None and time.monotonic() >= due

    def _due_at(self) -> float | None:
        if self._first is None or self._is_away:
            return None
        return min(self._last + _QUIET_S, self._first + _LONGEST_S)

    def _has_news(self) -> bool:
        """Whether something is to be pushed; what this process itself has counted is no news."""
        with self._changed:
            is_hinted = self._first is not None
            self._first = None
        if is_hinted:
            self._busy_at = time.monotonic()
        try:
            upstream, settings = upstream_of(self._root.path)
            if self._remote not in {None, upstream}:
                return is_hinted
            names = self._projects or [project.name for project in self._root.catalog.projects()]
            return any(next_offer(self._root, name, settings.chosen(name)) is not None for name in names)
        except ArtstoreError as error:
            # The round that comes of it says so; only a mirror needs no upstream.
            return is_hinted if error.code == "no-upstream" else True

    def _is_idle(self) -> bool:
        end = self._ends_at()
        return end is not None and time.monotonic() >= end

    def _ends_at(self) -> float | None:
        if self._idle_s is None or self._is_away or self._first is not None:
            return None
        return self._busy_at + self._idle_s

    def _sleep(self, longest_s: float | None) -> None:
        with self._changed:
            if self._stopped.is_set():
                return
            now = time.monotonic()
            moments = [self._next, self._due_at(), self._ends_at(), None if longest_s is None else now + longest_s]
            until = min(moment for moment in moments if moment is not None)
            self._changed.wait(max(0.0, until - now))

    def _stamps(self) -> list[tuple[str, int]]:
        """What changes whenever something is committed."""
        with os.scandir(self._root.path / "ops") as entries:
            return sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _pause_s(before: int) -> float:
    """How long to wait after so many attempts before the last one."""
    return _chance.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(before, _LAST_DOUBLING)))
