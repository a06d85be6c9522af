"""Room: what a project may still take of a place that counts it, and what is said where that is too little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from artstore.errors import StorageFull
from artstore.model.records import AnyOp, Delete, DeleteCollection, DropPart

FOR_ENDS: Final = 1 << 20
"""Bytes that slots which only end things may take beyond a quota: who has too much has to be able to delete."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How it is with the quota of a project. All in bytes."""

    limit: int
    """What it may take."""
    takes: int
    """What it takes, with what is on its way."""
    stays: int
    """What of that is its log and its lists of files, which are never removed."""

    @property
    def left(self) -> int:
        """What it may still take."""
        return max(0, self.limit - self.takes)

    def too_little(self, what: str, size: int) -> StorageFull:
        """The error for so many bytes more of `what`, which do not fit."""
        ask = "ask whoever keeps the server for more (`artstore serve --quota`)"
        now = f"Delete versions everywhere, which gives back what `artstore gc` frees on the server, or {ask}"
        if self.stays + size > self.limit:
            now = f"{self.stays} of them are its log and its lists of files, which never get smaller: {ask}"
        message = f"{what} may take {self.limit} bytes and takes {self.takes}: {size} more do not fit. {now}"
        return StorageFull(message, code="quota-exceeded")


def only_ends(ops: Iterable[AnyOp]) -> bool:
    """Whether ops do nothing but end versions, collections and parts, so that bytes can be freed."""
    return all(isinstance(op, Delete | DeleteCollection | DropPart) for op in ops)
