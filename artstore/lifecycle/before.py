"""Before: what a log has accepted once, as this store's journal tells, whether it is there now or waits again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from artstore.lifecycle.ordering import is_own
from artstore.model.digest import Digest
from artstore.model.notes import Accepted, AcceptedBefore, Attached, TakenIn, decode_line
from artstore.model.records import Create, decode_op, made_by
from artstore.storage.catalog import Catalog, Project, ProjectView
from artstore.storage.journal import Journal
from artstore.storage.root import Root


def accepted_by_any(catalog: Catalog, project: Project) -> frozenset[str]:
    """Ids of the ops that a log has accepted, be it the one that is followed now, or one before, under any name."""
    journal = Journal(catalog, project)
    before = (note.ops for note in journal.notes_of(AcceptedBefore))
    return frozenset(_ids(journal.notes_of(Accepted))).union(*before)


def taken_in(catalog: Catalog, project: Project) -> frozenset[str]:
    """Ids of the ops that made something in another store, and came from there while they waited for a log."""
    return frozenset[str]().union(*(note.ops for note in Journal(catalog, project).notes_of(TakenIn)))


def with_others(root: Root, project: str, view: ProjectView, versions: Iterable[str]) -> frozenset[str]:
    """Those of some versions that others have or made, so that they are not this store's alone to end.

    These are what a log has accepted, be it one that was followed before, and, unless this store's log is the order,
    what came here from another store while it waited for one.
    """
    wanted = frozenset(versions)
    found = {version for version in wanted if view.is_accepted(version)}
    there = root.catalog.project(project)
    if there is None or found == wanted:
        return frozenset(found)
    others = _waiting_of_others(root, there)
    if not others:
        # Where this store's log is the order, all of it waits, and it is long.
        return frozenset(found)
    known = (op.version for op in Journal(root.catalog, there).waiting() if op.id in others and op.version in wanted)
    return frozenset(found.union(filter(None, known)))


def is_with_others(root: Root, project: str, collection: str) -> bool:
    """Whether others have a collection, or made it, as with versions."""
    there = root.catalog.project(project)
    if there is None:
        return False
    for op in Journal(root.catalog, there).waiting():
        read = decode_op(op.body)
        if isinstance(read, Create) and made_by(op.id, read) == collection:
            return op.id in _waiting_of_others(root, there)
    return True


def _waiting_of_others(root: Root, project: Project) -> frozenset[str]:
    """The ids of ops of which others know, among them all those that wait here all the same."""
    journal = Journal(root.catalog, project)
    # Where but one log was ever followed, what it has accepted does not wait.
    was_another = len(journal.notes_of(Attached)) > 1 or bool(journal.notes_of(AcceptedBefore))
    accepted = accepted_by_any(root.catalog, project) if was_another else frozenset[str]()
    return accepted if is_own(root.path, project) else accepted | taken_in(root.catalog, project)


def accepted_once(catalog: Catalog, project: Project) -> frozenset[str]:
    """Ids of the ops that the log which is followed now has accepted, be it before it was set back.

    None where it was followed but once, so that nothing of them can wait again.
    """
    same = [note for note in _notes(catalog, project) if note.log == project.upstream]
    if sum(isinstance(note, Attached) for note in same) < 2:  # noqa: PLR2004 - the first time, and another one
        return frozenset()
    return frozenset(_ids(note for note in same if isinstance(note, Accepted)))


def slots_once(catalog: Catalog, project: Project) -> Iterator[Accepted]:
    """The slots of the log that is followed now, as often as they were counted."""
    notes = _notes(catalog, project)
    return (note for note in notes if isinstance(note, Accepted) and note.log == project.upstream)


def _notes(catalog: Catalog, project: Project) -> Iterator[Accepted | Attached]:
    notes = map(decode_line, Journal(catalog, project).notes())
    return (note for note in notes if isinstance(note, Accepted | Attached))


def _ids(slots: Iterable[Accepted]) -> Iterator[str]:
    return (str(Digest.of(bytes(raw))) for slot in slots for raw in slot.ops)
