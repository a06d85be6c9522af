"""Head: what a bundle says of itself, and what a receipt says of a store. Both are JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from artstore.errors import ArtstoreError, Corrupt, Invalid, UpgradeNeeded
from artstore.lifecycle.reports import Skipped
from artstore.lifecycle.upstream import TakenSlot
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.model.names import project_name
from artstore.model.records import AnyOp, decode_op, encode_op
from artstore.sync.bundle.archive import BundleReader, BundleWriter
from artstore.sync.checked import check_op
from artstore.sync.protocol import AnySlot, DigestText, ReadSlot, Transactions, decode_slot, slot_again
from artstore.sync.reports import BundleReport, CarriedProject

T = TypeVar("T")

FORMAT: Final = 1
_HEAD: Final = "artstore-bundle/"
_MEMBER_BYTES: Final = 4 << 20
"""Ops in one member, at most but for the last slot."""
_MOST_HEAD: Final = 256 << 20
"""Bytes of a head: it names every list of files."""
_MOST_JSON: Final = 80 << 20
"""Bytes of a member with slots or offers: what is enough for one, and the last slot, or offer."""
_MOST_LISTS: Final = 1 << 30
"""Bytes of a member with lists of files, where one has very many."""
_MEMBER: Final = re.compile(
    r"artstore-bundle/[0-9a-f]{64}\.json|(log|offers)/[0-9]+/[0-9]{6,}\.[0-9a-f]{64}\.json|manifests/[0-9]+/[0-9a-f]{32}"
    r"|packs/[0-9]+/[0-9a-f]{32}\.(tar|idx)|(blobs|patches)/[0-9]+/[0-9a-f]{64}\.[0-9a-f]{16}"
)
_LOG: Final = re.compile(r"[0-9a-f]{32}\Z")


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle carries of one project."""

    project: str
    log: str
    """Id of the log that its store follows, or owns."""
    is_own: bool
    """Whether its store owns it, so that it ends when that one, or who took it from there, follows an upstream."""
    awaits: bool = False
    """Whether its store names an upstream whose log it has not met: what it has is for that one to order."""
    first: int
    """The first slot that is carried; behind `last`, if none is."""
    before: str | None
    """Digest of the slot before the first."""
    last: int
    """The last slot that its store has, carried or not."""
    head: str | None
    """Its digest."""
    ops: int
    """In the slots that are carried."""
    offers: int
    """Ops that are carried, and that no upstream has accepted."""
    versions: int
    blobs: int
    bytes: int
    whole: list[DigestText]
    """Manifests all of whose bytes the other side has when it has taken the bundle."""
    absent: list[DigestText]
    """Versions that the slots bring and that its store could not give, since they were deleted on that machine."""

    def told(self) -> CarriedProject:
        """How it is shown."""
        return CarriedProject(
            project=self.project,
            log=self.log,
            first_slot=self.first,
            last_slot=self.last,
            ops=self.ops,
            versions=self.versions,
            offers=self.offers,
            blobs=self.blobs,
            bytes=self.bytes,
        )


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is."""

    format: int
    store: str
    """Id of the store that made it."""
    made_at: float
    """UTC seconds, by that machine's clock."""
    projects: list[Section]

    def told(self, files: Iterable[Path], size: int, left: Sequence[Skipped] = ()) -> BundleReport:
        """How it is shown, with the files that it is in, and what was left out of it."""
        return BundleReport(
            files=list(map(str, files)),
            bytes=size,
            store=self.store,
            made_at=self.made_at,
            projects=[section.told() for section in self.projects],
            left=list(left),
        )


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """How far a store has followed a log, and which bytes it has not of what that log brought."""

    log: str
    slot: int = 0
    head: str | None = None
    lacks: list[str] = []
    """Manifests some of whose bytes it has not."""
    ended: list[str] = []
    """Manifests of versions that were deleted there, for all or there alone, and that no other version has."""
    absent: list[str] = []
    """Manifests of versions that came without them."""
    has: list[str] = []
    """Manifests of versions that no upstream has accepted yet."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a store has."""

    format: int
    store: str
    made_at: float
    projects: dict[str, Stand]


class _Format(msgspec.Struct):
    format: int


def decode_receipt(data: bytes, where: str) -> Receipt:
    """Read a receipt. Raises Invalid (bad-receipt), UpgradeNeeded (newer-bundle)."""
    try:
        _check_format(data, where)
        receipt = msgspec.json.decode(data, type=Receipt)
        for name, stand in receipt.projects.items():
            project_name(name)
            if stand.slot < 0 or _LOG.match(stand.log) is None:
                message = f"it has slot {stand.slot} of the log {stand.log!r}"
                raise Invalid(message, code="bad-receipt")
            for digest in (*stand.lacks, *stand.ended, *stand.has):
                Digest.parse(digest)
    except UpgradeNeeded:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ArtstoreError) as error:
        message = f"{where} is no receipt: {error}. `artstore bundle receipt` on the other side writes one"
        raise Invalid(message, code="bad-receipt") from error
    return receipt


def write_head(writer: BundleWriter, head: Head) -> None:
    """Put the head into a bundle, which must be empty."""
    data = msgspec.json.encode(head)
    writer.write(f"{_HEAD}{Digest.of(data).hex()}.json", [data], len(data))


