"""Who meets damage learns which file of which version is hurt, not a digest alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artstore.errors import Corrupt
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store
from tests.lifecycle.conftest import flip

Put = Callable[..., VersionInfo]

SMALL = {"a/small": b"small" * 9999}
LARGE = {"a/large": bytes(range(256)) * 5_000}


def hurt(store: Store, how: str) -> None:
    """Damage the only file of bytes, or take it away."""
    (file,) = [path for name in ("packs", "blobs") for path in (store.path / name).rglob("*") if path.is_file()]
    if how == "damaged":
        flip(file)
    else:
        file.unlink()


@pytest.mark.parametrize("how", ["damaged", "gone"])
@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["packed", "whole"])
def test_whoever_reads_damage_learns_what_is_hurt(
    store: Store, put: Put, tmp_path: Path, files: dict[str, bytes], how: str
) -> None:
    """ "blob blake3:9f2c… is damaged" says nothing to somebody who asked for a model."""
    put(files)
    hurt(store, how)
    (path,) = files
    called = f"'{path}' of uncategorized/cats:v0: blob blake3:"
    with pytest.raises(Corrupt) as of_get:
        store.get("cats", tmp_path / "out")
    with pytest.raises(Corrupt) as of_read:
        b"".join(store.read("cats", path))

    assert of_get.value.message.startswith(called)
    assert of_read.value.message.startswith(called)
    assert "\n" not in of_get.value.message


def test_a_read_in_the_middle_of_a_file_says_it_too(store: Store, put: Put) -> None:
    """What was opened whole may be damaged further on."""
    put(LARGE)
    hurt(store, "damaged")
    with store.open_file("cats", "a/large") as file:
        file.seek(640_000)
        with pytest.raises(Corrupt, match="'a/large' of uncategorized/cats:v0"):
            file.read()


@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["packed", "whole"])
@pytest.mark.parametrize("reference", [None, "cats:v0"])
def test_verify_names_what_is_hurt(store: Store, put: Put, files: dict[str, bytes], reference: str | None) -> None:
    """It is run to learn what has to be got from elsewhere."""
    put(files)
    put({**files, "more": b"other"}, name="dogs", project="zoo")
    (path,) = files
    hurt_first = [each for name in ("packs", "blobs") for each in (store.path / name).rglob("*") if each.is_file()]
    flip(max(hurt_first, key=lambda each: each.stat().st_size))
    (problem,) = [each for each in store.verify(reference).problems if each.kind == "blob-damaged"]
    (still,) = [each for each in store.verify(reference).problems if each.kind == "blob-missing"]

    for found in (problem, still):
        assert f"'{path}' of uncategorized/cats:v0, '{path}' of zoo/dogs:v0: " in found.message


def test_verify_names_a_few_of_many(store: Store, put: Put) -> None:
    """A file that a hundred versions share is one line."""
    for number in range(6):
        put({**SMALL, "n": b"%d" % number})
    (pack, *_) = sorted((store.path / "packs").iterdir(), key=lambda each: -each.stat().st_size)
    flip(pack)
    (problem,) = [each for each in store.verify().problems if each.kind == "blob-damaged"]

    assert problem.message.startswith("'a/small' of uncategorized/cats:v5, ")
    assert ", and 3 more: " in problem.message


def test_verify_says_what_nobody_needs(store: Store, put: Put) -> None:
    """Damage to what was deleted is no reason to look for a copy."""
    put(SMALL)
    put({"other": b"other"})
    store.delete("cats:v0")
    (pack, *_) = sorted((store.path / "packs").iterdir(), key=lambda each: -each.stat().st_size)
    flip(pack)
    (problem,) = [each for each in store.verify().problems if each.kind == "blob-damaged"]

    assert problem.message.startswith("no live version needs it: ")


def test_verify_names_the_versions_of_a_manifest(store: Store, put: Put) -> None:
    """Which digest a manifest has is known to nobody."""
    put(SMALL)
    put(SMALL, name="dogs", project="zoo")
    with store._root.catalog.write():
        store._root.catalog.execute("UPDATE path SET path = 'b' WHERE path = 'a/small'")
    messages = [each.message for each in store.verify().problems if each.kind == "manifest-damaged"]

    assert [message.startswith("uncategorized/cats:v0, zoo/dogs:v0: ") for message in messages] == [True]
