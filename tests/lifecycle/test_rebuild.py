"""Rebuild: what of the log is whole is in the catalog, and the rest is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store
from tests.lifecycle.conftest import flip

Put = Callable[..., VersionInfo]


@pytest.mark.parametrize("way", ["flip", "gone"])
@pytest.mark.parametrize("has_catalog", [False, True])
def test_one_damaged_file_of_the_log_does_not_stop_everything(
    has_catalog: bool, way: str, store: Store, put: Put
) -> None:
    for number in range(4):
        put({"a": b"%d" % number})
    put({"z": b"z"}, project="zoo")
    store.close()
    file = store.path / "ops" / "uncategorized" / "000000000003"
    if way == "flip":
        flip(file)
    else:
        file.unlink()
    if not has_catalog:
        for left in store.path.glob("catalog.db*"):
            left.unlink()
    report = Store.rebuild(store.path)

    assert report.lost == ["ops/uncategorized/3-4"]
    # The catalog knew what the log has lost.
    assert any("catalog.db" in path.name for path in (store.path / "quarantine").iterdir()) == has_catalog
    with Store.open(store.path) as again:
        assert b"".join(again.read("zoo/cats", "z")) == b"z"
    # Whoever gives up what is damaged has the rest.
    for lost in (file, file.with_name("000000000004")):
        lost.unlink(missing_ok=True)
    with Store.open(store.path) as again:
        assert [version.number for version in again.versions("cats")] == [1, 0]


def test_what_was_hashed_before_is_hashed_again(store: Store, put: Put) -> None:
    put({"a": b"a"})
    store.close()
    (store.path / "stat_cache" / "cache").write_bytes(b"")
    Store.rebuild(store.path)

    assert list((store.path / "stat_cache").iterdir()) == []


def test_when_a_version_was_updated_is_in_the_log(store: Store, put: Put) -> None:
    """What a rebuild dates otherwise is an edit that nobody made."""
    put({"a": b"1"})
    put({"a": b"2"})
    put({"a": b"3"})
    store.tag("cats:v0", ["reviewed"])
    store.alias("cats:v1", ["best"])
    before = store.versions("cats")
    store.close()
    Store.rebuild(store.path)

    assert [False, True, True] == [version.updated_at > version.created_at for version in before]
    with Store.open(store.path) as again:
        assert before == again.versions("cats")
