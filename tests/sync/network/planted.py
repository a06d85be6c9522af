"""Planted bugs of a server: what its kills have to bring to light."""

from __future__ import annotations

import threading
from typing import Final

from artstore.sync.hosting.own import OwnLogs

_LATE_S: Final = 0.3


def a_claim_is_answered_before_it_is_kept() -> None:
    right = OwnLogs.claim

    def claim(self: OwnLogs, project: str, number: int, data: bytes) -> bool:
        threading.Timer(_LATE_S, right, (self, project, number, data)).start()
        return True

    OwnLogs.claim = claim  # type: ignore[method-assign]  # for good: it is a process of its own
