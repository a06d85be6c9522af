"""Choice: which collections are meant by the names that somebody has chosen, whatever they are called by now.

A name stands for the collection that has it when it is chosen, and from then on for that one. A name that no collection
has yet stands for the one that has it first, and so does that of one that was deleted, or was refused and given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from artstore.errors import Invalid
from artstore.model.names import LATEST, UNCATEGORIZED, Reference
from artstore.model.records import Create, decode_op, made_by
from artstore.model.state import Collection
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.journal import Journal
from artstore.storage.root import Root


class Pick(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of a name that was chosen."""

    id: str | None = None
    """Of the collection that it stands for, if there was one."""
    before: list[str] = []
    """Ids of the ops that had given the name to a collection when it was chosen: these count no more."""


class Chosen(NamedTuple):
    """What the names come to now."""

    ids: frozenset[str]
    """The collections that they stand for, and those of such a name that were deleted."""
    names: frozenset[str]
    """What these are called, and the names that no collection has: parts of versions have nothing else."""


class Choice(NamedTuple):
    """Collections of one project."""

    picks: Mapping[str, Pick]
    """By the names under which they were chosen."""

    def chosen(self, root: Root, project: Project) -> Chosen:
        """What the names come to now."""
        found = {name: _found(root, project, name, picked) for name, picked in self.picks.items()}
        names = frozenset(name if there is None else there.name for name, there in found.items())
        view = ProjectView(root.catalog, project.id)
        ended = {each.id for each in view.all(Collection, "deleted = 1") if each.name in names}
        return Chosen(frozenset({there.id for there in found.values() if there is not None} | ended), names)


def choose(root: Root, project: str, names: Iterable[str]) -> Choice:
    """Choose what has these names in a project."""
    found = root.catalog.project(project)
    return Choice({name: _pick(root, found, name) for name in names})


def picks(root: Root, texts: Iterable[str], *, aside: Mapping[str, str] | None = None) -> dict[str, Pick]:
    """Choose what has these names, `[project/]collection`, by `project/collection`.

    `aside` has the new names that projects of this store are about to get. Raises Invalid (bad-name).
    """
    before = {new: old for old, new in (aside or {}).items()}
    found: dict[str, Pick] = {}
    for text in sorted(texts):
        reference = Reference.parse(text, project=UNCATEGORIZED)
        if reference.selector != LATEST:
            message = f"{text!r} names a version, and collections are pushed whole: write {reference.collection!r}"
            raise Invalid(message, code="bad-name")
        is_left = reference.project in (aside or {})
        project = None if is_left else root.catalog.project(before.get(reference.project, reference.project))
        found[f"{reference.project}/{reference.collection}"] = _pick(root, project, reference.collection)
    return found


def settled(root: Root, known: Mapping[str, Pick]) -> dict[str, Pick]:
    """The same picks, with the collections that they have come to stand for meanwhile."""
    made: dict[str, Pick] = {}
    for name, picked in known.items():
        there = _standing(root, name, picked)
        made[name] = picked if there is None else msgspec.structs.replace(picked, id=there.id)
    return made


def called(root: Root, known: Mapping[str, Pick]) -> dict[str, bool]:
    """What is called how by now, as `project/collection`, and whether there is a collection of that name."""
    made: dict[str, bool] = {}
    for name, picked in known.items():
        there = _standing(root, name, picked)
        made[name if there is None else f"{name.split('/', 1)[0]}/{there.name}"] = there is not None
    return made


def _standing(root: Root, name: str, picked: Pick) -> Collection | None:
    project, collection = name.split("/", 1)
    found = root.catalog.project(project)
    return None if found is None else _found(root, found, collection, picked)


def _pick(root: Root, project: Project | None, name: str) -> Pick:
    if project is None:
        return Pick()
    there = ProjectView(root.catalog, project.id).collection_named(name)
    before = Journal(root.catalog, project).naming(name)
    return Pick(id=None if there is None else there.id, before=[op.id for op in before])


def _found(root: Root, project: Project, name: str, picked: Pick) -> Collection | None:
    view = ProjectView(root.catalog, project.id)
    there = None if picked.id is None else view.collection(picked.id)
    if there is not None and not there.deleted:
        return there
    if there is None and picked.id is not None and _is_refused(root, project, picked.id):
        # Until somebody decides: it may get another name.
        return None
    own: list[Collection] = []
    others: list[Collection] = []
    for op in Journal(root.catalog, project).naming(name):
        found = None if op.id in picked.before else view.collection(op.collection)
        if found is not None and not found.deleted:
            (own if op.is_own else others).append(found)
    # What was made here since is meant before what others have called so, of which much may come at once.
    if own:
        return own[0]
    return next((each for each in others if each.name == name), others[-1] if others else None)


def _is_refused(root: Root, project: Project, id_: str) -> bool:
    """Whether a collection that was made here has no place in the upstream's order, and was not given up."""
    ops = ((op.id, decode_op(op.body)) for op in Journal(root.catalog, project).waiting() if op.void is not None)
    return any(isinstance(op, Create) and made_by(each, op) == id_ for each, op in ops)
