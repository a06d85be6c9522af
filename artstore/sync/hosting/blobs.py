"""Blobs: what projects have brought of them to a store that keeps their logs, and what they may ask of it.

Nobody learns through one project what another one has.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence

from artstore.errors import Corrupt, MissingObject
from artstore.model.digest import Digest
from artstore.model.names import project_name
from artstore.model.parts import part_of
from artstore.storage.blob_reader import BlobReader
from artstore.storage.blobs import SMALL
from artstore.storage.granted import Granted
from artstore.storage.places import Place
from artstore.storage.root import Root
from artstore.sync.delta.chunks import SMALLEST, Range, can_cut, chunks_of
from artstore.sync.hosting.incoming import PatchWriter, Upload, Uploads, Writer
from artstore.sync.hosting.pins import Pins
from artstore.sync.hosting.quotas import Quotas
from artstore.sync.hosting.spool import Spool
from artstore.sync.http.packing import pack
from artstore.sync.http.stretches import Measured, Stretch, measure
from artstore.sync.http.wire import ABSENT, BODY, LARGE, Stand, header


class HostedBlobs:
    """The blobs of all projects. What is said to be there, or was sent, stays for an hour at least."""

    def __init__(self, root: Root, granted: Granted, uploads: Uploads, pins: Pins, quotas: Quotas) -> None:
        self._root = root
        self._granted = granted
        self._uploads = uploads
        self._pins = pins
        self._quotas = quotas

    def lacks(self, project: str, digests: Sequence[Digest]) -> list[Digest]:
        """Those that are not there for a project."""
        self._pins.session()
        may, here = self._granted.among(project, digests), self._root.blobs.known(digests)
        return [digest for digest in digests if digest not in may or digest not in here]

    def measured(self, project: str, stretches: Sequence[Stretch]) -> list[Measured | None]:
        """What stretches of blobs are here, for a project; these stay for an hour at least. Raises as `measure`."""
        self._pins.session()
        may = self._granted.among(project, [Digest(each.digest) for each in stretches])
        found = iter(measure(self._root, [each for each in stretches if each.digest in may]))
        return [next(found) if each.digest in may else None for each in stretches]

    def take_packed(self, project: str, body: Spool) -> int:
        """Store small blobs, durably. Raises as Spool.take."""
        with self._quotas.reserved(project, body.size):
            taken = body.take(self._root, self._pins.session())
            self._granted.add(project, taken, sent=time.time())
        return len(taken)

    def packed(self, project: str, digests: Sequence[Digest]) -> bytes:
        """Frames of blobs, in their order, of as many as go together."""
        may = self._granted.among(project, digests)
        places = self._root.blobs.locate([digest for digest in digests if digest in may])
        parts: list[bytes] = []
        together: list[Place] = []
        size = 0
        for digest in digests:
            place = places.get(digest)
            if place is not None and place.size <= SMALL:
                together.append(place)
                size += place.size
            else:
                parts += (pack(self._root, together), header(digest, ABSENT if place is None else LARGE))
                together = []
            if size >= BODY:
                break
        return b"".join([*parts, pack(self._root, together)])

    def open(self, project: str, digest: Digest) -> BlobReader:
        """A blob that a project may read. Raises MissingObject."""
        if not self._granted.among(project, [digest]):
            message = f"project {project!r} has no blob {digest}"
            raise MissingObject(message, code="object-missing")
        return self._root.blobs.open(digest)

    @staticmethod
    def begun(digest: Digest, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """What is read of a blob, with the first block read already. Raises MissingObject where that is damaged."""
        with _as_missing(digest):
            first = next(blocks, b"")
        return itertools.chain([first], blocks)

    def stand(self, project: str, digest: Digest) -> Stand:
        """How much has come of a large blob."""
        if not self.lacks(project_name(project), [digest]):
            return Stand(offset=0, checksum="", done=True)
        return self.upload(project, digest).stand()

    def upload(self, project: str, digest: Digest) -> Upload:
        """A large blob that is being received."""
        return self._uploads.of(part_of(project_name(project)), digest)

    def begin(self, project: str, digest: Digest, start: int, size: int, base: Digest | None) -> Writer | PatchWriter:
        """Go on with a large blob of so many bytes; perhaps by a patch of another one.

        Raises Conflict as Upload.begin; MissingObject where the project has no such base.
        """
        if base is None:
            return self.upload(project, digest).begin(start, size)
        reader = self.open(project, base)
        try:
            return PatchWriter(self.upload(project, digest).begin(start, size), reader, size - start)
        except BaseException:
            reader.close()
            raise

    def chunks(self, project: str, digest: Digest, mean: int, ranges: Sequence[Range]) -> tuple[int, list[bytes]]:
        """The size of a large blob, and the chunks of some of its stretches. Raises MissingObject."""
        with self.open(project, digest) as reader, _as_missing(digest):
            if reader.size < SMALLEST or not can_cut():
                message = f"blob {digest} is not cut into chunks here: ask for all of it"
                raise MissingObject(message, code="object-missing")
            return reader.size, chunks_of(reader, mean, ranges)

    def finish(self, project: str, digest: Digest, size: int) -> bool:
        """Store a large blob if all of it has come; False if not. Raises Invalid (digest-mismatch), StorageFull."""
        has_ended = self.upload(project, digest).finish(self._root, self._pins.session(), size)
        if has_ended:
            self._granted.add(project, [(digest, size)], sent=time.time())
        return has_ended


@contextlib.contextmanager
def _as_missing(digest: Digest) -> Iterator[None]:
    """What is damaged cannot be built upon, and is no failure of who asks."""
    try:
        yield
    except Corrupt as error:
        message = f"blob {digest} cannot be read here: {error.message}"
        raise MissingObject(message, code="object-missing") from error
