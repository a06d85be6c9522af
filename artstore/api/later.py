"""Later: what stands at a path, and is read when the version is made, as it stood when that was asked for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from artstore.errors import Conflict

if TYPE_CHECKING:
    from artstore.lifecycle.standing import Standing


class Later:
    """A file or a folder that is still to be read, into the draft that it was looked at for."""

    def __init__(self, there: Standing) -> None:
        self._there = there
        self._is_read = threading.Event()
        self._pid = os.getpid()

    def read(self) -> None:
        """Read it. Raises Conflict (file-changed) where it is not what it was; the draft is to be given up then."""
        try:
            self._there.add()
        finally:
            self._is_read.set()

    def wait(self) -> None:
        """Return when it was read, or could not be. Raises Conflict (other-process) where another process reads it."""
        if self._pid != os.getpid() and not self._is_read.is_set():
            message = f"the files are being read by the process {self._pid}: look at them there"
            raise Conflict(message, code="other-process")
        self._is_read.wait()
