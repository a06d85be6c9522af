"""Put back: slots of a log that were lost or damaged in a depot or on a server, from the journal, byte for byte.

In a depot that is done only in the middle of a log: where slots behind are there as they were taken, or in a
checkpoint, the ones before cannot have been others. What is lost at the end may have been lost with its objects, and is
offered again instead (`recover`). A server knows itself what it has lost, also at the end, and compares what it is
given.
"""

from __future__ import annotations

import itertools
from typing import Final, Protocol, runtime_checkable

from artstore.errors import Conflict, Corrupt
from artstore.lifecycle.progress import Tick
from artstore.lifecycle.upstream import TakenSlot
from artstore.model.digest import Digest
from artstore.sync.depots.depot import Depot
from artstore.sync.history import history
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.protocol import ReadSlot, Slot, decode_slot, slot_again
from artstore.sync.pull import counted, other_log
from artstore.sync.reports import Moved
from artstore.sync.way import Way

_Found = ReadSlot | str
"""A slot of somebody else's, or one of these."""
_WHOLE: Final = "whole"
_GONE: Final = "gone"
_DAMAGED: Final = "damaged"


@runtime_checkable
class KeepsLogs(Protocol):
    """A remote that knows itself what its logs should have."""

    def lost(self, project: str) -> list[int]:
        """The slots that are lost or damaged there. Raises Unreachable, Denied."""

    def put_back(self, project: str, number: int, data: bytes) -> None:
        """Give a slot the bytes again that it had. Raises Conflict (forked) where it is another one there."""


def put_back(way: Way) -> Moved:
    """Put back the slots that are lost or cannot be read, as far as this store has followed; answers how much it was.

    Raises Conflict (other-log) where a depot has another log; Conflict (forked), in a depot before anything is written,
    where others have claimed a slot anew that the ones behind it do not follow.
    """
    project = way.root.catalog.project(way.project)
    assert project is not None
    known = history(way.root, project).slots
    remote = way.remote
    if isinstance(remote, Depot):
        return _put_back(way, remote, known, _wrong_in(way, remote, known))
    assert isinstance(remote, KeepsLogs)
    # What a server has not counted yet the slot behind vouches for, which thus comes first.
    lost = [number for number in remote.lost(way.project) if number <= len(known)]
    return _put_back(way, remote, known, sorted(lost, reverse=True))


def _put_back(way: Way, remote: Depot | KeepsLogs, known: list[TakenSlot], wrong: list[int]) -> Moved:
    mended: list[Slot] = []
    for number in wrong:
        taken = known[number - 1]
        data = slot_again(taken.frame, taken.ops)
        read = decode_slot(data, way.project, number, "the journal of this store")
        if (read.digest, read.slot.before) != (taken.digest, known[number - 2].digest if number > 1 else None):
            message = f"slot {number} of project {way.project!r} is not in the journal as it was: run `artstore verify`"
            raise Corrupt(message, code="digest-mismatch")
        remote.put_back(way.project, number, data)
        mended.append(read.slot)
    return counted(mended)


def _wrong_in(way: Way, depot: Depot, known: list[TakenSlot]) -> list[int]:
    """The slots that are lost or cannot be read in a depot. Raises Conflict (other-log, forked)."""
    found = _look(way, depot, known)
    wrong = [number for number in range(1, _end(way, depot, found) + 1) if found[number] != _WHOLE]
    for number in wrong:
        there = found[number]
        if isinstance(there, ReadSlot):
            raise _forked(way, there.slot)
    return wrong


def _look(way: Way, depot: Depot, known: list[TakenSlot]) -> dict[int, _Found]:
    """What stands where slots stood."""
    found: dict[int, _Found] = {}
    for taken, data in in_parallel(lambda taken: depot.lone_slot(way.project, taken.number), known):
        is_whole = data is not None and str(Digest.of(data)) == taken.digest
        found[taken.number] = _WHOLE if is_whole else _read(way, depot, taken.number, data)
        way.tell(Tick("check", len(found), total_files=len(known)))
    return found


def _read(way: Way, depot: Depot, number: int, data: bytes | None) -> _Found:
    if data is None:
        return _GONE
    try:
        read = decode_slot(data, way.project, number, depot.url)
    except Corrupt:
        return _DAMAGED
    assert way.followed is not None
    if read.slot.log != way.followed.log:
        raise other_log(way)
    return read


def _end(way: Way, depot: Depot, found: dict[int, _Found]) -> int:
    """The last slot that is known to have to be as it was taken, since it is, or since one behind it says so."""
    last = way.followed
    assert last is not None
    whole = max((number for number, each in found.items() if each == _WHOLE), default=0)
    behind = _read(way, depot, last.slot + 1, depot.lone_slot(way.project, last.slot + 1))
    if isinstance(behind, ReadSlot) and behind.slot.before == last.head:
        return last.slot
    # Those that nobody has claimed anew since.
    left = list(itertools.takewhile(lambda number: isinstance(found[number], str), range(whole + 1, last.slot + 1)))
    if len(left) == last.slot - whole and behind in {_GONE, _DAMAGED} and depot.behind(way.project, last.slot):
        return last.slot
    # A checkpoint says what was claimed, as a slot that cannot be read does.
    known = depot.checkpointed(way.project) if left else 0
    return max((number for number in left if number <= known or found[number] == _DAMAGED), default=whole)


def _forked(way: Way, slot: Slot) -> Conflict:
    message = (
        f"slot {slot.number} of {way.place} was claimed anew by store {slot.store} after it was lost, and the slots "
        "behind it do not follow that one. Nothing was put back: take that object away there, keeping a copy of it, "
        "and repeat; then `artstore remote recover` in that store offers again what it had claimed"
    )
    return Conflict(message, code="forked")
