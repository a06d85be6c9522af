"""Schema: the tables of the catalog, and how an older one becomes this one.

Each migration runs in one transaction with the number that says it ran, so a killed one has not begun. `user_version`
is the number of the last migration; `min_reader`, in the table `meta`, is the oldest schema whose artstore may read.
What the log folds to is folded again after a migration, which so may make those tables anew and leave them empty. The
catalog holds nothing that `artstore rebuild` cannot get back from the log and the blobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from artstore.errors import Corrupt, UpgradeNeeded

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID: Final = 0x41525453
"""`ARTS`: how file(1) and SQLite tell this file from other databases."""

# Never edited, as no migration is: a catalog says only which ones it has been through.
TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- What the log says.
CREATE TABLE project (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, log TEXT NOT NULL, seq INTEGER NOT NULL,
    head TEXT, upstream TEXT, slot INTEGER NOT NULL, slot_head TEXT);
CREATE TABLE log_entry (project INTEGER NOT NULL, seq INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (project, seq)) WITHOUT ROWID;
-- What each transaction holds: the id of an op, or a note.
CREATE TABLE line (project INTEGER NOT NULL, seq INTEGER NOT NULL, place INTEGER NOT NULL, op TEXT, note BLOB,
    PRIMARY KEY (project, seq, place)) WITHOUT ROWID;
-- The ops that count, in their order: what the upstream accepted, in its slots, then what waits.
CREATE TABLE op (project INTEGER NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, void TEXT, slot INTEGER, dismissed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (project, position));
CREATE UNIQUE INDEX op_id ON op (project, id);
CREATE INDEX op_slot ON op (project, slot, position);
-- Numbers that a version has shown here, and that the upstream's order took from it.
CREATE TABLE renumbered (project INTEGER NOT NULL, collection TEXT NOT NULL, number INTEGER NOT NULL,
    version TEXT NOT NULL, PRIMARY KEY (project, collection, number, version)) WITHOUT ROWID;
CREATE TABLE forgotten (project INTEGER NOT NULL, version TEXT NOT NULL, PRIMARY KEY (project, version)) WITHOUT ROWID;

-- What the log folds to.
CREATE TABLE collection (project INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    type TEXT NOT NULL,
    description TEXT, next_number INTEGER NOT NULL, created_us INTEGER NOT NULL, deleted INTEGER NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX collection_name ON collection (project, name) WHERE deleted = 0;
CREATE TABLE synonym (project INTEGER NOT NULL, id TEXT NOT NULL, collection TEXT NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE TABLE version (project INTEGER NOT NULL, id TEXT NOT NULL, collection TEXT NOT NULL, number INTEGER NOT NULL,
    manifest BLOB NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, created_us INTEGER NOT NULL, run TEXT,
    description TEXT, metadata TEXT NOT NULL, ttl_s REAL, logged INTEGER NOT NULL, deleted INTEGER NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX version_number ON version (project, collection, number);
CREATE INDEX version_logged ON version (project, collection, deleted, logged);
CREATE INDEX version_manifest ON version (manifest);
CREATE TABLE part (project INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
    distributed_id TEXT NOT NULL, run TEXT, manifest BLOB NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
    aliases TEXT NOT NULL, description TEXT, metadata TEXT NOT NULL, created_us INTEGER NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE TABLE alias (project INTEGER NOT NULL, collection TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
    PRIMARY KEY (project, collection, name)) WITHOUT ROWID;
CREATE INDEX alias_version ON alias (project, version);
CREATE TABLE membership (project INTEGER NOT NULL, portfolio TEXT NOT NULL, version TEXT NOT NULL,
    source_project TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, number INTEGER NOT NULL,
    linked_us INTEGER NOT NULL, logged INTEGER NOT NULL, PRIMARY KEY (project, portfolio, version)) WITHOUT ROWID;
CREATE UNIQUE INDEX membership_number ON membership (project, portfolio, number);
CREATE INDEX membership_version ON membership (version);
CREATE TABLE tag (project INTEGER NOT NULL, target TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (project, target, name)) WITHOUT ROWID;
CREATE TABLE run (project INTEGER NOT NULL, id TEXT NOT NULL, name TEXT, job_type TEXT, "group" TEXT,
    notes TEXT, tags TEXT NOT NULL, config TEXT NOT NULL, state TEXT NOT NULL, begun TEXT NOT NULL,
    started_us INTEGER NOT NULL, ended_us INTEGER, PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE INDEX run_state ON run (state);
CREATE TABLE used (project INTEGER NOT NULL, run TEXT NOT NULL, used_project TEXT NOT NULL, version TEXT NOT NULL,
    name TEXT NOT NULL, digest TEXT NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (project, run, used_project, version)) WITHOUT ROWID;
CREATE INDEX used_version ON used (version);
CREATE TABLE logged (project INTEGER NOT NULL, run TEXT NOT NULL, version TEXT NOT NULL, relogged INTEGER NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (project, run, version)) WITHOUT ROWID;
CREATE INDEX logged_version ON logged (version);

-- Which entries a manifest has: those of its base, less the rows without blob and reference, with the others. A row
-- with both points to a file of another version.
CREATE TABLE manifest (id INTEGER PRIMARY KEY, digest BLOB, base INTEGER, depth INTEGER NOT NULL DEFAULT 0,
    weight INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0, condemned INTEGER);
CREATE INDEX manifest_digest ON manifest (digest);
CREATE INDEX manifest_base ON manifest (base);
CREATE TABLE path (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE reference (id INTEGER PRIMARY KEY, uri TEXT NOT NULL, checksum TEXT NOT NULL, size INTEGER,
    extra TEXT NOT NULL);
CREATE INDEX reference_uri ON reference (uri, checksum);
CREATE TABLE entry (manifest INTEGER NOT NULL, path INTEGER NOT NULL, blob INTEGER, reference INTEGER,
    PRIMARY KEY (manifest, path)) WITHOUT ROWID;

-- Where bytes are: pack 0 is a file of the blob's own.
CREATE TABLE blob (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, sums BLOB,
    condemned INTEGER);
-- `members` stays NULL until all of a pack's rows are there.
CREATE TABLE pack (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, members INTEGER);
CREATE TABLE stored (blob INTEGER NOT NULL, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (blob, pack)) WITHOUT ROWID;
CREATE INDEX stored_pack ON stored (pack);
"""

