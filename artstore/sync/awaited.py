"""Awaited: lists of files that were nowhere when their versions came, looked for wherever something is taken from.

A version whose list one machine had let go of reaches others without it, by a mirror or a bundle. It is not seen there
until the list comes, and then it is, as with all others.
"""

from __future__ import annotations

from artstore.errors import ArtstoreError
from artstore.lifecycle.upstream import see
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.catalog import ProjectView
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.received import Find, take_each
from artstore.sync.reports import Moved


def is_awaiting(root: Root, project: str) -> bool:
    """Whether a project has versions whose lists of files have not come."""
    found = root.catalog.project(project)
    return found is not None and bool(ProjectView(root.catalog, found.id).awaited())


def take_awaited(
    root: Root, session: Session, project: str, where: str, find: Find
) -> tuple[Moved, ArtstoreError | None]:
    """Let those of them be seen whose lists can be found, or are here by now; answers how many these are.

    With what was said of the first list that is not what it should be, and is as if it were not there.
    """
    there = root.catalog.project(project)
    awaited = [] if there is None else ProjectView(root.catalog, there.id).awaited()
    if there is None or not awaited:
        return Moved(), None
    live = Marking(root.catalog).live_manifests(there.id)
    found: dict[Digest, Encoding] = {}
    came: list[str] = []
    for version in awaited:
        digest = Digest.parse(version.manifest)
        if digest not in live and digest not in found:
            # Rows alone do not tell: of what no version here needs the journal may say nothing.
            found.update({each.digest: each for each in find(digest) if each.digest == digest})
        if digest in live or digest in found:
            came.append(version.id)
    taken, said = take_each(root, where, list(found.values()), find)
    if said is not None:
        whole = {encoding.digest for encoding in taken} | live
        came = [version.id for version in awaited if Digest.parse(version.manifest) in whole]
    if came:
        see(root, session, project, came, Attachments(manifests=taken))
    return Moved(versions=len(came)), said
