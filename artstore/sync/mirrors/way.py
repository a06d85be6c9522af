"""Mirroring: between one project of a store and a mirror, where a log is taken to and from, with what waits."""

from __future__ import annotations

from artstore.errors import ArtstoreError, Conflict
from artstore.sync.history import History
from artstore.sync.mirrors.mirror import FAR, Mirror, MirrorShelf
from artstore.sync.protocol import read_slot
from artstore.sync.way import Way


class MirrorWay:
    """Between one project of a store and a mirror."""

    def __init__(self, way: Way, mirror: Mirror, *, has_upstream: bool) -> None:
        self.way = way
        self.mirror = mirror
        self.has_upstream = has_upstream
        """Whether the store names one, so that what no log has accepted waits for it."""
        self._shelf: MirrorShelf | None = None

    @property
    def shelf(self) -> MirrorShelf:
        """What lies there, as far as the pages said so when it was looked last."""
        return self._shelf or self.look()

    def look(self) -> MirrorShelf:
        """Look again what lies there, as far as the pages say so."""
        shelf, self._shelf = self._shelf or self.mirror.shelf(self.way.root, self.way.project), None
        shelf.catch_up()
        self._shelf = shelf
        return shelf


def check_same(there: MirrorWay, known: History, number: int) -> None:
    """Raise Conflict (other-log) where the mirror has another log than this, or another slot of this number."""
    way, mirror = there.way, there.mirror
    log = mirror.log(way.project)
    if log is None or number == 0:
        return
    found = read_slot(mirror, way.project, number)
    if log != known.log or found is None or found.digest != known.head(number):
        raise other_log(way)


def check_joins(there: MirrorWay, known: History, first: int, last: int) -> None:
    """Raise Conflict (other-log) where some slots of this log do not fit between those that the mirror has."""
    way, mirror = there.way, there.mirror
    before = read_slot(mirror, way.project, first - 1) if first > 1 else None
    behind = read_slot(mirror, way.project, last + 1) if last != FAR else None
    if (before is not None and before.digest != known.head(first - 1)) or (
        behind is not None and behind.slot.before != known.head(last)
    ):
        raise other_log(way)


def other_log(way: Way) -> Conflict:
    """The error for a mirror of another log than this store's."""
    message = (
        f"{way.place} has another log than the one of this store, or the same one in another state: nothing was "
        "moved. A mirror has one log of a project; name a place of its own for this one. What waits there of others "
        "comes into a new store that pulls from this mirror alone: let that one follow your upstream then, with "
        "`artstore remote add NAME URL --upstream --join`, and push"
    )
    return Conflict(message, code="other-log")


def together(*errors: ArtstoreError | None) -> ArtstoreError | None:
    """One error that says what several say; None where none says anything."""
    said = [error for error in errors if error is not None]
    return type(said[0])("; ".join(error.message for error in said), code=said[0].code) if said else None
