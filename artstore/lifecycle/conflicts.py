"""Conflicts: own changes that change nothing in the upstream's order, and what becomes of them.

They are not offered to the upstream. What they would have changed stays as the upstream has it, and the bytes of
versions that have no place there are kept, until somebody decides, whatever becomes of the upstream's meanwhile. What
is kept then is said again behind all else, under the ids that it had: runs and portfolios name it by them. No version
is made again without its bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from artstore.errors import Conflict, Corrupt, Invalid, NotFound, Problem, named
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.links import unlink_everywhere
from artstore.lifecycle.ordering import is_own
from artstore.lifecycle.reports import ConflictInfo
from artstore.lifecycle.resolve import find_project
from artstore.lifecycle.upstream import named_by, waiting
from artstore.model import records
from artstore.model.digest import ALGORITHM, Digest
from artstore.model.fold import ENDED, GATHERED, MOVED, NEEDED, NOT_SEEN, OF_A_DEPOT, Void, fold
from artstore.model.manifest import blob_of
from artstore.model.names import collection_name
from artstore.model.notes import Dismissed
from artstore.model.records import AnyOp, Op, decode_op, encode_op
from artstore.model.state import Membership, Version, View
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
    earlier: list[Waiting]
    """Moves of the same alias before this one, which are settled with it: it is to go where the last one put it."""


def conflicts(root: Root, project: str | None = None) -> list[ConflictInfo]:
    """What waits for a decision, of a project or of all, as it was made. Raises as find_project."""
    wanted = None if project is None else find_project(root, project)[0].name
    found: list[ConflictInfo] = []
    for each in root.catalog.projects():
        if wanted in {None, each.name} and not is_own(root.path, each):
            view = ProjectView(root.catalog, each.id)
            found += [_info(each, view, refused) for refused in _refused(root, each)]
    return found


def undecided(root: Root, project: str) -> int:
    """How many changes of a project wait for a decision."""
    found = root.catalog.project(project)
    some = [] if found is None or is_own(root.path, found) else _refused(root, found)
    return sum(1 + len(refused.followers) + len(refused.earlier) for refused in some)


def unplaced(root: Root, project: str) -> frozenset[str]:
    """Ids of the ops of collections and versions that have no place in the upstream's order, and wait for a decision.

    With all that hangs on them, but for what has ended since.
    """
    return frozenset(op.id for refused in _unplaced(root, project) for op, _read in _not_ended(refused))


def lists_unplaced(root: Root, project: str) -> dict[Digest, str]:
    """The lists of files of these versions, each with the conflict in which it stands, as `conflict 3f2a91c07b44`."""
    found = _unplaced(root, project)
    return {digest: _name(refused) for refused in found for digest in _lists(refused)}


def lists_of_others(root: Root, project: str) -> list[Digest]:
    """Those of these lists that only came here, from an upstream that was followed before, and were not made here."""
    return [digest for refused in _unplaced(root, project) if refused.op.seq is None for digest in _lists(refused)]


def files_unplaced(root: Root, blobs: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """The files of all such versions that have one of some blobs: its digest, path and conflict."""
    for project in root.catalog.projects():
        for digest, conflict in lists_unplaced(root, project.name).items():
            for entry in root.manifests.entries(digest):
                blob = blob_of(entry)
                if blob is not None and str(blob.digest) in blobs:
                    yield str(blob.digest), entry.path, conflict


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

    A version whose parts are in another one by now is made all the same, of what it was made of; its bytes, which may
    be with the parts, are brought first. It keeps its id, and what hangs on it comes with it. Where its collection was
    deleted, that is created again for it. The end of a version that others need goes by force, so that it is taken out
    of the portfolios. What was said of a collection that came to be somebody else's is said of that one.

    Raises NotFound (conflict-not-found), Invalid (ambiguous-digest, cannot-be-done-again) where it would change nothing
    now either, Corrupt (blob-missing) where some of the bytes cannot be had, Unreachable.
    """
    project, view, refused = _find(root, id_)
    info = _info(project, view, refused)
    again = _AGAIN.get(refused.op.void or "", _unchanged)

    def plan(view: View) -> list[Op]:
        read = again(view, refused.read)
        if read is None:
            return [_dismiss(refused)]
        head = [*_created_again(view, refused), read]
        outcome = fold(view, str(Digest.of(encode_op(head[0]))), head[0], 1 << 40)
        if isinstance(outcome, Void):
            now = "Do by hand what you want, then drop it" if len(head) == 1 else "`--rename NAME` keeps it elsewhere"
            message = f"{info.what} cannot be done again as it was: {outcome.reason}. {now}"
            raise Invalid(message, code="cannot-be-done-again")
        return _said_again(refused, *head)

    plan(view)
    with root.session("resolve") as session:
        _bring(root, info, refused)
        if refused.op.void == NEEDED:
            unlink_everywhere(root, session, [version.id for version in _standing(view, refused.read)])
        commit(root, session, project.name, plan)
    return info


