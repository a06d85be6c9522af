"""Commit of a draft: what was put together becomes a version, durable and numbered."""

from __future__ import annotations

from collections.abc import Collection as Group
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from artstore.errors import Conflict, Invalid
from artstore.lifecycle.commit import commit_and_answer, nonce, now_us
from artstore.lifecycle.content import Content
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.label import Label
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.resolve import describe_by_id
from artstore.model.digest import Digest
from artstore.model.manifest import (
    Encoding,
    Entry,
    blob_of,
    difference_between,
    encode_difference,
    encode_full,
)
from artstore.model.names import LATEST
from artstore.model.notes import Evicted, Forget
from artstore.model.records import Commit, Create, MoveAlias, Op, Relog, SetTag, SetTtl, VersionRecord, encode_op
from artstore.model.state import Collection, UnfinishedPart, Version
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.intake import Intake
from artstore.storage.oplog import Attachments, Sums
from artstore.storage.root import Root


class Onto(NamedTuple):
    """Where a version is to follow another: what must stand on an alias at the moment of the commit."""

    alias: str
    version: str | None
    """Its id; None where nothing may stand there."""


class Outcome(NamedTuple):
    """What a commit of a draft came to."""

    version: VersionInfo
    made: bool
    warnings: list[str]


class Overtaken(Exception):
    """The state was another one under the lock than before it."""


class _ContentGone(Exception):
    """The version with this content was deleted under the lock."""


def check_type(root: Root, label: Label) -> None:
    """Raise Invalid (type-clash) where the name stands for another type."""
    project = root.catalog.project(label.project)
    if project is not None:
        _check_type(ProjectView(root.catalog, project.id).collection_named(label.name), label)


def commit_draft(
    draft: Draft,
    label: Label,
    *,
    onto: Onto | None = None,
    parts: Sequence[UnfinishedPart] = (),
) -> Outcome:
    """Commit a draft: durable, visible and numbered when this returns.

    Content equal to that of a live version of the collection makes no new one: that version is `latest` again and gets
    the aliases; so does one that was forgotten here, and is there again. Raises Conflict (moved-on) where `onto` no
    longer holds; the draft can be committed again. The parts, all with one distributed id, are gathered; raises
    Overtaken where they are no longer all of them. What the upstream has of their bytes need not come here.
    """
    draft.intake.seal()
    content = draft.content()
    away = _settle_bytes(draft, label, content.entries, parts)
    outcome = None
    while outcome is None:
        attachments = attachments_of(draft, label, content, away=away)
        draft.intake.settle()
        try:
            outcome = _commit(draft, label, content, attachments, onto=onto, parts=parts, away=away)
        except _ContentGone:
            # The version with this content was deleted a moment ago, so its rows have to be made after all.
            continue
    draft.save_stat_caches(content.digest)
    draft.warnings = content.warnings + outcome.warnings
    return outcome._replace(warnings=draft.warnings)


def _settle_bytes(draft: Draft, label: Label, entries: Sequence[Entry], parts: Sequence[UnfinishedPart]) -> set[Digest]:
    """Have the bytes here that a version needs; answers those that may stay where they are.

    That is what parts name that came from the upstream: it has their bytes while they are live, and a commit that
    gathers them counts only while they are.
    """
    root = draft.root
    project = root.catalog.project(label.project)
    view = None if project is None else ProjectView(root.catalog, project.id)
    received = [part for part in parts if view is not None and view.is_received(part.id)]
    if root.blobs.elsewhere is None and not received:
        return set()
    # Its own bytes are here when they are settled.
    draft.intake.settle()
    blobs = list(dict.fromkeys(_blobs_of(entries)))
    here = root.blobs.locate(blobs)
    absent = {digest for digest in blobs if digest not in here}
    away: set[Digest] = set()
    for part in received if absent else ():
        away |= absent.intersection(_blobs_of(root.manifests.entries(Digest.parse(part.manifest))))
    root.blobs.bring([digest for digest in blobs if digest in absent - away])
    root.blobs.check_stored([digest for digest in blobs if digest not in away])
    return away


