"""Depot: a remote that is objects in a place, with no process of artstore's there.

    log/<project>/<slot, 12 digits>              a slot, claimed by put-if-absent
    manifests/<project>/<random>                 encodings of manifests, a MessagePack list
    packs/<project>/<random>.tar  <random>.idx   small blobs together, and where in the tar each lies
    blobs/<project>/<hex of the digest>.<random> a large blob

Nothing is ever changed, and slots stay. Of the others, those that no version needs are removed (`collect`), once a slot
says so; no name is used twice. `<project>` is the project's name where that has neither capitals nor `_` at its front.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from artstore.errors import MissingObject
from artstore.storage.root import Root
from artstore.sync.objects.interface import Objects
from artstore.sync.shelf import DepotShelf

_BEHIND: Final = "~"
"""Sorts behind all that a name can have."""
_MARK: Final = ".u"


class Depot:
    """A remote whose objects are all that there is. See Remote."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def url(self) -> str:
        """See Remote."""
        return self._objects.url

    def projects(self) -> Iterator[str]:
        """See Remote."""
        return self.projects_below("log/")

    def projects_below(self, folder: str) -> Iterator[str]:
        """The projects that have something in a folder, whose name ends with a slash."""
        after = ""
        while (name := next(self._objects.names(folder, after), None)) is not None:
            part = name.split("/")[1]
            yield _project_of(part)
            after = f"{folder}{part}/{_BEHIND}"

    def slot(self, project: str, number: int) -> bytes | None:
        """See Remote."""
        try:
            return self._objects.read(_slot_name(project, number))
        except MissingObject:
            return None

    def stands(self, project: str, number: int, digest: str) -> bool:  # noqa: ARG002 - an object says nothing of others
        """See Remote."""
        return False

    def claim(self, project: str, number: int, data: bytes) -> bool:
        """See Remote."""
        return self._objects.claim(_slot_name(project, number), data)

    def shelf(self, root: Root, project: str, log: str) -> DepotShelf:
        """See Remote."""
        return DepotShelf(self._objects, root.path, project, part_of(project), log)

    def tidy(self) -> int:
        """Free what killed writers left half written; answers how many pieces it was. See Objects."""
        return self._objects.tidy()


def part_of(project: str) -> str:
    """What stands for a project in names of objects, which have no capitals: `Cats` is `cats.u1`.

    The digits say in hexadecimal which letters are capitals, the first one with the lowest bit; `0` is put before a
    `_` at the front.
    """
    small = project.lower()
    mask = sum(1 << at for at, (one, other) in enumerate(zip(project, small, strict=True)) if one != other)
    if not mask and not project.startswith("_") and _MARK not in project:
        return project
    return f"{'0' if project.startswith('_') else ''}{small}{_MARK}{mask:x}"


def _project_of(part: str) -> str:
    small, mark, digits = part.rpartition(_MARK)
    if not mark:
        return part
    small = small[1:] if small.startswith("0_") else small
    mask = int(digits, 16)
    return "".join(letter.upper() if mask >> at & 1 else letter for at, letter in enumerate(small))


def _slot_name(project: str, number: int) -> str:
    return f"log/{part_of(project)}/{number:012d}"
