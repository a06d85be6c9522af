"""Absent: a log that was set back names objects that are gone, since the slots that said so are gone too.

It is said again, so that nobody relies on them, and so that the log can be followed from its beginning.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from artstore.errors import Conflict
from artstore.lifecycle.commit import nonce, now_us
from artstore.lifecycle.upstream import Followed
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.records import Sweep, encode_op
from artstore.storage.root import Root
from artstore.sync.claim import NOTHING, claim
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.protocol import read_slot
from artstore.sync.way import Way

_FAR: Final = 1 << 40
_TRIES: Final = 100


def sweep_absent(way: Way, remote: Depot, log: str) -> None:
    """Say in the log that what it names and is not there is swept. Nothing is counted here yet.

    Raises Conflict (busy), Unreachable, Denied.
    """
    shelf = remote.shelf(way.root, way.project, log)
    shelf.begin_again()
    for _ in range(_TRIES):
        shelf.follow(remote, _FAR)
        last = read_slot(remote, way.project, shelf.known.slot) if shelf.known.slot else None
        if last is None:
            return
        gone = shelf.gone()
        if not gone:
            return
        shelf.forget(gone)
        op = Sweep(at_us=now_us(), nonce=nonce(), objects=sorted(gone), kept=[], manifests=without_blobs(way, shelf))
        if claim(way, Followed(log, last.slot.number, last.digest), [[encode_op(op)]], NOTHING) is not None:
            return
    message = f"{_TRIES} times in a row others wrote to {way.place} first: repeat later"
    raise Conflict(message, code="busy")


def without_blobs(way: Way, shelf: DepotShelf, *, sent: Collection[Digest] = ()) -> list[str]:
    """The manifests there of which some blobs are neither there nor just `sent`, or of which that is not known here."""
    held = {digest for digests in shelf.known.manifests.values() for digest in digests}
    return sorted(digest for digest in held if not _is_whole(way.root, shelf, Digest.parse(digest), sent))


def _is_whole(root: Root, shelf: DepotShelf, digest: Digest, sent: Collection[Digest]) -> bool:
    if root.manifests.find(digest) is None:
        return False
    blobs = [blob.digest for entry in root.manifests.entries(digest) if (blob := blob_of(entry)) is not None]
    return set(sent).issuperset(shelf.lacks_blobs(blobs))