def attachments_of(
    draft: Draft,
    label: Label,
    content: Content,
    *,
    always: bool = False,
    away: Group[Digest] = (),
) -> Attachments:
    """Insert the manifest's rows, and say what the log's file has to carry.

    Without the manifest where a version of the collection has the content already, unless `always`. The blobs that are
    `away` need not be here.
    """
    root = draft.root
    sums = [Sums(stored.digest, stored.size, stored.sums) for stored in draft.intake.whole]
    project = root.catalog.project(label.project)
    view = None if project is None else ProjectView(root.catalog, project.id)
    collection = None if view is None else view.collection_named(label.name)
    there = None if view is None or collection is None else view.version_with_manifest(collection.id, content.digest)
    if there is not None and not always:
        return Attachments(sums=sums, packs=draft.intake.packs)
    latest = None if view is None or collection is None else view.latest(collection.id)
    encoding = _insert_manifest(root, content, latest, draft.intake, away=away)
    return Attachments(manifests=[encoding], sums=sums, packs=draft.intake.packs)


def _insert_manifest(
    root: Root,
    content: Content,
    latest: Version | None,
    intake: Intake,
    *,
    away: Group[Digest],
) -> Encoding:
    digest, entries = content.digest, content.entries
    stored_only = not away
    is_here = root.manifests.find(digest) is not None
    if is_here:
        # It may be that of a version of which only the names have come.
        intake.settle()
        root.blobs.check_stored([digest for digest in _blobs_of(entries) if digest not in away])
    if latest is not None:
        base_digest = Digest.parse(latest.manifest)
        base = root.manifests.find(base_digest)
        if base is not None:
            difference = content.difference_to(base_digest)
            if difference is None:
                difference = difference_between(root.manifests.entries(base_digest), entries)
            if root.manifests.can_build_on(base, difference.weight, len(entries)):
                if not is_here:
                    root.manifests.add_difference(
                        digest,
                        base,
                        difference,
                        len(entries),
                        intake.ids(),
                        settle=intake.settle,
                        stored_only=stored_only,
                    )
                return encode_difference(digest, base_digest, difference, len(entries))
    with ThreadPoolExecutor(1, thread_name_prefix="artstore-encode") as pool:
        # Neither compressing nor inserting needs the interpreter for most of its time.
        encoding = pool.submit(encode_full, digest, (entry.line() for entry in entries))
        if not is_here:
            root.manifests.add_full(digest, entries, intake.ids(), settle=intake.settle, stored_only=stored_only)
        return encoding.result()


def _blobs_of(entries: Iterable[Entry]) -> list[Digest]:
    return [blob.digest for entry in entries if (blob := blob_of(entry)) is not None]


def _commit(
    draft: Draft,
    label: Label,
    content: Content,
    attachments: Attachments,
    *,
    onto: Onto | None,
    parts: Sequence[UnfinishedPart],
    away: Group[Digest],
) -> Outcome:
    made = True
    target = ""
    warnings: list[str] = []

    def plan(view: ProjectView) -> list[Op]:
        nonlocal made, target
        draft.check_still_stored(but=away)
        if parts and view.parts_of(label.name, parts[0].distributed_id) != list(parts):
            raise Overtaken
        gathered = [part.id for part in parts]
        at_us = now_us()
        ops: list[Op] = []
        collection = view.collection_named(label.name)
        _check_type(collection, label)
        if onto is not None:
            _check_onto(view, collection, label, onto)
        if collection is None:
            create = Create(
                at_us=at_us, nonce=nonce(), kind="sequence", name=label.name, type=label.type, description=None
            )
            ops.append(create)
            collection = Collection(
                id=str(Digest.of(encode_op(create))),
                kind="sequence",
                name=label.name,
                type=label.type,
                description=None,
                next_number=0,
                created_us=at_us,
                deleted=False,
            )
        called = view.id_made_here(collection)
        record = VersionRecord(
            collection=called,
            manifest=str(content.digest),
            created_us=at_us if label.created_us is None else label.created_us,
            run=label.run,
            description=label.description,
            metadata=label.metadata,
            entries=len(content.entries),
            bytes=draft.bytes,
            nonce=nonce(),
        )
        there = view.version_with_manifest(collection.id, content.digest)
        if there is None:
            if not attachments.manifests:
                raise _ContentGone
            draft.root.manifests.keep(content.digest)
            there = view.forgotten_with_manifest(collection.id, content.digest)
            ops.extend(_wanted_again(there, at_us))
        if there is None:
            ops.append(Commit(at_us=at_us, nonce=nonce(), record=record, parts=gathered))
            target = str(record.id)
            ops.extend(_may_be_missing(target, at_us) if away else ())
        else:
            made = False
            ops.append(Relog(at_us=at_us, nonce=nonce(), target=there.id, record=record, parts=gathered))
            target = there.id
            warnings.extend(_differences(there, label))
        ops.extend(_aliases(view, called, target, label.aliases, at_us))
        if label.ttl_s is not None:
            ops.append(SetTtl(at_us=at_us, nonce=nonce(), version=target, ttl_s=label.ttl_s))
        ops.extend(_tag(target, tag, at_us) for tag in label.tags)
        return ops

    def after(project: Project, view: ProjectView) -> VersionInfo:
        return describe_by_id(project, view, target)

    version = commit_and_answer(draft.root, draft.session, label.project, plan, answer=after, attachments=attachments)
    return Outcome(version, made, warnings)


