"""Wire: what a client and a server say to each other over HTTP, and how it is written.

All addresses lie under `/sync/1/`; `P` is a project. Bodies are JSON where nothing else is said, `[…]` is MessagePack.

    GET  projects                      the logs: {P: {log, slot, digest}}, the last slot of each
    GET  projects/P/slots/N            [[slot, {name: manifests}], …]  from slot N on, as many as fit
    PUT  projects/P/slots/N            claims slot N: {claimed, lacks: {manifests, blobs}}; one that was lost there is
                                       claimed by the bytes that it had, and by no others
    GET  projects/P/lost               [N, …]  the slots that were claimed and are lost or damaged there
    POST projects/P/lacks              [manifests, blobs] → [manifests, blobs, quota]  which of those are not there,
                                       and {limit, takes, stays} of the project, or null (see `artstore.sync.room`)
    POST projects/P/proofs             [[digest, start, length], …] → [[size, digest of that] or null, …]
    PUT  projects/P/manifests/NAME     an object of manifests, to be named by a slot
    GET  projects/P/manifests/NAME     the same again
    GET  projects/P/holders/HEX        the object that has a manifest
    POST projects/P/packs              frames of small blobs
    POST projects/P/fetch              [digest, …] → frames, of as many of the first ones as fit
    GET  projects/P/blobs/HEX          a blob, or the rest of it (Range)
    GET  projects/P/uploads/HEX        how much of a large blob has come: {offset, checksum, …}
    PUT  projects/P/uploads/HEX        goes on there (Upload-Offset, of Upload-Length bytes in all); a patch of the
                                       blob in Upload-Base, if that is named, for as much of the blob as it holds
    POST projects/P/chunks             [digest, mean, [[start, end], …]] → [size, [chunks, …]]  of a large blob
    POST projects/P/ranges             [digest, [[start, end], …]] → these bytes of a blob, one behind the other

A *frame* is a digest (32 bytes), a size (4, big-endian) and so many bytes; two sizes stand for no bytes at all: of a
blob that is ABSENT, and of one that is LARGE, to be got by itself. Every answer has the header `Artstore-Sync`, so that
what a portal or another program answers is not taken for a server's. Errors are `{"error": {status, code, class,
message}}`.
Chunks and patches are written as `artstore.sync.delta` says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, Final, NamedTuple

import msgspec

from artstore.errors import Invalid
from artstore.model.digest import SIZE, Digest
from artstore.storage.blobs import SMALL
from artstore.sync.lengths import LONGEST_MANIFESTS
from artstore.sync.protocol import ObjectsData, SlotData

PREFIX: Final = "/sync/1"
MARK: Final = "Artstore-Sync"
"""The header that every answer of a server has; its value is the format, 1."""
READS: Final = "read"
"""The scope of who may not push."""
JSON: Final = "application/json"
MESSAGES: Final = "application/vnd.msgpack"
BYTES: Final = "application/octet-stream"

ABSENT: Final = 0xFFFF_FFFF
LARGE: Final = 0xFFFF_FFFE
FRAME: Final = struct.Struct(f">{SIZE}sI")

BODY: Final = 8 << 20
"""Bytes that go together where there is more: one request or answer is not much more than this."""
LONGEST_BODY: Final = BODY + SMALL + (1 << 20)
LONGEST_SLOT: Final = 64 << 20
LONGEST_ANSWER: Final = LONGEST_SLOT + LONGEST_MANIFESTS + BODY
"""Bytes of any answer but that of a large blob: no slot and no object of manifests is longer."""
LONGEST_SLOTS: Final = LONGEST_SLOT + 2 * BODY
"""Bytes of an answer of several slots with their manifests."""
LONGEST_RANGES: Final = 512 << 10
MANY: Final = 20_000
"""Digests, or stretches of a blob, in one question, at most."""


Slots = Annotated[list[tuple[SlotData, ObjectsData]], msgspec.Meta(max_length=MANY)]
"""What is answered of slots: each with its objects of manifests, by name."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The last slot of a log."""

    log: str
    slot: int
    digest: str


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself, and of what the one who asks may do."""

    format: int
    store: str
    """Its id."""
    scope: str
    project: str | None
    """The only project that it lets them see; None: all."""


class Lacks(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be there first, by digest in hexadecimal."""

    manifests: list[str] = []
    blobs: list[str] = []


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a claim."""

    claimed: bool
    lacks: Lacks = Lacks()
    """Where something is named here, it would have been the claimer's, had that been there."""


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """How much of an upload has come."""

    offset: int
    checksum: str
    """XXH3-64 of these bytes, in hexadecimal."""
    done: bool = False
    """It is whole, and stored."""
    busy: bool = False
    """Another request brings more of it just now: what would be sent for it would not be taken."""


class Frame(NamedTuple):
    """A blob on its way."""

    digest: Digest
    size: int
    """Bytes; or ABSENT or LARGE."""
    data: memoryview


def frames(body: bytes | bytearray | memoryview) -> Iterator[Frame]:
    """Read frames. Raises Invalid (bad-frames) where the body does not end with one."""
    view = memoryview(body)
    at = 0
    while at < len(view):
        digest, size = parse_header(view[at : at + FRAME.size])
        at += FRAME.size
        length = 0 if size >= LARGE else size
        if length > SMALL or at + length > len(view):
            raise cut()
        yield Frame(digest, size, view[at : at + length])
        at += length


def header(digest: Digest, size: int) -> bytes:
    """What stands before the bytes of a blob."""
    return FRAME.pack(digest, size)


def parse_header(head: bytes | memoryview) -> tuple[Digest, int]:
    """What `header` has written. Raises Invalid (bad-frames) where that is shorter."""
    if len(head) < FRAME.size:
        raise cut()
    digest, size = FRAME.unpack(head)
    return Digest(digest), size


def cut() -> Invalid:
    """The error for a body that does not end with a frame."""
    message = "a body of small blobs does not hold what it says: it was cut, or is none. Send it again"
    return Invalid(message, code="bad-frames")
