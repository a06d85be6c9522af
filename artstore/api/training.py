"""Training: what the callbacks of training frameworks have in common; each framework's own is a module beside this.

A callback decides nothing about when a checkpoint is written, or which files stay: the framework does, as it always
did. It keeps each one that is whole, in the background, and lets none be removed or written over while it is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Self

from artstore.api.checkpoint import Best, checkpoint
from artstore.api.metadata import MOST_KEYS
from artstore.api.run import Run

_OWN: Final = ("step", "epoch")
"""What a callback says of each checkpoint by itself, whatever the metrics of these names are."""


class Training:
    """The checkpoints of one training: `begin`, then `keep` each, then `end`."""

    def __init__(self, open_: Callable[[str | os.PathLike[str]], checkpoint]) -> None:
        """Begin with what opens the checkpoint of a folder, when there is one."""
        self._open = open_
        self._saver: checkpoint | None = None

    def begin(self, folder: str | os.PathLike[str]) -> Self:
        """Begin, or go on, in a process that writes checkpoints. Raises as `artstore.checkpoint`."""
        if self._saver is None:
            self._saver = self._open(folder)
        return self

    def keep(
        self, source: str | os.PathLike[str], *, step: int, epoch: float | None, metrics: Mapping[str, object]
    ) -> None:
        """Keep a checkpoint that is whole, in the background. Raises as `checkpoint.save`."""
        assert self._saver is not None
        said = numbers(metrics, first=self._saver.scores)
        self._saver.save(source, step=step, metadata=said if epoch is None else {**said, "epoch": epoch})

    def settle(self) -> None:
        """Return when no checkpoint is being read; what went wrong is for `end`."""
        if self._saver is not None:
            self._saver.settle()

    def end(self) -> None:
        """Return when all that was kept is there. Raises the first error of which nobody has been told."""
        saver, self._saver = self._saver, None
        if saver is not None:
            saver.wait()

    def fail(self, error: BaseException) -> None:
        """As `end`, for a training that ends with an error, which gets notes of what else went wrong."""
        try:
            self.end()
        except Exception as other:  # noqa: BLE001 - The training's own error is what is raised.
            error.add_note(f"and a checkpoint was not kept: {other}")


class Options:
    """The options of a callback, the same for each framework: a base that stands before the framework's own."""

    def __init__(
        self,
        name: str,
        type: str = "model",
        *,
        run: Run | None = None,
        keep_last: int | None = None,
        keep_best: Best | Sequence[Best] = (),
        project: str | None = None,
    ) -> None:
        """Note what is wanted, as `artstore.checkpoint` takes it, which looks at it when the training begins."""
        super().__init__()
        self._training = Training(
            partial(
                checkpoint,
                name=name,
                type=type,
                run=run,
                keep_last=keep_last,
                keep_best=keep_best,
                project=project,
            )
        )


def numbers(metrics: Mapping[str, object], *, first: Sequence[str] = ()) -> dict[str, float | None]:
    """What metrics say, as metadata can: numbers, and scalars of tensors and arrays; the rest is left out.

    NaN and the infinities are None. So are those of `first` that are no number, or not there: a training that has not
    been validated yet has no score, and goes on. Where there are more than metadata hold, `first` go before the others,
    which go by name.
    """
    found = {key: value for key, given in metrics.items() if key not in _OWN and (value := _number(given)) is not None}
    names = [*(key for key in dict.fromkeys(first) if key not in _OWN), *sorted(set(found) - set(first))]
    return {key: _finite(found.get(key)) for key in names[: MOST_KEYS - len(_OWN)]}


def _number(given: object) -> int | float | None:
    item = getattr(given, "item", None)
    if callable(item):
        try:
            given = item()
        except (RuntimeError, ValueError):
            # Of more than one element.
            return None
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
