"""Reading: the files of a version, where a script wants them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import artstore as wandb
from tests.lacking import package

Files = Callable[[Mapping[str, bytes]], None]
TREE = {"a.txt": b"1", "some-prefix/b": b"22", "some-prefix-two.txt": b"333", "[x] #1*.txt": b"4444"}


@pytest.fixture
def artifact(files: Files) -> wandb.Artifact:
    files({f"source/{path}": data for path, data in TREE.items()})
    made = wandb.Artifact("cats", "dataset")
    made.add_dir("source")
    made.save()
    return made


def found(folder: object) -> dict[str, bytes]:
    top = Path(str(folder))
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_download_goes_to_a_folder_of_its_own(artifact: wandb.Artifact, place: Path) -> None:
    folder = artifact.download()

    assert str(place / "artifacts" / "cats:v0") == folder
    assert TREE == found(folder)


@pytest.mark.parametrize("name", ["ARTSTORE_ARTIFACT_DIR", "WANDB_ARTIFACT_DIR"])
def test_the_environment_may_say_where(
    artifact: wandb.Artifact, place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "downloads")

    assert str(place / "downloads" / "cats:v0") == artifact.download()


@pytest.mark.parametrize("root", ["out", Path("out"), "./out/"])
def test_a_folder_that_is_given_is_answered_as_it_was(artifact: wandb.Artifact, root: str | Path) -> None:
    assert str(root) == artifact.download(root)
    assert TREE == found("out")


def test_right_files_stay_wrong_ones_are_replaced_and_others_left_alone(artifact: wandb.Artifact) -> None:
    """Size and date prove nothing: the wrong file has those of the right one."""
    artifact.download("out")
    times = os.stat("out/some-prefix/b")
    Path("out/some-prefix/b").write_bytes(b"xx")
    os.utime("out/some-prefix/b", ns=(times.st_atime_ns, times.st_mtime_ns))
    Path("out/mine").write_bytes(b"mine")
    kept = os.stat("out/a.txt").st_ino
    artifact.download("out")

    assert {**TREE, "mine": b"mine"} == found("out")
    assert kept == os.stat("out/a.txt").st_ino


@pytest.mark.parametrize(
    ("prefix", "paths"),
    [
        ("some-prefix", {"some-prefix/b", "some-prefix-two.txt"}),
        ("some-prefix/", {"some-prefix/b"}),
        (Path("a"), {"a.txt"}),
        ("[x] #1*", {"[x] #1*.txt"}),
        ("z", set()),
        (None, set(TREE)),
    ],
)
def test_a_prefix_is_the_beginning_of_a_path(
    artifact: wandb.Artifact, prefix: str | Path | None, paths: set[str]
) -> None:
    assert paths == set(found(artifact.download("out", path_prefix=prefix)))


def test_a_checkout_leaves_nothing_else(artifact: wandb.Artifact, place: Path, files: Files) -> None:
    files({"artifacts/cats/mine": b"mine"})
    folder = artifact.checkout()

    assert str(place / "artifacts" / "cats") == folder
    assert TREE == found(folder)
    assert "out" == artifact.checkout("out")


def test_a_folder_that_holds_the_version_is_verified(artifact: wandb.Artifact) -> None:
    artifact.download()
    artifact.verify()
    artifact.download("out")
    artifact.verify(root="out")


def test_each_difference_is_an_error_of_its_own(artifact: wandb.Artifact) -> None:
    artifact.download("out")
    Path("out/mine").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"'mine', which is not a member of artifact cats:v0"):
        artifact.verify("out")
    os.unlink("out/mine")
    Path("out/a.txt").write_bytes(b"2")
    with pytest.raises(ValueError, match=r"mismatch for file: 'a.txt'"):
        artifact.verify("out")
    os.unlink("out/a.txt")
    with pytest.raises(FileNotFoundError, match=r"'a.txt'"):
        artifact.verify("out")
    os.rename("out/some-prefix/b", "out/some-prefix/c")
    with pytest.raises(ValueError, match=r"'some-prefix/c', which is not a member"):
        artifact.verify("out")
    with pytest.raises(FileNotFoundError, match="download"):
        artifact.verify("nowhere")


def test_verifying_skips_references_and_says_so(files: Files, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files({"x.bin": b"hello"})
    artifact = wandb.Artifact("refs", "dataset")
    artifact.add_reference(f"file://{place}/x.bin")
    artifact.save()
    artifact.download("out")
    artifact.verify("out")
    Path("out/x.bin").write_bytes(b"other")
    artifact.verify("out")

    assert "skipped verification of 1 references" in capfd.readouterr().err


def test_the_only_file_is_answered(artifact: wandb.Artifact) -> None:
    single = wandb.Artifact("one", "dataset")
    single.add_file("source/a.txt")
    single.save()

    assert os.path.join("artifacts", "one:v0", "a.txt") == single.file()
    assert os.path.join("out", "a.txt") == single.file("out")
    with pytest.raises(ValueError, match=r"download\(\)"):
        artifact.file()


def test_files_are_a_list_of_things_to_download(artifact: wandb.Artifact) -> None:
    files = artifact.files()

    assert 4 == len(files)
    assert sorted(TREE) == [file.name for file in files]
    assert [4, 1, 3, 2] == [file.size for file in files]
    assert artifact.get_entry("a.txt").digest == files[1].digest
    assert os.path.join("out", "a.txt") == files[1].download("out")
    assert f"artstore://uncategorized/{artifact.id}/a.txt" == files[1].direct_url
    assert "<ArtifactFiles local/uncategorized/cats:v0 (4)>" == repr(files)
    assert ["a.txt"] == [file.name for file in artifact.files(names=["a.txt", "z"])]
    assert ["some-prefix-two.txt", "some-prefix/b"] == [file.name for file in artifact.files(per_page=2, start="2")]


def test_a_reference_brings_the_bytes_it_recorded_or_an_error(files: Files, place: Path) -> None:
    files({"x.bin": b"hello", "here": b"here"})
    artifact = wandb.Artifact("refs", "dataset")
    (entry,) = artifact.add_reference(f"file://{place}/x.bin", name="sub/y.bin")
    artifact.add_file("here")
    artifact.save()
    assert ("sub/y.bin", f"file://{place}/x.bin", 5) == (entry.path, entry.ref_target(), entry.size)
    assert {"sub/y.bin": b"hello", "here": b"here"} == found(artifact.download("out"))
    assert 9 == artifact.size

    files({"x.bin": b"jello"})
    with pytest.raises(ValueError, match=r"x\.bin"):
        artifact.download("other")
    os.unlink("x.bin")
    with pytest.raises(FileNotFoundError, match=r"x\.bin"):
        artifact.download("other")
    assert {"here": b"here"} == found(artifact.download("third", allow_missing_references=True))


def test_a_folder_of_references_and_its_limit(files: Files, place: Path) -> None:
    files({f"d/{number}": b"1" for number in range(3)})
    artifact = wandb.Artifact("refs", "dataset")
    with pytest.raises(ValueError, match="max_objects"):
        artifact.add_reference(f"file://{place}/d", max_objects=2)
    assert [] == list(artifact.manifest.entries)
    entries = artifact.add_reference(f"file://{place}/d", name="x")

    assert ["x/0", "x/1", "x/2"] == [entry.path for entry in entries]


@pytest.mark.parametrize("given", ["x.bin", "/abs/x.bin", Path("x"), 7])
def test_a_reference_is_a_uri(given: object) -> None:
    with pytest.raises(ValueError, match="file://"):
        wandb.Artifact("refs", "dataset").add_reference(given)  # type: ignore[arg-type]


def test_a_path_that_is_taken_stays_what_it_is(files: Files, place: Path) -> None:
    files({"x.bin": b"hello"})
    artifact = wandb.Artifact("refs", "dataset")
    artifact.add_file("x.bin")
    with pytest.raises(ValueError, match=r"'x\.bin' was added already"):
        artifact.add_reference(f"file://{place}/x.bin")


def test_an_entry_of_another_artifact_is_pointed_to(artifact: wandb.Artifact) -> None:
    """Its bytes are kept once, and it says where they come from."""
    entry = artifact.get_entry("a.txt")
    other = wandb.Artifact("other", "dataset")
    (first,) = other.add_reference(entry)
    (second,) = other.add_reference(entry.ref_url(), name="x/y.txt")
    draft = wandb.Artifact("draft", "dataset")
    with pytest.raises(wandb.ArtifactNotLoggedError):
        other.add_reference(draft.add_file("source/a.txt"), name="z")
    other.save()

    assert ("a.txt", "x/y.txt") == (first.path, second.path)
    assert entry.ref_url() == other.get_entry("x/y.txt").ref_target()
    assert entry.digest == other.get_entry("a.txt").digest
    assert {"a.txt": b"1", "x/y.txt": b"1"} == found(other.download("out"))
    other.verify("out")
    artifact.delete()
    assert {"a.txt": b"1", "x/y.txt": b"1"} == found(other.download("again"))


def test_a_pointer_to_nothing_is_an_error(artifact: wandb.Artifact) -> None:
    other = wandb.Artifact("other", "dataset")
    with pytest.raises(wandb.CommError, match="no version here has the id"):
        other.add_reference(f"artstore://uncategorized/blake3:{'0' * 64}/a.txt")
    with pytest.raises(wandb.NotFound):
        other.add_reference(f"artstore://uncategorized/{artifact.id}/nothing")


def test_an_object_of_another_artifact_is_pointed_to_and_read_there() -> None:
    numpy = package("numpy")
    first, second, third = (wandb.Artifact(name, "dataset") for name in ("first", "second", "third"))
    table = wandb.Table(columns=["image"], data=[[numpy.zeros((2, 2))], [numpy.ones((2, 2))]])
    first.add(table, "x")
    first.save()
    second.add(wandb.Api().artifact("first")["x"], "y")  # type: ignore[arg-type]
    third.add(table, "z")
    for each in (second, third):
        each.save()
        assert 1 == len(each.manifest), "its arrays stay where they are"
        assert each.manifest.entries.popitem()[1].ref == first.get_entry("x").ref_url()

    read = wandb.Api().artifact("second")["y"]
    assert isinstance(read, wandb.Table)
    assert [[0, 0], [0, 0]] == read.data[0][0].tolist()


@pytest.mark.parametrize("change", ["row", "column", "by hand"])
def test_a_table_that_grew_since_it_was_added_is_kept_as_it_is_now(change: str) -> None:
    """A pointer to the old one would lose the rows of all later epochs, without a word."""
    table = wandb.Table(columns=["epoch"], data=[[0]])
    versions = []
    for epoch in range(3):
        artifact = wandb.Artifact("predictions", "dataset")
        artifact.add(table, "t")
        artifact.save()
        versions.append(artifact)
        if change == "row":
            table.add_data(epoch)
        elif change == "column":
            table.add_column(f"more-{epoch}", [epoch])
        else:
            table.data[0][0] = epoch + 1
    read = wandb.Api().artifact("predictions:v1")["t"]
    assert isinstance(read, wandb.Table)
    again, changed = wandb.Artifact("again", "dataset"), wandb.Artifact("changed", "dataset")
    again.add(read, "t")
    read.add_data(*read.data[0])
    changed.add(read, "t")

    assert 3 == len({each.get_entry("t").digest for each in versions})
    assert again.get_entry("t").ref == versions[1].get_entry("t").ref_url()
    assert changed.get_entry("t").ref is None


def test_a_join_of_a_table_that_grew_is_kept_as_it_is_now() -> None:
    """The join itself is the same object; what it joins is not."""
    left, right = (wandb.Table(columns=["id"], data=[[name]]) for name in "ab")
    join = wandb.JoinedTable(left, right, "id")
    for row in ("c", "d"):
        artifact = wandb.Artifact("joins", "dataset")
        artifact.add(join, "join")
        artifact.save()
        left.add_data(row)
    joins = [wandb.Api().artifact(f"joins:v{number}")["join"] for number in range(2)]

    assert [1, 2] == [len(each.table1.data) for each in joins]  # type: ignore[union-attr]
