"""What the callbacks of training frameworks have in common; each of them is tried where its package is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import artstore
from artstore.api.stores import hall_here
from artstore.api.training import Options, Training, numbers
from tests.api.test_checkpoint import gate
from tests.lacking import package

Files = Callable[[Mapping[str, bytes]], None]


def training_of(*given: Any, **more: Any) -> Training:
    """What a callback with these options works with."""
    return Options(*given, **more)._training


def kept(name: str = "resnet") -> list[tuple[dict[str, Any], list[str]]]:
    """The metadata and the paths of each version, the oldest first."""
    versions = artstore.Api().artifacts("model", name, order="version_index")
    return [(version.metadata, sorted(version.manifest.entries)) for version in versions]


def test_each_checkpoint_is_a_version_of_its_own_files(files: Files) -> None:
    """A folder of all checkpoints at once would come back whole for each of them."""
    training = training_of("resnet").begin(".")
    for step in (1, 2):
        files({f"out/checkpoint-{step}/weights": b"%d" % step, f"out/{step}.ckpt": b"%d" % step})
        training.keep(f"out/checkpoint-{step}", step=step, epoch=0.5, metrics={"loss": 1 / step, "epoch": 3, "step": 3})
        training.keep(f"out/{step}.ckpt", step=step + 10, epoch=None, metrics={})
    training.end()

    assert [
        ({"loss": 1.0, "epoch": 0.5, "step": 1}, ["weights"]),
        ({"step": 11}, ["1.ckpt"]),
        ({"loss": 0.5, "epoch": 0.5, "step": 2}, ["weights"]),
        ({"step": 12}, ["2.ckpt"]),
    ] == kept()


def test_the_framework_may_remove_what_was_kept_once_it_is_settled(files: Files) -> None:
    training = training_of("resnet").begin(".")
    for step in range(4):
        training.settle()
        Path("last.ckpt").unlink(missing_ok=True)
        files({"last.ckpt": b"%d" % step})
        training.keep("last.ckpt", step=step, epoch=0, metrics={})
    training.end()

    assert [0, 1, 2, 3] == [metadata["step"] for metadata, _ in kept()]


def test_a_checkpoint_that_could_not_be_kept_is_raised_at_the_end_and_not_in_between(files: Files) -> None:
    """A training of weeks does not end because of one of them, and does not end as if it had them all."""
    training = training_of("resnet").begin(".")
    held = gate()
    for step in (1, 2):
        files({f"{step}.ckpt": b"%d" % step})
        training.keep(f"{step}.ckpt", step=step, epoch=0, metrics={})
    Path("1.ckpt").unlink()
    held.set()
    training.settle()
    with pytest.raises(artstore.Conflict, match="changed"):
        training.end()

    assert [2] == [metadata["step"] for metadata, _ in kept()]


def test_the_error_of_a_training_stays_what_is_raised(files: Files) -> None:
    training = training_of("resnet").begin(".")
    held = gate()
    files({"1.ckpt": b"1"})
    training.keep("1.ckpt", step=1, epoch=0, metrics={})
    Path("1.ckpt").unlink()
    held.set()
    error = MemoryError("out of memory")
    training.fail(error)

    assert [True] == ["changed" in note for note in error.__notes__]


def test_a_training_can_be_begun_again(files: Files) -> None:
    training = training_of("resnet", keep_last=2)
    for start in (0, 2):
        training.begin(".")
        for step in (start, start + 1):
            files({"last.ckpt": b"%d" % step})
            training.keep("last.ckpt", step=step, epoch=0, metrics={})
            training.settle()
        training.end()

    assert [2, 3] == [metadata["step"] for metadata, _ in kept()]


def test_a_score_that_is_not_there_yet_ends_no_training(files: Files) -> None:
    """The first checkpoint of many trainings is from before the first validation."""
    training = training_of("resnet", keep_best=[("val_loss", "min", 1), ("step", "max", 1)]).begin(".")
    for step, metrics in enumerate([{}, {"val_loss": math.inf}, {"val_loss": 0.5}, {"val_loss": 0.7}]):
        files({"last.ckpt": b"%d" % step})
        training.keep("last.ckpt", step=step, epoch=0, metrics=metrics)
        training.settle()
    training.end()

    assert [0.5, 0.7] == [metadata["val_loss"] for metadata, _ in kept()]


def test_a_policy_that_is_none_is_an_error_before_the_training() -> None:
    with pytest.raises(artstore.Invalid) as caught:
        training_of("resnet", keep_last=0).begin(".")

    assert "bad-policy" == caught.value.code
    assert [] == hall_here().store.collections()


def test_numbers_are_what_metadata_can_say_of_metrics() -> None:
    numpy = package("numpy")

    assert {"a": 1, "b": 0.5, "c": 2.0, "inf": None, "nan": None} == numbers(
        {
            "a": 1,
            "b": 0.5,
            "c": numpy.float32(2),
            "nan": math.nan,
            "inf": -math.inf,
            "text": "x",
            "flag": True,
            "vector": numpy.zeros(2),
            "nothing": None,
            "step": 7,
            "epoch": 7,
        }
    )


def test_a_training_with_many_metrics_keeps_those_that_the_best_go_by(files: Files) -> None:
    """Metadata have a limit, which is no reason to end a training."""
    metrics = {f"m{number:03}": float(number) for number in range(150)}
    training = training_of("resnet", keep_best=("m149", "max", 1)).begin(".")
    files({"last.ckpt": b"1"})
    training.keep("last.ckpt", step=1, epoch=0, metrics=metrics)
    training.end()
    ((metadata, _),) = kept()

    assert (100, 149.0, 0.0) == (len(metadata), metadata["m149"], metadata["m000"])
