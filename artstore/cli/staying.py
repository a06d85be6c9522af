"""Staying: words for what waits and is not pushed, since a remote was noted for other collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from artstore.units import count

if TYPE_CHECKING:
    from artstore.sync.reports import Stays

_SHOWN: Final = 5


def words_of(stays: Stays | None) -> str:
    """What waits and is not pushed, since the remote was noted for other collections; empty where nothing does."""
    if stays is None or not stays.collections:
        return ""
    amounts = [count(stays.versions, "version")] if stays.versions else []
    amounts += [count(stays.parts, "part")] if stays.parts else []
    more = len(stays.collections) - _SHOWN
    names = ", ".join(stays.collections[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
    return f"by --only stay here {' and '.join(amounts)} of {names}"
