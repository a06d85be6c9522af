"""Travels: how what was made on one machine comes to others by way of their upstream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from artstore.errors import Conflict, Denied, Invalid, NotFound, Unreachable
from artstore.lifecycle.reports import VersionInfo
from artstore.model.fold import PASSING
from artstore.model.state import Version
from artstore.storage.journal import Waiting
from artstore.sync.evict import evict as free
from artstore.sync.recover import recover
from artstore.sync.reports import SyncReport
from artstore.sync.rounds import Verb, exchange
from tests.sync.simulation import naive
from tests.sync.simulation.deeds import NAMES, check_content, put
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Server

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_KEPT: Final = frozenset(
    {"last-copy", "rolled-back", "other-log", "unreachable", "remote-unreachable", "folder-missing"}
)
"""Why bytes stay here: no place shows that it has them."""
LACKING: Final = frozenset({"blob-missing", "manifest-missing"})
"""Why something waits for another machine, with nothing wrong."""
_CHOSEN: Final = 0.2
"""How often one collection is pushed alone."""
_MADE: Final = 0.7
"""How often something is made where nothing waits."""
_ALL: Final = 0.3
"""How often all bytes are pulled too."""
_RENUMBERED: Final = 0.1
"""How often somebody would rather have other numbers than wait."""
_CRASHING: Final = 0.3
"""How often a server may be set back to where it was before a push."""
_HOLES: Final = 3
"""How often what was sent is not there, until who pushes asks for help."""


def push(world: World, node: Node) -> None:
    """What waits is offered, or else what is made for that."""
    make(world, node)
    names = [] if node.only else node.names()
    if names and world.chance.random() < _CHOSEN:
        move(world, node, "push", [world.chance.choice(names)])
    else:
        move(world, node, world.chance.choice(("push", "sync")), renumber=world.chance.random() < _RENUMBERED)


def pull(world: World, node: Node) -> None:
    """What is new is taken."""
    move(world, node, "pull")


def overtake(world: World, node: Node) -> None:
    """What waits is offered, or what is made for that, while somebody else is about to."""
    make(world, node)
    move(world, node, "push")


def make(world: World, node: Node) -> None:
    """Something waits then, mostly."""
    if all(op.void is not None for op in node.waiting()) and world.chance.random() < _MADE:
        put(world, node)
        node.note_acknowledged()


def move(world: World, node: Node, verb: Verb, chosen: Sequence[str] = (), *, renumber: bool = False) -> bool:
    """A round with the upstream, which may fail; answers whether it came to its end."""
    if node.place is None:
        return True
    before, waited = node.meanings(), node.waiting()
    times_lost = world.times_lost
    is_server = isinstance(node.place, Server) and world.damaged is not node.place
    if world.fate.trouble and not world.moving and is_server and world.chance.random() < _CRASHING:
        # What is sent may be lost again before it is named.
        with world.fate.outside():
            node.place.keep()
    world.moving.append(node)
    try:
        report = _round(world, node, verb, chosen, renumber=renumber)
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
    codes, times_lost = _codes(report), world.times_lost - times_lost
    assert codes <= _excused(world, node, chosen, times_lost), f"{node.name}: {report.projects}"
    is_damaged = any("other bytes" in (each.error or "") for each in report.projects)
    assert not is_damaged or world.habits.losing, f"nothing is damaged there, and {node.name} says: {report.projects}"
    check_numbers(node, before)
    check_refused(node, waited)
    if world.damaged is not node.place:
        check_chosen(node, waited)
    return not codes


def _excused(world: World, node: Node, chosen: Sequence[str], times_lost: int) -> set[str]:
    """Why a round may leave something undone, with nothing wrong."""
    excused = LACKING | damage(world, node) | {"rolled-back"}
    # It may be a recovery that was refused, in a server that was set back to before it gave the token.
    excused |= {"remote-denied"}
    if chosen or node.only:
        # What others have made comes again with them, if what is asked for now has lost it.
        excused |= {"name-freed"}
    if times_lost >= _HOLES:
        # Whenever a slot was claimed, the server had just lost what was sent for it.
        excused |= {"hole"}
    if isinstance(node.place, Server) and node.place.has_quota:
        excused |= {"quota-exceeded"}
    return set(excused)


def _round(world: World, node: Node, verb: Verb, chosen: Sequence[str], *, renumber: bool) -> SyncReport:
    """Exchange, and do what the report asks for where a place has lost something."""
    place, blobs = node.place, verb == "pull" and world.chance.random() < _ALL
    assert place is not None

    def once() -> SyncReport:
        return exchange(node.store, verb, projects=[PROJECT], references=chosen, renumber=renumber, blobs=blobs)

    report = _joined(world, node, once(), once)
    if "rolled-back" in _codes(report):
        node.renew(world.places)
        assert place.name in world.set_back or node.took_slots, f"{node.name}: nothing was set back"
        # What it took elsewhere begins here anew: to who had followed that elsewhere too, this place is set back.
        world.set_back[place.name] += node.took_slots
        try:
            report = recover(node.store)
        except Conflict as error:
            # Others have offered it again.
            if error.code != "nothing-to-recover":
                raise
        # Somebody may have begun one just before.
        report = _joined(world, node, report, once)
    return report


def _joined(world: World, node: Node, report: SyncReport, once: Callable[[], SyncReport]) -> SyncReport:
    """Follow another log where a report says that there is one, and try once more; each time that there is another."""
    assert node.place is not None
    # Where it was set back to nothing, somebody who never followed it has begun another one.
    is_another = bool(_codes(report) & {"needs-join", "other-log"})
    while is_another:
        times = world.set_back[node.place.name]
        assert "other-log" not in _codes(report) or node.took_slots or times, f"{node.name}: another log"
        node.join(only=node.only)
        report = once()
        # It may be set back once more before what waits comes there.
        is_another = "other-log" in _codes(report) and world.set_back[node.place.name] > times
    return report


def damage(world: World, node: Node) -> frozenset[str]:
    """Why nothing moves where the upstream of a machine lacks objects: whoever has them is to give them back first.

    Who was set back from other slots has others in their places, and is refused.
    """
    is_damaged = node.place is not None and world.damaged is node.place
    codes = {"slot-lost", "remote-corrupt", "digest-mismatch", "object-missing", "forked"}
    return frozenset(codes if is_damaged else ())


def _codes(report: SyncReport) -> set[str]:
    return {project.code for project in report.projects if project.code is not None}


def check_refused(node: Node, waited: Sequence[Waiting]) -> None:
    """What somebody else has decided otherwise does not come alive here by itself."""
    refused = {op.id for op in waited if op.void is not None and op.void not in PASSING}
    alive = {op.id for op in node.waiting() if op.void is None}
    assert refused.isdisjoint(alive), f"{node.name}: what was refused waits to be sent"


def check_chosen(node: Node, waited: Sequence[Waiting]) -> None:
    """Where one collection alone is sent, no version of another one is."""
    view = node.view()
    if not node.only or view is None:
        return
    assert node.place is not None
    own = node.store.root.format.store_id
    slots = [slot for slot in naive.slots(node.place.logs / PROJECT) if slot["store"] == own]
    sent = {naive.id_of(op) for slot in slots for transaction in slot["transactions"] for op in transaction}
    for version in [view.version(op.version) for op in waited if op.version and op.id in sent]:
        names = set(node.only) if version is None else node.called(version.collection)
        assert not names.isdisjoint(node.only), f"{node.name} has sent of {names}"


def check_numbers(node: Node, before: dict[tuple[str, int], str]) -> None:
    """No number comes to mean something else without a word."""
    view = node.view()
    every = set[str]() if view is None else {each.id for each in view.all(Version)}
    after, names = node.numbers(), node.names()
    moved = {(each.id, each.before) for each in node.store.moved_numbers()}
    lost = {(id_, number) for (_, number), id_ in before.items() if after.get(id_, number) != number}
    # What has no place any more, or not the name that was given here, and another collection has that.
    refused = {op.version for op in node.waiting() if op.void is not None} - every
    lost |= {(id_, number) for (name, number), id_ in before.items() if id_ in refused and name in names}
    renamed = {each for each in node.renames_refused() if each[1] in names}
    lost |= {(id_, number) for (name, number), id_ in before.items() if (id_, name) in renamed}
    assert lost <= moved, f"{node.name}: numbers mean something else, and nobody is told"


def fetch(world: World, node: Node) -> None:
    """A version whose bytes were freed is read; a large one rather than others, since much may happen to it."""
    several = [each for each in (node.any_version() for _ in range(3)) if each is not None]
    version = max(several, key=lambda each: each.bytes, default=None)
    if version is not None:
        evict(world, node, version)
        if world.has_bytes(node, version):
            with contextlib.suppress(Unreachable, Denied):
                check_content(node, version)


def evict(world: World, node: Node, version: VersionInfo | None = None) -> None:
    """The bytes of a version are freed where a remote proves to have them."""
    version = version or node.any_version()
    if version is None or node.place is None:
        return
    try:
        report = free(node.store, [version.exact])
    except (Conflict, NotFound, Unreachable) as error:
        if error.code not in _KEPT:
            raise
        return
    except Denied:
        node.renew(world.places)
        return
    if report.blobs:
        world.something_was_freed()


def attach(world: World, node: Node) -> None:
    """A machine gets an upstream, or another one, or leaves what is lost."""
    standing = [place for place in world.places if not place.is_lost]
    place = world.home if world.chance.random() < 0.6 else world.chance.choice(standing)
    if place is node.place or (node.place is not None and not node.place.is_lost and world.chance.random() < 0.6):
        return
    before = node.meanings()
    trouble, world.fate.trouble = world.fate.trouble, world.chance.choice((0.0, world.fate.trouble))
    try:
        node.attach(place, only=some_or_all(world))
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


def some_or_all(world: World) -> list[str]:
    """The collections that a machine sends; all, where none is named."""
    return [world.chance.choice(NAMES)] if world.chance.random() < world.habits.choosy else []