def rename_mine(root: Root, id_: str, name: str) -> ConflictInfo:
    """Keep a collection whose name stands for another type there, under another name, with all its versions.

    So is one created again that was deleted, for a version that came too late for it. It and they keep their ids, so
    what runs have used and portfolios hold is what it was.

    Raises NotFound (conflict-not-found), Invalid (ambiguous-digest, bad-name, cannot-be-renamed), Conflict
    (name-taken), Corrupt (blob-missing) where some of their bytes cannot be had, Unreachable.
    """
    project, view, refused = _find(root, id_)
    info = _info(project, view, refused)
    wanted = collection_name(name)

    def plan(view: ProjectView) -> list[Op]:
        made = refused.read
        create = made if isinstance(made, records.Create) else next(iter(_created_again(view, refused)), None)
        if create is None:
            message = f"{info.what} is no collection whose name is taken, nor of one that is gone: it cannot be renamed"
            raise Invalid(message, code="cannot-be-renamed")
        if view.collection_named(wanted) is not None:
            message = f"{project.name}/{wanted} is there already: choose another name"
            raise Conflict(message, code="name-taken")
        id_ = records.made_by(refused.op.id, create)
        again = msgspec.structs.replace(create, at_us=now_us(), nonce=nonce(), name=wanted, id=id_)
        said = _said_again(refused, *([again] if create is made else [again, made]))
        # What it was to be called before is settled with this.
        return [op for op in said if not isinstance(op, records.Rename)]

    plan(view)
    with root.session("resolve") as session:
        _bring(root, info, refused)
        commit(root, session, project.name, plan)
    return info


def _created_again(view: View, refused: _Refused) -> list[records.Create]:
    """What makes the collection again for which something came too late, where that is so."""
    made = refused.read
    if refused.op.void != ENDED or not isinstance(made, records.Commit | records.Relog | records.Link):
        return []
    there = view.collection(made.portfolio if isinstance(made, records.Link) else made.record.collection)
    if there is None or not there.deleted:
        return []
    return [
        records.Create(
            at_us=now_us(),
            nonce=nonce(),
            kind=there.kind,
            name=there.name,
            type=there.type,
            description=there.description,
            id=there.id,
        )
    ]


def _said_again(refused: _Refused, *head: AnyOp) -> list[Op]:
    """A conflict's changes behind all others: the first of them as it is now, what hangs on it as it was made."""
    return [_dismiss(refused), *head, *(read for _op, read in refused.followers)]


def _unchanged(_view: View, op: AnyOp) -> AnyOp:
    return op


def _without_parts(_view: View, op: AnyOp) -> AnyOp:
    """The same version, with the same id."""
    assert isinstance(op, records.Commit | records.Relog)
    return msgspec.structs.replace(op, at_us=now_us(), nonce=nonce(), parts=[])


