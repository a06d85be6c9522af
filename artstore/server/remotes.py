"""Remotes: what the page shows of the places that a store replicates to.

Nothing is asked of the network: it is what the last attempts came to, and what waits here.
"""

from __future__ import annotations

import msgspec

from artstore.lifecycle.reports import ConflictInfo, FollowInfo, MovedNumber
from artstore.server.asked import Asked
from artstore.store import Store
from artstore.sync.reports import RemoteStanding
from artstore.sync.standing import standings


class RemotesLook(msgspec.Struct, frozen=True, kw_only=True):
    """The remotes, how far each project follows the upstream, and what waits for a person to decide."""

    remotes: list[RemoteStanding]
    projects: list[FollowInfo]
    conflicts: list[ConflictInfo]
    moved: list[MovedNumber]
    """Versions that had another number on this machine, until that is accepted."""


def remotes(store: Store, asked: Asked) -> RemotesLook:
    """The places that the store replicates to."""
    del asked
    return RemotesLook(
        remotes=standings(store),
        projects=store.following(),
        conflicts=store.conflicts(),
        moved=store.moved_numbers(),
    )
