"""Let go: what was deleted elsewhere, and was kept here for that, is kept no longer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from artstore.errors import StorageFull
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.upstream import hiding
from artstore.model.notes import Forget
from artstore.model.records import Op
from artstore.storage.catalog import ProjectView
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.storage.sessions import Session


def let_go(root: Root, session: Session) -> None:
    """Note it of all such versions, so that what others need of their bytes may be evicted too.

    Where there is no room for the note, that is left to the next time.
    """
    by_project: dict[str, list[Op]] = {}
    for project, id_ in Marking(root.catalog, hiding(root)).hidden_ids():
        note = Forget(at_us=now_us(), nonce=nonce(), version=id_, forgotten=True)
        by_project.setdefault(project, []).append(note)
    for project, notes in by_project.items():
        with contextlib.suppress(StorageFull):
            commit(root, session, project, partial(_as_they_are, notes))


def _as_they_are(notes: Sequence[Op], _view: ProjectView) -> Sequence[Op]:
    return notes
