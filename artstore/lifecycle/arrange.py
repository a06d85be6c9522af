"""Arrange: collections as a whole, their names, types and tags, and their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from artstore.errors import Conflict, NotFound
from artstore.lifecycle.before import is_with_others, with_others
from artstore.lifecycle.commit import commit_and_answer, nonce, now_us
from artstore.lifecycle.label import checked_text
from artstore.lifecycle.links import names_of_links, unlink_everywhere
from artstore.lifecycle.listing import describe_collection
from artstore.lifecycle.reports import CollectionInfo
from artstore.lifecycle.resolve import find_collection
from artstore.lifecycle.upstream import ending, ends_of, keeps_log
from artstore.model.names import collection_name, tag_name, type_name
from artstore.model.records import DeleteCollection, Describe, Op, Rename, Retype, SetTag
from artstore.model.state import Collection, Version
from artstore.storage.catalog import FoldView, Project, ProjectView
from artstore.storage.root import Root

_Plan = Callable[[ProjectView, Collection], list[Op]]


def describe(root: Root, project: str, name: str, text: str | None) -> CollectionInfo:
    """Give a collection another description."""
    checked = checked_text(text)

    def plan(_view: ProjectView, collection: Collection) -> list[Op]:
        return [Describe(at_us=now_us(), nonce=nonce(), kind="collection", target=collection.id, text=checked)]

    return _edit(root, project, name, "describe", plan)


def rename(root: Root, project: str, name: str, new_name: str) -> CollectionInfo:
    """Give a collection another name. Raises Conflict (name-taken)."""
    wanted = collection_name(new_name)

    def plan(view: ProjectView, collection: Collection) -> list[Op]:
        there = view.collection_named(wanted)
        if there is not None:
            if there.id == collection.id:
                return []
            message = f"{project}/{wanted} is another collection: choose another name"
            raise Conflict(message, code="name-taken")
        return [Rename(at_us=now_us(), nonce=nonce(), collection=collection.id, name=wanted)]

    return _edit(root, project, name, "rename", plan)


def retype(root: Root, project: str, name: str, type: str) -> CollectionInfo:
    """Give a collection, and so all its versions, another type. Raises Invalid (bad-type)."""
    wanted = type_name(type)

    def plan(_view: ProjectView, collection: Collection) -> list[Op]:
        if collection.type == wanted:
            return []
        return [Retype(at_us=now_us(), nonce=nonce(), collection=collection.id, type=wanted)]

    return _edit(root, project, name, "retype", plan)


def set_tags(root: Root, project: str, name: str, tags: Sequence[str], *, present: bool) -> CollectionInfo:
    """Put tags on a collection, or take them off. Raises Invalid (bad-tag), NotFound (tag-not-found)."""
    wanted = list(dict.fromkeys(map(tag_name, tags)))

    def plan(view: ProjectView, collection: Collection) -> list[Op]:
        there = {tag.name for tag in view.tags_of(collection.id)}
        missing = [tag for tag in wanted if tag not in there]
        if not present and missing:
            has = ", ".join(sorted(there)) or "none"
            message = f"collection {project}/{name} has no tag {missing[0]!r} (it has: {has})"
            raise NotFound(message, code="tag-not-found")
        return [
            SetTag(at_us=now_us(), nonce=nonce(), kind="collection", target=collection.id, tag=tag, present=present)
            for tag in (missing if present else wanted)
        ]

    return _edit(root, project, name, "tag", plan)


def delete(root: Root, project: str, name: str, *, force: bool, everywhere: bool = False) -> CollectionInfo:
    """Delete a collection with all its versions; answers what it was. `gc` frees what only it held.

    Raises Conflict while an alias other than latest stands on a version (aliased) or a portfolio of another collection
    has one (linked), unless forced: those that go for all are taken out of the portfolios then.

    Where others have or made versions of it, all of them are forgotten on this machine, and the name stays, unless
    `everywhere`: then it goes for all who follow the upstream, with those that were forgotten here, and no run may have
    used one here (used), unless forced. Raises NotFound (version-forgotten) where all of them were forgotten before.
    A portfolio that others have cannot be forgotten, so it raises Conflict (not-alone) unless `everywhere`. What others
    have put into it that was not seen here stays, and the collection with it. Where they have given one an alias,
    linked or used it meanwhile, all of it stays, and that is a conflict, unless forced.
    """
    _, view, found = find_collection(root, project, name)
    before = describe_collection(root, project, view, found)
    state: Literal["deleted", "forgotten"] = "deleted"
    ended = before.versions

    def is_for_all() -> bool:
        return everywhere or keeps_log(root, project)

    def versions_in(view: ProjectView) -> list[Version]:
        if is_for_all():
            return FoldView.versions_of(view, found.id)
        # Those that are awaited too, and none that was forgotten before.
        awaited = [each for each in view.awaited() if isinstance(each, Version) and each.collection == found.id]
        return [*view.versions_of(found.id), *awaited]

    def plan(view: ProjectView, collection: Collection) -> list[Op]:
        nonlocal state, ended
        there = versions_in(view)
        ids = [version.id for version in there]
        if not is_for_all():
            _check_here(root, project, view, collection, there)
        if not force:
            _check_deletable(root, f"{project}/{name}", view, collection, there, everywhere=everywhere)
        if collection.kind == "sequence":
            ended = len(there)
        if not is_for_all() and with_others(root, project, view, ids):
            state = "forgotten"
            return ends_of(root, project, view, ids)
        state = "deleted"
        end = DeleteCollection(
            at_us=now_us(),
            nonce=nonce(),
            collection=collection.id,
            versions=[*ids, *(m.version for m in view.memberships_of(collection.id))],
            store=root.format.store_id,
            # Where it was not asked for everywhere, uses do not keep it.
            forced=force or not everywhere,
        )
        return [end]

    if force:
        with root.session("unlink") as session:
            ids = [version.id for version in versions_in(view)]
            unlink_everywhere(root, session, ending(root, project, view, ids, everywhere=is_for_all()))
    _edit(root, project, name, "delete", plan)
    return msgspec.structs.replace(before, state=state, versions=ended)


def _check_deletable(
    root: Root, name: str, view: ProjectView, collection: Collection, versions: Sequence[Version], *, everywhere: bool
) -> None:
    """Raise Conflict (aliased, linked, used) where what is said of versions of a collection holds it."""
    aliases = view.aliases_in(collection.id)
    if aliases:
        names = ", ".join(repr(alias.name) for alias in aliases)
        message = f"versions of {name} carry {names}: remove the aliases first, or use force"
        raise Conflict(message, code="aliased")
    for version in versions:
        ref = f"{name}:v{version.number}"
        if links := names_of_links(root, version.id):
            message = f"{ref} is linked as {', '.join(links)}: unlink it, or use force"
            raise Conflict(message, code="linked")
        if everywhere and view.is_used(version.id):
            message = f"a run used {ref}: what it came from would be gone for everybody. Force it if it may be"
            raise Conflict(message, code="used")


def _check_here(
    root: Root, project: str, view: ProjectView, collection: Collection, versions: Sequence[Version]
) -> None:
    """Raise Conflict (not-alone) or NotFound (version-forgotten) where nothing can go on this machine alone."""
    name = f"{project}/{collection.name}"
    for_all = f"`artstore delete {name} --collection --everywhere` takes it from all"
    if collection.kind == "portfolio" and is_with_others(root, project, collection.id):
        message = f"others have portfolio {name} too, and it cannot be deleted on this machine alone: {for_all}"
        raise Conflict(message, code="not-alone")
    if not versions and FoldView.versions_of(view, collection.id):
        message = f"nothing is left of {name} on this machine, and others have it: {for_all}"
        raise NotFound(message, code="version-forgotten")


def _edit(root: Root, project: str, name: str, verb: str, make: _Plan) -> CollectionInfo:
    _, _, found = find_collection(root, project, name)

    def plan(view: ProjectView) -> list[Op]:
        collection = view.collection(found.id)
        if collection is None or collection.deleted:
            message = f"collection {project}/{name} was deleted just now"
            raise NotFound(message, code="collection-not-found")
        return make(view, collection)

    def after(_project: Project, view: ProjectView) -> CollectionInfo:
        # Found by its id: it may have another name by now.
        collection = view.collection(found.id)
        assert collection is not None
        return describe_collection(root, project, view, collection)

    with root.session(verb) as session:
        return commit_and_answer(root, session, project, plan, answer=after)
