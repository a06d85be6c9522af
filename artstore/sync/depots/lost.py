"""Lost: what the log of a depot names and is not there as it should be, found out by one listing of each folder.

A listing says what is gone or has another length. Whether all bytes are right only reading them says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from artstore.errors import Corrupt, MissingObject
from artstore.lifecycle.sound import is_sound
from artstore.model.digest import Digest
from artstore.storage.root import Root
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.protocol import Tell


class Damaged(NamedTuple):
    """What was found out by reading all."""

    blobs: dict[Digest, str]
    """With the file in which each lies; in another it may be whole."""
    lists: set[str]
    """Names of objects of manifests."""


NOT_READ: Final = Damaged({}, set())


class Lost(NamedTuple):
    """What is not there as it should be."""

    blobs: list[Digest]
    lists: list[str]
    """Names of objects of manifests."""


def find_damaged(
    root: Root, shelf: DepotShelf, blobs: Iterable[Digest], lists: Iterable[str], tell: Tell | None
) -> Damaged:
    """Read all of these blobs, and these objects with lists of files. Raises Unreachable, Denied."""
    bad = shelf.damaged(blobs, tell)
    files = {each.digest: each.name for each in shelf.find(bad)[0]}
    held = {digest for digests in shelf.known.manifests.values() for digest in digests}

    def is_whole(name: str) -> bool:
        try:
            encodings = shelf.stored_manifests(name)
        except (MissingObject, Corrupt):
            return False
        return [str(each.digest) for each in encodings] == shelf.known.manifests[name] and all(
            is_sound(root, each, held) for each in encodings
        )

    # Not in threads: the catalog is asked for each.
    return Damaged(files, {name for name in lists if not is_whole(name)})


def find_damaged_among(root: Root, shelf: DepotShelf, digests: Sequence[Digest]) -> Damaged:
    """Read only what somebody has named, blobs or lists of files, as far as it lies there. Raises as `find_damaged`."""
    lists = {name for digest in digests if (name := shelf.holder(digest)) is not None}
    return find_damaged(root, shelf, digests, lists, None)


def find_lost(shelf: DepotShelf, sizes: Mapping[str, int], blobs: Mapping[Digest, int], damaged: Damaged) -> Lost:
    """What of these blobs, and of all lists of files, is lost, as a listing of the depot and `damaged` say."""
    lying, absent = shelf.find(blobs)
    lost = list(absent)
    for each in lying:
        there = sizes.get(each.name)
        if each.size is None:
            is_whole = there == blobs[each.digest]
        else:
            is_whole = there is not None and there >= each.offset + each.size
        if not is_whole or damaged.blobs.get(each.digest) == each.name:
            lost.append(each.digest)
    lists = [
        name
        for name in shelf.known.manifests
        if not sizes.get(shelf.called(f"manifests/{name}")) or name in damaged.lists
    ]
    return Lost(lost, lists)
