"""Parts: what stands for a project in names of objects and files that must not differ in capitals alone."""

from __future__ import annotations

import contextlib
from typing import Final

from artstore.errors import Invalid
from artstore.model.names import project_name

_MARK: Final = ".u"


def part_of(project: str) -> str:
    """What stands for a project in names of objects, which have no capitals: `Cats` is `cats.u1`.

    The digits say in hexadecimal which letters are capitals, the first one with the lowest bit; `0` is put before a
    `_` at the front.
    """
    small = project.lower()
    mask = sum(1 << at for at, (one, other) in enumerate(zip(project, small, strict=True)) if one != other)
    if not mask and not project.startswith("_") and _MARK not in project:
        return project
    return f"{'0' if project.startswith('_') else ''}{small}{_MARK}{mask:x}"


def project_of(part: str) -> str | None:
    """The project that it stands for; None for what somebody else has put there."""
    small, mark, digits = part.rpartition(_MARK)
    project = part
    if mark and digits.isalnum() and len(digits) <= len(small):
        small = small[1:] if small.startswith("0_") else small
        with contextlib.suppress(ValueError):
            mask = int(digits, 16)
            project = "".join(letter.upper() if mask >> at & 1 else letter for at, letter in enumerate(small))
    with contextlib.suppress(Invalid):
        if part_of(project_name(project)) == part:
            return project
    return None
