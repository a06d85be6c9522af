"""Unheeded: what W&B's `Artifact` is told besides, which changes nothing here; who says it hears so, once a process."""

from __future__ import annotations

from typing import Final

from artstore.api.terminal import note_once
from artstore.errors import Invalid

BLAKE3: Final = "BLAKE3"
"""How digests are made."""
_OTHERS: Final = ("MD5", "XXH128")


def check_digest_algorithm(name: object) -> None:
    """Say that another algorithm of W&B's is not used. Raises Invalid (bad-digest-algorithm) for what is none."""
    if name == BLAKE3:
        return
    if name not in _OTHERS:
        message = f"the digest algorithm {name!r} is not one of {', '.join(_OTHERS)} and {BLAKE3}, which is used"
        raise Invalid(message, code="bad-digest-algorithm")
    note_once(f"digest_algorithm={name!r} is not heeded: every digest here is {BLAKE3}, written as blake3:<hex>")


def check_storage_region(region: object) -> None:
    """Say that the bytes are kept where the store is. Raises Invalid (bad-storage-region) for what names no region."""
    if region is None:
        return
    if not isinstance(region, str) or not region.strip():
        message = f"the storage region {region!r} is not the name of one: give its name, or leave it out"
        raise Invalid(message, code="bad-storage-region")
    note_once(f"storage_region={region!r} is not heeded: the bytes are kept where the store is")
