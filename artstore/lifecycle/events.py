"""Events: hints from the system that something below a folder changed.

They may come late, twice, or not at all; who listens looks for itself. What reads alone is no change. Where the system
has no events, or none left to give, the reason is answered, and the folder has to be looked at now and then.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from artstore.lifecycle.inotify import Tree
from artstore.storage.mounts import file_system, is_network

_HAS_INOTIFY: Final = sys.platform == "linux"
_LIMITS: Final = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}
_RAISED: Final = {errno.ENOSPC: 1_048_576, errno.EMFILE: 1_024}


class Listener:
    """Calls `hint` from a thread of its own after each event below a folder, until it is closed.

    What happens in the store that is named is no event.
    """

    def __init__(self, folder: Path, store: Path | None, hint: Callable[[], None]) -> None:
        self.refusal: str | None = None
        """Why there are no events, or no longer all of them, if that is so."""
        self._hint = hint
        self._source: Tree | _Observed | None = None
        if is_network(folder):
            kind = file_system(folder)
            self.refusal = f"it lies on a network file system ({kind}), which does not tell what other machines change"
            return
        try:
            if _HAS_INOTIFY:
                self._source = Tree(folder, store, hint, self._refuse)
            else:
                self._source = _Observed(folder, store, hint)
        except OSError as error:
            self.refusal = _reason(error)

    def close(self) -> None:
        """Listen no longer."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _refuse(self, error: OSError) -> None:
        self.refusal = _reason(error)
        self._hint()


class _Observed:
    """Events as watchdog's own observer has them."""

    def __init__(self, folder: Path, store: Path | None, hint: Callable[[], None]) -> None:
        # Not loaded with the store: it takes 40 ms.
        import watchdog.events as kinds  # noqa: PLC0415
        from watchdog.observers import Observer  # noqa: PLC0415

        self._store = None if store is None else os.path.realpath(store)
        self._hint = hint
        changes = [
            kinds.FileCreatedEvent,
            kinds.FileModifiedEvent,
            kinds.FileClosedEvent,
            kinds.FileMovedEvent,
            kinds.FileDeletedEvent,
            kinds.DirCreatedEvent,
            kinds.DirMovedEvent,
            kinds.DirDeletedEvent,
        ]
        self._observer = Observer()
        handler: Any = self
        self._observer.schedule(handler, os.path.realpath(folder), recursive=True, event_filter=changes)
        self._observer.start()

    def close(self) -> None:
        """Listen no longer."""
        self._observer.stop()
        self._observer.join()

    def dispatch(self, event: Any) -> None:
        """Take an event; watchdog calls this."""
        if not all(self._is_in_store(path) for path in (event.src_path, event.dest_path) if path):
            self._hint()

    def _is_in_store(self, path: str | bytes) -> bool:
        # A store may lie in the folder that it keeps: what is written there by a commit is no change.
        return self._store is not None and f"{os.fsdecode(path)}{os.sep}".startswith(self._store + os.sep)


def _reason(error: OSError) -> str:
    limit = _LIMITS.get(error.errno or 0)
    if limit is None:
        return f"the system gives no events for it ({error.strerror or error})"
    return (
        f"the system has no events left to give: {limit} is reached; raise it with "
        f"`sysctl {limit}={_RAISED[error.errno or 0]}`"
    )
