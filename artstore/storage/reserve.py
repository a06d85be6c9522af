"""The reserve: space that is kept for making space.

On a full disk nothing could be deleted any more: a deletion is an op in the log, SQLite cannot even open its file
without 32 KiB of shared memory, and a session needs an inode. So a store keeps some files that say nothing, gives them
up by halves where freeing space (or opening) fails for want of it, and makes them again when `gc` has found room.

Chose several files over one, since inodes run out too; look again when a file system cannot set space aside.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artstore.errors import StorageFull
from artstore.storage import rights
from artstore.storage.files import storage_error

FOLDER: Final = "reserve"
SIZE: Final = 8 << 20
FILES: Final = 16
FOR_GC: Final = 2
"""Files that only `gc` may use up: a deletion frees nothing by itself."""
_SHARE: Final = 8
"""The reserve is at most one part in so many of the space, and of the inodes, that are free."""
_TIGHT_BYTES: Final = 1 << 18
_TIGHT_INODES: Final = 8


def fill(root: Path) -> None:
    """Set the space aside, if it is not and there is room. Never fails: it is only a precaution."""
    folder = root / FOLDER
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        size = min(SIZE, shutil.disk_usage(root).free // _SHARE) // FILES
        if not size:
            return
        for path in (folder / str(number) for number in range(int(min(FILES, _free_inodes(root) // _SHARE)))):
            if path.exists() and path.stat().st_size >= size // 2:
                continue
            with rights.create(path) as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.write(bytes(size))


def release(root: Path, *, keep: int = 0) -> bool:
    """Give up half of what is there, but for so many files; False if there was no more."""
    released = False
    with contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(root / FOLDER))
        for name in names[: min((len(names) + 1) // 2, max(len(names) - keep, 0))]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(root / FOLDER / name)
                released = True
    return released


def is_tight(path: Path) -> bool:
    """Whether a file system has so little left that what fails there fails for that."""
    return shutil.disk_usage(path).free < _TIGHT_BYTES or _free_inodes(path) < _TIGHT_INODES


@contextlib.contextmanager
def full_errors(path: Path, doing: str) -> Iterator[None]:
    """Say StorageFull where it is this file system that has no space left, in a block that may write elsewhere too."""
    try:
        yield
    except OSError as error:
        full = storage_error(error, doing)
        if isinstance(full, StorageFull) and is_tight(path):
            raise full from error
        raise


def _free_inodes(path: Path) -> float:
    if not hasattr(os, "statvfs"):
        return math.inf
    status = os.statvfs(path)
    # Where none are counted (btrfs) there are as many as one likes.
    return status.f_favail if status.f_files else math.inf
