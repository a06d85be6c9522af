"""Pieces: bytes that come in chunks of any size, cut as a service wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def in_pieces(chunks: Iterable[bytes], piece: int, size: int, wrong: Callable[[int], Exception]) -> Iterator[bytes]:
    """The same bytes in pieces of one size, only the last one shorter.

    Raises what `wrong` makes of their number if they are not `size` together, and then before the last piece, so that
    it is never sent.
    """
    waiting: list[bytes] = []
    held = found = 0
    for chunk in chunks:
        found += len(chunk)
        if found > size:
            raise wrong(found)
        waiting.append(chunk)
        held += len(chunk)
        if held <= piece:
            continue
        data = b"".join(waiting)
        # The last of them is kept back: there may be no more, and then it is not to be sent if the number is wrong.
        kept = (held - 1) // piece * piece
        yield from (data[start : start + piece] for start in range(0, kept, piece))
        waiting, held = [data[kept:]], held - kept
    if found != size:
        raise wrong(found)
    if held:
        yield b"".join(waiting)
