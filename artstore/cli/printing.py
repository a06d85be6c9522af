"""Printing: that the output cannot be written is said, and is not taken for a failure of the store."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from artstore.errors import ArtstoreError

UNCHANGED: Final = "the store is as it was"
"""The outcome of what only looks."""


@contextlib.contextmanager
def printing(outcome: str) -> Iterator[None]:
    """Say of output that cannot be written that it is this, and not the store, that failed."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ArtstoreError) or error.errno == errno.EPIPE:
            raise
        message = (
            f"standard output cannot be written ({error.strerror}): {outcome}, and only what it printed is lost. "
            "Let it print elsewhere"
        )
        raise ArtstoreError(message, code="output-lost") from error
