"""The callback for Lightning, in real trainings on the processor; skipped where Lightning is not installed.

It brings PyTorch along, which is too heavy for CI: the soak `training` installs both and runs this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning", reason="Lightning is not installed: the soak `training` runs this")

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.utils.data import DataLoader, TensorDataset

import artstore
from artstore.api.lightning import CheckpointCallback
from tests.conftest import Children

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # Of Lightning and PyTorch.
]

BATCHES = 4


class Model(LightningModule):  # type: ignore[misc]
    """Learns that everything is 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, number: int) -> Any:
        del number
        loss = self.layer(batch[0]).pow(2).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        del number
        self.log("val_loss", self.layer(batch[0]).pow(2).mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


class Fall(Callback):  # type: ignore[misc]
    """Ends the training at a step, as a lack of memory would."""

    def __init__(self, step: int, end: Callable[[], None]) -> None:
        self.step = step
        self.end = end

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.end()


def data() -> Any:
    generator = torch.Generator().manual_seed(1)
    return DataLoader(TensorDataset(torch.randn(4 * BATCHES, 4, generator=generator)), batch_size=4)


def trainer(*callbacks: Any, epochs: int = 4, **more: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), **quiet, **more)


def train(*callbacks: Any, ckpt_path: str | None = None, **more: Any) -> Any:
    model, training = Model(), trainer(*callbacks, **more)
    training.fit(model, data(), data(), ckpt_path=ckpt_path, weights_only=False)
    return model


def kept() -> list[artstore.Artifact]:
    return list(artstore.Api().artifacts("model", "zoo/lit", order="version_index"))


def out_of_memory() -> None:
    message = "out of memory"
    raise MemoryError(message)


def test_every_checkpoint_of_the_trainer_is_a_version_of_the_run() -> None:
    """Also where ModelCheckpoint removes them again, and writes each under a second name."""
    with artstore.init(project="zoo") as run:
        train(ModelCheckpoint("ckpt", monitor="val_loss", save_top_k=1, save_last=True), CheckpointCallback("lit"))

    assert [4, 8, 12, 16] == [artifact.metadata["step"] for artifact in kept()]
    assert [0, 1, 2, 3] == [artifact.metadata["epoch"] for artifact in kept()]
    assert all(0 < artifact.metadata["val_loss"] < artifact.metadata["loss"] * 10 for artifact in kept())
    assert [f"epoch={n}-step={4 * n + 4}.ckpt" for n in range(4)] == [next(iter(a.manifest.entries)) for a in kept()]
    assert {"epoch=3-step=16.ckpt", "last.ckpt"} == set(os.listdir("ckpt"))
    assert [a.id for a in kept()] == [artifact.id for artifact in run.logged_artifacts()]


def test_the_last_and_the_best_stay() -> None:
    with artstore.init(project="zoo"):
        train(
            ModelCheckpoint("ckpt", every_n_train_steps=2, save_top_k=-1),
            CheckpointCallback("lit", keep_last=1, keep_best=("loss", "max", 1)),
        )

    steps = [artifact.metadata["step"] for artifact in kept()]
    assert [16] == steps[-1:]
    assert 2 == len(steps)


@pytest.mark.parametrize("end", ["an error", "a kill"])
def test_a_training_that_crashed_goes_on_from_the_last_version(end: str, children: Children, place: Path) -> None:
    """With optimizer and loop, so that it ends where it would have ended."""
    whole = train(ModelCheckpoint("whole", save_top_k=-1))
    if end == "an error":
        with pytest.raises(MemoryError), artstore.init(project="zoo") as run:
            train(ModelCheckpoint("ckpt", save_top_k=1), CheckpointCallback("lit"), Fall(10, out_of_memory))
        assert "crashed" == run.state
    else:
        code = "from tests.api.test_lightning import killed; killed()"
        child = children.start(f"import os; os.chdir({str(place)!r}); {code}")
        child.communicate(timeout=600)
        assert -signal.SIGKILL == child.returncode
    assert [4, 8] == [artifact.metadata["step"] for artifact in kept()]
    with artstore.init(project="zoo") as run:
        path = run.use_artifact("lit:latest").file()
        again = train(ModelCheckpoint("ckpt", save_top_k=1), CheckpointCallback("lit"), ckpt_path=path)

    assert [4, 8, 12, 16] == [artifact.metadata["step"] for artifact in kept()]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def killed() -> None:
    """A training whose machine is taken away once two checkpoints are safe."""
    callback = CheckpointCallback("lit", project="zoo")

    def die() -> None:
        callback._training.settle()
        os.kill(os.getpid(), signal.SIGKILL)

    train(ModelCheckpoint("ckpt", save_top_k=1), callback, Fall(10, die))


def test_what_is_written_in_the_face_of_an_error_is_kept_too() -> None:
    callbacks = (ModelCheckpoint("ckpt", save_on_exception=True), CheckpointCallback("lit"), Fall(6, out_of_memory))
    with pytest.raises(MemoryError), artstore.init(project="zoo"):
        train(*callbacks)

    assert [4, 6] == [artifact.metadata["step"] for artifact in kept()]


def test_a_checkpoint_by_hand_is_kept_and_one_after_the_training_is_not() -> None:
    class ByHand(Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                trainer.save_checkpoint("mine.ckpt")

    with artstore.init(project="zoo"):
        training = trainer(ByHand(), CheckpointCallback("lit"), epochs=1, enable_checkpointing=False)
        training.fit(Model(), data())
        training.save_checkpoint("later.ckpt")

    assert [["mine.ckpt"]] == [list(artifact.manifest.entries) for artifact in kept()]
    assert Path("later.ckpt").exists()


def test_a_second_training_and_a_second_callback_keep_theirs() -> None:
    first, second = CheckpointCallback("lit", project="zoo"), CheckpointCallback("other", project="zoo", keep_last=1)
    training = trainer(ModelCheckpoint("ckpt", save_top_k=1), first, second, epochs=2)
    model = Model()
    training.fit(model, data())
    training.fit_loop.max_epochs = 3
    training.fit(model, data())

    assert [4, 8, 12] == [artifact.metadata["step"] for artifact in kept()]
    assert [12] == [artifact.metadata["step"] for artifact in artstore.Api().artifacts("model", "zoo/other")]


def test_what_a_callback_cannot_keep_is_an_error_before_the_training() -> None:
    with pytest.raises(artstore.Invalid, match="AsyncCheckpointIO"):
        train(CheckpointCallback("lit"), plugins=[AsyncCheckpointIO()])
    with pytest.raises(artstore.Invalid, match="keep"):
        train(CheckpointCallback("lit", keep_last=0))


def test_a_strategy_that_writes_by_itself_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    """A training of weeks would end with nothing kept, and nobody told."""

    class Sharded(SingleDeviceStrategy):  # type: ignore[misc]
        def save_checkpoint(self, checkpoint: Any, filepath: Any, storage_options: Any = None) -> None:
            del storage_options
            Path(filepath).parent.mkdir(exist_ok=True)
            torch.save(checkpoint, filepath)

    train(ModelCheckpoint("ckpt"), CheckpointCallback("lit"), strategy=Sharded(device=torch.device("cpu")))

    assert "Sharded wrote a checkpoint by itself" in capfd.readouterr().err
