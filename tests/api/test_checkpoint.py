"""Checkpoints: what a training leaves in a folder, kept in the background, the last and the best of it."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import artstore
from artstore.api.stores import hall_here
from artstore.storage import stat_cache
from artstore.store import Store

Files = Callable[[Mapping[str, bytes]], None]


def gate() -> threading.Event:
    """As long as it is not set nothing that is saved from now on gets done."""
    may_go_on = threading.Event()
    hall_here().queue.add("a gate", lambda: may_go_on.wait(30))
    return may_go_on


@pytest.fixture
def held(saver: artstore.checkpoint) -> Iterator[threading.Event]:
    del saver  # Which waits for all that was asked for before it.
    may_go_on = gate()
    yield may_go_on
    may_go_on.set()


@pytest.fixture
def saver(files: Files) -> Iterator[artstore.checkpoint]:
    files({"ckpt/weights": b"0"})
    with artstore.checkpoint("ckpt", name="resnet") as begun:
        yield begun


def store() -> Store:
    return hall_here().settled()


def versions(name: str = "resnet", project: str = "uncategorized") -> list[int]:
    return sorted(version.number for version in store().versions(name, project=project))


def weights(reference: str) -> bytes:
    return b"".join(store().read(reference, "weights"))


def saved(files: Files, saver: artstore.checkpoint, number: int, **more: Any) -> artstore.Artifact:
    files({"ckpt/weights": b"%d" % number})
    return saver.save(step=number, **more).wait()


def test_saves_are_versions_in_the_order_of_the_calls(saver: artstore.checkpoint, files: Files) -> None:
    """Whatever their size: the last version is what training goes on from."""
    made = []
    for number in range(6):
        files({f"ckpt/{number}/weights": b"%d" % number * (1 if number % 2 else 2 << 20)})
        made.append(saver.save(step=number, metadata={"loss": 1 / (number + 1)}))

    assert [f"resnet:v{number}" for number in range(6)] == [save.wait().name for save in made]
    assert [{"step": n, "loss": 1 / (n + 1)} for n in range(6)] == [save.wait().metadata for save in made]
    assert [["weights", *(f"{n}/weights" for n in range(upto))] for upto in range(1, 7)] == [
        sorted(save.wait().manifest.entries, key=lambda path: (path != "weights", path)) for save in made
    ]


def test_a_save_returns_before_it_is_read_and_the_training_goes_on_meanwhile(
    saver: artstore.checkpoint, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that stands still at each checkpoint is what this is there to prevent."""
    files({"ckpt/large": os.urandom(32 << 20)})
    real, is_read, may_go_on, readers = os.open, threading.Event(), threading.Event(), []

    def held_up(path: Any, *args: Any, **more: Any) -> int:
        if isinstance(path, str) and path.endswith("large"):
            readers.append(threading.current_thread())
            is_read.set()
            may_go_on.wait(30)
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", held_up)
    save = saver.save(step=1)

    assert is_read.wait(30), "it is being done"
    assert threading.current_thread() not in readers
    with pytest.raises(artstore.WaitTimeoutError):
        save.wait(timeout=0.01)
    may_go_on.set()
    assert "resnet:v0" == save.wait(30).name


def test_the_end_of_the_with_waits_for_all_of_it(files: Files) -> None:
    files({"ckpt/weights": b"1"})
    with artstore.checkpoint("ckpt", name="resnet") as saver:
        threading.Timer(0.1, gate().set).start()
        saver.save()

    assert 0 == hall_here().store.version("resnet").number


def test_files_that_come_later_are_not_in_it(saver: artstore.checkpoint, files: Files, held: threading.Event) -> None:
    """A training that gives every checkpoint names of its own never has to wait."""
    first = saver.save()
    files({"ckpt/later": b"2"})
    second = saver.save()
    held.set()

    assert ["weights"] == list(first.wait().manifest.entries)
    assert ["later", "weights"] == list(second.wait().manifest.entries)