WITH_UPSTREAM: Final = """
-- When a version was last edited.
DROP TABLE version;
CREATE TABLE version (project INTEGER NOT NULL, id TEXT NOT NULL, collection TEXT NOT NULL, number INTEGER NOT NULL,
    manifest BLOB NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL, run TEXT, description TEXT, metadata TEXT NOT NULL, ttl_s REAL,
    logged INTEGER NOT NULL, deleted INTEGER NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX version_number ON version (project, collection, number);
CREATE INDEX version_logged ON version (project, collection, deleted, logged);
CREATE INDEX version_manifest ON version (manifest);

-- The version, or the part, that an op brings, and those with bytes that have no place in the upstream's order.
ALTER TABLE op RENAME TO op_before;
CREATE TABLE op (project INTEGER NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, void TEXT, slot INTEGER, dismissed INTEGER NOT NULL DEFAULT 0, version TEXT, manifest BLOB,
    PRIMARY KEY (project, position));
INSERT INTO op (project, position, id, kind, body, void, slot, dismissed)
    SELECT project, position, id, kind, body, void, slot, dismissed FROM op_before;
DROP TABLE op_before;
CREATE UNIQUE INDEX op_id ON op (project, id);
CREATE INDEX op_slot ON op (project, slot, position);
CREATE INDEX op_version ON op (project, version);
CREATE INDEX op_refused ON op (manifest) WHERE void IS NOT NULL AND slot IS NULL AND dismissed = 0;

ALTER TABLE part ADD COLUMN store TEXT;

-- Versions and parts that came from the upstream: their bytes may never have been here.
CREATE TABLE IF NOT EXISTS received (project INTEGER NOT NULL, version TEXT NOT NULL,
    PRIMARY KEY (project, version)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS received_version ON received (version);
"""

