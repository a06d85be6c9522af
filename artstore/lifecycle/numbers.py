"""Numbers: which versions were shown under another one here, before the upstream's order came.

What stands in a script or a notebook as `cats:v3` may be any of them. Such a number is an error until somebody says
that the new ones are known.
"""

from __future__ import annotations

from collections.abc import Sequence

from artstore.errors import NotFound
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.lifecycle.reports import MovedNumber
from artstore.lifecycle.resolve import find_collection, is_gone, place_now
from artstore.model.names import project_name
from artstore.model.notes import AcceptNumbers
from artstore.model.records import Op
from artstore.model.state import Collection
from artstore.storage.catalog import ProjectView
from artstore.storage.root import Root


def moved_numbers(root: Root, project: str | None = None) -> list[MovedNumber]:
    """The versions whose number is not the one that was shown here. Raises Invalid (bad-name)."""
    wanted = None if project is None else project_name(project)
    found: list[MovedNumber] = []
    for each in root.catalog.projects():
        if wanted not in {None, each.name}:
            continue
        view = ProjectView(root.catalog, each.id)
        for collection, before, id_ in view.moved():
            row = view.collection(collection)
            if row is not None and not row.deleted:
                found.append(_moved(each.name, view, row, before, id_))
    return found


def _moved(project: str, view: ProjectView, collection: Collection, before: int, id_: str) -> MovedNumber:
    now = place_now(view, collection, id_)
    out_of = collection.name if is_gone(view, collection, id_) else None
    return MovedNumber(
        project=project,
        collection=collection.name,
        before=before,
        now=None if now is None else now[1],
        now_in=out_of if now is None else now[0].name,
        id=id_,
    )


def accept_numbers(root: Root, names: Sequence[tuple[str, str]]) -> list[MovedNumber]:
    """Let the numbers of some collections, each a project and a name, mean what they mean now; answers which.

    Raises NotFound (…-not-found, no-moved-number).
    """
    known: list[MovedNumber] = []
    for project, name in dict.fromkeys(names):
        _, _, collection = find_collection(root, project, name)
        moved = [each for each in moved_numbers(root, project) if each.collection == collection.name]
        if not moved:
            message = f"{project}/{name} has no number that meant something else: there is nothing to accept"
            raise NotFound(message, code="no-moved-number")
        known += moved

        def plan(_view: ProjectView, id_: str = collection.id) -> list[Op]:
            return [AcceptNumbers(at_us=now_us(), nonce=nonce(), collections=[id_])]

        with root.session("numbers") as session:
            commit(root, session, project, plan)
    return known
