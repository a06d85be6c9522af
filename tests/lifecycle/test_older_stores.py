"""Stores of older artstores: each is opened as if it were of today, and so is one whose catalog is of another shape."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zipfile
from pathlib import Path

import pytest

from artstore.storage import schema
from artstore.store import Store

RECORDED = Path(__file__).parent


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A store with the first schema: three versions of `p/cats`, of which the oldest two were edited later."""
    zipfile.ZipFile(RECORDED / "recorded_store_1.zip").extractall(tmp_path / "store")  # our own
    return tmp_path / "store"


def facts(path: Path) -> list[object]:
    with Store.open(path) as store:
        assert store.verify().problems == []
        return [*store.versions("p/cats"), *store.runs(project="p"), b"".join(store.read("p/cats:best", "f"))]


def test_an_older_store_is_brought_up_to_date(older: Path) -> None:
    with Store.open(older) as store:
        versions = store.versions("p/cats")
        tagged = [store.version("p/cats:best").number, *(each.number for each in versions if each.tags)]
    opened = facts(older)
    Store.rebuild(older)

    assert [1, 0] == tagged
    assert [False, True, True] == [each.updated_at > each.created_at for each in versions]
    assert facts(older) == opened, "what a migration makes is what the log says"


def test_an_older_store_that_cannot_be_written_is_read(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (older / "catalog.db").read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)
    read = facts(older)
    monkeypatch.undo()

    assert before == (older / "catalog.db").read_bytes()
    assert read == facts(older)


@pytest.mark.parametrize("is_older", [True, False])
def test_a_rebuild_asks_nothing_of_the_catalog_that_it_replaces(older: Path, is_older: bool) -> None:
    """It is the way out of whatever became of the catalog, and was told that the catalog is damaged."""
    expected = None if is_older else facts(older)
    with sqlite3.connect(older / "catalog.db") as connection:
        connection.execute("DROP INDEX version_logged")
        connection.execute("ALTER TABLE version DROP COLUMN logged")
        connection.execute("CREATE TABLE stranger (x)")
    connection.close()
    report = Store.rebuild(older)

    assert (3, []) == (report.versions, report.lost)
    assert facts(older) == (expected or facts(older))


def test_a_migration_is_never_edited() -> None:
    """A catalog that has been through it would be taken for one that has the new shape."""
    made = [schema.TABLES, schema.WITH_UPSTREAM, schema.WITH_AWAITED, schema.WITH_UNDO]

    assert len(made) == schema.VERSION
    assert [hashlib.sha256(statements.encode()).hexdigest()[:16] for statements in made] == [
        "9ea5910322b78d5a",
        "f6d1a14847a7b6f1",
        "7a9e827ded674e62",
        "c48820a721ac808d",
    ]
