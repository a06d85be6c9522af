"""Patterns: which paths are meant, in gitignore's syntax.

`*.png` means every PNG, `images/` all below that folder, `/a/*.txt` those files alone, and a later `!pattern` takes
paths out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from artstore.errors import Invalid

_SPECIAL: Final = re.compile(r"[*?\[\]\\]|^[!#]| $")


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A test for paths; without patterns every path passes. Raises Invalid (bad-pattern)."""
    if not patterns:
        return lambda _path: True
    # Loaded only where there are patterns: it takes 30 ms.
    from pathspec import GitIgnoreSpec  # noqa: PLC0415

    try:
        spec = GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        message = f"{', '.join(map(repr, patterns))} is not a pattern: {error}"
        raise Invalid(message, code="bad-pattern") from error
    return spec.match_file


def is_plain_path(pattern: str) -> bool:
    """Whether a pattern can mean one path alone: a slash inside anchors it, and nothing in it is a wildcard."""
    return "/" in pattern.strip("/") and not pattern.endswith("/") and not _SPECIAL.search(pattern)
