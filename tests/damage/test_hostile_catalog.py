"""A catalog that somebody else has written into: it does what it is asked to, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from artstore import Store
from artstore.errors import ArtstoreError, Corrupt
from artstore.storage.database import Connections
from artstore.storage.driver import sqlite3
from tests.damage.disks import put, read

HOSTILE = {
    "deletes": "CREATE TRIGGER extra AFTER INSERT ON op BEGIN DELETE FROM alias; END",
    "loads": "CREATE TRIGGER extra AFTER INSERT ON op BEGIN SELECT load_extension('/tmp/evil'); END",
    "shows": "CREATE VIEW extra AS SELECT load_extension('/tmp/evil')",
}


def write_into(catalog: Path, sql: str) -> None:
    connection = sqlite3.connect(catalog)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("sql", HOSTILE.values(), ids=HOSTILE)
def test_a_catalog_that_does_more_than_it_is_asked_is_refused(store: Store, sql: str) -> None:
    """D5, A22. Who opens a store that lay on somebody's disk runs nothing of theirs, and loses no alias to it."""
    first = put(store, b"1")
    store.alias(first, ["best"])
    store.close()
    write_into(store.path / "catalog.db", sql)
    with pytest.raises(Corrupt) as caught:
        Store.open(store.path)
    assert (caught.value.code, "'extra'" in caught.value.message) == ("catalog-damaged", True)
    assert "artstore rebuild" in caught.value.message
    Store.rebuild(store.path)

    with Store.open(store.path) as again:
        assert ["best", "latest"] == again.version(first).aliases
        assert (b"1", True) == (read(again, first), again.verify().ok)


def test_what_is_written_into_it_while_it_is_open_is_named(store: Store) -> None:
    """D5. `verify` looks again."""
    put(store, b"1")
    write_into(store.path / "catalog.db", HOSTILE["deletes"])

    assert "catalog-damaged" in {problem.kind for problem in store.verify().problems}


@pytest.mark.parametrize("read_only", [True, False])
def test_no_function_runs_out_of_a_schema(tmp_path: Path, *, read_only: bool) -> None:
    """D5. Every connection believes what its own statements say, and not what the file does."""
    path = tmp_path / "numbers.db"
    write_into(path, HOSTILE["shows"])
    connections = Connections(path, read_only=read_only, wal=False)
    settings = [connections.one(f"PRAGMA {name}") for name in ("trusted_schema", "cell_size_check", "mmap_size")]
    with pytest.raises((ArtstoreError, sqlite3.Error), match="unsafe use of load_extension"):
        connections.one("SELECT * FROM extra")
    connections.close()

    assert [0, 1, 0] == [setting[0] for setting in settings if setting is not None]
