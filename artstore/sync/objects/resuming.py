"""Resuming: a stream that was cut goes on behind what has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from artstore.errors import Unreachable
from artstore.sync.objects.failures import is_of_silence


def resumed(stream: Callable[[int], Iterator[bytes]], start: int) -> Iterator[bytes]:
    """What `stream` gives from `start` on, asked for again from where it was cut, as long as that brings something.

    Raises Unreachable, as `stream` does, where nothing more comes, or nobody answered in time: to wait longer is for
    the caller to decide.
    """
    while True:
        before = start
        try:
            for block in stream(start):
                start += len(block)
                yield block
        except Unreachable as error:
            if start == before or is_of_silence(error):
                raise
        else:
            return
