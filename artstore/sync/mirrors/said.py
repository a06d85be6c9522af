"""Said: what is said in a mirror beside its pages, of objects by all in one order, and of what waits by each store."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Final

from artstore.errors import Corrupt, MissingObject
from artstore.model.digest import Digest
from artstore.model.parts import part_of
from artstore.sync.mirrors.pages import More, Pending, decode, decode_pending, encode
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.protocol import corrupt

_NUMBER: Final = re.compile(r"[0-9]{12}\Z")
_LAST: Final = 10**12 - 1
"""The greatest number that a name can have."""
_MOST_LOST: Final = 10_000
"""Numbers that may be gone in a row."""


class Said:
    """What is said in one mirror."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def more(self, project: str, after: int = 0) -> Iterator[tuple[int, str, More]]:
        """What is said beside the pages behind a number, in order: the number of each, its digest, and what it says."""
        names = self._objects.names(_more_head(project), _more_name(project, after))
        listed = [int(end) for name in names if _NUMBER.match(end := name.rpartition("/")[2])]
        read = dict(in_parallel(lambda number: self._said(project, number), listed))
        last = after
        for number in listed:
            if number - last > _MOST_LOST:
                # To ask for each that is not there would take for ever.
                name, url = _more_name(project, number), self._objects.url
                message = (
                    f"{name} of the mirror of project {project!r} at {url} counts {number - last} on from what is said "
                    f"there before: nobody has said so much. Where nobody knows of it, remove `mirror/{name}` there"
                )
                raise corrupt(message)
            last = number
        for number in itertools.count(after + 1):
            # A listing may be old: what it lacks is asked for by its name.
            data = read[number] if number in read else self._said(project, number)
            if data is None:
                if number > last:
                    return
                continue
            more = More()
            # What cannot be read is as if it were not there: what it named is put there again.
            with contextlib.suppress(Corrupt):
                where = f"{_more_name(project, number)} of the mirror of project {project!r} at {self._objects.url}"
                more = decode(data, More, where)
            yield number, str(Digest.of(data)), more

    def is_told(self, project: str, number: int, digest: str) -> bool:
        """Whether something is said there under a number that has this digest."""
        data = self._said(project, number)
        return data is not None and str(Digest.of(data)) == digest

    def tell(self, project: str, number: int, more: More) -> bool:
        """Say something under a number; False: somebody has said something under that before."""
        return self._objects.claim(_more_name(project, number), encode(more))

    def waits(self, project: str) -> dict[str, list[int]]:
        """What stores have said of what waits in them, and is there still, by their ids: the how many-th each was."""
        head = f"pending/{part_of(project)}/"
        said: dict[str, list[int]] = {}
        for name in self._objects.names(head):
            store, _, number = name.removeprefix(head).partition("/")
            if _NUMBER.match(number):
                said.setdefault(store, []).append(int(number))
        return {store: sorted(numbers) for store, numbers in said.items()}

    def waiting(self, project: str, store: str, count: int) -> Pending | Corrupt | None:
        """What a store has said of what waits in it; the error where it cannot be read; None where it is gone."""
        try:
            data = self._objects.read(f"pending/{part_of(project)}/{store}/{count:012d}")
        except MissingObject:
            # It has said something newer just now, or that nothing waits.
            return None
        where = f"what waits in store {store} for project {project!r}, as {self._objects.url} has it,"
        try:
            return decode_pending(data, where)
        except Corrupt as error:
            return error

    def pending(
        self, project: str, told: Mapping[str, int] | None = None
    ) -> Iterator[tuple[str, int, Pending | Corrupt]]:
        """What waits in stores: the id of each, how often it has said so before, and what it said last.

        Or the error for that, where it cannot be read. With `told` also what a listing may not have yet. Raises
        UpgradeNeeded.
        """
        listed = {store: numbers[-1] for store, numbers in self.waits(project).items()}
        for store, count in dict.fromkeys([*listed.items(), *(told or {}).items()]):
            pending = self.waiting(project, store, count)
            if pending is not None:
                yield store, count, pending

    def offer(self, project: str, store: str, count: int, pending: Pending) -> bool:
        """Say what waits in a store, for the how many-th time.

        False: that was said, by a copy of that store, or by a call of which the answer was lost. Raises Corrupt
        (remote-corrupt) where there is no such number.
        """
        if count > _LAST:
            message = (
                f"what waits in store {store} for project {project!r} was said more often at {self._objects.url} than "
                "can be counted: begin that mirror anew in another place"
            )
            raise corrupt(message)
        return self._objects.claim(f"pending/{part_of(project)}/{store}/{count:012d}", encode(pending))

    def drop_waits(self, project: str, store: str, count: int) -> None:
        """Remove what a store has said up to a count of what waits in it."""
        head = f"pending/{part_of(project)}/{store}/"
        for name in list(self._objects.names(head)):
            if name <= f"{head}{count:012d}":
                self._objects.remove(name)

    def _said(self, project: str, number: int) -> bytes | None:
        with contextlib.suppress(MissingObject):
            return self._objects.read(_more_name(project, number))
        return None


def _more_head(project: str) -> str:
    return f"more/{part_of(project)}/"


def _more_name(project: str, number: int) -> str:
    return f"{_more_head(project)}{number:012d}"