WITH_AWAITED: Final = """
-- Which versions that are not seen here are awaited, since their lists of files were nowhere when they came.
ALTER TABLE forgotten ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0;

-- Under which id of its portfolio a link was made.
DROP TABLE membership;
CREATE TABLE membership (project INTEGER NOT NULL, portfolio TEXT NOT NULL, version TEXT NOT NULL,
    source_project TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, number INTEGER NOT NULL,
    linked_us INTEGER NOT NULL, logged INTEGER NOT NULL, made_in TEXT NOT NULL,
    PRIMARY KEY (project, portfolio, version)) WITHOUT ROWID;
CREATE UNIQUE INDEX membership_number ON membership (project, portfolio, number);
CREATE INDEX membership_version ON membership (version);
"""

WITH_UNDO: Final = """
-- What takes a waiting op out of the tables again. NULL: it is void, or was folded where nothing was to come before it.
ALTER TABLE op ADD COLUMN undo BLOB;

-- What is said of a run by those who began it apart.
ALTER TABLE run ADD COLUMN apart TEXT NOT NULL DEFAULT '{}';
CREATE INDEX run_apart ON run (project) WHERE apart <> '{}';

-- The ops that gave names to collections.
CREATE INDEX op_naming ON op (project, position) WHERE kind IN ('create', 'rename');
"""


def _first(db: Database) -> None:
    _run(db, TABLES)
    db.conn.execute("INSERT INTO meta (key, value) VALUES ('min_reader', 1)")


def _second(db: Database) -> None:
    _run(db, WITH_UPSTREAM)
    db.conn.execute("UPDATE meta SET value = 2 WHERE key = 'min_reader'")


def _third(db: Database) -> None:
    _run(db, WITH_AWAITED)
    db.conn.execute("UPDATE meta SET value = 3 WHERE key = 'min_reader'")


def _fourth(db: Database) -> None:
    # Whoever does not keep this leaves it as it was for others.
    _run(db, WITH_UNDO)
    db.conn.execute("UPDATE meta SET value = 4 WHERE key = 'min_reader'")


def _run(db: Database, statements: str) -> None:
    for statement in statements.split(";"):
        if statement.strip():
            db.conn.execute(statement)


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (_first, _second, _third, _fourth)
VERSION: Final = len(MIGRATIONS)


def version_of(connection: Any) -> int:
    """The schema that a database file has; 0 for an empty one. Raises Corrupt on somebody else's database."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if application != APPLICATION_ID and (version or application):
        message = "the catalog is a database of another program. Move it away, then run `artstore rebuild`"
        raise Corrupt(message, code="catalog-damaged")
    if version <= VERSION:
        _check_own(connection)
    return version


def _check_own(connection: Any) -> None:
    """Raise Corrupt where the file would do more than was asked of it. See sqlite.org/security.html."""
    sql = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') LIMIT 1"
    stranger = connection.execute(sql).fetchone()
    if stranger is not None:
        kind, name = stranger
        message = (
            f"the catalog has a {kind} {name!r}, which artstore never makes: somebody else has written into it. Run "
            "`artstore rebuild`: the log has all that it held"
        )
        raise Corrupt(message, code="catalog-damaged")


def check_readable(connection: Any, version: int) -> None:
    """Raise UpgradeNeeded where a newer artstore says that this one would misread what it wrote."""
    if version <= VERSION:
        return
    needed = int(connection.execute("SELECT value FROM meta WHERE key = 'min_reader'").fetchone()[0])
    if needed > VERSION:
        message = f"the catalog has the schema {version}, this artstore reads up to {VERSION}: install a newer one"
        raise UpgradeNeeded(message, code="newer-catalog")


def check_writable(version: int) -> None:
    """Raise UpgradeNeeded where the catalog is newer: what this artstore wrote could be wrong there."""
    if version > VERSION:
        message = f"the catalog has the schema {version}, this artstore writes {VERSION}: install a newer one"
        raise UpgradeNeeded(message, code="newer-catalog")


def migrate(db: Database) -> bool:
    """Bring the catalog up to date, inside the write transaction that the caller has begun.

    Answers whether it was an older one, whose log has to be folded again.
    """
    version = version_of(db.conn)
    check_writable(version)
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        step(db)
        db.conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.conn.execute(f"PRAGMA user_version={number}")
    return 0 < version < VERSION
