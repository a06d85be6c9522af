"""Apart: a project of this store and one of the same name elsewhere, which began without each other."""

from __future__ import annotations

from typing import Final, NamedTuple

from artstore.model.digest import Digest
from artstore.model.records import Condemn, Create, Sweep, decode_op, kind_of
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.journal import Journal
from artstore.storage.root import Root
from artstore.sync.depots.known import collecting
from artstore.sync.protocol import Remote, read_slot

_OF_A_DEPOT: Final = frozenset(each.__struct_config__.tag for each in (Condemn, Sweep))
_SHOWN: Final = 5


class Apart(NamedTuple):
    """What would become of it if this store followed the other log."""

    project: str
    renumbered: list[str]
    """Collections of both, whose versions from here would get new numbers."""
    clashing: list[str]
    """Collections of both that have another type there: those from here would wait for another name."""

    @property
    def words(self) -> str:
        """For a message."""
        parts = []
        if self.renumbered:
            parts.append(f"versions of {_listed(self.renumbered)} would get new numbers")
        if self.clashing:
            parts.append(f"{_listed(self.clashing)} would clash with collections of another type")
        return "; ".join(parts) or "no collection is in both"


def apart(root: Root, remote: Remote, project: Project) -> Apart | None:
    """How what this store has of a project differs from a log elsewhere; None where one of them goes on the other."""
    ops = Journal(root.catalog, project).ops()
    own = {op.id for op in ops if kind_of(decode_op(op.body)) not in _OF_A_DEPOT}
    theirs: set[str] = set()
    types: dict[str, str] = {}
    number = 1
    while own and (found := read_slot(remote, project.name, number)) is not None:
        # What is about its objects alone is no version of anybody's.
        for body in () if any(collecting(found.slot)) else map(bytes, found.slot.ops):
            theirs.add(str(Digest.of(body)))
            op = decode_op(body)
            if isinstance(op, Create):
                types[op.name] = op.type
        number += 1
    if own <= theirs or theirs <= own:
        return None
    here = ProjectView(root.catalog, project.id).collections()
    return Apart(
        project.name,
        [each.name for each in here if types.get(each.name) == each.type],
        [each.name for each in here if types.get(each.name, each.type) != each.type],
    )


def twin_of(project: str, remote: Remote) -> str | None:
    """The project of a remote whose name differs from this one only in case, if there is one."""
    there = remote.projects()
    return next((each for each in there if each != project and each.casefold() == project.casefold()), None)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
