"""Planted bugs: production code with one thing wrong. A simulation that lets one live is not worth its time.

Each is looked for in world after world, of those in which what it needs may happen, until one breaks. Where that has
not happened after so many steps that it should have happened ten times over, the bug lives.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from artstore.errors import ArtstoreError
from tests.sync.simulation import plants, plants_lost, plants_there
from tests.sync.simulation.habits import Habits, habits_of
from tests.sync.simulation.run import Broken, live

Plant = Callable[[pytest.MonkeyPatch], None]
Where = Callable[[Habits], bool]

STEPS: Final = 100_000
"""Steps after which a planted bug has to be found."""
_FIRST: Final = 100
_DEEDS: Final = 45
"""Deeds of a world."""
_FEW: Final = 4
_OFTEN: Final = 5
"""By how much a deed is more frequent than elsewhere where there is much of it."""


class Found(NamedTuple):
    """What came of looking for a planted bug."""

    seed: int | None
    """Of the world that broke; None if none did."""
    worlds: int
    steps: int


def _anywhere(_habits: Habits) -> bool:
    return True


def _depots(*deeds: str) -> Where:
    """All places are depots, and these deeds are frequent."""
    return lambda habits: "server" not in habits.places and _much(*deeds)(habits)


def _servers(*deeds: str) -> Where:
    """All places are servers, and these deeds are frequent."""
    return lambda habits: "depot" not in habits.places and _much(*deeds)(habits)


def _much(*deeds: str) -> Where:
    """There are few machines, which so meet often, and these deeds are frequent."""
    return lambda habits: habits.machines <= _FEW and all(habits.factor(deed) >= _OFTEN for deed in deeds)


def _beside_others(*deeds: str) -> Where:
    """In a depot others are often quicker with a push, and these deeds are frequent."""
    return lambda habits: habits.meddling >= 0.8 and habits.pushing >= 0.7 and _depots(*deeds)(habits)


def _powerless(habits: Habits) -> bool:
    """The power often fails, and a machine often dies of it."""
    return habits.mortality >= 0.01 and habits.powerless > 0 and _depots()(habits)


def _limited(habits: Habits) -> bool:
    """Servers keep quotas, and large files come and go."""
    return habits.quota > 0 and habits.large >= 0.3 and _servers()(habits)


def _losing(habits: Habits) -> bool:
    """Objects of depots are often lost, and few other things go wrong."""
    return habits.losing > 8 and not habits.powerless and _depots()(habits)


PLANTED: Final[dict[Plant, Where]] = {
    plants.what_waits_stays_before_what_was_accepted: _anywhere,
    plants.clocks_decide: _anywhere,
    plants.an_alias_moves_from_anywhere: _much("alias"),
    plants.equal_content_is_another_version: lambda habits: habits.factor("put") >= 4,
    plants.what_changes_nothing_is_sent: _anywhere,
    plants.what_waits_is_sent_backwards: _anywhere,
    plants.what_was_given_up_counts_on: lambda habits: habits.clashing >= 0.4 and _much("decide")(habits),
    plants.numbers_move_without_a_record: _anywhere,
    plants.manifests_are_left_out: _anywhere,
    plants.a_slot_is_passed_over: _anywhere,
    plants.what_was_received_is_called_lost: _anywhere,
    plants.a_commit_is_acknowledged_before_it_is_in_the_log: _anywhere,
    plants.what_is_forgotten_here_is_deleted_for_all: _much("delete"),
    plants.parts_that_were_gathered_stay: _much("part"),
    plants.a_part_is_gathered_twice: lambda habits: habits.meddling >= 0.5 and _much("part")(habits),
    plants.only_is_not_heeded: lambda habits: habits.choosy >= 0.5 and _much()(habits),
    plants.what_was_refused_is_freed: lambda habits: (
        habits.clashing >= 0.4 and _much("gc")(habits) and not habits.factor("decide")
    ),
    plants.what_is_said_of_a_run_is_written_over: _much("use"),
    plants_there.no_bytes_are_sent: _depots(),
    plants_there.what_a_remote_has_is_guessed: _depots(),
    plants_there.a_slot_is_taken_from_others: _beside_others(),
    plants_there.a_slot_counts_before_it_is_claimed: _depots(),
    plants_there.a_token_that_has_ended_lets_in: _servers("time_passes"),
    plants_there.what_was_sent_before_is_not_named: lambda habits: (
        habits.meddling >= 0.5 and habits.factor("put") <= 2 and habits.factor("attach") >= 2 and _depots()(habits)
    ),
    plants_there.what_comes_from_the_beginning_is_put_behind_what_is_there: lambda habits: (
        habits.large >= 0.3 and habits.trouble >= 0.03 and _servers("fetch")(habits)
    ),
    plants_there.a_hole_is_taken: lambda habits: (
        habits.large >= 0.3 and habits.trouble >= 0.03 and len(habits.places) <= 2 and _servers()(habits)
    ),
    plants_there.nothing_is_condemned_before_it_is_swept: _depots("collect"),
    plants_there.no_grace_is_given: _depots("collect"),
    plants_there.what_is_joined_is_nothing_but_zeros: _depots("collect"),
    plants_there.what_is_freed_is_not_looked_for_elsewhere: _much("evict"),
    plants_lost.names_of_the_log_are_not_synced: _powerless,
    plants_lost.bytes_of_packs_are_not_synced: _powerless,
    plants_lost.bytes_of_large_blobs_are_not_synced: lambda habits: habits.large >= 0.3 and _powerless(habits),
    plants_lost.names_in_a_depot_are_not_synced: _powerless,
    plants_lost.bytes_in_a_depot_are_not_synced: _powerless,
    plants_lost.lost_slots_are_not_put_back: _losing,
    plants_lost.damage_is_not_looked_for: _losing,
    plants_lost.what_is_lost_counts_as_there: _losing,
    plants_lost.what_waits_in_a_mirror_counts_for_nothing: lambda habits: (
        # Where the upstream is pushed to less, more waits in mirrors.
        habits.mirrors > 0 and habits.factor("push") <= 2 and habits.factor("free") >= 2 and _much("mirror")(habits)
    ),
    plants_lost.what_was_freed_counts_on: _limited,
    plants_lost.what_has_come_counts_as_still_coming: _limited,
}
"""The bugs, and in which worlds each is looked for: those in which what it needs happens often."""


def look_for(plant: Plant, where: Where, first: int = _FIRST) -> Found:
    """Let worlds with a planted bug live until one breaks, or it should have long ago."""
    worlds = steps = 0
    for seed in (seed for seed in itertools.count(first) if where(habits_of(seed))):
        worlds += 1
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            try:
                steps += live(seed, deeds=_DEEDS).steps
            except Broken as broken:
                steps += broken.steps
                if not isinstance(broken.__cause__, AssertionError | ArtstoreError):
                    # It is not what was planted that went wrong.
                    raise
                return Found(seed, worlds, steps)
        if steps >= STEPS:
            break
    return Found(None, worlds, steps)


def main() -> int:
    """Look for each; 1 if one lives."""
    lives = False
    for plant, where in PLANTED.items():
        found = look_for(plant, where)
        lives |= found.seed is None
        what = f"{found.steps} steps of {found.worlds} worlds"
        print(f"{plant.__name__} {'lives after' if found.seed is None else 'is found in'} {what}", flush=True)  # noqa: T201
    return int(lives)


if __name__ == "__main__":
    sys.exit(main())
