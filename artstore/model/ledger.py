"""The ledger: the journal of a project told again in memory, and all that the catalog's tables must say of it.

`artstore.storage.journal` keeps the same in tables. The two are written apart from each other, so that `verify` finds
what went wrong in either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from blake3 import blake3

from artstore.model.digest import Digest
from artstore.model.fold import PASSING, Void, fold_into
from artstore.model.notes import (
    Accepted,
    AcceptNumbers,
    AnyNote,
    Dismissed,
    Evicted,
    Forget,
    Order,
    decode_line,
    is_note,
)
from artstore.model.records import AnyOp, Create, Link, Rename, brings, decode_op, kind_of, made_by, manifest_of
from artstore.model.state import Collection, Membership, MemoryState, Synonym, Version

Row = Sequence[object]

# A digest is bytes too, of a class of its own.
_encoder = msgspec.json.Encoder(enc_hook=bytes)


class Ledger:
    """The journal of one project, taken transaction by transaction."""

    def __init__(self) -> None:
        self.state = MemoryState()
        """What the ops fold to that count."""
        self._order = Order()
        self._folded: list[Row] = []
        """Of each of these ops what its row says beside the op."""
        self._head: str | None = None
        self._entries = TableDigest()
        self._lines = TableDigest()
        self._dismissed: dict[str, bytes] = {}
        self._received: set[str] = set()
        self._forgotten: dict[str, int] = {}
        self._renumbered: set[tuple[str, int, str]] = set()
        self._refused: dict[str, Void] = {}
        """Of the ops that are void, since somebody else has decided otherwise, why."""

    def take(self, seq: int, digest: str, bodies: Iterable[bytes]) -> None:
        """Take what the journal holds next."""
        slots: list[tuple[str, bytes, Accepted]] = []
        for place, body in enumerate(bodies):
            id_ = str(Digest.of(body))
            line = decode_line(body)
            noted = is_note(line)
            self._lines.add((seq, place, None if noted else id_, body if noted else None))
            if isinstance(line, Accepted):
                slots.append((id_, body, line))
                continue
            self._accept(slots)
            slots.clear()
            self._take(id_, body, line)
        self._accept(slots)
        self._entries.add((seq, digest))
        self._head = digest

    def digests(self) -> dict[str, Digest]:
        """One digest for each table that tells what was written down, of its rows in the order of their keys."""
        order = self._order
        ops = zip(order.ops(), self._folded, strict=True)
        rows: dict[str, Iterable[Row]] = {
            "project": [(self._head, order.upstream, order.slot, order.head)],
            "op": ((number, op.id, op.body, op.slot, *more) for number, (op, more) in enumerate(ops, start=1)),
            "dismissed": sorted(self._dismissed.items()),
            "received": ((version,) for version in sorted(self._received)),
            "forgotten": sorted(self._forgotten.items()),
            "renumbered": sorted(self._renumbered),
        }
        found = {"log_entry": self._entries.value(), "line": self._lines.value()}
        return found | {table: digest_of_rows(some) for table, some in rows.items()}

    def _take(self, id_: str, body: bytes, line: AnyOp | AnyNote) -> None:
        is_known = self._order.counts(id_)
        if isinstance(line, Dismissed):
            waiting = self._order.waiting()
            self._dismissed.update((op, waiting[op].body) for op in line.ops if op in waiting)
        self._order.take(id_, body, line)
        if isinstance(line, Dismissed):
            self._fold_again()
        elif isinstance(line, Forget):
            self._forgotten.pop(line.version, None)
            if line.forgotten:
                self._forgotten[line.version] = int(line.awaited)
        elif isinstance(line, Evicted):
            self._received.update(line.versions)
        elif isinstance(line, AcceptNumbers):
            self._renumbered = {each for each in self._renumbered if each[0] not in line.collections}
        elif not is_note(line) and not is_known:
            self._dismissed.pop(id_, None)
            self._fold(id_, decode_op(body))

    def _accept(self, notes: Sequence[tuple[str, bytes, Accepted]]) -> None:
        """Let the ops of some slots count before all that waits."""
        waiting = list(self._order.waiting())
        came: dict[str, AnyOp] = {}
        for raw in (bytes(raw) for _, _, note in notes for raw in note.ops):
            id_ = str(Digest.of(raw))
            if not self._order.is_accepted(id_):
                came.setdefault(id_, decode_op(raw))
        meant = self._meant(came.values())
        for id_, body, note in notes:
            self._order.take(id_, body, note)
        for id_, op in came.items():
            self._dismissed.pop(id_, None)
            version = brings(id_, op)
            if version is not None and id_ not in waiting:
                self._received.add(version)
        if not waiting:
            for id_, op in came.items():
                self._fold(id_, op)
        elif list(came) != waiting[: len(came)] or not self._refused.keys().isdisjoint(came):
            self._fold_again()
        self._note_meant(meant)

    def _meant(self, ops: Iterable[AnyOp]) -> dict[str, tuple[str, set[tuple[int, str]]]]:
        """By the names that ops are to give: the collection that has each, or had it last, and what is numbered in it.

        With what has lost a number in it.
        """
        names = {op.name for op in ops if isinstance(op, Create | Rename)}
        last: dict[str, str] = {}
        for op, (kind, void, *_) in zip(self._order.ops(), self._folded, strict=True) if names else ():
            named = decode_op(op.body) if void is None and kind in {"create", "rename"} else None
            if isinstance(named, Create | Rename) and named.name in names:
                id_ = made_by(op.id, named) if isinstance(named, Create) else named.collection
                bearer = self.state.collection(id_)
                last |= {} if bearer is None else {named.name: bearer.id}
        last |= {name: id_ for id_, name in _names(self.state) if name in names}
        found: dict[str, tuple[str, set[tuple[int, str]]]] = {}
        for name, of in last.items():
            numbers = {(each.number, each.id) for each in self.state.all(Version) if each.collection == of}
            numbers |= {(each.number, each.version) for each in self.state.memberships_of(of)}
            found[name] = (of, numbers | {(number, id_) for lost, number, id_ in self._renumbered if lost == of})
        return found

    def _note_meant(self, before: Mapping[str, tuple[str, set[tuple[int, str]]]]) -> None:
        """Note which of these numbers mean something else, since another collection has the name now."""
        standing = {name: id_ for id_, name in _names(self.state)}
        for name, (of, numbers) in before.items():
            collection, now = self.state.collection(of), standing.get(name)
            if now is None or now == (of if collection is None else collection.id):
                continue
            for number, id_ in numbers:
                version, link = self.state.version(id_), self.state.membership(now, id_)
                is_there = version is not None and (version.collection, version.number) == (now, number)
                if not is_there and (link is None or link.number != number):
                    self._renumbered.add((now, number, id_))

    def _fold(self, id_: str, op: AnyOp, refused: Void | None = None) -> None:
        void = refused or fold_into(self.state, id_, op, len(self._folded) + 1)
        if void is not None and void.reason not in PASSING:
            self._refused[id_] = void
        manifest = manifest_of(op)
        self._folded.append(
            (
                kind_of(op),
                None if void is None else void.reason,
                brings(id_, op),
                None if manifest is None else Digest.parse(manifest),
            )
        )

    def _fold_again(self) -> None:
        """Fold all that counts from the beginning, and note which versions lost the number that they had shown."""
        before, refused = self.state, self._refused
        self.state, self._refused = MemoryState(), {}
        self._folded.clear()
        for op in self._order.ops():
            # What was refused while it waits does not come alive by itself.
            self._fold(op.id, decode_op(op.body), None if self._order.is_accepted(op.id) else refused.get(op.id))
        self._renumber(before)

    def _renumber(self, before: MemoryState) -> None:
        names, standing = dict(_names(before)), {name: id_ for id_, name in _names(self.state)}
        taken, second = self._names_taken(), {each.id: each.collection for each in before.all(Synonym)}
        # Collections that were made twice and are two now, of which the second one has the name.
        parted = {first: id_ for id_, first in second.items() if standing.get(names.get(first, "")) == id_}
        self._renumbered = {(parted.get(of, of), number, id_) for of, number, id_ in self._renumbered}
        for version in before.all(Version):
            id_, number, name = version.id, version.number, names.get(version.collection, "")
            now = self.state.version(id_)
            # What has no place any more, or not the name that was given here, had it in the one of that name now; and
            # so had what was in a collection that was made here too, where that is one of its own now.
            is_lost = now is None or (now.collection, name) in taken or version.collection in parted
            if is_lost and name in standing:
                self._renumbered.add((standing[name], number, id_))
            if now is not None:
                self._renumbered.add((now.collection, number, id_))
        for link in before.all(Membership):
            name = names.get(link.portfolio, "")
            self._renumber_link(link, standing.get(name), is_lost=link.portfolio in parted, name=name, taken=taken)
        canonical = {each.id: each.collection for each in self.state.all(Synonym)}
        found = {(canonical.get(of, of), number, id_) for of, number, id_ in self._renumbered}
        # One that has its number back means what it meant.
        found -= {(version.collection, version.number, version.id) for version in self.state.all(Version)}
        self._renumbered = found - {(link.portfolio, link.number, link.version) for link in self.state.all(Membership)}

    def _renumber_link(
        self, link: Membership, named: str | None, *, is_lost: bool, name: str, taken: set[tuple[str, str]]
    ) -> None:
        own = self.state.collection(link.portfolio)
        rows = [self.state.membership(of, link.version) for of in (own.id if own else "", named or "")]
        now = next(filter(None, rows), None)
        waiting = [decode_op(op.body) for op in self._order.waiting().values()] if now is None else []
        if now is None and not any(isinstance(op, Link) and op.version == link.version for op in waiting):
            # Somebody has taken it out, and its number is not used again.
            return
        is_lost |= now is None or (now.portfolio, name) in taken
        for of in (named if is_lost else None, now.portfolio if now else None):
            if of is not None:
                self._renumbered.add((of, link.number, link.version))

    def _names_taken(self) -> set[tuple[str, str]]:
        """Collections with the names that were given to them here, and that others had given first."""
        folded = zip(self._order.ops(), self._folded, strict=True)
        void = [decode_op(op.body) for op, (_kind, reason, *_) in folded if op.slot is None and reason is not None]
        renames = [(self.state.collection(op.collection), op.name) for op in void if isinstance(op, Rename)]
        return {(collection.id, name) for collection, name in renames if collection is not None}


class TableDigest:
    """The digest of some rows, in the order in which they are added."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def add(self, row: Row) -> None:
        """Take a row: text, numbers, bytes and None."""
        self._hasher.update(_encoder.encode(row) + b"\n")

    def value(self) -> Digest:
        """The digest of the rows so far."""
        return Digest(self._hasher.digest())


def digest_of_rows(rows: Iterable[Row]) -> Digest:
    """The digest of some rows, in the order in which they come."""
    digest = TableDigest()
    for row in rows:
        digest.add(row)
    return digest.value()


def _names(state: MemoryState) -> Iterator[tuple[str, str]]:
    return ((each.id, each.name) for each in state.all(Collection) if not each.deleted)
