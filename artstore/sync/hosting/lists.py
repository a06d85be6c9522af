"""Lists: the objects of manifests that others sent for their projects, until slots name them and after.

They count among the bytes that a project takes, named or not: whoever may write could fill the disk with them else.
What no slot has named after a day is let go of; whoever claims a slot with it then is told to send it again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from artstore.errors import Conflict, Corrupt, Invalid, MissingObject
from artstore.model.manifest import Encoding, satisfies
from artstore.model.parts import part_of
from artstore.storage.files import bytes_in
from artstore.sync.lengths import why_too_long
from artstore.sync.objects.failures import missing
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
        """Keep an object, durably; what has this name already stays, since slots may name it, unless it is damaged.

        Raises Invalid (bad-manifests, too-large), Conflict (name-taken) where other bytes have the name, StorageFull.
        """
        try:
            for encoding in decode_manifests(data, f"the object {name!r}"):
                _check_length(encoding)
        except Corrupt as error:
            raise Invalid(error.message, code="bad-manifests") from error
        path = f"manifests/{part_of(project)}/{name}"
        more = len(data)
        if not self._objects.claim(path, data):
            before = self._whole(path)
            if before == data:
                return
            if before is not None:
                message = f"an object {name!r} is there, with other bytes: send these under another name"
                raise Conflict(message, code="name-taken")
            more -= self._objects.size(path) or 0
            self._objects.write(path, [data], len(data))
        with self._lock:
            if project in self._sizes:
                self._sizes[project] += more

    def read(self, project: str, name: str) -> bytes:
        """The bytes of an object. Raises MissingObject."""
        return self._objects.read(f"manifests/{part_of(project)}/{name}")

    def open(self, project: str, name: str) -> tuple[int, Iterator[bytes]]:
        """The size of an object, and its bytes, which are read as they are asked for. Raises MissingObject."""
        path = f"manifests/{part_of(project)}/{name}"
        size = self._objects.size(path)
        if size is None:
            raise missing(self._objects.url, path)
        return size, self._objects.stream(path)

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

    def recount(self, project: str) -> None:
        """Be told that objects were made again: their sizes are looked up anew."""
        with self._lock:
            self._sizes.pop(project, None)

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

    def _whole(self, path: str) -> bytes | None:
        """The bytes of an object that can be read as one."""
        try:
            data = self._objects.read(path)
            for encoding in decode_manifests(data, path):
                if encoding.base is None and not satisfies(encoding):
                    return None
        except (MissingObject, Corrupt):
            return None
        return data

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


def _check_length(encoding: Encoding) -> None:
    """Raise Invalid (too-large) before more of a manifest is read than one may have."""
    if (why := why_too_long(encoding)) is not None:
        message = f"manifest {encoding.digest} is too large: this server takes {why}"
        raise Invalid(message, code="too-large")
