"""Versions that several writers make: threads, processes and Ray's workers, each a run of one group."""

from __future__ import annotations

import multiprocessing
import os
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import artstore as wandb
from tests.conftest import Children
from tests.lacking import lacking

GROUP = "the-group"
NAME = "artefacto-paralelo"


def add_part(number: int, **options: Any) -> None:
    """What each worker of the guide's example does."""
    with wandb.init(project="demo", group=GROUP) as run:
        artifact = wandb.Artifact(NAME, type="dataset")
        table = wandb.Table(columns=["a", "b", "c"], data=[[number, number * 2, 2**number]])
        artifact.add(table, f"partes/tabla_{number}")
        run.upsert_artifact(artifact, **options)


def finish(**options: Any) -> wandb.Artifact:
    """What the guide does when all of them have returned."""
    with wandb.init(project="demo", group=GROUP) as run:
        artifact = wandb.Artifact(NAME, type="dataset")
        artifact.add(wandb.data_types.PartitionedTable("partes"), "tabla-distribuida")
        return run.finish_artifact(artifact, **options)


def rows(artifact: wandb.Artifact) -> list[list[int]]:
    table = artifact.get("tabla-distribuida")
    assert isinstance(table, wandb.data_types.PartitionedTable)
    return [list(row) for _, row in table.iterrows()]


EXPECTED_ROWS = [[number, number * 2, 2**number] for number in range(5)]
EXPECTED_PATHS = [
    *(f"partes/tabla_{number}.table.json" for number in range(5)),
    "tabla-distribuida.partitioned-table.json",
]


def test_nothing_is_seen_before_finish_and_all_of_it_after() -> None:
    for number in range(5):
        add_part(number)
        assert not wandb.Api().artifact_exists(f"demo/{NAME}")
    artifact = finish()

    assert EXPECTED_PATHS == list(artifact.manifest.entries)
    assert EXPECTED_ROWS == rows(wandb.Api().artifact(f"demo/{NAME}:v0"))
    assert [GROUP] == list({run.group for run in wandb.Api().runs("demo")})


def test_the_order_of_the_parts_does_not_matter() -> None:
    """The same data made twice, by workers that were differently fast, is one version."""
    digests = []
    for order in ((0, 1, 2, 3, 4), (4, 2, 0, 3, 1)):
        for number in order:
            add_part(number)
        digests.append(finish().digest)

    assert digests[0] == digests[1]
    assert 1 == len(wandb.Api().artifacts("dataset", f"demo/{NAME}"))


def test_what_comes_after_finish_begins_the_next_version() -> None:
    add_part(0)
    finish()
    add_part(1)
    second = finish()

    assert ("v1", [[1, 2, 2]]) == (second.version, rows(second))


def test_a_group_or_a_distributed_id_has_to_be_there() -> None:
    with wandb.init(project="demo") as run:
        for verb in (run.upsert_artifact, run.finish_artifact):
            with pytest.raises(TypeError, match="group or a distributed_id"):
                verb(wandb.Artifact(NAME, "dataset"))
        artifact = wandb.Artifact(NAME, "dataset")
        with artifact.new_file("a") as file:
            file.write("1")
        run.upsert_artifact(artifact, distributed_id="mine")
        assert "mine" == artifact.distributed_id
        last = run.finish_artifact(wandb.Artifact(NAME, "dataset"), distributed_id="mine", aliases="best").wait()

    assert (["a"], ["best", "latest"]) == (list(last.manifest.entries), last.aliases)


def test_a_part_is_no_version_and_says_so() -> None:
    with wandb.init(project="demo", group=GROUP) as run:
        artifact = run.upsert_artifact(wandb.Artifact(NAME, "dataset")).wait()
        assert artifact.is_draft()
        with pytest.raises(wandb.ArtifactNotLoggedError, match="finish_artifact"):
            _ = artifact.version
        with pytest.raises(wandb.ArtifactFinalizedError):
            run.upsert_artifact(artifact)


