"""Habits: of what a world is made, and what is done how often in it. Each has its own, which come from its seed.

What is rare where all is done equally often is found where there is much of it, and little else that gets in its way.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

_FACTORS: Final = (0, 0, 1, 1, 2, 5)
_ALWAYS: Final = {"put": (2, 4, 6), "push": (2, 4, 6), "pull": (2, 4, 6)}
"""Of what others need."""


class Habits(NamedTuple):
    """Those of one world."""

    seed: int
    machines: int
    places: tuple[str, ...]
    """Which of its places are servers, and which depots."""
    mirrors: int
    trouble: float
    """How likely it is in bad times that something is wrong with a call over the network."""
    large: float
    """How often a version has a large file."""
    clashing: float
    """How often somebody takes the name of a collection for something else."""
    choosy: float
    """How often an upstream is noted for one collection alone."""
    meddling: float
    """How often somebody is quicker than who moves."""
    pushing: float
    """How often it is a push that is quicker, and not a collector."""
    powerless: float
    """How often it is the power that fails where a machine dies."""
    mortality: float
    """How likely it is in bad times that a machine dies at a call to its disk."""
    losing: int
    """How often, of all deeds, single objects of a place are lost."""
    quota: int
    """Bytes that a project may take of a server, but when all come to be of one mind; 0: as many as there are."""

    def factor(self, deed: str) -> int:
        """By how much a deed of this name happens more often here, or less, than it does elsewhere."""
        return random.Random(f"{deed} of {self.seed}").choice(_ALWAYS.get(deed, _FACTORS))


def habits_of(seed: int) -> Habits:
    """Those of the world with this seed."""
    chance = random.Random(f"habits of {seed}")
    more = random.Random(f"more habits of {seed}")
    losing = more.choice((0, 0, 0, 8, 8, 40))
    powerless = more.choice((0.0, 0.0, 0.7))
    serving = chance.choice((0.0, 0.5, 1.0))
    return Habits(
        seed=seed,
        machines=chance.choice((3, 3, 3, 4, 5, 8, 12)),
        places=tuple("server" if chance.random() < serving else "depot" for _ in range(chance.choice((1, 2, 2, 3)))),
        mirrors=chance.choice((0, 1, 1)),
        trouble=chance.choice((0.01, 0.03, 0.05)),
        large=chance.choice((0.03, 0.06, 0.3)),
        clashing=chance.choice((0.05, 0.12, 0.4)),
        choosy=chance.choice((0.0, 0.1, 0.5)),
        meddling=chance.choice((0.2, 0.5, 0.8)),
        pushing=chance.choice((0.3, 0.7, 0.9)),
        powerless=powerless,
        mortality=more.choice((0.002, 0.01)) if powerless else 0.002,
        losing=losing,
        quota=0 if losing else more.choice((0, 60_000, 2_500_000)),
    )
