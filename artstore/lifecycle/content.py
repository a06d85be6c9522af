"""Content: what a draft holds, as the manifest that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from artstore.lifecycle.again import Since
from artstore.model.digest import Digest
from artstore.model.manifest import Difference, Entry, digest_of_lines
from artstore.model.paths import find_collisions, portability_warnings, quoted

_SHOWN_WARNINGS: Final = 20


class Content(NamedTuple):
    """Entries in the order of a manifest, and that manifest's digest."""

    entries: Sequence[Entry]
    digest: Digest
    warnings: list[str]
    """About paths that not every system can hold."""
    since: Since | None

    @classmethod
    def of(cls, entries: Sequence[Entry], since: Since | None) -> Self:
        """Of sorted entries. Raises PathCollision for paths that no system can hold."""
        # The paths of what there was before have been looked at.
        warnings = [] if since is not None and since.has_same_paths else _warnings([entry.path for entry in entries])
        if since is not None and not since.difference.weight:
            return cls(entries, since.manifest, warnings, since)
        return cls(entries, digest_of_lines(entry.line() for entry in entries), warnings, since)

    def difference_to(self, base: Digest) -> Difference | None:
        """What turns another manifest into this one, where that is known without reading it."""
        return self.since.difference if self.since is not None and self.since.manifest == base else None


def _warnings(paths: list[str]) -> list[str]:
    warnings = [
        f"{' and '.join(map(quoted, twins))} are one path where case or Unicode form does not count"
        for twins in find_collisions(paths)
    ]
    for path in paths:
        warnings += portability_warnings(path)
    if len(warnings) > _SHOWN_WARNINGS:
        warnings[_SHOWN_WARNINGS:] = [
            f"and {len(warnings) - _SHOWN_WARNINGS} more paths that not every system can hold"
        ]
    return warnings
