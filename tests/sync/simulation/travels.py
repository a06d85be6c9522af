"""Travels: how what was made on one machine comes to others, and what becomes of the places between them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from artstore.errors import Conflict, Denied, Invalid, NotFound, Unreachable
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.receipt import make_receipt
from artstore.sync.collect import collect_remote
from artstore.sync.evict import evict as free
from artstore.sync.recover import recover
from artstore.sync.reports import SyncReport
from artstore.sync.rounds import Verb, exchange
from tests.sync.simulation.fate import YEARS_S
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Depot, Place, Server

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_NOT_NOW: Final = frozenset({"needs-join", "bundle-gap", "bundle-incomplete", "rolled-back", "other-upstream"})
"""Why a bundle is not taken, with nothing wrong."""
_KEPT_RECEIPTS: Final = 4
_DELETED: Final = 0.6
"""How often something is deleted everywhere before a depot is collected."""
_CHOSEN: Final = 0.2
"""How often one collection is pushed alone."""
_HOLES: Final = 3
"""How often what was sent is not there, until who pushes asks for help."""


def push(world: World, node: Node) -> None:
    """What waits is offered."""
    names = node.names()
    if names and world.chance.random() < _CHOSEN:
        move(world, node, "push", [world.chance.choice(names)])
    else:
        move(world, node, world.chance.choice(("push", "sync")))


def pull(world: World, node: Node) -> None:
    """What is new is taken."""
    move(world, node, "pull")


def move(world: World, node: Node, verb: Verb, chosen: Sequence[str] = ()) -> bool:
    """A round with the upstream, which may fail; answers whether it came to its end."""
    if node.place is None:
        return True
    before = node.numbers()
    times_set_back = world.times_set_back
    world.moving.append(node)
    try:
        report = _round(world, node, verb, chosen)
    except Unreachable:
        return False
    except NotFound as error:
        if error.code != "project-not-found":
            raise
        is_there = verb != "push" and any((node.place.logs / PROJECT).glob("[!.]*"))
        assert not is_there, f"{node.name}: {node.place.name} has the project"
        assert node.view() is None, f"{node.name} has the project"
        return True
    except Denied:
        node.renew(world.places)
        return False
    finally:
        world.moving.remove(node)
    world.last[node.name] = report
    # What others have made comes again with them, if what is asked for now has lost it.
    excused = {"blob-missing", "manifest-missing", "rolled-back"} | ({"name-freed"} if chosen else set())
    if world.times_set_back >= times_set_back + _HOLES:
        # Whenever a slot was claimed, the server had just lost what was sent for it.
        excused.add("hole")
    codes = _codes(report)
    assert codes <= excused, f"{node.name}: {report.projects}"
    check_numbers(node, before)
    return not codes


def _round(world: World, node: Node, verb: Verb, chosen: Sequence[str]) -> SyncReport:
    """Exchange, and do what the report asks for where a place has lost something."""
    assert node.place is not None
    report = exchange(node.store, verb, projects=[PROJECT], references=chosen)
    # Where it was set back to nothing, somebody who never followed it has begun another one.
    if _codes(report) & {"needs-join", "other-log"}:
        is_shaken = node.took_slots or node.place.name in world.set_back
        assert "other-log" not in _codes(report) or is_shaken, f"{node.name}: another log"
        node.join()
        report = exchange(node.store, verb, projects=[PROJECT], references=chosen)
    if "rolled-back" in _codes(report):
        assert node.place.name in world.set_back or node.took_slots, f"{node.name}: nothing was set back"
        try:
            report = recover(node.store)
        except Conflict as error:
            # Others have offered it again.
            if error.code != "nothing-to-recover":
                raise
        if "other-log" in _codes(report):
            # Somebody has begun one just before.
            node.join()
            report = exchange(node.store, verb, projects=[PROJECT], references=chosen)
    return report


def _codes(report: SyncReport) -> set[str]:
    return {project.code for project in report.projects if project.code is not None}


def check_numbers(node: Node, before: dict[str, int]) -> None:
    """No number comes to mean something else without a word."""
    after = node.numbers()
    moved = {(each.id, each.before) for each in node.store.moved_numbers()}
    lost = {(id_, number) for id_, number in before.items() if after.get(id_, number) != number}
    assert lost <= moved, f"{node.name}: numbers mean something else, and nobody is told"


def evict(world: World, node: Node) -> None:
    """The bytes of a version are freed where a remote proves to have them."""
    version = node.any_version()
    if version is None or node.place is None:
        return
    try:
        report = free(node.store, [version.exact])
    except (Conflict, NotFound, Unreachable) as error:
        if error.code not in {"last-copy", "unreachable", "remote-unreachable", "folder-missing"}:
            raise
        return
    except Denied:
        node.renew(world.places)
        return
    if report.blobs:
        world.something_was_freed()


def collect(world: World, node: Node) -> None:
    """What no version needs is freed in a depot, with a grace or at once, often after something was deleted."""
    version = node.any_version()
    if version is not None and isinstance(node.place, Depot) and world.chance.random() < _DELETED:
        node.may_forget.add(version.id)
        node.store.delete(version.exact, force=True, everywhere=True)
        move(world, node, "push")
    free_there(world, node, world.chance.choice((0.0, 0.0, 3600.0)))


def free_there(world: World, node: Node, grace_s: float) -> None:
    """Collect the depot that is the upstream of a machine."""
    if not isinstance(node.place, Depot) or node.place.is_lost:
        return
    before = node.numbers()
    world.moving.append(node)
    try:
        (report,) = collect_remote(node.store, node.place.name, projects=[PROJECT], grace_s=grace_s).projects
    except Unreachable:
        return
    finally:
        world.moving.remove(node)
    world.freed += report.swept
    assert report.code in {None, "needs-join", "other-log", "rolled-back"}, f"{node.name}: {report.error}"
    assert report.missing == 0, f"{node.name}: {report.missing} objects that versions need are gone"
    check_numbers(node, before)


def carry(world: World, node: Node) -> None:
    """A bundle is carried from one machine to another, twice perhaps, after both have made one."""
    chance = world.chance
    other = chance.choice([each for each in world.nodes if each is not node])
    if other in world.moving:
        return
    bundles = [(_made(world, node, other), other)]
    if chance.random() < 0.3:
        other.does(lambda: bundles.append((_made(world, other, node), node)))
    for file, taker in bundles:
        if file is None:
            continue
        for _ in range(chance.choice((1, 1, 2))):
            if taker is node:
                take(world, file, taker)
            else:
                taker.does(lambda file=file, taker=taker: take(world, file, taker))  # type: ignore[misc]
        with world.fate.outside():
            shutil.rmtree(file.parent, ignore_errors=True)


def _made(world: World, node: Node, other: Node) -> Path | None:
    chance = world.chance
    if not other.receipts or chance.random() < 0.7:
        with world.fate.acts(other):
            if not other.is_dead:
                other.receipts = [*other.receipts, make_receipt(other.store)][-_KEPT_RECEIPTS:]
    since = chance.choice(other.receipts) if other.receipts and chance.random() < 0.8 else None
    world.bundles += 1
    folder = world.folder / f"bundle{world.bundles}"
    with world.fate.outside():
        folder.mkdir()
    split = 64 << 10 if chance.random() < 0.2 else None
    try:
        report = create_bundle(node.store, folder / "b", project=PROJECT, since=since, split=split)
    except (Conflict, NotFound, Unreachable) as error:
        if error.code not in {"other-history", "project-not-found", "unreachable", "remote-unreachable"}:
            raise
        return None
    except Denied:
        node.renew(world.places)
        return None
    return Path(report.files[0]) if report.files else None


def take(world: World, file: Path, node: Node) -> None:
    """What a bundle carries is taken. Who has an upstream that can be asked does not leave it for this."""
    before = node.numbers()
    node.took_slots = True
    join = node.place is None and world.chance.random() < 0.7
    report = apply_bundle(node.store, file, join=join)
    for project in report.projects:
        assert project.code is None or project.code in _NOT_NOW, f"{node.name}: {project.error}"
    check_numbers(node, before)
    view = node.view()
    if view is not None:
        # What the other side could not give is forgotten at once.
        node.may_forget.update(id_ for id_ in view.numbers() if view.is_forgotten(id_))


def attach(world: World, node: Node) -> None:
    """A machine gets an upstream, or another one, or leaves what is lost."""
    standing = [place for place in world.places if not place.is_lost]
    place = world.home if world.chance.random() < 0.6 else world.chance.choice(standing)
    if place is node.place or (node.place is not None and not node.place.is_lost and world.chance.random() < 0.6):
        return
    before = node.numbers()
    trouble, world.fate.trouble = world.fate.trouble, world.chance.choice((0.0, world.fate.trouble))
    try:
        node.attach(place)
    except (Unreachable, Denied):
        # It has none now, until somebody tries again.
        return
    except Invalid as error:
        # A depot that cannot be tried out cannot be told from one that is unfit.
        if error.code != "unfit-remote" or not world.fate.trouble:
            raise
        return
    finally:
        world.fate.trouble = trouble
    check_numbers(node, before)


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
    place = world.chance.choice(world.places)
    if not place.is_lost and not world.moving:
        with world.fate.outside():
            place.keep()


def roll_back(world: World, _node: Node) -> None:
    """A place is set back to a copy. What is on its way does not outlive that."""
    place = world.chance.choice(world.places)
    if place.snapshot is not None and not place.is_lost and not world.moving:
        with world.fate.outside():
            set_back(world, place)


def set_back(world: World, place: Place) -> None:
    """Let a place be as it was."""
    world.fate.late.clear()
    place.set_back()
    world.set_back.add(place.name)
    world.times_set_back += 1
    world.is_shaken = True


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
