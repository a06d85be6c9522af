"""Selection: whole collections out of what waits, with all that they need.

An op that is offered must come to mean there what it means here. So a transaction goes whole, a collection goes with
all that waits of it, and the runs that made its versions go along, with what they used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from artstore.errors import Conflict
from artstore.model import records
from artstore.model.records import AnyOp, decode_op
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.journal import Journal, Waiting
from artstore.storage.root import Root


def select(root: Root, project: Project, ops: Sequence[Waiting], names: frozenset[str]) -> list[Waiting]:
    """Those of some ops that collections of these names need, in their order.

    Raises Conflict (name-freed) where one of these takes a name which a collection that is left has had until now.
    """
    view = ProjectView(root.catalog, project.id)
    transactions = [_Transaction(view, list(some)) for _, some in groupby(ops, key=_transaction_of)]
    wanted = {collection.id for collection in view.collections() if collection.name in names}
    # Those that are deleted meanwhile, and parts of versions that are not there yet, have nothing but their name.
    wanted |= {f"name:{name}" for name in names}
    runs: set[str] = set()
    chosen: list[_Transaction] = []
    while True:
        more = [each for each in transactions if each not in chosen and each.is_of(wanted, runs)]
        if not more:
            break
        chosen += more
        wanted.update(*(each.collections for each in more))
        runs.update(*(each.makers for each in more))
    left = [each for each in transactions if each not in chosen]
    _check_names(root, project, chosen, left)
    return [op for each in transactions if each in chosen for op in each.ops]


class _Transaction:
    """Ops that hold together, and what they are about."""

    def __init__(self, view: ProjectView, ops: list[Waiting]) -> None:
        self.ops = ops
        self.decoded = [(op.id, decode_op(op.body)) for op in ops]
        self.collections: set[str] = set()
        self.makers: set[str] = set()
        """Runs that made a version of one of these collections."""
        self.runs: set[str] = set()
        """Runs that it tells of."""
        for id_, op in self.decoded:
            self.collections.update(_collections(view, id_, op))
            if isinstance(op, records.Commit | records.Relog):
                self.makers.update(filter(None, [op.record.run]))
            elif isinstance(op, records.Part):
                self.makers.update(filter(None, [op.run]))
            elif isinstance(op, records.StartRun | records.EditRun | records.FinishRun | records.Use):
                self.runs.add(op.run)

    def is_of(self, collections: set[str], runs: set[str]) -> bool:
        return bool(self.collections & collections or self.runs & runs)


def _transaction_of(op: Waiting) -> object:
    # What came from an earlier upstream stands alone.
    return op.id if op.seq is None else op.seq


def _collections(view: ProjectView, id_: str, op: AnyOp) -> Iterable[str]:
    """The collections that an op is about: ids, and names where it has those."""
    if isinstance(op, records.Create):
        yield from (_canonical(view, id_), f"name:{op.name}")
    elif isinstance(op, records.Commit | records.Relog):
        yield _canonical(view, op.record.collection)
    elif isinstance(op, records.Part):
        yield f"name:{op.name}"
    elif isinstance(op, records.DropPart):
        part = view.part(op.part)
        yield f"part:{op.part}" if part is None else f"name:{part.name}"
    elif isinstance(op, records.MoveAlias | records.Rename | records.Retype | records.DeleteCollection):
        yield _canonical(view, op.collection)
    elif isinstance(op, records.SetTag | records.Describe):
        yield _canonical(view, op.target) if op.kind == "collection" else _of_version(view, op.target)
    elif isinstance(op, records.EditMetadata | records.SetTtl | records.Delete):
        yield _of_version(view, op.version)
    elif isinstance(op, records.Link | records.Unlink):
        yield _canonical(view, op.portfolio)


def _canonical(view: ProjectView, id_: str) -> str:
    collection = view.collection(id_)
    return id_ if collection is None else collection.id


def _of_version(view: ProjectView, id_: str) -> str:
    version = view.version(id_)
    return f"version:{id_}" if version is None else version.collection


def _check_names(root: Root, project: Project, chosen: Sequence[_Transaction], left: Sequence[_Transaction]) -> None:
    """Raise Conflict (name-freed) where a name would mean another collection there."""
    freeing = {
        op.collection
        for each in left
        for _id, op in each.decoded
        if isinstance(op, records.Rename | records.DeleteCollection)
    }
    taken = {op.name for each in chosen for _id, op in each.decoded if isinstance(op, records.Create | records.Rename)}
    if not freeing or not taken:
        return
    for known in Journal(root.catalog, project).ops():
        op = decode_op(known.body)
        of = known.id if isinstance(op, records.Create) else op.collection if isinstance(op, records.Rename) else None
        if of in freeing and isinstance(op, records.Create | records.Rename) and op.name in taken:
            message = (
                f"{op.name!r} was the name of another collection of {project.name!r}, whose end waits too and was not "
                "chosen: push without choosing, or choose that one as well"
            )
            raise Conflict(message, code="name-freed")
