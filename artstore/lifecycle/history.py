"""History: the versions of a collection, a page at a time, each with what it brought that none before it had.

Deduplication makes a version cost what it changes; here that can be seen. Content counts where it came first, in the
order of the numbers.
"""

from __future__ import annotations

import threading
from typing import Final

from artstore.errors import Invalid
from artstore.lifecycle.reports import HistoryLine, HistoryReport, VersionInfo
from artstore.lifecycle.resolve import Member, Resolved, describe, describe_member, find_collection
from artstore.storage.catalog import Project
from artstore.storage.queries import Brought, Queries
from artstore.storage.root import Root

_KEPT: Final = 8
"""Collections whose figures stay at hand."""


class Histories:
    """The histories of a store's collections, a page at a time. For threads."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[tuple[str, ...], dict[str, Brought]] = {}

    def page(self, project: str, name: str, *, before: int | None, limit: int) -> HistoryReport:
        """The versions of a collection, or the links of a portfolio, the newest first; see Store.history."""
        if limit < 1:
            message = f"a page of {limit} is none: ask for 1 or more"
            raise Invalid(message, code="bad-limit")
        with self._root.catalog.snapshot():
            found, view, collection = find_collection(self._root, project, name)
            if collection.kind == "portfolio":
                links = [row for row in view.memberships_of(collection.id) if before is None or row.number < before]
                members = [describe_member(self._root, Member(found, view, collection, row)) for row in links[:limit]]
                lines = [_line(member, None) for member in members]
                return HistoryReport(lines=lines, next=links[limit - 1].number if len(links) > limit else None)
            rows = view.versions_before(collection.id, before, limit + 1)
            brought = self._brought(found, collection.id)
            lines = [_line(describe(found, view, collection, row), brought.get(row.id)) for row in rows[:limit]]
        return HistoryReport(lines=lines, next=rows[limit - 1].number if len(rows) > limit else None)

    def line(self, resolved: Resolved) -> HistoryLine:
        """One version, with what it brought to its collection."""
        with self._root.catalog.snapshot():
            brought = self._brought(resolved.project, resolved.collection.id).get(resolved.version.id)
        return _line(resolved.info(), brought)

    def _brought(self, project: Project, collection: str) -> dict[str, Brought]:
        """What every version of a collection brought, by id. Asked anew only where there are others than before."""
        queries = Queries(self._root.catalog)
        manifests = queries.manifests_of(project.id, collection)
        key = (collection, *manifests)
        with self._lock:
            known = self._known.pop(key, None)
            if known is None:
                known = dict(zip(manifests, queries.brought(list(manifests.values())), strict=True))
            self._known[key] = known
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        return known


def _line(version: VersionInfo, brought: Brought | None) -> HistoryLine:
    # A link in a portfolio brings nothing, and what was deleted meanwhile counts nowhere.
    return HistoryLine(
        version=version,
        new_blobs=None if brought is None else brought.blobs,
        new_bytes=None if brought is None else brought.bytes,
    )
