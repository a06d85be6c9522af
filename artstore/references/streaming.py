"""Streaming: what comes in fsspec's event loop, taken from here a block at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Final

from fsspec.asyn import get_loop, sync

BLOCK: Final = 1 << 20

Read = Callable[[int], Awaitable[bytes]]
"""Gives some bytes of a body, as many as are there; none at its end."""


def blocks_of(read: Read) -> Generator[bytes, None, None]:
    """All bytes of a body. Raises what its library does."""
    while block := sync(get_loop(), _block, read):
        yield block


async def _block(read: Read) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < BLOCK and (part := await read(BLOCK - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
