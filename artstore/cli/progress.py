"""Progress: a moving line on standard error while a person watches it, and silence otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from artstore.units import count, size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from artstore.cli.options import Call
    from artstore.lifecycle.progress import Progress, Tick

_REDRAW_S: Final = 0.1
_WIDE: Final = 80
"""Columns that a line with the speed in it takes."""


@contextmanager
def progress(call: Call) -> Iterator[Progress | None]:
    """Give the verb something to report to, or None where nobody would see it."""
    if call.json or not sys.stderr.isatty():
        yield None
        return
    # Third-party, and slow to load (about 60 ms): only on a terminal.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(compact=True),
    )
    # Drawn when there is something to say, not by a thread: beside one, no verb could fork (lifecycle.share).
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bars:
        yield _Line(bars)


class _Line:
    """The line of the phase that runs now; a new phase takes the line over."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._phase = ""
        self._drawn_at = 0.0

    def __call__(self, tick: Tick) -> None:
        now = time.monotonic()
        if tick.phase == self._phase and now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        if tick.phase != self._phase or self._task is None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._phase = tick.phase
            self._task = self._bars.add_task(tick.phase, total=None, said="")
        self._bars.update(self._task, completed=tick.bytes, total=tick.total_bytes)
        self._bars.update(self._task, said="  ".join(self._words(tick)), refresh=True)

    def _words(self, tick: Tick) -> Iterator[str]:
        if tick.bytes or tick.total_bytes:
            yield _of(size(tick.bytes), None if tick.total_bytes is None else size(tick.total_bytes))
        speed = self._bars.tasks[-1].speed
        if speed and self._bars.console.width >= _WIDE:
            yield f"{size(int(speed))}/s"
        if tick.files or tick.total_files:
            done, every = tick.files, tick.total_files
            yield _of(count(done, "file"), None if every is None else count(every, "file"))


def _of(done: str, every: str | None) -> str:
    """`3 files`, `3/9 files`, `3.0/9.0 MiB`, `1.0 KiB/9.0 MiB`."""
    if every is None:
        return done
    number, _, unit = done.partition(" ")
    is_same = unit.removesuffix("s") == every.rpartition(" ")[2].removesuffix("s")
    return f"{number if is_same else done}/{every}"
