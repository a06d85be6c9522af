"""Pins: what a client has sent, or was told is there, is not freed before it had time to name it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Final

from artstore.storage.root import Root
from artstore.storage.sessions import Session

TURN_S: Final = 3600.0
"""What somebody relies on stays for this long at least, and for twice that at most."""


class Pins:
    """Sessions that follow each other, so that `gc` can free what is older than the last two."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._sessions: list[tuple[float, int, Session]] = []
        """When each began, and in which epoch at the latest."""
        # Those of the process before this one have kept what they relied on until now.
        self._ended: list[tuple[int, int]] = [(0, root.catalog.epoch())]
        """Of sessions that ended, the epoch in which each began, and the one in which it ended; in this order."""

    def session(self) -> Session:
        """The session that keeps what is relied on from now on."""
        now = time.monotonic()
        with self._lock:
            if not self._sessions or now - self._sessions[-1][0] > TURN_S:
                epoch = self._root.catalog.epoch()
                self._sessions.append((now, epoch, self._root.session("serve")))
            self._end_before(now - 2 * TURN_S)
            return self._sessions[-1][2]

    def freed_before(self) -> int:
        """The epoch so that what nobody needed any more before it has been freed by a `gc`, whatever relied on it here.

        A `gc` keeps what it condemns in an epoch while a session of that one lives, or of one before.
        """
        with self._lock:
            now = self._root.catalog.epoch()
            kept = [began for began, ended in self._ended if ended >= now]
            return min([now, *kept, *(began for _at, began, _session in self._sessions[:1])])

    def rest(self, after_s: float = 2 * TURN_S) -> None:
        """Let go of what nobody has relied on for so long; called from time to time."""
        with self._lock:
            self._end_before(time.monotonic() - after_s)

    def close(self) -> None:
        """Let go of everything."""
        with self._lock, contextlib.ExitStack() as ending:
            for *_, session in self._sessions:
                ending.callback(session.end)
            self._sessions = []

    def _end_before(self, moment: float) -> None:
        while self._sessions and self._sessions[0][0] < moment:
            _at, began, session = self._sessions.pop(0)
            session.end()
            now = self._root.catalog.epoch()
            self._ended = [*(each for each in self._ended if each[1] >= now), (began, now)]
