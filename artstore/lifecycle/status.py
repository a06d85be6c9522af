"""Status: the store at a glance."""

from __future__ import annotations

from artstore.lifecycle.collect import session_infos
from artstore.lifecycle.reports import StatusReport
from artstore.lifecycle.trash import trash_bytes
from artstore.lifecycle.upstream import following
from artstore.lifecycle.usage import on_disk_bytes
from artstore.storage import quarantine
from artstore.storage.queries import Queries
from artstore.storage.root import Root
from artstore.storage.sessions import live_sessions


def status(root: Root) -> StatusReport:
    """What the store holds, what it takes, and who is at work in it.

    In a store that cannot be written no session is seen: whether one lives is known by trying its lock.
    """
    with root.catalog.snapshot():
        totals = Queries(root.catalog).totals()
    different = totals.stored_bytes + totals.absent_bytes
    return StatusReport(
        root=str(root.path),
        store_id=root.format.store_id,
        projects=totals.projects,
        collections=totals.collections,
        versions=totals.versions,
        files=totals.files,
        logical_bytes=totals.logical_bytes,
        stored_bytes=totals.stored_bytes,
        on_disk_bytes=on_disk_bytes(root.path),
        absent_bytes=totals.absent_bytes,
        dedup_ratio=totals.logical_bytes / different if different else 1.0,
        pending_ops=sum(project.pending_ops for project in following(root)),
        unfinished_parts=totals.parts,
        sessions=[] if root.read_only else session_infos(live_sessions(root.path)),
        trash_bytes=trash_bytes(root),
        quarantine_bytes=quarantine.on_disk_bytes(root.path),
        last_commit_at=None if totals.last_created_us is None else totals.last_created_us / 1e6,
    )
