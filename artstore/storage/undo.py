"""Undo: how an op is taken out of the tables again, so that others can come before it.

What waits for an upstream is folded behind all that was accepted. When more is accepted, it is taken back in reverse,
row by row, and folded again behind that: so it costs what came and what waits, however long the log is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from artstore.model.fold import Change
from artstore.model.state import ROW_KINDS, Membership, Synonym, Version
from artstore.storage.catalog import FoldView

_KINDS = {kind.__name__: kind for kind in ROW_KINDS}


class _Before(msgspec.Struct, frozen=True, array_like=True):
    """A row as it was."""

    kind: str
    key: list[str]
    row: msgspec.Raw
    """`null` where it was not there."""


class Touched(NamedTuple):
    """What changes have made or changed of what has a number, or a second id."""

    versions: set[str]
    links: set[tuple[str, str]]
    """By the ids of portfolio and version."""
    synonyms: set[str]


_decoder = msgspec.json.Decoder(list[_Before])


def encode_undo(view: FoldView, changes: Iterable[Change]) -> bytes:
    """What takes these changes back, as long as no others have come behind them; to be asked before they are made."""
    made: list[_Before] = []
    for change in changes:
        kind, key = type(change.row), change.row.key
        made.append(_Before(kind.__name__, list(key), msgspec.Raw(msgspec.json.encode(view.row(kind, key)))))
    return msgspec.json.encode(made)


def undo(view: FoldView, encoded: bytes) -> None:
    """Take changes back, inside a write transaction."""
    # In reverse: a name or a number that one row left was free for the next.
    for before in reversed(_decoder.decode(encoded)):
        kind = _KINDS[before.kind]
        row = msgspec.json.decode(before.row, type=kind | None)
        if row is None:
            view.drop(kind, before.key)
        else:
            view.put(row)


def touched_by(encoded: Iterable[bytes]) -> Touched:
    """What some changes have made or changed."""
    found = Touched(set(), set(), set())
    for before in itertools.chain.from_iterable(map(_decoder.decode, encoded)):
        if before.kind == Version.__name__:
            found.versions.add(before.key[0])
        elif before.kind == Synonym.__name__:
            found.synonyms.add(before.key[0])
        elif before.kind == Membership.__name__:
            found.links.add((before.key[0], before.key[1]))
    return found
