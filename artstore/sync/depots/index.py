"""Index: where in a pack each blob lies, as an object of its own beside the pack.

Layout: 16 bytes of magic; for each blob its digest (32 bytes), size (4), offset (8) and XXH3-64 (8), big-endian; the
BLAKE3 of all that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from blake3 import blake3

from artstore.model.digest import SIZE, Digest
from artstore.storage.blobs import SMALL
from artstore.storage.packs import Member
from artstore.sync.protocol import corrupt

_MAGIC: Final = b"artstore-index1\n"
_ROW: Final = struct.Struct(">32sIQQ")


def encode_index(members: Iterable[Member]) -> bytes:
    """The bytes of the index of a pack that has these members."""
    rows = b"".join(_ROW.pack(m.digest, m.size, m.offset, m.checksum) for m in members)
    body = _MAGIC + rows
    return body + blake3(body).digest()


def size_of_index(members: int) -> int:
    """The bytes that the index of a pack of so many has."""
    return len(_MAGIC) + members * _ROW.size + SIZE


def decode_index(data: bytes, where: str) -> list[Member]:
    """The members of a pack. Raises Corrupt (remote-corrupt), which says where it lies."""
    body, digest = data[:-SIZE], data[-SIZE:]
    rows = body[len(_MAGIC) :]
    if not body.startswith(_MAGIC) or len(rows) % _ROW.size or blake3(body).digest() != digest:
        raise corrupt(f"the index {where} is damaged")
    members = [Member(Digest(name), *rest) for name, *rest in _ROW.iter_unpack(rows)]
    if any(member.size > SMALL for member in members):
        raise corrupt(f"the index {where} names a blob that is too large for a pack")
    return members