def _moved(view: View, op: AnyOp) -> AnyOp | None:
    """The same move from where the alias stands now; None where it is to go and is gone."""
    assert isinstance(op, records.MoveAlias)
    collection = view.collection(op.collection)
    there = None if collection is None else view.alias(collection.id, op.alias)
    if there is None and op.version is None:
        return None
    before = None if there is None else there.version
    return msgspec.structs.replace(op, at_us=now_us(), nonce=nonce(), before=before)


def _by_force(_view: View, op: AnyOp) -> AnyOp:
    """The same end, whatever others need it for."""
    assert isinstance(op, records.Delete | records.DeleteCollection)
    return msgspec.structs.replace(op, at_us=now_us(), nonce=nonce(), forced=True)


def _of_theirs(view: View, op: AnyOp) -> AnyOp:
    """The same change, of the collection that is there now."""
    field = "target" if isinstance(op, records.Describe | records.SetTag) else "collection"
    there = view.collection(getattr(op, field))
    id_ = getattr(op, field) if there is None else there.id
    return msgspec.structs.replace(op, at_us=now_us(), nonce=nonce(), **{field: id_})


_AGAIN: Final[dict[str, Callable[[View, AnyOp], AnyOp | None]]] = {
    GATHERED: _without_parts,
    MOVED: _moved,
    NEEDED: _by_force,
    NOT_SEEN: _of_theirs,
}
"""How a change is said again, by why it was void."""


def _bring(root: Root, info: ConflictInfo, refused: _Refused) -> None:
    """Have the bytes of a conflict's versions here. Raises Corrupt (blob-missing) where some cannot be had."""
    entries = (entry for digest in _lists(refused) for entry in root.manifests.entries(digest))
    wanted = {blob.digest: entry.path for entry in entries if (blob := blob_of(entry)) is not None}
    with contextlib.suppress(Corrupt):
        # What of it could not be had is seen below.
        root.blobs.bring(list(wanted))
    here = root.blobs.locate(list(wanted))
    problems = [
        Problem(path, f"blob {digest} is nowhere") for digest, path in sorted(wanted.items()) if digest not in here
    ]
    if problems:
        message = (
            f"some bytes of {info.what} cannot be had, so nothing was made: {named(problems)}. Put the same bytes "
            f"again, or give it up with `artstore resolve {_short(refused.op.id)} --theirs`"
        )
        raise Corrupt(message, code="blob-missing", problems=problems)


def _refused(root: Root, project: Project) -> list[_Refused]:
    """What is void and waits for a decision; what hangs on a refused collection stands with that."""
    found: list[_Refused] = []
    view = ProjectView(root.catalog, project.id)
    heads: dict[str, _Refused] = {}
    """The collections and versions that are not there, by id."""
    moves: dict[tuple[str, str], _Refused] = {}
    """By the collection and the alias."""
    for op in waiting(root, project.name):
        if op.void is None or op.void == OF_A_DEPOT:
            continue
        read = decode_op(op.body)
        head = next((heads[id_] for id_ in named_by(read) if id_ in heads), None)
        if head is not None:
            head.followers.append((op, read))
            if op.version is not None:
                heads[op.version] = head
        elif not _is_fulfilled(view, op, read):
            found.append(_Refused(op, read, [], []))
            if isinstance(read, records.Create):
                heads[records.made_by(op.id, read)] = found[-1]
            elif op.version is not None:
                heads[op.version] = found[-1]
            elif isinstance(read, records.MoveAlias) and op.void == MOVED:
                of = view.collection(read.collection)
                before = moves.get(key := (read.collection if of is None else of.id, read.alias))
                if before is not None:
                    found.remove(before)
                    found[-1].earlier.extend([*before.earlier, before.op])
                moves[key] = found[-1]
    return [each for each in found if not _has_ended(each)]


