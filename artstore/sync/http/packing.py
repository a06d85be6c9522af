"""Packing: small blobs of a store as frames, read from where they lie together, each verified."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Final

from blake3 import blake3
from xxhash import xxh3_64_digest

from artstore.errors import Corrupt
from artstore.storage.files import read_exactly
from artstore.storage.places import Place
from artstore.storage.root import Root
from artstore.sync.http.wire import ABSENT, header

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def pack(root: Root, places: Sequence[Place]) -> bytes:
    """Frames of blobs, in the order given; of one that is damaged, that it is not here."""
    parts: list[bytes] = []
    with contextlib.ExitStack() as ending:
        files: dict[str, int] = {}
        for place in places:
            data = b""
            with contextlib.suppress(OSError):
                if place.path not in files:
                    files[place.path] = os.open(place.path, _FLAGS)
                    ending.callback(os.close, files[place.path])
                data = read_exactly(files[place.path], place.size, place.offset)
            # Whoever gets it hashes it: here its checksum will do, which takes a tenth of the time.
            if xxh3_64_digest(data) != place.sums and blake3(data).digest() != place.digest:
                # It was repacked meanwhile, or has another place, or is damaged: then it is said which.
                try:
                    data = root.blobs.read(place.digest)
                except Corrupt:
                    parts.append(header(place.digest, ABSENT))
                    continue
            parts += (header(place.digest, len(data)), data)
    return b"".join(parts)
