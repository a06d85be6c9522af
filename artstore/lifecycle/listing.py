"""Listing: what is in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.reports import CollectionInfo, EntryInfo, FolderReport, VersionInfo
from artstore.lifecycle.resolve import (
    Member,
    Resolved,
    describe,
    describe_member,
    find_collection,
    find_project,
    find_version,
)
from artstore.model.manifest import BlobEntry, Entry, blob_of
from artstore.model.names import LATEST, project_name
from artstore.model.paths import entry_path, quoted
from artstore.model.state import Collection
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root


def collections(root: Root, project: str | None) -> list[CollectionInfo]:
    """The collections of a project, or of all, by name; none where nothing was committed to it."""
    if project is not None:
        project_name(project)
    found: list[CollectionInfo] = []
    for each in root.catalog.projects():
        if project not in {None, each.name}:
            continue
        view = ProjectView(root.catalog, each.id)
        found += [describe_collection(root, each.name, view, collection) for collection in view.collections()]
    return found


def describe_collection(root: Root, project: str, view: ProjectView, collection: Collection) -> CollectionInfo:
    """How a collection is shown."""
    if collection.kind == "portfolio":
        return _describe_portfolio(root, project, view, collection)
    latest = view.latest(collection.id)
    aliases = [alias.name for alias in view.aliases_in(collection.id)]
    if latest is not None:
        aliases.append(LATEST)
    created_at = collection.created_us / 1e6
    return CollectionInfo(
        project=project,
        name=collection.name,
        kind=collection.kind,
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
    """The versions of a collection, or what is linked in a portfolio, the newest first.

    Raises NotFound (collection-not-found).
    """
    found, view, collection = find_collection(root, project, name)
    if collection.kind == "portfolio":
        rows = view.memberships_of(collection.id)
        return [describe_member(root, Member(found, view, collection, row)) for row in rows]
    return [describe(found, view, collection, version) for version in view.versions_of(collection.id)]


def links_of(root: Root, resolved: Resolved) -> list[VersionInfo]:
    """A version as it is in each portfolio of this store, the first first."""
    found: list[VersionInfo] = []
    for name, id_ in root.catalog.portfolios_of(resolved.version.id):
        project, view = find_project(root, name)
        portfolio, row = view.collection(id_), view.membership(id_, resolved.version.id)
        if portfolio is not None and row is not None:
            found.append(describe_member(root, Member(project, view, portfolio, row)))
    return found


def entries(root: Root, resolved: Resolved) -> Iterator[EntryInfo]:
    """The entries of a version, by path."""
    return map(describe_entry, root.manifests.entries(resolved.manifest))


def entry(root: Root, resolved: Resolved, path: str) -> EntryInfo:
    """The entry at a path. Raises NotFound (path-not-found), Invalid (bad-path)."""
    return describe_entry(root.manifests.entry(resolved.manifest, entry_path(path), called=resolved.name))


def folder(root: Root, resolved: Resolved, path: str, *, after: str, limit: int) -> FolderReport:
    """A part of what is directly in a folder; see Store.folder."""
    if limit < 1:
        message = f"a page of {limit} is none: ask for 1 or more"
        raise Invalid(message, code="bad-limit")
    place = entry_path(path) if path else ""
    # One more shows whether there is more.
    folders, files = root.manifests.folder(resolved.manifest, place, after=after, limit=limit + 1)
    if place and not folders and not files and not root.manifests.is_folder(resolved.manifest, place):
        message = f"there is no folder {quoted(place)} in {resolved.name}"
        raise NotFound(message, code="path-not-found")
    start = len(place) + 1 if place else 0
    names = sorted([*(f"{name}/" for name in folders), *(each.path[start:] for each in files)])
    last = None
    if len(names) > limit:
        last, beyond = names[limit - 1], names[limit]
        folders = [name for name in folders if f"{name}/" != beyond]
        files = [each for each in files if each.path[start:] != beyond]
    return FolderReport(path=place, folders=folders, files=[describe_entry(each) for each in files], next=last)


def describe_entry(entry: Entry) -> EntryInfo:
    """How an entry is shown."""
    if isinstance(entry, BlobEntry):
        return EntryInfo(path=entry.path, size=entry.size, digest=str(entry.digest))
    blob = blob_of(entry)
    return EntryInfo(
        path=entry.path,
        size=entry.size,
        digest=None if blob is None else str(blob.digest),
        uri=entry.uri,
        checksum=entry.checksum,
        extra=json.loads(entry.extra),
    )


def _describe_portfolio(root: Root, project: str, view: ProjectView, portfolio: Collection) -> CollectionInfo:
    rows = view.memberships_of(portfolio.id)
    latest = view.latest_membership(portfolio.id)
    aliases = [alias.name for alias in view.aliases_in(portfolio.id)]
    source = None
    if latest is not None:
        aliases.append(LATEST)
        source = find_version(root, latest.source_project, latest.version)
    return CollectionInfo(
        project=project,
        name=portfolio.name,
        kind=portfolio.kind,
        type=portfolio.type,
        description=portfolio.description,
        aliases=sorted(aliases),
        tags=sorted(tag.name for tag in view.tags_of(portfolio.id)),
        versions=len(rows),
        latest=None if latest is None else f"v{latest.number}",
        bytes=0 if source is None else source.bytes,
        created_at=portfolio.created_us / 1e6,
        updated_at=max((row.linked_us for row in rows), default=portfolio.created_us) / 1e6,
    )
