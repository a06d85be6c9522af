"""Parts: several writers make one version together.

Each adds a part, which is durable and which nobody sees; one gathers them. Which parts belong together say the
collection's name and a distributed id. What is gathered is the same in whatever order the parts came; a part that comes
later belongs to the next version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from artstore.errors import Conflict, Invalid, NotFound, PathCollision
from artstore.lifecycle.commit import commit, commit_and_answer, nonce, now_us
from artstore.lifecycle.commit_draft import Overtaken, attachments_of, check_type, commit_draft
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.label import Label
from artstore.lifecycle.ordering import is_own
from artstore.lifecycle.prune import safe_now
from artstore.lifecycle.reports import PartInfo, VersionInfo
from artstore.lifecycle.resolve import find_project
from artstore.model.digest import Digest
from artstore.model.manifest import Entry
from artstore.model.names import LONGEST, project_name, run_id
from artstore.model.records import DropPart, Op, Part, encode_op
from artstore.model.state import UnfinishedPart
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.root import Root

_NOBODY: Final = "a writer without a run"
_SAID: Final = ("aliases", "description", "metadata")
_SHOWN: Final = 8
"""Digits of a store's id."""


def add_part(draft: Draft, label: Label, distributed_id: str) -> str:
    """Make a part of a draft: durable, and kept until it is gathered or dropped; answers its id. See Store.add_part.

    What a run has added already, and nobody gathered yet, is there once.
    """
    root = draft.root
    _check_id(distributed_id)
    check_type(root, label)
    draft.intake.seal()
    content = draft.content()
    attachments = attachments_of(draft, label, content, always=True)
    draft.intake.settle()
    op = Part(
        at_us=now_us(),
        nonce=nonce(),
        name=label.name,
        type=label.type,
        distributed_id=distributed_id,
        run=label.run,
        store=root.format.store_id,
        manifest=str(content.digest),
        entries=len(content.entries),
        bytes=draft.bytes,
        aliases=label.aliases,
        description=label.description,
        metadata=label.metadata,
    )

    id_ = str(Digest.of(encode_op(op)))

    def plan(view: ProjectView) -> list[Op]:
        nonlocal id_
        there = view.parts_of(label.name, distributed_id)
        _check_types(there, label)
        draft.check_still_stored(but=())
        same = next((part for part in there if part.run is not None and _says_the_same(part, op)), None)
        if same is not None:
            id_ = same.id
            return []
        root.manifests.keep(content.digest)
        return [op]

    def after(_project: Project, _view: ProjectView) -> str:
        return id_

    added = commit_and_answer(root, draft.session, label.project, plan, answer=after, attachments=attachments)
    draft.save_stat_caches(content.digest)
    draft.warnings = content.warnings
    return added


def finish_parts(draft: Draft, label: Label, distributed_id: str, *, expect: int | None) -> VersionInfo:
    """Gather all parts there are, and what the draft has, into a version; see Store.finish_parts."""
    _check_id(distributed_id)
    if expect is not None and expect < 0:
        message = f"{expect} parts cannot be waited for: expect 0 or more"
        raise Invalid(message, code="bad-count")
    own = dict(draft.entries)
    while True:
        parts = _unfinished(draft.root, label, distributed_id)
        _check_types(parts, label)
        if expect is not None and (came := len(_different(parts))) < expect:
            raise _too_few(draft.root, label, distributed_id, parts, f"{came} of {expect} parts")
        if not parts and not own:
            message = f"{label.project}/{label.name} has no parts of {distributed_id!r}: add some, then finish"
            raise NotFound(message, code="no-parts")
        draft.begin_again(_union(draft.root, own, label.run, parts).values())
        try:
            return commit_draft(draft, _said_together(label, parts), parts=parts).version
        except Overtaken:
            # A part came, or somebody else finished, a moment ago.
            draft.begin_again(own.values())


def all_parts(root: Root, project: str | None) -> list[PartInfo]:
    """The parts that nobody has gathered, of a project or of all, the first first."""
    if project is not None:
        project_name(project)
    return [
        PartInfo(
            id=part.id,
            project=each.name,
            name=part.name,
            type=part.type,
            distributed_id=part.distributed_id,
            run=part.run,
            store=part.store,
            provisional=not is_own(root.path, each) and not view.is_accepted(part.id),
            files=part.entries,
            bytes=part.bytes,
            created_at=part.created_us / 1e6,
        )
        for each in root.catalog.projects()
        if project in {None, each.name}
        for view in [ProjectView(root.catalog, each.id)]
        for part in view.parts()
    ]


def drop_parts(root: Root, project: str, name: str, distributed_id: str, *, run: str | None) -> int:
    """Give up the parts of a version, or of one run; answers how many there were. Raises NotFound (no-parts)."""
    _check_id(distributed_id)
    find_project(root, project)
    whose = "" if run is None else f" from run {run_id(run)!r}"

    def chosen(view: ProjectView) -> list[UnfinishedPart]:
        found = [part for part in view.parts_of(name, distributed_id) if run in {None, part.run}]
        if not found:
            message = (
                f"{project}/{name} has no parts of {distributed_id!r}{whose}: `artstore parts` lists what there is"
            )
            raise NotFound(message, code="no-parts")
        return found

    return _drop(root, project, chosen)


