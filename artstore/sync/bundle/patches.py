"""Patches: of a large blob that was changed a bundle carries what is new, where the other side has what it was before.

A member begins with the digest of that other blob (32 bytes) and the size of the new one (8, big-endian); the patch
stands behind.
"""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Container, Iterator, Sequence
from typing import Final

from artstore.errors import Invalid
from artstore.model.digest import SIZE, Digest
from artstore.storage import whole
from artstore.storage.files import random_hex, storage_errors, write_all
from artstore.storage.intake import Intake
from artstore.storage.places import Place
from artstore.storage.relatives import relatives
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.bundle.archive import BundleReader, BundleWriter
from artstore.sync.delta.chunks import SMALLEST, LocalBlob
from artstore.sync.delta.patch import Patcher, copied, is_plausible, patch_size, write_patch
from artstore.sync.delta.plan import find_pieces

_NAME: Final = re.compile(r"patches/\d+/([0-9a-f]{64})\.[0-9a-f]{16}\Z")
_HEAD: Final = struct.Struct(f">{SIZE}sQ")


def write_patches(
    writer: BundleWriter, number: int, root: Root, blobs: Sequence[Digest], held: Container[bytes]
) -> list[Digest]:
    """Put in patches of blobs that the other side holds, for the project with this number; answers what goes whole.

    Raises Corrupt.
    """
    here = root.blobs.locate(blobs)
    large = [digest for digest in blobs if digest in here and here[digest].size >= SMALLEST]
    patched = {
        digest
        for digest, near in relatives(root, large).items()
        if _write_patch(writer, number, root, here[digest], [each for each in near if each in held])
    }
    return [digest for digest in blobs if digest not in patched]


def patches_in(reader: BundleReader, number: int) -> dict[Digest, str]:
    """The members with patches for the project with this number. Raises Corrupt (bundle-damaged)."""
    found: dict[Digest, str] = {}
    for name in reader.names(f"patches/{number}/"):
        matched = _NAME.match(name)
        if matched is None or reader.size_of(name) < _HEAD.size:
            raise reader.damaged(f"{name!r} in it is no patch")
        found[Digest(bytes.fromhex(matched[1]))] = name
    return found


def take_patch(
    root: Root, session: Session, reader: BundleReader, intake: Intake, *, name: str, digest: Digest
) -> int | None:
    """Take in the blob that a patch makes; answers its size, or None where what it is a patch of is not here.

    Raises Corrupt (bundle-damaged) where it makes something else, or nothing.
    """
    raw, size = _HEAD.unpack(reader.read(name, 0, _HEAD.size))
    base = Digest(raw)
    if not root.blobs.known([base]):
        return None
    came = whole.Measure()
    path = session.scratch() / f"patch-{random_hex(4)}"
    with root.blobs.open(base) as old, storage_errors("making a blob anew"):
        if not is_plausible(size, old.size, reader.size_of(name)):
            raise reader.damaged(f"{name!r} in it would make {size} bytes of {old.size}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        behind = 0

        def write(data: memoryview) -> None:
            nonlocal behind
            write_all(fd, data)
            came.add(data)
            behind = whole.write_behind(fd, behind, came.size)

        try:
            patcher = Patcher(old, size, write)
            for block in reader.stream(name, _HEAD.size):
                patcher.feed(block)
        except Invalid as error:
            raise reader.damaged(f"{name!r} in it: {error.message}") from error
        finally:
            os.close(fd)
        stored = came.stored()
        if stored.digest != digest:
            path.unlink()
            raise reader.damaged(f"{name!r} in it makes other bytes than those of blob {digest}")
        intake.take_scratch(path, known=stored)
    return stored.size


def _write_patch(writer: BundleWriter, number: int, root: Root, place: Place, bases: Sequence[Digest]) -> bool:
    here = root.blobs.locate(bases)
    base = next((here[digest] for digest in bases if digest in here), None)
    new = LocalBlob(root, place.digest, place.size)
    pieces = None if base is None else find_pieces(LocalBlob(root, base.digest, base.size), new)
    if base is None or pieces is None:
        return False
    size = _HEAD.size + patch_size(pieces)
    if not is_plausible(place.size, base.size, size):
        return False
    with new.open() as reader:

        def read(start: int, end: int) -> Iterator[bytes]:
            return (bytes(block) for block in copied(reader, start, end - start))

        head = _HEAD.pack(bytes(base.digest), place.size)
        name = f"patches/{number}/{place.digest.hex()}.{random_hex(8)}"
        writer.write(name, itertools.chain([head], write_patch(pieces, 0, read)), size)
    return True
