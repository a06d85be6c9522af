"""Facts: what is known of a version, under the names that W&B gives it."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from artstore.api.settings import setting

if TYPE_CHECKING:
    from artstore.lifecycle.reports import VersionInfo


class Facts(ABC):
    """What only a version has; each raises ArtifactNotLoggedError before that."""

    @abstractmethod
    def _version(self, member: str) -> VersionInfo:
        """The version. Raises ArtifactNotLoggedError, which names what was asked for."""

    @property
    def entity(self) -> str:
        """Whose it is: everything here is of one owner."""
        self._version("entity")
        return owner()

    @property
    def source_entity(self) -> str:
        """As `entity`."""
        self._version("source_entity")
        return owner()

    @property
    def project(self) -> str:
        """The project."""
        info = self._version("project")
        return (info.link or info).project

    @property
    def source_project(self) -> str:
        """The project where it was logged."""
        return self._version("source_project").project

    @property
    def version(self) -> str:
        """`v3`; of a link, its number in the portfolio."""
        info = self._version("version")
        return f"v{(info.link or info).number}"

    @property
    def source_version(self) -> str:
        """The number in the collection where it was logged."""
        return f"v{self._version('source_version').number}"

    @property
    def qualified_name(self) -> str:
        """`entity/project/cats:v3`."""
        info = self._version("qualified_name")
        return f"{owner()}/{(info.link or info).ref}"

    @property
    def source_qualified_name(self) -> str:
        """The qualified name where it was logged."""
        info = self._version("source_qualified_name")
        return f"{owner()}/{info.ref}"

    @property
    def url(self) -> str:
        """Where it is, for fsspec."""
        info = self._version("url")
        return f"artstore://{(info.link or info).ref}"

    @property
    def commit_hash(self) -> str:
        """The digest of the version's record, as `id`."""
        return self._version("commit_hash").id

    @property
    def file_count(self) -> int:
        """How many entries it has."""
        return self._version("file_count").files

    @property
    def created_at(self) -> str:
        """When it was made, in UTC: `2026-01-31T12:00:00Z`."""
        return written_time(self._version("created_at").created_at)

    @property
    def updated_at(self) -> str:
        """As `created_at`: when labels change is in the log, and not asked for here."""
        return written_time(self._version("updated_at").created_at)

    @property
    def history_step(self) -> int | None:
        """None: artstore keeps no metrics, whose step it would be."""
        self._version("history_step")
        return None


def owner() -> str:
    """The entity: there is none here, so it is what the environment says, or `local`."""
    return setting("ENTITY") or "local"


def written_time(seconds: float) -> str:
    """A moment as W&B writes it, to the second."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
