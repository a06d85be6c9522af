"""The manifest and its entries, as W&B's users look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import artstore as wandb
from artstore.api.entries import ArtifactManifest, ArtifactManifestEntry

Files = Callable[[Mapping[str, bytes]], None]
HELLO = "blake3:ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"


@pytest.fixture
def artifact(files: Files) -> wandb.Artifact:
    files({"a": b"hello", "d/b": b"", "d/sub/c": b"1", "d-e": b"2"})
    made = wandb.Artifact("cats", "dataset")
    made.add_file("a")
    made.add_file("d-e")
    made.add_dir("d", name="d")
    return made


def test_a_manifest_is_the_same_before_and_after(artifact: wandb.Artifact) -> None:
    before = artifact.manifest
    artifact.save()
    after = artifact.manifest

    assert ["a", "d-e", "d/b", "d/sub/c"] == list(after.entries)
    assert 4 == len(before) == len(after)
    assert before.to_manifest_json() == after.to_manifest_json()
    assert artifact.digest == before.digest() == after.digest()
    assert 7 == artifact.size == before.size() == after.size()


def test_a_manifest_is_written_as_wandb_reads_it(artifact: wandb.Artifact) -> None:
    artifact.remove("d")
    artifact.remove("d-e")

    expected = {
        "version": 1,
        "storagePolicy": "wandb-storage-policy-v1",
        "storagePolicyConfig": {"storageLayout": "V2"},
        "contents": {"a": {"digest": HELLO, "size": 5}},
    }
    assert expected == artifact.manifest.to_manifest_json()
    assert expected == ArtifactManifest.from_manifest_json(expected).to_manifest_json()


@pytest.mark.parametrize(
    "data", [{}, {"version": 2, "contents": {}}, {"version": 1}, {"version": 1, "contents": {"a": 1}}]
)
def test_what_is_no_manifest_is_a_value_error(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="manifest"):
        ArtifactManifest.from_manifest_json(data)


def test_entries_are_found_by_path_and_folder(artifact: wandb.Artifact) -> None:
    manifest = artifact.manifest
    found = manifest.get_entry_by_path("a")

    assert found is not None
    assert (HELLO, 5) == (found.digest, found.size)
    assert manifest.get_entry_by_path("z") is None
    assert ["d/b", "d/sub/c"] == [entry.path for entry in manifest.get_entries_in_directory("d")]


def test_the_manifest_of_a_draft_can_be_changed_and_that_of_a_version_cannot(
    artifact: wandb.Artifact, files: Files
) -> None:
    files({"new": b"new"})
    manifest = artifact.manifest
    manifest.remove_entry(manifest.entries["a"])
    manifest.add_entry(ArtifactManifestEntry("x/new", "", local_path="new"))
    with pytest.raises(FileNotFoundError):
        manifest.remove_entry(ArtifactManifestEntry("a", HELLO))
    artifact.save()

    assert ["d-e", "d/b", "d/sub/c", "x/new"] == list(artifact.manifest.entries)
    with pytest.raises(wandb.ArtifactFinalizedError):
        artifact.manifest.remove_entry(artifact.manifest.entries["d-e"])
    with pytest.raises(wandb.ArtifactFinalizedError):
        artifact.manifest.add_entry(ArtifactManifestEntry("y", HELLO, size=5))


def test_a_digest_without_bytes_is_not_added(artifact: wandb.Artifact) -> None:
    """The version would have a hole."""
    with pytest.raises(ValueError, match="no bytes"):
        artifact.manifest.add_entry(ArtifactManifestEntry("y", HELLO, size=5))


def test_an_entry_asks_for_the_size_of_its_local_file(files: Files) -> None:
    files({"a": b"hello"})

    assert 5 == ArtifactManifestEntry("x", HELLO, local_path="a").size
    with pytest.raises(FileNotFoundError, match="gone"):
        ArtifactManifestEntry("x", HELLO, local_path="gone")


def test_an_entry_says_what_is_known_of_it_and_no_more() -> None:
    plain = ArtifactManifestEntry("x", HELLO)
    full = ArtifactManifestEntry("x", "etag", "s3://b/x", "birth", 7, {"versionID": "1"})

    assert {"digest": HELLO} == plain.to_json()
    assert {
        "digest": "etag",
        "ref": "s3://b/x",
        "birthArtifactID": "birth",
        "size": 7,
        "extra": {"versionID": "1"},
    } == full.to_json()
    assert f"ArtifactManifestEntry(path='x', digest='{HELLO}')" == repr(plain)
    assert plain == ArtifactManifestEntry("x", HELLO)
    assert plain != full
    assert "x" == plain.name


def test_an_entry_downloads_itself(artifact: wandb.Artifact, place: Path) -> None:
    artifact.save()
    entry = artifact.get_entry("d/sub/c")

    assert str(place / "artifacts" / "cats:v0" / "d/sub/c") == entry.download()
    assert str(Path("out/d/sub/c")) == entry.download("out")
    assert b"1" == Path("out/d/sub/c").read_bytes()
    assert ["c"] == [path.name for path in Path("out").rglob("*") if path.is_file()]
    assert entry.parent_artifact() is artifact


def test_an_entry_that_was_made_by_hand_has_no_parent() -> None:
    with pytest.raises(NotImplementedError):
        ArtifactManifestEntry("x", HELLO).parent_artifact()
    with pytest.raises(ValueError, match="no artifact"):
        ArtifactManifestEntry("x", HELLO).ref_url()


def test_only_a_reference_has_a_target(artifact: wandb.Artifact) -> None:
    artifact.save()
    with pytest.raises(ValueError, match="no reference"):
        artifact.get_entry("a").ref_target()

    assert "s3://b/x" == ArtifactManifestEntry("x", "etag", "s3://b/x").ref_target()


def test_an_entry_of_a_version_has_a_uri_of_its_own(artifact: wandb.Artifact) -> None:
    with pytest.raises(wandb.ArtifactNotLoggedError):
        artifact.manifest.entries["a"].ref_url()
    artifact.save()

    assert f"artstore://uncategorized/{artifact.id}/a" == artifact.get_entry("a").ref_url()


def test_a_path_that_is_not_there_is_a_key_error(artifact: wandb.Artifact) -> None:
    artifact.save()
    with pytest.raises(KeyError, match="not contained in artifact: 'z'"):
        artifact.get_entry("z")

    assert "a" == artifact.get_path("./a").path
