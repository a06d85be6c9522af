"""Protocol: what a remote keeps of a project, and what is asked of it.

A remote has a log of slots, numbered from 1 without gaps. A slot names the one before by digest, holds whole
transactions of one store, and says which objects were put there for it: manifests, packs of small blobs, large blobs.
They come before the slot that names them, so a version that is seen is whole. Whoever claims a slot has read the one
before it. So the log is one order, and what it folds to is the same for all.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec

from artstore.errors import ArtstoreError, Corrupt, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, decode_encodings
from artstore.model.records import LONGEST_CHANGE, decode_op
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.checked import check_op
from artstore.sync.room import Room

FORMAT: Final = 1
GONE: Final = "object-gone"
"""The code of what is said of an object of manifests that is lost, and of which versions need nothing but what can be
had one by one."""
_OBJECT_BYTES: Final = 8 << 20
"""Bytes of the manifests in one object, but for the last."""
_LOG: Final = re.compile(r"[0-9a-f]{32}")
LEAST_SLOT: Final = 200
"""Bytes of any slot: what is beside its ops has as many."""
LEAST_OBJECT: Final = 64
"""Bytes of any object of manifests: one that has fewer is damaged, and is not carried along."""

# What lists hold is never shorter than these: a few MB that say that millions of things follow, each of which takes a
# hundred bytes of memory, are refused at the first of them.
DigestText = Annotated[str, msgspec.Meta(min_length=71, max_length=71)]
ObjectName = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
BlobName = Annotated[str, msgspec.Meta(min_length=81, max_length=81)]
SlotData = Annotated[bytes, msgspec.Meta(min_length=LEAST_SLOT)]
ObjectsData = dict[ObjectName, Annotated[bytes, msgspec.Meta(min_length=LEAST_OBJECT)]]
"""Objects of manifests, by name."""

Tell = Callable[[int, int], None]
"""Is told how many blobs, and how many bytes, have been moved so far."""


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a slot is beside its ops."""

    format: int
    project: str
    log: str
    """Random id of the log, 32 hex digits, chosen by whoever claimed slot 1."""
    number: int
    before: str | None
    """Digest of the slot before; None for the first."""
    store: str
    """Id of the store that claimed it."""
    manifests: dict[ObjectName, Annotated[list[DigestText], msgspec.Meta(min_length=1)]] = {}
    """Objects that hold encodings of manifests, with the digests of these."""
    bases: list[DigestText] = []
    """Digests of the manifests that these are differences to, and that came with slots before."""
    packs: list[ObjectName] = []
    blobs: list[BlobName] = []
    """Large blobs: `<hex of the digest>.<nonce>`."""


class Slot(_Frame, frozen=True, kw_only=True):
    """One place of a log, as JSON with sorted keys; its digest is that of these bytes."""

    transactions: list[list[msgspec.Raw]]
    """Ops; those of one transaction hold together. None is empty; where lost bytes were sent again there is none."""

    @property
    def ops(self) -> list[msgspec.Raw]:
        """All of them, in their order."""
        return [op for transaction in self.transactions for op in transaction]


class _Counts(_Frame, frozen=True, kw_only=True):
    transactions: list[int]
    """How many ops each has."""


class _AnyOp(msgspec.Struct, gc=False):
    """What every op has at least."""

    at_us: int
    nonce: Annotated[str, msgspec.Meta(min_length=16)]


Transactions = list[Annotated[list[_AnyOp], msgspec.Meta(min_length=1)]]
"""What transactions are decoded as before their ops are kept: none is empty, and no op is shorter than one can be."""


class AnySlot(msgspec.Struct, gc=False):
    """What every slot has at least; decoded, like these, before slots are kept."""

    log: ObjectName
    transactions: Transactions


class ReadSlot(NamedTuple):
    """A slot as it was read, with its digest."""

    slot: Slot
    digest: str


class Sent(NamedTuple):
    """Objects that were put on a remote for a slot that is still to be claimed."""

    manifests: dict[str, list[str]]
    packs: list[str]
    blobs: list[str]
    saved: int = 0
    """Bytes of blobs that had not to be sent, since they were there in others."""


