"""Needs: what the accepted ops of a log keep of the objects of its depot.

What waits in a store, and what is forgotten there alone, does not count: others know nothing of it.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from artstore.model.digest import Digest
from artstore.model.fold import fold_into
from artstore.model.manifest import blob_of
from artstore.model.records import Sweep, decode_op
from artstore.model.state import MemoryState, UnfinishedPart, Version
from artstore.storage.journal import Journal
from artstore.storage.root import Root
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.received import take_manifests


class Wanted(NamedTuple):
    """What the log says as far as it is counted here."""

    manifests: set[str]
    """Of versions, and of parts that nobody has gathered."""
    swept: set[str]
    """Objects, as they are called in ops."""


def wanted(root: Root, project: str) -> Wanted:
    """The manifests that the accepted ops keep, and the objects that they have swept."""
    found = root.catalog.project(project)
    if found is None:
        return Wanted(set(), set())
    state = MemoryState()
    swept: set[str] = set()
    for position, op in enumerate((op for op in Journal(root.catalog, found).ops() if op.slot is not None), start=1):
        read = decode_op(op.body)
        if isinstance(read, Sweep):
            swept.update(read.objects)
        fold_into(state, op.id, read, position)
    manifests = {version.manifest for version in state.all(Version) if not version.deleted}
    return Wanted(manifests | {part.manifest for part in state.all(UnfinishedPart)}, swept)


def read_lists(root: Root, place: str, shelf: DepotShelf, digest: Digest) -> None:
    """Have a manifest here that is gone from here, since only this store has forgotten its versions.

    Raises MissingObject, Corrupt where it cannot be had from the depot either.
    """
    if root.manifests.find(digest) is None:
        took = [each for each in shelf.manifest(digest) if each.digest == digest]
        take_manifests(root, place, took, shelf.manifest)


def blobs_of(root: Root, manifests: AbstractSet[Digest]) -> dict[bytes, int]:
    """The blobs that some manifests name, which are here, with their sizes."""
    found: dict[bytes, int] = {}
    for digest in manifests:
        found.update(new_blobs_of(root, digest, manifests))
    return found


def new_blobs_of(root: Root, digest: Digest, among: AbstractSet[Digest]) -> dict[bytes, int]:
    """Those of one manifest, without those that it has from a base that is among others."""
    base = root.manifests.base_of(digest)
    if base is None or base in among:
        return root.manifests.blobs_in([digest])
    entries = root.manifests.entries(digest)
    return {bytes(blob.digest): blob.size for entry in entries if (blob := blob_of(entry)) is not None}
