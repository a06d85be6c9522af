"""A world of some machines and some places, in which everything may go wrong, in an order that a seed decides.

The machines run the real store and the real sync, and the places are real depots and servers, all of it in memory; only
the clocks, the network and the disk's syncs are replaced.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import urllib3

from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.storage.marking import Marking
from artstore.sync import remotes
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from artstore.sync.remotes import read_remotes
from artstore.sync.reports import SyncReport
from tests.sync.simulation import blows, carrying, checks, collecting, deeds, losing, mirrors, travels
from tests.sync.simulation.deeds import Deed
from tests.sync.simulation.fate import Fate, ruled_by
from tests.sync.simulation.habits import habits_of
from tests.sync.simulation.naive import fold
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Depot, Place, Pool, Server

_BAD_TIMES: Final = 25
"""Deeds of a time in which things go wrong; after it some go by in which nothing does."""
_GOOD_TIMES: Final = 5
_LOSING: Final = 0.5
"""How often a server has lost what was just sent to it."""
_FREEING: Final = 0.7
"""How often it has done so by its own gc, rather than by being set back."""

DEEDS: Final[dict[Deed, int]] = {
    deeds.put: 10,
    travels.push: 10,
    travels.pull: 7,
    deeds.alias: 8,
    deeds.tag: 2,
    deeds.edit: 2,
    deeds.describe: 2,
    deeds.part: 4,
    deeds.rename: 1,
    deeds.delete: 3,
    deeds.retype: 1,
    deeds.end_collection: 1,
    deeds.use: 2,
    deeds.look: 2,
    deeds.gc: 4,
    deeds.read: 4,
    deeds.rebuild: 2,
    deeds.decide: 4,
    deeds.accept: 2,
    deeds.lose_help: 1,
    travels.evict: 3,
    travels.fetch: 6,
    collecting.collect: 8,
    carrying.carry: 4,
    mirrors.mirror: 8,
    mirrors.free: 6,
    mirrors.begin_anew: 1,
    travels.attach: 3,
    blows.skew: 1,
    blows.part_ways: 2,
    blows.time_passes: 3,
    blows.arrive: 2,
    blows.backup: 1,
    blows.roll_back: 2,
    blows.lose: 4,
}
"""How often each happens, of all, where a world has no other habits."""


class World:
    """All of it."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        self.folder = folder
        self.fate = fate
        self.chance = fate.chance
        self.history: list[str] = []
        """What happened, deed by deed."""
        self.last: dict[str, SyncReport] = {}
        """What the last round of each came to."""
        self.contents: list[bytes] = []
        """What was made up for files, in that order."""
        self.bundles = 0
        self.freed = 0
        """Objects that were freed in depots."""
        self.ended: set[str] = set()
        """Versions that somebody has deleted who saw them."""
        self.makers: dict[str, str] = {}
        """Versions, and who made them first."""
        self.waiting: dict[Path, mirrors.Waiting] = {}
        """What machines know to wait in mirrors, by where it does."""
        self.moving: list[Node] = []
        """Who is at work on a round."""
        self.set_back = Counter[str]()
        """How often places were set back to an older state, by their names."""
        self.times_lost = 0
        """How often a place has lost something, be it for good or to its own gc."""
        self.is_shaken = False
        """Whether a place has lost something since all were of one mind."""
        self.damaged: Place | None = None
        """The place that lacks single objects just now."""
        self.habits = habits_of(fate.seed)
        self.weights = {deed: weight * self.habits.factor(deed.__name__) for deed, weight in DEEDS.items()}
        if self.habits.losing:
            self.weights[losing.lose_objects] = self.habits.losing
        if self.habits.powerless:
            fate.powerless = self.habits.powerless
            fate.power.begin(folder / "grave")
        self.places: list[Place] = [
            (Server if kind == "server" else Depot)(fate, folder, number)
            for number, kind in enumerate(self.habits.places)
        ]
        self.allow(self.habits.quota)
        self.mirrors = [Depot(fate, folder, number, kind="mirror") for number in range(self.habits.mirrors)]
        """Where what a log has, and what waits for it, is carried about."""
        fate.depots = [each.folder for each in [*self.places, *self.mirrors] if isinstance(each, Depot)]
        self.home: Place = self.places[0]
        """Where all find each other in the end."""
        self.nodes = [Node(fate, folder, f"node{number}") for number in range(self.habits.machines)]

    def begin(self) -> None:
        """Most have an upstream from the beginning."""
        for node in self.nodes:
            if self.chance.random() < 0.8:
                only = travels.some_or_all(self)
                node.does(lambda node=node, only=only: node.attach(self.home, only=only))  # type: ignore[misc]

    def step(self, number: int) -> None:
        """Something happens somewhere."""
        is_bad = number % (_BAD_TIMES + _GOOD_TIMES) < _BAD_TIMES
        self.fate.trouble, self.fate.mortality = (self.habits.trouble, self.habits.mortality) if is_bad else (0.0, 0.0)
        if not is_bad:
            self.fate.cut.clear()
        node = self.chance.choice(self.nodes)
        (deed,) = self.chance.choices(list(self.weights), list(self.weights.values()))
        self.history.append(f"{number} {node.name} {deed.__name__}")
        self.fate.steps += 1
        self.fate.now_s += 60
        if node.does(lambda: deed(self, node)):
            node.note_acknowledged()
        else:
            self.history.append(f"{number} {node.name} died")

    def meddle(self, *, at_mirror: bool = False) -> None:
        """Somebody else pushes, or frees what it can, just before the one who moves claims a slot."""
        idle = [node for node in self.nodes if node not in self.moving]
        habits = self.habits
        if len(self.moving) == 1 and idle and self.fate.trouble and self.chance.random() < habits.meddling:
            other = self.chance.choice(idle)
            is_push = self.chance.random() < habits.pushing
            push, free = (mirrors.mirror, mirrors.free) if at_mirror else (travels.overtake, collecting.collect)
            other.does(lambda: (push if is_push else free)(self, other))
        servers = self.servers
        if servers and self.fate.trouble and self.chance.random() < _LOSING:
            # A server looks whether all that a slot names is still there.
            server = self.chance.choice(servers)
            if server.snapshot is None or self.chance.random() < _FREEING:
                self.times_lost += 1
                self.untroubled(server.tend)
            else:
                with self.fate.outside():
                    blows.set_back(self, server)

    @property
    def servers(self) -> list[Server]:
        """Those that are not lost."""
        return [each for each in self.places if isinstance(each, Server) and not each.is_lost]

    def allow(self, quota: int) -> None:
        """Let projects take so many bytes of each server, where anything was ever said about that; 0: all there are."""
        for server in self.servers if self.habits.quota else ():
            with self.fate.outside():
                server.allow(quota)

    def settle(self) -> None:
        """All is whole again, everybody has time and one upstream. All must be of one mind then."""
        with self.whole():
            for server in self.servers:
                checks.check_quota(self, server)
            self.allow(0)
            checks.settle(self)
            self.allow(self.habits.quota)
            for place in [*self.places, *self.mirrors]:
                if not place.is_lost:
                    place.keep()
        self.is_shaken = False

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Nothing goes wrong meanwhile."""
        before = self.fate.trouble, self.fate.mortality
        self.fate.trouble = self.fate.mortality = 0.0
        self.fate.cut.clear()
        yield
        self.fate.trouble, self.fate.mortality = before

    def untroubled(self, work: Callable[[], object]) -> None:
        """Let the world itself do something while nothing goes wrong."""
        with self.whole(), self.fate.outside():
            work()

    def quietly(self, node: Node, work: Callable[[], object]) -> None:
        """Let a machine do something while nothing goes wrong."""
        with self.whole():
            assert node.does(work)

    # What is known to be somewhere.

    def something_was_freed(self) -> None:
        """A copy of a place may lack by now what nobody else has."""
        for place in [*self.places, *self.mirrors]:
            place.snapshot = None

    def has_bytes(self, node: Node, version: VersionInfo) -> bool:
        """Whether a machine has the bytes of a version, or somebody who is known to have them."""
        if Digest.parse(version.digest) in node.whole():
            return True
        if node.place is None or not (self.is_shaken or self.freed):
            return node.place is not None
        # What a place has lost comes again with those who have it, and what others have deleted and freed there does
        # not. Of what its log has, it has the bytes.
        known = read_remotes(node.store.path)
        standing = [each for each in self.places if each.name in known and not each.is_lost]
        return any(fold(each.logs / PROJECT).version(version.id) is not None for each in standing)

    def can_do_without(self, _place: Place) -> bool:
        """Whether what all need is with those that can give it to the others."""
        needed: set[Digest] = set()
        there: set[Digest] = set()
        for node in self.nodes:
            project = node.store.root.catalog.project(PROJECT)
            if project is not None:
                needed |= Marking(node.store.root.catalog).live_manifests(project.id)
                there |= node.whole() if node.place is not None else set()
        return needed <= there

    def close(self) -> None:
        """Let go of all files."""
        for node in self.nodes:
            node.store.close()
        for place in self.places:
            place.close()


@contextlib.contextmanager
def made(folder: Path, seed: int) -> Iterator[World]:
    """A world, as long as it lasts."""
    fate = Fate(seed)
    with ruled_by(fate) as patch:
        world = World.__new__(World)

        def objects_at(url: str) -> Objects:
            depot = next(place for place in [*world.places, *world.mirrors] if place.url == url)
            assert isinstance(depot, Depot)
            return depot.between(open_objects(url), partial(world.meddle, at_mirror=depot in world.mirrors))

        def pool_to(url: str) -> Pool:
            server = next(place for place in world.places if place.url == url)
            assert isinstance(server, Server)
            return Pool(fate, server, world.meddle)

        patch.setattr(remotes, "open_objects", objects_at)
        patch.setattr(urllib3.PoolManager, "connection_from_url", lambda _self, url, _options: pool_to(url))
        World.__init__(world, folder, fate)
        try:
            world.begin()
            yield world
        finally:
            world.close()
