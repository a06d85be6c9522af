"""Pages: what the objects of a mirror say, as JSON: slots, what waits, and where lies what these bring."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec

from artstore.errors import ArtstoreError, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.records import decode_op, encode_op
from artstore.sync.checked import check_op
from artstore.sync.protocol import AnySlot, BlobName, DigestText, ObjectName, Sent, Transactions, corrupt

FORMAT: Final = 1
_MOST_KEPT: Final = 64 << 20
"""Bytes of pages that are kept as they were read."""
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
"""What others write becomes a number of 64 bits."""
Called = Annotated[str, msgspec.Meta(min_length=38, max_length=87)]
"""An object, as ops call it."""


class Lying(msgspec.Struct, frozen=True, kw_only=True):
    """Objects that lie in a mirror."""

    format: int = FORMAT
    manifests: dict[ObjectName, list[DigestText]] = {}
    packs: list[ObjectName] = []
    blobs: list[BlobName] = []


T = TypeVar("T", bound=Lying)


class More(Lying, frozen=True, kw_only=True):
    """What is said beside the pages. Each is claimed by who has read the one before. Objects are called as in ops."""

    before: DigestText | None = None
    """Digest of that one."""
    lacks: list[DigestText] = []
    """Manifests that could not be had by who wrote it, or of whose blobs some could not or may be swept."""
    condemned: dict[Called, Count] = {}
    """Objects that nothing needs, and since when, in microseconds since 1970, as whoever found it says."""
    kept: list[Called] = []
    """Of these, what is needed again."""
    swept: list[Called] = []
    """Objects that go now: nobody may rely on them, be they there or not."""
    until: Count = 0
    """How many slots there are by then, all of whose objects are to stay."""
    waits: dict[ObjectName, Count] = {}
    """What waits in stores and is to stay, too: how often each had said so, by its id."""


class Page(Lying, frozen=True, kw_only=True):
    """Slots that follow each other."""

    slots: list[msgspec.Raw]
    absent: list[DigestText] = []
    """Versions that they bring, and whose lists of files did not come along: who wrote the page had deleted them."""
    lacks: list[DigestText] = []
    """Manifests that could not be had by who wrote it, or of whose blobs some could not."""
    more: Count = 0
    """Up to where its writer knew what is said beside the pages: what was swept later it may rely on."""


class Found(NamedTuple):
    """A page as it was read."""

    first: int
    """The number of its first slot."""
    page: Page
    digest: str
    """Of its bytes."""

    @property
    def last(self) -> int:
        """The number of its last slot."""
        return self.first + len(self.page.slots) - 1


class Pages:
    """Pages that were read, by their projects and first slots; of these as many as there is room for."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[int, Found]] = {}
        self._firsts: dict[str, list[int]] = {}
        self._bytes = 0

    def at(self, project: str, first: int) -> Found | None:
        """The one that is called by a slot."""
        return self._pages.get(project, {}).get(first)

    def before(self, project: str, number: int) -> Found | None:
        """The last one that begins with a slot or before it."""
        firsts = self._firsts.get(project, [])
        at = bisect.bisect_right(firsts, number)
        return self._pages[project][firsts[at - 1]] if at else None

    def keep(self, project: str, found: Found, size: int) -> None:
        """Keep one of so many bytes."""
        self._bytes += size
        if self._bytes > _MOST_KEPT:
            self._pages.clear()
            self._firsts.clear()
            self._bytes = size
        if self.at(project, found.first) is None:
            bisect.insort(self._firsts.setdefault(project, []), found.first)
        self._pages.setdefault(project, {})[found.first] = found

    def drop(self, project: str) -> None:
        """Keep none of a project."""
        self._pages.pop(project, None)
        self._firsts.pop(project, None)


class Pending(Lying, frozen=True, kw_only=True):
    """What waits in a store."""

    transactions: list[list[msgspec.Raw]]

    @property
    def ids(self) -> set[str]:
        """Of its ops."""
        return {str(Digest.of(bytes(raw))) for transaction in self.transactions for raw in transaction}


def joined(pendings: Iterable[Pending]) -> Pending:
    """What waits in a store, and what it had said of that before: all of it, once."""
    seen: set[str] = set()
    transactions: list[list[msgspec.Raw]] = []
    manifests: dict[str, list[str]] = {}
    packs: dict[str, None] = {}
    blobs: dict[str, None] = {}
    for pending in pendings:
        for transaction in pending.transactions:
            new = {str(Digest.of(bytes(raw))): raw for raw in transaction}
            new = {id_: raw for id_, raw in new.items() if id_ not in seen}
            seen.update(new)
            transactions += [list(new.values())] if new else []
        manifests |= pending.manifests
        packs |= dict.fromkeys(pending.packs)
        blobs |= dict.fromkeys(pending.blobs)
    return Pending(transactions=transactions, manifests=manifests, packs=list(packs), blobs=list(blobs))


class _AnyPage(msgspec.Struct):
    slots: list[AnySlot] = []
    transactions: Transactions = []


def encode_page(slots: Iterable[bytes], sent: Sent, absent: Sequence[str], lacks: Sequence[str], more: int) -> bytes:
    """The bytes of a page."""
    page = Page(
        slots=[msgspec.Raw(slot) for slot in slots],
        manifests=sent.manifests,
        packs=sent.packs,
        blobs=sent.blobs,
        absent=list(absent),
        lacks=list(lacks),
        more=more,
    )
    return encode(page)


def encode(lying: Lying) -> bytes:
    """The bytes of an object of a mirror."""
    return msgspec.json.encode(lying, order="sorted")


class _Format(msgspec.Struct):
    format: int


def decode(data: bytes, kind: type[T], where: str) -> T:
    """What an object of a mirror says. Raises Corrupt (remote-corrupt), UpgradeNeeded."""
    try:
        if msgspec.json.decode(data, type=_Format).format > FORMAT:
            raise UpgradeNeeded(f"{where} has a newer format: install a newer artstore", code="newer-log")
        msgspec.json.decode(data, type=_AnyPage)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(f"{where} cannot be read: {error}") from error


def decode_pending(data: bytes, where: str) -> Pending:
    """What waits in a store, each op checked in itself. Raises Corrupt (remote-corrupt), UpgradeNeeded."""
    pending = decode(data, Pending, where)
    for raw in (raw for transaction in pending.transactions for raw in transaction):
        try:
            op = decode_op(bytes(raw))
            check_op(op)
        except UpgradeNeeded:
            raise
        except ArtstoreError as error:
            raise corrupt(f"{where} cannot be taken: {error.message}") from error
        if encode_op(op) != bytes(raw):
            # Its id is the digest of its bytes, which would be others here.
            raise corrupt(f"{where} is not written as artstore writes it")
    return pending
