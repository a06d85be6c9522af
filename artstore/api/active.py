"""Active: which run this thread is working for, and so which store and project are meant."""

from __future__ import annotations

import os
import threading
from typing import Any, Final, NamedTuple, Protocol

from artstore.api.stores import Hall, hall_here, project_or_default


class Working(Protocol):
    """A run that goes on."""

    @property
    def id(self) -> str:
        """Unique in its project."""

    @property
    def project(self) -> str:
        """The project that it works in."""

    @property
    def hall(self) -> Hall:
        """The store that it works with."""

    def log_artifact(self, artifact_or_path: Any) -> object:
        """Make a version of an artifact."""


class _Entered(NamedTuple):
    run: Working
    pid: int
    thread: int


_entered: Final[list[_Entered]] = []
"""The last one is the newest."""


def enter(run: Working) -> None:
    """Let a run be the active one of this thread."""
    _entered.append(_Entered(run, os.getpid(), threading.get_ident()))


def leave(run: Working) -> None:
    """Let a run be active no more. May be called again."""
    _entered[:] = [each for each in _entered if each.run is not run]


def run_of_thread() -> Working | None:
    """The run that this thread began, the newest first; never one of a process that was forked from."""
    return next((each.run for each in _here() if each.thread == threading.get_ident()), None)


def run_of_process() -> Working | None:
    """The run of this thread, or else the newest of any."""
    return run_of_thread() or next((each.run for each in _here()), None)


def hall() -> Hall:
    """The store of the active run, or else the one that is meant here."""
    run = run_of_process()
    return hall_here() if run is None else run.hall


def project() -> str:
    """The project of the active run, or else the one that is meant here."""
    run = run_of_process()
    return project_or_default(None) if run is None else run.project


def _here() -> list[_Entered]:
    return [each for each in reversed(_entered) if each.pid == os.getpid()]
