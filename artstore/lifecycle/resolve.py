"""Resolve: which version a reference means, and how it is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.model.names import LATEST, DigestPrefix, Reference
from artstore.model.state import Collection, Version
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.root import Root

_SHOWN = 12


class Resolved(NamedTuple):
    """A version and where it stands."""

    project: Project
    view: ProjectView
    collection: Collection
    version: Version

    @property
    def manifest(self) -> Digest:
        """The digest of its manifest."""
        return Digest.parse(self.version.manifest)

    @property
    def name(self) -> str:
        """`project/cats:v3`."""
        return f"{self.project.name}/{self.collection.name}:v{self.version.number}"

    def info(self) -> VersionInfo:
        """How it is shown."""
        return describe(self.project, self.view, self.collection, self.version)


def find_project(root: Root, name: str) -> tuple[Project, ProjectView]:
    """A project by name. Raises NotFound (project-not-found)."""
    if name in root.damaged:
        raise root.damaged[name]
    project = root.catalog.project(name)
    if project is None:
        known = [other.name for other in root.catalog.projects()]
        raise NotFound(f"there is no project {name!r} in this store{_hint(name, known)}", code="project-not-found")
    return project, ProjectView(root.catalog, project.id)


def find_collection(root: Root, project: str, name: str) -> tuple[Project, ProjectView, Collection]:
    """A collection by name. Raises NotFound (project-not-found, collection-not-found)."""
    found, view = find_project(root, project)
    collection = view.collection_named(name)
    if collection is None:
        known = [other.name for other in view.collections()]
        message = f"there is no collection {name!r} in project {project!r}{_hint(name, known)}"
        raise NotFound(message, code="collection-not-found")
    return found, view, collection


def resolve(root: Root, reference: Reference) -> Resolved:
    """The version that a reference means.

    Raises NotFound (project-, collection-, version-, alias-not-found, version-deleted) and Invalid (ambiguous-digest).
    """
    project, view, collection = find_collection(root, reference.project, reference.collection)
    selector = reference.selector
    if isinstance(selector, int):
        version = _by_number(view, collection, selector, reference.name)
    elif isinstance(selector, DigestPrefix):
        version = _by_prefix(view, collection, selector, reference.name)
    else:
        version = _by_alias(view, collection, selector, reference.name)
    return Resolved(project, view, collection, version)


def describe(project: Project, view: ProjectView, collection: Collection, version: Version) -> VersionInfo:
    """How a version is shown; `latest` stands among the aliases of the one that was logged last."""
    aliases = [alias.name for alias in view.aliases_of(version.id)]
    latest = view.latest(collection.id)
    if latest is not None and latest.id == version.id:
        aliases.append(LATEST)
    return VersionInfo(
        project=project.name,
        collection=collection.name,
        type=collection.type,
        number=version.number,
        id=version.id,
        digest=version.manifest,
        created_at=version.created_us / 1e6,
        description=version.description,
        metadata=version.metadata,
        aliases=sorted(aliases),
        tags=sorted(tag.name for tag in view.tags_of(version.id)),
        files=version.entries,
        bytes=version.bytes,
        run=version.run,
        ttl_s=version.ttl_s,
        state="deleted" if version.deleted else "committed",
    )


def describe_by_id(project: Project, view: ProjectView, id_: str) -> VersionInfo:
    """How the version with this id is shown, which must be there."""
    version = view.version(id_)
    assert version is not None
    collection = view.collection(version.collection)
    assert collection is not None
    return describe(project, view, collection, version)


def find_version(root: Root, project: str, id_: str) -> VersionInfo | None:
    """A version by its id, a deleted one too; None where it is not here."""
    found = root.catalog.project(project)
    view = None if found is None else ProjectView(root.catalog, found.id)
    if found is None or view is None or view.version(id_) is None:
        return None
    return describe_by_id(found, view, id_)


def absent_version(project: str, id_: str, name: str, digest: str) -> VersionInfo:
    """How a version is shown that is named here and not in this store; the name is `cats:v3`."""
    collection, _, number = name.rpartition(":v")
    return VersionInfo(
        project=project,
        collection=collection,
        type="",
        number=int(number),
        id=id_,
        digest=digest,
        created_at=0.0,
        metadata={},
        aliases=[],
        tags=[],
        files=0,
        bytes=0,
        state="absent",
    )


def _by_number(view: ProjectView, collection: Collection, number: int, name: str) -> Version:
    version = view.version_numbered(collection.id, number)
    if version is None:
        numbers = [f"v{other.number}" for other in view.versions_of(collection.id)]
        raise NotFound(f"{name} has no version v{number} ({_has(numbers)})", code="version-not-found")
    if version.deleted:
        raise NotFound(f"{name}:v{number} was deleted; its number is not used again", code="version-deleted")
    return version


def _by_alias(view: ProjectView, collection: Collection, alias: str, name: str) -> Version:
    if alias == LATEST:
        latest = view.latest(collection.id)
        if latest is None:
            raise NotFound(f"{name} has no version: each was deleted", code="version-not-found")
        return latest
    found = view.alias(collection.id, alias)
    version = None if found is None else view.version(found.version)
    if version is None:
        names = [other.name for other in view.aliases_in(collection.id)]
        raise NotFound(f"{name} has no alias {alias!r} ({_has([*names, LATEST])})", code="alias-not-found")
    return version


def _by_prefix(view: ProjectView, collection: Collection, prefix: DigestPrefix, name: str) -> Version:
    start = f"blake3:{prefix.hex}"
    versions = view.versions_of(collection.id)
    found = [version for version in versions if version.id.startswith(start)]
    found = found or [version for version in versions if version.manifest.startswith(start)]
    if not found:
        raise NotFound(f"{name} has no version whose id or digest begins with {prefix.hex!r}", code="version-not-found")
    if len(found) > 1:
        numbers = ", ".join(f"v{version.number}" for version in found)
        raise Invalid(f"{prefix.hex!r} stands for several versions of {name}: {numbers}", code="ambiguous-digest")
    return found[0]


def _has(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:_SHOWN]) or "nothing"
    return f"it has: {shown}, and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else f"it has: {shown}"


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]!r}?" if close else ". `artstore ls` shows what is here"
