"""Processes: what was logged is there however a process ends, and forks and threads do not get in each other's way."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb
from tests.conftest import Children

LOG = """
import os, sys, signal, threading
import artstore as wandb
def log(text, type="dataset", **options):
    artifact = wandb.Artifact("cats", type)
    with artifact.new_file("a.txt") as file:
        file.write(text)
    return run.log_artifact(artifact, **options)
run = wandb.init(project="demo", id="x1")
"""

TWO_TYPES = """
log("1")
log("2", type="model")
gate.set()
"""


def versions() -> list[str]:
    return [each.version for each in wandb.Api().artifacts("dataset", "demo/cats", order="version_index")]


def state() -> str:
    return wandb.Api().run("demo/x1").state


@pytest.mark.parametrize(
    ("end", "code", "expected"),
    [
        ("", 0, "finished"),
        ("sys.exit()", 0, "finished"),
        ("sys.exit(3)", 3, "crashed"),
        ("sys.exit('the data are bad')", 1, "crashed"),
        ("raise RuntimeError('boom')", 1, "crashed"),
        ("threading.Thread(target=lambda: log('from a thread')).start()", 0, "finished"),
    ],
)
def test_what_was_logged_is_there_when_the_interpreter_ends(
    children: Children, end: str, code: int, expected: str
) -> None:
    """Nobody waited, and nobody finished the run."""
    child = children.start(LOG + f"for number in range(5): log(str(number) * 3_000_000)\n{end}\n")
    _, complaints = child.communicate(timeout=60)

    assert code == child.returncode, complaints
    assert [f"v{number}" for number in range(5)] == versions()[:5]
    assert expected == state()


LATE = """
import atexit
import artstore as wandb
def log():
    artifact = wandb.Artifact("cats", "dataset")
    with artifact.new_file("a.txt") as file:
        file.write("late")
    try:
        artifact.save()
    except wandb.Conflict as error:
        print(error)
atexit.register(log)
assert wandb.run is None
"""


def test_what_is_logged_when_the_interpreter_ends_is_refused_in_words(children: Children) -> None:
    """A bare error of the thread pool says neither that nothing was kept, nor what to do."""
    child = children.start(LATE)
    said, complaints = child.communicate(timeout=60)

    assert "'cats' cannot be logged while the interpreter ends" in said, complaints
    assert not wandb.Api().artifact_exists("cats")


EXIT = """
import contextlib, sys, threading
import artstore as wandb
def deep():
    with contextlib.nullcontext():
        yield 1
        sys.exit(3)
def caught():
    try:
        list(deep())
    except SystemExit:
        return
run = wandb.init(project="demo", id="x1")
"""


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("list(deep())", "crashed"),
        ("try: sys.exit(3)\nfinally: run.config['a'] = 1", "crashed"),
        ("try: sys.exit(0)\nexcept SystemExit: sys.exit(3)", "crashed"),
        ("try: sys.exit(3)\nexcept SystemExit: sys.exit(0)", "finished"),
        ("try: list(deep())\nexcept SystemExit: pass", "finished"),
        ("caught()", "finished"),
        ("caught()\nraise SystemExit(0)", "finished"),
        ("thread = threading.Thread(target=sys.exit, args=(3,)); thread.start(); thread.join()", "finished"),
        ("with run: sys.exit(0)", "finished"),
        ("with run: sys.exit(3)", "crashed"),
        ("run.finish()\nsys.exit(3)", "finished"),
    ],
)
def test_a_run_ends_as_its_script_does(children: Children, end: str, expected: str) -> None:
    """A job that gave up with a code, as schedulers want it, would look like one that went well; or the reverse."""
    children.start(f"{EXIT}{end}\n").communicate(timeout=60)

    assert expected == state()


def log_and_exit(folder: str, code: int) -> None:
    os.chdir(folder)
    wandb.init(project="demo", id=f"x{code}")
    sys.exit(code)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_run_of_a_worker_ends_as_the_worker_does(how: Any, place: Path) -> None:
    context = multiprocessing.get_context(how)
    workers = [context.Process(target=log_and_exit, args=(str(place), code)) for code in (0, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [0, 3] == [worker.exitcode for worker in workers]
    assert ("finished", "crashed") == tuple(wandb.Api().run(f"demo/x{code}").state for code in (0, 3))


def test_an_error_that_nobody_asked_for_is_printed_at_the_end(children: Children) -> None:
    child = children.start(LOG + "gate = threading.Event()\nrun.hall.queue.add('a gate', gate.wait)\n" + TWO_TYPES)
    _, complaints = child.communicate(timeout=60)

    assert "'dataset'" in complaints
    assert ["v0"] == versions()


def test_a_killed_process_leaves_a_crashed_run_and_what_it_had_logged(children: Children) -> None:
    child = children.start(LOG + "log('1').wait(); print('there', flush=True); signal.pause()\n")
    assert child.stdout is not None
    assert "there\n" == child.stdout.readline()
    assert "running" == state()
    child.send_signal(signal.SIGKILL)
    child.wait()

    # Before anybody has asked for the run itself.
    made_by = wandb.Api().artifact("demo/cats").logged_by()
    assert made_by is not None
    assert "crashed" == made_by.state
    assert "crashed" == state()
    assert ["v0"] == versions()


def in_a_process(number: int, folder: str) -> None:
    os.chdir(folder)
    with wandb.init(project="demo", group="g") as run:
        artifact = wandb.Artifact(f"part-{number}", "dataset")
        with artifact.new_file("a.txt") as file:
            file.write(str(number))
        run.log_artifact(artifact)


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_processes_log_to_one_store_together(how: Any, place: Path) -> None:
    with wandb.init(project="demo") as run:
        for number in range(3):
            pending = wandb.Artifact("parent", "dataset")
            with pending.new_file("a.txt") as file:
                file.write(str(number) * 1_000_000)
            run.log_artifact(pending)
        context = multiprocessing.get_context(how)
        workers = [context.Process(target=in_a_process, args=(number, str(place))) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [0, 0, 0] == [worker.exitcode for worker in workers]

    assert ["parent", "part-0", "part-1", "part-2"] == [each.name for each in wandb.Api().artifact_collections("demo")]
    assert 3 == len(wandb.Api().artifacts("dataset", "demo/parent"))
    assert 3 == len([each for each in wandb.Api().runs("demo") if (each.group, each.state) == ("g", "finished")])


@pytest.mark.slow
def test_processes_make_the_store_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a new machine each worker may be the first; all but one died."""
    monkeypatch.setenv("ARTSTORE_DIR", str(tmp_path / "new"))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=in_a_process, args=(number, str(tmp_path))) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [0] * 4 == [worker.exitcode for worker in workers]
    assert 4 == len(list(wandb.Api().artifact_collections("demo")))


