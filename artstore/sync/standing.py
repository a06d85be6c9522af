"""Standing: how it is with each remote, as far as the last attempts say; nothing is asked of the network.

What an attempt came to is noted in the store's folder, `sync/<remote>.standing`, and may be deleted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from artstore.errors import ArtstoreError, Conflict
from artstore.lifecycle.upstream import waiting
from artstore.storage.catalog import ProjectView
from artstore.storage.files import make_directory, storage_errors, write_file
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive
from artstore.store import Store
from artstore.sync.follow import LOCK
from artstore.sync.push import offers
from artstore.sync.remotes import Settings, read_remotes
from artstore.sync.reports import RemoteStanding
from artstore.sync.staying import staying

_NEWS_S: Final = 60.0


class _Noted(msgspec.Struct):
    """What attempts came to. Times are UTC seconds."""

    succeeded_at: float | None = None
    failed_at: float | None = None
    failure: str | None = None
    unreachable_since: float | None = None


class Attempt:
    """What an attempt comes to."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """What could not be moved although the remote was reached, if that is so."""


@contextlib.contextmanager
def noting(root: Root, name: str) -> Iterator[Attempt]:
    """Note what an attempt comes to."""
    now = time.time()
    attempt = Attempt()
    try:
        yield attempt
    except ArtstoreError as error:
        note_failure(root, name, error)
        raise
    noted = _read(root.path, name)
    noted.succeeded_at, noted.unreachable_since, noted.failure = now, None, attempt.failure
    if attempt.failure is not None:
        noted.failed_at = now
    _write(root.path, name, noted)


def note_failure(root: Root, name: str, error: ArtstoreError) -> None:
    """Note that a remote could not be had, and since when that is so."""
    noted, now = _read(root.path, name), time.time()
    noted.failed_at, noted.failure = now, error.message
    noted.unreachable_since = (noted.unreachable_since or now) if isinstance(error, ConnectionError) else None
    _write(root.path, name, noted)


def note_success(root: Root, name: str) -> None:
    """Note that a remote was reached, where that is any news."""
    noted, now = _read(root.path, name), time.time()
    if noted.unreachable_since is not None or now - (noted.succeeded_at or 0) > _NEWS_S:
        if noted.unreachable_since is not None:
            noted.unreachable_since = noted.failure = None
        noted.succeeded_at = now
        _write(root.path, name, noted)


def standings(store: Store) -> list[RemoteStanding]:
    """How it is with each remote, the upstream first."""
    found: list[RemoteStanding] = []
    for name, settings in read_remotes(store.path).items():
        noted = _read(store.path, name)
        waits = _waiting(store.root, settings) if settings.upstream else _Waiting()
        found.append(
            RemoteStanding(
                name=name,
                url=settings.url,
                upstream=settings.upstream,
                background=settings.background,
                followed=settings.upstream and is_followed(store.path),
                pending_ops=_pending(store.root) if settings.upstream else 0,
                waiting_versions=waits.versions,
                waiting_parts=waits.parts,
                waiting_bytes=waits.bytes,
                stays=staying(store.root, settings),
                succeeded_at=noted.succeeded_at,
                failed_at=noted.failed_at if noted.failure else None,
                failure=noted.failure,
                unreachable_since=noted.unreachable_since,
            )
        )
    return found


def is_followed(store: Path) -> bool:
    """Whether a process keeps a store up with its upstream just now."""
    try:
        with Exclusive(store, LOCK):
            return False
    except Conflict:
        return True
    except ArtstoreError:
        # Who may not write there cannot tell.
        return False


class _Waiting(NamedTuple):
    """What is still to be sent, and its size."""

    versions: int = 0
    parts: int = 0
    bytes: int = 0


def _waiting(root: Root, settings: Settings) -> _Waiting:
    versions = parts = size = 0
    for project in root.catalog.projects():
        view = ProjectView(root.catalog, project.id)
        # What cannot be chosen by itself waits for a person, and a push says why.
        with contextlib.suppress(Conflict):
            for offer in offers(root, project.name, settings.chosen(project.name)):
                for op in (op for transaction in offer.transactions for op in transaction):
                    version = None if op.version is None else view.version(op.version)
                    part = None if op.version is None else view.part(op.version)
                    if version is not None and not version.deleted:
                        versions, size = versions + 1, size + version.bytes
                    elif part is not None:
                        parts, size = parts + 1, size + part.bytes
    return _Waiting(versions, parts, size)


def _pending(root: Root) -> int:
    """Ops that no upstream has accepted, be it that none is followed yet."""
    return sum(op.void is None for project in root.catalog.projects() for op in waiting(root, project.name))


def _read(store: Path, name: str) -> _Noted:
    # What cannot be read is not known.
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.json.decode(_path(store, name).read_bytes(), type=_Noted)
    return _Noted()


def _write(store: Path, name: str, noted: _Noted) -> None:
    with storage_errors("noting how it went"):
        make_directory(store / "sync")
        write_file(store / "tmp", _path(store, name), msgspec.json.encode(noted))


def _path(store: Path, name: str) -> Path:
    return store / "sync" / f"{name}.standing"