def _may_be_missing(version: str, at_us: int) -> list[Op]:
    return [Evicted(at_us=at_us, nonce=nonce(), versions=[version])]


def _wanted_again(forgotten: Version | None, at_us: int) -> list[Op]:
    # Whoever puts it again wants it again: it is the same version, under the same number.
    return [] if forgotten is None else [Forget(at_us=at_us, nonce=nonce(), version=forgotten.id, forgotten=False)]


def _aliases(view: ProjectView, collection: str, target: str, aliases: Sequence[str], at_us: int) -> list[Op]:
    there = view.collection(collection)
    ops: list[Op] = []
    for alias in aliases:
        before = None if there is None else view.alias(there.id, alias)
        if before is None or before.version != target:
            ops.append(
                MoveAlias(
                    at_us=at_us,
                    nonce=nonce(),
                    collection=collection,
                    alias=alias,
                    before=None if before is None else before.version,
                    version=target,
                ),
            )
    return ops


def _tag(version: str, tag: str, at_us: int) -> SetTag:
    return SetTag(at_us=at_us, nonce=nonce(), kind="version", target=version, tag=tag, present=True)


def _check_type(collection: Collection | None, label: Label) -> None:
    if collection is not None and collection.kind != "sequence":
        message = (
            f"{label.project}/{label.name} is a portfolio, which has links and no versions of its own: choose another "
            "name, then link the version to it"
        )
        raise Invalid(message, code="is-a-portfolio")
    if collection is not None and collection.type != label.type:
        message = (
            f"{label.project}/{label.name} is of type {collection.type!r}, so nothing of type {label.type!r} can go "
            "under that name: choose another name, or that type"
        )
        raise Invalid(message, code="type-clash")


def _check_onto(view: ProjectView, collection: Collection | None, label: Label, onto: Onto) -> None:
    there = None
    if collection is not None and onto.alias == LATEST:
        latest = view.latest(collection.id)
        there = None if latest is None else latest.id
    elif collection is not None:
        alias = view.alias(collection.id, onto.alias)
        there = None if alias is None else alias.version
    if there != onto.version:
        message = f"{label.name}:{onto.alias} was moved by another commit meanwhile: look again, and repeat"
        raise Conflict(message, code="moved-on")


def _differences(there: Version, label: Label) -> list[str]:
    name = f"{label.project}/{label.name}:v{there.number}"
    warnings = []
    if label.metadata and label.metadata != there.metadata:
        warnings.append(
            f"{name} has this content already, with other metadata, which stay: `artstore metadata {name}` sets them"
        )
    if label.description is not None and label.description != there.description:
        warnings.append(
            f"{name} has this content already, with another description: `artstore describe {name}` sets it"
        )
    return warnings
