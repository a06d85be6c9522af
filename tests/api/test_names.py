"""Names, types and metadata: what an artifact may be called and what may be said about it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb
from artstore.api.metadata import metadata_of
from tests.conftest import Children


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 128])
def test_a_name_of_the_allowed_characters_is_taken(name: str) -> None:
    assert name == wandb.Artifact(name, type="dataset").name


@pytest.mark.parametrize("name", ["a b", "a/b", "a:b", "ñ", "", "a\n", "x" * 129, "-a", "..", 7, None])
def test_any_other_name_is_a_value_error_that_repeats_it(name: Any) -> None:
    """Found when the artifact is made, not an hour later when it is logged."""
    with pytest.raises(ValueError, match="name"):
        wandb.Artifact(name, type="dataset")


@pytest.mark.parametrize("type_", ["dataset", "a b", "model/x", "x" * 128])
def test_a_type_may_be_almost_any_text(type_: str) -> None:
    assert type_ == wandb.Artifact("cats", type_).type


@pytest.mark.parametrize(
    ("name", "type_"), [("a", "job"), ("a", "wandb-history"), ("run-x", "run_table"), ("source-x", "code")]
)
def test_the_types_of_what_is_made_automatically_are_reserved(name: str, type_: str) -> None:
    with pytest.raises(ValueError, match=type_):
        wandb.Artifact(name, type_)


@pytest.mark.parametrize(
    "unheeded", [{"digest_algorithm": "MD5"}, {"digest_algorithm": "XXH128"}, {"storage_region": "eu-west-1"}]
)
def test_a_script_that_wants_other_digests_or_a_region_goes_on_and_is_told_once(
    children: Children, unheeded: dict[str, str]
) -> None:
    """Whoever compares MD5 sums, or has promised where data lie, must not believe that it was done."""
    child = children.start(
        "import artstore as wandb\n"
        f"made = [wandb.Artifact('cats', 'dataset', **{unheeded}) for _ in range(3)]\n"
        "print({each.digest_algorithm for each in made}, made[0].digest[:7])\n"
    )
    said, warned = child.communicate(timeout=60)
    ((name, value),) = unheeded.items()

    assert "{'BLAKE3'} blake3:\n" == said
    assert 1 == warned.count(f"{name}={value!r} is not heeded")
    assert 1 == warned.count("\n")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"digest_algorithm": name} for name in ("md5", "SHA256", "", None, ["MD5"])),
        *({"storage_region": region} for region in ("", " ", 123)),
    ],
)
def test_any_other_algorithm_and_what_is_no_region_are_value_errors(
    wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"algorithm|region"):
        wandb.Artifact("cats", "dataset", **wrong)
    wandb.Artifact("cats", "dataset", storage_region=None, digest_algorithm="BLAKE3")

    assert "" == capsys.readouterr().err


def test_the_repr_names_the_artifact() -> None:
    assert "<Artifact cats>" == repr(wandb.Artifact("cats", "dataset"))


@pytest.mark.parametrize("given", [None, {}, "{}"])
def test_no_metadata_are_an_empty_dictionary(given: Any) -> None:
    assert {} == wandb.Artifact("cats", "dataset", metadata=given).metadata


@pytest.mark.parametrize("given", [[1], 7, "[1]", object()])
def test_metadata_that_are_no_dictionary_are_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match="metadata"):
        wandb.Artifact("cats", "dataset", metadata=given)


def test_metadata_may_be_json_text() -> None:
    assert {"a": [1]} == wandb.Artifact("cats", "dataset", metadata='{"a": [1]}').metadata
    with pytest.raises(ValueError, match="JSON"):
        wandb.Artifact("cats", "dataset", metadata="{")


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Array:
    """As NumPy has them."""

    def __init__(self, size: int) -> None:
        self.size = size

    def tolist(self) -> list[int]:
        return list(range(self.size))


class Tensor(Array):
    """As torch has them: size is a method there."""

    def __init__(self, size: int) -> None:
        self._numel = size

    def size(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self._numel,)

    def numel(self) -> int:
        return self._numel

    def tolist(self) -> list[int]:
        return list(range(self._numel))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ((1, 2), [1, 2]),
        ({"b", "a"}, ["a", "b"]),
        ({1: {None: 2}}, {"1": {"null": 2}}),
        (dt.date(2026, 1, 31), "2026-01-31"),
        (dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC), "2026-01-31T12:00:00+00:00"),
        (b"bytes", "bytes"),
        (float("nan"), None),
        (Path("a/b"), "a/b"),
        (slice(1, 5, None), {"slice_start": 1, "slice_stop": 5, "slice_step": None}),
        (Point(1, 2.5), {"x": 1, "y": 2.5}),
        (Array(3), [0, 1, 2]),
        (Tensor(2), [0, 1]),
        (True, True),
    ],
)
def test_metadata_are_copied_as_json_can_say_them(given: Any, kept: Any) -> None:
    assert {"key": kept} == metadata_of({"key": given})


@pytest.mark.parametrize(
    ("given", "kind"),
    [(float("inf"), ValueError), (object(), TypeError), (b"\xff", ValueError), (Array(33), ValueError)],
)
def test_what_json_cannot_say_is_an_error(given: Any, kind: type[Exception]) -> None:
    """Nothing is changed on the way in silence."""
    with pytest.raises(kind, match="metadata"):
        metadata_of({"deep": [{"key": given}]})


def test_metadata_that_hold_themselves_are_an_error() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle

    with pytest.raises(ValueError, match="nested"):
        metadata_of(circle)


def test_metadata_have_up_to_a_hundred_keys() -> None:
    assert 100 == len(metadata_of({str(i): i for i in range(100)}))
    with pytest.raises(ValueError, match="101 keys"):
        metadata_of({str(i): i for i in range(101)})


def test_metadata_are_a_copy() -> None:
    given = {"list": [1]}
    artifact = wandb.Artifact("cats", "dataset", metadata=given)
    given["list"].append(2)

    assert {"list": [1]} == artifact.metadata


def test_metadata_changed_in_place_are_checked_when_they_are_logged() -> None:
    artifact = wandb.Artifact("cats", "dataset")
    artifact.metadata["bad"] = object()
    with wandb.init() as run, pytest.raises(TypeError, match="metadata"):
        run.log_artifact(artifact)

    assert not wandb.Api().artifact_exists("cats")


def test_what_was_fetched_outlives_a_renaming_of_its_collection() -> None:
    """A training that uses `cats:latest` must not die because somebody tidies up."""
    made = wandb.Artifact("cats", "dataset")
    with made.new_file("a") as file:
        file.write("1")
    made.save("zoo")
    fetched = wandb.Api().artifact("zoo/cats")
    collection = fetched.collection
    collection.name = "felines"
    collection.save()
    other = wandb.Artifact("cats", "dataset")
    other.save("zoo")

    assert "1" == Path(fetched.download("out"), "a").read_text()
    assert ["a"] == [file.name for file in fetched.files()]
    assert fetched.logged_by() is not None
    fetched.tags.append("raw")
    fetched.save()
    assert ("felines:v0", ["raw"], "felines") == (fetched.name, fetched.tags, fetched.collection.name)


def test_what_was_deleted_says_so_by_its_name() -> None:
    made = wandb.Artifact("cats", "dataset")
    made.save("zoo")
    again = wandb.Api().artifact("zoo/cats")
    made.delete()
    for call in (again.download, again.delete, made.delete):
        with pytest.raises(wandb.MissingArtifact, match="zoo/cats:v0 was deleted"):
            call()
