"""Labels: what may change of a version, and that `save` keeps it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

import artstore as wandb
from artstore.lifecycle import commit


@pytest.fixture
def artifact() -> wandb.Artifact:
    made = wandb.Artifact("cats", "dataset", description="old", metadata={"a": 1, "b": {"c": 2}})
    with made.new_file("a.txt") as file:
        file.write("1")
    made.save()
    return made


def stored() -> wandb.Artifact:
    return wandb.Api().artifact("cats:v0")


def test_the_lists_are_live(artifact: wandb.Artifact) -> None:
    aliases, tags = artifact.aliases, artifact.tags
    aliases.append("best")
    tags.extend(["one", "two"])
    artifact.save()
    assert (["best", "latest"], ["one", "two"]) == (stored().aliases, stored().tags)

    assert artifact.aliases is aliases
    aliases.remove("best")
    tags.remove("one")
    artifact.save()
    assert (["latest"], ["two"]) == (stored().aliases, stored().tags)


def test_nothing_changes_before_save(artifact: wandb.Artifact) -> None:
    artifact.aliases.append("best")
    artifact.description = "new"
    artifact.metadata["a"] = 2

    assert (["latest"], "old", {"a": 1, "b": {"c": 2}}) == (stored().aliases, stored().description, stored().metadata)


def test_a_list_may_be_given_and_latest_need_not_be_in_it(artifact: wandb.Artifact) -> None:
    artifact.aliases = ["best"]
    artifact.tags = ["one"]
    artifact.save()

    assert (["best", "latest"], ["one"]) == (stored().aliases, stored().tags)
    with pytest.raises(ValueError, match="alias"):
        artifact.aliases = ["a/b"]
    with pytest.raises(ValueError, match="tag"):
        artifact.tags = ["a/b"]


def test_what_is_no_alias_is_found_before_anything_is_written(artifact: wandb.Artifact) -> None:
    artifact.description = "new"
    artifact.tags.append("a/b")
    with pytest.raises(ValueError, match="tag"):
        artifact.save()
    assert "old" == stored().description

    artifact.tags[:] = ["good"]
    artifact.save()
    assert ("new", ["good"]) == (stored().description, stored().tags)


def test_metadata_change_key_by_key(artifact: wandb.Artifact) -> None:
    """What somebody else has set meanwhile stays."""
    other = stored()
    other.metadata["theirs"] = 1
    other.save()
    artifact.metadata["b"]["c"] = 3
    del artifact.metadata["a"]
    artifact.metadata["mine"] = (1, 2)
    artifact.save()

    assert {"b": {"c": 3}, "mine": [1, 2], "theirs": 1} == stored().metadata


def test_metadata_may_be_set_as_a_whole(artifact: wandb.Artifact) -> None:
    artifact.metadata = {"x": float("nan")}
    artifact.save()
    assert {"x": None} == stored().metadata

    with pytest.raises(TypeError, match="metadata"):
        artifact.metadata = [1]  # type: ignore[assignment]


def test_a_ttl_is_kept_and_taken_away(artifact: wandb.Artifact) -> None:
    assert artifact.ttl is None
    artifact.ttl = dt.timedelta(hours=2)
    artifact.save()
    assert dt.timedelta(hours=2) == stored().ttl

    artifact.ttl = None
    artifact.save()
    assert stored().ttl is None


def test_saving_twice_writes_once(artifact: wandb.Artifact) -> None:
    artifact.aliases.append("best")
    artifact.save()
    before = len(list(artifact.hall.store.path.glob("ops/**/*")))  # type: ignore[union-attr]
    artifact.save()

    assert before == len(list(artifact.hall.store.path.glob("ops/**/*")))  # type: ignore[union-attr]


def test_latest_cannot_be_put_on_an_old_version(artifact: wandb.Artifact) -> None:
    draft = artifact.new_draft()
    draft.remove("a.txt")
    draft.save()
    old = stored()
    old.aliases.append("latest")
    with pytest.raises(ValueError, match="latest"):
        old.save()


def test_deleting_says_which_alias_is_in_the_way(artifact: wandb.Artifact) -> None:
    artifact.aliases.append("best")
    artifact.save()
    with pytest.raises(wandb.CommError, match="'best': remove the alias first, or force it with delete_aliases=True"):
        artifact.delete()
    artifact.delete(delete_aliases=True)

    assert "DELETED" == artifact.state
    with pytest.raises(wandb.CommError):
        stored()


def test_the_number_of_a_deleted_version_is_not_used_again(artifact: wandb.Artifact) -> None:
    artifact.delete()
    again = wandb.Artifact("cats", "dataset")
    again.save()

    assert "v1" == again.version


def test_json_encode_says_which_version(artifact: wandb.Artifact) -> None:
    expected = {
        "_type": "artifactVersion",
        "_version": "v0",
        "id": artifact.id,
        "version": "v0",
        "sequenceName": "cats",
        "usedAs": None,
    }
    assert expected == artifact.json_encode()


@pytest.mark.parametrize(
    "edit",
    [
        lambda artifact: artifact.aliases.append("best"),
        lambda artifact: artifact.tags.append("raw"),
        lambda artifact: setattr(artifact, "description", "new"),
        lambda artifact: artifact.metadata.update(a=2),
        lambda artifact: setattr(artifact, "ttl", dt.timedelta(days=1)),
    ],
    ids=["alias", "tag", "description", "metadata", "ttl"],
)
def test_updated_at_follows_the_last_edit(
    artifact: wandb.Artifact, edit: Callable[[wandb.Artifact], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is how people find out that somebody has been at what they use."""
    assert artifact.updated_at == artifact.created_at
    monkeypatch.setattr("artstore.lifecycle.relabel.now_us", lambda: commit.now_us() + 3_600_000_000)
    edit(artifact)
    artifact.save()
    hour = dt.datetime.fromisoformat(artifact.updated_at) - dt.datetime.fromisoformat(artifact.created_at)

    assert dt.timedelta(minutes=59) < hour < dt.timedelta(minutes=61)
    assert artifact.updated_at == stored().updated_at
