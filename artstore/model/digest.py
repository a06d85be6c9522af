"""Digests: the name of some bytes.

Chose BLAKE3-256 because two contents with one name would let one writer replace another's bytes; instead of XXH3, which
is faster and for which a second content can be made at will; look again when BLAKE3 falls.
Written `blake3:<64 lower-case hex>` in text and `blake3/<hex>` in file names, since NTFS and exFAT forbid the colon.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from artstore.errors import Invalid

ALGORITHM: Final = "blake3"
SIZE: Final = 32
"""Bytes in a digest."""

_PREFIX = f"{ALGORITHM}:"


class Digest(bytes):
    """The 32 bytes of a BLAKE3-256 hash, that know how they are spelled."""

    __slots__ = ()

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Digest:
        """The digest of some bytes in memory."""
        return cls(blake3(data).digest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `blake3:<hex>`, and nothing that merely resembles it. Raises Invalid (bad-digest)."""
        try:
            # A manifest has one in every line: a pattern takes three times as long.
            digest = cls(bytes.fromhex(text[len(_PREFIX) :]))
        except ValueError:
            digest = cls()
        if len(digest) != SIZE or text != f"{_PREFIX}{digest.hex()}":
            message = f"{text!r} is not a digest: write blake3: and 64 lower-case hex digits"
            raise Invalid(message, code="bad-digest")
        return digest

    @property
    def path(self) -> str:
        """The name inside a pack, a bucket or a bundle: `blake3/<hex>`."""
        return f"{ALGORITHM}/{self.hex()}"

    def __str__(self) -> str:
        return f"{ALGORITHM}:{self.hex()}"

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"
