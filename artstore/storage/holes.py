"""Holes: stretches of a file that read as zeros and lie nowhere on the disk.

To read them costs more than to hash them: the system finds memory for each page of zeros, 2 s for a GiB. They are
believed in only on file systems that are known to say where they are: OpenZFS took what was not on the disk yet for a
hole, and copies of such files lost it (openzfs/zfs#15526).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from artstore.storage.files import size_on_disk
from artstore.storage.mounts import file_system

_TRUSTED: Final = frozenset({"btrfs", "ext4", "tmpfs", "xfs"})


class Holes:
    """Where an open file has them. What is asked of it should ascend."""

    def __init__(self, fd: int) -> None:
        status = os.fstat(fd)
        takes_less = size_on_disk(status) < status.st_size
        self._fd = fd
        self._size = status.st_size
        self._is_known = takes_less and hasattr(os, "SEEK_DATA") and _is_trusted(fd)
        self._from = self._to = 0
        """A stretch that is one."""
        # A file that the file system compresses takes less too.
        self.may_exist = takes_less and not (self._is_known and self._is_full())
        """Whether it is worth while to ask; False for a file of which every byte lies on the disk."""

    def cover(self, start: int, end: int) -> bool:
        """Whether all bytes from one place to another are within the file, and in a hole. Moves the file's position."""
        if not self._is_known or end > self._size:
            return False
        if not self._from <= start < self._to:
            self._from, self._to = start, self._next_data(start)
        return end <= self._to

    def _is_full(self) -> bool:
        at = os.lseek(self._fd, 0, os.SEEK_CUR)
        try:
            return os.lseek(self._fd, 0, os.SEEK_HOLE) >= self._size
        except OSError:
            return False
        finally:
            os.lseek(self._fd, at, os.SEEK_SET)

    def _next_data(self, start: int) -> int:
        try:
            return os.lseek(self._fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                # From here to the end there is nothing.
                return self._size
            # Not here, then: it is read.
            return start


def _is_trusted(fd: int) -> bool:
    try:
        return file_system(Path(f"/proc/self/fd/{fd}")) in _TRUSTED
    except OSError:
        return False
