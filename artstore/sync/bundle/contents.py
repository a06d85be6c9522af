"""Contents: which blobs a bundle holds, and where in it each lies."""

from __future__ import annotations

import re
from typing import Final

from artstore.model.digest import Digest
from artstore.sync.bundle.archive import BundleReader
from artstore.sync.depots.index import decode_index
from artstore.sync.download import Wanted

_BLOB: Final = re.compile(r"blobs/\d+/([0-9a-f]{64})\.[0-9a-f]{16}\Z")
_INDEX: Final = ".idx"
_MOST_INDEX: Final = 256 << 20
"""Bytes of the index of a pack, where its blobs are very small."""


def blobs_in(reader: BundleReader, number: int) -> dict[Digest, Wanted]:
    """The blobs that were put in for the project with this number. Raises Corrupt (bundle-damaged, remote-corrupt)."""
    found: dict[Digest, Wanted] = {}
    for name in reader.names(f"packs/{number}/"):
        if name.endswith(_INDEX):
            pack = f"{name.removesuffix(_INDEX)}.tar"
            for member in decode_index(reader.read_whole(name, _MOST_INDEX), f"{name} of {reader.url!r}"):
                found[member.digest] = Wanted(pack, member.offset, member.size, member.digest)
    for name in reader.names(f"blobs/{number}/"):
        matched = _BLOB.match(name)
        if matched is None:
            raise reader.damaged(f"{name!r} in it is no name of a blob")
        digest = Digest(bytes.fromhex(matched[1]))
        found[digest] = Wanted(name, 0, None, digest)
    return found
