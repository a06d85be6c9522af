"""Network: a way to a depot for tests that choose what happens on it, rather than leaving that to a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from artstore.sync.objects.interface import Objects
from tests.sync.simulation.fate import Death, Fate
from tests.sync.simulation.places import Wire

T = TypeVar("T")


class Network(Fate):
    """Between some machines and a depot, where others may be quicker, and machines may die."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.dies_at: int | None = None
        """The call in which the machine dies for certain."""
        self.meddle: Callable[[], None] = lambda: None
        """Is called when somebody is about to claim a slot."""

    def between(self, objects: Objects) -> Objects:
        """These objects, seen through it."""
        return Wire(objects, self, "depot", lambda: self.meddle())  # noqa: PLW0108 - it changes

    def call(self, place: str, work: Callable[[], T], *, changes: bool = False) -> T:  # noqa: ARG002 - as fate has it
        """See Fate."""
        self.calls += 1
        if self.calls == self.dies_at:
            raise Death
        return work()
