"""Own: a store's own logs, as it follows them itself. Blobs have not to be moved."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from artstore.errors import Corrupt
from artstore.lifecycle.upstream import Followed
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.model.parts import part_of
from artstore.storage.files import bytes_in, storage_errors, sync_directory
from artstore.storage.granted import Granted
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.hosting.closure import blobs_of
from artstore.sync.hosting.lists import Lists
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.protocol import Sent, Slot, Tell, corrupt, decode_slot

WHERE: Final = "this server"


class OwnLogs(Depot):
    """The logs in the folder `hosted/`. See Remote."""

    def __init__(self, objects: FolderObjects, folder: Path, granted: Granted, lists: Lists) -> None:
        super().__init__(objects)
        self._folder = folder / "log"
        self._granted = granted
        self._lists = lists
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}

    @property
    def url(self) -> str:
        """See Remote. Its clients know by what address they have reached it, and nothing of its folders."""
        return WHERE

    def check_end(self, project: str, number: int) -> None:
        """Raise Corrupt (slot-lost) where this slot is not there, and others behind it are."""
        self._check_end(project, number)

    def size(self, project: str) -> int:
        """The bytes of all slots of a project."""
        with self._lock:
            if project not in self._sizes:
                self._sizes[project] = bytes_in(self._folder / part_of(project))
            return self._sizes[project]

    def claim(self, project: str, number: int, data: bytes) -> bool:
        """See Remote."""
        is_claimed = super().claim(project, number, data)
        with self._lock:
            if is_claimed and project in self._sizes:
                self._sizes[project] += len(data)
        return is_claimed

    def settle(self, project: str) -> None:
        """Have all slots of a project that can be seen survive a power cut, whoever died while he claimed one."""
        for folder in (self._folder / part_of(project), self._folder, self._folder.parent):
            if folder.exists():
                with storage_errors("reading a log"):
                    sync_directory(folder)

    def put_back(self, project: str, number: int, data: bytes) -> None:
        """See Depot."""
        super().put_back(project, number, data)
        with self._lock:
            # What was there may have been a part of it.
            self._sizes.pop(project, None)

    def whole_slot(self, project: str, number: int, before: str | None, last: Followed) -> tuple[bytes, Slot, str]:
        """A slot that was counted, checked to follow one with the digest `before`, if that is said; and its digest.

        Raises Corrupt (slot-lost, remote-corrupt).
        """
        data = self.lone_slot(project, number)
        if data is None:
            message = (
                f"slot {number} of project {project!r} at {WHERE} is lost: nothing was moved. Run `artstore repair` in "
                "its store, or `artstore remote recover` in a store that had followed the log until there: it puts it "
                "back"
            )
            raise Corrupt(message, code="slot-lost")
        slot, digest = decode_slot(data, project, number, WHERE)
        if (before is not None and slot.before != before) or (number == last.slot and digest != last.head):
            raise corrupt(f"slot {number} of project {project!r} at {WHERE} is not as it was taken")
        return data, slot, digest

    def claimed(self, project: str, number: int) -> None:
        """See Remote. A server gives many slots in one answer."""

    def shelf(self, root: Root, project: str, log: str) -> DepotShelf:
        """See Remote."""
        return _OwnShelf(self._objects, root.path, project, part_of(project), log, own=(self._granted, self._lists))


class _OwnShelf(DepotShelf):
    """The objects of a log of the store's own."""

    def __init__(self, *args: object, own: tuple[Granted, Lists]) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._granted, self._lists = own

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:  # noqa: ARG002 - they are where they have to be
        """See Shelf."""
        return []

    def send(
        self,
        root: Root,
        session: Session,
        manifests: Sequence[Encoding],
        blobs: Sequence[Digest],
        tell: Tell | None = None,
    ) -> Sent:
        """See Shelf."""
        named = [(blob.digest, blob.size) for blob in blobs_of(manifests)]
        root.blobs.check_stored([digest for digest, _ in named])
        self._granted.add(self._project, named)
        sent = super().send(root, session, manifests, blobs, tell)
        self._lists.note(self._project, sent.manifests)
        return sent
