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
from artstore.sync.choice import Choice


def select(root: Root, project: Project, ops: Sequence[Waiting], choice: Choice) -> list[Waiting]:
    """Those of some ops that the collections of a choice need, in their order.

    Raises Conflict (name-freed) where one of these takes a name which a collection that is left has had until now.
    """
    view = ProjectView(root.catalog, project.id)
    left = [_Transaction(view, list(some)) for _, some in groupby(ops, key=_transaction_of)]
    chosen = choice.chosen(root, project)
    wanted = {*chosen.ids, *(f"name:{name}" for name in chosen.names)}
    runs: set[str] = set()
    taken: set[str] = set()
    while more := [each for each in left if each.is_of(wanted, runs)]:
        left = [each for each in left if not each.is_of(wanted, runs)]
        for each in more:
            taken.update(op.id for op in each.ops)
            wanted |= each.collections
            runs |= each.makers
    _check_names(root, project, [op for op in ops if op.id in taken], [op for each in left for op in each.ops])
    return [op for op in ops if op.id in taken]


class _Transaction:
    """Ops that hold together, and what they are about."""

    def __init__(self, view: ProjectView, ops: list[Waiting]) -> None:
        self.ops = ops
        self.collections: set[str] = set()
        self.makers: set[str] = set()
        """Runs that made a version of one of these collections."""
        self.runs: set[str] = set()
        """Runs that it tells of."""
        for id_, op in ((each.id, decode_op(each.body)) for each in ops):
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
    """The collections that an op is about: ids, and the name where it has nothing else."""
    if isinstance(op, records.Create):
        yield _canonical(view, records.made_by(id_, op))
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


def _check_names(root: Root, project: Project, chosen: Sequence[Waiting], left: Sequence[Waiting]) -> None:
    """Raise Conflict (name-freed) where a name would mean another collection there."""
    ends = [op for each in left if isinstance(op := decode_op(each.body), records.Rename | records.DeleteCollection)]
    freeing = {op.collection for op in ends}
    named = [op for each in chosen if isinstance(op := decode_op(each.body), records.Create | records.Rename)]
    taken = {op.name for op in named}
    if not freeing or not taken:
        return
    for known in Journal(root.catalog, project).ops():
        op = decode_op(known.body)
        if not isinstance(op, records.Create | records.Rename):
            continue
        of = records.made_by(known.id, op) if isinstance(op, records.Create) else op.collection
        if of in freeing and op.name in taken:
            message = (
                f"{op.name!r} was the name of another collection of {project.name!r}, whose end waits too and was not "
                "chosen: push without choosing, or choose that one as well"
            )
            raise Conflict(message, code="name-freed")
