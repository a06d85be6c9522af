"""Relabel: what is said about a version changes, and the version stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.commit import commit_and_answer, nonce, now_us
from artstore.lifecycle.label import check_ttl, checked_metadata, checked_text
from artstore.lifecycle.reports import AliasedInfo, VersionInfo
from artstore.lifecycle.resolve import resolve, still_there
from artstore.model.names import LATEST, Reference, alias_name, tag_name
from artstore.model.records import Describe, EditMetadata, MoveAlias, Op, SetTag, SetTtl
from artstore.model.state import Version
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root

_Plan = Callable[[ProjectView, Version], list[Op]]
_PlanOfAliases = Callable[[ProjectView, str, str, str], list[Op]]
"""By the id of a collection or portfolio, the one that it is called by, and the id of a version."""


def add_aliases(root: Root, reference: Reference, names: Sequence[str]) -> AliasedInfo:
    """Move aliases to a version, in the collection or the portfolio that the reference names.

    Answers also from where. Raises Invalid (bad-alias).
    """
    wanted = [alias_name(name) for name in names]
    if LATEST in wanted:
        message = f"{LATEST!r} follows the last version by itself: it cannot be moved"
        raise Invalid(message, code="bad-alias")

    moved: dict[str, int] = {}

    def make(view: ProjectView, collection: str, called: str, version: str) -> list[Op]:
        ops: list[Op] = []
        moved.clear()
        for name in dict.fromkeys(wanted):
            before = view.alias(collection, name)
            if before is None or before.version != version:
                ops.append(_alias(called, name, None if before is None else before.version, version))
            if before is not None and before.version != version:
                stood = view.membership(collection, before.version) or view.version(before.version)
                assert stood is not None
                moved[name] = stood.number
        return ops

    aliased = _edit_aliases(root, reference, make)
    collection = (aliased.link or aliased).ref.rpartition(":")[0]
    return AliasedInfo(
        **{field: getattr(aliased, field) for field in aliased.__struct_fields__},
        moved_from={name: f"{collection}:v{number}" for name, number in moved.items()},
    )


def remove_aliases(root: Root, reference: Reference, names: Sequence[str]) -> VersionInfo:
    """Take aliases off a version. Raises NotFound (alias-not-found) where one does not stand on it."""
    if LATEST in names:
        message = f"{LATEST!r} follows the last version by itself: it cannot be removed"
        raise Invalid(message, code="bad-alias")

    def make(view: ProjectView, collection: str, called: str, version: str) -> list[Op]:
        standing = {alias.name for alias in view.aliases_of(collection, version)}
        missing = [name for name in names if name not in standing]
        if missing:
            message = f"{reference} has no alias {missing[0]!r} (it has: {', '.join(sorted(standing)) or 'none'})"
            raise NotFound(message, code="alias-not-found")
        return [_alias(called, name, version, None) for name in dict.fromkeys(names)]

    return _edit_aliases(root, reference, make)


def set_tags(root: Root, reference: Reference, names: Sequence[str], *, present: bool) -> VersionInfo:
    """Put tags on a version, or take them off. Raises Invalid (bad-tag), NotFound (tag-not-found)."""
    wanted = list(dict.fromkeys(map(tag_name, names)))

    def plan(view: ProjectView, version: Version) -> list[Op]:
        there = {tag.name for tag in view.tags_of(version.id)}
        missing = [name for name in wanted if name not in there]
        if not present and missing:
            message = f"{reference} has no tag {missing[0]!r} (it has: {', '.join(sorted(there)) or 'none'})"
            raise NotFound(message, code="tag-not-found")
        names = missing if present else wanted
        return [
            SetTag(at_us=now_us(), nonce=nonce(), kind="version", target=version.id, tag=name, present=present)
            for name in names
        ]

    return _edit(root, reference, "tag", plan)


def describe_version(root: Root, reference: Reference, text: str | None) -> VersionInfo:
    """Give a version another description."""
    checked = checked_text(text)

    def plan(_view: ProjectView, version: Version) -> list[Op]:
        return [Describe(at_us=now_us(), nonce=nonce(), kind="version", target=version.id, text=checked)]

    return _edit(root, reference, "describe", plan)


def edit_metadata(root: Root, reference: Reference, values: Mapping[str, Any], remove: Sequence[str]) -> VersionInfo:
    """Set some keys of a version's metadata and remove others. Raises Invalid (bad-metadata), NotFound."""
    copied = checked_metadata(values)

    def plan(_view: ProjectView, version: Version) -> list[Op]:
        missing = [key for key in remove if key not in version.metadata]
        if missing:
            there = ", ".join(version.metadata) or "none"
            message = f"the metadata of {reference} has no key {missing[0]!r} (it has: {there})"
            raise NotFound(message, code="no-such-key")
        return [EditMetadata(at_us=now_us(), nonce=nonce(), version=version.id, set=copied, remove=list(remove))]

    return _edit(root, reference, "metadata", plan)


def set_ttl(root: Root, reference: Reference, ttl_s: float | None) -> VersionInfo:
    """Say how long a version is to live, in seconds from its creation; None: for ever. Raises Invalid (bad-ttl)."""
    check_ttl(ttl_s)

    def plan(_view: ProjectView, version: Version) -> list[Op]:
        return [SetTtl(at_us=now_us(), nonce=nonce(), version=version.id, ttl_s=ttl_s)]

    return _edit(root, reference, "ttl", plan)


def _edit(root: Root, reference: Reference, verb: str, make: _Plan) -> VersionInfo:
    def plan(view: ProjectView) -> list[Op]:
        return make(view, still_there(view, resolved))

    with root.session(verb) as session:
        # Inside: a row number of before could mean something else after a `rebuild`.
        resolved = resolve(root, reference)
        return commit_and_answer(root, session, resolved.project.name, plan, answer=lambda *_: resolved.info_now())


def _edit_aliases(root: Root, reference: Reference, make: _PlanOfAliases) -> VersionInfo:
    def plan(view: ProjectView) -> list[Op]:
        version = resolved.view.version(resolved.version.id)
        link = None if member is None else view.membership(collection, resolved.version.id)
        if version is None or version.deleted or (member is not None and link is None):
            message = f"{resolved.name if member is None else member.name} was deleted just now"
            raise NotFound(message, code="version-deleted")
        called = view.id_as_made(version) if link is None else view.id_as_linked(link)
        return make(view, collection, called, version.id)

    with root.session("alias") as session:
        # Inside, as above.
        resolved = resolve(root, reference)
        member = resolved.member
        project = resolved.project if member is None else member.project
        collection = resolved.collection.id if member is None else member.portfolio.id
        return commit_and_answer(root, session, project.name, plan, answer=lambda *_: resolved.info_now())


def _alias(collection: str, name: str, before: str | None, after: str | None) -> MoveAlias:
    return MoveAlias(
        at_us=now_us(),
        nonce=nonce(),
        collection=collection,
        alias=name,
        before=before,
        version=after,
    )
