"""Runs: how they begin, what they know, and how they end."""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb
from artstore.api.stores import hall_here
from artstore.store import Store

Files = Callable[[Mapping[str, bytes]], None]


def an_artifact(text: str = "meow", name: str = "cats", type: str = "dataset") -> wandb.Artifact:
    artifact = wandb.Artifact(name, type)
    with artifact.new_file("a.txt") as file:
        file.write(text)
    return artifact


@pytest.fixture
def run() -> Iterator[wandb.Run]:
    with wandb.init(project="demo") as begun:
        yield begun


def test_a_run_knows_what_init_was_told(tmp_path: Path) -> None:
    with wandb.init(
        entity="nobody",
        project="demo",
        id="x1",
        name="first",
        notes="n",
        tags=["a", "b"],
        config={"lr": 0.1},
        group="g",
        job_type="train",
        dir=tmp_path,
    ) as run:
        assert ("x1", "first", "n", ("a", "b")) == (run.id, run.name, run.notes, run.tags)
        assert ("demo", "g", "train", 0.1) == (run.project, run.group, run.job_type, run.config["lr"])
        assert (str(tmp_path), "running", "local/demo/x1") == (run.dir, run.state, run.path)
        assert "local" == run.entity
        seen = wandb.Api().run("x1")
        assert ("first", "n", ["a", "b"], {"lr": 0.1}) == (seen.name, seen.notes, seen.tags, seen.config)
        assert ("g", "train", "running") == (seen.group, seen.job_type, seen.state)


