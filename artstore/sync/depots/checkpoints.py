"""Checkpoints: many slots of a depot's log in one object, with the lists of files that they brought.

Whoever follows a log from its beginning reads some of these, and not an object for each slot. They are a help and can
be lost or damaged: the slots stay. A checkpoint is believed if its slots are a chain whose last one is that of the log,
which is read to compare.

    checkpoints/<project>/<first slot>-<last slot>.<random>

A checkpoint is written by whoever claims the last slot of it: of each BLOCK slots, of each FACTOR of these, and so on.
Layout: sealed (`sealed`), a list of [slot, {name of an object of manifests: bytes}].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from artstore.errors import ArtstoreError, MissingObject
from artstore.model.digest import Digest
from artstore.storage.files import random_hex
from artstore.sync.depots.sealed import MOST_BYTES, seal, unseal
from artstore.sync.objects.interface import Objects
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.protocol import LEAST_OBJECT, ObjectsData, SlotData

BLOCK: Final = 128
FACTOR: Final = 16
_NAME: Final = re.compile(r"([0-9]{12})-([0-9]{12})\.[0-9a-f]{16}\Z")

ReadSlot = Callable[[int], bytes | None]


class Entry(NamedTuple):
    """A slot, and the objects of manifests that it names, as far as they are carried along."""

    slot: SlotData
    manifests: ObjectsData


class _Head(msgspec.Struct):
    number: int
    before: str | None
    manifests: dict[str, list[str]] = {}


class _Lying(NamedTuple):
    first: int
    last: int
    name: str


class Checkpoints:
    """The checkpoints of one log."""

    def __init__(self, objects: Objects, part: str, read_slot: ReadSlot) -> None:
        """`part` stands for the project in names; `read_slot` reads a slot's own object."""
        self._objects = objects
        self._part = part
        self._read_slot = read_slot
        self._lying: list[_Lying] | None = None

    def behind(self, number: int) -> list[Entry]:
        """This slot and those behind it, of the checkpoint that has most of them; none if no checkpoint has it."""
        if self._lying is None:
            self._lying = list(self._list())
        for lying in sorted(self._lying, key=lambda each: each.last, reverse=True):
            if lying.first <= number <= lying.last:
                entries = self._read(lying)
                if entries is not None:
                    return entries[number - lying.first :]
                self._lying.remove(lying)
        return []

    def end(self) -> int:
        """The last slot that a checkpoint says it has, whatever became of the slot; 0 if there is none."""
        return max((lying.last for lying in self._list()), default=0)

    def claimed(self, number: int) -> None:
        """Write the checkpoints that end with this slot, which was claimed just now."""
        size = BLOCK
        while number % size == 0:
            first = number - size + 1
            entries = self._gather(first, number)
            if entries is None:
                return
            data = seal(entries)
            name = f"checkpoints/{self._part}/{first:012d}-{number:012d}.{random_hex(8)}"
            self._objects.write(name, [data], len(data))
            self._lying = None
            size *= FACTOR

    def tidy(self) -> int:
        """Remove those whose slots are all in a larger one; answers how many it was."""
        lying = list(self._list())
        removed = 0
        for each in lying:
            if any(
                o.first <= each.first and each.last <= o.last and o.last - o.first > each.last - each.first
                for o in lying
            ):
                self._objects.remove(each.name)
                removed += 1
        return removed

    def _list(self) -> Iterator[_Lying]:
        head = f"checkpoints/{self._part}/"
        for name in self._objects.names(head):
            found = _NAME.match(name.removeprefix(head))
            if found is not None:
                yield _Lying(int(found[1]), int(found[2]), name)

    def _read(self, lying: _Lying) -> list[Entry] | None:
        """What is in a checkpoint, if it is what the log has."""
        try:
            data = self._objects.read(lying.name)
        except ArtstoreError as error:
            if isinstance(error, ConnectionError | PermissionError):
                raise
            return None
        entries = unseal(data, list[Entry])
        if entries is None:
            return None
        try:
            is_chain = _is_chain([entry.slot for entry in entries], lying.first, lying.last)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return entries if is_chain and self._read_slot(lying.last) == entries[-1].slot else None

    def _gather(self, first: int, last: int) -> list[Entry] | None:
        """The entries of some slots; None where one is lost or damaged, or it would be too much."""
        entries: list[Entry] = []
        size = 0
        while first + len(entries) <= last:
            number = first + len(entries)
            found = self.behind(number)[: last - number + 1] or self._gather_each(number, min(last, number + BLOCK - 1))
            if not found:
                return None
            for entry in found:
                size += len(entry.slot)
                carried = {}
                for name, data in entry.manifests.items():
                    if size + len(data) <= MOST_BYTES:
                        carried[name] = data
                        size += len(data)
                entries.append(Entry(entry.slot, carried))
            if size > MOST_BYTES:
                return None
        return entries

    def _gather_each(self, first: int, last: int) -> list[Entry]:
        slots = dict(in_parallel(self._read_slot, range(first, last + 1)))
        found: list[Entry] = []
        for number in range(first, last + 1):
            slot = slots[number]
            names = None if slot is None else _objects_of(slot)
            if slot is None or names is None:
                return []
            found.append(Entry(slot, dict.fromkeys(names, b"")))
        manifests = dict(in_parallel(self._manifests, [name for entry in found for name in entry.manifests]))
        return [
            Entry(entry.slot, {name: data for name in entry.manifests if len(data := manifests[name]) >= LEAST_OBJECT})
            for entry in found
        ]

    def _manifests(self, name: str) -> bytes:
        try:
            return self._objects.read(f"manifests/{self._part}/{name}")
        except MissingObject:
            # It was swept: nobody asks for it.
            return b""


def _objects_of(slot: bytes) -> Iterable[str] | None:
    """The objects of manifests that a slot names; None of one that is damaged."""
    try:
        return msgspec.json.decode(slot, type=_Head).manifests
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _is_chain(slots: Sequence[bytes], first: int, last: int) -> bool:
    if len(slots) != last - first + 1:
        return False
    before: str | None = None
    for number, slot in enumerate(slots, start=first):
        head = msgspec.json.decode(slot, type=_Head)
        if head.number != number or (number > first and head.before != before):
            return False
        before = str(Digest.of(slot))
    return True
