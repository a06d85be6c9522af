"""Mounts: what kind of file system holds a path."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Final

_NETWORK: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "afs",
        "9p",
        "glusterfs",
        "fuse.sshfs",
    },
)


def file_system(path: Path) -> str:
    """The type of the file system that holds a path, as the system calls it; `unknown` where it does not say."""
    if not sys.platform.startswith("linux"):
        return "unknown"
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    by_mount: list[tuple[int, str]] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, tail = line.partition(" - ")
            parts = fields.split()
            if parts[2] == wanted:
                return tail.split()[0]
            # btrfs gives each subvolume a device number of its own, which no mount shows.
            # Blanks and the like are escaped in octal; all other bytes are those of the name.
            mount = os.fsdecode(os.fsencode(parts[4]).decode("unicode_escape").encode("latin-1"))
            if f"{path.resolve()}/".startswith(mount.rstrip("/") + "/"):
                by_mount.append((len(mount), tail.split()[0]))
    return max(by_mount, default=(0, "unknown"))[1]


def is_network(path: Path) -> bool:
    """Whether other machines may write to the same files, so that locks and memory are not shared with them."""
    return file_system(path) in _NETWORK


def has_small_blocks(path: Path) -> bool:
    """Whether a memory page takes several blocks of the file system, as on ext4 below 512 MB.

    WAL's shared memory is set aside a byte for each page; what else of a page lacks a block kills the process (SIGBUS)
    when the disk is full.
    """
    return hasattr(os, "statvfs") and os.statvfs(path).f_bsize < mmap.PAGESIZE
