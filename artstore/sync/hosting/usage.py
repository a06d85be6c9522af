"""Usage: how many bytes each project takes of a store that keeps logs for others.

A server counts so against quotas and for Prometheus, and another process beside it for `artstore status`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from artstore.lifecycle.upstream import HOSTED
from artstore.model.digest import Digest
from artstore.model.parts import part_of
from artstore.storage.granted import FILE_NAME, Granted
from artstore.store import Store
from artstore.sync.hosting.incoming import Uploads
from artstore.sync.hosting.lists import Lists
from artstore.sync.hosting.own import OwnLogs
from artstore.sync.objects.folder import FolderObjects


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a project takes, in bytes."""

    project: str
    bytes: int
    """All of the following."""
    blob_bytes: int
    """Of the blobs that its versions need, or that were sent for it, as long as they are files."""
    list_bytes: int
    """Of its lists of files, which stay for ever once a slot names them."""
    log_bytes: int
    """Of the slots of its log, which stay for ever."""
    coming_bytes: int
    """Of large blobs of which only a part has come."""


class Usage:
    """What all projects take."""

    def __init__(self, granted: Granted, lists: Lists, uploads: Uploads, logs: OwnLogs) -> None:
        self._granted = granted
        self._lists = lists
        self._uploads = uploads
        self._logs = logs

    def projects(self) -> list[str]:
        """Those that take something."""
        folders = ("log/", "manifests/", "uploads/")
        found = (project for folder in folders for project in self._logs.projects_below(folder))
        return sorted({*self._granted.projects(), *found})

    def of(self, project: str, *, but: Iterable[Digest] = ()) -> Taken:
        """What a project takes, but for what has come of some large blobs."""
        blobs, lists, log = self._granted.size(project), self._lists.size(project), self._logs.size(project)
        coming = self._uploads.size(part_of(project), but=but)
        return Taken(
            project=project,
            bytes=blobs + lists + log + coming,
            blob_bytes=blobs,
            list_bytes=lists,
            log_bytes=log,
            coming_bytes=coming,
        )


def served(store: Store) -> list[Taken]:
    """What each project takes of a store that is, or was, a server; nothing is where it never was one."""
    folder = store.path / HOSTED
    if not (folder / FILE_NAME).exists():
        return []
    with contextlib.closing(Granted(folder, read_only=True)) as granted:
        objects = FolderObjects(folder)
        lists = Lists(objects, folder)
        usage = Usage(granted, lists, Uploads(folder / "uploads"), OwnLogs(objects, folder, granted, lists))
        return [usage.of(project) for project in usage.projects()]
