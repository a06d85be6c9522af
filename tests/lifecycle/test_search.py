"""Whoever does not know what kind of thing to look for finds it all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store

Put = Callable[..., VersionInfo]


@pytest.fixture
def full(store: Store, put: Put) -> Store:
    """A store with names, labels, runs and files."""
    put({"images/Tom.png": b"tom", "labels.csv": b"1"})
    store.alias("cats:v0", ["best"])
    store.set_metadata("cats:v0", {"Accuracy": 0.5, "model": {"layers": [{"width": 3}]}})
    put({"images/Tom.png": b"tom", "labels.csv": b"2"})
    put({"images/rex.png": b"rex"}, name="dogs", project="zoo")
    store.tag("zoo/dogs:v0", ["reviewed"])
    store.tag_collection("zoo/dogs", ["animals"])
    store.describe("zoo/dogs", "All that bark.")
    store.describe("zoo/dogs:v0", "From the garden.")
    store.start_run(
        project="zoo", id="r1", name="train-otter", job_type="train", group="Night", notes="hot", tags=["x1"]
    )
    return store


def found(store: Store, text: str, **only: Any) -> dict[str, list[str]]:
    report = store.search(text, **only)
    return {
        kind: names
        for kind, names in {
            "collections": [f"{each.project}/{each.name}" for each in report.collections],
            "versions": [each.ref for each in report.versions],
            "runs": [each.id for each in report.runs],
            "files": [f"{each.version.ref}/{each.path}" for each in report.files],
        }.items()
        if names
    }


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CAT", {"collections": ["uncategorized/cats"]}),
        ("dataset", {"collections": ["uncategorized/cats", "zoo/dogs"]}),
        ("bark", {"collections": ["zoo/dogs"]}),
        ("animals", {"collections": ["zoo/dogs"]}),
        ("best", {"versions": ["uncategorized/cats:v0"]}),
        ("review", {"versions": ["zoo/dogs:v0"]}),
        ("garden", {"versions": ["zoo/dogs:v0"]}),
        ("accuracy", {"versions": ["uncategorized/cats:v0"]}),
        ("width", {"versions": ["uncategorized/cats:v0"]}),
        ("Accuracy=0.5", {"versions": ["uncategorized/cats:v0"]}),
        ("0.5", {}),
        ("otter", {"runs": ["r1"]}),
        ("night", {"runs": ["r1"]}),
        ("x1", {"runs": ["r1"]}),
        ("tom", {"files": ["uncategorized/cats:v1/images/Tom.png"]}),
        ("*.png", {"files": ["uncategorized/cats:v1/images/Tom.png", "zoo/dogs:v0/images/rex.png"]}),
        (" labels.csv ", {"files": ["uncategorized/cats:v1/labels.csv"]}),
        ("%", {}),
        ("_", {}),
    ],
)
def test_it_is_found_by_what_it_is_called(full: Store, text: str, wanted: dict[str, list[str]]) -> None:
    assert wanted == found(full, text)


def test_a_digest_finds_versions_and_every_place_of_its_content(full: Store) -> None:
    (entry, _) = full.entries("cats:v0")
    version = full.version("zoo/dogs:v0")
    assert entry.digest is not None

    places = [f"uncategorized/cats:v{number}/images/Tom.png" for number in (1, 0)]
    assert {"files": places} == found(full, entry.digest)
    assert {"files": places} == found(full, entry.digest[7:19])
    assert {"versions": ["zoo/dogs:v0"]} == found(full, version.id) == found(full, version.digest)


def test_a_path_that_only_an_older_version_has_is_found_there(full: Store, put: Put) -> None:
    put({"other": b"x"})

    assert {"files": ["uncategorized/cats:v1/images/Tom.png"]} == found(full, "Tom.png")


def test_one_project_is_searched_alone(full: Store) -> None:
    assert {"files": ["zoo/dogs:v0/images/rex.png"]} == found(full, "*.png", project="zoo")
    assert {"collections": ["uncategorized/cats"]} == found(full, "dataset", project="uncategorized")
    with pytest.raises(NotFound, match="no project"):
        full.search("x", project="nope")


def test_what_is_deleted_is_not_found(full: Store) -> None:
    full.delete("cats:v0", force=True)

    assert {} == found(full, "accuracy")


def test_of_each_kind_only_so_many_are_answered(store: Store, put: Put) -> None:
    for number in range(5):
        put({f"name-{n}": b"%d" % n for n in range(4)}, name=f"name-{number}")

    report = store.search("name", limit=3)

    assert (3, 3) == (len(report.collections), len(report.files))


@pytest.mark.parametrize(("text", "limit"), [("", 5), ("  ", 5), ("x", 0), ("blake3:xyz", 5), ("\ud800", 5)])
def test_a_question_that_means_nothing_is_refused(store: Store, text: str, limit: int) -> None:
    with pytest.raises(Invalid):
        store.search(text, limit=limit)
