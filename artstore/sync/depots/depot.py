"""Depot: a remote that is objects in a place, with no process of artstore's there.

    log/<project>/<slot, 12 digits>              a slot, claimed by put-if-absent
    manifests/<project>/<random>                 encodings of manifests, a MessagePack list
    packs/<project>/<random>.tar  <random>.idx   small blobs together, and where in the tar each lies
    indexes/<project>/<how many>.<random>        what many of these say, together, as a help (`indexes`)
    blobs/<project>/<hex of the digest>.<random> a large blob
    checkpoints/<project>/<first>-<last>.<random> slots together, as a help (`checkpoints`)

Nothing is ever changed, and slots stay. Of the others, those that no version needs are removed (`collect`), once a slot
says so; no name is used twice. `<project>` is the project's name where that has neither capitals nor `_` at its front.

A slot may be lost all the same, since somebody removed it or restored only some files. Who took the log to end there
would claim its number anew, and those who have followed the slots behind it would never see that. So it is looked
whether slots behind it are there, or a checkpoint that has it, by a listing of each, before one is claimed and when the
end was reached by reading; not where a store only asks whether there is anything new.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from artstore.errors import ArtstoreError, Conflict, Corrupt, MissingObject, Unreachable
from artstore.model.parts import part_of, project_of
from artstore.storage.root import Root
from artstore.sync.depots.checkpoints import Checkpoints
from artstore.sync.depots.shelf import DepotShelf
from artstore.sync.objects.interface import Objects

_BEHIND: Final = "~"
"""Sorts behind all that a name can have."""
_FEW: Final = 3
"""Slots that are read one by one before it is looked whether there is a checkpoint."""
_PAGE: Final = 1_000
"""Names that a bucket gives in one answer."""
_NUMBER: Final = re.compile(r"[0-9]{12}\Z")
_MOST_AHEAD: Final = 64 << 20
"""Bytes of manifests that came with slots and wait to be taken."""


class Depot:
    """A remote whose objects are all that there is. See Remote."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._ahead: dict[tuple[str, int], bytes] = {}
        """Slots that came with others."""
        self._manifests: dict[str, bytes] = {}
        """What came with them, by the name of the object."""
        self._in_a_row: tuple[str, int, int] = ("", 0, 0)
        """The project and the number of the slot that was read last, and how many before it were read in order."""
        self._ends: dict[str, int] = {}
        """The slots of which it was looked that none is behind them, by project."""
        self._checkpoints: dict[str, Checkpoints] = {}

    @property
    def url(self) -> str:
        """See Remote."""
        return self._objects.url

    def projects(self) -> Iterator[str]:
        """See Remote."""
        return self.projects_below("log/")

    def projects_below(self, folder: str) -> Iterator[str]:
        """The projects that have something in a folder, whose name ends with a slash."""
        names, last, count = self._objects.names(folder), "", 0
        while (name := next(names, None)) is not None:
            part = name.split("/")[1]
            if part != last:
                last, count = part, 0
                project = project_of(part)
                if project is not None:
                    yield project
            count += 1
            if count == _PAGE:
                # What is left of it is passed over. Before that, another question costs more than names that came.
                names = self._objects.names(folder, f"{folder}{part}/{_BEHIND}")

    def slot(self, project: str, number: int) -> bytes | None:
        """See Remote. Who reads many in order is given them from checkpoints.

        Raises Corrupt (slot-lost) where it is not there, and was.
        """
        before, last, count = self._in_a_row
        count = count + 1 if (before, last + 1) == (project, number) else 0
        self._in_a_row = project, number, count
        found = self._ahead.pop((project, number), None)
        if found is None and count >= _FEW:
            self._read_ahead(project, number)
            found = self._ahead.pop((project, number), None)
        if found is None:
            found = self.lone_slot(project, number)
        if found is None and (count or number == 1):
            self._check_end(project, number)
        return found

    def lone_slot(self, project: str, number: int) -> bytes | None:
        """A slot, from its own object."""
        try:
            return self._objects.read(_slot_name(project, number))
        except MissingObject:
            return None

    def stands(self, project: str, number: int, digest: str) -> bool:  # noqa: ARG002 - an object says nothing of others
        """See Remote."""
        return False

    def claim(self, project: str, number: int, data: bytes) -> bool:
        """See Remote. Raises Corrupt (slot-lost) where it was claimed before and is not there."""
        self._check_end(project, number)
        is_claimed = self._objects.claim(_slot_name(project, number), data)
        if is_claimed:
            self._ends[project] = number + 1
        return is_claimed

    def behind(self, project: str, number: int) -> int | None:
        """The first slot behind this one that is there, whatever is between; None: there is none."""
        head = f"log/{part_of(project)}/"
        names = self._objects.names(head, _slot_name(project, number))
        return next((int(end) for name in names if _NUMBER.match(end := name.removeprefix(head))), None)

    def checkpointed(self, project: str) -> int:
        """The last slot that is known from a checkpoint to have been claimed; 0: there is none."""
        try:
            return self._checkpoints_of(project).end()
        except ArtstoreError as error:
            if isinstance(error, Unreachable):
                raise
            # Where they cannot be read they are of no help, and that is all.
            return 0

    def put_back(self, project: str, number: int, data: bytes) -> None:
        """Give a slot the bytes again that it had, where it was lost or cannot be read.

        Raises Conflict (busy) where somebody else wrote there at the same time.
        """
        name = _slot_name(project, number)
        if self.lone_slot(project, number) not in {None, data}:
            # Written over, and not removed first: a removal that comes late would take away what is put back.
            self._objects.write(name, [data], len(data))
        elif not self._objects.claim(name, data) and self.lone_slot(project, number) != data:
            message = f"somebody else wrote slot {number} of project {project!r} at {self.url} just now: repeat"
            raise Conflict(message, code="busy")

    def take_away(self, project: str, number: int, data: bytes) -> None:
        """Remove a slot that has these bytes, so that its number can be claimed again."""
        if self.lone_slot(project, number) == data:
            self._objects.remove(_slot_name(project, number))
            self._ends.pop(project, None)

    def claimed(self, project: str, number: int) -> None:
        """See Remote."""
        # What fails is only a help, and the slot is claimed.
        with contextlib.suppress(ArtstoreError):
            self._checkpoints_of(project).claimed(number)

    def shelf(self, root: Root, project: str, log: str) -> DepotShelf:
        """See Remote."""
        return DepotShelf(self._objects, root.path, project, part_of(project), log, ahead=self._manifests)

    def tidy(self) -> int:
        """Free what killed writers left half written; answers how many pieces it was. See Objects."""
        return self._objects.tidy()

    def tidy_checkpoints(self, project: str) -> None:
        """Remove the checkpoints of a project whose slots larger ones have too."""
        self._checkpoints_of(project).tidy()

    def _check_end(self, project: str, number: int) -> None:
        """Raise Corrupt (slot-lost) where this slot is not there, and others behind it or a checkpoint say it was."""
        if self._ends.get(project) == number:
            return
        later = self.behind(project, number)
        known = number if later is not None else self.checkpointed(project)
        if known < number:
            self._ends[project] = number
        # It may have been claimed while the names were listed.
        elif self.lone_slot(project, number) is None:
            other = f"a checkpoint has slot {known}" if later is None else f"slot {later} is there"
            message = (
                f"slot {number} of project {project!r} at {self.url} is lost, while {other}: nothing was "
                "moved. Run `artstore remote recover` in a store that had followed the log until there: it puts it back"
            )
            raise Corrupt(message, code="slot-lost")

    def _checkpoints_of(self, project: str) -> Checkpoints:
        if project not in self._checkpoints:
            read_slot = partial(self.lone_slot, project)
            self._checkpoints[project] = Checkpoints(self._objects, part_of(project), read_slot)
        return self._checkpoints[project]

    def _read_ahead(self, project: str, number: int) -> None:
        entries = self._checkpoints_of(project).behind(number)
        # Whoever reads in order has read those before.
        self._ahead.clear()
        if sum(map(len, self._manifests.values())) > _MOST_AHEAD:
            # They are read again.
            self._manifests.clear()
        for place, entry in enumerate(entries, start=number):
            self._ahead[project, place] = entry.slot
            self._manifests.update(entry.manifests)


def _slot_name(project: str, number: int) -> str:
    return f"log/{part_of(project)}/{number:012d}"