@pytest.mark.parametrize("change", ["written", "replaced", "removed", "same size and time", "the folder"])
def test_a_file_that_changes_before_it_is_read_is_an_error_and_no_version(
    saver: artstore.checkpoint, files: Files, held: threading.Event, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Weights of one step under the metadata of another would be found out when it is too late."""
    files({"ckpt/other": b"stays"})
    save = saver.save(step=7)
    path = Path("ckpt/weights")
    before = path.stat()
    if change in {"written", "same size and time"}:
        path.write_bytes(b"1")
    if change == "same size and time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if change == "replaced":
        Path("new").write_bytes(b"0")
        os.replace("new", path)
    if change == "removed":
        path.unlink()
    if change == "the folder":
        os.rename("ckpt", "elsewhere")
    held.set()
    with pytest.raises(artstore.Conflict, match="weights") as caught:
        save.wait()

    assert "file-changed" == caught.value.code
    assert [] == store().collections()
    assert "saving resnet of step 7" in capfd.readouterr().err, "a training of days hears of it now"


def test_a_change_right_after_the_call_is_always_seen(saver: artstore.checkpoint, files: Files) -> None:
    """Time stamps have a grain: two writes within it look like one, if the call does not outlast it."""
    for number in range(20):
        files({"ckpt/weights": b"a"})
        may_go_on = gate()
        save = saver.save(step=number)
        files({"ckpt/weights": b"b"})
        may_go_on.set()
        with pytest.raises(artstore.Conflict):
            save.wait()


def test_an_error_that_nobody_waited_for_is_raised_by_the_end(files: Files) -> None:
    files({"ckpt/weights": b"0"})

    def train() -> None:
        with artstore.checkpoint("ckpt", name="resnet") as saver:
            held = gate()
            saver.save(step=1)
            saver.save(step=2)
            files({"ckpt/weights": b"1"})
            saver.save(step=3)
            held.set()

    with pytest.raises(artstore.Conflict, match="changed") as caught:
        train()

    assert 1 == len(caught.value.__notes__)
    assert [{"step": 3}] == [version.metadata for version in store().versions("resnet")]


def test_an_error_that_was_caught_is_not_raised_again(files: Files) -> None:
    files({"ckpt/weights": b"0"})
    with artstore.checkpoint("ckpt", name="resnet") as saver:
        held = gate()
        save = saver.save()
        files({"ckpt/weights": b"1"})
        held.set()
        with pytest.raises(artstore.Conflict):
            save.wait()
        saver.wait()


def test_the_last_stay(files: Files) -> None:
    with artstore.checkpoint("ckpt", name="resnet", keep_last=2) as saver:
        for number in range(5):
            saved(files, saver, number)

            assert list(range(max(0, number - 1), number + 1)) == versions(), "after each save, not at the end alone"


def test_the_best_stay_beside_the_last(files: Files) -> None:
    losses = [0.9, 0.2, 0.5, 0.1, 0.7, 0.8]
    with artstore.checkpoint("ckpt", name="resnet", keep_last=1, keep_best=("loss", "min", 2)) as saver:
        for number, loss in enumerate(losses):
            saved(files, saver, number, metadata={"loss": loss})

    assert [1, 3, 5] == versions()
    assert [b"1", b"3", b"5"] == [weights(f"resnet:v{number}") for number in versions()]


def test_several_may_say_what_is_best(files: Files) -> None:
    with artstore.checkpoint(
        "ckpt", name="resnet", keep_best=[("eval.accuracy", "max", 1), ("loss", "min", 1)]
    ) as saver:
        for number, (accuracy, loss) in enumerate([(0.5, 0.5), (0.9, 0.4), (0.6, 0.1), (0.7, 0.3)]):
            saved(files, saver, number, metadata={"loss": loss, "eval": {"accuracy": accuracy}})

    assert [1, 2] == versions()


def test_what_has_an_alias_or_was_used_stays(files: Files) -> None:
    with artstore.init(project="zoo") as run, artstore.checkpoint("ckpt", name="resnet", keep_last=1) as saver:
        saved(files, saver, 0, aliases="good")
        run.use_artifact(saved(files, saver, 1))
        for number in (2, 3, 4):
            saved(files, saver, number)

    assert [0, 1, 4] == versions(project="zoo")


def test_without_a_policy_all_stay(files: Files) -> None:
    with artstore.checkpoint("ckpt", name="resnet") as saver:
        for number in range(4):
            saved(files, saver, number)

    assert [0, 1, 2, 3] == versions()


def test_a_loss_that_is_no_number_ends_no_training(files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    with artstore.checkpoint("ckpt", name="resnet", keep_best=("loss", "min", 1)) as saver:
        saved(files, saver, 0, metadata={"loss": math.nan})
        said = capfd.readouterr().err
        for number, loss in ((1, 0.5), (2, math.nan), (3, 0.4)):
            saved(files, saver, number, metadata={"loss": loss})

    assert "nothing was deleted" in said
    assert [3] == versions()


def test_a_save_without_what_the_best_go_by_is_an_error_at_once(files: Files) -> None:
    """With a typing error in the key nothing would ever be the best."""
    files({"ckpt/weights": b"0"})
    with artstore.checkpoint("ckpt", name="resnet", keep_best=("val.loss", "min", 1)) as saver:
        for metadata in (None, {"loss": 0.1}, {"val": 0.1}, {"val": {"lss": 0.1}}):
            with pytest.raises(artstore.Invalid, match=r"val\.loss"):
                saver.save(metadata=metadata)

    assert [] == store().collections()


@pytest.mark.parametrize(
    "policy",
    [
        {"keep_last": 0},
        {"keep_last": -1},
        {"keep_best": ("loss", "min", 0)},
        {"keep_best": ("loss", "least", 1)},
        {"keep_best": ("loss", "min")},
        {"keep_best": [("loss", "min", 1), "loss"]},
    ],
)
def test_a_policy_that_is_none_is_an_error_before_the_training(policy: dict[str, Any]) -> None:
    with pytest.raises(artstore.Invalid) as caught:
        artstore.checkpoint("ckpt", name="resnet", **policy)

    assert "bad-policy" == caught.value.code


def test_what_cannot_be_saved_is_an_error_at_once_and_leaves_nothing(saver: artstore.checkpoint, files: Files) -> None:
    sessions = os.listdir(".artstore/locks")
    with pytest.raises(artstore.Invalid, match="alias"):
        saver.save(aliases="a/b")
    with pytest.raises(artstore.Invalid, match="step"):
        saver.save(step=1, metadata={"step": 2})
    with pytest.raises(artstore.WrongType, match="JSON"):
        saver.save(metadata={"model": object()})
    os.mkfifo("ckpt/pipe")
    with pytest.raises(artstore.Invalid, match="pipe"):
        saver.save()
    os.remove("ckpt/pipe")
    os.remove("ckpt/weights")
    with pytest.raises(artstore.Invalid, match="no file"):
        saver.save()
    os.rmdir("ckpt")
    with pytest.raises(artstore.Invalid, match="not a folder"):
        saver.save()

    assert [] == store().collections()
    assert sessions == os.listdir(".artstore/locks"), "no session is left behind"
    files({"ckpt/weights": b"1"})
    assert "resnet:v0" == saver.save().wait().name, "none of it keeps the next one from being saved"


def test_a_name_of_another_type_is_an_error_before_the_training(files: Files) -> None:
    files({"ckpt/weights": b"0"})
    store().put("ckpt", name="resnet", type="dataset")
    with pytest.raises(artstore.Invalid, match=r"'dataset'.*'model'"):
        artstore.checkpoint("ckpt", name="resnet")


def test_a_run_has_made_what_is_saved_while_it_goes_on(files: Files) -> None:
    files({"ckpt/weights": b"0"})
    with artstore.init(project="zoo") as given, artstore.init(project="other", reinit="create_new") as newer:
        with artstore.checkpoint("ckpt", name="resnet", run=given) as saver:
            saver.save()
        with artstore.checkpoint("ckpt", name="resnet") as saver:
            saver.save()
        with pytest.raises(artstore.Invalid, match="'other'"):
            artstore.checkpoint("ckpt", name="resnet", project="zoo")

        assert [["zoo", "resnet:v0"], ["other", "resnet:v0"]] == [
            [artifact.info.project, artifact.name] for run in (given, newer) for artifact in run.logged_artifacts()
        ]


def test_without_a_run_the_project_is_the_one_that_is_named(files: Files) -> None:
    files({"ckpt/weights": b"0"})
    with artstore.checkpoint("ckpt", name="resnet", project="zoo") as saver:
        version = saver.save(aliases=["best", "good"]).wait()

    assert ("model", ["best", "good", "latest"], None) == (version.type, sorted(version.aliases), version.logged_by())
    assert [0] == versions(project="zoo")


def test_what_ended_takes_no_more(files: Files) -> None:
    files({"ckpt/weights": b"0"})
    with artstore.checkpoint("ckpt", name="resnet") as saver:
        pass
    with pytest.raises(artstore.Conflict, match="begin another"):
        saver.save()
    run = artstore.init(project="zoo")
    with artstore.checkpoint("ckpt", name="resnet", run=run) as saver:
        run.finish()
        with pytest.raises(artstore.Conflict, match="finished"):
            saver.save()


def test_a_crash_loses_nothing_that_was_saved(files: Files) -> None:
    """The crash is what is raised; the run is marked, and the last checkpoint is there to go on from."""
    files({"ckpt/weights": b"0"})
    runs = []

    def train() -> None:
        with artstore.init(project="zoo") as run, artstore.checkpoint("ckpt", name="resnet") as saver:
            runs.append(run)
            held = gate()
            saver.save(step=1)
            files({"ckpt/more": b"1"})
            saver.save(step=2)
            files({"ckpt/more": b"2"})
            held.set()
            message = "out of memory"
            raise MemoryError(message)

    with pytest.raises(MemoryError, match="out of memory") as caught:
        train()

    assert "crashed" == runs[0].state
    assert [{"step": 1}] == [version.metadata for version in store().versions("resnet", project="zoo")]
    assert ["more" in note for note in caught.value.__notes__] == [True], "nor is it silent that the other is not there"


def test_a_training_that_goes_on_goes_on_with_the_versions(files: Files) -> None:
    """The policy is of the collection, not of one process."""
    for start in (0, 3):
        with artstore.checkpoint("ckpt", name="resnet", keep_last=2, keep_best=("loss", "min", 1)) as saver:
            for number in range(start, start + 3):
                saved(files, saver, number, metadata={"loss": number + 1})
        store().get("resnet", "ckpt", delete=True)

    assert [0, 4, 5] == versions()
    assert b"5" == Path("ckpt/weights").read_bytes()


def test_a_file_that_did_not_change_is_neither_read_nor_stored_again(
    saver: artstore.checkpoint, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of a fine-tuned model stands still: a save of it must not cost what the first one did.

    The two seconds are the stat cache's, and its tests' matter.
    """
    monkeypatch.setattr(stat_cache, "MARGIN_NS", -(10**12))
    files({"ckpt/frozen": os.urandom(4 << 20)})
    saver.save(step=0).wait()
    stored = store().du().stored_bytes
    real, seen = os.open, []

    def seeing(path: Any, *args: Any, **more: Any) -> int:
        if isinstance(path, str) and "ckpt" in Path(path).parts:
            seen.append(Path(path).name)
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", seeing)
    version = saved(files, saver, 1)

    assert ["weights"] == seen
    assert ["frozen", "weights"] == list(version.manifest.entries)
    assert store().du().stored_bytes - stored < 1 << 20


def test_the_same_content_makes_no_version_and_says_so(
    saver: artstore.checkpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    first, again = saver.save(step=1).wait(), saver.save(step=2).wait()

    assert (first.id, {"step": 1}) == (again.id, again.metadata)
    assert "has this content already" in capfd.readouterr().err
