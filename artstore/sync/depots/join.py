"""Join: what versions need of many small packs in a depot is put together in larger ones.

Whoever pushes a small version a day leaves a pack a day, and whoever reads them all asks for each. The new packs lie
there before a slot names them, and that slot condemns those that they are for: these are swept as anything else is, and
until then both have the bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from artstore.lifecycle.collect import MANY_SMALL_PACKS, SMALL_PACK
from artstore.model.digest import Digest
from artstore.storage import packs
from artstore.storage.files import random_hex, storage_errors
from artstore.storage.gather import PACK_SIZE
from artstore.storage.packs import Member, PackWriter
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.download import Sieve
from artstore.sync.protocol import Tell

MANY: Final = MANY_SMALL_PACKS


class Joined(NamedTuple):
    """What was put together."""

    new: list[str]
    """Names of the packs that have it now, which no slot names yet."""
    old: list[str]
    """Packs all of whose needed blobs these have."""


def small_packs(shelf: DepotShelf, needed: Mapping[str, Collection[Digest]]) -> list[str]:
    """The packs that are worth joining, of those of which some blobs are needed; none, if they are few."""
    sizes = dict.fromkeys(needed, 0)
    for packed in shelf.members().values():
        if packed.pack in sizes:
            sizes[packed.pack] += packed.size + packs.BLOCK
    small = sorted(name for name, size in sizes.items() if size < SMALL_PACK)
    return small if len(small) >= MANY else []


def join(
    shelf: DepotShelf, root: Root, session: Session, needed: Mapping[str, Collection[Digest]], tell: Tell | None
) -> Joined:
    """Put the needed blobs of some packs together in new ones. A pack of which one cannot be read stays as it is.

    Raises Unreachable, Denied, StorageFull.
    """
    new: list[str] = []
    old: list[str] = []
    for group in _groups(shelf, needed):
        blobs = [digest for name in group for digest in needed[name]]
        sink = _Gathered(session.scratch() / f"join-{random_hex(4)}{packs.SUFFIX}")
        try:
            bad = shelf.take(sink, blobs, tell).all
            sink.finish()
        finally:
            sink.close()
        new += shelf.send_pack(root, session, sink.path, sink.members)
        old += [name for name in group if not set(needed[name]).intersection(bad)]
    return Joined(new, old)


def _groups(shelf: DepotShelf, needed: Mapping[str, Collection[Digest]]) -> Iterator[list[str]]:
    members = shelf.members()
    group: list[str] = []
    size = 0
    for name, blobs in needed.items():
        group.append(name)
        size += sum(members[digest].size + packs.BLOCK for digest in blobs)
        if size >= PACK_SIZE:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Gathered(Sieve):
    """A pack that small blobs come into. See Sink."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors("putting packs together"):
            self._pack = PackWriter(path)

    @property
    def members(self) -> list[Member]:
        """What is in it."""
        return self._pack.members

    def take(self, data: bytes | memoryview, *, only: Digest | None) -> Digest:
        digest = Digest.of(data)
        if digest == only:
            with storage_errors("putting packs together"):
                self._pack.add(digest, bytes(data), xxh3_64_intdigest(data))
        return digest

    def finish(self) -> None:
        """All of it is there."""
        with storage_errors("putting packs together"):
            self._pack.finish()

    def close(self) -> None:
        """Let the file go."""
        self._pack.close()
