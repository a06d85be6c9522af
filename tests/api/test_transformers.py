"""The callback for Hugging Face's Trainer, in real trainings on the processor; skipped where that is not installed.

It brings PyTorch along, which is too heavy for CI: the soak `training` installs both and runs this.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="transformers is not installed: the soak `training` runs this")

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

import artstore
from artstore.api.stores import hall_here
from artstore.api.transformers import CheckpointCallback
from tests.conftest import Children

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # Of transformers and PyTorch.
]


class Fall(TrainerCallback):  # type: ignore[misc]
    """Ends the training at a step, as a lack of memory would."""

    def __init__(self, step: int, end: Callable[[], None]) -> None:
        self.step = step
        self.end = end

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        del args, control, more
        if state.global_step == self.step:
            self.end()


class Slow(TrainerCallback):  # type: ignore[misc]
    """Before a checkpoint is read the Trainer has time for much."""

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        del args, state, control, more
        hall_here().queue.add("slow", lambda: time.sleep(1))


def train(*callbacks: Any, resume: str | None = None, **more: Any) -> Any:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1))
    rows = [{"input_ids": (torch.arange(8) + n) % 16, "labels": (torch.arange(8) + n) % 16} for n in range(16)]
    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    arguments = TrainingArguments(
        "out", max_steps=8, per_device_train_batch_size=4, logging_steps=2, learning_rate=1e-2,
        use_cpu=True, disable_tqdm=True, report_to=[], dataloader_pin_memory=False, **(options | more),
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=list(callbacks)).train(resume)
    return model


def kept() -> list[artstore.Artifact]:
    return list(artstore.Api().artifacts("model", "zoo/gpt", order="version_index"))


def steps() -> list[int]:
    return [artifact.metadata["step"] for artifact in kept()]


def out_of_memory() -> None:
    message = "out of memory"
    raise MemoryError(message)


def test_every_checkpoint_of_the_trainer_is_a_version_of_the_run() -> None:
    """Also where the Trainer removes each folder as soon as there is another one."""
    with artstore.init(project="zoo") as run:
        train(CheckpointCallback("gpt"), save_total_limit=1)

    assert [2, 4, 6, 8] == steps()
    assert ["checkpoint-8"] == os.listdir("out")
    assert all({"eval_loss", "loss", "epoch"} <= set(artifact.metadata) for artifact in kept())
    assert [a.id for a in kept()] == [artifact.id for artifact in run.logged_artifacts()]
    there = {path.name: path.read_bytes() for path in Path("out/checkpoint-8").iterdir()}
    folder = Path(kept()[-1].download("back"))
    assert there == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_last_and_the_best_stay() -> None:
    with artstore.init(project="zoo"):
        train(CheckpointCallback("gpt", keep_last=1, keep_best=("eval_loss", "max", 1)))

    assert [2, 8] == steps()


@pytest.mark.parametrize(
    "options",
    [
        {"save_strategy": "best", "metric_for_best_model": "eval_loss"},
        {"metric_for_best_model": "eval_loss", "greater_is_better": True},  # So that the first one is the best.
    ],
)
def test_the_folders_that_the_trainer_removes_are_read_before(options: dict[str, Any]) -> None:
    """However slowly: before each save, and at the end."""
    more = {"save_total_limit": 1, "load_best_model_at_end": True, **options}
    with artstore.init(project="zoo"):
        train(Slow(), CheckpointCallback("gpt"), **more)

    assert [2, 4, 6, 8] == steps()


@pytest.mark.parametrize("end", ["an error", "a kill"])
def test_a_training_that_crashed_goes_on_from_the_last_version(end: str, children: Children, place: Path) -> None:
    """With optimizer and loop, so that it ends where it would have ended."""
    whole = train()
    if end == "an error":
        with pytest.raises(MemoryError), artstore.init(project="zoo") as run:
            train(CheckpointCallback("gpt"), Fall(5, out_of_memory))
        assert "crashed" == run.state
    else:
        code = "from tests.api.test_transformers import killed; killed()"
        child = children.start(f"import os; os.chdir({str(place)!r}); {code}")
        child.communicate(timeout=600)
        assert -signal.SIGKILL == child.returncode
    assert [2, 4] == steps()
    with artstore.init(project="zoo") as run:
        folder = run.use_artifact("gpt:latest").download()
        again = train(CheckpointCallback("gpt"), resume=folder)

    assert [2, 4, 6, 8] == steps()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def killed() -> None:
    """A training whose machine is taken away once two checkpoints are safe."""
    callback = CheckpointCallback("gpt", project="zoo")

    def die() -> None:
        callback._training.settle()
        os.kill(os.getpid(), signal.SIGKILL)

    train(callback, Fall(5, die))


def test_what_is_saved_each_epoch_is_kept() -> None:
    with artstore.init(project="zoo"):
        train(CheckpointCallback("gpt"), save_strategy="epoch", save_total_limit=1)

    assert [4, 8] == steps()


def test_a_policy_that_is_none_is_an_error_before_the_training() -> None:
    with pytest.raises(artstore.Invalid, match="keep"):
        train(CheckpointCallback("gpt", keep_last=0))
