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
        self._sessions: list[tuple[float, Session]] = []

    def session(self) -> Session:
        """The session that keeps what is relied on from now on."""
        now = time.monotonic()
        with self._lock:
            if not self._sessions or now - self._sessions[-1][0] > TURN_S:
                self._sessions.append((now, self._root.session("serve")))
            self._end_before(now - 2 * TURN_S)
            return self._sessions[-1][1]

    def rest(self, after_s: float = 2 * TURN_S) -> None:
        """Let go of what nobody has relied on for so long; called from time to time."""
        with self._lock:
            self._end_before(time.monotonic() - after_s)

    def close(self) -> None:
        """Let go of everything."""
        with self._lock, contextlib.ExitStack() as ending:
            for _began, session in self._sessions:
                ending.callback(session.end)
            self._sessions = []

    def _end_before(self, moment: float) -> None:
        while self._sessions and self._sessions[0][0] < moment:
            self._sessions.pop(0)[1].end()
