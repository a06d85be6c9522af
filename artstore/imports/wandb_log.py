"""The transaction log of a W&B run: `run-<id>.wandb`, read record by record.

A head of 7 bytes (`:W&B`, 0xBEE1, version 0), then LevelDB's log format (google/leveldb, doc/log_format.md): blocks of
32 KiB, in them fragments of a head of 7 bytes (checksum, length, type; little-endian) and data; a record is one whole
fragment, or a first, middle ones and a last. Unlike LevelDB's, the checksum is CRC-32 as zlib has it, over type and
data, and not masked; the first block's places count from the file's begin, W&B's head included. Read off wandb 0.31's
files, and the same as `wandb/sdk/internal/datastore.py` wrote up to 0.20.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artstore.errors import Corrupt

_HEAD: Final = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_FRAGMENT: Final = struct.Struct("<IHB")
_BLOCK: Final = 32 * 1024
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[bytes]:
    """The records of a log in their order, up to where it ends or is damaged.

    Raises Corrupt: not-a-wandb-log at once; log-damaged after all that is whole before it, also where the log ends
    within a record, as one does whose process was killed. OSError where it cannot be read.
    """
    with path.open("rb") as file:
        block = file.read(_BLOCK)
        if not block.startswith(_HEAD):
            message = f"{str(path)!r} is no transaction log of W&B"
            raise Corrupt(message, code="not-a-wandb-log")
        place, number = len(_HEAD), 0
        begun: list[bytes] | None = None
        while block:
            while len(block) - place >= _FRAGMENT.size:
                checksum, size, kind = _FRAGMENT.unpack_from(block, place)
                data = block[place + _FRAGMENT.size : place + _FRAGMENT.size + size]
                if kind == 0 and size == 0:
                    break  # Room that was made for more, and holds nothing.
                if len(data) < size or zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
                    _damaged(path, number * _BLOCK + place)
                if (begun is None) == (kind in (_MIDDLE, _LAST)) or kind > _LAST:
                    _damaged(path, number * _BLOCK + place)
                place += _FRAGMENT.size + size
                begun = [*(begun or []), data]
                if kind in (_FULL, _LAST):
                    yield b"".join(begun)
                    begun = None
            block, place, number = file.read(_BLOCK), 0, number + 1
        if begun is not None:
            _damaged(path, number * _BLOCK)


def _damaged(path: Path, place: int) -> None:
    message = f"{str(path)!r} is damaged or ends at byte {place}: what came after is not known"
    raise Corrupt(message, code="log-damaged")
