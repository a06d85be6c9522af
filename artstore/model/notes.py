"""Notes: what the journal of a project records beside its own ops, and which ops count in what order.

A project may follow a log that is somebody else's, its *upstream*. Its state is then the fold of the ops that the
upstream accepted, in the upstream's order, and after them its own that wait. An op counts once, at its first place.
Notes are of this store alone: they say how far the upstream was followed, and they never travel.

Chose to write down what was accepted, with the ops themselves, over asking the upstream again, because a catalog is
made anew from the journal alone, offline; look again when logs grow so long that keeping them twice hurts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from artstore.errors import Corrupt
from artstore.model.digest import Digest
from artstore.model.records import AnyOp, Op, decode_op, kind_of


class Attached(Op, frozen=True, kw_only=True, tag="note-attached"):
    """From here on the project follows this log; what it does not hold waits, in the order so far."""

    log: str | None
    """Random id of the log, 32 hex digits; None: its own, or that of an upstream which has not been met yet."""


class Accepted(Op, frozen=True, kw_only=True, tag="note-accepted"):
    """One slot of the upstream: these ops count next."""

    log: str
    slot: int
    """Place in the upstream, from 1, without gaps."""
    digest: str
    """Of the slot as it stands there, which the next slot names."""
    ops: list[msgspec.Raw]
    """In their order: own ones too, so that the journal says all of it."""
    frame: msgspec.Raw
    """What the slot is beside its ops, as JSON; with them it gives the slot again, as it stands there."""


class Dismissed(Op, frozen=True, kw_only=True, tag="note-dismissed"):
    """Own ops that the upstream has not accepted are given up: they count no more, and are never offered."""

    ops: list[str]
    """Their ids."""


class Forget(Op, frozen=True, kw_only=True, tag="note-forget"):
    """An accepted version is not wanted on this machine, or is wanted again."""

    version: str
    forgotten: bool
    awaited: bool = False
    """It is not seen, since its list of files was nowhere when it came; it is wanted as soon as that can be had."""


class Evicted(Op, frozen=True, kw_only=True, tag="note-evicted"):
    """A remote has the bytes of versions: here they may be missing."""

    versions: list[str]
    """Ids."""


class TakenIn(Op, frozen=True, kw_only=True, tag="note-taken"):
    """What makes collections, versions and parts, or begins runs, came from another store, where it waits too."""

    ops: list[str]
    """Ids."""


class AcceptedBefore(Op, frozen=True, kw_only=True, tag="note-accepted-before"):
    """A log has accepted this under another name that the project had: others may have it, and its number is known."""

    ops: list[str]
    """Ids."""


class AcceptNumbers(Op, frozen=True, kw_only=True, tag="note-numbers"):
    """Whoever works here knows that these collections' numbers moved: the old spellings mean what they mean now."""

    collections: list[str]
    """Ids."""


AnyNote = Attached | Accepted | Dismissed | Forget | Evicted | TakenIn | AcceptedBefore | AcceptNumbers

_KINDS: Final = frozenset(
    kind.__struct_config__.tag
    for kind in (Attached, Accepted, Dismissed, Forget, Evicted, TakenIn, AcceptedBefore, AcceptNumbers)
)
_note_decoder = msgspec.json.Decoder(AnyNote)


class _Kind(msgspec.Struct):
    op: str


_kind_decoder = msgspec.json.Decoder(_Kind)


def decode_line(data: bytes) -> AnyOp | AnyNote:
    """Read what a transaction of the journal holds: an op or a note.

    Raises UpgradeNeeded on a kind that this version does not know, Corrupt on what is none.
    """
    try:
        if _kind_decoder.decode(data).op in _KINDS:
            note: AnyNote = _note_decoder.decode(data)
            return note
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"the journal holds a note that cannot be read: {error}. Run `artstore verify`"
        raise Corrupt(message, code="op-damaged") from error
    return decode_op(data)


def is_note(line: Op) -> bool:
    """Whether it is of this store alone."""
    return kind_of(line) in _KINDS


class Counted(msgspec.Struct, frozen=True):
    """An op, and the slot in which the upstream accepted it."""

    id: str
    body: bytes
    slot: int | None
    """None: it waits, or there is no upstream."""


class Order:
    """Which ops of a project count, and in what order."""

    def __init__(self) -> None:
        self.upstream: str | None = None
        self.slot = 0
        """The last slot that was followed."""
        self.head: str | None = None
        """Its digest."""
        self._accepted: dict[str, Counted] = {}
        self._waiting: dict[str, Counted] = {}

    def take(self, id_: str, body: bytes, line: AnyOp | AnyNote) -> None:
        """Take what the journal holds next."""
        if isinstance(line, Attached):
            self.upstream, self.slot, self.head = line.log, 0, None
            every = {**self._accepted, **self._waiting}
            self._accepted, self._waiting = {}, {key: Counted(key, op.body, None) for key, op in every.items()}
        elif isinstance(line, Accepted):
            self._follow(line)
        elif isinstance(line, Dismissed):
            for given_up in line.ops:
                self._waiting.pop(given_up, None)
        elif not is_note(line) and id_ not in self._accepted:
            self._waiting.setdefault(id_, Counted(id_, body, None))

    def ops(self) -> list[Counted]:
        """All that counts, in order."""
        return [*self._accepted.values(), *self._waiting.values()]

    def waiting(self) -> Mapping[str, Counted]:
        """Those of them that no upstream has accepted, by id, in order."""
        return self._waiting

    def is_accepted(self, id_: str) -> bool:
        """Whether the upstream that is followed has accepted an op."""
        return id_ in self._accepted

    def counts(self, id_: str) -> bool:
        """Whether an op is among those that count."""
        return id_ in self._accepted or id_ in self._waiting

    def _follow(self, note: Accepted) -> None:
        for raw in note.ops:
            body = bytes(raw)
            id_ = str(Digest.of(body))
            self._waiting.pop(id_, None)
            self._accepted.setdefault(id_, Counted(id_, body, note.slot))
        self.upstream, self.slot, self.head = note.log, note.slot, note.digest
