"""Lightning: a callback that keeps every checkpoint that Lightning's Trainer writes."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import AsyncCheckpointIO, CheckpointIO

from artstore.api.terminal import note
from artstore.api.training import Options, Training
from artstore.errors import Invalid


class CheckpointCallback(Options, Callback):  # type: ignore[misc]  # Lightning need not be there.
    """Keep each checkpoint of a `lightning.pytorch.Trainer` as a version, in the background, the last and best of them.

    `ModelCheckpoint` says when one is written, under which name, and which files stay, as ever; what is kept is what it
    and `trainer.save_checkpoint` write, one version for a step. A version holds the one file, under its own name, with
    `step`, `epoch` and the numbers of `trainer.callback_metrics` as metadata, which `keep_best` goes by. Go on with
    `trainer.fit(model, ckpt_path=artifact.file())`.

    The options are those of `artstore.checkpoint`. The run is the one that is active when `fit` begins, if none is
    given. An error of the background is raised when `fit` ends; where that ends with one of its own, as its note.

    Seen is what goes through the strategy's `checkpoint_io`, which is all that one device and DDP write; strategies
    that write shards by themselves are not, and standard error says so. `fit` raises Invalid (async-checkpoints) with
    Lightning's AsyncCheckpointIO: what that has saved is not written yet; and Invalid (not-local) where checkpoints go
    to another machine.
    """

    _keeping: _Keeping | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Stand between the Trainer and its files."""
        del pl_module
        if stage != "fit" or not trainer.is_global_zero:
            return
        strategy = trainer.strategy
        if isinstance(strategy.checkpoint_io, AsyncCheckpointIO):
            message = "what AsyncCheckpointIO saves is not written yet when it returns: use artstore without it"
            raise Invalid(message, code="async-checkpoints")
        self._training.begin(trainer.default_root_dir)
        if self._keeping is None or self._keeping.trainer is not trainer:
            self._keeping = strategy.checkpoint_io = _Keeping(strategy.checkpoint_io, trainer, self._training)
        self._keeping.begin()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Expect to see what is written now."""
        del trainer, pl_module, checkpoint
        if self._keeping is not None:
            self._keeping.expect()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Note that it ends so; a ModelCheckpoint may write once more after this."""
        del trainer, pl_module
        if self._keeping is not None:
            self._keeping.failure = exception

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wait for what was saved. Raises what went wrong of it."""
        del trainer, pl_module
        if stage == "fit" and self._keeping is not None:
            self._keeping.end()
            self._training.end()


class _Keeping(CheckpointIO):  # type: ignore[misc]  # As above.
    """Lightning's way to its files; while a training goes on, each one that is written is kept."""

    def __init__(self, inner: CheckpointIO, trainer: Any, training: Training) -> None:
        self.trainer = trainer
        self.failure: BaseException | None = None
        self._inner = inner
        self._training = training
        self._is_on = False
        self._is_expecting = False
        self._kept: tuple[int, bool] | None = None

    def begin(self) -> None:
        self._is_on, self._kept, self.failure = True, None, None

    def end(self) -> None:
        # It stays where it is: another one may have been put around it.
        self._check_seen()
        self._is_on = False

    def expect(self) -> None:
        """Note that something is to be written."""
        self._check_seen()
        self._is_expecting = self._is_on

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if self._is_on and "://" in os.fspath(path):
            message = f"{os.fspath(path)!r} is not on this machine: let dirpath be a folder, whose files artstore keeps"
            raise Invalid(message, code="not-local")
        # `last.ckpt` is written over by the next one.
        self._training.settle()
        self._inner.save_checkpoint(checkpoint, path, storage_options=storage_options)
        self._is_expecting = False
        step, is_whole = int(checkpoint["global_step"]), "optimizer_states" in checkpoint
        # Several ModelCheckpoints, and `save_last`, write one state under several names.
        if self._is_on and self._kept not in {(step, is_whole), (step, True)}:
            metrics = self.trainer.callback_metrics
            self._training.keep(path, step=step, epoch=int(checkpoint["epoch"]), metrics=metrics)
            self._kept = step, is_whole

    def load_checkpoint(self, path: Any, *args: Any, **more: Any) -> dict[str, Any]:
        loaded: dict[str, Any] = self._inner.load_checkpoint(path, *args, **more)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        self._training.settle()
        self._inner.remove_checkpoint(path)

    def teardown(self) -> None:
        """The last that Lightning does after an error, and the last but one after none."""
        self._inner.teardown()
        if self.failure is not None:
            self.end()
            self._training.fail(self.failure)

    def _check_seen(self) -> None:
        if self._is_expecting:
            strategy = type(self.trainer.strategy).__name__
            note(f"{strategy} wrote a checkpoint by itself, and not by its checkpoint_io: artstore did not keep it")
        self._is_expecting = False
