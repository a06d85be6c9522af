"""The two lives of an artifact: what each has, and what it says of what it has not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

import artstore as wandb

ONLY_A_VERSION = [
    *("entity", "project", "qualified_name", "version", "url", "aliases", "tags", "commit_hash", "file_count"),
    *("created_at", "updated_at", "history_step", "ttl", "source_entity", "source_project", "source_qualified_name"),
    *("source_version", "source_artifact"),
]
ALWAYS = [
    *("id", "name", "source_name", "type", "description", "metadata", "digest", "digest_algorithm", "size"),
    *("manifest", "state", "is_link", "distributed_id", "incremental", "use_as"),
]


def a_draft(name: str = "cats", text: str = "meow") -> wandb.Artifact:
    artifact = wandb.Artifact(name, type="dataset")
    with artifact.new_file("a.txt") as file:
        file.write(text)
    return artifact


@pytest.mark.parametrize("member", ONLY_A_VERSION)
def test_what_only_a_version_has_raises_before(member: str) -> None:
    """Also between `log_artifact` and `wait`: what is true by chance today breaks a script tomorrow."""
    artifact = a_draft()
    for _ in range(2):
        with pytest.raises(wandb.ArtifactNotLoggedError, match=member) as caught:
            getattr(artifact, member)
        assert (member, artifact) == (caught.value.name, caught.value.obj)
        assert not hasattr(artifact, member)
        if artifact.is_new:
            with wandb.init() as run:
                run.log_artifact(artifact)
                break
    artifact.wait()

    assert hasattr(artifact, member)


@pytest.mark.parametrize("member", ALWAYS)
def test_what_it_always_has_is_there_in_both_lives(member: str) -> None:
    artifact = a_draft()
    assert hasattr(artifact, member)
    artifact.save()
    assert hasattr(artifact, member)


def test_a_logged_artifact_that_nobody_waited_for_is_none_yet() -> None:
    artifact = a_draft()
    with wandb.init() as run:
        run.log_artifact(artifact)
        with pytest.raises(wandb.ArtifactNotLoggedError, match=r"wait\(\)"):
            _ = artifact.version

        assert "v0" == artifact.wait().version
        assert artifact.wait(timeout=1) is artifact


@pytest.mark.parametrize(
    "verb", ["wait", "download", "checkout", "verify", "file", "files", "new_draft", "delete", "json_encode"]
)
def test_what_needs_a_version_says_so_on_a_draft(verb: str) -> None:
    with pytest.raises(wandb.ArtifactNotLoggedError, match=r"log_artifact\(\) or save\(\)"):
        getattr(a_draft(), verb)()


def test_the_states_have_names() -> None:
    artifact = a_draft()
    assert ("PENDING", True) == (artifact.state, artifact.is_draft())
    artifact.save()
    assert ("COMMITTED", False) == (artifact.state, artifact.is_draft())
    artifact.delete()
    assert "DELETED" == artifact.state


def test_the_name_gets_its_number_when_it_has_one() -> None:
    artifact = a_draft()
    assert ("cats", "cats", None) == (artifact.name, artifact.source_name, artifact.id)
    artifact.save()

    assert ("cats:v0", "cats:v0") == (artifact.name, artifact.source_name)
    assert f"<Artifact {artifact.id}>" == repr(artifact)


def test_the_facts_of_a_version_are_those_of_the_store(place: Path) -> None:
    artifact = a_draft()
    with wandb.init(project="demo") as run:
        run.log_artifact(artifact).wait()
    with wandb.Store.open(place / ".artstore") as store:
        info = store.version("demo/cats")

    assert ("demo", "v0", 1, 4) == (artifact.project, artifact.version, artifact.file_count, artifact.size)
    assert (info.id, info.digest) == (artifact.commit_hash, artifact.digest)
    assert "local/demo/cats:v0" == artifact.qualified_name == artifact.source_qualified_name
    assert "artstore://demo/cats:v0" == artifact.url
    assert abs(dt.datetime.fromisoformat(artifact.created_at).timestamp() - info.created_at) < 1
    assert artifact.history_step is None
    assert "BLAKE3" == artifact.digest_algorithm


def test_a_finalized_artifact_cannot_be_added_to() -> None:
    artifact = a_draft()
    artifact.finalize()

    for verb, arguments in [
        ("add_file", ("a.txt",)),
        ("add_dir", (".",)),
        ("remove", ("a.txt",)),
    ]:
        with pytest.raises(wandb.ArtifactFinalizedError, match=rf"{verb}.*new_draft") as caught:
            getattr(artifact, verb)(*arguments)
        assert verb == caught.value.name
    with pytest.raises(AttributeError), artifact.new_file("b.txt"):
        pass


def test_logging_finalizes_at_once() -> None:
    """What is added after the call would or would not be in the version, as the thread pleases."""
    with wandb.init() as run:
        artifact = run.log_artifact(a_draft())
        with pytest.raises(wandb.ArtifactFinalizedError):
            artifact.add_file("x")


def test_a_fetched_artifact_is_final() -> None:
    a_draft().save()

    with pytest.raises(wandb.ArtifactFinalizedError):
        wandb.Api().artifact("cats").add_file("x")


def test_a_draft_knows_its_digest_and_size() -> None:
    artifact = a_draft()
    digest, size = artifact.digest, artifact.size
    artifact.save()

    assert (digest, size) == (artifact.digest, artifact.size)


def test_status_errors_are_attribute_errors_of_one_kind() -> None:
    assert issubclass(wandb.ArtifactNotLoggedError, wandb.ArtifactStatusError)
    assert issubclass(wandb.ArtifactFinalizedError, wandb.ArtifactStatusError)
    assert issubclass(wandb.ArtifactStatusError, AttributeError)
    assert issubclass(wandb.WaitTimeoutError, wandb.Error)


def test_ttl_may_be_set_on_a_draft() -> None:
    artifact = a_draft()
    with pytest.raises(wandb.ArtifactNotLoggedError):
        _ = artifact.ttl
    artifact.ttl = dt.timedelta(days=1, milliseconds=1)
    assert dt.timedelta(days=1) == artifact.ttl
    artifact.save()
    assert dt.timedelta(days=1) == artifact.ttl == wandb.Api().artifact("cats").ttl

    artifact.ttl = wandb.ArtifactTTL.INHERIT
    artifact.save()
    assert wandb.Api().artifact("cats").ttl is None


@pytest.mark.parametrize("ttl", [dt.timedelta(0), dt.timedelta(days=-1), 7, "tomorrow"])
def test_a_ttl_that_is_none_is_a_value_error(ttl: object) -> None:
    with pytest.raises(ValueError, match="time to live"):
        a_draft().ttl = ttl  # type: ignore[assignment]


def test_an_artifact_whose_logging_failed_says_so(place: Path) -> None:
    """To be sent to new_draft(), and from there to log it first, leads nowhere."""
    (place / "z").write_bytes(b"1")
    artifact = wandb.Artifact("clash", "dataset")
    artifact.add_file("z", name="p")
    artifact.add_file("z", name="p/q")
    with pytest.raises(wandb.PathCollision):
        artifact.save()
    for call in (lambda: artifact.remove("p/q"), artifact.new_draft):
        with pytest.raises(wandb.ArtifactStatusError, match=r"logging failed.*begin another Artifact"):
            call()
