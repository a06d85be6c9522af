"""Parts: what several stores make together goes to their upstream, and is gathered from there.

A part is an op as others are: it goes with a push, its bytes before it, and comes with a pull, without them. Who
finishes has pulled first, so all that was sent by then is in; the commit names what it gathers, and counts only where
all of that is still there. So of two who finish at once one makes the version.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from artstore.errors import (
    ArtstoreError,
    Conflict,
    Corrupt,
    Invalid,
    NotFound,
    Refused,
    Unreachable,
    UpgradeNeeded,
)
from artstore.lifecycle.ordering import names_upstream
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.upstream import waiting
from artstore.model.fold import GATHERED
from artstore.model.records import Commit, Relog, decode_op
from artstore.storage.catalog import ProjectView
from artstore.store import Store
from artstore.sync.rounds import Verb, exchange

PATIENCE_S: Final = 600.0
"""How long others may be at it in this store, or be faster at the upstream, before what is to be sent waits."""
_PAUSE_S: Final = 2.0
_BUSY: Final = "busy"
_KINDS: Final = {kind.exit_code: kind for kind in (NotFound, Invalid, Conflict, Corrupt, Refused, UpgradeNeeded)}


class Finished(NamedTuple):
    """A version that was made of parts."""

    version: VersionInfo
    waits: str | None
    """Why the upstream has it not yet, if it has not."""


def send(store: Store, project: str, *, part: str | None = None, patience_s: float = PATIENCE_S) -> str | None:
    """Push what waits of a project, parts among it; answers why that, or this part, waits still, if it does.

    That is no error: it is safe here, and goes with the next push. Without an upstream nothing waits.
    """
    try:
        if not names_upstream(store.path):
            return None
        _move(store, "push", project, patience_s)
    except ArtstoreError as error:
        return error.message
    found = store.root.catalog.project(project)
    if part is None or found is None or ProjectView(store.root.catalog, found.id).is_accepted(part):
        return None
    return "the upstream was noted for other collections alone, with `artstore remote add --only`"


def finish(
    store: Store,
    project: str,
    make: Callable[[], VersionInfo],
    *,
    expect: int | None = None,
    patience_s: float = PATIENCE_S,
) -> Finished:
    """Pull, let `make` gather the parts into a version, and push that; without an upstream only make it.

    Where somebody else finished with the same parts meanwhile, and theirs has the same content and all these aliases,
    it is their version.

    Raises Unreachable (parts-unknown) where the upstream cannot be asked which parts there are: only with `expect` are
    those that are here known to be all. Raises Conflict (parts-gathered) where theirs is another version: nothing was
    made then; what `make` raises, and as `pull`.
    """
    if not names_upstream(store.path):
        return Finished(make(), None)
    try:
        _move(store, "pull", project, patience_s)
    except Unreachable as error:
        if expect is None:
            message = (
                f"which parts others have sent cannot be known, so nothing was made: {error.message}. Repeat later, or "
                "say with `expect` how many parts there are, and those that are here are enough if they are as many"
            )
            raise Unreachable(message, code="parts-unknown") from error
    made = make()
    waits = send(store, project, patience_s=patience_s)
    late = _came_late(store, project, made.digest)
    if late is None:
        return Finished(store.version(made.exact), waits)
    store.drop_mine(late)
    return Finished(_theirs(store, made), None)


def _move(store: Store, verb: Verb, project: str, patience_s: float) -> None:
    """Push or pull one project; many may want to at once, so that others are faster is no reason to give up."""
    until = time.monotonic() + patience_s
    while True:
        left_s = max(0.0, until - time.monotonic())
        # What comes too late is given up at once: its bytes may be more than this machine has room for.
        (done,) = exchange(store, verb, projects=[project], unplaced=False, patience_s=left_s).projects
        if done.error is None:
            return
        if done.code != _BUSY or not left_s:
            assert done.code is not None
            raise _KINDS.get(done.exit_code, Conflict)(done.error, code=done.code)
        time.sleep(random.uniform(0, min(_PAUSE_S, left_s)))  # noqa: S311 - only to keep apart


def _came_late(store: Store, project: str, digest: str) -> str | None:
    """The op of a version of this content that has no place in the order, since its parts are in another one."""
    for op in waiting(store.root, project):
        if op.void == GATHERED:
            read = decode_op(op.body)
            assert isinstance(read, Commit | Relog)
            if read.record.manifest == digest:
                return op.id
    return None


def _theirs(store: Store, mine: VersionInfo) -> VersionInfo:
    """The version that somebody else made of the same parts. Raises Conflict (parts-gathered) where it is another."""
    name = f"{mine.project}/{mine.collection}"
    for version in store.versions(name):
        if version.digest == mine.digest and set(mine.aliases) - {"latest"} <= set(version.aliases):
            return version
    message = (
        f"somebody else finished {name} with the same parts first, or gave one of them up, so nothing was made: "
        f"`artstore log {name}` shows what there is"
    )
    raise Conflict(message, code="parts-gathered")
