"""The catalog: the state of every project, in tables.

It answers the fold's questions, takes the fold's changes, and keeps the ops that led there. All of it can be got back
from the log: what is only here must not matter.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from artstore.errors import ArtstoreError, Corrupt
from artstore.model.digest import Digest
from artstore.model.fold import Change, Put
from artstore.model.notes import TakenIn
from artstore.model.records import Commit, Create, Link, Relog, Unlink, decode_op, made_by
from artstore.model.state import (
    Alias,
    Collection,
    Logged,
    Membership,
    Row,
    Run,
    RunFacts,
    Synonym,
    Tag,
    UnfinishedPart,
    Used,
    Version,
)
from artstore.storage import schema
from artstore.storage.database import Connections, is_wal_safe, sqlite_version
from artstore.storage.files import storage_error
from artstore.storage.mounts import has_small_blocks, is_network

FILE_NAME: Final = "catalog.db"

R = TypeVar("R", Collection, Synonym, Version, UnfinishedPart, Alias, Membership, Tag, Run, Used, Logged)
S = TypeVar("S", bound=msgspec.Struct)

_TABLES: Final[dict[type[Row], str]] = {
    Collection: "collection",
    Synonym: "synonym",
    Version: "version",
    UnfinishedPart: "part",
    Alias: "alias",
    Membership: "membership",
    Tag: "tag",
    Run: "run",
    Used: "used",
    Logged: "logged",
}
_NO_MEMORY: Final = "error code=7"
"""How SQLite writes SQLITE_NOMEM into what a check found."""
_PROJECT: Final = "SELECT project.id, name, log, seq, head, upstream, slot, slot_head FROM project"
_KEYS: Final[dict[type[Row], tuple[str, ...]]] = {
    Collection: ("id",),
    Synonym: ("id",),
    Version: ("id",),
    UnfinishedPart: ("id",),
    Alias: ("collection", "name"),
    Membership: ("portfolio", "version"),
    Tag: ("target", "name"),
    Run: ("id",),
    Used: ("run", "used_project", "version"),
    Logged: ("run", "version"),
}
_FORGOTTEN: Final = (
    "EXISTS (SELECT 1 FROM forgotten WHERE forgotten.project = version.project AND forgotten.version = version.id)"
)
_SHOWN: Final = f"deleted = 0 AND NOT {_FORGOTTEN}"
_BOOLEANS: Final = frozenset({"deleted", "relogged"})
_AS_JSON: Final = frozenset({"aliases", "apart", "config", "metadata", "tags"})


class Project(msgspec.Struct, frozen=True):
    """One log, and how far this catalog has followed it."""

    id: int
    """Row number, of no meaning outside this file."""
    name: str
    log: str
    """Random id of the log, 32 hex digits."""
    seq: int
    """The last transaction that is folded in."""
    head: str | None
    """Its digest."""
    upstream: str | None
    """Random id of the log that this project follows; None: its own."""
    slot: int
    """The last slot of it that is folded in."""
    slot_head: str | None
    """Its digest."""


class Catalog(Connections):
    """The catalog file of a store."""

    def __init__(self, root: Path, *, read_only: bool, refusal: ArtstoreError | None = None) -> None:
        wal = is_wal_safe(sqlite_version()) and not is_network(root) and not has_small_blocks(root)
        super().__init__(root / FILE_NAME, read_only=read_only, wal=wal, refusal=refusal)

    def create(self) -> bool:
        """Make the tables, or bring them up to date; answers whether the log has to be folded into them again."""
        with self.checked():
            if schema.version_of(self.connection) == schema.VERSION:
                return False
            with self.write():
                return schema.migrate(self.database())

    def check(self) -> None:
        """Raise Corrupt or UpgradeNeeded where the file is not a catalog that this artstore can write."""
        with self.checked():
            connection = self.connection
            schema.check_writable(schema.version_of(connection))
            result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if _NO_MEMORY in result:
            # A page that there was no room for is not a damaged one.
            raise storage_error(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "checking the catalog")
        if result != "ok":
            message = (
                f"{str(self.path)!r} is damaged: {result}. Run `artstore rebuild`: the log has everything that it held"
            )
            raise Corrupt(message, code="catalog-damaged")

    def remake(self) -> None:
        """Make every table anew, whatever tables there are, inside a write transaction: a rebuild fills them."""
        database = self.database()
        for name in database.table_names():
            self.execute(f'DROP TABLE "{name}"')
        self.execute("PRAGMA user_version = 0")
        schema.migrate(database)

    def counts(self) -> tuple[int, int, int]:
        """How many ops, live versions and stored blobs there are."""
        row = self.one(
            "SELECT (SELECT count(*) FROM op), (SELECT count(*) FROM version WHERE deleted = 0), "
            "(SELECT count(*) FROM blob WHERE id IN (SELECT blob FROM stored))",
        )
        assert row is not None
        return int(row[0]), int(row[1]), int(row[2])

    def epoch(self) -> int:
        """The last epoch that `gc` began with this catalog; 0 if there was none."""
        row = self.one("SELECT value FROM meta WHERE key = 'epoch'")
        return 0 if row is None else int(row[0])

    def set_epoch(self, epoch: int) -> None:
        """Note that an epoch begins."""
        with self.write():
            self.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('epoch', ?)", (epoch,))

    def projects(self) -> list[Project]:
        """Every project, by name."""
        return [Project(*row) for row in self.rows(_PROJECT + " ORDER BY name")]

    def project(self, name: str) -> Project | None:
        """The project with this name, if anything was ever committed to it."""
        row = self.one(_PROJECT + " WHERE name = ?", (name,))
        return None if row is None else Project(*row)

    def project_by_id(self, id_: int) -> Project:
        """The project with this row number, which must be there."""
        row = self.one(_PROJECT + " WHERE project.id = ?", (id_,))
        assert row is not None
        return Project(*row)

    def running(self) -> dict[str, tuple[str, str]]:
        """The project and the id of every run that has not ended, by the op that it began with."""
        sql = (
            "SELECT begun, project.name, run.id FROM run JOIN project ON project.id = run.project WHERE state = ?1 "
            "UNION ALL SELECT facts.key, project.name, run.id FROM run JOIN project ON project.id = run.project "
            "JOIN json_each(run.apart) AS facts WHERE apart <> '{}' AND facts.value ->> 'state' = ?1"
        )
        return {begun: (project, id_) for begun, project, id_ in self.rows(sql, ("running",))}

    def uses_of(self, version: str) -> list[tuple[str, str, int]]:
        """Every run that used a version, in whatever project, the first first.

        Answers the project's name, the run's id, and the place in the project's log where it said so.
        """
        sql = (
            "SELECT project.name, used.run, position FROM used JOIN project ON project.id = used.project "
            "JOIN run ON run.project = used.project AND run.id = used.run WHERE version = ? ORDER BY started_us, run.id"
        )
        return [(project, run, position) for project, run, position in self.rows(sql, (version,))]

    def portfolios_of(self, version: str) -> list[tuple[str, str]]:
        """The portfolios, of whatever project, that a version is in: the project's name and the portfolio's id."""
        sql = (
            "SELECT project.name, portfolio FROM membership JOIN project ON project.id = membership.project "
            "WHERE version = ? ORDER BY linked_us, project.name, portfolio"
        )
        return [(project, portfolio) for project, portfolio in self.rows(sql, (version,))]

    def project_with(self, version: str, name: str) -> Project | None:
        """The project that has a version: the one with this name, or else whichever has it."""
        row = self.one(
            f"{_PROJECT} CROSS JOIN version ON version.project = project.id AND version.id = ?1 "
            "ORDER BY name = ?2 DESC, deleted, name LIMIT 1",
            (version, name),
        )
        return None if row is None else Project(*row)

    def add_project(self, name: str, log: str) -> Project:
        """Take up a log, inside a write transaction."""
        self.execute("INSERT INTO project (name, log, seq, slot) VALUES (?, ?, 0, 0)", (name, log))
        project = self.project(name)
        assert project is not None
        return project


class FoldView:
    """The state of one project as the log folds to it, asked of the catalog; see View."""

    def __init__(self, connections: Connections, project: int) -> None:
        self._connections = connections
        self._project = project

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self._connections.path.parent

    def collection(self, id: str) -> Collection | None:
        """See View."""
        found = self._first(Collection, "id = ?", id)
        if found is not None:
            return found
        synonym = self._first(Synonym, "id = ?", id)
        return None if synonym is None else self._first(Collection, "id = ?", synonym.collection)

    def collection_named(self, name: str) -> Collection | None:
        """See View."""
        return self._first(Collection, "name = ? AND deleted = 0", name)

    def collections(self) -> list[Collection]:
        """Every collection that is not deleted, by name."""
        return self.all(Collection, "deleted = 0 ORDER BY name")

    def id_made_here(self, collection: Collection) -> str:
        """The id to call a collection by in what is put into it.

        That of its creation that waits, where it was made here too under its name: should it come to be one of its own
        then, since others have given theirs another name, all that was put into it here is in that.
        """
        ids = [id_ for id_, name in self._made_here(collection.id) if name == collection.name]
        return ids[-1] if ids else collection.id

    def id_as_made(self, version: Version) -> str:
        """The id to call a version's collection by, where something is said of it there: as its own record does."""
        made_here = {id_ for id_, _name in self._made_here(version.collection)}
        sql = "SELECT body FROM op WHERE project = ? AND version = ? AND slot IS NULL AND dismissed = 0"
        for (body,) in self._connections.rows(sql, (self._project, version.id)) if made_here else ():
            op = decode_op(bytes(body))
            if isinstance(op, Commit | Relog) and op.record.collection in made_here:
                return op.record.collection
        return version.collection

    def id_as_linked(self, link: Membership) -> str:
        """The id to call a portfolio by, where something is said of a link in it: by which it was linked."""
        made_here = {id_ for id_, _name in self._made_here(link.portfolio)}
        return link.made_in if link.made_in in made_here else link.portfolio

    def version(self, id: str) -> Version | None:
        """See View."""
        return self._first(Version, "id = ?", id)

    def version_numbered(self, collection: str, number: int) -> Version | None:
        """The version of a collection that has this number."""
        return self._first(Version, "collection = ? AND number = ?", collection, number)

    def versions_of(self, collection: str) -> list[Version]:
        """See View."""
        return self.all(Version, "collection = ? AND deleted = 0", collection)

    def is_accepted(self, version: str) -> bool:
        """Whether the upstream has accepted a version, or a part."""
        sql = "SELECT 1 FROM op WHERE project = ? AND version = ? AND slot IS NOT NULL"
        return self._connections.one(sql, (self._project, version)) is not None

    def is_received(self, version: str) -> bool:
        """Whether a version, or a part, came from the upstream or was evicted, so that its bytes may be missing."""
        sql = "SELECT 1 FROM received WHERE project = ? AND version = ?"
        return self._connections.one(sql, (self._project, version)) is not None

    def part(self, id: str) -> UnfinishedPart | None:
        """See View."""
        return self._first(UnfinishedPart, "id = ?", id)

    def is_link_accepted(self, link: Membership) -> bool:
        """Whether the upstream has accepted a link, so that its number is what all see."""
        if not self._said_of(link, "slot IS NULL"):
            # So it is of most, and what waits is little.
            return True
        accepted = self._said_of(link, "slot IS NOT NULL")
        return bool(accepted) and isinstance(accepted[-1], Link)

    def parts(self) -> list[UnfinishedPart]:
        """Every part that nobody has gathered, the first first."""
        return self.all(UnfinishedPart, "1 ORDER BY created_us, id")

    def parts_of(self, name: str, distributed_id: str) -> list[UnfinishedPart]:
        """The parts of one version that nobody has gathered."""
        return self.all(UnfinishedPart, "name = ? AND distributed_id = ? ORDER BY id", name, distributed_id)

    def aliases_of(self, collection: str, version: str) -> list[Alias]:
        """See View."""
        return self.all(Alias, "version = ? AND collection = ?", version, collection)

    def aliases_in(self, collection: str) -> list[Alias]:
        """See View; by name."""
        return self.all(Alias, "collection = ? ORDER BY name", collection)

    def membership(self, portfolio: str, version: str) -> Membership | None:
        """See View."""
        return self._first(Membership, "portfolio = ? AND version = ?", portfolio, version)

    def membership_numbered(self, portfolio: str, number: int) -> Membership | None:
        """What has this number in a portfolio."""
        return self._first(Membership, "portfolio = ? AND number = ?", portfolio, number)

    def memberships_of(self, portfolio: str) -> list[Membership]:
        """See View; the newest first."""
        return self.all(Membership, "portfolio = ? ORDER BY number DESC", portfolio)

    def latest_membership(self, portfolio: str) -> Membership | None:
        """What was linked last to a portfolio."""
        return self._first(Membership, "portfolio = ? ORDER BY logged DESC LIMIT 1", portfolio)

    def links_of(self, version: str) -> list[Membership]:
        """See View."""
        return self.all(Membership, "version = ?", version)

    def uses_of(self, version: str) -> list[Used]:
        """See View."""
        return self.all(Used, "version = ?", version)

    def tags_of(self, target: str) -> list[Tag]:
        """See View."""
        return self.all(Tag, "target = ?", target)

    def alias(self, collection: str, name: str) -> Alias | None:
        """See View."""
        return self._first(Alias, "collection = ? AND name = ?", collection, name)

    def run(self, id: str) -> Run | None:
        """See View."""
        return self._first(Run, "id = ?", id)

    def begun_here(self, run: Run) -> str:
        """The op with which a run began, or last went on, as this store knows it: its own rather than others'."""
        begun = [run.begun, *run.apart] if run.apart else []
        own = [each for each in begun if self._is_made_here(each)]
        return own[-1] if own else run.begun

    def _is_made_here(self, op: str) -> bool:
        """Whether an op is of a transaction of this store's, and did not come from another one that waits for a log."""
        sql = "SELECT 1 FROM line WHERE project = ? AND op = ?"
        taken = "SELECT 1 FROM line WHERE project = ? AND instr(note, ?) AND instr(note, ?)"
        is_here = self._connections.one(sql, (self._project, op)) is not None
        tag = f'"op":"{TakenIn.__struct_config__.tag}"'.encode()
        return is_here and self._connections.one(taken, (self._project, tag, op.encode())) is None

    def runs(self) -> list[Run]:
        """Every run, the newest first."""
        return self.all(Run, "1 ORDER BY started_us DESC, id")

    def used(self, run: str, project: str, version: str) -> Used | None:
        """See View."""
        return self._first(Used, "run = ? AND used_project = ? AND version = ?", run, project, version)

    def makers_of(self, version: str) -> list[Logged]:
        """The runs that made a version: who finished it, and who added a part."""
        return self.all(Logged, "version = ? AND relogged = 0 ORDER BY position, run", version)

    def logged(self, run: str, version: str) -> Logged | None:
        """See View."""
        return self._first(Logged, "run = ? AND version = ?", run, version)

    def logged_by(self, run: str) -> list[Logged]:
        """What a run logged, in that order."""
        return self.all(Logged, "run = ? ORDER BY position", run)

    def used_by(self, run: str) -> list[Used]:
        """What a run used, in that order."""
        return self.all(Used, "run = ? ORDER BY position", run)

    def is_used(self, version: str) -> bool:
        """Whether a run of any project of this store used a version."""
        return self._connections.one("SELECT 1 FROM used WHERE version = ?", (version,)) is not None

    def all(self, kind: type[R], where: str = "1", *parameters: object) -> list[R]:
        """The rows of a kind that fulfil an SQL condition."""
        return [_read(kind, row) for row in self._rows(kind, where, *parameters)]

    def every(self, kind: type[Row]) -> Iterator[Row]:
        """Every row of a kind that is known only at run time."""
        for row in self._rows(kind, "1"):
            yield _read(kind, row)

    def row(self, kind: type[Row], key: Sequence[str]) -> Row | None:
        """The row of a kind that has this key."""
        rows = self._rows(kind, _is_key(kind), *key)
        return _read(kind, rows[0]) if rows else None

    def waiting_links(self) -> list[Link]:
        """The links that no upstream has accepted, in their order; void ones too."""
        sql = "SELECT body FROM op WHERE project = ? AND slot IS NULL AND kind = 'link' AND dismissed = 0"
        rows = self._connections.rows(f"{sql} ORDER BY position", (self._project,))
        return [op for (body,) in rows if isinstance(op := decode_op(bytes(body)), Link)]

    def is_end_waiting(self, version: str) -> bool:
        """Whether what ends a version is of this store and waits, void or not."""
        sql = (
            "SELECT 1 FROM op WHERE project = ? AND slot IS NULL AND kind IN ('delete', 'delete-collection') "
            "AND dismissed = 0 AND instr(body, CAST(? AS BLOB))"
        )
        return self._connections.one(sql, (self._project, version)) is not None

    def clear(self) -> None:
        """Forget the whole state, inside a write transaction that folds it again."""
        for table in _TABLES.values():
            self._connections.execute(f"DELETE FROM {table} WHERE project = ?", (self._project,))

    def apply(self, changes: Iterable[Change]) -> None:
        """Take the fold's changes, inside a write transaction."""
        for change in changes:
            if isinstance(change, Put):
                self.put(change.row)
            else:
                self.drop(type(change.row), change.row.key)

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its key."""
        kind = type(row)
        fields = _fields(kind)
        columns = ", ".join(["project", *map(_column, fields)])
        marks = ", ".join("?" * (len(fields) + 1))
        values = (self._project, *(_written(field, getattr(row, field)) for field in fields))
        keys = _KEYS[kind]
        # Without the keys: SQLite writes a row whole, and all its metadata, where one is set, be it to itself.
        rest = [_column(field) for field in fields if field not in keys]
        news = ", ".join(f"{column} = excluded.{column}" for column in rest)
        # Not OR REPLACE: that would remove another row with the same number or name without a word.
        self._connections.execute(
            f"INSERT INTO {_TABLES[kind]} ({columns}) VALUES ({marks}) ON CONFLICT ({', '.join(('project', *keys))}) "
            f"DO {f'UPDATE SET {news}' if news else 'NOTHING'}",
            values,
        )

    def drop(self, kind: type[Row], key: Sequence[str]) -> None:
        """Remove the row of a kind that has this key."""
        sql = f"DELETE FROM {_TABLES[kind]} WHERE project = ? AND {_is_key(kind)}"
        self._connections.execute(sql, (self._project, *key))

    def _said_of(self, link: Membership, which: str) -> list[Link | Unlink]:
        """The ops that have linked a version to a portfolio or taken it out, in their order."""
        # No row of the log says which version they are about, but their bytes do.
        sql = (
            f"SELECT body FROM op WHERE project = ?1 AND {which} AND kind IN ('link', 'unlink') AND void IS NULL "
            "AND dismissed = 0 AND instr(body, CAST(?2 AS BLOB)) ORDER BY position"
        )
        ops = (decode_op(bytes(body)) for (body,) in self._connections.rows(sql, (self._project, link.version)))
        said = [op for op in ops if isinstance(op, Link | Unlink) and op.version == link.version]
        return [op for op in said if (of := self.collection(op.portfolio)) is not None and of.id == link.portfolio]

    def _made_here(self, collection: str) -> list[tuple[str, str]]:
        """The second ids of a collection whose creations wait, each with the name that was given, in their order."""
        synonyms = {row.id for row in self.all(Synonym, "collection = ?", collection)}
        if not synonyms:
            return []
        sql = "SELECT id, body FROM op WHERE project = ? AND slot IS NULL AND kind = 'create' AND dismissed = 0"
        rows = self._connections.rows(f"{sql} ORDER BY position", (self._project,))
        made = [(id_, op) for id_, body in rows if isinstance(op := decode_op(bytes(body)), Create)]
        return [(made_by(id_, op), op.name) for id_, op in made if made_by(id_, op) in synonyms]

    def _rows(self, kind: type[Row], where: str, *parameters: object) -> list[tuple[Any, ...]]:
        columns = ", ".join(_column(field) for field in _fields(kind))
        sql = f"SELECT {columns} FROM {_TABLES[kind]} WHERE project = ? AND {where}"
        return self._connections.rows(sql, (self._project, *parameters))

    def _first(self, kind: type[R], where: str, *parameters: object) -> R | None:
        rows = self.all(kind, where, *parameters)
        return rows[0] if rows else None


class ProjectView(FoldView):
    """The state of one project as it is shown: without what was forgotten on this machine."""

    def version_with_manifest(self, collection: str, manifest: Digest) -> Version | None:
        """The live version of a collection with this content."""
        return self._first(Version, f"manifest = ? AND collection = ? AND {_SHOWN}", manifest, collection)

    def forgotten_with_manifest(self, collection: str, manifest: Digest) -> Version | None:
        """The version of a collection with this content that was forgotten."""
        where = f"manifest = ? AND collection = ? AND deleted = 0 AND {_FORGOTTEN}"
        return self._first(Version, where, manifest, collection)

    def versions_of(self, collection: str) -> list[Version]:
        """See View; the newest first."""
        return self.all(Version, f"collection = ? AND {_SHOWN} ORDER BY number DESC", collection)

    def versions_before(self, collection: str, number: int | None, limit: int) -> list[Version]:
        """So many live versions of a collection that come before a number, or the last ones; the newest first."""
        where = f"collection = ? AND number < ? AND {_SHOWN} ORDER BY number DESC LIMIT ?"
        return self.all(Version, where, collection, 2**62 if number is None else number, limit)

    def count_versions(self, collection: str) -> int:
        """How many live versions a collection has."""
        sql = f"SELECT count(*) FROM version WHERE project = ? AND collection = ? AND {_SHOWN}"
        row = self._connections.one(sql, (self._project, collection))
        assert row is not None
        return int(row[0])

    def latest(self, collection: str) -> Version | None:
        """The live version that was logged last."""
        return self._first(Version, f"collection = ? AND {_SHOWN} ORDER BY logged DESC LIMIT 1", collection)

    def is_forgotten(self, version: str) -> bool:
        """Whether a version that the upstream has is not seen here, since it is not wanted, or awaited."""
        sql = "SELECT 1 FROM forgotten WHERE project = ? AND version = ?"
        return self._connections.one(sql, (self._project, version)) is not None

    def awaited(self) -> list[Version | UnfinishedPart]:
        """The versions and parts that cannot be used here since their lists of files were nowhere when they came."""
        among = "SELECT version FROM forgotten WHERE forgotten.project = {}.project AND awaited = 1"
        versions = self.all(Version, f"deleted = 0 AND id IN ({among.format('version')})")
        return [*versions, *self.all(UnfinishedPart, f"id IN ({among.format('part')})")]

    def is_awaited(self, version: str) -> bool:
        """Whether a version is one of these."""
        sql = "SELECT 1 FROM forgotten WHERE project = ? AND version = ? AND awaited = 1"
        return self._connections.one(sql, (self._project, version)) is not None

    def moved_from(self, collection: str, number: int) -> list[str]:
        """The ids of the versions that were shown here under this number, and have another one by now."""
        return [id_ for of, before, id_ in self.moved() if (of, before) == (collection, number)]

    def moved(self) -> list[tuple[str, int, str]]:
        """Every number that a version was shown under here and lost: collection, or portfolio, number, version.

        But for versions that were given up since, and links: then the number means one alone.
        """
        # Of a link no row of the log says which version it is about, but its bytes do.
        sql = (
            "SELECT collection, number, version FROM renumbered WHERE project = ?1 AND iif("
            "EXISTS (SELECT 1 FROM collection WHERE collection.project = ?1 AND id = renumbered.collection "
            "AND kind = 'portfolio'), "
            "EXISTS (SELECT 1 FROM op WHERE op.project = ?1 AND kind = 'link' AND dismissed = 0 "
            "AND instr(body, CAST(renumbered.version AS BLOB))), "
            "EXISTS (SELECT 1 FROM op WHERE op.project = ?1 AND op.version = renumbered.version AND dismissed = 0)) "
            "ORDER BY collection, number, version"
        )
        rows = self._connections.rows(sql, (self._project,))
        return [(collection, number, version) for collection, number, version in rows]


def _is_key(kind: type[Row]) -> str:
    return " AND ".join(f"{column} = ?" for column in _KEYS[kind])


def _fields(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return kind.__struct_fields__


def _column(field: str) -> str:
    # `group` is a keyword of SQL.
    return f'"{field}"' if field == "group" else field


def _written(field: str, value: Any) -> Any:
    if field == "manifest":
        return Digest.parse(value)
    return msgspec.json.encode(value).decode() if field in _AS_JSON else value


def _read(kind: type[S], row: tuple[Any, ...]) -> S:
    values = dict(zip(_fields(kind), row, strict=True))
    try:
        for field in _AS_JSON & values.keys():
            values[field] = msgspec.json.decode(values[field])
        if "apart" in values:
            values["apart"] = msgspec.convert(values["apart"], dict[str, RunFacts])
        for field in _BOOLEANS & values.keys():
            values[field] = bool(values[field])
        if "manifest" in values:
            values["manifest"] = str(Digest(values["manifest"]))
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        message = (
            f"the catalog has a {kind.__name__.lower()} that cannot be read ({error}). Run `artstore rebuild`: the log "
            "has all that it held"
        )
        raise Corrupt(message, code="catalog-damaged") from error
    return kind(**values)
