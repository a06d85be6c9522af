"""Portfolios: the same version under another name, with numbers and aliases of its own there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

import artstore as wandb


def an_artifact(text: str = "1", name: str = "cats", type: str = "dataset") -> wandb.Artifact:
    artifact = wandb.Artifact(name, type)
    with artifact.new_file("a.txt") as file:
        file.write(text)
    return artifact


@pytest.fixture
def run() -> Iterator[wandb.Run]:
    with wandb.init(project="demo") as begun:
        yield begun


def test_a_link_has_two_names(run: wandb.Run) -> None:
    run.log_artifact(an_artifact("0"))
    artifact = run.log_artifact(an_artifact("1"), aliases=["best"]).wait()
    linked = artifact.link("best-cats", aliases=["good"])

    assert (True, "best-cats:v0", "v0", "local/demo/best-cats:v0") == (
        linked.is_link,
        linked.name,
        linked.version,
        linked.qualified_name,
    )
    assert ("cats:v1", "v1", "local/demo/cats:v1") == (
        linked.source_name,
        linked.source_version,
        linked.source_qualified_name,
    )
    assert (["good", "latest"], ["best", "latest"]) == (sorted(linked.aliases), sorted(artifact.aliases))
    assert ("best-cats", "cats", False, True) == (
        linked.collection.name,
        linked.source_collection.name,
        linked.collection.is_sequence(),
        linked.source_collection.is_sequence(),
    )
    assert (artifact.id, artifact.digest, "cats:v1") == (linked.id, linked.digest, linked.source_artifact.name)
    assert ["best-cats:v0"] == [each.name for each in artifact.linked_artifacts]
    assert linked.linked_at is not None
    assert (False, None) == (artifact.is_link, artifact.linked_at)


def test_a_link_is_used_and_downloaded_as_what_it_is(run: wandb.Run) -> None:
    run.link_artifact(an_artifact(), "team/best-cats", aliases="good")
    linked = run.use_artifact("team/best-cats:good")

    assert "1" == Path(linked.download(), "a.txt").read_text(encoding="utf-8")
    assert linked.download().endswith("cats:v0"), "the same files are not brought twice"
    assert ["cats:v0"] == [each.name for each in run.used_artifacts()]
    assert "v0" == wandb.Api().artifact("me/team/best-cats").version


def test_linking_twice_is_one_membership(run: wandb.Run) -> None:
    first, second = (run.log_artifact(an_artifact(text)).wait() for text in "12")
    assert ["v0", "v1", "v0"] == [each.link("best").version for each in (first, second, first)]

    assert "v0" == wandb.Api().artifact("demo/best:latest").version
    assert ["v1", "v0"] == [each.version for each in wandb.Api().artifacts("dataset", "demo/best")]


def test_the_aliases_of_a_link_are_its_own_and_all_else_is_the_versions(
    run: wandb.Run, capfd: pytest.CaptureFixture[str]
) -> None:
    artifact = run.log_artifact(an_artifact(), aliases=["own"]).wait()
    linked = artifact.link("best")
    linked.aliases.append("good")
    linked.description = "said through the link"
    linked.tags = ["t"]
    linked.metadata = {"a": 1}
    linked.save()
    source, again = wandb.Api().artifact("demo/cats"), wandb.Api().artifact("demo/best")

    assert (["latest", "own"], ["good", "latest"]) == (sorted(source.aliases), sorted(again.aliases))
    assert ("said through the link", ["t"], {"a": 1}) == (source.description, source.tags, source.metadata)
    assert "best:v0" == linked.name
    said = capfd.readouterr().err
    assert all(f"best:v0 is a link: what is set here is the {what} of cats:v0" in said for what in ("tags", "metadata"))
    linked.aliases.remove("good")
    linked.save()
    assert ["latest"] == wandb.Api().artifact("demo/best").aliases
    with pytest.raises(ValueError, match="source"):
        linked.ttl = dt.timedelta(days=1)


def test_unlinking_leaves_the_version(run: wandb.Run) -> None:
    artifact = run.log_artifact(an_artifact()).wait()
    with pytest.raises(ValueError, match=r"Artifact\.delete"):
        artifact.unlink()
    artifact.link("one").unlink()
    artifact.link("two").delete()

    assert [] == wandb.Api().artifact("demo/cats").linked_artifacts
    assert not wandb.Api().artifact_exists("demo/one:v0")


def test_a_linked_version_is_deleted_only_if_that_is_said(run: wandb.Run) -> None:
    artifact = run.log_artifact(an_artifact()).wait()
    artifact.link("best")
    with pytest.raises(wandb.CommError, match=r"best.*: unlink it first, or force it with delete_aliases=True"):
        artifact.delete()
    artifact.delete(delete_aliases=True)

    assert not wandb.Api().artifact_exists("demo/cats:v0")


def test_a_draft_is_logged_before_it_is_linked() -> None:
    linked = an_artifact().link("demo/best")

    assert ("best:v0", "cats:v0", "demo") == (linked.name, linked.source_name, linked.project)


def test_what_is_no_portfolio_takes_no_links(run: wandb.Run) -> None:
    artifact = run.log_artifact(an_artifact()).wait()
    with pytest.raises(ValueError, match="cats"):
        artifact.link("cats")
    with pytest.raises(ValueError, match="alias"):
        artifact.link("best", aliases=["a/b"])


def test_a_model_is_linked_by_its_registered_name(run: wandb.Run) -> None:
    Path("model.h5").write_bytes(b"1")
    linked = run.link_model("model.h5", "registered", name="net", aliases=["production"])

    assert ("registered:v0", "net:v0", "model") == (linked.name, linked.source_name, linked.type)
    assert run.use_model("registered:production").endswith("model.h5")
