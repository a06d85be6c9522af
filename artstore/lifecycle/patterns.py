"""Patterns: which paths are meant, in gitignore's syntax.

`*.png` means every PNG, `images/` all below that folder, `/a/*.txt` those files alone, and a later `!pattern` takes
paths out again.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from artstore.errors import Invalid

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_SPECIAL: Final = re.compile(r"[*?\[\]\\]|^[!#]| $")


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A test for paths; without patterns every path passes. Raises Invalid (bad-pattern)."""
    if not patterns:
        return lambda _path: True
    return together(patterns).match_file


def together(patterns: Iterable[str], *, line: str = "") -> GitIgnoreSpec:
    """Patterns of which a later one goes before an earlier one; an empty one means nothing.

    Raises Invalid (bad-pattern), which names the one that is none, after `line` with its number from 1 in place of
    `{}`.
    """
    # Loaded only where there are patterns: it takes 30 ms.
    from pathspec import GitIgnoreSpec  # noqa: PLC0415
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # noqa: PLC0415

    made = []
    for number, pattern in enumerate(patterns, start=1):
        try:
            with _unwarned() if "[" in pattern else contextlib.nullcontext():
                made.append(GitIgnoreSpecPattern(pattern))
        except (ValueError, re.error) as error:
            reason = error.msg if isinstance(error, re.error) else error.__cause__ or error
            message = f"{line.format(number)}{pattern!r} is not a pattern: {reason}"
            raise Invalid(message, code="bad-pattern") from error
    return GitIgnoreSpec(made)


def _unwarned() -> contextlib.AbstractContextManager[object]:
    # A pattern becomes a regular expression, and of one with `[` or `||` in brackets Python says that it may mean
    # something else one day. Not for every pattern: other threads may change what is warned of at the same moment.
    return warnings.catch_warnings(action="ignore", category=FutureWarning)


def is_plain_path(pattern: str) -> bool:
    """Whether a pattern can mean one path alone: a slash inside anchors it, and nothing in it is a wildcard."""
    return "/" in pattern.strip("/") and not pattern.endswith("/") and not _SPECIAL.search(pattern)
