"""Before: what a log has accepted once, as this store's journal tells, whether it is there now or waits again."""

from __future__ import annotations

from collections.abc import Iterator

from artstore.model.digest import Digest
from artstore.model.notes import Accepted, Attached, decode_line
from artstore.storage.catalog import Catalog, Project
from artstore.storage.journal import Journal


def accepted_by_any(catalog: Catalog, project: Project) -> frozenset[str]:
    """Ids of the ops that a log has accepted, be it the one that is followed now or one before."""
    return frozenset(_ids(note for note in _notes(catalog, project) if isinstance(note, Accepted)))


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


def _ids(slots: Iterator[Accepted]) -> Iterator[str]:
    return (str(Digest.of(bytes(raw))) for slot in slots for raw in slot.ops)
