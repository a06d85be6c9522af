"""Schema: old catalogs become new ones whole, newer and foreign ones are left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from artstore.errors import Corrupt, UpgradeNeeded
from artstore.storage import schema
from artstore.storage.catalog import FILE_NAME, Catalog
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from tests.conftest import Children


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(tmp_path, read_only=False)
    opened.create()
    yield opened
    opened.close()


def test_a_new_catalog_says_what_it_is(catalog: Catalog) -> None:
    """file(1), SQLite and an older artstore can tell before they read a table."""
    said = [catalog.one(f"PRAGMA {name}") for name in ("application_id", "user_version")]

    assert said == [(0x41525453,), (schema.VERSION,)]
    assert catalog.one("SELECT value FROM meta WHERE key = 'min_reader'") == (4,)


def test_a_catalog_that_is_up_to_date_is_not_touched(catalog: Catalog) -> None:
    before = catalog.one("PRAGMA data_version"), catalog.one("PRAGMA schema_version")
    catalog.create()

    assert before == (catalog.one("PRAGMA data_version"), catalog.one("PRAGMA schema_version"))


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_newer_catalog_is_not_written(root: Root) -> None:
    """D2, D9. What this artstore wrote there could be wrong, and nobody would see it."""
    change(root.path / FILE_NAME, f"PRAGMA user_version = {schema.VERSION + 1}")

    with pytest.raises(UpgradeNeeded) as caught:
        Root(root.path).check_catalog()
    assert caught.value.code == "newer-catalog"
    with pytest.raises(UpgradeNeeded), root.catalog.write():
        schema.migrate(root.catalog.database())


def test_a_catalog_that_says_so_is_not_even_read(root: Root) -> None:
    """D2. Columns may mean something else by then."""
    newer = schema.VERSION + 1
    change(
        root.path / FILE_NAME,
        f"PRAGMA user_version = {newer}",
        f"UPDATE meta SET value = {newer} WHERE key = 'min_reader'",
    )

    with pytest.raises(UpgradeNeeded) as caught:
        schema.check_readable(root.catalog.connection, newer)
    assert caught.value.code == "newer-catalog"


def test_a_newer_catalog_may_be_read_where_it_allows_it(root: Root) -> None:
    change(root.path / FILE_NAME, f"PRAGMA user_version = {schema.VERSION + 1}")

    schema.check_readable(root.catalog.connection, schema.VERSION + 1)


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_program_s_database_is_left_alone(tmp_path: Path, version: int) -> None:
    """A browser's `catalog.db` must not get twenty tables and another name."""
    change(
        tmp_path / FILE_NAME, "PRAGMA application_id = 123", f"PRAGMA user_version = {version}", "CREATE TABLE t (x)"
    )
    before = (tmp_path / FILE_NAME).read_bytes()
    foreign = Catalog(tmp_path, read_only=False)
    foreign.wal = False  # Another journal mode would be noted in the file.

    with pytest.raises(Corrupt) as caught:
        foreign.create()
    foreign.close()
    assert (caught.value.code, before) == ("catalog-damaged", (tmp_path / FILE_NAME).read_bytes())


def add_table(db: Database) -> None:
    db.conn.execute("CREATE TABLE addition (x)")


def fail(db: Database) -> None:
    db.conn.execute("CREATE TABLE half (x)")
    raise ZeroDivisionError


def tables(catalog: Catalog) -> set[str]:
    return {name for (name,) in catalog.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}


def migrations(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[Database], None]) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *steps))
    monkeypatch.setattr(schema, "VERSION", len(schema.MIGRATIONS))


