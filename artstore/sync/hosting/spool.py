"""Spool: what is on its way into a store that others send to, until all of a body has come.

It is in memory while it is short, else in a file without a name. So the memory that bodies take does not grow with how
many are on their way, nor with how slow they are.
"""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import Final, Self

from artstore.model.digest import Digest
from artstore.storage.blobs import SMALL
from artstore.storage.files import storage_errors
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.hosting.incoming import mismatch
from artstore.sync.http.wire import FRAME, cut, parse_header

PIECE: Final = 256 << 10
"""Bytes of a body that are kept in memory, and that are written at once."""


class Spool:
    """A body."""

    def __init__(self, root: Root) -> None:
        self._file = SpooledTemporaryFile(max_size=PIECE, buffering=PIECE, dir=str(root.path / "tmp"))  # noqa: SIM115 - ends with this

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self._file.tell()

    @property
    def is_long(self) -> bool:
        """Whether it is in a file."""
        return self.size > PIECE

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises StorageFull."""
        with storage_errors("receiving a body"):
            self._file.write(data)

    def read(self) -> bytes:
        """All that has come."""
        with storage_errors("receiving a body"):
            self._file.seek(0)
            return self._file.read()

    def take(self, root: Root, session: Session) -> list[tuple[Digest, int]]:
        """Store small blobs, of which the body is, durably; answers them with their sizes.

        Raises Invalid (bad-frames, digest-mismatch) before any of it counts, StorageFull.
        """
        taken: list[tuple[Digest, int]] = []
        with Intake(root, session) as intake, storage_errors("receiving small blobs"):
            self._file.seek(0)
            while head := self._file.read(FRAME.size):
                digest, size = parse_header(head)
                # Read to where it lies in a pack, and hashed there.
                if size > SMALL or self._file.readinto(intake.slot(size)) < size:
                    raise cut()
                if intake.take_slot(size, only=digest) != digest:
                    raise mismatch(digest)
                taken.append((digest, size))
            intake.settle()
        return taken