class Fetched(NamedTuple):
    """What did not come of some blobs."""

    absent: list[Digest]
    """Those that are not known there."""
    bad: dict[Digest, ArtstoreError]
    """Those that are gone or damaged there, and what was said of each: MissingObject or Corrupt."""

    @property
    def all(self) -> list[Digest]:
        """Both."""
        return [*self.absent, *self.bad]


class Shelf(Protocol):
    """The objects of one log. What it holds is known from the slots that it was told of."""

    def why_too_long(self, encoding: Encoding) -> str | None:
        """What the lists of files have to keep to that it takes, where this one does not."""

    def room(self) -> Room | None:
        """How it is with the quota there, as was said when it was asked what it lacks, or is now; None: it has none."""

    def lacks_manifests(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those that no slot has brought, or of whose blobs some may be gone since."""

    def lacks_blobs(self, digests: Iterable[Digest]) -> list[Digest]:
        """Those that no slot has brought, or that are gone since."""

    def send(
        self,
        root: Root,
        session: Session,
        manifests: Sequence[Encoding],
        blobs: Sequence[Digest],
        tell: Tell | None = None,
    ) -> Sent:
        """Put objects there, durably; each is verified on its way. Raises Corrupt, Unreachable, Denied, StorageFull."""

    def manifests(self, name: str) -> list[Encoding]:
        """What an object of manifests holds, not verified yet. Raises MissingObject."""

    def read_alone(self) -> None:
        """Read each object of manifests by itself from now on: what came of it with slots may have been damaged."""

    def manifest(self, digest: Digest) -> list[Encoding]:
        """The object that has this manifest, among others; empty if none has."""

    def whole(self, digest: Digest) -> Encoding | None:
        """This manifest without a base, if some version there needs it.

        Raises Corrupt (remote-corrupt) where nobody there knows.
        """

    def fetch(self, intake: Intake, digests: Sequence[Digest], tell: Tell | None = None) -> Fetched:
        """Take blobs in, each verified; answers what does not come. One that is bad holds up no other.

        What is gone may have been swept, as slots that it was not told of say.
        """

    def prove(self, root: Root, digests: Sequence[Digest], *, read_all: bool) -> list[Digest]:
        """Those blobs that are there as they are here, found out now and not remembered.

        Each in its whole length, with a stretch of it chosen by chance, or with `read_all` all of it. Raises Corrupt of
        damage here.
        """

    def follow(self, remote: Remote, until: int) -> None:
        """Be told of the slots up to this one, as far as that is not so yet."""

    def note(self, slot: Slot) -> None:
        """Be told of the next slot."""

    def save(self) -> None:
        """Remember all this for the next time. It can be lost: the slots say it again."""


class Remote(Protocol):
    """A place with logs and objects. Every call may raise Unreachable and Denied."""

    @property
    def url(self) -> str:
        """What to call it in a message: never with a secret in it."""

    def projects(self) -> Iterator[str]:
        """The projects that have a log there."""

    def slot(self, project: str, number: int) -> bytes | None:
        """A slot; None if it is not claimed yet."""

    def stands(self, project: str, number: int, digest: str) -> bool:
        """Whether this slot is known to be the last one still. False where that has to be found out by reading."""

    def claim(self, project: str, number: int, data: bytes) -> bool:
        """Claim the next slot. False: it is taken, perhaps by oneself, when an answer was lost."""

    def claimed(self, project: str, number: int) -> None:
        """Be told that a slot was claimed and is counted: what helps others to follow may be written now."""

    def shelf(self, root: Root, project: str, log: str) -> Shelf:
        """The objects of a log."""


def encode_slot(slot: Slot) -> bytes:
    """The bytes of a slot, which the next one names by digest."""
    return msgspec.json.encode(slot, order="sorted")


def frame_of(slot: Slot) -> msgspec.Raw:
    """A slot without its ops: with these it gives the slot's bytes again."""
    fields = {name: getattr(slot, name) for name in _Frame.__struct_fields__}
    return msgspec.Raw(
        msgspec.json.encode(_Counts(**fields, transactions=list(map(len, slot.transactions))), order="sorted")
    )


def slot_again(frame: msgspec.Raw, ops: Sequence[msgspec.Raw]) -> bytes:
    """The bytes of a slot. Raises msgspec.MsgspecError, ValueError where the two do not belong together."""
    counts = msgspec.json.decode(frame, type=_Counts)
    rest = iter(ops)
    transactions = [list(itertools.islice(rest, count)) for count in counts.transactions]
    if list(map(len, transactions)) != counts.transactions or next(rest, None) is not None:
        message = "it has another number of ops than it says"
        raise ValueError(message)
    fields = {name: getattr(counts, name) for name in _Frame.__struct_fields__}
    return encode_slot(Slot(**fields, transactions=transactions))


def read_slot(remote: Remote, project: str, number: int) -> ReadSlot | None:
    """A slot of a remote, checked in itself; None if it is not claimed yet.

    Raises Corrupt (remote-corrupt), UpgradeNeeded.
    """
    data = remote.slot(project, number)
    return None if data is None else decode_slot(data, project, number, remote.url)


def decode_slot(data: bytes, project: str, number: int, place: str) -> ReadSlot:
    """A slot from its bytes, checked in itself. Raises Corrupt (remote-corrupt), UpgradeNeeded."""
    where = f"slot {number} of project {project!r} at {place}"
    try:
        slot = _decode_slot(data, where)
        if any(sum(len(bytes(raw)) for raw in ops) > LONGEST_CHANGE for ops in slot.transactions):
            raise corrupt(f"{where} has ops of more than {LONGEST_CHANGE} bytes that hold together")
        for raw in slot.ops:
            check_op(decode_op(bytes(raw)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(f"{where} cannot be read: {error}") from error
    except UpgradeNeeded:
        raise
    except ArtstoreError as error:
        raise corrupt(f"{where} cannot be taken: {error.message}") from error
    if _LOG.fullmatch(slot.log) is None:
        raise corrupt(f"{where} is of a log with the id {slot.log!r}, which is none")
    if (slot.project, slot.number) != (project, number):
        raise corrupt(f"{where} says that it is slot {slot.number} of project {slot.project!r}")
    if encode_slot(slot) != data:
        # Whoever has taken it makes it again from its parts, and the next slot names it by the digest of its bytes.
        raise corrupt(f"{where} is not written as artstore writes it")
    return ReadSlot(slot, str(Digest.of(data)))


def encode_manifests(encodings: Sequence[Encoding]) -> bytes:
    """The bytes of an object that holds these."""
    return msgspec.msgpack.encode(list(encodings), enc_hook=bytes)


def in_objects(encodings: Iterable[Encoding]) -> Iterator[list[Encoding]]:
    """Manifests as they go together into objects, none of which is long but by one manifest."""
    some: list[Encoding] = []
    size = 0
    for encoding in encodings:
        if some and size + len(encoding.data) > _OBJECT_BYTES:
            yield some
            some, size = [], 0
        some.append(encoding)
        size += len(encoding.data)
    if some:
        yield some


def decode_manifests(data: bytes, where: str) -> list[Encoding]:
    """What an object of manifests holds, not verified yet. Raises Corrupt (remote-corrupt), which says where it is."""
    try:
        return decode_encodings(data)
    except Corrupt as error:
        raise corrupt(f"{where} cannot be read") from error


def corrupt(what: str) -> Corrupt:
    """The error for what a remote says and cannot be."""
    message = f"{what}. Nothing of it was taken: ask whoever keeps that place, or restore it from a copy"
    return Corrupt(message, code="remote-corrupt")


def _decode_slot(data: bytes, where: str) -> Slot:
    found = msgspec.json.decode(data, type=_Format).format
    if found > FORMAT:
        raise UpgradeNeeded(f"{where} has the format {found}: install a newer artstore", code="newer-log")
    msgspec.json.decode(data, type=AnySlot)
    return msgspec.json.decode(data, type=Slot)


class _Format(msgspec.Struct):
    format: int
