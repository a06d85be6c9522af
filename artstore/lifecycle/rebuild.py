"""Rebuild: the catalog made anew from the log and the blobs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from artstore.errors import Corrupt
from artstore.lifecycle.mend_log import mend_log
from artstore.lifecycle.replay import index_new_packs, replay_project
from artstore.lifecycle.reports import RebuildReport
from artstore.model.digest import Digest
from artstore.storage import stat_cache, whole
from artstore.storage.catalog import FILE_NAME, Catalog, Project
from artstore.storage.files import storage_errors, sync_directory
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.oplog import read
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session, alone, current_epoch


def rebuild(root: Root) -> RebuildReport:
    """Make the catalog anew; every acknowledged version, number, alias, tag, edit, run and deletion is in it.

    Happens in one transaction, so a killed one leaves the catalog as it was. A file that is no catalog is put into the
    quarantine first. No data is read: `verify` does that. Other sessions are waited for, since what they hold of the
    old catalog means nothing in the new one.

    What the log has lost is first written again from the catalog, where that can be read. Where it cannot, each project
    is what its log says up to the damage, and the rest is named in `lost`; a catalog that may know more than such a log
    is copied into the quarantine.

    Raises Conflict (locked, busy) where others do not let it, UpgradeNeeded where the log is a newer artstore's.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as ending:
        ending.enter_context(storage_errors("rebuilding the catalog"))
        ending.enter_context(Exclusive(root.path, "gc"))
        session = ending.enter_context(root.session("rebuild"))
        ending.enter_context(alone(root.path, session))
        if not _is_usable(root):
            _put_aside(root)
        elif not _mend_logs(root, session):
            _keep_copy(root, session.scratch())
        lost: list[str] = []
        with root.catalog.write():
            # Inside, since tables without rows would be taken for the catalog of an empty store.
            root.catalog.remake()
            # It takes blobs for stored as long as a manifest names them, live or not.
            stat_cache.forget(root.path, root.catalog)
            _index_whole(root)
            damaged = index_new_packs(root)
            for name in root.log.projects():
                lost += _replay_intact(root, name)
            root.catalog.set_epoch(current_epoch(root.path / "locks"))
        marking = Marking(root.catalog)
        lost += [*damaged, *map(str, sorted(marking.live_manifests() - marking.manifests_here()))]
        lost += [str(digest) for digest, _size in marking.missing()]
        ops, versions, blobs = root.catalog.counts()
        return RebuildReport(
            projects=len(root.catalog.projects()),
            ops=ops,
            versions=versions,
            blobs=blobs,
            lost=lost,
            seconds=time.monotonic() - began,
        )


def _replay_intact(root: Root, name: str) -> list[str]:
    """Fold the log of a project up to the first damage, inside a write transaction; answers what is behind it."""
    try:
        replay_project(root, name)
    except Corrupt as error:
        if error.code == "catalog-damaged":
            # The log is not to blame, and the catalog stays as it was.
            raise
        project = root.catalog.project(name)
        first = 1 if project is None else project.seq + 1
        last = root.log.last(name)
        return [f"ops/{name}/{first}" if first >= last else f"ops/{name}/{first}-{last}"]
    return []


def _mend_logs(root: Root, session: Session) -> bool:
    """Write again what the log has lost and the catalog has not; whether that is all that both ever held."""
    try:
        projects = root.catalog.projects()
        if not all(_is_of_this_log(root, project) for project in projects):
            # Another store's, or a copy that went another way: it has nothing to give.
            return False
        left = [name for project in projects for name in mend_log(root, session, project)[1]]
    except Corrupt:
        # With the query that came upon a row which cannot be read: no table could be dropped while it is open.
        root.catalog.close()
        return False
    known = {project.name for project in projects}
    return not left and not any(_has_damage(root, name) for name in root.log.projects() if name not in known)


def _is_of_this_log(root: Root, project: Project) -> bool:
    """Whether what both the catalog and the log have is the same."""
    noted = Journal(root.catalog, project).digests()
    for file in root.log.files(project.name):
        with contextlib.suppress(Corrupt):
            for seq, data in enumerate(read(file.path).transactions, start=file.first):
                if seq in noted and noted[seq] != str(Digest.of(data)):
                    return False
    return True


def _has_damage(root: Root, name: str) -> bool:
    try:
        for _ in root.log.transactions(name, 0):
            pass
    except Corrupt:
        return True
    return False


def _keep_copy(root: Root, scratch: Path) -> None:
    """Copy the catalog into the quarantine."""
    copy = Catalog(scratch, read_only=False)
    try:
        with root.catalog.checked():
            root.catalog.connection.backup(copy.connection)
    finally:
        copy.close()
    with storage_errors("keeping a copy of the catalog"):
        os.replace(scratch / FILE_NAME, root.path / "quarantine" / f"{time.time_ns()}-{FILE_NAME}")
        sync_directory(root.path / "quarantine")


def _is_usable(root: Root) -> bool:
    if not (root.path / FILE_NAME).exists() or _has_second_name(root.path / FILE_NAME):
        return False
    try:
        root.catalog.check()
    except Corrupt:
        return False
    return True


def _put_aside(root: Root) -> None:
    """Move what is in the catalog's place away, with what SQLite would replay into a new one."""
    root.catalog.close()
    with storage_errors("putting the damaged catalog aside"):
        for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", f"{FILE_NAME}-journal"):
            with contextlib.suppress(FileNotFoundError):
                if _has_second_name(root.path / name):
                    # Kept there, and to be that store's alone.
                    os.unlink(root.path / name)
                else:
                    os.replace(root.path / name, root.path / "quarantine" / f"{time.time_ns()}-{name}")
        sync_directory(root.path)
        sync_directory(root.path / "quarantine")


def _has_second_name(path: Path) -> bool:
    return path.stat().st_nlink > 1


def _index_whole(root: Root) -> None:
    found: list[whole.Stored] = []
    for folder, _below, names in os.walk(root.path / "blobs"):
        for name in names:
            path = Path(folder, name)
            digest = whole.digest_of(path)
            if digest is not None:
                found.append(whole.Stored(digest, path.stat().st_size, b""))
    root.blobs.add_whole(found)
