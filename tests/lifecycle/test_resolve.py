"""Resolve: one reference, one version, or an error that helps."""

from __future__ import annotations

import io

import pytest

from artstore.errors import ArtstoreError, Invalid, NotFound
from artstore.store import Store


def commit(store: Store, content: bytes, name: str = "cats", project: str = "uncategorized") -> str:
    """A version with one file; answers its id."""
    report = store.put([io.BytesIO(content)], name=name, type="dataset", project=project, prefix="a")
    assert report.version is not None
    return report.version.id


@pytest.fixture
def cats(store: Store) -> Store:
    """Three versions of `cats`, the second deleted, `best` on the first."""
    for content in (b"0", b"1", b"2"):
        commit(store, content)
    store.delete("cats:v1", force=True)
    store.alias("cats:v0", ["best", "grün"])
    return store


def failure(store: Store, ref: str) -> ArtstoreError:
    with pytest.raises(ArtstoreError) as caught:
        store.version(ref)
    return caught.value


@pytest.mark.parametrize(
    ("ref", "number"),
    [
        ("cats", 2),
        ("cats:latest", 2),
        ("cats:v2", 2),
        ("cats:v0", 0),
        ("cats:best", 0),
        ("cats:grün", 0),
        ("uncategorized/cats:best", 0),
        ("somebody/uncategorized/cats:best", 0),
    ],
)
def test_a_reference_means_one_version(cats: Store, ref: str, number: int) -> None:
    assert cats.version(ref).number == number


def test_latest_is_the_last_that_was_logged_and_lives(cats: Store) -> None:
    """After a deletion it is the one before; content that is logged again is the latest again."""
    cats.delete("cats:v2", force=True)
    after_delete = cats.version("cats").number
    commit(cats, b"3")
    commit(cats, b"0")

    assert (0, 0) == (after_delete, cats.version("cats").number)
    assert [["best", "grün", "latest"], []] == [cats.version(f"cats:v{number}").aliases for number in (0, 3)]


def test_a_version_is_found_by_its_id_and_by_its_content(cats: Store) -> None:
    version = cats.version("cats:v0")
    for digest in (version.id, version.digest):
        hexadecimal = digest.removeprefix("blake3:")
        for ref in (f"cats@{digest}", f"cats@{hexadecimal}", f"cats@{hexadecimal[:12]}"):
            assert version == cats.version(ref)


def test_a_prefix_of_several_is_no_version(store: Store) -> None:
    """N14. To pick one would be to guess."""
    ids: dict[str, list[int]] = {}
    for number in range(40):
        ids.setdefault(commit(store, b"%d" % number)[7:8], []).append(number)
    # Four digits are the shortest that a reference takes, so the ids are made alike.
    with store._root.catalog.write() as connection:
        connection.execute("UPDATE version SET id = 'blake3:abcd' || substr(id, 12)")
    error = failure(store, "cats@abcd")

    assert (Invalid, "ambiguous-digest", True) == (type(error), error.code, "v39, v38" in error.message)


def test_a_deleted_number_says_that_it_was_deleted(cats: Store) -> None:
    """I5. Not `there is none`: somebody's notes say that there was."""
    error = failure(cats, "cats:v1")

    assert (NotFound, "version-deleted") == (type(error), error.code)
    assert "its number is not used again" in error.message


def test_a_deleted_version_is_not_found_by_its_id_and_says_so(store: Store) -> None:
    id_ = commit(store, b"0")
    commit(store, b"1")
    store.delete("cats:v0", force=True)

    assert failure(store, f"cats@{id_}").code == "version-deleted"
    assert failure(store, f"cats@{id_[:-1]}").code == "version-not-found"


@pytest.mark.parametrize(
    ("ref", "code", "hint"),
    [
        ("cat", "collection-not-found", "did you mean 'cats'?"),
        ("zebra", "collection-not-found", "`artstore ls`"),
        ("uncategorised/cats", "project-not-found", "did you mean 'uncategorized'?"),
        ("cats:v7", "version-not-found", "it has: v2, v0"),
        ("cats:bets", "alias-not-found", "it has: best, grün, latest"),
        ("cats@0123456789", "version-not-found", "'0123456789'"),
    ],
)
def test_what_is_not_there_says_what_is(cats: Store, ref: str, code: str, hint: str) -> None:
    error = failure(cats, ref)

    assert (NotFound, code, True) == (type(error), error.code, hint in error.message), error.message
    assert len(error.message.splitlines()) == 1


def test_a_collection_without_versions_has_no_latest(store: Store) -> None:
    commit(store, b"0")
    store.delete("cats:v0", force=True)

    assert "each was deleted" in failure(store, "cats").message


def test_a_long_list_is_cut(store: Store) -> None:
    for number in range(15):
        commit(store, b"%d" % number)

    assert "v3, and 3 more" in failure(store, "cats:v99").message


def test_a_store_without_anything_says_so(store: Store) -> None:
    assert failure(store, "cats").code == "project-not-found"


def test_collections_of_two_projects_are_two(store: Store) -> None:
    commit(store, b"0")
    commit(store, b"1", project="other")

    assert ["uncategorized/cats:v0", "other/cats:v0"] == [store.version(ref).ref for ref in ("cats", "other/cats")]
    assert store.version("cats", project="other").ref == "other/cats:v0"
