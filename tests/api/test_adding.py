"""Adding: what goes into an artifact, and under which path."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb
from artstore.errors import StorageFull

Files = Callable[[Mapping[str, bytes]], None]


@pytest.fixture
def artifact() -> wandb.Artifact:
    return wandb.Artifact("cats", type="dataset")


def paths(artifact: wandb.Artifact) -> list[str]:
    return list(artifact.manifest.entries)


def contents(artifact: wandb.Artifact) -> dict[str, bytes]:
    """What a version holds, as a download finds it."""
    if artifact.is_draft():
        artifact.save()
    top = Path(artifact.download())
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_file_has_its_last_name_or_the_one_that_is_given(artifact: wandb.Artifact, files: Files) -> None:
    files({"folder/a.txt": b"hello"})
    entry = artifact.add_file("folder/a.txt")
    named = artifact.add_file(local_path=Path("folder/a.txt"), name="new/b.txt")

    assert ("a.txt", "new/b.txt") == (entry.path, named.path)
    assert ("blake3:ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f", 5) == (entry.digest, entry.size)
    assert ["a.txt", "new/b.txt"] == paths(artifact)


@pytest.mark.parametrize(
    ("given", "path"),
    [("./a", "a"), ("a//b", "a/b"), ("a/", "a"), (Path("a/b"), "a/b"), ("a\\b", "a\\b"), ("ñ/猫", "ñ/猫")],
)
def test_a_path_has_one_normal_form(artifact: wandb.Artifact, files: Files, given: Any, path: str) -> None:
    files({"file": b"1"})

    assert path == artifact.add_file("file", name=given).path


@pytest.mark.parametrize("given", ["", ".", "/a", "../a", "a/../b", "C:\\x", "C:x", "\\x", "//server/share", "a/.."])
def test_a_path_that_leads_out_is_a_value_error(artifact: wandb.Artifact, files: Files, given: str) -> None:
    """On whatever system it is given or downloaded."""
    files({"file": b"1"})
    with pytest.raises(ValueError, match="path"):
        artifact.add_file("file", name=given)

    assert [] == paths(artifact)


@pytest.mark.parametrize("given", ["nothing", ".", "folder"])
def test_what_is_no_file_is_a_value_error(artifact: wandb.Artifact, files: Files, given: str) -> None:
    files({"folder/a": b"1"})
    with pytest.raises(ValueError, match="file"):
        artifact.add_file(given)


def test_a_link_to_a_file_is_added_as_the_file(artifact: wandb.Artifact, files: Files) -> None:
    files({"target": b"1"})
    os.symlink("target", "link")

    artifact.add_file("link")
    assert {"link": b"1"} == contents(artifact)


def test_the_same_bytes_twice_are_once_and_others_are_an_error(artifact: wandb.Artifact, files: Files) -> None:
    files({"a": b"1", "same": b"1", "other": b"22"})
    artifact.add_file("a")
    artifact.add_file("same", name="a")
    with pytest.raises(ValueError, match="'a' was added already"):
        artifact.add_file("other", name="a")
    assert 1 == artifact.size

    artifact.add_file("other", name="a", overwrite=True)
    assert {"a": b"22"} == contents(artifact)


@pytest.mark.parametrize("policy", ["mutable", "immutable", None])
def test_what_is_added_is_stored_then(artifact: wandb.Artifact, files: Files, policy: Any) -> None:
    """A training script goes on writing to its checkpoint."""
    files({"small": b"old", "large": b"o" * (3 << 20)})
    for name in ("small", "large"):
        artifact.add_file(name, policy=policy)
    files({"small": b"new"})
    os.unlink("large")

    assert {"small": b"old", "large": b"o" * (3 << 20)} == contents(artifact)


def test_what_is_in_a_folder_that_is_added_is_stored_then(artifact: wandb.Artifact, files: Files) -> None:
    """Neither a later edit nor the end of the folder is in the version."""
    files({"d/small": b"old", "d/large": b"o" * (3 << 20)})
    artifact.add_dir("d")
    files({"d/small": b"new"})
    os.unlink("d/large")

    assert {"small": b"old", "large": b"o" * (3 << 20)} == contents(artifact)


def test_any_other_policy_is_a_value_error(artifact: wandb.Artifact, files: Files) -> None:
    files({"a": b"1"})
    with pytest.raises(ValueError, match="policy 'x'"):
        artifact.add_file("a", policy="x")
    with pytest.raises(ValueError, match="policy 'x'"):
        artifact.add_dir(".", policy="x")


def test_a_temporary_file_is_named_by_its_digest(artifact: wandb.Artifact, files: Files) -> None:
    files({"a.tar.gz": b"hello"})

    assert "x/ea8f163db38682925e44.tar.gz" == artifact.add_file("a.tar.gz", name="x/a.tar.gz", is_tmp=True).path
    assert {"x/ea8f163db38682925e44.tar.gz": b"hello"} == contents(artifact)


def test_a_folder_gives_its_files_hidden_linked_and_empty_ones_too(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1", "d/.hidden": b"2", "d/sub/empty": b"", "elsewhere/b": b"3"})
    os.symlink("../elsewhere", "d/folder")
    os.symlink("a", "d/file")
    os.mkdir("d/nothing")
    artifact.add_dir("d")

    assert {"a": b"1", ".hidden": b"2", "sub/empty": b"", "folder/b": b"3", "file": b"1"} == contents(artifact)


def test_a_folder_goes_below_the_name_that_is_given(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1"})
    artifact.add_dir("d", name="x/y/")

    assert ["x/y/a"] == paths(artifact)


class Screen(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("seen", [Screen, io.StringIO])
def test_a_person_sees_how_far_a_folder_has_come_and_a_pipe_stays_clean(
    artifact: wandb.Artifact, files: Files, seen: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = seen()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("artstore.api.terminal._SHORT_S", 0)
    files({"d/a": b"1" * 1000, "d/b": b"2" * 1000})
    artifact.add_dir("d")
    shown = terminal.getvalue()

    assert ("artstore: adding 'd': 2 files, 2.0 KiB" in shown) == (seen is Screen)
    assert shown == "" or shown.endswith("\r\x1b[K"), "nothing of it stays"


@pytest.mark.parametrize("given", ["nothing", "file"])
def test_what_is_no_folder_is_a_value_error(artifact: wandb.Artifact, files: Files, given: str) -> None:
    files({"file": b"1"})
    with pytest.raises(ValueError, match="not a folder"):
        artifact.add_dir(given)


def test_a_link_to_nothing_is_a_missing_file(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1"})
    os.symlink("nowhere", "d/gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        artifact.add_dir("d")

    assert [] == paths(artifact), "half a folder would be logged by whoever catches the error"


def test_a_circle_of_links_is_an_error_of_the_system(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1"})
    os.symlink(".", "d/circle")
    with pytest.raises(OSError, match="circle"):
        artifact.add_dir("d")


def test_merging_replaces_what_changed_and_removes_nothing(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1", "d/b": b"1"})
    artifact.add_dir("d")
    files({"d/a": b"22"})
    os.unlink("d/b")
    with pytest.raises(ValueError, match="'a' was added already"):
        artifact.add_dir("d")
    artifact.add_dir("d", merge=True)

    assert {"a": b"22", "b": b"1"} == contents(artifact)


def test_an_ignore_file_says_what_to_leave_out(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1", "d/b.tmp": b"2", "d/.artstoreignore": b"*.tmp\n.artstoreignore\n"})
    artifact.add_dir("d")

    assert ["a"] == paths(artifact)


def test_a_new_file_is_added_when_it_is_closed(artifact: wandb.Artifact) -> None:
    with artifact.new_file("x/hola.txt", encoding="utf-8") as file:
        file.write("¡hola!")
        assert [] == paths(artifact)
    with artifact.new_file("data", mode="wb") as file:
        file.write(b"\0")
        assert os.path.basename(file.name) == "data", "some libraries look at the ending"

    assert {"x/hola.txt": "¡hola!".encode(), "data": b"\0"} == contents(artifact)


def test_a_new_file_that_fails_is_not_added(artifact: wandb.Artifact) -> None:
    with contextlib.suppress(RuntimeError), artifact.new_file("a") as file:
        file.write("half")
        raise RuntimeError

    assert [] == paths(artifact)
    with artifact.new_file("a") as file:
        file.write("whole")
    assert {"a": b"whole"} == contents(artifact)


def test_a_new_file_needs_a_free_name_or_the_mode_to_write_over(artifact: wandb.Artifact) -> None:
    for mode, text in [("x", "1"), ("w", "2")]:
        with artifact.new_file("a", mode=mode) as file:
            file.write(text)
    with pytest.raises(ValueError, match="'a' is there already"), artifact.new_file("a"):
        pass
    with pytest.raises(ValueError, match="mode"), artifact.new_file("b", mode="r"):
        pass

    assert {"a": b"2"} == contents(artifact)


@pytest.mark.parametrize("mode", ["xt", "wt", "w+", "wt+", "w+t", "wb+", "w+b"])
def test_a_new_file_takes_what_open_takes(artifact: wandb.Artifact, mode: str) -> None:
    with artifact.new_file("a", mode=mode) as file:
        file.write(b"3" if "b" in mode else "3")

    assert {"a": b"3"} == contents(artifact)


@pytest.mark.parametrize("mode", ["a", "wx", "wbt", "U", "", "w "])
def test_a_new_file_is_written_and_nothing_else(artifact: wandb.Artifact, mode: str) -> None:
    with pytest.raises(ValueError, match="'xb' or 'wb', not"), artifact.new_file("b", mode=mode):
        pass


def test_text_that_the_encoding_lacks_is_an_error_that_says_which(
    artifact: wandb.Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnicodeEncodeError), artifact.new_file("a", encoding="ascii") as file:
        file.write("ñ")

    assert "'ñ' cannot be written as ascii" in capsys.readouterr().err


def test_files_and_folders_are_removed(artifact: wandb.Artifact, files: Files) -> None:
    files({"d/a": b"1", "d/b/c": b"2", "d/b/d": b"3", "d/e": b"4"})
    artifact.add_dir("d")
    artifact.remove("a")
    artifact.remove("b/")
    with pytest.raises(FileNotFoundError, match="'b'"):
        artifact.remove("b")
    artifact.remove(artifact.manifest.entries["e"])
    with pytest.raises(FileNotFoundError):
        artifact.remove("e")

    assert {} == contents(artifact)


def test_a_local_file_knows_its_path_in_the_artifact(artifact: wandb.Artifact, files: Files, place: Path) -> None:
    files({"a": b"1", "d/b/c": b"2"})
    artifact.add_file("a", name="x/y")
    artifact.add_dir("d", name="z")

    assert "x/y" == artifact.get_added_local_path_name("a") == artifact.get_added_local_path_name(place / "a")
    assert "z/b/c" == artifact.get_added_local_path_name("d/b/c")
    assert artifact.get_added_local_path_name("other") is None


def test_threads_may_add_together(artifact: wandb.Artifact, files: Files) -> None:
    files({f"d/{number}": str(number).encode() for number in range(200)})

    def add(first: int) -> None:
        for number in range(first, 200, 4):
            artifact.add_file(f"d/{number}")

    threads = [threading.Thread(target=add, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {str(number): str(number).encode() for number in range(200)} == contents(artifact)


def live(place: Path) -> list[str]:
    """The sessions of the store beside the files."""
    return [name for name in os.listdir(place / ".artstore" / "locks") if name[0].isdigit()]


def test_an_artifact_that_nobody_logs_leaves_nothing_behind(files: Files, place: Path) -> None:
    files({"a": b"1"})
    artifact = wandb.Artifact("cats", "dataset")
    artifact.add_file("a")
    assert 1 == len(live(place))
    del artifact

    assert [] == live(place)


def test_a_table_that_grew_since_it_was_added_is_kept_as_it_is_now() -> None:
    """A pointer to the earlier version would lose every row that came since, without a word."""
    table = wandb.Table(columns=["epoch"])
    seen = []
    with wandb.init(project="zoo") as run:
        for epoch in range(3):
            table.add_data(epoch)
            artifact = wandb.Artifact("predictions", "result")
            artifact.add(table, "t")
            run.log_artifact(artifact).wait()
            seen.append((artifact.version, artifact.get("t").data))  # type: ignore[union-attr]

    assert [("v0", [[0]]), ("v1", [[0], [1]]), ("v2", [[0], [1], [2]])] == seen


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.add_data(2),
        lambda table: table.add_column("b", [2]),
        lambda table: table.data[0].__setitem__(0, 7),
        lambda table: table.cast("a", float),
        lambda table: setattr(table, "log_mode", "MUTABLE"),
    ],
    ids=["row", "column", "cell", "type", "mode"],
)
def test_a_table_that_was_read_and_changed_is_kept_anew(change: Callable[[Any], object]) -> None:
    first = wandb.Artifact("cats", "dataset")
    first.add(wandb.Table(columns=["a"], data=[[1]]), "t")
    first.save()
    table = wandb.Api().artifact("cats")["t"]
    assert isinstance(table, wandb.Table)
    change(table)
    for draft in (wandb.Artifact("dogs", "dataset"), wandb.Api().artifact("cats").new_draft()):
        draft.add(table, "u")
        draft.save()
        again = draft["u"]
        assert (table, table.log_mode) == (again, again.log_mode)  # type: ignore[union-attr]


def test_a_table_that_was_read_and_not_changed_stays_where_it_is() -> None:
    first = wandb.Artifact("cats", "dataset")
    first.add(wandb.Table(columns=["a", "b"], data=[[1, "x"], [None, "y"]]), "t")
    first.save()
    draft = wandb.Artifact("dogs", "dataset")

    assert str(draft.add(wandb.Api().artifact("cats")["t"], "u").ref).startswith("artstore://")  # type: ignore[arg-type]


def test_two_tables_of_another_artifact_that_are_joined_stay_two() -> None:
    """Under one name the second would be taken for the first."""
    first = wandb.Artifact("cats", "dataset")
    first.add(wandb.Table(columns=["id"], data=[["x"]]), "one")
    first.add(wandb.Table(columns=["id"], data=[["y"]]), "two")
    first.save()
    there = wandb.Api().artifact("cats")
    second = wandb.Artifact("joined", "dataset")
    second.add(wandb.JoinedTable(there["one"], there["two"], "id"), "j")
    second.save()
    joined = wandb.Api().artifact("joined")["j"]

    assert [[["x"]], [["y"]]] == [joined.table1.data, joined.table2.data]  # type: ignore[union-attr]


def test_the_same_object_twice_is_one_entry_until_it_changes() -> None:
    table = wandb.Table(columns=["a"], data=[[1]])
    draft = wandb.Artifact("cats", "dataset")
    assert draft.add(table, "t").path == draft.add(table, "u").path == "t.table.json"
    table.add_data(2)
    assert "u.table.json" == draft.add(table, "u").path
    draft.save()

    assert [[[1]], [[1], [2]]] == [draft[name].data for name in ("t", "u")]  # type: ignore[union-attr]


def test_a_reference_by_the_name_of_a_version_is_to_what_that_is_now(files: Files) -> None:
    """It must neither dangle nor follow the alias."""
    files({"a": b"1"})
    first = wandb.Artifact("cats", "dataset")
    first.add_file("a", name="d/a.txt")
    first.save("zoo")
    draft = wandb.Artifact("more", "dataset")
    with wandb.init(project="zoo"):
        for uri in ("artstore://zoo/cats:latest/d/a.txt", "wandb-artifact://me/zoo/cats:v0/d/a.txt"):
            (entry,) = draft.add_reference(uri, name=uri[:4])
            assert (first.manifest.entries["d/a.txt"].digest, True) == (entry.digest, str(first.id) in str(entry.ref))
        (entry,) = draft.add_reference("artstore://cats:latest/d/a.txt")
        assert "d/a.txt" == entry.path
        with pytest.raises(wandb.MissingArtifact):
            draft.add_reference("artstore://zoo/dogs:latest/d/a.txt")
        with pytest.raises(wandb.NotFound, match="nothing"):
            draft.add_reference("artstore://zoo/cats:v0/nothing")
        with pytest.raises(ValueError, match="name:alias/path"):
            draft.add_reference("artstore://zoo/cats:v0")


@pytest.mark.parametrize("is_logged", [False, True])
def test_an_entry_of_what_is_no_version_cannot_be_referred_to(files: Files, is_logged: bool) -> None:
    """The error names the artifact that has to be logged, and no member that nobody asked for."""
    files({"a": b"1"})
    source = wandb.Artifact("source", "dataset")
    entry = source.add_file("a")
    with wandb.init(project="zoo") as run:
        if is_logged:
            run.log_artifact(source)
        with pytest.raises(wandb.ArtifactNotLoggedError, match=r"'a' is an entry of 'source', .* wait\(\)") as caught:
            wandb.Artifact("more", "dataset").add_reference(entry)

    assert ("add_reference", source) == (caught.value.name, caught.value.obj)


def test_a_warning_of_a_reference_points_to_the_line_that_asked_for_it(artifact: wandb.Artifact) -> None:
    """A line of artstore tells nobody which of a hundred references is meant."""
    with pytest.warns(UserWarning, match="gopher") as caught:
        artifact.add_reference("gopher://example.org/a", name="a")

    assert [__file__] == [warning.filename for warning in caught]


@pytest.mark.parametrize("name", ["", ".", None])
def test_the_top_of_an_artifact_may_be_said_in_several_ways(
    artifact: wandb.Artifact, files: Files, name: str | None
) -> None:
    files({"d/a": b"1"})
    artifact.add_dir("d", name)

    assert ["a"] == paths(artifact)


def test_an_entry_of_the_same_artifact_is_joined_by_its_path(artifact: wandb.Artifact) -> None:
    first = artifact.add(wandb.Table(columns=["id"], data=[["x"]]), "one")
    artifact.add(wandb.Table(columns=["id"], data=[["y"]]), "two")
    artifact.add(wandb.JoinedTable("two.table.json", first, "id"), "j")
    artifact.save()
    joined = wandb.Api().artifact("cats")["j"]

    assert [[["y"]], [["x"]]] == [joined.table1.data, joined.table2.data]  # type: ignore[union-attr]
    assert ["j.joined-table.json", "one.table.json", "two.table.json"] == paths(artifact)


@pytest.mark.root
def test_a_new_file_that_does_not_fit_says_which_disk_is_full(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written lies on the store's disk, which is none that the script has named."""
    monkeypatch.setenv("ARTSTORE_DIR", str(volume / "store"))
    artifact = wandb.Artifact("large", "dataset")
    with pytest.raises(StorageFull, match="free some space"), artifact.new_file("f", "wb") as file:
        file.write(bytes(20 << 20))
    with pytest.raises(OSError, match="of another disk") as caught, artifact.new_file("f", "wb"):
        raise OSError(errno.ENOSPC, "of another disk")

    assert type(caught.value) is OSError
