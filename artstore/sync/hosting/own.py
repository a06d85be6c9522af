"""Own: a store's own logs, as it follows them itself. Blobs have not to be moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.granted import Granted
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.depot import Depot, part_of
from artstore.sync.hosting.closure import blobs_of
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.protocol import Sent, Tell
from artstore.sync.shelf import DepotShelf


class OwnLogs(Depot):
    """The logs in the folder `hosted/`. See Remote."""

    def __init__(self, objects: FolderObjects, granted: Granted) -> None:
        super().__init__(objects)
        self._granted = granted

    def claimed(self, project: str, number: int) -> None:
        """See Remote. A server gives many slots in one answer."""

    def shelf(self, root: Root, project: str, log: str) -> DepotShelf:
        """See Remote."""
        return _OwnShelf(self._objects, root.path, project, part_of(project), log, granted=self._granted)


class _OwnShelf(DepotShelf):
    """The objects of a log of the store's own."""

    def __init__(self, *args: object, granted: Granted) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._granted = granted

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
        return super().send(root, session, manifests, blobs, tell)
