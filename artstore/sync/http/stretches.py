"""Stretches: parts of blobs, and what they hash to. Two stores that have the same blob come to the same."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, NamedTuple

from blake3 import blake3
from msgspec import Meta

from artstore.errors import Invalid
from artstore.model.digest import SIZE, Digest
from artstore.storage.files import read_exactly
from artstore.storage.places import OPEN_FLAGS
from artstore.storage.root import Root
from artstore.sync.http.wire import MANY

_LENGTH: Final = 64 << 10
"""Bytes that are looked at of a blob, where it is not read whole."""
_TOGETHER: Final = 64 << 20
"""Bytes that are looked at in one request, at most: more could take longer than anybody waits for an answer."""
_BLOCK: Final = 1 << 20
_chance: Final = random.SystemRandom()
"""Not to be foreseen by who is asked."""


class Stretch(NamedTuple):
    """A part of a blob."""

    digest: Annotated[bytes, Meta(min_length=SIZE, max_length=SIZE)]
    start: Annotated[int, Meta(ge=0)]
    length: Annotated[int, Meta(ge=0, le=_TOGETHER)]


class Measured(NamedTuple):
    """A part of a blob as somebody has it."""

    size: int
    """Of the whole blob."""
    digest: bytes
    """Of the part."""


def choose(digest: Digest, size: int, *, read_all: bool) -> list[Stretch]:
    """What to look at of a blob: a part of it, chosen by chance, or with `read_all` all of it, part by part."""
    if not read_all:
        length = min(_LENGTH, size)
        return [Stretch(bytes(digest), _chance.randrange(size - length + 1), length)]
    # One of no length of a blob that has none.
    starts = range(0, max(size, 1), _TOGETHER)
    return [Stretch(bytes(digest), start, min(_TOGETHER, size - start)) for start in starts]


def together(stretches: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Stretches by as many as may be asked for at once."""
    some: list[Stretch] = []
    length = 0
    for stretch in stretches:
        if some and (len(some) == MANY or length + stretch.length > _TOGETHER):
            yield some
            some, length = [], 0
        some.append(stretch)
        length += stretch.length
    if some:
        yield some


def measure(root: Root, stretches: Sequence[Stretch]) -> list[Measured | None]:
    """What stretches are here, read from the disk now; None for what is not here.

    Raises Invalid (too-large) where that would be too much at once.
    """
    if len(stretches) > MANY or sum(stretch.length for stretch in stretches) > _TOGETHER:
        message = f"{MANY} stretches with {_TOGETHER} bytes can be looked at at once: ask for fewer"
        raise Invalid(message, code="too-large")
    digests = list(dict.fromkeys(Digest(stretch.digest) for stretch in stretches))
    relied_on = root.blobs.known(digests)
    places = root.blobs.locate([digest for digest in digests if digest in relied_on])
    wanted = [
        (place.path, place.offset + each.start, number)
        for number, each in enumerate(stretches)
        for place in [places.get(each.digest)]
        if place is not None and each.start + each.length <= place.size
    ]
    found: list[Measured | None] = [None] * len(stretches)
    for path, group in itertools.groupby(sorted(wanted), key=lambda each: each[0]):
        # What cannot be read is no proof, whatever the reason.
        with contextlib.suppress(OSError), open(path, "rb", buffering=0, opener=_opened) as file:
            for _path, at, number in group:
                stretch = stretches[number]
                hashed = _hash(file.fileno(), at, stretch.length)
                found[number] = Measured(places[stretch.digest].size, hashed)
    return found


def _hash(fd: int, at: int, length: int) -> bytes:
    """Of so many bytes; where the file ends sooner, of fewer, and so another one."""
    hasher = blake3()
    end = at + length
    while at < end and (block := read_exactly(fd, min(_BLOCK, end - at), at)):
        hasher.update(block)
        at += len(block)
    return hasher.digest()


def _opened(path: str, _flags: int) -> int:
    return os.open(path, OPEN_FLAGS)
