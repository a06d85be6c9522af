"""Blows: what befalls places, clocks and the ways between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sync.simulation.fate import YEARS_S
from tests.sync.simulation.node import Node
from tests.sync.simulation.places import Place, Server

if TYPE_CHECKING:
    from tests.sync.simulation.world import World


def skew(world: World, node: Node) -> None:
    """A clock jumps, by ten years at most."""
    node.skew_s = world.chance.choice((0, world.chance.randrange(-YEARS_S, YEARS_S)))


def part_ways(world: World, node: Node) -> None:
    """Between a machine and a place there is no way any more, or there is again."""
    pair = node.name, world.chance.choice(world.places).name
    if pair in world.fate.cut:
        world.fate.cut.discard(pair)
    elif world.fate.trouble:
        world.fate.cut.add(pair)


def time_passes(world: World, _node: Node) -> None:
    """Days go by, and tokens end."""
    world.fate.now_s += world.chance.randrange(20 * 86_400)
    for place in world.places:
        if world.chance.random() < 0.2 and isinstance(place, Server):
            place.skew_s = world.chance.choice((0, world.chance.randrange(-YEARS_S, YEARS_S)))
        if not place.is_lost:
            world.untroubled(place.tend)


def arrive(world: World, _node: Node) -> None:
    """What was given up arrives all the same."""
    with world.fate.outside():
        world.fate.deliver()


def backup(world: World, _node: Node) -> None:
    """A copy of a place is taken."""
    place = world.chance.choice([*world.places, *world.mirrors])
    if not place.is_lost and not world.moving:
        with world.fate.outside():
            place.keep()


def roll_back(world: World, _node: Node) -> None:
    """A place is set back to a copy. What is on its way does not outlive that."""
    place = world.chance.choice([*world.places, *world.mirrors])
    if place.snapshot is not None and not place.is_lost and not world.moving:
        with world.fate.outside():
            set_back(world, place)


def set_back(world: World, place: Place) -> None:
    """Let a place be as it was."""
    world.fate.late.clear()
    place.set_back()
    world.waiting.clear()
    world.set_back[place.name] += 1
    world.times_lost += 1
    world.is_shaken |= place in world.places


def lose(world: World, _node: Node) -> None:
    """A place is gone for good, if all that it has is elsewhere."""
    place = world.chance.choice(world.places)
    standing = [each for each in world.places if not each.is_lost and each is not place]
    if standing and not place.is_lost and not world.moving and world.can_do_without(place):
        with world.fate.outside():
            world.fate.late.clear()
            place.lose()
        world.is_shaken = True
        if place is world.home:
            world.home = world.chance.choice(standing)
        for each in world.nodes:
            if each.place is place:
                world.quietly(each, lambda each=each: each.attach(world.home))  # type: ignore[misc]