INCREMENTS = """
import sys
import artstore as wandb
with wandb.init(project="demo") as run:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(10):
        artifact = wandb.Artifact("grown", "dataset", incremental=True)
        with artifact.new_file(f"{sys.argv[1]}-{number}.txt") as file:
            file.write(f"{sys.argv[1]} {number}")
        run.log_artifact(artifact)
"""


def test_processes_that_add_to_the_latest_version_lose_nothing_of_each_other(children: Children) -> None:
    """What one of them had committed meanwhile would be missing in the next version, and nobody would be told."""
    started = [children.start(INCREMENTS, name) for name in ("a", "b")]
    for child in started:
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
    for child in started:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in started:
        _, complaints = child.communicate(timeout=60)
        assert 0 == child.returncode, complaints

    grown = wandb.Api().artifacts("dataset", "demo/grown", order="version_index")
    assert [number + 1 for number in range(20)] == [each.file_count for each in grown]


def test_a_child_begins_its_own_run_and_leaves_its_parents_alone(children: Children) -> None:
    said = children.run(
        LOG
        + """
gate = threading.Event()
run.hall.queue.add("a gate", lambda: None)
pending = log("parent's")
begun = wandb.Artifact("begun", "dataset")
with begun.new_file("x") as file:
    file.write("x")
pid = os.fork()
if pid == 0:
    refused = []
    for call in (lambda: run.log_artifact(begun), lambda: begun.add_file(sys.executable)):
        try:
            call()
        except wandb.Conflict as error:
            refused.append(error.code)
    own = wandb.init(project="demo", id="x2")
    assert own is not run and wandb.run is own
    print(refused, flush=True)
    own.finish()
    run.finish()
    os._exit(0)
os.waitpid(pid, 0)
print(pending.wait().version)
run.log_artifact(begun).wait()
run.finish()
"""
    )

    assert "['other-process', 'other-process']\nv0" == said
    assert ("finished", "finished") == (state(), wandb.Api().run("demo/x2").state)
    assert wandb.Api().artifact_exists("demo/begun:v0")


FIRST_USE = """
import sys, artstore
print("ready")
sys.stdin.readline()
with artstore.init(project="p", group="g") as run:
    artifact = artstore.Artifact("parts", "dataset")
    with artifact.new_file(sys.argv[1]) as file:
        file.write(sys.argv[1])
    run.upsert_artifact(artifact)
"""


@pytest.mark.slow
def test_the_first_users_of_a_store_wait_for_the_one_that_makes_it(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of a machine that is new are all there at once; each that dies takes its part along."""
    monkeypatch.setenv("ARTSTORE_DIR", str(tmp_path / "new"))
    workers = [children.start(FIRST_USE, number) for number in range(5)]
    for worker in workers:
        assert worker.stdout is not None
        assert "ready" == worker.stdout.readline().strip()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=60)[1] for worker in workers]
    assert [0] * 5 == [worker.returncode for worker in workers], said
    with wandb.init(project="p", group="g") as run:
        whole = run.finish_artifact(wandb.Artifact("parts", "dataset")).wait()

    assert ["0", "1", "2", "3", "4"] == list(whole.manifest.entries)


def test_an_artifact_reaches_another_process_as_the_version_that_it_is(tmp_path: Path) -> None:
    """Loaders of data and workers are given their arguments so."""
    made = wandb.Artifact("cats", "dataset")
    for leave in (pickle.dumps, copy.copy):
        with pytest.raises(wandb.ArtifactNotLoggedError, match="'cats' is a draft, and cannot go to another process"):
            leave(made)
    with made.new_file("a.txt") as file:
        file.write("1")
    made.save("demo")
    linked = made.link("demo/best")
    for artifact in (made, linked):
        again = pickle.loads(pickle.dumps(artifact))  # noqa: S301 - its own
        assert (artifact.id, artifact.qualified_name) == (again.id, again.qualified_name)
        assert made.id == copy.deepcopy(artifact).id
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(written, (made, str(tmp_path)))

    assert "1" == Path(there, "a.txt").read_text()


def written(artifact: wandb.Artifact, folder: str) -> str:
    return artifact.download(folder)
