"""Listing: what is in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator

from artstore.lifecycle.reports import CollectionInfo, EntryInfo, VersionInfo
from artstore.lifecycle.resolve import Resolved, describe, find_collection
from artstore.model.manifest import BlobEntry
from artstore.model.names import LATEST
from artstore.model.state import Collection
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root


def collections(root: Root, project: str | None) -> list[CollectionInfo]:
    """The collections of a project, or of all, by name; none where nothing was committed to it."""
    found: list[CollectionInfo] = []
    for each in root.catalog.projects():
        if project not in {None, each.name}:
            continue
        view = ProjectView(root.catalog, each.id)
        found += [describe_collection(each.name, view, collection) for collection in view.collections()]
    return found


def describe_collection(project: str, view: ProjectView, collection: Collection) -> CollectionInfo:
    """How a collection is shown."""
    latest = view.latest(collection.id)
    aliases = [alias.name for alias in view.aliases_in(collection.id)]
    if latest is not None:
        aliases.append(LATEST)
    created_at = collection.created_us / 1e6
    return CollectionInfo(
        project=project,
        name=collection.name,
        type=collection.type,
        description=collection.description,
        aliases=sorted(aliases),
        tags=sorted(tag.name for tag in view.tags_of(collection.id)),
        versions=view.count_versions(collection.id),
        latest=None if latest is None else f"v{latest.number}",
        bytes=0 if latest is None else latest.bytes,
        created_at=created_at,
        updated_at=created_at if latest is None else latest.created_us / 1e6,
    )


def versions(root: Root, project: str, name: str) -> list[VersionInfo]:
    """The versions of a collection, the newest first. Raises NotFound (collection-not-found)."""
    found, view, collection = find_collection(root, project, name)
    return [describe(found, view, collection, version) for version in view.versions_of(collection.id)]


def entries(root: Root, resolved: Resolved) -> Iterator[EntryInfo]:
    """The entries of a version, by path."""
    for entry in root.manifests.entries(resolved.manifest):
        if isinstance(entry, BlobEntry):
            yield EntryInfo(path=entry.path, size=entry.size, digest=str(entry.digest))
        else:
            extra = json.loads(entry.extra)
            yield EntryInfo(path=entry.path, size=entry.size, uri=entry.uri, checksum=entry.checksum, extra=extra)
