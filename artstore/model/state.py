"""State: the values that a log folds to.

Each value is one row, found again by its `key`. A `View` is whatever can be asked for them: a dictionary in memory, or
the catalog. The fold asks a view and answers with changes, so that there is one set of rules for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from artstore.model.digest import Digest
from artstore.model.records import Kind


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """A named, typed series of versions, or of links to versions."""

    id: str
    kind: Kind
    name: str
    type: str
    description: str | None
    next_number: int
    created_us: int
    deleted: bool

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.id,)


class Synonym(msgspec.Struct, frozen=True, kw_only=True):
    """A second id of a collection: it was created twice, apart."""

    id: str
    collection: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.id,)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable commit, and what may be edited around it."""

    id: str
    collection: str
    number: int
    manifest: str
    """Digest of its manifest's full form."""
    entries: int
    bytes: int
    created_us: int
    updated_us: int
    """When an alias, a tag, its description, metadata or time to live last changed, never before its creation."""
    run: str | None
    description: str | None
    metadata: dict[str, Any]
    ttl_s: float | None
    logged: int
    """Place in the log where it was last logged; `latest` is the live version with the highest."""
    deleted: bool

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.id,)


class UnfinishedPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer added to a version that nobody has gathered yet."""

    id: str
    name: str
    type: str
    distributed_id: str
    run: str | None
    store: str
    """Id of the store that it was added to."""
    manifest: str
    """Digest of its manifest's full form."""
    entries: int
    bytes: int
    aliases: list[str]
    description: str | None
    metadata: dict[str, Any]
    created_us: int

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.id,)


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A name that stands on a version of a collection, or one in a portfolio, and can move."""

    collection: str
    name: str
    version: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.collection, self.name)


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """A version is in a portfolio. It may be of another project, deleted, or not here at all."""

    portfolio: str
    version: str
    source_project: str
    """Where the version lives."""
    name: str
    """What it was called when it was last linked."""
    digest: str
    """Of its manifest."""
    number: int
    """In the portfolio."""
    linked_us: int
    logged: int
    """Place in the log where it was last linked; `latest` is the one with the highest."""
    made_in: str
    """Id of the portfolio, or the second one by which it was linked while somebody had one of his own."""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.portfolio, self.version)


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """A word on a version or a collection."""

    target: str
    """Id of the version or the collection."""
    name: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.target, self.name)


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a run."""

    name: str | None
    job_type: str | None
    group: str | None
    notes: str | None
    tags: list[str]
    config: dict[str, Any]
    state: Literal["running", "finished", "crashed"]
    started_us: int
    ended_us: int | None


class Run(RunFacts, frozen=True, kw_only=True):
    """Who made versions and what it used."""

    id: str
    begun: str
    """Id of the op that it began with, or last went on with."""
    apart: dict[str, RunFacts]
    """What those said of it who began it under the same id and did not know that it was there; each by the id of the op
    that theirs began with, or last went on with."""

    def facts(self, begun: str | None) -> RunFacts:
        """What they say of it who began it, or went on with it, with this op."""
        return self.apart.get(begun or "", self)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.id,)


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """A run read a version, of this project or another."""

    run: str
    used_project: str
    """Where the version lives."""
    version: str
    name: str
    """What it was called."""
    digest: str
    """Of its manifest."""
    position: int
    """Place in the log where the run first said so."""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.run, self.used_project, self.version)


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A run logged a version."""

    run: str
    version: str
    relogged: bool
    """The version was there already, with the same content: not an edge of the lineage graph."""
    position: int
    """Place in the log where it was logged."""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this one."""
        return (self.run, self.version)


Row = Collection | Synonym | Version | UnfinishedPart | Alias | Membership | Tag | Run | Used | Logged
ROW_KINDS: Final[tuple[type[Row], ...]] = (
    *(Collection, Synonym, Version, UnfinishedPart, Alias, Membership, Tag, Run, Used, Logged),
)

R = TypeVar("R", Collection, Synonym, Version, UnfinishedPart, Alias, Membership, Tag, Run, Used, Logged)

_encoder = msgspec.json.Encoder(order="sorted")


