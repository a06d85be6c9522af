"""Quotas: how many bytes each project takes of a store that keeps its log, and may take."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final

from artstore.errors import Conflict, StorageFull
from artstore.model.names import project_name
from artstore.storage.granted import Granted
from artstore.storage.root import Root
from artstore.sync.depot import part_of
from artstore.sync.hosting.closure import needed_blobs
from artstore.sync.hosting.incoming import Uploads
from artstore.sync.hosting.lists import Lists

_LOOK_S: Final = 60.0
"""How long what a project may give back is not looked for again, unless `gc` has begun meanwhile."""


class Quotas:
    """The quotas of all projects. Any number of threads may ask."""

    def __init__(
        self,
        root: Root,
        limits: Mapping[str, int],
        granted: Granted,
        lists: Lists,
        uploads: Uploads,
        *,
        alone: Callable[[str], AbstractContextManager[object]],
    ) -> None:
        """`limits` has the bytes that projects may take, by name, and under "" that of each other one.

        While `alone` is entered nobody names anything in that project. It may raise Conflict.
        """
        self._root = root
        self._limits = limits
        self._granted = granted
        self._lists = lists
        self._uploads = uploads
        self._alone = alone
        self._lock = threading.Lock()
        self._reserved: dict[str, int] = {}
        self._looked: dict[str, tuple[int, float]] = {}
        """The epoch of `gc`, and when, at which it was looked what a project can give back."""

    def sizes(self) -> dict[str, int]:
        """The bytes that each project takes: of its blobs, of its lists of files, and of what is on its way."""
        return {project.name: self._size(project.name) for project in self._root.catalog.projects()}

    def room(self, project: str) -> int | None:
        """How many bytes more a project may take; None: as many as there are."""
        quota = self._limit(project)
        if quota is None:
            return None
        self._give_back(project)
        with self._lock:
            return max(0, quota - self._size(project) - self._reserved.get(project, 0))

    @contextlib.contextmanager
    def reserved(self, project: str, size: int) -> Iterator[None]:
        """Keep so many bytes of a project's quota for what comes. Raises StorageFull (quota-exceeded)."""
        taken = self._reserve(project_name(project), size)
        if taken is not None and self._give_back(project):
            taken = self._reserve(project, size)
        if taken is not None:
            message = (
                f"project {project!r} may have {self._limit(project)} bytes and has {taken}: {size} more do not fit. "
                "Delete versions everywhere, which gives back what `artstore gc` frees on the server, or ask whoever "
                "keeps it for more"
            )
            raise StorageFull(message, code="quota-exceeded")
        try:
            yield
        finally:
            with self._lock:
                self._reserved[project] -= size
                if not self._reserved[project]:
                    del self._reserved[project]

    def take_back(self, project: str) -> None:
        """Let a quota be free of what a project's versions do not need any more and `gc` has freed.

        Call it where nobody names anything in that project meanwhile. It is not looked again at once.
        """
        if self._is_news(project):
            self._take_back(project)

    def _limit(self, project: str) -> int | None:
        return self._limits.get(project, self._limits.get(""))

    def _reserve(self, project: str, size: int) -> int | None:
        """Reserve if it fits; answers how much is taken where it does not."""
        quota = self._limit(project)
        with self._lock:
            reserved = self._reserved.get(project, 0)
            if quota is not None and (taken := self._size(project) + reserved) + size > quota:
                return taken
            self._reserved[project] = reserved + size
            return None

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

    def _take_back(self, project: str) -> None:
        needed = needed_blobs(self._root, project)
        for some in self._granted.all_of(project):
            free = [digest for digest in some if digest not in needed]
            here, others = self._root.blobs.locate(free), self._granted.among_others(project, free)
            # What another project has too stays for that one's sake, and counts there.
            self._granted.remove(project, [each for each in free if each not in here or each in others])

    def _size(self, project: str) -> int:
        return self._granted.size(project) + self._lists.size(project) + self._uploads.sizes(part_of(project))