def drop_old_parts(root: Root, project: str | None, older_than_s: float) -> int:
    """Give up what was added that long ago and never gathered, in a project or in all; answers how many there were."""
    if not older_than_s >= 0:
        message = f"a part cannot be older than {older_than_s:g} s: give 0 or more"
        raise Invalid(message, code="bad-age")
    if project is not None:
        project_name(project)

    def chosen(view: ProjectView) -> list[UnfinishedPart]:
        parts = view.parts()
        now = safe_now(root.path, (part.created_us for part in parts))
        return [part for part in parts if now - part.created_us / 1e6 >= older_than_s]

    return sum(_drop(root, each.name, chosen) for each in root.catalog.projects() if project in {None, each.name})


def _drop(root: Root, project: str, choose: Callable[[ProjectView], Sequence[UnfinishedPart]]) -> int:
    dropped = 0

    def plan(view: ProjectView) -> list[Op]:
        nonlocal dropped
        chosen = choose(view)
        dropped = len(chosen)
        return [DropPart(at_us=now_us(), nonce=nonce(), part=part.id) for part in chosen]

    with root.session("drop") as session:
        commit(root, session, project, plan)
    return dropped


def _unfinished(root: Root, label: Label, distributed_id: str) -> list[UnfinishedPart]:
    project = root.catalog.project(label.project)
    return [] if project is None else ProjectView(root.catalog, project.id).parts_of(label.name, distributed_id)


def _union(root: Root, own: Mapping[str, Entry], run: str | None, parts: Sequence[UnfinishedPart]) -> dict[str, Entry]:
    """The entries of all together. Raises PathCollision (parts-clash) where two say different things of one path."""
    found: dict[str, Entry] = dict(own)
    owners: dict[str, str | None] = dict.fromkeys(own, run)
    for part in parts:
        for entry in root.manifests.entries(Digest.parse(part.manifest)):
            there = found.setdefault(entry.path, entry)
            owner = owners.setdefault(entry.path, part.run)
            if there != entry:
                first, second = sorted(_called(each) for each in (owner, part.run))
                whose = f"one content from {first} and another from {second}"
                whose = f"two contents, both from {first}" if first == second else whose
                message = (
                    f"{entry.path!r} has {whose}, so nothing was committed: give them two paths, or drop the parts and "
                    "add them again"
                )
                raise PathCollision(message, code="parts-clash")
    return found


def _says_the_same(part: UnfinishedPart, op: Part) -> bool:
    return all(getattr(part, field) == getattr(op, field) for field in ("run", "manifest", *_SAID))


def _different(parts: Sequence[UnfinishedPart]) -> set[tuple[str, str]]:
    """What came, where the same part of the same run counts once, from wherever it was sent again."""
    return {(part.run or part.id, part.manifest) for part in parts}


def _too_few(root: Root, label: Label, distributed_id: str, parts: Sequence[UnfinishedPart], count: str) -> Conflict:
    by_store: dict[str, list[str]] = {}
    for part in parts:
        by_store.setdefault(part.store, []).append(_called(part.run))
    here = root.format.store_id
    came: list[str] = []
    for store, runs in sorted(by_store.items(), key=lambda item: (item[0] != here, item[0])):
        where = "this store" if store == here else f"store {store[:_SHOWN]}"
        came.append(f"{', '.join(runs)} in {where}")
    have = f" (those of {'; of '.join(came)})" if came else ""
    message = (
        f"{label.project}/{label.name} has {count} of {distributed_id!r}{have}: wait for the others, and see that they "
        "were pushed where other stores made them"
    )
    return Conflict(message, code="parts-missing")


def _called(run: str | None) -> str:
    return _NOBODY if run is None else f"run {run!r}"


def _said_together(label: Label, parts: Sequence[UnfinishedPart]) -> Label:
    """What is said of the version: the finisher's word counts first; among parts, the same in whatever order."""
    ordered = sorted(parts, key=lambda part: (part.run or "", part.manifest, msgspec.json.encode(part.metadata)))
    metadata: dict[str, Any] = {}
    for part in ordered:
        metadata.update(part.metadata)
    said = [part.description for part in ordered if part.description is not None]
    aliases = sorted({alias for part in parts for alias in part.aliases} - set(label.aliases))
    return msgspec.structs.replace(
        label,
        aliases=[*label.aliases, *aliases],
        description=label.description if label.description is not None or not said else said[-1],
        metadata={**metadata, **label.metadata},
    )


def _check_types(parts: Sequence[UnfinishedPart], label: Label) -> None:
    other = next((part for part in parts if part.type != label.type), None)
    if other is not None:
        message = f"parts of {label.project}/{label.name} are of type {other.type!r}, not of type {label.type!r}"
        raise Invalid(message, code="type-clash")


def _check_id(distributed_id: str) -> None:
    if not distributed_id or not distributed_id.isprintable() or len(distributed_id) > LONGEST:
        message = f"{distributed_id!r} is not a distributed id: use 1 to {LONGEST} characters that can be seen"
        raise Invalid(message, code="bad-distributed-id")