class View(Protocol):
    """What the fold needs to know of the state of one project."""

    def collection(self, id: str) -> Collection | None:
        """The collection with this id, or with this synonym, a deleted one too."""

    def collection_named(self, name: str) -> Collection | None:
        """The collection that has this name now."""

    def version(self, id: str) -> Version | None:
        """The version with this id, deleted ones too."""

    def versions_of(self, collection: str) -> list[Version]:
        """The live versions of a collection."""

    def part(self, id: str) -> UnfinishedPart | None:
        """The part with this id, if nobody has gathered it yet."""

    def aliases_of(self, collection: str, version: str) -> list[Alias]:
        """What a version is called in its collection, or in a portfolio."""

    def aliases_in(self, collection: str) -> list[Alias]:
        """Every alias of a collection."""

    def membership(self, portfolio: str, version: str) -> Membership | None:
        """How a version is in a portfolio, if it is."""

    def memberships_of(self, portfolio: str) -> list[Membership]:
        """What is in a portfolio."""

    def links_of(self, version: str) -> list[Membership]:
        """How a version is in the portfolios of this project."""

    def uses_of(self, version: str) -> list[Used]:
        """The runs of this project that used a version."""

    def tags_of(self, target: str) -> list[Tag]:
        """What is written on a version or a collection."""

    def alias(self, collection: str, name: str) -> Alias | None:
        """Where an alias stands."""

    def run(self, id: str) -> Run | None:
        """The run with this id."""

    def used(self, run: str, project: str, version: str) -> Used | None:
        """Whether a run used a version of a project."""

    def logged(self, run: str, version: str) -> Logged | None:
        """Whether a run logged a version."""


class MemoryState:
    """The state of one project as dictionaries."""

    def __init__(self) -> None:
        self.rows: dict[type[Row], dict[tuple[str, ...], Row]] = {kind: {} for kind in ROW_KINDS}

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its key."""
        self.rows[type(row)][row.key] = row

    def drop(self, row: Row) -> None:
        """Remove the row with this key, which must be there."""
        del self.rows[type(row)][row.key]

    def collection(self, id: str) -> Collection | None:
        """See View."""
        synonym = self._get(Synonym, id)
        return self._get(Collection, synonym.collection if synonym else id)

    def collection_named(self, name: str) -> Collection | None:
        """See View."""
        return next((row for row in self.all(Collection) if row.name == name and not row.deleted), None)

    def version(self, id: str) -> Version | None:
        """See View."""
        return self._get(Version, id)

    def versions_of(self, collection: str) -> list[Version]:
        """See View."""
        return [row for row in self.all(Version) if row.collection == collection and not row.deleted]

    def part(self, id: str) -> UnfinishedPart | None:
        """See View."""
        return self._get(UnfinishedPart, id)

    def aliases_of(self, collection: str, version: str) -> list[Alias]:
        """See View."""
        return [row for row in self.aliases_in(collection) if row.version == version]

    def aliases_in(self, collection: str) -> list[Alias]:
        """See View."""
        return [row for row in self.all(Alias) if row.collection == collection]

    def membership(self, portfolio: str, version: str) -> Membership | None:
        """See View."""
        return self._get(Membership, portfolio, version)

    def memberships_of(self, portfolio: str) -> list[Membership]:
        """See View."""
        return [row for row in self.all(Membership) if row.portfolio == portfolio]

    def links_of(self, version: str) -> list[Membership]:
        """See View."""
        return [row for row in self.all(Membership) if row.version == version]

    def uses_of(self, version: str) -> list[Used]:
        """See View."""
        return [row for row in self.all(Used) if row.version == version]

    def tags_of(self, target: str) -> list[Tag]:
        """See View."""
        return [row for row in self.all(Tag) if row.target == target]

    def alias(self, collection: str, name: str) -> Alias | None:
        """See View."""
        return self._get(Alias, collection, name)

    def run(self, id: str) -> Run | None:
        """See View."""
        return self._get(Run, id)

    def used(self, run: str, project: str, version: str) -> Used | None:
        """See View."""
        return self._get(Used, run, project, version)

    def logged(self, run: str, version: str) -> Logged | None:
        """See View."""
        return self._get(Logged, run, version)

    def all(self, kind: type[R]) -> list[R]:
        """Every row of a kind."""
        return [row for row in self.rows[kind].values() if isinstance(row, kind)]

    def hash(self) -> Digest:
        """One digest for the whole state: two states are equal if it is."""
        return hash_of_rows(row for rows in self.rows.values() for row in rows.values())

    def _get(self, kind: type[R], *key: str) -> R | None:
        row = self.rows[kind].get(key)
        return row if isinstance(row, kind) else None


def hash_of_rows(rows: Iterable[Row]) -> Digest:
    """The digest of a set of rows, in whatever order they come."""
    lines = sorted(type(row).__name__.encode() + b" " + _encoder.encode(row) for row in rows)
    return Digest.of(b"\n".join(lines))
