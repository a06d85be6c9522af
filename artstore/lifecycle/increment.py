"""Increment: a draft that comes on top of the latest version, whoever made that and however late."""

from __future__ import annotations

from artstore.errors import Conflict
from artstore.lifecycle.commit_draft import Onto, check_type, commit_draft
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.label import Label
from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.model.names import LATEST
from artstore.model.state import Version
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root


def commit_increment(draft: Draft, label: Label) -> VersionInfo:
    """Commit the entries of the collection's latest version, at the moment of the commit, and those of the draft.

    The draft's own stand where both have a path. See commit_draft for the rest; each repetition means that somebody
    else has made a version.
    """
    check_type(draft.root, label)
    own = dict(draft.entries)
    while True:
        latest = _latest(draft.root, label)
        before = [] if latest is None else draft.root.manifests.entries(Digest.parse(latest.manifest))
        draft.begin_again(({entry.path: entry for entry in before} | own).values())
        try:
            onto = Onto(LATEST, None if latest is None else latest.id)
            return commit_draft(draft, label, onto=onto).version
        except Conflict as conflict:
            if conflict.code != "moved-on":
                raise


def _latest(root: Root, label: Label) -> Version | None:
    project = root.catalog.project(label.project)
    view = None if project is None else ProjectView(root.catalog, project.id)
    collection = None if view is None else view.collection_named(label.name)
    return None if view is None or collection is None else view.latest(collection.id)
