"""Nudge: a process of its own keeps a store up with its upstream from now on, and whoever committed goes on at once.

There is one such process a store. Who begins it takes the lock of the one that follows and hands it down, so that of
many who commit at one moment one alone begins a process. That belongs to a session of its own and is nobody's child: it
survives whoever began it, holds neither a terminal nor a pipe, and is not waited for. It ends when there was nothing to
do for a while (see `follow`). What it has to say goes to `sync/background.log` in the store's folder, and how it is
with the upstream is shown by `artstore status`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from artstore.errors import ArtstoreError, Conflict
from artstore.forks import Turn, guard
from artstore.storage.files import make_directory
from artstore.storage.sessions import Exclusive
from artstore.sync.follow import LOCK
from artstore.sync.remotes import read_remotes

LOG: Final = "sync/background.log"
IDLE_S: Final = 60

_LONGEST_LOG: Final = 1 << 20
_ENOUGH_S: Final = 1.0
"""For so long nobody looks again whether one is at it, which goes on for much longer."""
_PATIENCE_S: Final = 0.006
"""Who only looks whether the lock is free holds it for less."""
_BEGIN: Final = """
import os, signal, sys
os.setsid()
if os.fork():
    os._exit(0)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execv(sys.argv[1], sys.argv[1:])
"""
_RUN: Final = "import sys; sys.path.append(sys.argv.pop(1)); from artstore.cli import run; run()"
"""Finds this very package, wherever the process that begins it has it from, and nothing of the working directory."""

_beginning: Final = threading.Lock()
"""Held while the lock of the one that follows is held here: a child of a fork would hold it for as long as it lives."""
_looked_at: Final[dict[Path, float]] = {}
"""When a store was last seen to have one at it, as time.monotonic has it."""


def nudge(store: Path) -> None:
    """Let the store in a folder be kept up in the background, if it has a remote that is noted so; raises nothing.

    Takes about 20 ms where a process has to be begun, and less than 10 where one is at it, once a second at most.
    """
    # Whatever goes wrong: the commit is done, and the next one nudges again.
    with _beginning, contextlib.suppress(ArtstoreError, OSError, subprocess.SubprocessError):
        is_due = time.monotonic() - _looked_at.get(store, -_ENOUGH_S) >= _ENOUGH_S
        if is_due and any(each.background for each in read_remotes(store).values()) and sys.executable:
            _begin(store)
            _looked_at[store] = time.monotonic()


def _begin(store: Path) -> None:
    try:
        lock = Exclusive(store, LOCK, patience_s=_PATIENCE_S)
    except Conflict:
        return
    with lock:
        package = str(Path(__file__).parents[2])
        words = ["--store", str(store), "sync", "--follow", "--json", "--idle", f"{IDLE_S}s"]
        make_directory(store / "sync")
        log = store / LOG
        is_long = log.exists() and log.stat().st_size > _LONGEST_LOG
        with log.open("wb" if is_long else "ab") as told:
            _detach([sys.executable, "-P", "-c", _RUN, package, *words], lock.handle, told.fileno())


def _detach(argv: Sequence[str], lock: int, log: int) -> None:
    """Run a command that nobody waits for, in no terminal and no folder that somebody may want to take away."""
    if sys.platform == "win32":
        # A lock is not handed down there: of two who begin one, the second ends at once.
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        process = subprocess.Popen(  # noqa: S603 - artstore itself
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, creationflags=flags
        )
        # Or its end would be waited for, with a warning.
        process.returncode = 0
        return
    # Through a process that ends at once: a child would have to be waited for, and some launchers kill children.
    begin = [sys.executable, "-I", "-S", "-c", _BEGIN, *argv, "--lock", str(lock)]
    subprocess.run(  # noqa: S603 - artstore itself
        begin, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", pass_fds=(lock,), check=True, timeout=10
    )


def _before_fork() -> None:
    _beginning.acquire()


def _after_fork() -> None:
    # Nobody has taken it where this module was loaded in between.
    with contextlib.suppress(RuntimeError):
        _beginning.release()


guard(Turn.STORAGE, before=_before_fork, in_parent=_after_fork, in_child=_after_fork)
