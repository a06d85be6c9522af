"""Rights: who else may write into a store.

Whoever can write there can put a catalog or a log of their own in place of ours, and what they say would be taken for
what was committed here. So a store's folders let nobody but their owner write, whatever the umask is, and a store that
others may write is not opened.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_HAS_RIGHTS: Final = hasattr(os, "geteuid")
"""Windows shows no such bits."""


def is_open(folder: Path) -> bool:
    """Whether others than its owner may write into a folder."""
    return _HAS_RIGHTS and bool(os.stat(folder).st_mode & _OTHERS)


def close(folder: Path) -> bool:
    """Let only its owner write into a folder; False where the file system knows no such rights."""
    if is_open(folder):
        os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) & ~_OTHERS)
    return not is_open(folder)


def create(path: Path) -> BinaryIO:
    """A file to be written from its beginning on, by its owner alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o644), "wb")


def mode_below(parent: Path) -> int:
    """The rights of a new folder, before the umask: others may write into it only if they may into its parent."""
    return 0o777 & ~(_OTHERS & ~os.stat(parent).st_mode)


def owner_is_another(path: Path, *, on_behalf_of: str | None) -> bool:
    """Whether a path belongs to another user than this process's, or, for root, than who asked root (`sudo`)."""
    if not _HAS_RIGHTS:
        return False
    owner = os.stat(path).st_uid
    return owner != os.geteuid() and not (os.geteuid() == 0 and str(owner) == on_behalf_of)
