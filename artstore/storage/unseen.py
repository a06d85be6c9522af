"""Unseen changes: whether a file can change without its dates telling.

Linux dates a file that is written through a shared mapping (mmap, np.memmap) when a page of it is first written, and
not again before that page was written back: half a minute later on a disk, and never in memory. So the dates of a file
are to be trusted if they are older than that, or if nobody can write to it now without opening it first. That is what a
read lease tells: the kernel gives none while a file is open, or mapped, for writing. It is given back at once.
Source: fcntl(2), "Leases"; Documentation/admin-guide/sysctl/vm.rst, dirty_expire_centisecs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import cache
from pathlib import Path
from typing import Final

if sys.platform == "linux":
    import fcntl

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"})
_USUAL_NS: Final = 35_000_000_000
"""After how long Linux writes back, where it does not say: what expires after 30 s is found within 5."""
_SLACK: Final = 2
"""How many times as long it may take."""


def can_change_unseen(fd: int, status: os.stat_result) -> bool:
    """Whether somebody may write to an open file without its dates changing. To be asked before it is read."""
    age_ns = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
    return not (age_ns > _written_back_ns() and _goes_to_a_disk(status.st_dev)) and not _has_no_writer(fd)


def _has_no_writer(fd: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        # Who opens it within these microseconds waits, and the signal for that is one that nobody dies of.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        # There is one; or it is another user's file, or a file system without leases.
        return False
    return True


@cache
def _written_back_ns() -> float:
    """How old a change is that is certainly on the disk."""
    try:
        expire, interval = (
            int(Path(f"/proc/sys/vm/dirty_{name}_centisecs").read_bytes()) for name in ("expire", "writeback")
        )
    except (OSError, ValueError):
        return _SLACK * _USUAL_NS
    # With an interval of 0 nothing is written back before memory is short.
    return _SLACK * (expire + interval) * 1e7 if interval else float("inf")


@cache
def _goes_to_a_disk(device: int) -> bool:
    """Whether what is written to files of a device is written back; False also where it is not known."""
    if sys.platform != "linux":
        return True
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # … device … - type …
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == number}
    return bool(kinds) and not kinds & _IN_MEMORY
