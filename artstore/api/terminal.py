"""Terminal: what is said to whoever runs the script."""

from __future__ import annotations

import sys
from functools import cache


def note(text: str) -> None:
    """Write a line about the work to standard error, if there is one."""
    if sys.stderr is not None:
        print(f"artstore: {text}", file=sys.stderr, flush=True)  # noqa: T201 - this is where it is said


@cache
def note_once(text: str) -> None:
    """As `note`, the first time that this process has this to say: in a loop once is enough."""
    note(text)
