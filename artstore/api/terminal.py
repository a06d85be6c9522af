"""Terminal: what is said to whoever runs the script."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

from artstore.units import count, size

if TYPE_CHECKING:
    from artstore.lifecycle.progress import Progress, Tick

_SHORT_S: Final = 0.5
"""What takes no longer is not shown while it goes on."""
_REDRAW_S: Final = 0.1
_CLEAR: Final = "\r\x1b[K"


def note(text: str) -> None:
    """Write a line about the work to standard error, if there is one."""
    if sys.stderr is not None:
        print(f"artstore: {text}", file=sys.stderr, flush=True)  # noqa: T201 - this is where it is said


@cache
def note_once(text: str) -> None:
    """As `note`, the first time that this process has this to say: in a loop once is enough."""
    note(text)


@contextmanager
def moving(what: str) -> Iterator[Progress | None]:
    """Give long work something to report to: a line that moves where a person watches, None where nobody would see it.

    The line is gone when the work is done, and is not begun for what takes half a second.
    """
    terminal = sys.stderr
    if terminal is None or not terminal.isatty():
        yield None
        return
    next_s = time.monotonic() + _SHORT_S
    is_drawn = False

    def tell(tick: Tick) -> None:
        nonlocal next_s, is_drawn
        if time.monotonic() < next_s:
            return
        next_s, is_drawn = time.monotonic() + _REDRAW_S, True
        line = f"artstore: {what}: {count(tick.files, 'file')}, {size(tick.bytes)}"
        print(f"{_CLEAR}{line}", end="", file=terminal, flush=True)

    try:
        yield tell
    finally:
        if is_drawn:
            print(_CLEAR, end="", file=terminal, flush=True)
