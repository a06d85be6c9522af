"""Recover: what a mirror has lost, or has not as it should be, is put there again by a store that has it."""

from __future__ import annotations

from collections.abc import Sequence

from artstore.errors import ArtstoreError
from artstore.lifecycle.progress import telling
from artstore.model.digest import Digest
from artstore.sync.depots.lost import find_damaged, find_damaged_among
from artstore.sync.mirrors.pages import Pending
from artstore.sync.mirrors.to_mirror import push_to_mirror
from artstore.sync.mirrors.way import MirrorWay
from artstore.sync.reports import Moved


def recover_mirror(
    there: MirrorWay, *, read_all: bool, doubted: Sequence[Digest]
) -> tuple[Moved, ArtstoreError | None]:
    """Push, and send again what is damaged of blobs and lists of files that are `doubted`, or with `read_all` of all.

    What is damaged stays where it is, and a later object is read in its place. Answers and raises as `push_to_mirror`.
    """
    root, shelf, own = there.way.root, there.shelf.beside(), there.way.root.format.store_id
    for store, _count, pending in there.mirror.said.pending(there.way.project):
        if store == own and isinstance(pending, Pending):
            shelf.put(pending)
    if read_all:
        blobs = [*map(Digest, shelf.members()), *(Digest(bytes.fromhex(digits)) for digits in shelf.known.blobs)]
        tell = telling(there.way.progress, "check")
        there.mirror.damaged = find_damaged(root, shelf, blobs, shelf.known.manifests, tell)
    else:
        there.mirror.damaged = find_damaged_among(root, shelf, doubted)
    there.shelf.name_no_more(there.mirror.damaged.blobs.values())
    return push_to_mirror(there)
