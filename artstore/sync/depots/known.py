"""Known: what the slots of a depot's log have said of its objects, up to one of them.

Objects are called `packs/<name>`, `blobs/<name>` and `manifests/<name>` here, as in ops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from artstore.model.records import Condemn, Sweep, decode_op
from artstore.sync.protocol import Slot

_LATEST_US: Final = 1 << 62
"""What others write becomes a number of 64 bits."""
_MARKS: Final = (b'"op":"condemn"', b'"op":"sweep"')


class _Told(msgspec.Struct):
    at_us: int


class Known(msgspec.Struct):
    """What is there."""

    slot: int = 0
    head: str | None = None
    """Digest of the slot; None in a mirror, whose pages say more."""
    packs: dict[str, None] = {}
    """Names, in the order in which they came."""
    blobs: dict[str, str] = {}
    """Names of large blobs, by the hex of the digest."""
    manifests: dict[str, list[str]] = {}
    """Digests, by the name of the object."""
    bases: dict[str, list[str]] = {}
    """Digests of the manifests that those of an object stand on and that it does not have, by its name."""
    dead: set[str] = set()
    """Digests of manifests that are there, and of whose blobs that is not certain."""
    condemned: dict[str, int] = {}
    """When objects were condemned that were neither named nor swept since, in microseconds since 1970: as whoever did
    it says, and not before what the log had by then, so that a clock that is behind takes no grace away."""
    newest_us: int = 0
    """The newest time that an op of these slots says."""
    page: str | None = None
    """Digest of the page that has the last slot, in a mirror."""
    pages: dict[int, int] = {}
    """Its pages: the last slot of each, by the first."""
    more: int = 0
    """Up to where it is known, in a mirror, what is said beside the pages."""
    told: str | None = None
    """Digest of the last of that."""
    swept: set[str] = set()
    """What was swept in a mirror."""
    swept_at: int = 0
    """Where that was said last."""
    sure: int = 0
    """Up to where it is certain that nothing was swept on which a page relies."""
    marked: int = 0
    """Slots of a mirror all of whose objects are said to stay."""
    waits: dict[str, int] = {}
    """What waits in stores, and is said to stay there: how often each had said so."""

    def note(self, slot: Slot) -> set[str]:
        """Take the next slot in; answers the objects that are gone with it."""
        swept: set[str] = set()
        newest_us = self.newest_us
        for raw in slot.ops:
            at_us = min(msgspec.json.decode(raw, type=_Told).at_us, _LATEST_US)
            self.newest_us = max(self.newest_us, at_us)
        for op in collecting(slot):
            if isinstance(op, Condemn):
                for name in op.objects:
                    self.condemned.setdefault(name, max(min(op.at_us, _LATEST_US), newest_us))
            else:
                swept.update(op.objects)
                for name in (*op.objects, *op.kept):
                    self.condemned.pop(name, None)
                self.dead.update(op.manifests)
        if swept:
            self.forget(swept)
        for name, digests in slot.manifests.items():
            self.manifests[name] = digests
            if slot.bases:
                self.bases[name] = slot.bases
            self.dead.difference_update(digests)
        self.packs.update(dict.fromkeys(slot.packs))
        self.blobs.update({name[:64]: name for name in slot.blobs})
        for name in names_of(slot.packs, slot.blobs, slot.manifests):
            self.condemned.pop(name, None)
        self.slot = slot.number
        return swept

    def named(self) -> set[str]:
        """The objects that slots have named and that are not swept."""
        return set(names_of(self.packs, self.blobs.values(), self.manifests))

    def keeping(self, manifests: Iterable[str]) -> set[str]:
        """The objects without which some manifests could not be read, nor a log that names them be followed."""
        holders: dict[str, list[str]] = {}
        for name, digests in self.manifests.items():
            for digest in digests:
                holders.setdefault(digest, []).append(name)
        # Of those that have the same, the last one is asked for.
        wanted = [holders[digest][-1] for digest in manifests if digest in holders]
        kept: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name not in kept:
                kept.add(name)
                # Any of these may be the one that came before it.
                wanted += [each for base in self.bases.get(name, ()) for each in holders.get(base, ())]
        return {f"manifests/{name}" for name in kept}

    def forget(self, gone: set[str]) -> None:
        """Take it that these objects are gone."""
        self.packs = {name: None for name in self.packs if f"packs/{name}" not in gone}
        self.blobs = {hex_: name for hex_, name in self.blobs.items() if f"blobs/{name}" not in gone}
        for name in [name for name in self.manifests if f"manifests/{name}" in gone]:
            del self.manifests[name]
            self.bases.pop(name, None)
        self.dead.intersection_update(digest for digests in self.manifests.values() for digest in digests)


def collecting(slot: Slot) -> Iterator[Condemn | Sweep]:
    """The ops of a slot that are about the objects of its depot."""
    for raw in slot.ops:
        data = bytes(raw)
        if any(mark in data for mark in _MARKS):
            op = decode_op(data)
            if isinstance(op, Condemn | Sweep):
                yield op


def names_of(packs: Iterable[str], blobs: Iterable[str], manifests: Iterable[str]) -> Iterator[str]:
    """What objects are called in ops."""
    yield from (f"packs/{name}" for name in packs)
    yield from (f"blobs/{name}" for name in blobs)
    yield from (f"manifests/{name}" for name in manifests)
