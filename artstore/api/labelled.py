"""Labelled: what is said about an artifact, and may change; `save` keeps it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from artstore.api.facts import Facts
from artstore.api.naming import checked_aliases, checked_tags
from artstore.api.terminal import note
from artstore.errors import Invalid


class Labelled(Facts):
    """Description and metadata, which a draft has too, and aliases, tags and time to live."""

    @property
    def description(self) -> str | None:
        """What a reader should know; `save` keeps a new one."""
        return self._labels.description

    @description.setter
    def description(self, text: str | None) -> None:
        self._warn_of_link("description")
        self._labels.description = text

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about it. It may be changed in place; `save` keeps that."""
        return self._labels.metadata

    @metadata.setter
    def metadata(self, values: dict[str, Any] | str | None) -> None:
        self._warn_of_link("metadata")
        self._labels.set_metadata(values)

    @property
    def aliases(self) -> list[str]:
        """What stands on it. The list may be changed in place; `save` keeps that. `latest` moves by itself."""
        self._version("aliases")
        return self._labels.aliases

    @aliases.setter
    def aliases(self, names: Sequence[str]) -> None:
        self._version("aliases")
        self._labels.aliases[:] = checked_aliases(names)

    @property
    def tags(self) -> list[str]:
        """What it is marked with. The list may be changed in place; `save` keeps that."""
        self._version("tags")
        return self._labels.tags

    @tags.setter
    def tags(self, names: Sequence[str]) -> None:
        self._version("tags")
        self._warn_of_link("tags")
        self._labels.tags[:] = checked_tags(names)

    @property
    def ttl(self) -> dt.timedelta | None:
        """How long it is wanted, from its creation, in whole seconds; None: for ever. May be set on a draft."""
        if not self._labels.ttl_is_set:
            self._version("ttl")
        return self._labels.ttl

    @ttl.setter
    def ttl(self, ttl: dt.timedelta | str | None) -> None:
        if self.is_link:
            message = f"{self.name!r} is a link, and the time to live is the version's: set it on the source artifact"
            raise Invalid(message, code="is-a-link")
        self._labels.set_ttl(ttl)

    def _warn_of_link(self, what: str) -> None:
        if self.is_link:
            note(f"{self.name} is a link: what is set here is the {what} of {self.source_name}")
