"""Claim: the next slot of a log, and what is claimed is counted here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from artstore.lifecycle.upstream import Followed, accept
from artstore.model.digest import Digest
from artstore.sync.protocol import FORMAT, ReadSlot, Sent, Slot, encode_slot, read_slot
from artstore.sync.pull import slots_to_take
from artstore.sync.way import Way

NOTHING = Sent({}, [], [])


def claim_next(
    way: Way, last: Followed, transactions: Sequence[Sequence[bytes]], sent: Sent, *, bases: Sequence[str] = ()
) -> Slot | None:
    """Claim the slot behind `last`, the last one that was counted here, and count it; None if somebody else did.

    A lost answer is read back. Raises as `Remote.claim`.
    """
    claimed = claim(way, last, transactions, sent, bases=bases)
    if claimed is None:
        return None
    accept(way.root, way.session, way.project, last.log, slots_to_take([claimed]))
    way.remote.claimed(way.project, claimed.slot.number)
    return claimed.slot


def claim(
    way: Way, last: Followed, transactions: Sequence[Sequence[bytes]], sent: Sent, *, bases: Sequence[str] = ()
) -> ReadSlot | None:
    """Claim a slot as `claim_next`, and leave it to a pull to count it."""
    slot = Slot(
        format=FORMAT,
        project=way.project,
        log=last.log,
        number=last.slot + 1,
        before=last.head,
        store=way.root.format.store_id,
        transactions=[[msgspec.Raw(body) for body in transaction] for transaction in transactions],
        manifests=sent.manifests,
        bases=list(bases),
        packs=sent.packs,
        blobs=sent.blobs,
    )
    data = encode_slot(slot)
    digest = str(Digest.of(data))
    if not way.remote.claim(way.project, slot.number, data):
        there = read_slot(way.remote, way.project, slot.number)
        if there is None or there.digest != digest:
            return None
    return ReadSlot(slot, digest)
