"""Mend: slots and lists of files that a store's own log has lost, or that are damaged in it, come back as they were.

A slot that is brought is taken only where the journal, or else the slot behind, says by its digest that it was that;
and one that can be read is never replaced. Lists of files are made again from the catalog, in their full form.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from artstore.errors import Corrupt
from artstore.lifecycle.served import can_be_spared, live_manifests, lost_slots, taken_slots
from artstore.lifecycle.upstream import HOSTED, Followed, followed, keeps_log
from artstore.model.digest import Digest
from artstore.model.manifest import encode_full
from artstore.model.parts import part_of
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.lost import find_damaged
from artstore.sync.depots.shelf import DepotShelf
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
    """Put back the slots that the store's own journal has, and lists of files, also beside a server that is running."""
    root = store.root
    found = Mended([], [])
    objects = FolderObjects(store.path / HOSTED)
    logs = Depot(objects)
    for project in root.catalog.projects():
        if not keeps_log(root, project.name):
            continue
        lost = lost_slots(root, project.name)
        mending = Mending(root, logs)
        taken = {slot.number: slot for slot in history(root, project).slots}
        for each in lost:
            slot = taken.get(each.number)
            is_back = slot is not None and mending.put_back(project.name, each.number, slot_again(slot.frame, slot.ops))
            (found.mended if is_back else found.left).append(each.name)
        # Without all slots it is not known which lists there should be.
        lists = mend_lists(root, objects, logs, project.name) if not found.left else Mended([], [])
        found.mended.extend(lists.mended)
        found.left.extend(lists.left)
    return found


def mend_lists(root: Root, objects: FolderObjects, logs: Depot, project: str) -> Mended:
    """Make the objects of manifests again that slots name, and that are lost or damaged; all are read.

    A damaged one that cannot be made again, and that nobody needs, is taken away, so that who comes new is not held up.
    """
    shelf = _shelf(root, objects, logs, project)
    bad = set() if shelf is None else find_damaged(root, shelf, [], shelf.known.manifests, None).lists
    found = Mended([], [])
    live = live_manifests(root, project)
    for name in sorted(bad):
        assert shelf is not None
        object_ = shelf.called(f"manifests/{name}")
        if _make_again(root, shelf, name):
            found.mended.append(f"{HOSTED}/{object_}")
        elif not can_be_spared(root, live, shelf.known.manifests[name]):
            found.left.append(f"{HOSTED}/{object_}")
        elif objects.size(object_) is not None:
            objects.remove(object_)
            found.mended.append(f"{HOSTED}/{object_}")
    return found


def mend_list(root: Root, objects: FolderObjects, logs: Depot, project: str, name: str) -> bool:
    """Make one of these again; False where it is none, or some of what it had is not in the catalog any more."""
    shelf = _shelf(root, objects, logs, project)
    return shelf is not None and _make_again(root, shelf, name)


def is_needed(root: Root, objects: FolderObjects, logs: Depot, project: str, name: str) -> bool:
    """Whether versions need what an object of manifests has and the catalog has not; also where no slot names it."""
    shelf = _shelf(root, objects, logs, project)
    digests = () if shelf is None else shelf.known.manifests.get(name, ())
    return not can_be_spared(root, live_manifests(root, project), digests)


def _shelf(root: Root, objects: FolderObjects, logs: Depot, project: str) -> DepotShelf | None:
    last = followed(root, project)
    if last is None:
        return None
    shelf = DepotShelf(objects, root.path, project, part_of(project), last.log)
    shelf.follow(logs, last.slot)
    return shelf


def _make_again(root: Root, shelf: DepotShelf, name: str) -> bool:
    digests = list(map(Digest.parse, shelf.known.manifests.get(name, ())))
    if not digests or any(root.manifests.find(digest) is None for digest in digests):
        return False
    shelf.put_manifests(
        name, [encode_full(digest, (entry.line() for entry in root.manifests.entries(digest))) for digest in digests]
    )
    return True
