"""Drop slot: the last slot of a log in a depot, which cannot be read and has nothing behind it, is taken away there.

Whoever claimed it died, or somebody made an empty file of its name; while it lies there, nobody can claim another one.
A store that has counted it puts it back as it was (`put_back`), and says that the log was set back where it is gone.
"""

from __future__ import annotations

from artstore.errors import Conflict, Corrupt
from artstore.sync.depots.depot import Depot
from artstore.sync.protocol import decode_slot
from artstore.sync.way import Way


def drop_slot(way: Way, depot: Depot) -> bool:
    """Take the last slot away if it cannot be read and was not counted here; answers whether it was so.

    Raises Conflict (not-the-last) where the log went on behind it, or the one before it is not there either.
    """
    followed = way.followed
    start = number = 0 if followed is None else followed.slot
    while (later := depot.behind(way.project, number)) is not None:
        number = later
    data = depot.lone_slot(way.project, number) if number > start else None
    if data is None or _is_whole(way, depot, number):
        return False
    is_alone = number > 1 and not _is_whole(way, depot, number - 1)
    if is_alone or depot.checkpointed(way.project) >= number:
        message = (
            f"slot {number} of {way.place} cannot be read, and the log was not at its end there: `artstore remote "
            "recover` in a store that had followed it until there puts it back. Nothing was removed"
        )
        raise Conflict(message, code="not-the-last")
    depot.take_away(way.project, number, data)
    return True


def _is_whole(way: Way, depot: Depot, number: int) -> bool:
    data = depot.lone_slot(way.project, number)
    try:
        return data is not None and decode_slot(data, way.project, number, depot.url).slot.number == number
    except Corrupt:
        return False
