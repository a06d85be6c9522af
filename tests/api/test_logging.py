"""Logging: versions, in the order of the calls, made in the background."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb
from artstore.api import active
from artstore.api.stores import hall_here

Files = Callable[[Mapping[str, bytes]], None]


def an_artifact(text: str = "meow", name: str = "cats", type: str = "dataset", **more: Any) -> wandb.Artifact:
    artifact = wandb.Artifact(name, type, **more)
    with artifact.new_file("a.txt") as file:
        file.write(text)
    return artifact


@pytest.fixture
def run() -> Iterator[wandb.Run]:
    with wandb.init(project="demo") as begun:
        yield begun


@pytest.fixture
def held(run: wandb.Run) -> Iterator[threading.Event]:
    """While it is not set nothing that is logged gets done."""
    may_go_on = threading.Event()
    run.hall.queue.add("a gate", lambda: may_go_on.wait(30))
    yield may_go_on
    may_go_on.set()


def test_log_artifact_returns_the_same_object_at_once(run: wandb.Run, held: threading.Event) -> None:
    artifact = an_artifact()

    assert run.log_artifact(artifact) is artifact
    assert artifact.is_draft()
    held.set()
    assert "v0" == artifact.wait().version


def test_waiting_may_be_limited(run: wandb.Run, held: threading.Event) -> None:
    artifact = run.log_artifact(an_artifact())
    with pytest.raises(wandb.WaitTimeoutError, match="'cats'"):
        artifact.wait(timeout=0.01)
    held.set()

    assert "cats:v0" == artifact.wait(30).name


def test_versions_come_in_the_order_of_the_calls_whatever_their_size(run: wandb.Run) -> None:
    artifacts = [an_artifact(str(number) * (1 if number % 2 else 2 << 20)) for number in range(8)]
    for artifact in artifacts:
        run.log_artifact(artifact)

    assert [f"v{number}" for number in range(8)] == [artifact.wait().version for artifact in artifacts]


def test_what_is_logged_is_logged_whatever_becomes_of_the_object(run: wandb.Run, held: threading.Event) -> None:
    """Most scripts never look at it again."""
    run.log_artifact(an_artifact("1"))
    an_artifact("2").save()
    held.set()

    assert ["v1", "v0"] == [each.version for each in wandb.Api().artifacts("dataset", "cats")]


def test_what_is_asked_after_a_log_finds_it(run: wandb.Run) -> None:
    """A script that logs, and uses in the next line, does not depend on who is faster."""
    run.log_artifact(an_artifact(), aliases=["best"])

    assert "v0" == run.use_artifact("cats:best").version == wandb.Api().artifact("cats").version


def test_what_changes_after_the_call_is_not_in_the_version(run: wandb.Run, held: threading.Event) -> None:
    artifact = an_artifact(metadata={"a": [1]})
    run.log_artifact(artifact)
    artifact.metadata["a"].append(2)
    artifact.description = "later"
    held.set()
    artifact.wait()
    stored = wandb.Api().artifact("cats")

    assert ({"a": [1]}, None) == (stored.metadata, stored.description)
    assert ({"a": [1, 2]}, "later") == (artifact.metadata, artifact.description), "it is still there to be saved"
    artifact.save()
    stored = wandb.Api().artifact("cats")
    assert ({"a": [1, 2]}, "later") == (stored.metadata, stored.description)


def test_a_path_is_logged_under_the_runs_name(run: wandb.Run, files: Files) -> None:
    files({"model.h5": b"1", "d/a": b"2", "d/b": b"3"})
    file = run.log_artifact("model.h5").wait()
    folder = run.log_artifact(Path("d"), name="dir", type="dataset", aliases="best").wait()

    assert (f"run-{run.id}-model.h5:v0", "unspecified") == (file.name, file.type)
    assert ("dir:v0", "dataset", ["a", "b"]) == (folder.name, folder.type, list(folder.manifest.entries))
    assert ["best", "latest"] == folder.aliases


@pytest.mark.parametrize("is_large", [False, True])
def test_a_path_is_logged_as_it_stood_at_the_call_or_not_at_all(
    run: wandb.Run,
    files: Files,
    held: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    is_large: bool,
) -> None:
    """What is large is not read before the call returns; that other bytes come in its place is worse than waiting."""
    if is_large:
        monkeypatch.setattr("artstore.api.contents.AT_ONCE", 4)
    files({"d/a.txt": b"first", "same/b.txt": b"stays"})
    written = run.log_artifact("d", name="written", type="text")
    same = run.log_artifact("same", name="same", type="text")
    files({"d/a.txt": b"second", "same/later.txt": b"new"})
    threading.Timer(0.05, held.set).start()

    assert (["b.txt"], 5) == (list(same.manifest.entries), same.size), "to look at it is to wait until it was read"
    assert same.wait().get_entry("b.txt").digest == same.manifest.entries["b.txt"].digest
    if is_large:
        with pytest.raises(wandb.Conflict, match=r"'d' changed before it was read.*a\.txt.*wait\(\)"):
            written.wait()
        assert not wandb.Api().artifact_exists("written")
    else:
        assert b"first" == Path(written.wait().file()).read_bytes()
    assert "b.txt" == same.get_added_local_path_name("same/b.txt")


def test_a_folder_with_no_file_is_logged_as_one(run: wandb.Run, place: Path) -> None:
    (place / "d" / "e").mkdir(parents=True)

    assert {} == run.log_artifact("d", name="empty").wait().manifest.entries


def test_a_uri_is_logged_as_a_reference(run: wandb.Run, files: Files, place: Path) -> None:
    files({"x.bin": b"hello"})
    artifact = run.log_artifact(f"file://{place}/x.bin", name="ref").wait()

    assert f"file://{place}/x.bin" == artifact.get_entry("x.bin").ref


@pytest.mark.parametrize(("given", "kind"), [("nothing-here", ValueError), (7, TypeError), (None, TypeError)])
def test_what_is_no_artifact_and_no_path_is_an_error(run: wandb.Run, given: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="log"):
        run.log_artifact(given)


@pytest.mark.parametrize("aliases", [["a/b"], ["a:b"], "a/b", [7], ["v3"], [""]])
def test_an_alias_that_is_none_is_an_error_at_once(run: wandb.Run, aliases: Any) -> None:
    with pytest.raises(ValueError, match="alias"):
        run.log_artifact(an_artifact(), aliases=aliases)

    assert [] == wandb.Api().artifact_collections("demo")[:]


def test_aliases_stand_on_one_version_each_and_latest_on_the_last(run: wandb.Run) -> None:
    first = run.log_artifact(an_artifact("1"), aliases=["best", "latest"]).wait()
    second = run.log_artifact(an_artifact("2"), aliases="best").wait()

    assert ["best", "latest"] == first.aliases == second.aliases, "each as it was when it was logged"
    assert [] == wandb.Api().artifact("cats:v0").aliases
    assert ["best", "latest"] == wandb.Api().artifact("cats:v1").aliases


def test_tags_are_checked_and_each_is_there_once(run: wandb.Run) -> None:
    for tags in (["a/b"], ["a.b"], " a"):
        with pytest.raises(ValueError, match="tag"):
            run.log_artifact(an_artifact(), tags=tags)

    artifact = run.log_artifact(an_artifact(), tags=["a b-c_d", "Ñandú", "Ñandú"]).wait()
    assert {"Ñandú", "a b-c_d"} == set(artifact.tags)
    assert 2 == len(artifact.tags)


def test_the_same_content_is_the_version_that_has_it(run: wandb.Run, capfd: pytest.CaptureFixture[str]) -> None:
    """Of any earlier version, not of the latest alone; and the run is one that logged it."""
    run.log_artifact(an_artifact("1", metadata={"old": 1}))
    run.log_artifact(an_artifact("2"))
    with wandb.init(project="demo", reinit="create_new") as other:
        again = other.log_artifact(an_artifact("1", metadata={"new": 1}), aliases=["again"]).wait()

    assert ("v0", {"old": 1}) == (again.version, again.metadata)
    assert ["again", "latest"] == wandb.Api().artifact("cats:v0").aliases
    assert ["cats:v0"] == [each.name for each in wandb.Api().run(f"demo/{other.id}").logged_artifacts()]
    assert "cats:v0 has this content already, with other metadata" in capfd.readouterr().err


def test_a_version_that_is_logged_again_stays_what_it_is(run: wandb.Run) -> None:
    artifact = run.log_artifact(an_artifact("1")).wait()
    run.log_artifact(an_artifact("2")).wait()
    with wandb.init(project="demo", reinit="create_new") as other:
        other.log_artifact(artifact, aliases=["good"]).wait()
        pending = an_artifact("3")
        other.log_artifact(pending)
        other.log_artifact(pending, aliases=["late"]).wait()

    assert ["good"] == wandb.Api().artifact("cats:v0").aliases
    assert ("v2", ["late", "latest"]) == (pending.version, pending.aliases)


def test_a_type_clash_names_both_types_and_is_found_at_once(run: wandb.Run) -> None:
    run.log_artifact(an_artifact()).wait()
    with pytest.raises(ValueError, match=r"'cats' already exists with type 'dataset'.*'model'"):
        run.log_artifact(an_artifact(type="model"))


def test_an_error_in_the_background_reaches_who_waits(run: wandb.Run, held: threading.Event) -> None:
    """Both were asked for before either was there."""
    run.log_artifact(an_artifact())
    clash = run.log_artifact(an_artifact(type="model"))
    held.set()
    with pytest.raises(ValueError, match=r"'dataset'.*'model'"):
        clash.wait()

    assert clash.is_draft()


def test_an_error_that_nobody_waited_for_reaches_finish() -> None:
    run = wandb.init(project="demo")
    may_go_on = threading.Event()
    run.hall.queue.add("a gate", may_go_on.wait)
    for type_ in ("dataset", "model", "result"):
        run.log_artifact(an_artifact(type=type_))
    may_go_on.set()
    with pytest.raises(ValueError, match="'model'") as caught:
        run.finish()

    assert ["result" in note for note in caught.value.__notes__] == [True]
    assert "crashed" == run.state == wandb.Api().run(f"demo/{run.id}").state
    run.finish()


def test_an_error_that_was_caught_is_not_raised_again() -> None:
    with wandb.init(project="demo") as run:
        may_go_on = threading.Event()
        run.hall.queue.add("a gate", may_go_on.wait)
        run.log_artifact(an_artifact())
        clash = run.log_artifact(an_artifact(type="model"))
        may_go_on.set()
        with pytest.raises(wandb.Invalid):
            clash.wait()

    assert "finished" == run.state


def test_finish_waits_for_what_was_logged() -> None:
    with wandb.init(project="demo") as run:
        artifact = run.log_artifact(an_artifact("x" * (4 << 20)))

    assert "v0" == artifact.version


def test_many_may_wait_and_few_hold_files_open(run: wandb.Run) -> None:
    """A thousand logs in a loop must not run out of descriptors."""
    before = len(os.listdir("/proc/self/fd"))
    most = 0
    for number in range(300):
        run.log_artifact(an_artifact(str(number)))
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
    run.finish()

    assert 300 == wandb.Api().artifact("demo/cats").collection.artifacts().__len__()
    assert most < 600


def test_a_new_draft_begins_with_all_of_it_and_reads_nothing(run: wandb.Run, files: Files) -> None:
    files({"d/a": b"1", "d/b": b"2"})
    artifact = wandb.Artifact("cats", "dataset", "two", {"n": 2})
    artifact.add_dir("d")
    run.log_artifact(artifact, aliases=["best"], tags=["x"]).wait()
    draft = artifact.new_draft()
    assert ("cats", "two", {"n": 2}, artifact.digest) == (draft.name, draft.description, draft.metadata, draft.digest)
    assert draft.is_draft()
    with draft.new_file("c") as file:
        file.write("3")
    run.log_artifact(draft).wait()

    assert ("cats:v1", ["a", "b", "c"], []) == (draft.name, list(draft.manifest.entries), draft.tags)
    assert ["latest"] == draft.aliases


def test_a_new_draft_stays_in_its_project(run: wandb.Run) -> None:
    draft = run.log_artifact(an_artifact()).wait().new_draft()
    with wandb.init(project="other", reinit="create_new") as other, pytest.raises(ValueError, match=r"'demo'.*'other'"):
        other.log_artifact(draft)


def test_incremental_versions_add_to_the_latest(run: wandb.Run) -> None:
    run.log_artifact(an_artifact("1", incremental=True)).wait()
    more = wandb.Artifact("cats", "dataset", incremental=True)
    with more.new_file("b.txt") as file:
        file.write("2")
    run.log_artifact(more).wait()
    changed = run.log_artifact(an_artifact("changed", incremental=True)).wait()

    assert ["a.txt", "b.txt"] == list(more.manifest.entries)
    assert more.incremental
    assert ("v2", 8) == (changed.version, changed.size)


def test_an_artifact_of_metadata_alone_is_a_version(run: wandb.Run) -> None:
    artifact = run.log_artifact(wandb.Artifact("empty", "result", metadata={"accuracy": 1})).wait()

    assert ("empty:v0", 0, {"accuracy": 1}) == (artifact.name, artifact.file_count, artifact.metadata)


def test_threads_log_in_some_order_and_lose_nothing(run: wandb.Run) -> None:
    def log(first: int) -> None:
        for number in range(first, first + 10):
            run.log_artifact(an_artifact(str(number)))

    threads = [threading.Thread(target=log, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 40 == len(wandb.Api().artifacts("dataset", "demo/cats"))


def test_an_artifact_that_was_begun_in_another_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = an_artifact()
    before = hall_here().store.path
    monkeypatch.setenv("ARTSTORE_DIR", str(tmp_path / "another"))
    with wandb.init() as run, pytest.raises(wandb.Conflict, match="begin the run first"):
        run.log_artifact(artifact)

    assert before != run.hall.store.path


def test_a_finished_run_logs_nothing() -> None:
    run = wandb.init()
    run.finish()
    with pytest.raises(wandb.Conflict, match="finished"):
        run.log_artifact(an_artifact())
    assert active.run_of_process() is None


def test_a_run_that_is_ending_says_so(run: wandb.Run, held: threading.Event) -> None:
    """A thread that logs meanwhile would read that the run goes on and does not."""
    run.log_artifact(an_artifact())
    ending = threading.Thread(target=run.finish)
    ending.start()
    try:
        while wandb.run is not None:
            pass
        with pytest.raises(wandb.Conflict, match="is ending: log_artifact needs one that goes on"):
            run.log_artifact(an_artifact())
    finally:
        held.set()
        ending.join()


def test_log_model_use_model_and_log_code(run: wandb.Run, files: Files, place: Path) -> None:
    files({"model.h5": b"1", "d/a": b"2", "d/b": b"3", "src/train.py": b"x", "src/data.bin": b"y"})
    run.log_model("model.h5", name="single", aliases=["best"])
    run.log_model("d", name="several")
    run.log_artifact("model.h5", name="data", type="dataset")

    assert str(place / "artifacts/single:v0/model.h5") == run.use_model("single:best")
    assert str(place / "artifacts/several:v0") == run.use_model("several")
    with pytest.raises(AssertionError, match="not say that it is a model"):
        run.use_model("data")
    code = run.log_code("src")
    assert code is not None
    assert ("code", ["train.py"]) == (code.wait().type, list(code.manifest.entries))
    assert run.log_code("d") is None


def test_metrics_are_not_artstores_and_it_says_what_is(run: wandb.Run) -> None:
    for call in (lambda: run.log({"loss": 1}), lambda: wandb.log({"loss": 1}), lambda: run.summary):
        with pytest.raises(wandb.Invalid, match=r"run\.config") as caught:
            call()
        assert "no-metrics" == caught.value.code


def test_saving_without_a_run_is_done_when_it_returns() -> None:
    began = time.time()
    artifact = an_artifact()
    artifact.save(project="elsewhere")
    (run,) = wandb.Api().runs("elsewhere")

    assert ("elsewhere", "v0", ["latest"]) == (artifact.project, artifact.version, artifact.aliases)
    assert ("auto", "finished") == (run.job_type, run.state)
    assert time.time() - began < 30


def test_saving_without_a_run_that_fails_is_a_crashed_run() -> None:
    an_artifact().save()
    with pytest.raises(ValueError, match="type"):
        an_artifact(type="model").save()

    assert ["crashed", "finished"] == [run.state for run in wandb.Api().runs()]


def test_saving_in_a_run_logs_to_it(run: wandb.Run) -> None:
    artifact = an_artifact()
    artifact.save()
    artifact.wait()

    assert ["cats:v0"] == [each.name for each in run.logged_artifacts()]


def test_an_object_is_added_once_and_a_name_keeps_what_it_has() -> None:
    artifact = wandb.Artifact("tables", "dataset")
    table, other = wandb.Table(columns=["a"], data=[[1]]), wandb.Table(columns=["a"], data=[[2]])
    first = artifact.add(table, "x")

    assert "x.table.json" == first.path
    assert first.path == artifact.add(table, "elsewhere").path == artifact.add(other, "x").path
    assert first.digest == artifact.manifest.entries["x.table.json"].digest
    assert first.digest != artifact.add(other, "x", overwrite=True).digest
    assert ["x.table.json"] == list(artifact.manifest.entries)


@pytest.mark.parametrize("given", [object(), "text", {"a": 1}, None])
def test_what_is_no_table_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match="expected one of: Table, PartitionedTable, JoinedTable"):
        wandb.Artifact("tables", "dataset").add(given, "x")


def test_an_object_below_media_tables_is_named_by_its_digest() -> None:
    artifact = wandb.Artifact("tables", "dataset")
    entry = artifact.add(wandb.Table(columns=["a"], data=[[1]]), "media/tables/x")

    assert f"media/tables/{entry.digest.removeprefix('blake3:')[:20]}.table.json" == entry.path
