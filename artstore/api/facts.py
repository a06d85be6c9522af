"""Facts: what is known of a version, under the names that W&B gives it."""

from __future__ import annotations

import datetime as dt

from artstore.api.lives import Lives
from artstore.api.settings import setting
from artstore.api.unheeded import BLAKE3


class Facts(Lives):
    """What a version has, and what a draft has of it; the rest raises ArtifactNotLoggedError before that."""

    @property
    def digest(self) -> str:
        """The digest of all entries, `blake3:<hex>`: equal content, equal digest. Takes time for a large draft."""
        return str(self._contents.digest) if self._info is None else self._info.digest

    @property
    def digest_algorithm(self) -> str:
        """How digests are made."""
        return BLAKE3

    @property
    def size(self) -> int:
        """Bytes of all entries, those of references included where they are known."""
        return self._contents.size if self._info is None else self._info.bytes

    @property
    def incremental(self) -> bool:
        """Whether its version begins with the entries of the one before."""
        return self._incremental

    @property
    def use_as(self) -> str | None:
        """What was given."""
        return self._use_as

    @property
    def distributed_id(self) -> str | None:
        """What the parts of a version that several runs make have in common."""
        return self._distributed_id

    @distributed_id.setter
    def distributed_id(self, text: str | None) -> None:
        self._distributed_id = text

    @property
    def is_link(self) -> bool:
        """Whether it was reached through a portfolio."""
        return self._info is not None and self._info.is_link

    @property
    def linked_at(self) -> str | None:
        """When it was linked, in UTC; None where it is no link."""
        link = None if self._info is None else self._info.link
        return None if link is None else written_time(link.linked_at)

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
        """When it was made, or its aliases, tags, description, metadata or time to live were last changed, in UTC."""
        return written_time(self._version("updated_at").updated_at)

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
