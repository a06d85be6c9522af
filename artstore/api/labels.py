"""Labels: what is said about an artifact and may change, and what of it was changed since it was last kept."""

from __future__ import annotations

import copy
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from artstore.api.metadata import metadata_of
from artstore.api.naming import checked_aliases, checked_tags, without_latest
from artstore.errors import Invalid, WrongType

if TYPE_CHECKING:
    from artstore.lifecycle.reports import VersionInfo
    from artstore.store import Store


class ArtifactTTL:
    """A time to live that is nobody's own; see INHERIT."""

    INHERIT: Final = "inherit"
    """As its collection says, and no collection here says anything: for ever."""


class Labels:
    """Description, metadata, aliases, tags and time to live, as their owner has them in hand."""

    def __init__(self, description: str | None, metadata: object) -> None:
        self.description = description
        self.metadata = metadata_of(metadata)
        self.aliases: list[str] = []
        """The list that was given out: what is done to it counts."""
        self.tags: list[str] = []
        self.ttl_s: float | None = None
        self.ttl_is_set = False
        self._kept: VersionInfo | None = None
        self._logged: tuple[str | None, dict[str, Any]] | None = None

    def set_metadata(self, values: object) -> None:
        """Take other metadata. Raises Invalid and WrongType as `metadata_of`."""
        self.metadata = metadata_of(values)

    def logged(self) -> tuple[str | None, dict[str, Any]]:
        """Description and metadata as they were when `note_logged` was called."""
        assert self._logged is not None
        return self._logged

    def note_logged(self) -> None:
        """Remember what goes into the version, so that what is changed afterwards can be told from it."""
        self._logged = (self.description, copy.deepcopy(self.metadata))

    def take(self, info: VersionInfo) -> None:
        """Begin with what a version has. What was changed since it was logged stays changed."""
        if self._logged is None or self._logged == (self.description, self.metadata):
            self.description = info.description
            self.metadata = copy.deepcopy(info.metadata)
        self._logged = None
        self.aliases[:] = (info.link or info).aliases
        self.tags[:] = info.tags
        self.ttl_s = info.ttl_s
        self.ttl_is_set = False
        self._kept = info

    def set_ttl(self, ttl: object) -> None:
        """Take a time to live: a timedelta, None or INHERIT for ever. Raises Invalid (bad-ttl)."""
        if ttl is None or ttl == ArtifactTTL.INHERIT:
            self.ttl_s = None
        elif not isinstance(ttl, dt.timedelta):
            message = f"a time to live is a timedelta, None or ArtifactTTL.INHERIT, not {ttl!r}"
            raise WrongType(message, code="bad-ttl")
        elif ttl <= dt.timedelta(0):
            message = f"a time to live has to be positive, and {ttl} is not"
            raise Invalid(message, code="bad-ttl")
        else:
            self.ttl_s = float(int(ttl.total_seconds())) or 1.0
        self.ttl_is_set = ttl != ArtifactTTL.INHERIT

    @property
    def ttl(self) -> dt.timedelta | None:
        """The time to live, in whole seconds; None: for ever."""
        return None if self.ttl_s is None else dt.timedelta(seconds=int(self.ttl_s))

    def save(self, store: Store) -> VersionInfo:
        """Keep what was changed: only that is written, step by step, so after an error `save` goes on from there.

        Raises Invalid (bad-alias, bad-tag, bad-metadata).
        """
        kept = self._kept
        assert kept is not None
        aliases, tags, metadata = checked_aliases(self.aliases), checked_tags(self.tags), metadata_of(self.metadata)
        reference, standing = kept.exact, (kept.link or kept).aliases
        # In a portfolio a version has other aliases; all else is its own.
        named = reference if kept.link is None else kept.link.ref
        after, before = set(without_latest(aliases)), set(without_latest(standing))
        # `latest` follows the last version by itself: to leave it out of the list means nothing.
        new = sorted(after - before) + (["latest"] if "latest" in aliases and "latest" not in standing else [])
        if new:
            self._kept = store.alias(named, new)
        if gone := sorted(before - after):
            self._kept = store.unalias(named, gone)
        if added := [tag for tag in tags if tag not in kept.tags]:
            self._kept = store.tag(reference, added)
        if removed := [tag for tag in kept.tags if tag not in tags]:
            self._kept = store.untag(reference, removed)
        if self.description != kept.description:
            self._kept = store.describe(reference, self.description)  # type: ignore[assignment] # Not of a collection.
        changed = {key: value for key, value in metadata.items() if kept.metadata.get(key, _NOTHING) != value}
        lost = [key for key in kept.metadata if key not in metadata]
        if changed or lost:
            self._kept = store.set_metadata(reference, changed, remove=lost)
        if self.ttl_s != kept.ttl_s:
            self._kept = store.set_ttl(reference, self.ttl_s)
        assert self._kept is not None
        return store.version(named) if kept.link is not None else self._kept


_NOTHING: Final = object()
