"""Conflicts: own changes that change nothing in the upstream's order, and what becomes of them.

They are not offered to the upstream. What they would have changed stays as the upstream has it, and the bytes of
versions that have no place there are kept, until somebody decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from artstore.errors import Conflict, Invalid, NotFound
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.reports import ConflictInfo
from artstore.lifecycle.upstream import named_by, waiting
from artstore.model import records
from artstore.model.digest import ALGORITHM, Digest
from artstore.model.fold import GATHERED, MOVED, OF_A_DEPOT
from artstore.model.names import collection_name, project_name
from artstore.model.notes import Dismissed, Evicted
from artstore.model.records import AnyOp, Op, decode_op, encode_op
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.journal import Waiting
from artstore.storage.root import Root

_FULFILLED: Final = (records.Delete, records.DeleteCollection, records.Unlink, records.DropPart)
"""What these ask for is so, if they are void: somebody else was of the same mind."""


class _Refused(NamedTuple):
    """A void op, read, and those that hang on it."""

    op: Waiting
    read: AnyOp
    followers: list[tuple[Waiting, AnyOp]]


def conflicts(root: Root, project: str | None = None) -> list[ConflictInfo]:
    """What waits for a decision, of a project or of all, as it was made. Raises Invalid (bad-name)."""
    wanted = None if project is None else project_name(project)
    found: list[ConflictInfo] = []
    for each in root.catalog.projects():
        if wanted in {None, each.name} and each.upstream is not None:
            view = ProjectView(root.catalog, each.id)
            found += [_info(each, view, refused) for refused in _refused(root, each)]
    return found


def unplaced(root: Root, project: str) -> frozenset[str]:
    """Ids of the ops of collections and versions that have no place in the upstream's order, and wait for a decision.

    With all that hangs on them, but for what has ended since.
    """
    found = root.catalog.project(project)
    if found is None or found.upstream is None:
        return frozenset()
    ids: set[str] = set()
    for refused in _refused(root, found):
        if not isinstance(refused.read, records.Create | records.Commit | records.Relog):
            continue
        every = [(refused.op, refused.read), *refused.followers]
        ends = [read for _op, read in every if isinstance(read, records.Delete | records.DeleteCollection)]
        ended = {each.version if isinstance(each, records.Delete) else each.collection for each in ends}
        ids.update(op.id for op, read in every if ended.isdisjoint({op.id, op.version, *named_by(read)}))
    return frozenset(ids)


def drop_mine(root: Root, id_: str) -> ConflictInfo:
    """Let it be as the upstream has it; answers what was given up. `gc` frees what only that held.

    Raises NotFound (conflict-not-found), Invalid (ambiguous-digest).
    """
    project, view, refused = _find(root, id_)
    info = _info(project, view, refused)
    with root.session("resolve") as session:
        commit(root, session, project.name, lambda _view: [_dismiss(refused)])
    return info


def keep_mine(root: Root, id_: str) -> ConflictInfo:
    """Do it again, after what the upstream has: an alias moves from where it stands now.

    A version whose parts are in another one by now is made all the same, of what it was made of.

    Raises NotFound (conflict-not-found), Invalid (ambiguous-digest, cannot-be-done-again).
    """
    project, view, refused = _find(root, id_)
    info = _info(project, view, refused)
    move = refused.read
    if isinstance(move, records.Commit | records.Relog) and refused.op.void == GATHERED:
        with root.session("resolve") as session:
            commit(root, session, project.name, lambda view: [*_without_parts(view, refused), _dismiss(refused)])
        return info
    if not isinstance(move, records.MoveAlias) or refused.op.void != MOVED:
        message = f"{info.what} cannot be done again as it was: {info.reason}. Do by hand what you want, then drop it"
        raise Invalid(message, code="cannot-be-done-again")

    def plan(view: ProjectView) -> list[Op]:
        collection = view.collection(move.collection)
        there = None if collection is None else view.alias(collection.id, move.alias)
        if there is None and move.version is None:
            return [_dismiss(refused)]
        before = None if there is None else there.version
        again = msgspec.structs.replace(move, at_us=now_us(), nonce=nonce(), before=before)
        return [again, _dismiss(refused)]

    with root.session("resolve") as session:
        commit(root, session, project.name, plan)
    return info


def rename_mine(root: Root, id_: str, name: str) -> ConflictInfo:
    """Keep a collection whose name stands for another type there, under another name, with all its versions.

    They are committed again, and have other ids. Raises NotFound (conflict-not-found), Invalid (ambiguous-digest,
    bad-name, cannot-be-renamed), Conflict (name-taken).
    """
    project, view, refused = _find(root, id_)
    info = _info(project, view, refused)
    create = refused.read
    if not isinstance(create, records.Create):
        message = f"{info.what} is no collection whose name is taken: it cannot be renamed"
        raise Invalid(message, code="cannot-be-renamed")
    wanted = collection_name(name)

    def plan(view: ProjectView) -> list[Op]:
        if view.collection_named(wanted) is not None:
            message = f"{project.name}/{wanted} is there already: choose another name"
            raise Conflict(message, code="name-taken")
        again = msgspec.structs.replace(create, at_us=now_us(), nonce=nonce(), name=wanted)
        names = {refused.op.id: str(Digest.of(encode_op(again)))}
        return [again, *(_again(read, names) for _op, read in refused.followers), _dismiss(refused)]

    with root.session("resolve") as session:
        commit(root, session, project.name, plan)
    return info


def _without_parts(view: ProjectView, refused: _Refused) -> list[Op]:
    """A version again, and what was said of it, without its parts."""
    names: dict[str, str] = {}
    head = refused.read
    assert isinstance(head, records.Commit | records.Relog)
    ops = [_again(msgspec.structs.replace(head, parts=[]), names)]
    ops += [_again(read, names) for _op, read in refused.followers]
    before = str(head.record.id)
    if view.is_received(before):
        ops.append(Evicted(at_us=now_us(), nonce=nonce(), versions=[names[before]]))
    return ops


def _again(op: AnyOp, names: dict[str, str]) -> Op:
    """The same op of a collection and of versions that are called otherwise now; what is new is added to the names."""
    changed: dict[str, object] = {"at_us": now_us(), "nonce": nonce()}
    if isinstance(op, records.Commit | records.Relog):
        record = op.record
        collection = names.get(record.collection, record.collection)
        # A copy under a nonce of its own: an equal record would be the version that was refused.
        changed["record"] = msgspec.structs.replace(record, collection=collection, nonce=nonce())
    for field in ("collection", "target", "version", "before", "portfolio"):
        value = getattr(op, field, None)
        if value in names:
            changed[field] = names[value]
    again = msgspec.structs.replace(op, **changed)
    if isinstance(again, records.Commit | records.Relog) and isinstance(op, records.Commit | records.Relog):
        names[str(op.record.id)] = str(again.record.id)
    return again


def _refused(root: Root, project: Project) -> list[_Refused]:
    """What is void and waits for a decision; what hangs on a refused collection stands with that."""
    found: list[_Refused] = []
    heads: dict[str, _Refused] = {}
    """The collections and versions that are not there, by id."""
    for op in waiting(root, project.name):
        if op.void is None or op.void == OF_A_DEPOT:
            continue
        read = decode_op(op.body)
        head = next((heads[id_] for id_ in named_by(read) if id_ in heads), None)
        if head is not None:
            head.followers.append((op, read))
            if op.version is not None:
                heads[op.version] = head
        elif not _is_fulfilled(op, read):
            found.append(_Refused(op, read, []))
            if isinstance(read, records.Create):
                heads[op.id] = found[-1]
            elif op.version is not None:
                heads[op.version] = found[-1]
    return found


def _is_fulfilled(op: Waiting, read: AnyOp) -> bool:
    if isinstance(read, records.SetTag):
        return not read.present
    if isinstance(read, records.MoveAlias):
        return read.version is None and op.void != MOVED
    return isinstance(read, _FULFILLED)


def _find(root: Root, id_: str) -> tuple[Project, ProjectView, _Refused]:
    start = id_ if id_.startswith(f"{ALGORITHM}:") else f"{ALGORITHM}:{id_}"
    found = [
        (project, ProjectView(root.catalog, project.id), refused)
        for project in root.catalog.projects()
        if project.upstream is not None
        for refused in _refused(root, project)
        if refused.op.id.startswith(start)
    ]
    if not found:
        message = f"there is no conflict {id_!r}: `artstore conflicts` lists them"
        raise NotFound(message, code="conflict-not-found")
    if len(found) > 1:
        message = f"{id_!r} stands for several conflicts: write more digits"
        raise Invalid(message, code="ambiguous-digest")
    return found[0]


def _dismiss(refused: _Refused) -> Dismissed:
    ops = [refused.op.id, *(op.id for op, _read in refused.followers)]
    return Dismissed(at_us=now_us(), nonce=nonce(), ops=ops)


def _info(project: Project, view: ProjectView, refused: _Refused) -> ConflictInfo:
    op, read, followers = refused
    assert op.void is not None
    kind = "type" if isinstance(read, records.Create) else "alias" if op.void == MOVED else "edit"
    return ConflictInfo(
        id=op.id,
        project=project.name,
        kind=kind,  # type: ignore[arg-type] # One of three.
        what=_in_words(view, read),
        reason=op.void,
        made_at=read.at_us / 1e6,
        followers=len(followers),
    )


def _in_words(view: ProjectView, op: AnyOp) -> str:
    if isinstance(op, records.Create):
        kind = "portfolio" if op.kind == "portfolio" else "collection"
        return f"{kind} {op.name!r} of type {op.type!r}"
    if isinstance(op, records.MoveAlias):
        collection = view.collection(op.collection)
        name = op.collection if collection is None else collection.name
        there = None if collection is None else view.alias(collection.id, op.alias)
        stands = "" if there is None else f", which stands on {_called(view, there.version)}"
        return f"alias {name}:{op.alias} to {_called(view, op.version)}{stands}"
    words: Sequence[str] = [_called(view, each) for each in named_by(op)]
    return f"{records.kind_of(op)} of {', '.join(words) or 'a run'}"


def _called(view: ProjectView, id_: str | None) -> str:
    if id_ is None:
        return "nothing"
    version, collection = view.version(id_), view.collection(id_)
    if version is not None:
        return f"v{version.number}"
    return id_.removeprefix(f"{ALGORITHM}:")[:12] if collection is None else repr(collection.name)
