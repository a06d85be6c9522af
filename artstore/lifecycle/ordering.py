"""Ordering: whose log says in which order a project's ops count, and so what is for good of what is here.

An upstream is noted before anything is known of its log, and that may last: nobody can reach it, or it has none yet.
What is here is then neither accepted by anybody nor this store's alone to say.
"""

from __future__ import annotations

import enum
import functools
import os
from pathlib import Path
from typing import Final

from artstore.storage.catalog import Project

REMOTES: Final = "remotes.toml"
"""File in a store's folder that notes its remotes, if it has any."""


class Ordering(enum.Enum):
    """Whose log it is."""

    OWN = "own"
    """This store's: what is here is accepted."""
    AWAITED = "awaited"
    """That of the upstream which the store names, and of which nothing is counted here yet: all that is here waits."""
    FOLLOWED = "followed"
    """That of an upstream, of which slots are counted here, or are to be: what it lacks waits."""


def ordering(store: Path, project: Project) -> Ordering:
    """How it is with a project of the store in a folder."""
    if project.upstream is not None:
        return Ordering.FOLLOWED
    return Ordering.AWAITED if names_upstream(store) else Ordering.OWN


def is_own(store: Path, project: Project) -> bool:
    """Whether this store's log is the order: nothing waits for anybody else's."""
    return ordering(store, project) is Ordering.OWN


def names_upstream(store: Path) -> bool:
    """Whether a store has an upstream noted. What cannot be read may say so: nothing is for good then."""
    path = store / REMOTES
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return _names_upstream(path, found.st_mtime_ns, found.st_ino, found.st_size)


@functools.lru_cache(maxsize=16)
def _names_upstream(path: Path, *_stamp: int) -> bool:
    # Each version that is shown asks. Loaded only here: most stores note none, and each start would take longer.
    import tomllib  # noqa: PLC0415

    try:
        remotes = tomllib.loads(path.read_text(encoding="utf-8")).get("remotes", {})
        return any(each.get("upstream", False) for each in remotes.values())
    except (OSError, ValueError, AttributeError):
        return True
