"""Resolve: which version a reference means, and how it is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeVar

import msgspec

from artstore.errors import AmbiguousVersion, Invalid, NotFound
from artstore.lifecycle.ordering import is_own
from artstore.lifecycle.reports import LinkInfo, VersionInfo
from artstore.model.digest import ALGORITHM, Digest
from artstore.model.names import LATEST, DigestPrefix, Reference, project_name
from artstore.model.state import Collection, Membership, Version
from artstore.storage.catalog import FoldView, Project, ProjectView
from artstore.storage.root import Root

T = TypeVar("T")

_SHOWN = 12


class Member(NamedTuple):
    """What is in a portfolio, and where that is."""

    project: Project
    view: ProjectView
    portfolio: Collection
    row: Membership

    @property
    def name(self) -> str:
        """`project/best-cats:v0`."""
        return f"{self.project.name}/{self.portfolio.name}:v{self.row.number}"

    def link(self) -> LinkInfo:
        """How it is shown."""
        aliases = [alias.name for alias in self.view.aliases_of(self.portfolio.id, self.row.version)]
        latest = self.view.latest_membership(self.portfolio.id)
        if latest is not None and latest.number == self.row.number:
            aliases.append(LATEST)
        return LinkInfo(
            project=self.project.name,
            collection=self.portfolio.name,
            number=self.row.number,
            aliases=sorted(aliases),
            linked_at=self.row.linked_us / 1e6,
            provisional=not is_own(self.view.store, self.project) and not self.view.is_link_accepted(self.row),
        )


class Resolved(NamedTuple):
    """A version and where it stands."""

    project: Project
    view: ProjectView
    collection: Collection
    version: Version
    member: Member | None = None
    """How it is in the portfolio through which it was found."""

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
        info = describe(self.project, self.view, self.collection, self.version)
        return info if self.member is None else msgspec.structs.replace(info, link=self.member.link())

    def info_now(self) -> VersionInfo:
        """How it is shown after it was edited."""
        version = self.view.version(self.version.id)
        assert version is not None
        return self._replace(version=version).info()


def find_project(root: Root, name: str) -> tuple[Project, ProjectView]:
    """A project by name. Raises NotFound (project-not-found), Invalid (bad-name)."""
    project_name(name)
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


def resolve(root: Root, reference: Reference, *, unseen: bool = False) -> Resolved:
    """The version that a reference means, be it by its own name or by that of a portfolio.

    A whole id means its version, whatever its collection is called by now. With `unseen` it may be one that was
    deleted on this machine, or that has not come yet.

    Raises NotFound (project-, collection-, version-, alias-not-found, version-deleted, -forgotten, -absent), Invalid
    (ambiguous-digest), and AmbiguousVersion where a number meant another version before the upstream's order came.
    """
    found = _by_whole_id(root, reference)
    if found is None:
        project, view, collection = find_collection(root, reference.project, reference.collection)
        if collection.kind == "portfolio":
            return _linked_version(root, find_member(root, reference))
        selector = reference.selector
        if isinstance(selector, int):
            version = _by_number(view, collection, selector, reference.name)
        elif isinstance(selector, DigestPrefix):
            version = _by_prefix(view, collection, selector, reference.name)
        else:
            version = _by_alias(view, collection, selector, reference.name)
        found = Resolved(project, view, collection, version)
    if not unseen:
        check_seen(found.view, found.version, found.name)
    return found


def resolve_id(root: Root, project: str, id_: str, name: str) -> Resolved:
    """The version with an id, whatever it and its project are called by now; `name` is for messages.

    Raises NotFound (version-absent, version-deleted).
    """
    found = root.catalog.project_with(id_, project)
    view = None if found is None else ProjectView(root.catalog, found.id)
    version = None if view is None else view.version(id_)
    collection = None if view is None or version is None else view.collection(version.collection)
    if found is None or view is None or version is None or collection is None:
        raise NotFound(f"{name} is not in this store", code="version-absent")
    if version.deleted:
        raise NotFound(f"{name} was deleted", code="version-deleted")
    check_seen(view, version, name)
    return Resolved(found, view, collection, version)


def _by_whole_id(root: Root, reference: Reference) -> Resolved | None:
    if not (isinstance(reference.selector, DigestPrefix) and reference.selector.is_full):
        return None
    project, view = find_project(root, reference.project)
    version = view.version(f"blake3:{reference.selector.hex}")
    collection = None if version is None else view.collection(version.collection)
    named = view.collection_named(reference.collection)
    if version is None or collection is None or (named is not None and named.kind == "portfolio"):
        # It may be the digest of a manifest, or it is one of a portfolio's links.
        return None
    if version.deleted:
        message = f"{project.name}/{collection.name}:v{version.number} was deleted; its number is not used again"
        raise NotFound(message, code="version-deleted")
    return Resolved(project, view, collection, version)


def find_member(root: Root, reference: Reference) -> Member:
    """What a reference to a portfolio means in it, whether that version is here or not.

    Raises NotFound (project-, collection-, version-, alias-not-found) and Invalid (not-a-portfolio, ambiguous-digest).
    """
    project, view, portfolio = find_collection(root, reference.project, reference.collection)
    if portfolio.kind != "portfolio":
        message = f"{reference.name} has versions of its own, and no links to others: it is no portfolio"
        raise Invalid(message, code="not-a-portfolio")
    row = _membership(view, portfolio, reference)
    return Member(project, view, portfolio, row)


def describe_member(root: Root, member: Member) -> VersionInfo:
    """How a version is shown that is in a portfolio: deleted and absent ones too."""
    row = member.row
    info = find_version(root, row.source_project, row.version)
    info = info or absent_version(row.source_project, row.version, row.name, row.digest)
    return msgspec.structs.replace(info, link=member.link())


def still_there(view: ProjectView, found: Resolved) -> Version:
    """The version as it is now. Raises NotFound (version-deleted)."""
    version = view.version(found.version.id)
    if version is None or version.deleted:
        message = f"{found.name} was deleted just now"
        raise NotFound(message, code="version-deleted")
    return version


def describe(project: Project, view: ProjectView, collection: Collection, version: Version) -> VersionInfo:
    """How a version is shown; `latest` stands among the aliases of the one that was logged last."""
    aliases = [alias.name for alias in view.aliases_of(collection.id, version.id)]
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
        updated_at=version.updated_us / 1e6,
        description=version.description,
        metadata=version.metadata,
        aliases=sorted(aliases),
        tags=sorted(tag.name for tag in view.tags_of(version.id)),
        files=version.entries,
        bytes=version.bytes,
        run=version.run,
        ttl_s=version.ttl_s,
        state=_state(view, version),
        provisional=not is_own(view.store, project) and not view.is_accepted(version.id),
    )


def describe_by_id(project: Project, view: ProjectView, id_: str) -> VersionInfo:
    """How the version with this id is shown, which must be there."""
    version = view.version(id_)
    assert version is not None
    collection = view.collection(version.collection)
    assert collection is not None
    return describe(project, view, collection, version)


def find_version(root: Root, project: str, id_: str) -> VersionInfo | None:
    """A version by its id, a deleted one too; None where it is not here. Its project may have another name by now."""
    found = root.catalog.project_with(id_, project)
    return None if found is None else describe_by_id(found, ProjectView(root.catalog, found.id), id_)


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
        updated_at=0.0,
        metadata={},
        aliases=[],
        tags=[],
        files=0,
        bytes=0,
        state="absent",
    )


def _linked_version(root: Root, member: Member) -> Resolved:
    row = member.row
    try:
        found = resolve_id(root, row.source_project, row.version, f"{row.source_project}/{row.name}")
    except NotFound as error:
        message = f"{member.name} is a link that leads nowhere: {error.message}. Unlink it"
        raise NotFound(message, code=error.code) from error
    return found._replace(member=member)


def _membership(view: ProjectView, portfolio: Collection, reference: Reference) -> Membership:
    name, selector = reference.name, reference.selector
    if isinstance(selector, int):
        found = view.membership_numbered(portfolio.id, selector)
        _check_meaning(view, portfolio, selector, name)
        if found is None:
            numbers = [f"v{row.number}" for row in view.memberships_of(portfolio.id)]
            raise NotFound(f"{name} has no link v{selector} ({_has(numbers)})", code="version-not-found")
        return found
    if isinstance(selector, DigestPrefix):
        rows = view.memberships_of(portfolio.id)
        return _by_start(selector, name, [(row, row.number, row.version, row.digest) for row in rows])
    alias = None if selector == LATEST else view.alias(portfolio.id, selector)
    found = view.latest_membership(portfolio.id) if alias is None else view.membership(portfolio.id, alias.version)
    if selector != LATEST and alias is None:
        names = [other.name for other in view.aliases_in(portfolio.id)]
        raise NotFound(f"{name} has no alias {selector!r} ({_has([*names, LATEST])})", code="alias-not-found")
    if found is None:
        raise NotFound(f"{name} has no link: each was taken out", code="version-not-found")
    return found


def _state(view: ProjectView, version: Version) -> Literal["committed", "deleted", "forgotten", "absent"]:
    if version.deleted:
        return "deleted"
    if view.is_awaited(version.id):
        return "absent"
    return "forgotten" if view.is_forgotten(version.id) else "committed"


def check_seen(view: ProjectView, version: Version, name: str) -> None:
    """Raise NotFound (version-absent, version-forgotten) where a version is not seen here; `name` is for messages."""
    if view.is_awaited(version.id):
        message = (
            f"{name} is not here yet: its list of files was not where the rest came from, since it was deleted on the "
            "machine that put the rest there. `artstore pull` takes it from where a store that has it has pushed it"
        )
        raise NotFound(message, code="version-absent")
    if view.is_forgotten(version.id):
        message = (
            f"{name} was deleted on this machine, and is still there for others: `artstore pull {name}` has it back, "
            "and so has who puts the same content"
        )
        raise NotFound(message, code="version-forgotten")


def _by_number(view: ProjectView, collection: Collection, number: int, name: str) -> Version:
    version = view.version_numbered(collection.id, number)
    _check_meaning(view, collection, number, name)
    if version is None:
        numbers = [f"v{other.number}" for other in view.versions_of(collection.id)]
        raise NotFound(f"{name} has no version v{number} ({_has(numbers)})", code="version-not-found")
    if version.deleted:
        raise NotFound(f"{name}:v{number} was deleted; its number is not used again", code="version-deleted")
    return version


def _check_meaning(view: ProjectView, collection: Collection, number: int, name: str) -> None:
    """Raise AmbiguousVersion where a number meant another version here, before somebody else had it first."""
    moved = view.moved_from(collection.id, number)
    if not moved:
        return
    before = ", ".join(_called_now(view, collection, name, id_) for id_ in moved)
    now = _id_numbered(view, collection, number)
    other = "nothing" if now is None else f"{name}@{_short(now)}, which others have pushed"
    message = (
        f"{name}:v{number} is ambiguous: on this machine it meant {before}; now it means {other}. Name one by its id, "
        f"or say `artstore numbers accept {name}` when nobody means the old one any more"
    )
    raise AmbiguousVersion(message, code="ambiguous-number")


def _id_numbered(view: ProjectView, collection: Collection, number: int) -> str | None:
    """The id of the version that has a number in a collection, or in a portfolio."""
    if collection.kind == "portfolio":
        link = view.membership_numbered(collection.id, number)
        return None if link is None else link.version
    version = view.version_numbered(collection.id, number)
    return None if version is None else version.id


def place_now(view: ProjectView, collection: Collection, id_: str) -> tuple[Collection, int] | None:
    """Where a version that has lost its number in a collection, or in a portfolio, is now, and under which number.

    None where it is nowhere, or was deleted.
    """
    if collection.kind == "portfolio":
        links = view.all(Membership, "version = ? ORDER BY portfolio = ? DESC, portfolio", id_, collection.id)
        found = [(view.collection(link.portfolio), link.number) for link in links]
    else:
        version = view.version(id_)
        found = [] if version is None or version.deleted else [(view.collection(version.collection), version.number)]
    return next(((own, number) for own, number in found if own is not None), None)


def is_gone(view: ProjectView, collection: Collection, id_: str) -> bool:
    """Whether a version was deleted, or is in a portfolio no more and does not wait to come into it."""
    if collection.kind == "portfolio":
        return all(link.version != id_ for link in view.waiting_links())
    version = view.version(id_)
    return view.is_end_waiting(id_) if version is None else version.deleted


def _called_now(view: ProjectView, collection: Collection, name: str, id_: str) -> str:
    """A version that has lost its number, and what became of it."""
    now = place_now(view, collection, id_)
    if now is None:
        gone = "was taken out" if collection.kind == "portfolio" else "was deleted"
        became = gone if is_gone(view, collection, id_) else "waits for a decision (`artstore conflicts`)"
        return f"version {_short(id_)}, which {became}"
    own, number = now
    if own.id == collection.id:
        return f"{name}@{_short(id_)}, which is v{number} now"
    return f"{own.name}@{_short(id_)}, which is {own.name}:v{number} now"


def _short(id_: str) -> str:
    return id_.removeprefix(f"{ALGORITHM}:")[:12]


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
    found = view.version(str(prefix)) if prefix.is_full else None
    if found is not None and found.collection == collection.id and not found.deleted:
        return found
    rows = [(each, each.number, each.id, each.manifest) for each in view.versions_of(collection.id)]
    if not any(text.startswith(f"{ALGORITHM}:{prefix.hex}") for _, _, *texts in rows for text in texts):
        # One may be meant that is not seen here, and whoever asks for it is told so.
        rows = [(each, each.number, each.id, each.manifest) for each in FoldView.versions_of(view, collection.id)]
    return _by_start(prefix, name, rows)


def _by_start(prefix: DigestPrefix, name: str, rows: list[tuple[T, int, str, str]]) -> T:
    """The one of some rows, each with its number, id and digest, whose id begins so, or else whose digest does."""
    start = f"blake3:{prefix.hex}"
    found = [row for row in rows if row[2].startswith(start)]
    found = found or [row for row in rows if row[3].startswith(start)]
    if not found:
        raise NotFound(f"{name} has no version whose id or digest begins with {prefix.hex!r}", code="version-not-found")
    if len(found) > 1:
        numbers = ", ".join(f"v{number}" for _, number, _, _ in found)
        raise Invalid(f"{prefix.hex!r} stands for several versions of {name}: {numbers}", code="ambiguous-digest")
    return found[0][0]


def _has(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:_SHOWN]) or "nothing"
    return f"it has: {shown}, and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else f"it has: {shown}"


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]!r}?" if close else ". `artstore ls` shows what is here"
