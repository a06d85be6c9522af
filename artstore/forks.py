"""Forks: what a fork of this process waits for, in which order, and what begins anew in the child.

Python asks in the order in which modules happen to be loaded, the last first. Who waits for work to end has to wait
before what that work needs is closed: else the fork waits for the work, the work for the fork, and both for ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple


class Turn(IntEnum):
    """Who waits first."""

    WORK = 0
    """Whatever goes on in threads, and may use everything below."""
    STORAGE = 1
    """Calls that end by themselves."""


class _Guard(NamedTuple):
    turn: Turn
    before: Callable[[], None]
    in_parent: Callable[[], None]
    in_child: Callable[[], None]


_guards: Final[list[_Guard]] = []


def guard(
    turn: Turn,
    *,
    before: Callable[[], None],
    in_parent: Callable[[], None],
    in_child: Callable[[], None],
) -> None:
    """Have `before` called before each fork at its turn, and one of the others after it, in the opposite order."""
    _guards.append(_Guard(turn, before, in_parent, in_child))
    _guards.sort(key=lambda each: each.turn)


def _before() -> None:
    for each in _guards:
        each.before()


def _in_parent() -> None:
    for each in reversed(_guards):
        each.in_parent()


def _in_child() -> None:
    for each in reversed(_guards):
        each.in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