def test_a_path_may_be_a_part() -> None:
    Path("a.txt").write_bytes(b"1")
    with wandb.init(project="demo", group=GROUP) as run:
        run.upsert_artifact("a.txt", name="files", type="text")
        made = run.finish_artifact(wandb.Artifact("files", "text")).wait()

    assert ["a.txt"] == list(made.manifest.entries)


def test_two_writers_with_other_bytes_for_one_path_are_both_named() -> None:
    for run_id, text in (("first", "1"), ("second", "2")):
        with wandb.init(project="demo", group=GROUP, id=run_id) as run:
            artifact = wandb.Artifact(NAME, "dataset")
            with artifact.new_file("weights") as file:
                file.write(text)
            run.upsert_artifact(artifact)
    with pytest.raises(wandb.PathCollision, match="weights") as caught:
        finish()

    assert all(name in str(caught.value) for name in ("first", "second"))
    assert not wandb.Api().artifact_exists(f"demo/{NAME}")


def test_one_writer_with_other_bytes_for_one_path_is_named_once() -> None:
    """Whoever reads of two runs looks for a second one, and there is none."""
    with wandb.init(project="demo", group=GROUP, id="only") as run:
        for text in ("1", "2"):
            artifact = wandb.Artifact(NAME, "dataset")
            with artifact.new_file("weights") as file:
                file.write(text)
            run.upsert_artifact(artifact)
    with pytest.raises(wandb.PathCollision, match="'weights' has two contents, both from run 'only'"):
        finish()


def test_fewer_parts_than_expected_are_not_finished() -> None:
    add_part(0)
    with pytest.raises(wandb.Conflict, match="2"):
        finish(expect=2)
    add_part(1)

    assert [[0, 0, 1], [1, 2, 2]] == rows(finish(expect=2))


def test_threads_make_one_version() -> None:
    threads = [threading.Thread(target=add_part, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert EXPECTED_ROWS == rows(finish())


def in_a_process(number: int, folder: str) -> None:
    os.chdir(folder)
    add_part(number)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_processes_make_one_version(how: Any, place: Path) -> None:
    context = multiprocessing.get_context(how)
    workers = [context.Process(target=in_a_process, args=(number, str(place))) for number in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [0] * 5 == [worker.exitcode for worker in workers]
    assert EXPECTED_ROWS == rows(finish())


RAY = """
import sys
import ray
import artstore as wandb

NAME, GROUP = "artefacto-paralelo", "the-group"

@ray.remote
def train(number):
    with wandb.init(project="demo", group=GROUP) as run:
        artifact = wandb.Artifact(NAME, type="dataset")
        table = wandb.Table(columns=["a", "b", "c"], data=[[number, number * 2, 2**number]])
        artifact.add(table, f"partes/tabla_{number}")
        run.upsert_artifact(artifact)

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
ray.get([train.remote(number) for number in range(5)])
with wandb.init(project="demo", group=GROUP) as run:
    artifact = wandb.Artifact(NAME, type="dataset")
    artifact.add(wandb.data_types.PartitionedTable("partes"), "tabla-distribuida")
    run.finish_artifact(artifact)
ray.shutdown()
print(artifact.version)
"""


@pytest.mark.slow
def test_the_workers_of_ray_make_one_version(children: Children, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the guide, with the real Ray, on one store, which the first of them makes."""
    if find_spec("ray") is None:
        lacking("there is no Ray: pip install artstore[ray]")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("ARTSTORE_DIR", str(place / "new"))
    child = children.start(RAY)
    said, complaints = child.communicate(timeout=240)

    assert 0 == child.returncode, complaints
    assert "v0" == said.splitlines()[-1]
    artifact = wandb.Api().artifact(f"demo/{NAME}")
    assert EXPECTED_PATHS == list(artifact.manifest.entries)
    assert EXPECTED_ROWS == rows(artifact)
    assert 6 == len([run for run in wandb.Api().runs("demo") if (run.group, run.state) == (GROUP, "finished")])
