"""Cut: what waits goes in slots none of which is long, and no version is left without its end.

A slot shows no version without its bytes, and of what was deleted since they may be gone. So a slot does not end
between such a version and its end while it is short. Where they lie far apart, the end comes earlier, as far as nothing
in between names the version; failing that its bytes come along, as long as they are here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from artstore.errors import Invalid
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.records import (
    LONGEST_CHANGE,
    AnyOp,
    Commit,
    Delete,
    DeleteCollection,
    DropPart,
    MoveAlias,
    Relog,
    decode_op,
    manifest_of,
)
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Waiting
from artstore.storage.root import Root
from artstore.sync.held import Missing, lists_in_doubt, need_of
from artstore.sync.reports import Moved

_SLOT_BYTES: Final = 4 << 20
"""Ops in one slot, but for the last transaction."""
SLOT_FILES: Final = 200_000
"""Files of all versions in one slot, but for the last: their lists are in memory together on both sides."""
_LONG_BYTES: Final = 16 << 20
"""Ops in one slot from where on ends come early, or bytes along, so that it can be cut."""
_LONGEST_BYTES: Final = 24 << 20
"""Ops in one slot from where on it is cut in any case. With one transaction more a server still takes it."""
_DIGEST: Final = re.compile(rb"blake3:[0-9a-f]{64}")


class Offer(NamedTuple):
    """What goes into the next slot."""

    transactions: list[list[Waiting]]
    needs: list[list[Digest]]
    """The manifests that versions of each need which are to be seen there."""
    files: int = 0
    """How many these have."""
    endless: frozenset[str] = frozenset()
    """Ids of the ops that make versions which it cannot show, since their bytes are gone, nor end in time."""

    @property
    def manifests(self) -> list[Digest]:
        """All of these."""
        return [digest for some in self.needs for digest in some]

    def counted(self) -> Moved:
        """How much it is, without blobs."""
        ops = [op for transaction in self.transactions for op in transaction]
        return Moved(slots=1, ops=len(ops), versions=sum(op.version is not None for op in ops))


def uncut(root: Root, view: ProjectView, transactions: Sequence[list[Waiting]], missing: Missing) -> Offer:
    """All at once, in its order, with the lists of what is equal to versions that others may have deleted.

    And, as far as they can be given, of parts: others may gather one that is gathered with them before these come
    there; and of what goes with the rest of its collection, of which others may need something by then.
    """
    needs: list[list[Digest]] = []
    for ops, doubtful in zip(transactions, lists_in_doubt(transactions), strict=True):
        needs.append([manifest for op in ops if (manifest := need_of(view, op).manifest) is not None])
        needs[-1] += [each for each in doubtful if each not in needs[-1] and _is_whole(root, each, missing)]
    return Offer(list(transactions), needs)


def cut(
    root: Root, view: ProjectView, transactions: Sequence[list[Waiting]], missing: Missing, files: int
) -> list[Offer]:
    """Cut transactions where one slot has enough, of `files` too; of versions that come whole, nothing is missing."""
    return _Cutter(root, view, transactions, missing).cut(files)


class _Open(NamedTuple):
    """A version or part that has been put into a slot without its bytes, and whose end has not."""

    op: Waiting
    place: int
    """Of its transaction in the slot."""
    end: int
    """Of the transaction that ends it, among all."""

    @property
    def manifest(self) -> Digest:
        """Its list of files."""
        named = manifest_of(decode_op(self.op.body))
        assert named is not None
        return Digest.parse(named)


class _Slot:
    """A slot that is being filled."""

    def __init__(self) -> None:
        self.transactions: list[list[Waiting]] = []
        self.needs: list[list[Digest]] = []
        self.open: dict[str, _Open] = {}
        self.endless = frozenset[str]()
        self.bytes = self.files = 0


class _Cutter:
    def __init__(self, root: Root, view: ProjectView, transactions: Sequence[list[Waiting]], missing: Missing) -> None:
        self._root = root
        self._view = view
        self._transactions = transactions
        self._missing = missing
        self._needs = [[need_of(view, op) for op in ops] for ops in transactions]
        self._ends = dict(self._found_ends())
        self._early: set[int] = set()
        self._last_named: dict[str, int] | None = None
        self._whole: dict[Digest, bool] = {}

    def cut(self, files: int) -> list[Offer]:
        slots = [_Slot()]
        for place in range(len(self._transactions)):
            is_full = slots[-1].bytes >= _SLOT_BYTES or slots[-1].files >= files
            if is_full and self._may_end(slots[-1], place):
                slots.append(_Slot())
            if place not in self._early:
                self._put(slots[-1], place)
        return [Offer(each.transactions, each.needs, each.files, each.endless) for each in slots if each.transactions]

    def _put(self, slot: _Slot, place: int) -> None:
        ops, needs = self._transactions[place], self._needs[place]
        slot.transactions.append(ops)
        slot.needs.append([])
        slot.bytes += sum(len(op.body) for op in ops)
        for op, need in zip(ops, needs, strict=True):
            if need.manifest is not None and not need.is_equal:
                slot.needs[-1].append(need.manifest)
                slot.files += need.files
            elif op.version is not None and self._ends.get(op.version, place) > place:
                slot.open[op.version] = _Open(op, len(slot.transactions) - 1, self._ends[op.version])
        slot.open = {version: each for version, each in slot.open.items() if each.end != place}

    def _may_end(self, slot: _Slot, place: int) -> bool:
        """Whether a slot may end in front of a transaction; if so, what is open in it is seen to."""
        if not slot.open:
            return True
        if slot.bytes < _LONG_BYTES:
            return False
        early: list[int] = []
        size = slot.bytes
        for end in sorted({each.end for each in slot.open.values()}):
            more = sum(len(op.body) for op in self._transactions[end])
            if size + more <= _LONGEST_BYTES + LONGEST_CHANGE and self._may_come_early(end, place):
                early.append(end)
                size += more
        left = [each for each in slot.open.values() if each.end not in early]
        endless = frozenset(each.op.id for each in left if not self._can_come(each.manifest))
        if endless and slot.bytes < _LONGEST_BYTES:
            # Ever so little more may do.
            return False
        for end in early:
            self._put(slot, end)
        for each in left:
            slot.needs[each.place] += [] if each.op.id in endless else [each.manifest]
        self._early.update(early)
        slot.endless = endless
        return True

    def _found_ends(self) -> Iterator[tuple[str, int]]:
        """The versions and parts that travel without their bytes, each with the place of what ends it."""
        if not any(need.ends for needs in self._needs for need in needs):
            return
        waits: defaultdict[str, set[str]] = defaultdict(set)
        for place, (ops, needs) in enumerate(zip(self._transactions, self._needs, strict=True)):
            for op, need in zip(ops, needs, strict=True):
                for word in _ended(self._view, decode_op(op.body)):
                    yield from ((version, place) for version in waits.pop(word, ()))
                for word in need.ends:
                    assert op.version is not None
                    waits[word].add(op.version)

    def _may_come_early(self, end: int, place: int) -> bool:
        """Whether a transaction does nothing but end what no other names from this place on."""
        if self._last_named is None:
            self._last_named = {
                name: at for at, ops in enumerate(self._transactions) for op in ops for name in _named(op)
            }
        ops = [decode_op(op.body) for op in self._transactions[end]]
        names = [op.version if isinstance(op, Delete) else op.part for op in ops if isinstance(op, Delete | DropPart)]
        return len(names) == len(ops) and all(self._last_named.get(name, -1) < place for name in names)

    def _can_come(self, manifest: Digest) -> bool:
        """Whether a version can come with all its bytes."""
        if manifest not in self._whole:
            self._whole[manifest] = _is_whole(self._root, manifest, self._missing)
        return self._whole[manifest]


def endless(offer: Offer) -> Missing:
    """What an offer cannot show and not end."""
    message = (
        "it was deleted and its bytes are gone, and more than a slot of a log can hold came between it and what was "
        "last said of it"
    )
    return Missing(ops=offer.endless, why=Invalid(message, code="too-large")) if offer.endless else Missing()


def _is_whole(root: Root, manifest: Digest, missing: Missing) -> bool:
    """Whether a list of files is here with all bytes, as far as is known."""
    if manifest in missing.manifests or root.manifests.find(manifest) is None:
        return False
    blobs = {blob.digest for entry in root.manifests.entries(manifest) if (blob := blob_of(entry))}
    return blobs.isdisjoint(missing.blobs) and blobs <= root.blobs.known(list(blobs))


def _ended(view: ProjectView, op: AnyOp) -> list[str]:
    """What an op ends, in the words of `held.Need`."""
    if isinstance(op, Delete):
        return [f"version {op.version}"]
    if isinstance(op, DeleteCollection):
        collection = view.collection(op.collection)
        return [] if collection is None else [f"collection {collection.id}"]
    parts = [op.part] if isinstance(op, DropPart) else op.parts if isinstance(op, Commit | Relog) else []
    return [f"part {part}" for part in parts]


def _named(waiting: Waiting) -> Iterator[str]:
    """What an op brings or names, but for what it ends, and for where an alias stood: it moves from nowhere, too."""
    if waiting.version is not None:
        yield waiting.version
    op = decode_op(waiting.body)
    if isinstance(op, Delete | DropPart):
        return
    stood = op.before if isinstance(op, MoveAlias) and op.version is not None else None
    yield from (name for found in _DIGEST.findall(waiting.body) if (name := found.decode()) != stood)