def test_an_older_catalog_is_brought_up_to_date(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables(catalog)
    migrations(monkeypatch, add_table)
    catalog.create()

    assert before | {"addition"} == tables(catalog)
    assert catalog.one("PRAGMA user_version") == (schema.VERSION,)


def test_a_migration_that_fails_has_not_begun(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """D1. Half of a migration is a catalog that no artstore knows."""
    before, version = tables(catalog), catalog.one("PRAGMA user_version")
    migrations(monkeypatch, add_table, fail)
    with pytest.raises(ZeroDivisionError):
        catalog.create()

    assert before == tables(catalog)
    assert version == catalog.one("PRAGMA user_version")


def test_a_migration_that_is_killed_has_not_begun(
    catalog: Catalog, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1. As above, without the chance to clean up."""
    code = """
import os, signal, sys
from pathlib import Path
from artstore.storage import schema
from artstore.storage.catalog import Catalog

def die(db):
    db.conn.execute("CREATE TABLE half (x)")
    db.conn.execute("DROP TABLE tag")
    db.conn.execute(f"PRAGMA user_version={schema.VERSION}")
    os.kill(os.getpid(), signal.SIGKILL)

schema.MIGRATIONS = (*schema.MIGRATIONS, die)
schema.VERSION += 1
Catalog(Path(sys.argv[1]), read_only=False).create()
"""
    before = tables(catalog), catalog.one("PRAGMA user_version")
    catalog.close()
    child = children.start(code, catalog.path.parent)
    assert child.wait() == -9

    assert before == (tables(catalog), catalog.one("PRAGMA user_version"))
    migrations(monkeypatch, add_table)
    catalog.create()
    assert before[0] | {"addition"} == tables(catalog)


def test_a_first_creation_that_is_killed_is_made_again(tmp_path: Path, children: Children) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from artstore.storage import schema
from artstore.storage.catalog import Catalog

def die(db):
    schema.MIGRATIONS[0](db)
    os.kill(os.getpid(), signal.SIGKILL)

first = schema.MIGRATIONS
schema.MIGRATIONS = (lambda db: (first[0](db), os.kill(os.getpid(), signal.SIGKILL)),)
Catalog(Path(sys.argv[1]), read_only=False).create()
"""
    assert children.start(code, tmp_path).wait() == -9
    catalog = Catalog(tmp_path, read_only=False)
    left = tables(catalog)
    catalog.create()
    made = tables(catalog)
    catalog.close()

    assert (set(), True) == (left, {"meta", "version", "blob"} <= made)


def test_nothing_of_the_log_is_in_a_column_that_the_fold_does_not_fill(catalog: Catalog) -> None:
    """The catalog can be lost: a table that `rebuild` cannot fill must not be added by accident."""
    assert tables(catalog) == {
        *("meta", "project", "log_entry", "line", "op", "renumbered", "forgotten", "received"),
        *("collection", "synonym", "version", "alias", "tag", "membership", "part", "run", "used", "logged"),
        *("manifest", "path", "reference", "entry"),
        *("blob", "pack", "stored"),
    }


def test_what_is_asked_of_one_pack_does_not_walk_through_all(root: Root) -> None:
    """`gc` forgets packs by the hundred, each under the write lock: a walk through every blob each is minutes."""
    asked: list[str] = []
    connection = root.catalog.connection
    connection.set_trace_callback(asked.append)
    marking = Marking(root.catalog)
    marking.pack_members(1)
    marking.forget_pack(1)
    marking.whole_digests()
    connection.set_trace_callback(None)
    plans = [row[3] for sql in asked if "stored" in sql for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]

    assert len(plans) > 2
    assert not [plan for plan in plans if plan.startswith("SCAN")]


def test_what_waits_is_not_walked_through_for_each_that_there_is(root: Root) -> None:
    """1,000 deletions and 250 gathered versions that waited, among 5,000 versions: `gc` was at work for minutes."""
    asked: list[str] = []
    connection = root.catalog.connection
    connection.set_trace_callback(asked.append)
    marking = Marking(root.catalog)
    marking.live_manifests()
    marking.condemn(1)
    connection.set_trace_callback(None)
    plans = [row[3] for sql in asked if "json_each" in sql for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    joined = {
        name: [plan for plan in plans if plan.startswith(f"SEARCH {name} ")] for name in ("version", "part", "made")
    }

    assert all(joined.values())
    assert not [plan for some in joined.values() for plan in some if "(project=?)" in plan or "slot" in plan]