def _has_ended(refused: _Refused) -> bool:
    """Whether all that was to be made has been deleted here since, so that there is nothing to decide."""
    every = [(refused.op, refused.read), *refused.followers]
    kept = _not_ended(refused)
    made = [(op, read) for op, read in every if isinstance(read, records.Commit | records.Relog)]
    is_gone = isinstance(refused.read, records.Create) and (refused.op, refused.read) not in kept
    return is_gone or (bool(made) and not any(each in kept for each in made))


def _unplaced(root: Root, project: str) -> list[_Refused]:
    """What makes a collection or a version, and has no place."""
    found = root.catalog.project(project)
    some = [] if found is None or is_own(root.path, found) else _refused(root, found)
    return [each for each in some if isinstance(each.read, records.Create | records.Commit | records.Relog)]


def _not_ended(refused: _Refused) -> list[tuple[Waiting, AnyOp]]:
    """A conflict's changes, but for those of what has ended since."""
    every = [(refused.op, refused.read), *refused.followers]
    ended: set[str] = set()
    for _op, read in every:
        if isinstance(read, records.Delete):
            ended.add(read.version)
        elif isinstance(read, records.DeleteCollection):
            ended |= {read.collection, *read.versions}
    return [
        (op, read)
        for op, read in every
        if ended.isdisjoint(
            {
                op.id,
                op.version,
                records.made_by(op.id, read) if isinstance(read, records.Create) else None,
                *named_by(read),
            }
        )
    ]


def _lists(refused: _Refused) -> list[Digest]:
    """The lists of files of a conflict's versions."""
    found = (records.manifest_of(read) for _op, read in _not_ended(refused))
    return [Digest.parse(each) for each in dict.fromkeys(found) if each is not None]


def _is_fulfilled(view: ProjectView, op: Waiting, read: AnyOp) -> bool:
    if isinstance(read, records.Create):
        # Somebody else had it too, and has found a place for it.
        return view.collection(records.made_by(op.id, read)) is not None
    if isinstance(read, records.Commit | records.Relog) and view.version(str(read.record.id)) is not None:
        return True
    if op.void == NEEDED:
        return not (_standing(view, read) or _members(view, read))
    if isinstance(read, records.SetTag):
        return not read.present
    if isinstance(read, records.MoveAlias):
        return read.version is None and op.void != MOVED
    return isinstance(read, _FULFILLED)


def _standing(view: View, read: AnyOp) -> list[Version]:
    """The versions that an end was to take, and that stand."""
    assert isinstance(read, records.Delete | records.DeleteCollection)
    if isinstance(read, records.Delete):
        found = [view.version(read.version)]
    else:
        collection = view.collection(read.collection)
        named = filter(None, map(view.version, read.versions))
        # Of a portfolio these are what it has links to.
        found = [each for each in named if collection is not None and each.collection == collection.id]
    return [each for each in found if each is not None and not each.deleted]


def _members(view: View, read: AnyOp) -> list[Membership]:
    """The links that the end of a portfolio was to take, and that stand."""
    if not isinstance(read, records.DeleteCollection):
        return []
    collection = view.collection(read.collection)
    links = [] if collection is None else view.memberships_of(collection.id)
    return [each for each in links if each.version in read.versions]


def _find(root: Root, id_: str) -> tuple[Project, ProjectView, _Refused]:
    start = id_ if id_.startswith(f"{ALGORITHM}:") else f"{ALGORITHM}:{id_}"
    found = [
        (project, ProjectView(root.catalog, project.id), refused)
        for project in root.catalog.projects()
        if not is_own(root.path, project)
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
    ops = [refused.op.id, *(op.id for op, _read in refused.followers), *(op.id for op in refused.earlier)]
    return Dismissed(at_us=now_us(), nonce=nonce(), ops=ops)


def _info(project: Project, view: ProjectView, refused: _Refused) -> ConflictInfo:
    op, read, followers, _earlier = refused
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
    return _short(id_) if collection is None else repr(collection.name)


def _name(refused: _Refused) -> str:
    return f"conflict {_short(refused.op.id)}"


def _short(id_: str) -> str:
    return id_.removeprefix(f"{ALGORITHM}:")[:12]
