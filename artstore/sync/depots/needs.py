"""Needs: what the accepted ops of a log keep of the objects of its depot, or of a mirror, and what waits there.

What waits in a store alone, and what is forgotten there alone, does not count: others know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from artstore.model.digest import Digest
from artstore.model.fold import fold_into
from artstore.model.manifest import blob_of
from artstore.model.records import Delete, DeleteCollection, Sweep, brings, decode_op, manifest_of
from artstore.model.state import MemoryState, UnfinishedPart, Version
from artstore.storage.journal import Journal
from artstore.storage.root import Root
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.held import ends_in_doubt
from artstore.sync.received import take_manifests


class Wanted(NamedTuple):
    """What the log says as far as it is counted here."""

    manifests: set[str]
    """Of versions, and of parts that nobody has gathered."""
    swept: set[str]
    """Objects, as they are called in ops."""
    newest_us: int
    """The newest time that an op says."""


def wanted(root: Root, project: str) -> Wanted:
    """What the accepted ops of a project keep, and what they have swept."""
    found = root.catalog.project(project)
    ops = () if found is None else Journal(root.catalog, found).ops()
    return wanted_by(op.body for op in ops if op.slot is not None)


def wanted_by(bodies: Iterable[bytes]) -> Wanted:
    """As `wanted`, of these ops."""
    state = MemoryState()
    swept: set[str] = set()
    newest_us = 0
    # An op counts once, at its first place.
    for position, body in enumerate(dict.fromkeys(bodies), start=1):
        op = decode_op(body)
        newest_us = max(newest_us, op.at_us)
        if isinstance(op, Sweep):
            swept.update(op.objects)
        fold_into(state, str(Digest.of(body)), op, position)
    manifests = {version.manifest for version in state.all(Version) if not version.deleted}
    return Wanted(manifests | {part.manifest for part in state.all(UnfinishedPart)}, swept, newest_us)


def needed_by(bodies: Iterable[bytes], log: Iterable[bytes]) -> set[str]:
    """Manifests that ops need which wait, if these come behind those of a log.

    What goes again with them travels without. What has no place there needs its own until somebody has decided.
    """
    ops = {str(Digest.of(body)): decode_op(body) for body in bodies}
    ends = {op.version for op in ops.values() if isinstance(op, Delete)}
    ends.update(id_ for op in ops.values() if isinstance(op, DeleteCollection) for id_ in op.versions)
    ends -= ends_in_doubt(ops.values(), {made for id_, op in ops.items() if (made := brings(id_, op)) is not None})
    if ends:
        state = MemoryState()
        there = {str(Digest.of(body)): decode_op(body) for body in log}
        for position, (id_, op) in enumerate((there | ops).items(), start=1):
            fold_into(state, id_, op, position)
        ends &= {version.id for version in state.all(Version) if version.deleted}
    return {named for id_, op in ops.items() if (named := manifest_of(op)) is not None and brings(id_, op) not in ends}


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
