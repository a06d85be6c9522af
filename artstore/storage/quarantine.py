"""Quarantine: what is damaged is judged once more, and kept for ever."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final, Literal

from blake3 import blake3

from artstore.storage import rights
from artstore.storage.files import read_exactly, read_into_at, size_on_disk, storage_errors, sync_directory
from artstore.storage.places import NO_FILE, OPEN_FLAGS, Place

FOLDER: Final = "quarantine"
_STRETCH: Final = 4 << 20
"""Bytes that are read at once."""

Verdict = Literal["whole", "damaged"] | OSError
"""What is so of the bytes in a place, or why that cannot be said now."""


def judge(place: Place) -> Verdict:
    """Read one place again, all of it."""
    try:
        fd = os.open(place.path, OPEN_FLAGS)
        try:
            if place.is_whole and os.fstat(fd).st_size != place.size:
                return "damaged"
            hasher = blake3()
            buffer = memoryview(bytearray(min(place.size, _STRETCH)))
            for start in range(0, place.size, _STRETCH):
                got = read_into_at(fd, buffer[: place.size - start], place.offset + start)
                hasher.update(buffer[:got])
        finally:
            os.close(fd)
    except OSError as error:
        return "damaged" if error.errno in NO_FILE else error
    return "whole" if hasher.digest() == place.digest else "damaged"


def keep(root: Path, place: Place) -> None:
    """Move the file of a blob into the quarantine, or copy what a pack holds of it."""
    with storage_errors("putting damaged bytes aside"):
        target = root / FOLDER / f"{time.time_ns()}-{place.digest.hex()}"
        if place.is_whole:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.replace(place.path, target)
        else:
            _copy(place, target)
        sync_directory(target.parent)


def on_disk_bytes(root: Path) -> int:
    """What the quarantine of a store takes on the disk."""
    total = 0
    for path in (root / FOLDER).glob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += size_on_disk(os.lstat(path))
    return total


def _copy(place: Place, target: Path) -> None:
    try:
        fd = os.open(place.path, OPEN_FLAGS)
        try:
            data = read_exactly(fd, place.size, place.offset)
        finally:
            os.close(fd)
    except OSError:
        # It is gone, no file, or the disk gives nothing back: there is nothing to put aside.
        return
    with rights.create(target) as file:
        file.write(data)