def test_the_environment_may_say_it_for_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Job scripts that set W&B's variables stay as they are; artstore's own go first."""
    for name, value in {
        "WANDB_PROJECT": "theirs",
        "ARTSTORE_PROJECT": "ours",
        "WANDB_RUN_GROUP": "g",
        "WANDB_JOB_TYPE": "j",
        "WANDB_NAME": "n",
        "WANDB_RUN_ID": "i1",
        "WANDB_TAGS": "a, b,",
        "WANDB_NOTES": "t",
        "WANDB_ENTITY": "me",
    }.items():
        monkeypatch.setenv(name, value)
    with wandb.init() as run:
        assert ("ours", "g", "j", "n", "i1") == (run.project, run.group, run.job_type, run.name, run.id)
        assert (("a", "b"), "t", "me") == (run.tags, run.notes, run.entity)
    with wandb.init(project="said", id="i2") as run:
        assert ("said", "i2") == (run.project, run.id)


def test_without_anything_it_is_uncategorized(place: Path) -> None:
    with wandb.init() as run:
        assert ("uncategorized", run.id, str(place)) == (run.project, run.name, run.dir)
        assert 8 == len(run.id)


def test_the_active_run_is_the_modules(run: wandb.Run) -> None:
    wandb.config["x"] = 1
    wandb.config.update({"y": 2})

    assert wandb.run is run
    assert {"x": 1, "y": 2} == run.config.as_dict() == wandb.Api().run(run.path).config
    wandb.log_artifact(an_artifact()).wait()
    assert "v0" == wandb.use_artifact("cats").version
    wandb.finish()
    assert "finished" == run.state
    wandb.finish()


def test_without_a_run_the_modules_verbs_say_so() -> None:
    assert wandb.run is None
    assert {} == dict(wandb.config)
    for call in (
        lambda: wandb.log_artifact("x"),
        lambda: wandb.use_artifact("x"),
        lambda: wandb.config.update({"x": 1}),
    ):
        with pytest.raises(wandb.Conflict, match=r"init\(\)"):
            call()
    assert wandb.login() is True


def test_a_config_is_not_read_without_a_run() -> None:
    """A key that is not there would be looked for in the script, where the run is what is missing."""
    for read in (
        lambda: wandb.config["lr"],
        lambda: wandb.config.lr,
        lambda: wandb.config.get("lr", 0.1),
        lambda: "lr" in wandb.config,
    ):
        with pytest.raises(wandb.Error, match=r"config.*lr.* needs a run: call artstore.init\(\) first"):
            read()
    assert [] == list(copy.copy(wandb.config))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *((({word: 5}), f"{word} of init is 5") for word in ("project", "id", "name", "notes", "group", "job_type")),
        ({"entity": 5}, "entity of init is 5"),
        ({"tags": 5}, "5 is not text, and so no tag"),
        ({"tags": ["a", 5]}, "5 is not text, and so no tag"),
    ],
)
def test_what_init_cannot_take_is_named_as_its_caller_wrote_it(words: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        wandb.init(**words)
    assert wandb.run is None
    assert [] == list(wandb.Api().runs())


def test_init_in_a_run_answers_that_run(run: wandb.Run) -> None:
    assert wandb.init(project="other") is run
    other = wandb.init(project="other", reinit="create_new")
    assert ("running", "running") == (run.state, other.state)
    third = wandb.init(project="third", reinit=True)

    assert ("running", "finished", "running") == (run.state, other.state, third.state)


def test_each_thread_has_a_run_of_its_own(run: wandb.Run) -> None:
    """The first to finish would otherwise end the run of all."""
    found = []

    def work() -> None:
        with wandb.init(project="demo") as mine:
            found.append(mine)
            assert wandb.run is mine

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 4 == len({each.id for each in (*found, run)})
    assert wandb.run is run
    assert "running" == run.state


def test_a_known_id_goes_on() -> None:
    with wandb.init(project="demo", id="x1", config={"a": 1}, name="first"):
        pass
    with wandb.init(project="demo", id="x1", resume="must", config={"b": 2}) as again:
        assert ({"a": 1, "b": 2}, "first", "running") == (again.config.as_dict(), again.name, again.state)
    with pytest.raises(wandb.Conflict, match="already"):
        wandb.init(project="demo", id="x1", resume="never", reinit="create_new")
    with pytest.raises(wandb.MissingArtifact, match="'x2'"):
        wandb.init(project="demo", id="x2", resume="must", reinit="create_new")
    with pytest.raises(ValueError, match="id"):
        wandb.init(resume="must", reinit="create_new")
    with pytest.raises(ValueError, match="resume"):
        wandb.init(resume="perhaps", reinit="create_new")


@pytest.mark.parametrize("mode", ["online", "offline", "shared", None])
def test_the_modes_mean_the_same_here(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb.init(mode=mode) as run:
        run.log_artifact(an_artifact())

    assert wandb.Api().artifact_exists("cats")


def test_a_disabled_run_works_and_leaves_nothing() -> None:
    with wandb.init(mode="disabled") as run:
        run.log_artifact(an_artifact()).wait()
        assert "v0" == run.use_artifact("cats").version

    assert not wandb.Api().artifact_exists("cats")
    with pytest.raises(ValueError, match="mode"):
        wandb.init(mode="dreaming")


def test_what_only_a_server_could_do_is_said_and_a_typing_error_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with wandb.init(anonymous="allow", settings=None):
        pass
    assert "init(anonymous=…) means nothing" in capsys.readouterr().err
    with pytest.raises(TypeError, match="'projet'"):
        wandb.init(projet="x")


def test_the_config_is_kept_as_it_is_set(run: wandb.Run) -> None:
    run.config.lr = 0.1
    run.config["batch"] = 32
    run.config.update({"lr": 0.2}, allow_val_change=True)
    run.config.setdefaults({"lr": 9, "seed": 1})
    run.config.update(argparse.Namespace(depth=(1, 2)))
    del run.config["batch"]

    assert {"lr": 0.2, "seed": 1, "depth": (1, 2)} == run.config.as_dict()
    assert {"lr": 0.2, "seed": 1, "depth": [1, 2]} == wandb.Api().run(run.path).config
    assert 0.2 == run.config.lr == run.config.get("lr")
    with pytest.raises(AttributeError, match="'width'"):
        _ = run.config.width
    with pytest.raises(KeyError):
        del run.config["width"]
    with pytest.raises(TypeError, match="config"):
        run.config.update([1])


def test_an_artifact_in_the_config_is_used(run: wandb.Run) -> None:
    an_artifact("1", name="first").save()
    run.log_artifact(an_artifact("2", name="second")).wait()
    run.config["a"] = wandb.Api().artifact("first")
    run.config.update({"b": "wandb-artifact://me/demo/second:v0"})
    kept = wandb.Api().run(run.path).config

    assert ["first:v0", "second:v0"] == [each.name for each in run.used_artifacts()]
    assert ("artifactVersion", "first") == (kept["a"]["_type"], kept["a"]["sequenceName"])
    assert ("v0", "second") == (kept["b"]["version"], kept["b"]["sequenceName"])


def test_words_about_a_run_may_change(run: wandb.Run) -> None:
    run.name, run.notes, run.tags = "other", "why", ("a",)
    seen = wandb.Api().run(run.path)

    assert ("other", "why", ["a"]) == (seen.name, seen.notes, seen.tags)


def test_using_records_who_and_checks_the_type(run: wandb.Run) -> None:
    run.log_artifact(an_artifact(), aliases=["best"])
    for name in (
        "cats",
        "cats:best",
        "cats:v0",
        "demo/cats:latest",
        "me/demo/cats:v0",
        "wandb-artifact://me/demo/cats:v0",
    ):
        assert "v0" == run.use_artifact(name, type="dataset").version
    with pytest.raises(ValueError, match="'dataset', not 'model'"):
        run.use_artifact("cats", type="model")

    assert [run.id] == [user.id for user in wandb.Api().artifact("cats").used_by()]
    assert ["cats:v0"] == [each.name for each in run.used_artifacts()]


@pytest.mark.parametrize("name", ["nothing", "cats:v9", "cats:nothing", "nowhere/cats:v0"])
def test_what_is_not_here_is_a_comm_error_that_says_what_is(run: wandb.Run, name: str) -> None:
    run.log_artifact(an_artifact())
    with pytest.raises(wandb.errors.CommError) as caught:
        run.use_artifact(name)

    assert isinstance(caught.value, wandb.NotFound)


def test_a_name_that_is_none_is_a_value_error(run: wandb.Run) -> None:
    with pytest.raises(ValueError, match="too many parts"):
        run.use_artifact("a/b/c/d:v0")
    with pytest.raises(TypeError, match="7"):
        run.use_artifact(7)  # type: ignore[arg-type]


def test_a_draft_is_logged_before_it_is_used(run: wandb.Run) -> None:
    artifact = run.use_artifact(an_artifact(), aliases=["best"], use_as="train")

    assert ("cats:v0", ["best", "latest"], "train") == (
        artifact.name,
        artifact.aliases,
        artifact.json_encode()["usedAs"],
    )
    assert ["cats:v0"] == [each.name for each in run.used_artifacts()] == [each.name for each in run.logged_artifacts()]


def test_an_exception_ends_a_run_as_crashed_and_what_it_logged_is_there() -> None:
    with contextlib.suppress(RuntimeError), wandb.init(project="demo") as run:
        run.log_artifact(an_artifact())
        raise RuntimeError

    assert "crashed" == run.state
    assert "v0" == wandb.Api().artifact("demo/cats").version


def test_an_exception_is_not_hidden_by_what_was_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(RuntimeError), wandb.init() as run:
        gate = threading.Event()
        run.hall.queue.add("a gate", gate.wait)
        run.log_artifact(an_artifact())
        run.log_artifact(an_artifact(type="model"))
        gate.set()
        raise RuntimeError

    assert "not logged: " in capfd.readouterr().err


@pytest.mark.parametrize(("code", "state"), [(None, "finished"), (0, "finished"), (1, "crashed")])
def test_an_exit_code_says_how_it_ended(code: int | None, state: str) -> None:
    run = wandb.init()
    run.finish(exit_code=code)
    run.finish()

    assert state == run.state == wandb.Api().run(run.id).state


def test_the_store_is_the_one_that_commands_use(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    below = place / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert place / ".artstore" == hall_here().store.path
    monkeypatch.setenv("ARTSTORE_DIR", str(tmp_path / "mine"))

    with wandb.init() as run:
        assert tmp_path / "mine" == run.hall.store.path


def test_what_init_cannot_take_leaves_no_run_behind() -> None:
    """The next `init` would answer it, in another project and with other settings."""
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    for config in ([1], itself):
        with pytest.raises((TypeError, ValueError)):
            wandb.init(project="a", config=config)
        assert wandb.run is None
    with wandb.init(project="b", config={"x": 1}) as run:
        assert ("b", {"x": 1}) == (run.project, run.config.as_dict())

    assert ["crashed"] == [run.state for run in wandb.Api().runs("a")]


def test_a_config_takes_what_programs_have_in_theirs() -> None:
    """Arguments of a training are hundreds, and hold paths, functions and infinities; they are no metadata."""
    config = {str(number): number for number in range(150)} | {
        "path": Path("x"),
        "function": len,
        "clip": math.inf,
        "inner": [{"path": Path("y")}],
    }
    with wandb.init(project="zoo", config=config) as run:
        assert Path("x") == run.config["path"]
    kept = wandb.Api().run(f"zoo/{run.id}").config

    assert ("x", "<built-in function len>", "inf", [{"path": "y"}]) == tuple(
        kept[key] for key in ("path", "function", "clip", "inner")
    )
    assert 154 == len(kept)


def test_an_artifact_in_the_config_may_be_named_by_its_id() -> None:
    artifact = wandb.Artifact("cats", "dataset")
    artifact.save("zoo")
    with wandb.init(project="other", config={"data": f"wandb-artifact://_id/{artifact.id}"}) as run:
        assert [artifact.id] == [used.id for used in run.used_artifacts()]
        with pytest.raises(wandb.CommError, match="no version here"):
            run.config["more"] = "wandb-artifact://_id/nothing"


def test_the_folder_of_a_run_is_not_where_artifacts_are_kept(tmp_path: Path) -> None:
    """Scripts give a scratch folder: what they log there has to be found by the next one."""
    with wandb.init(project="zoo", dir=tmp_path / "scratch") as run:
        run.log_artifact(wandb.Artifact("cats", "dataset")).wait()

    assert (str(tmp_path / "scratch"), []) == (run.dir, list((tmp_path / "scratch").iterdir()))
    assert wandb.Api().artifact_exists("zoo/cats:v0")


def test_every_word_of_wandb_for_a_mode_is_known() -> None:
    for mode in ("online", "offline", "dryrun", "disabled"):
        wandb.init(project="zoo", mode=mode).finish()


def test_a_script_stays_with_its_store_when_its_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launchers such as Hydra give each job a folder of its own; what it made before must not be gone for it."""
    with wandb.init(project="demo") as run:
        run.log_artifact(an_artifact()).wait()
        early = wandb.Api()
    monkeypatch.chdir(tmp_path)

    assert "v0" == wandb.Api().artifact("demo/cats").version == early.artifact("demo/cats").version
    with wandb.init(project="demo") as run:
        assert "v0" == run.use_artifact("cats").version
    monkeypatch.setenv("ARTSTORE_DIR", str(tmp_path / "named"))
    assert not wandb.Api().artifact_exists("demo/cats"), "what is named goes before what was found"
    assert early.artifact_exists("demo/cats")
    monkeypatch.delenv("ARTSTORE_DIR")
    Store.init(tmp_path / ".artstore").close()
    assert not wandb.Api().artifact_exists("demo/cats"), "a folder with a store of its own means that one"


def test_an_api_object_stays_with_the_store_of_its_run() -> None:
    """What it found while the run went on it finds afterwards."""
    with wandb.init(project="demo", mode="disabled") as run:
        run.log_artifact(an_artifact()).wait()
        seen = wandb.Api()

    assert seen.artifact_exists("demo/cats")
    assert not wandb.Api().artifact_exists("demo/cats")
