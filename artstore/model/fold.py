"""The fold: what an op does to a state.

Pure and total: the same ops in the same order give the same state everywhere, and an op that does not apply is void,
with a reason, alike everywhere. Numbers count a collection's commits in log order, and a deleted one is never used
again. `latest` is not kept: it is the live version that was logged last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from artstore.model import records
from artstore.model.records import AnyOp, VersionRecord
from artstore.model.state import (
    Alias,
    Collection,
    Logged,
    Membership,
    MemoryState,
    Row,
    Run,
    RunFacts,
    Synonym,
    Tag,
    UnfinishedPart,
    Used,
    Version,
    View,
)

F = TypeVar("F", bound=RunFacts)

MOVED: Final = "the alias was moved or taken away by somebody else first"
"""Why an op is void that is to be shown as a conflict, and not only noted."""
GATHERED: Final = "a part that it gathers was gathered or given up by somebody else first"
"""Why a commit is void that came behind another one of the same parts."""
UNKNOWN_COLLECTION: Final = "the collection was refused or is not known"
UNKNOWN_VERSION: Final = "the version is not known"
UNKNOWN_RUN: Final = "the run is not known"
PASSING: Final = frozenset({UNKNOWN_COLLECTION, UNKNOWN_VERSION, UNKNOWN_RUN})
"""Why an op is void that lacks what it names, which may come. Of all others somebody else has decided otherwise."""
ENDED: Final = "the collection was deleted"
"""Why an op is void that came too late; what it brings may come to be where the collection is created again."""
NOT_SEEN: Final = "the collection is somebody else's, who made one of that name first"
"""Why an op is void that is about a whole collection, and was said of another one, which was made apart."""
NEEDED: Final = "somebody else has given it an alias, linked or used it first"
"""Why the end of a version is void that was not forced, and that nothing spoke against where it was written."""
OF_A_DEPOT: Final = "it is about the objects of a depot"
"""Why an op is void that never changes any state, and means something in its own log alone."""


class Put(msgspec.Struct, frozen=True):
    """A row comes, in place of the one with its key."""

    row: Row


class Drop(msgspec.Struct, frozen=True):
    """A row goes."""

    row: Row


class Void(msgspec.Struct, frozen=True):
    """An op that changes nothing, and why."""

    reason: str


Change = Put | Drop


def fold(view: View, op_id: str, op: AnyOp, position: int) -> list[Change] | Void:
    """What an op changes, where `position` is its place in the log, counted in ops from 1."""
    return _RULES[type(op)](view, op_id, op, position)


def fold_into(state: MemoryState, op_id: str, op: AnyOp, position: int) -> Void | None:
    """Fold an op into a state in memory; answers why it was void, if it was."""
    outcome = fold(state, op_id, op, position)
    if isinstance(outcome, Void):
        return outcome
    for change in outcome:
        if isinstance(change, Put):
            state.put(change.row)
        else:
            state.drop(change.row)
    return None


def _create(view: View, op_id: str, op: records.Create, _position: int) -> list[Change] | Void:
    id_ = records.made_by(op_id, op)
    before, there = view.collection(id_), view.collection_named(op.name)
    if before is not None and before.deleted and op.id is not None:
        return _create_again(before, there, op.name)
    if before is not None:
        # It counts once, at its first place: by now the collection may have another name, and versions.
        return Void("it was created before")
    if there is None:
        row = Collection(
            id=id_,
            kind=op.kind,
            name=op.name,
            type=op.type,
            description=op.description,
            next_number=0,
            created_us=op.at_us,
            deleted=False,
        )
        return [Put(row)]
    if there.kind != op.kind:
        return Void(f"{op.name!r} is a {there.kind}")
    if there.type != op.type:
        return Void(f"{op.name!r} has the type {there.type!r}")
    return [Put(Synonym(id=id_, collection=there.id))]


def _create_again(gone: Collection, there: Collection | None, name: str) -> list[Change] | Void:
    """A collection that was deleted stands again: nothing that is made in it comes too late, and its numbers go on."""
    if there is not None:
        return Void(f"{name!r} is another collection")
    return [Put(msgspec.structs.replace(gone, name=name, deleted=False))]


def _commit(view: View, _op_id: str, op: records.Commit, position: int) -> list[Change] | Void:
    return _new_version(view, op.record, op.parts, position)


def _new_version(view: View, record: VersionRecord, parts: list[str], position: int) -> list[Change] | Void:
    collection = _standing(view, record.collection)
    if isinstance(collection, Void):
        return collection
    if collection.kind != "sequence":
        return Void("a portfolio has no versions of its own")
    id_ = str(record.id)
    if view.version(id_) is not None:
        return Void("it was committed before")
    if _lacks_a_part(view, parts):
        return Void(GATHERED)
    version = Version(
        id=id_,
        collection=collection.id,
        number=collection.next_number,
        manifest=record.manifest,
        entries=record.entries,
        bytes=record.bytes,
        created_us=record.created_us,
        updated_us=record.created_us,
        run=record.run,
        description=record.description,
        metadata=record.metadata,
        ttl_s=None,
        logged=position,
        deleted=False,
    )
    changes: list[Change] = [
        Put(version),
        Put(msgspec.structs.replace(collection, next_number=collection.next_number + 1)),
    ]
    if record.run is not None:
        changes.append(Put(Logged(run=record.run, version=id_, relogged=False, position=position)))
    return changes + _gather(view, parts, id_, {record.run}, relogged=False, position=position)


def _gather(
    view: View, ids: list[str], version: str, known: set[str | None], *, relogged: bool, position: int
) -> list[Change]:
    """Take parts into a version: they go, and their runs have logged it, but for those of which it is known."""
    parts = [part for id_ in dict.fromkeys(ids) if (part := view.part(id_)) is not None]
    runs = {part.run for part in parts if part.run is not None} - known
    logged = [Logged(run=run, version=version, relogged=relogged, position=position) for run in sorted(runs)]
    return [*(Drop(part) for part in parts), *(Put(row) for row in logged if view.logged(row.run, version) is None)]


def _lacks_a_part(view: View, ids: list[str]) -> bool:
    return any(view.part(id_) is None for id_ in ids)


def _part(view: View, op_id: str, op: records.Part, _position: int) -> list[Change] | Void:
    if view.part(op_id) is not None:
        return Void("it was added before")
    part = UnfinishedPart(
        id=op_id,
        name=op.name,
        type=op.type,
        distributed_id=op.distributed_id,
        run=op.run,
        store=op.store,
        manifest=op.manifest,
        entries=op.entries,
        bytes=op.bytes,
        aliases=op.aliases,
        description=op.description,
        metadata=op.metadata,
        created_us=op.at_us,
    )
    return [Put(part)]


def _drop_part(view: View, _op_id: str, op: records.DropPart, _position: int) -> list[Change] | Void:
    part = view.part(op.part)
    return Void("the part was gone") if part is None else [Drop(part)]


def _relog(view: View, _op_id: str, op: records.Relog, position: int) -> list[Change] | Void:
    target, collection = view.version(op.target), view.collection(op.record.collection)
    if target is None or target.deleted or collection is None or target.collection != collection.id:
        return _new_version(view, op.record, op.parts, position)
    if _lacks_a_part(view, op.parts):
        return Void(GATHERED)
    changes: list[Change] = [Put(msgspec.structs.replace(target, logged=position))]
    if op.record.run is not None and view.logged(op.record.run, target.id) is None:
        changes.append(Put(Logged(run=op.record.run, version=target.id, relogged=True, position=position)))
    return changes + _gather(view, op.parts, target.id, {op.record.run}, relogged=True, position=position)


def _move_alias(view: View, _op_id: str, op: records.MoveAlias, _position: int) -> list[Change] | Void:
    collection = _standing(view, op.collection)
    if isinstance(collection, Void):
        return collection
    there = view.alias(collection.id, op.alias)
    at = None if there is None else there.version
    if at not in {op.before, op.version} and (at is not None or _could_stand(view, collection, op.before)):
        # Whoever wrote this saw it stand elsewhere, so somebody else moved it or took it away first: theirs stands.
        return Void(MOVED)
    changes: list[Change] = []
    if op.version is not None:
        refusal = _stranger(view, collection, op.version)
        if refusal is not None:
            return refusal
        changes.append(Put(Alias(collection=collection.id, name=op.alias, version=op.version)))
    elif there is None:
        return Void("the alias was gone")
    else:
        changes.append(Drop(there))
    if collection.kind == "sequence":
        # In a portfolio the alias is the link's; the version knows nothing of it.
        changes += _relabelled(view, op, at, op.version)
    return changes


def _could_stand(view: View, collection: Collection, id_: str | None) -> bool:
    """Whether an alias that stood on a version could do so still: it did not go with it."""
    return id_ is not None and _stranger(view, collection, id_) is None


def _stranger(view: View, collection: Collection, id_: str) -> Void | None:
    """Why no alias of a collection can stand on a version, if none can."""
    if collection.kind == "portfolio":
        is_in = view.membership(collection.id, id_) is not None
        return None if is_in else Void("the version is not in the portfolio")
    version = _live(view, id_)
    if isinstance(version, Void):
        return version
    return None if version.collection == collection.id else Void("the version is of another collection")


def _set_tag(view: View, _op_id: str, op: records.SetTag, _position: int) -> list[Change] | Void:
    target = (_live if op.kind == "version" else _known)(view, op.target)
    if isinstance(target, Void):
        return target
    tag = Tag(target=target.id, name=op.tag)
    if not op.present and tag not in view.tags_of(target.id):
        return Void("the tag was gone")
    change = Put(tag) if op.present else Drop(tag)
    return [change, *_relabelled(view, op, target.id)]


def _describe(view: View, _op_id: str, op: records.Describe, _position: int) -> list[Change] | Void:
    if op.kind == "collection":
        collection = _known(view, op.target)
        if isinstance(collection, Void):
            return collection
        return [Put(msgspec.structs.replace(collection, description=op.text))]
    return _edit(view, op, op.target, description=op.text)


def _edit_metadata(view: View, _op_id: str, op: records.EditMetadata, _position: int) -> list[Change] | Void:
    version = _live(view, op.version)
    if isinstance(version, Void):
        return version
    kept = {key: value for key, value in version.metadata.items() if key not in op.remove}
    return _edit(view, op, version.id, metadata={**kept, **op.set})


def _set_ttl(view: View, _op_id: str, op: records.SetTtl, _position: int) -> list[Change] | Void:
    return _edit(view, op, op.version, ttl_s=op.ttl_s)


def _rename(view: View, _op_id: str, op: records.Rename, _position: int) -> list[Change] | Void:
    collection = _known(view, op.collection)
    if isinstance(collection, Void):
        return collection
    there = view.collection_named(op.name)
    if there is not None and there.id != collection.id:
        return Void(f"{op.name!r} is another collection")
    return [Put(msgspec.structs.replace(collection, name=op.name))]


def _retype(view: View, _op_id: str, op: records.Retype, _position: int) -> list[Change] | Void:
    collection = _known(view, op.collection)
    if isinstance(collection, Void):
        return collection
    return [Put(msgspec.structs.replace(collection, type=op.type))]


def _delete(view: View, _op_id: str, op: records.Delete, _position: int) -> list[Change] | Void:
    version = _live(view, op.version)
    if isinstance(version, Void):
        return version
    if not op.forced and _is_needed(view, version):
        return Void(NEEDED)
    return _without_version(view, version)


def _is_needed(view: View, version: Version) -> bool:
    aliases = view.aliases_of(version.collection, version.id)
    return bool(aliases or view.links_of(version.id) or view.uses_of(version.id))


def _delete_collection(view: View, _op_id: str, op: records.DeleteCollection, _position: int) -> list[Change] | Void:
    collection = _standing(view, op.collection)
    if isinstance(collection, Void):
        return collection
    seen = set(op.versions)
    versions, links = view.versions_of(collection.id), view.memberships_of(collection.id)
    ended = [version for version in versions if version.id in seen]
    unlinked = [link for link in links if link.version in seen and _is_of(link, op.collection, collection)]
    is_needed = any(_is_needed(view, version) for version in ended)
    if not op.forced and (is_needed or any(view.aliases_of(link.portfolio, link.version) for link in unlinked)):
        return Void(NEEDED)
    changes = [change for version in ended for change in _without_version(view, version)]
    changes += [change for link in unlinked for change in _without_link(view, link)]
    if collection.id == op.collection and (len(ended), len(unlinked)) == (len(versions), len(links)):
        # Else somebody else needs it, who has put more into it, or made it.
        changes += map(Drop, view.tags_of(collection.id))
        changes.append(Put(msgspec.structs.replace(collection, deleted=True)))
    return changes or Void("others have made the collection, or put more into it")


def _without_version(view: View, version: Version) -> list[Change]:
    """What the end of a version changes."""
    tags, aliases = view.tags_of(version.id), view.aliases_of(version.collection, version.id)
    return [Put(msgspec.structs.replace(version, deleted=True)), *map(Drop, tags), *map(Drop, aliases)]


def _without_link(view: View, link: Membership) -> list[Change]:
    """What it changes that a version is in a portfolio no more."""
    return [Drop(link), *map(Drop, view.aliases_of(link.portfolio, link.version))]


def _is_of(link: Membership, id_: str, portfolio: Collection) -> bool:
    """Whether who calls a portfolio by this id can have seen a link in it: where they made one apart, theirs alone."""
    return id_ in {portfolio.id, link.made_in}


def _link(view: View, _op_id: str, op: records.Link, position: int) -> list[Change] | Void:
    portfolio = _standing(view, op.portfolio)
    if isinstance(portfolio, Void):
        return portfolio
    if portfolio.kind != "portfolio":
        return Void("the collection is no portfolio")
    there = view.membership(portfolio.id, op.version)
    if there is not None:
        # What several have linked is nobody's alone.
        made_in = there.made_in if there.made_in == op.portfolio else portfolio.id
        return [Put(msgspec.structs.replace(there, name=op.name, logged=position, made_in=made_in))]
    membership = Membership(
        portfolio=portfolio.id,
        version=op.version,
        source_project=op.project,
        name=op.name,
        digest=op.digest,
        number=portfolio.next_number,
        linked_us=op.at_us,
        logged=position,
        made_in=op.portfolio,
    )
    return [Put(membership), Put(msgspec.structs.replace(portfolio, next_number=portfolio.next_number + 1))]


def _unlink(view: View, _op_id: str, op: records.Unlink, _position: int) -> list[Change] | Void:
    portfolio = _standing(view, op.portfolio)
    if isinstance(portfolio, Void):
        return portfolio
    there = view.membership(portfolio.id, op.version)
    if there is None:
        return Void("the version is not in the portfolio")
    if not _is_of(there, op.portfolio, portfolio):
        return Void(NOT_SEEN)
    return _without_link(view, there)


def _start_run(view: View, op_id: str, op: records.StartRun, _position: int) -> list[Change] | Void:
    before = view.run(op.run)
    start = RunFacts(
        name=op.name,
        job_type=op.job_type,
        group=op.group,
        notes=op.notes,
        tags=op.tags,
        config=op.config,
        state="running",
        started_us=op.at_us,
        ended_us=None,
    )
    if before is None:
        return [Put(Run(id=op.run, begun=op_id, apart={}, **msgspec.structs.asdict(start)))]
    if op.after in before.apart:
        rest = {begun: facts for begun, facts in before.apart.items() if begun != op.after}
        going_on = _gone_on(before.apart[op.after], start)
        return [Put(msgspec.structs.replace(before, apart={**rest, op_id: going_on}))]
    if op.after is None:
        # Its writer knew of none: what is said there, now and later, is of another one.
        return [Put(msgspec.structs.replace(before, apart={**before.apart, op_id: start}))]
    return [Put(msgspec.structs.replace(_gone_on(before, start), begun=op_id))]


def _gone_on(before: F, start: RunFacts) -> F:
    """What is said of a run that goes on: what is not said again stays."""
    return msgspec.structs.replace(
        before,
        name=_or(start.name, before.name),
        job_type=_or(start.job_type, before.job_type),
        group=_or(start.group, before.group),
        notes=_or(start.notes, before.notes),
        tags=start.tags or before.tags,
        config={**before.config, **start.config},
        state=start.state,
        ended_us=None,
    )


def _edit_run(view: View, _op_id: str, op: records.EditRun, _position: int) -> list[Change] | Void:
    run = view.run(op.run)
    if run is None:
        return Void(UNKNOWN_RUN)
    facts = run.facts(op.begun)
    kept = {key: value for key, value in facts.config.items() if key not in op.remove}
    return _with_facts(
        run,
        op.begun,
        name=_or(op.name, facts.name),
        notes=_or(op.notes, facts.notes),
        tags=facts.tags if op.tags is None else op.tags,
        config={**kept, **op.set},
    )


def _finish_run(view: View, _op_id: str, op: records.FinishRun, _position: int) -> list[Change] | Void:
    run = view.run(op.run)
    if run is None:
        return Void(UNKNOWN_RUN)
    return _with_facts(run, op.begun, state=op.state, ended_us=op.at_us)


def _with_facts(run: Run, begun: str | None, **changed: object) -> list[Change]:
    """A run of which they say something else who began it with this op."""
    if begun in run.apart:
        apart = {**run.apart, begun: msgspec.structs.replace(run.apart[begun], **changed)}
        return [Put(msgspec.structs.replace(run, apart=apart))]
    return [Put(msgspec.structs.replace(run, **changed))]


def _use(view: View, _op_id: str, op: records.Use, position: int) -> list[Change] | Void:
    if view.run(op.run) is None:
        return Void(UNKNOWN_RUN)
    there = view.used(op.run, op.project, op.version)
    used = Used(
        run=op.run,
        used_project=op.project,
        version=op.version,
        name=op.name,
        digest=op.digest,
        position=position if there is None else there.position,
    )
    return [Put(used)]


def _none(_view: View, _op_id: str, _op: records.Condemn | records.Sweep, _position: int) -> Void:
    return Void(OF_A_DEPOT)


def _or(text: str | None, before: str | None) -> str | None:
    return before if text is None else text


def _standing(view: View, id_: str) -> Collection | Void:
    collection = view.collection(id_)
    if collection is None:
        return Void(UNKNOWN_COLLECTION)
    return Void(ENDED) if collection.deleted else collection


def _known(view: View, id_: str) -> Collection | Void:
    """A collection that whoever wrote of it has seen: it is not the other one that theirs came to be."""
    collection = _standing(view, id_)
    return Void(NOT_SEEN) if isinstance(collection, Collection) and collection.id != id_ else collection


def _live(view: View, id_: str) -> Version | Void:
    version = view.version(id_)
    if version is None:
        return Void(UNKNOWN_VERSION)
    return Void("the version was deleted") if version.deleted else version


def _edit(view: View, op: records.Op, id_: str, **fields: object) -> list[Change] | Void:
    version = _live(view, id_)
    if isinstance(version, Void):
        return version
    # A clock that was put back, or another machine's, does not make it older than it is.
    updated_us = max(version.updated_us, op.at_us)
    return [Put(msgspec.structs.replace(version, updated_us=updated_us, **fields))]


def _relabelled(view: View, op: records.Op, *ids: str | None) -> list[Change]:
    """What it changes about versions that a label of theirs comes or goes; about a collection, nothing."""
    edits = [_edit(view, op, id_) for id_ in dict.fromkeys(ids) if id_ is not None]
    return [change for edit in edits if not isinstance(edit, Void) for change in edit]


# Any: each rule takes the one kind of op that it stands beside.
_Rule = Callable[[View, str, Any, int], list[Change] | Void]
_RULES: Final[dict[type[records.Op], _Rule]] = {
    records.Create: _create,
    records.Commit: _commit,
    records.Relog: _relog,
    records.Part: _part,
    records.DropPart: _drop_part,
    records.MoveAlias: _move_alias,
    records.SetTag: _set_tag,
    records.Describe: _describe,
    records.EditMetadata: _edit_metadata,
    records.SetTtl: _set_ttl,
    records.Rename: _rename,
    records.Retype: _retype,
    records.Delete: _delete,
    records.DeleteCollection: _delete_collection,
    records.Link: _link,
    records.Unlink: _unlink,
    records.StartRun: _start_run,
    records.EditRun: _edit_run,
    records.FinishRun: _finish_run,
    records.Use: _use,
    records.Condemn: _none,
    records.Sweep: _none,
}
