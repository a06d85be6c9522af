"""Transformers: a callback that keeps every checkpoint that Hugging Face's Trainer writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy

from artstore.api.training import Options


class CheckpointCallback(Options, TrainerCallback):  # type: ignore[misc]  # Transformers need not be there.
    """Keep each checkpoint of a `transformers.Trainer` as a version, in the background, the last and best of them.

    `TrainingArguments` say when one is written and, with `save_total_limit`, how many folders stay, as ever. A version
    holds the files of one `checkpoint-<step>`, with `step`, `epoch` and the numbers that were logged at this step as
    metadata, `eval_loss` for example, which `keep_best` goes by. Go on with
    `trainer.train(resume_from_checkpoint=artifact.download())`.

    The options are those of `artstore.checkpoint`. The run is the one that is active when `train` begins, if none is
    given. Before the Trainer writes a checkpoint, and so may remove an older one, it waits for those that are still
    being read. An error of the background is raised when the training ends.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Begin."""
        del control, more
        if state.is_world_process_zero:
            self._training.begin(args.output_dir)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Wait, if a checkpoint is to be written now."""
        del args, state, more
        if control.should_save:
            self._training.settle()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Wait, if a checkpoint is to be written now."""
        del args, state, more
        if control.should_save:
            self._training.settle()

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Wait, if a checkpoint may be written now, because this is the best."""
        del state, control, more
        if args.save_strategy == SaveStrategy.BEST:
            self._training.settle()

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Keep the checkpoint that was written just now."""
        del more
        if args.world_size > 1:
            # Each process writes some of its files.
            args.distributed_state.wait_for_everyone()
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        metrics: dict[str, object] = {}
        for line in state.log_history:
            if line.get("step") == state.global_step:
                metrics.update(line)
        self._training.keep(folder, step=state.global_step, epoch=state.epoch, metrics=metrics)
        if control.should_training_stop:
            # At its end the Trainer may remove all folders but the best.
            self._training.settle()

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Wait for what was saved. Raises what went wrong of it."""
        del args, state, control, more
        self._training.end()
