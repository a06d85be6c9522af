"""Staying: what waits here and does not go to the upstream, since that was noted for other collections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from artstore.errors import Conflict
from artstore.lifecycle.before import accepted_once
from artstore.lifecycle.upstream import waiting
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root
from artstore.sync.remotes import Settings
from artstore.sync.reports import Stays
from artstore.sync.selection import select


def staying(root: Root, settings: Settings, projects: Iterable[str] | None = None) -> Stays | None:
    """What waits of these projects, or of all, and is of no collection that a remote was noted for.

    None where it was noted for all.
    """
    if not settings.only:
        return None
    names: set[str] = set()
    versions = parts = 0
    for project in root.catalog.projects():
        choice = settings.chosen(project.name)
        if choice is None or (projects is not None and project.name not in projects):
            continue
        with root.catalog.snapshot(), contextlib.suppress(Conflict):
            view = ProjectView(root.catalog, project.id)
            ops = [op for op in waiting(root, project.name) if op.void is None]
            # What cannot be chosen by itself waits for a person, and a push says why.
            going = {op.id for op in select(root, project, ops, choice)}
            going |= accepted_once(root.catalog, project) if len(going) < len(ops) else set()
            for id_ in (op.version for op in ops if op.version is not None and op.id not in going):
                version, part = view.version(id_), view.part(id_)
                if version is not None and not version.deleted:
                    collection = view.collection(version.collection)
                    assert collection is not None
                    names.add(f"{project.name}/{collection.name}")
                    versions += 1
                elif part is not None:
                    names.add(f"{project.name}/{part.name}")
                    parts += 1
    return Stays(collections=sorted(names), versions=versions, parts=parts)
