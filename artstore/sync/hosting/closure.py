"""Closure: a slot that is seen is whole. One that would leave a hole is not taken, and the claimer is told which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from artstore.errors import Corrupt, Invalid
from artstore.lifecycle.served import live_manifests
from artstore.lifecycle.upstream import foreseen
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Encoding, blob_of, decode_difference, decode_full
from artstore.model.records import AnyOp, Commit, Part, Relog, brings, decode_op, manifest_of
from artstore.storage.catalog import ProjectView
from artstore.storage.granted import Granted
from artstore.storage.journal import Waiting
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.sync.depots.known import collecting
from artstore.sync.held import need_of
from artstore.sync.protocol import Slot, decode_slot


class Holes(NamedTuple):
    """What would be missing."""

    manifests: list[Digest]
    blobs: list[Digest]
    named: list[Digest]
    """All blobs of the manifests that come, missing or not."""


def read_claim(project: str, number: int, data: bytes) -> Slot:
    """Read what is to be claimed. Raises Invalid (bad-slot), UpgradeNeeded."""
    try:
        slot = decode_slot(data, project, number, "its sender").slot
    except Corrupt as error:
        raise Invalid(error.message, code="bad-slot") from error
    if slot.packs or slot.blobs:
        message = f"slot {number} names objects of a depot, which a server has not"
        raise Invalid(message, code="bad-slot")
    if any(collecting(slot)):
        message = f"slot {number} is about the objects of a depot, which a server collects by itself"
        raise Invalid(message, code="bad-slot")
    return slot


def holes(root: Root, granted: Granted, slot: Slot, encodings: Sequence[Encoding]) -> Holes:
    """What versions of a slot need that neither comes with it nor is there for its project.

    Raises Invalid (bad-slot) where a manifest that comes with it cannot be, such as one that gives a blob another size
    than it has, or has not as many entries as a version says: others rely on what the store knows.
    """
    there = live_manifests(root, slot.project)
    coming = {encoding.digest: encoding.entries for encoding in encodings}
    manifests = [digest for digest in _needed(root, slot, coming) if digest not in coming and digest not in there]
    manifests += [e.base for e in encodings if e.base is not None and e.base not in coming and e.base not in there]
    sizes: dict[Digest, int] = {}
    for blob in _blobs(encodings):
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            raise _other_size(blob)
    wanted = list(sizes)
    may = granted.among(slot.project, wanted)
    here = root.blobs.known_sizes([digest for digest in wanted if digest in may])
    for digest, size in here.items():
        if size != sizes[Digest(digest)]:
            raise _other_size(BlobEntry("", Digest(digest), sizes[Digest(digest)]))
    return Holes(list(dict.fromkeys(manifests)), [digest for digest in wanted if digest not in here], wanted)


def needed_blobs(root: Root, project: str) -> dict[bytes, int]:
    """The blobs that versions of a project need, with their sizes."""
    found = root.catalog.project(project)
    return {} if found is None else Marking(root.catalog).needed_by(found.id)


def blobs_of(encodings: Iterable[Encoding]) -> Iterator[BlobEntry]:
    """The blobs that encodings name; of a difference, those that came."""
    for encoding in encodings:
        entries = decode_full(encoding) if encoding.base is None else decode_difference(encoding).come
        for entry in entries:
            blob = blob_of(entry)
            if blob is not None:
                yield blob


def _blobs(encodings: Sequence[Encoding]) -> Iterator[BlobEntry]:
    for encoding in encodings:
        try:
            for count, blob in enumerate(blobs_of([encoding])):
                if count >= encoding.entries:
                    message = f"manifest {encoding.digest} has more entries than it says"
                    raise Invalid(message, code="bad-slot")
                yield blob
        except Corrupt as error:
            message = f"manifest {encoding.digest} is not one: {error.message}"
            raise Invalid(message, code="bad-slot") from error


def _needed(root: Root, slot: Slot, coming: Mapping[Digest, int]) -> list[Digest]:
    """The manifests of what would be there if the slot's ops came behind what is here."""
    ops = []
    for number, raw in enumerate(slot.ops):
        body = bytes(raw)
        id_, op = str(Digest.of(body)), decode_op(body)
        _check_entries(op, coming)
        ops.append(Waiting(id_, body, void=None, version=brings(id_, op), seq=number))
    with foreseen(root, slot.project, (op.body for op in ops)) as there:
        view = ProjectView(root.catalog, there.id)
        needs = [need_of(view, op) for op in ops]
    # What is equal to a version that is there makes none.
    return [need.manifest for need in needs if need.manifest is not None and not need.is_equal]


def _check_entries(op: AnyOp, coming: Mapping[Digest, int]) -> None:
    named = manifest_of(op)
    if named is None:
        return
    says = op.record.entries if isinstance(op, Commit | Relog) else op.entries if isinstance(op, Part) else 0
    has = coming.get(Digest.parse(named), says)
    if says != has:
        message = f"a version says that it has {says} files, and its manifest {named} has {has}"
        raise Invalid(message, code="bad-slot")


def _other_size(blob: BlobEntry) -> Invalid:
    message = f"a manifest says that blob {blob.digest} has {blob.size} bytes, which it has not"
    return Invalid(message, code="bad-slot")
