"""Exits: whether the interpreter ends because something went wrong.

An exception that nobody caught is kept by Python itself. Of an exit nothing is kept, so `sys.exit` is watched: it does
what it did, and where the last call in the main thread with a code that is not 0 came from is remembered. Where that
exit was caught, and the script went on, its code means nothing: then a function that it came from has returned.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

_RETURNS: Final = ("RETURN_VALUE", "RETURN_CONST")
"""How a function ends that no exception ends."""

_from: Final[list[FrameType]] = []
"""What the last exit came out of, the innermost first, if that was a bad one."""


def is_good(error: SystemExit) -> bool:
    """Whether the code of an exit is none or 0, as Python reads it: text is printed, and means that it went wrong."""
    return error.code is None or (isinstance(error.code, int) and error.code == 0)


@functools.cache
def watch() -> None:
    """Watch `sys.exit` from now on, once. `raise SystemExit` goes unseen, and so does an `exit` imported before."""
    exit_before = sys.exit

    @functools.wraps(exit_before)
    def exit_(*status: object) -> None:
        try:
            exit_before(*status)  # type: ignore[arg-type]
        except SystemExit as error:
            if threading.current_thread() is threading.main_thread():
                _from[:] = [] if is_good(error) else _outwards(sys._getframe(1))  # noqa: SLF001 - there is no other way
            raise

    sys.exit = exit_  # type: ignore[assignment]


def is_failure() -> bool:
    """Whether an exception or the code of an exit ends the interpreter; to be asked when it ends."""
    # Errors at a prompt end nothing.
    has_failed = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
    return has_failed or (bool(_from) and not any(map(_has_returned, _from)))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _has_returned(frame: FrameType) -> bool:
    return frame.f_lasti >= 0 and dis.opname[frame.f_code.co_code[frame.f_lasti]] in _RETURNS
