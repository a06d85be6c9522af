"""Terminal: what is said to whoever runs the script."""

from __future__ import annotations

import sys


def note(text: str) -> None:
    """Write a line about the work to standard error, if there is one."""
    if sys.stderr is not None:
        print(f"artstore: {text}", file=sys.stderr, flush=True)  # noqa: T201 - this is where it is said
