"""Proof: that a place has bytes just now, found out from its objects.

Each object must be there in its whole length, and a stretch of it, chosen by chance, must be the same as here. That
finds what is gone, cut short or overwritten, and costs little; only reading it all finds the odd rotten bit.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import random
from collections.abc import Sequence
from typing import Final

from blake3 import blake3

from artstore.errors import Corrupt, MissingObject
from artstore.model.digest import Digest
from artstore.storage.root import Root
from artstore.sync.download import Wanted
from artstore.sync.objects.interface import Objects

_STRETCH: Final = 64 << 10
_chance: Final = random.SystemRandom()
"""Not to be foreseen by the place."""


def prove(objects: Objects, root: Root, lying: Sequence[Wanted], *, read_all: bool) -> list[Digest]:
    """Those of some blobs that lie there as they are here. Raises Unreachable, Denied, and Corrupt of damage here."""
    proven: list[Digest] = []
    order = sorted(lying, key=lambda each: (each.name, each.offset))
    for name, group in itertools.groupby(order, key=lambda each: each.name):
        members = list(group)
        with contextlib.suppress(MissingObject, _Other):
            size = objects.size(name)
            if size is None:
                continue
            if members[0].size is None:
                _check_large(objects, root, members[0], size, read_all=read_all)
            else:
                _check_pack(objects, members, size, read_all=read_all)
            proven += [member.digest for member in members]
    return proven


class _Other(Exception):
    """What is there is not what is here."""


def _check_large(objects: Objects, root: Root, blob: Wanted, size: int, *, read_all: bool) -> None:
    with contextlib.closing(root.blobs.open(blob.digest)) as here:
        if here.size != size:
            raise _Other
        if read_all:
            hasher = blake3()
            for block in objects.stream(blob.name):
                hasher.update(block)
            if hasher.digest() != blob.digest:
                raise _Other
            return
        length = min(_STRETCH, size)
        start = _chance.randrange(size - length + 1)
        here.seek(start)
        # Buffered, since the reader alone stops where a block ends.
        if _read(objects, blob.name, start, length) != io.BufferedReader(here).read(length):
            raise _Other


def _check_pack(objects: Objects, members: Sequence[Wanted], size: int, *, read_all: bool) -> None:
    if any(member.offset + (member.size or 0) > size for member in members):
        raise _Other
    for member in members if read_all else [_chance.choice(members)]:
        data = _read(objects, member.name, member.offset, member.size or 0)
        if blake3(data).digest() != member.digest:
            raise _Other


def _read(objects: Objects, name: str, start: int, length: int) -> bytes:
    try:
        return objects.read(name, start, length)
    except Corrupt as error:
        raise _Other from error
