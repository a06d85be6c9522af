"""Packs: one file that holds many small blobs.

A pack is a plain POSIX tar (ustar), so `tar xf` gets the data out without artstore. Each member is named
`blake3/<hex>`; its group name is `xxh3-<16 hex>`, the XXH3-64 of its bytes, so a lost catalog costs no reading of data.
All other fields are fixed. Packs are never changed after they are published.

Layout of a member: POSIX.1-1988 ustar, a header of 512 bytes, the bytes, zeros up to the next multiple of 512. Two
blocks of zeros end the pack.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from zlib import adler32

import msgspec

from artstore.errors import Corrupt, Invalid
from artstore.model.digest import ALGORITHM, Digest
from artstore.storage.files import make_read_only, read_exactly, write_at

BLOCK: Final = 512
SUFFIX: Final = ".tar"
WINDOW: Final = 256 << 10
"""Bytes read at once when headers are walked: of small blobs, many."""

_END: Final = bytes(2 * BLOCK)
_NAME_BYTES: Final = 100
_PREFIX: Final = f"{ALGORITHM}/".encode()
_SIZE_AT: Final = 124
_SUM_AT: Final = 148
_GROUP_AT: Final = 297
_GROUP_PREFIX: Final = b"xxh3-"


class Member(msgspec.Struct, frozen=True, gc=False):
    """Where a blob lies in a pack."""

    digest: Digest
    size: int
    offset: int
    """Of the bytes, behind their header."""
    checksum: int
    """XXH3-64 of the bytes."""


def _template() -> tuple[bytes, bytes, bytes, int]:
    """The header's fixed parts, between name, size, sum and group name, and the sum of their bytes."""
    after_name = b"0000444\0" + b"0000000\0" + b"0000000\0"
    after_size = b"\0" + b"00000000000\0"
    after_sum = b"0" + bytes(100) + b"ustar\x0000" + b"artstore".ljust(32, b"\0")
    # The sum is taken with blanks in its own place.
    fixed = sum(after_name) + sum(after_size) + sum(b" " * 8) + sum(after_sum)
    return after_name, after_size, after_sum, fixed


_AFTER_NAME, _AFTER_SIZE, _AFTER_SUM, _FIXED_SUM = _template()
_TAIL: Final = b"0000000\0" * 2 + bytes(155 + 12)
_NAME_PAD: Final = bytes(_NAME_BYTES - len(_PREFIX) - 64)
_GROUP_PAD: Final = bytes(32 - len(_GROUP_PREFIX) - 16)
_ALL_FIXED: Final = _FIXED_SUM + sum(_TAIL) + sum(_PREFIX) + sum(_GROUP_PREFIX)


def header(digest: bytes, size: int, checksum: int) -> bytes:
    """The 512 bytes before a member's own. Raises Invalid for 8 GiB and more, which ustar cannot say."""
    if size >= 8 << 30:
        message = f"a blob of {size} bytes does not fit a pack, whose members are under 8 GiB"
        raise Invalid(message, code="too-large-for-pack")
    name = digest.hex().encode()
    octal = b"%011o" % size
    group = b"%016x" % checksum
    # Adler-32 has in its lower half the sum of the bytes and 1, modulo 65,521, which so few cannot reach: 0.1 µs
    # instead of the 1 µs of sum().
    total = _ALL_FIXED + (adler32(name + octal + group) & 0xFFFF) - 1
    return b"".join(
        (
            _PREFIX,
            name,
            _NAME_PAD,
            _AFTER_NAME,
            octal,
            _AFTER_SIZE,
            b"%06o\0 " % total,
            _AFTER_SUM,
            _GROUP_PREFIX,
            group,
            _GROUP_PAD,
            _TAIL,
        ),
    )


class PackWriter:
    """An unfinished pack in a session's own folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
        self.size = 0
        """Bytes that have a place so far, written or not."""
        self.members: list[Member] = []

    def place(self, digest: Digest, size: int, checksum: int) -> int:
        """Give a blob the next place; answers where its header goes, which the caller writes with bytes and padding."""
        at = self.size
        self.members.append(Member(digest, size, at + BLOCK, checksum))
        self.size += BLOCK + size + (-size % BLOCK)
        return at

    def place_all(self, blobs: Iterable[tuple[Digest, int, int]]) -> None:
        """As `place`, of many: digest, size and checksum of each, which lie one behind the other from here on."""
        at = self.size + BLOCK
        for digest, size, checksum in blobs:
            self.members.append(Member(digest, size, at, checksum))
            at += BLOCK + size + (-size % BLOCK)
        self.size = at - BLOCK

    def add(self, digest: Digest, data: bytes, checksum: int) -> None:
        """Append a blob, whose digest and checksum are of exactly these bytes."""
        at = self.place(digest, len(data), checksum)
        write_at(self.fd, [header(digest, len(data), checksum), data, bytes(-len(data) % BLOCK)], at)

    def finish(self) -> None:
        """Write the end of the tar. The bytes are not synced yet."""
        write_at(self.fd, [_END], self.size)
        self.size += len(_END)
        make_read_only(self.fd, self.path)

    def close(self) -> None:
        """Let the file go."""
        os.close(self.fd)


def members(path: Path) -> Iterator[Member]:
    """Walk the headers of a pack. Raises Corrupt (pack-damaged) at the first one that is not ours or not whole."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        end = os.fstat(fd).st_size
        at = 0
        window = b""
        window_at = 0
        while True:
            if not window_at <= at <= window_at + len(window) - BLOCK:
                window, window_at = read_exactly(fd, WINDOW, at), at
            head = window[at - window_at : at - window_at + BLOCK]
            if head == bytes(BLOCK) and at + len(_END) == end:
                return
            member = _parse(head, at, path)
            if member.offset + member.size > end:
                message = f"pack {path.name!r} is cut short: it ends at byte {end}, in a blob. Run `artstore repair`"
                raise Corrupt(message, code="pack-damaged")
            yield member
            at = member.offset + member.size + (-member.size % BLOCK)
    finally:
        os.close(fd)


def ends(fd: int, at: int) -> bool:
    """Whether an open pack ends at a byte as it should."""
    return read_exactly(fd, len(_END) + 1, at) == _END


def _parse(head: bytes, at: int, path: Path) -> Member:
    try:
        digest = bytes.fromhex(head[len(_PREFIX) : len(_PREFIX) + 64].decode())
        size = int(head[_SIZE_AT : _SIZE_AT + 11], 8)
        group = head[_GROUP_AT : _GROUP_AT + 32].rstrip(b"\0")
        checksum = int(group[len(_GROUP_PREFIX) :], 16)
        # A size below zero would lead back to this very header.
        if size >= 0 and header(digest, size, checksum) == head:
            return Member(Digest(digest), size, at + BLOCK, checksum)
    except ValueError:
        pass
    message = f"pack {path.name!r} has no member header at byte {at}. Run `artstore repair`"
    raise Corrupt(message, code="pack-damaged")
