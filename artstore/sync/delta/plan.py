"""Plan: which stretches of a blob can be had from another one.

First some windows of both are looked at, which costs next to nothing: where they have nothing in common the blob goes
whole. They lie at the same distance from the beginning, and from the end, so one insertion, however long, is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from artstore.errors import Corrupt
from artstore.sync.delta.chunks import RECORD, SMALLEST, SPAN, Chunked, Range, can_cut, mean_for, sizes

_WINDOWS: Final = 8
_WINDOW_CHUNKS: Final = 16
_PROBED_FROM: Final = 8
"""How many times larger than its windows a blob is that is not looked at whole at once."""
_PROMISING: Final = 1 / 16
"""The share of the windows that has to be the same."""
_WORTH: Final = 7 / 8
"""The share of a blob that is new, at most: to make the rest anew is work too."""


class Piece(NamedTuple):
    """A stretch of a blob, behind the one before it."""

    size: int
    source: int | None
    """Where the same bytes begin in the other blob; None for what is not there."""


def find_pieces(old: Chunked, new: Chunked) -> list[Piece] | None:
    """A blob in pieces, of which those with a source are in an old one; None where that would not be worth it.

    Raises NotFound where one of the two is not there, Unreachable, Corrupt.
    """
    if min(old.size, new.size) < SMALLEST or not can_cut():
        return None
    mean = mean_for(max(old.size, new.size))
    if not _is_promising(old, new, mean):
        return None
    with ThreadPoolExecutor(1, thread_name_prefix="artstore-chunks") as pool:
        # One of the two is elsewhere, so both are at it at once.
        coming = pool.submit(lambda: list(_all(old, mean)))
        ours = list(_all(new, mean))
        pieces = list(_pieces(coming.result(), ours))
    return pieces if new_bytes(pieces) <= _WORTH * new.size else None


def new_bytes(pieces: Iterable[Piece]) -> int:
    """The bytes that have to be moved."""
    return sum(piece.size for piece in pieces if piece.source is None)


def between(pieces: Iterable[Piece], start: int, end: int) -> Iterator[Piece]:
    """The pieces of a blob from one of its bytes up to another."""
    at = 0
    for size, source in pieces:
        first, last = max(start, at), min(end, at + size)
        if first < last:
            yield Piece(last - first, None if source is None else source + first - at)
        at += size


def _pieces(old: Iterable[bytes], new: Iterable[bytes]) -> Iterator[Piece]:
    where: dict[bytes, int] = {}
    at = 0
    for chunk, size in _records(old):
        where.setdefault(chunk, at)
        at += size
    last: Piece | None = None
    for chunk, size in _records(new):
        source = where.get(chunk)
        if last is None:
            last = Piece(size, source)
        elif source == (None if last.source is None else last.source + last.size):
            last = Piece(last.size + size, last.source)
        else:
            yield last
            last = Piece(size, source)
    if last is not None:
        yield last


def _records(lists: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    for chunks in lists:
        for at, size in zip(range(0, len(chunks), RECORD.size), sizes(chunks), strict=True):
            yield chunks[at : at + RECORD.size], size


def _all(blob: Chunked, mean: int) -> Iterator[bytes]:
    """The chunks of all of a blob. Raises Corrupt where that is not what they are."""
    at = 0
    while at < blob.size:
        end = min(at + SPAN, blob.size)
        (chunks,) = blob.chunks(mean, [Range(at, end)])
        came = sum(sizes(chunks))
        if not 0 < came <= end - at:
            message = f"the chunks of a blob of {blob.size} bytes are said to be {came} bytes behind byte {at}"
            raise Corrupt(message, code="remote-corrupt")
        yield chunks
        at += came


def _is_promising(old: Chunked, new: Chunked, mean: int) -> bool:
    window = _WINDOW_CHUNKS * mean
    least = min(old.size, new.size)
    if least <= _PROBED_FROM * _WINDOWS * window:
        return True
    starts = [index * (least - window) // (_WINDOWS - 1) for index in range(_WINDOWS)]
    known = {chunk for chunks in old.chunks(mean, _windows(old, starts, window)) for chunk, _ in _records([chunks])}
    looked_at = same = 0
    for chunk, size in _records(new.chunks(mean, _windows(new, starts, window))):
        looked_at += size
        same += size if chunk in known else 0
    return same >= _PROMISING * looked_at


def _windows(blob: Chunked, starts: Sequence[int], window: int) -> list[Range]:
    """Windows at these distances from the beginning, and as many that end as far from the end."""
    from_end = [blob.size - start - window for start in starts]
    return [Range(start, start + window) for start in dict.fromkeys((*starts, *from_end))]
