"""Mend: slots that a store's own log has lost, or that are damaged in it, come back as they were.

What is brought is taken only where the journal, or else the slot behind, says by its digest that it was that; and a
slot that can be read is never replaced.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from artstore.errors import Corrupt
from artstore.lifecycle.served import lost_slots, taken_slots
from artstore.lifecycle.upstream import HOSTED, Followed, followed, keeps_log
from artstore.model.digest import Digest
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.depots.depot import Depot
from artstore.sync.history import history
from artstore.sync.hosting.own import WHERE
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.protocol import decode_slot, slot_again


class Mending:
    """The logs of a store, into which slots are put back. One thread at a time for each project."""

    def __init__(self, root: Root, logs: Depot) -> None:
        self._root = root
        self._logs = logs
        self._taken: dict[str, tuple[Followed | None, dict[int, str]]] = {}

    def lost(self, project: str) -> list[int]:
        """The slots of a project's log that are lost or damaged."""
        return [each.number for each in lost_slots(self._root, project)]

    def put_back(self, project: str, number: int, data: bytes) -> bool:
        """Put a slot back; False where these are not the bytes that it had, or it is there."""
        there = self._logs.lone_slot(project, number)
        if there is not None and self._read(project, number, there) is not None:
            return False
        if str(Digest.of(data)) != (self._digests(project).get(number) or self._said_behind(project, number)):
            return False
        self._logs.put_back(project, number, data)
        return True

    def _digests(self, project: str) -> dict[int, str]:
        """As the journal has them: read once for many slots that are put back one by one."""
        last = followed(self._root, project)
        if project not in self._taken or self._taken[project][0] != last:
            self._taken[project] = last, taken_slots(self._root, project)
        return self._taken[project][1]

    def _said_behind(self, project: str, number: int) -> str | None:
        """The digest of a slot, as the one behind it says."""
        data = self._logs.lone_slot(project, number + 1)
        return None if data is None else self._read(project, number + 1, data)

    @staticmethod
    def _read(project: str, number: int, data: bytes) -> str | None:
        """What a slot says of the one before, "" if it is the first; None where it cannot be read."""
        with contextlib.suppress(Corrupt):
            return decode_slot(data, project, number, WHERE).slot.before or ""
        return None


class Mended(NamedTuple):
    """What is there again, and what is not, as files in the store's folder."""

    mended: list[str]
    left: list[str]


def mend_logs(store: Store) -> Mended:
    """Put back the slots that the store's own journal has, also beside a server that is running."""
    root = store.root
    found = Mended([], [])
    for project in root.catalog.projects():
        lost = lost_slots(root, project.name) if keeps_log(root, project.name) else []
        if not lost:
            continue
        mending = Mending(root, Depot(FolderObjects(store.path / HOSTED)))
        taken = {slot.number: slot for slot in history(root, project).slots}
        for each in lost:
            slot = taken.get(each.number)
            is_back = slot is not None and mending.put_back(project.name, each.number, slot_again(slot.frame, slot.ops))
            (found.mended if is_back else found.left).append(each.name)
    return found
