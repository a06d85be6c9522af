"""Sealed: what is kept as a help only, with a digest of its own, so that damage is told from what was written.

Layout: the BLAKE3 of what follows; Zstandard of MessagePack.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
import zstandard
from blake3 import blake3

from artstore.model.digest import SIZE

T = TypeVar("T")

MOST_BYTES: Final = 32 << 20
"""Of what is put into one; of more it would not be worth it to spare the questions."""


def seal(value: object) -> bytes:
    """The bytes of it."""
    body = zstandard.compress(msgspec.msgpack.encode(value))
    return blake3(body).digest() + body


def unseal(data: bytes, kind: type[T]) -> T | None:
    """What was sealed; None where that is damaged, of another kind, or more than anybody would have put into one."""
    digest, body = data[:SIZE], data[SIZE:]
    if blake3(body).digest() != digest:
        return None
    try:
        if zstandard.get_frame_parameters(body).content_size > 2 * MOST_BYTES:
            return None
        return msgspec.msgpack.decode(zstandard.decompress(body), type=kind)
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, MemoryError):
        return None
