"""Lists: the objects of manifests that others sent for their projects, until slots name them and after.

They count among the bytes that a project takes, named or not: whoever may write could fill the disk with them else.
What no slot has named after a day is let go of; whoever claims a slot with it then is told to send it again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Container, Iterable
from pathlib import Path

from artstore.errors import Corrupt, Invalid
from artstore.model.parts import part_of
from artstore.storage.files import bytes_in
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.objects.interface import STALE_S
from artstore.sync.protocol import decode_manifests


class Lists:
    """The objects of manifests of all projects."""

    def __init__(self, objects: FolderObjects, folder: Path) -> None:
        self._objects = objects
        self._folder = folder / "manifests"
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}

    def put(self, project: str, name: str, data: bytes) -> None:
        """Keep an object, durably. Raises Invalid (bad-manifests), StorageFull."""
        try:
            decode_manifests(data, f"the object {name!r}")
        except Corrupt as error:
            raise Invalid(error.message, code="bad-manifests") from error
        path = f"manifests/{part_of(project)}/{name}"
        before = self._objects.size(path)
        self._objects.write(path, [data], len(data))
        with self._lock:
            if project in self._sizes:
                self._sizes[project] += len(data) - (before or 0)

    def read(self, project: str, name: str) -> bytes:
        """The bytes of an object. Raises MissingObject."""
        return self._objects.read(f"manifests/{part_of(project)}/{name}")

    def size(self, project: str) -> int:
        """The bytes of all objects of a project."""
        with self._lock:
            if project not in self._sizes:
                self._sizes[project] = bytes_in(self._folder / part_of(project))
            return self._sizes[project]

    def note(self, project: str, names: Iterable[str]) -> None:
        """Be told of objects that this store itself has put there."""
        size = sum(self._objects.size(f"manifests/{part_of(project)}/{name}") or 0 for name in names)
        with self._lock:
            if project in self._sizes:
                self._sizes[project] += size

    def tidy(self, project: str, named: Container[str]) -> None:
        """Remove what is a day old and not among those that slots name."""
        size = 0
        for path, its, age in self._all(project):
            if age > STALE_S and path.name not in named:
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                size += its
        with self._lock:
            self._sizes[project] = size

    def _all(self, project: str) -> list[tuple[Path, int, float]]:
        """Every object, with its bytes and the seconds since it was written."""
        found: list[tuple[Path, int, float]] = []
        now = time.time()
        with contextlib.suppress(FileNotFoundError):
            for path in (self._folder / part_of(project)).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((path, status.st_size, now - status.st_mtime))
        return found