def read_head(reader: BundleReader) -> Head:
    """The head of a bundle. Raises Corrupt (bundle-damaged), UpgradeNeeded (newer-bundle)."""
    name = next(iter(reader.names(_HEAD)), None)
    if name is None:
        raise reader.damaged("it has no head, so it is a tar of something else")
    data = _read_json(reader, name, _MOST_HEAD)
    try:
        _check_format(data, f"the bundle {reader.url!r}")
        head = msgspec.json.decode(data, type=Head)
        for section in head.projects:
            project_name(section.project)
            for digest in section.whole:
                Digest.parse(digest)
            if _LOG.match(section.log) is None or section.first < 1 or section.last < 0:
                raise reader.damaged(f"it has slots {section.first} to {section.last} of the log {section.log!r}")
        strange = next((each for each in reader.names() if _MEMBER.fullmatch(each) is None), None)
        if strange is not None or len(reader.names(_HEAD)) > 1:
            raise reader.damaged(f"it has a member {strange or reader.names(_HEAD)[1]!r}, and bundles have none such")
    except UpgradeNeeded:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ArtstoreError) as error:
        raise reader.damaged(f"its head says {error}") from error
    return head


def write_slots(writer: BundleWriter, number: int, slots: Iterable[TakenSlot]) -> None:
    """Put slots of the project with this number into a bundle."""
    raws = (msgspec.Raw(slot_again(slot.frame, slot.ops)) for slot in slots)
    _write_many(writer, f"log/{number}/", raws, lambda raw: len(bytes(raw)))


def read_slots(reader: BundleReader, number: int, section: Section) -> Iterator[list[ReadSlot]]:
    """The slots that a bundle carries of a project, some at a time, each checked to follow the one before.

    Raises Corrupt (bundle-damaged), UpgradeNeeded.
    """
    next_, before = section.first, section.before
    for name in reader.names(f"log/{number}/"):
        slots: list[ReadSlot] = []
        try:
            data = _read_json(reader, name)
            msgspec.json.decode(data, type=list[AnySlot])
            for raw in msgspec.json.decode(data, type=list[msgspec.Raw]):
                found = decode_slot(bytes(raw), section.project, next_, repr(reader.url))
                if (found.slot.log, found.slot.before) != (section.log, before):
                    raise reader.damaged(f"slot {next_} in it does not follow the one before")
                slots.append(found)
                next_, before = next_ + 1, found.digest
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise reader.damaged(f"{name!r} in it cannot be read: {error}") from error
        except Corrupt as error:
            if error.code == "bundle-damaged":
                raise
            raise reader.damaged(error.message) from error
        yield slots
    # Whoever the bundle is for may be ahead, and then it carries none.
    if next_ != max(section.first, section.last + 1):
        raise reader.damaged(f"slot {next_} of {section.last} is not in it")


def write_offers(writer: BundleWriter, number: int, offers: Iterable[list[msgspec.Raw]]) -> None:
    """Put ops that no upstream has accepted into a bundle; those of one list hold together."""
    _write_many(writer, f"offers/{number}/", offers, lambda ops: sum(len(bytes(raw)) for raw in ops))


def read_offers(reader: BundleReader, number: int) -> Iterator[list[msgspec.Raw]]:
    """The ops that a bundle offers to a project. Raises Corrupt (bundle-damaged), UpgradeNeeded."""
    for name in reader.names(f"offers/{number}/"):
        try:
            data = _read_json(reader, name)
            msgspec.json.decode(data, type=Transactions)
            offers = msgspec.json.decode(data, type=list[list[msgspec.Raw]])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise reader.damaged(f"{name!r} in it cannot be read: {error}") from error
        for ops in offers:
            for raw in ops:
                if encode_op(_check_op(reader, raw)) != bytes(raw):
                    # Its id is the digest of its bytes, which would be others here.
                    raise reader.damaged("it has an op that is not written as artstore writes them")
            yield ops


def read_manifests(reader: BundleReader, number: int) -> list[Encoding]:
    """The encodings of manifests that a bundle carries of a project, not verified. Raises Corrupt (bundle-damaged)."""
    found: list[Encoding] = []
    for name in reader.names(f"manifests/{number}/"):
        try:
            found += msgspec.msgpack.decode(
                reader.read_whole(name, _MOST_LISTS), type=list[Encoding], dec_hook=lambda kind, value: kind(value)
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError) as error:
            raise reader.damaged(f"{name!r} in it cannot be read: {error}") from error
    return found


def _write_many(writer: BundleWriter, folder: str, items: Iterable[T], weight: Callable[[T], int]) -> None:
    some: list[T] = []
    size = count = 0

    def write() -> None:
        nonlocal size, count
        data = msgspec.json.encode(some)
        count += 1
        writer.write(f"{folder}{count:06d}.{Digest.of(data).hex()}.json", [data], len(data))
        some.clear()
        size = 0

    for item in items:
        some.append(item)
        size += weight(item)
        if size >= _MEMBER_BYTES:
            write()
    if some:
        write()


def _check_format(data: bytes, where: str) -> None:
    found = msgspec.json.decode(data, type=_Format).format
    if found > FORMAT:
        raise UpgradeNeeded(f"{where} has the format {found}: install a newer artstore", code="newer-bundle")


def _check_op(reader: BundleReader, raw: msgspec.Raw) -> AnyOp:
    try:
        op = decode_op(bytes(raw))
        check_op(op)
    except UpgradeNeeded:
        raise
    except ArtstoreError as error:
        raise reader.damaged(f"it has an op that cannot be taken: {error.message}") from error
    return op


def _read_json(reader: BundleReader, name: str, most: int = _MOST_JSON) -> bytes:
    """The bytes of a member that is named by their digest."""
    data = reader.read_whole(name, most)
    if Digest.of(data).hex() not in name:
        raise reader.damaged(f"{name!r} in it has other bytes than it was given")
    return data


def inspect_bundle(path: Path) -> BundleReport:
    """Say what a bundle carries. Its bytes are not read, only where they lie; raises as BundleReader and read_head."""
    with BundleReader(path) as reader:
        return read_head(reader).told(reader.paths, reader.size)
