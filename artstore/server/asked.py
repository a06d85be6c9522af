"""Asked: what a request says, read as what a page wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from artstore.errors import Invalid

MOST: Final = 10_000
"""What a page may be asked to have."""


class Asked(NamedTuple):
    """What a request says: parts of the path, and what stands behind the question mark."""

    path: Mapping[str, Any]
    query: Mapping[str, str]

    def number(self, name: str, default: int, *, least: int = 1, most: int = MOST) -> int:
        """A number that was given, within limits. Raises Invalid (bad-number)."""
        found = self.number_or_none(name, least=least, most=most)
        return default if found is None else found

    def number_or_none(self, name: str, *, least: int = 0, most: int = 2**53) -> int | None:
        """The same; None where there is none."""
        text = self.query.get(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):  # noqa: PLR2004
            message = f"{name}={text!r} is no number from {least} to {most}"
            raise Invalid(message, code="bad-number")
        return int(text)

    def text(self, name: str) -> str | None:
        """A text that was given and is not empty."""
        return self.query.get(name) or None
