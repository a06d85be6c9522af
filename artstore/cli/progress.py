"""Progress: a moving line on standard error while a person watches it, and silence otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from artstore.units import count

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from artstore.cli.options import Call
    from artstore.lifecycle.progress import Progress, Tick

_REDRAW_S: Final = 0.1


@contextmanager
def progress(call: Call) -> Iterator[Progress | None]:
    """Give the verb something to report to, or None where nobody would see it."""
    if call.json or not sys.stderr.isatty():
        yield None
        return
    # Third-party, and slow to load (about 60 ms): only on a terminal.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TextColumn("{task.fields[files]}"),
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
            self._task = self._bars.add_task(tick.phase, total=None, files="")
        done = "" if tick.total_files is None else f"{tick.files:,}/"
        files = f"{done}{count(tick.files if tick.total_files is None else tick.total_files, 'file')}"
        self._bars.update(self._task, completed=tick.bytes, total=tick.total_bytes, files=files, refresh=True)
