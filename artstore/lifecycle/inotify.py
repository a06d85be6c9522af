"""Inotify: hints that something changed in a whole tree, on Linux.

watchdog reads the events, and no more is taken of it. Its own observer keeps the path of each folder; where many are
moved and removed at once its thread ends in an error, after which nobody is told of anything, and what a limit of the
system forbids it leaves out without a word. To a hint it does not matter where it comes from. So a folder is known here
by its inode, wherever it is moved, and what comes into the tree is walked.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

_LIMITS: Final = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENOMEM})


class Tree:
    """Calls `hint` from a thread of its own after each event in a folder or below it, until it is closed.

    The store, if one is named, is left out: what a commit writes there is no change. `refuse` is called where the
    system has no more events to give, for folders that have come since.
    """

    def __init__(
        self, top: Path, store: Path | None, hint: Callable[[], None], refuse: Callable[[OSError], None]
    ) -> None:
        """Listen. Raises OSError where the system does not let it."""
        # Not loaded with the store: it takes 40 ms.
        from watchdog.observers.inotify_c import InotifyConstants as Kind  # noqa: PLC0415
        from watchdog.observers.inotify_c import InotifyFD  # noqa: PLC0415

        self._top = os.path.realpath(os.fsencode(top))
        self._store = None if store is None else os.path.realpath(os.fsencode(store))
        self._hint = hint
        self._refuse = refuse
        self._mask: Any = (
            Kind.IN_CREATE
            | Kind.IN_MODIFY
            | Kind.IN_CLOSE_WRITE
            | Kind.IN_MOVE
            | Kind.IN_DELETE
            | Kind.IN_DELETE_SELF
            | Kind.IN_MOVE_SELF
            | Kind.IN_ONLYDIR
            | Kind.IN_DONT_FOLLOW
        )
        self._arrived = Kind.IN_CREATE | Kind.IN_MOVED_TO
        self._is_folder = Kind.IN_ISDIR
        self._lock = threading.Lock()
        self._numbers = count()
        self._paths: dict[int, bytes] = {}
        """Where the folder of each watch was seen last."""
        self._inodes: dict[int, tuple[int, int]] = {}
        self._watches: dict[tuple[int, int], int] = {}
        """By device and inode."""
        self._events: Any = InotifyFD()
        self._events.start()
        try:
            self._add(self._top)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Listen no longer."""
        self._events.stop()
        self._events.join()

    def on_event(self, event: Any) -> None:
        """Take an event; watchdog calls this, as the two below."""
        self._hint()
        if event.mask & self._is_folder and event.mask & self._arrived:
            with self._lock:
                parent = self._paths.get(event.wd)
            self._follow(self._top if parent is None else os.path.join(parent, event.name))

    def on_watch_deleted(self, wd: int) -> None:
        """Forget a folder that is gone."""
        with self._lock:
            self._paths.pop(wd, None)
            inode = self._inodes.pop(wd, None)
            if inode is not None and self._watches.get(inode) == wd:
                del self._watches[inode]

    def on_queue_overflow(self) -> None:
        """Events were lost, perhaps those of new folders."""
        self._follow(self._top)

    def _follow(self, path: bytes) -> None:
        try:
            self._add(path)
        except OSError as error:
            self._refuse(error)
        # What changed before it was listened to is seen by whoever looks now.
        self._hint()

    def _add(self, path: bytes) -> None:
        """Listen to a folder and all below it. Raises OSError where a limit is reached, and for the top."""
        waiting = [path]
        while waiting:
            here = waiting.pop()
            if here == self._store:
                continue
            try:
                self._add_one(here)
                with os.scandir(here) as found:
                    waiting.extend(each.path for each in found if each.is_dir(follow_symlinks=False))
            except OSError as error:
                # Whoever scans says what cannot be read; and what is gone by now had its event.
                if error.errno in _LIMITS or (here == self._top and not self._paths):
                    raise

    def _add_one(self, path: bytes) -> None:
        status = os.stat(path, follow_symlinks=False)
        inode = status.st_dev, status.st_ino
        with self._lock:
            wd = self._watches.get(inode)
            if wd is None:
                # A number of its own each time, as watchdog asks: that of a folder which was replaced just now may
                # be there still.
                number: Any = next(self._numbers)
                wd = int(self._events.add_callback(path, self._mask, self, number))
                self._watches[inode] = wd
                self._inodes[wd] = inode
            self._paths[wd] = path
