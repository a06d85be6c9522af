"""Losing: single objects of a place are gone or damaged, until those who have what was in them give it back."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from artstore.errors import Conflict, Unreachable
from artstore.lifecycle.upstream import followed
from artstore.model.digest import Digest
from artstore.storage.marking import Marking
from artstore.sync.hosting.mend import mend_logs
from artstore.sync.recover import recover
from artstore.sync.reports import ProjectReport
from artstore.sync.rounds import exchange
from tests.sync.simulation import collecting, mirrors, naive, travels
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Place, Server
from tests.sync.simulation.power import Power

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_MOST: Final = 3
"""How many objects are lost at once."""
_READ: Final = 0.3
"""How often somebody reads all of it afterwards."""
_TURNS: Final = 6
_FREEING: Final = 0.2
"""How often it is somebody who collects that goes on there."""
_KEPT: Final = ("log", "manifests", "packs", "blobs", "checkpoints", "indexes")
_KEPT_BY_A_SERVER: Final = ("hosted/log", "hosted/manifests", "packs", "blobs")


class _Spoilt(NamedTuple):
    """What became of an object."""

    path: Path
    said: str
    before: bytes
    after: bytes | None

    def mend(self, power: Power) -> None:
        """What no version needed at the time is read by nobody, and a later one may count on it: it is put back."""
        is_flipped = self.after is not None and len(self.after) == len(self.before)
        if is_flipped and self.path.exists() and self.path.read_bytes() == self.after:
            self.path.write_bytes(self.before)
            power.written(self.path)


def lose_objects(world: World, _node: Node) -> None:
    """Some objects of a place are lost or damaged. Others go on meanwhile, and then it is given back what it had."""
    place = world.chance.choice(world.places)
    there = [each for each in world.nodes if each.place is place]
    if place.is_lost or world.moving or not there:
        return
    _take_all(world, world.chance.choice(there))
    followers = [each for each in there if _has_followed(each, place)]
    if not followers or not _can_be_given_back(place, followers):
        return
    with world.fate.outside():
        world.fate.late.clear()
        spoilt = _damage(world, place)
    how = [each.said for each in spoilt]
    world.history.append(f"    {place.name} has lost {', '.join(how)}")
    # Of a list of files no listing says how long it should be.
    read_all = any("flipped" in each or each.startswith("manifests/") for each in how)
    world.set_back[place.name] += 1
    world.damaged, was_shaken, world.is_shaken = place, world.is_shaken, True
    _go_on(world, followers, read_all=read_all)
    _heal(world, place, read_all=read_all)
    world.damaged, world.is_shaken = None, was_shaken
    _check_whole(world, place, read_all=read_all)
    if not isinstance(place, Server):
        for each in spoilt:
            each.mend(world.fate.power)


def _go_on(world: World, followers: list[Node], *, read_all: bool) -> None:
    """Some send what they have, free what they can, or give back what they have, while anything may go wrong."""
    for _ in range(world.chance.randrange(_TURNS)):
        other = world.chance.choice(world.nodes)
        what = world.chance.random()
        if what < _FREEING:
            other.does(lambda: collecting.free_there(world, other, 0.0))  # noqa: B023 - done at once
        elif what < 1 / 2:
            other.does(lambda: travels.push(world, other))  # noqa: B023 - done at once
        elif other in followers:
            other.does(lambda: _recover(world, other, read_all=read_all))  # noqa: B023 - done at once
        other.note_acknowledged()


def _heal(world: World, place: Place, *, read_all: bool) -> None:
    """All give back what they have, those too that have sent something meanwhile."""
    for _ in range(2):
        for each in (each for each in world.nodes if each.place is place):
            world.quietly(each, lambda each=each: _recover(world, each, read_all=read_all))  # type: ignore[misc]
        if isinstance(place, Server):
            # Whoever keeps it mends what the store itself has again.
            with world.whole(), world.fate.outside(), world.fate.acts(place):
                mend_logs(place.store)


def _check_whole(world: World, place: Place, *, read_all: bool) -> None:
    """Nobody has anything left to give back, and who is new there reads all."""
    for node in (each for each in world.nodes if each.place is place):
        given: list[ProjectReport] = []
        world.quietly(node, lambda node=node, given=given: given.extend(_given_back(node, read_all=read_all)))  # type: ignore[misc]
        assert given == [], given
    log = naive.fold(place.logs / PROJECT)
    if log.seen and world.chance.random() < _READ:
        with world.whole(), world.fate.outside():
            mirrors.check_reader(world, place, log, lambda reader: reader.attach(place))


def _take_all(world: World, node: Node) -> None:
    """Let a machine have all that its place has, if that has a log."""

    def take() -> None:
        node.renew(world.places)
        if travels.move(world, node, "sync") and node.view() is not None:
            exchange(node.store, "pull", projects=[PROJECT], blobs=True)

    world.quietly(node, take)


def _has_followed(node: Node, place: Place) -> bool:
    """Whether a machine has all slots of a place in its journal, and not others that it was set back from."""
    last, slots = followed(node.store.root, PROJECT), naive.slots(place.logs / PROJECT)
    return bool(last is not None and slots and last.head == naive.digest(naive.canonical(slots[-1])))


def _can_be_given_back(place: Place, followers: list[Node]) -> bool:
    """Whether those who follow a place have all that its log names, and all that each of them needs."""
    live = naive.fold(place.logs / PROJECT).versions.values()
    needed = {Digest.parse(each["manifest"]) for each in live if not each["deleted"]}
    there: set[Digest] = set()
    for node in followers:
        project = node.store.root.catalog.project(PROJECT)
        assert project is not None
        needed |= Marking(node.store.root.catalog).live_manifests(project.id)
        there |= node.whole()
    return needed <= there


def _damage(world: World, place: Place) -> list[_Spoilt]:
    """Let some objects be gone, shorter, or other bytes; answers which."""
    chance = world.chance
    folders = _KEPT_BY_A_SERVER if isinstance(place, Server) else _KEPT
    there = [path for folder in folders for path in sorted((place.folder / folder).rglob("[!.]*")) if path.is_file()]
    done: list[_Spoilt] = []
    # A pack and its index are not lost at once: what a damaged pack says of itself would be believed.
    chosen = {path.with_suffix(""): path for path in chance.sample(there, min(len(there), 1 + chance.randrange(_MOST)))}
    for path in chosen.values():
        # What can be read is another slot, which nobody takes for a damaged one.
        how = chance.choice(("gone", "cut") if "log" in path.parts else ("gone", "cut", "flipped"))
        before, after = _spoil(path, how, chance.random())
        # It is what the disk has: a power failure does nothing more to it.
        world.fate.power.written(path)
        done.append(_Spoilt(path, f"{path.relative_to(place.folder)} ({how})", before, after))
    if isinstance(place, Server):
        with world.whole(), world.fate.acts(place):
            place.store.verify()
    return done


def _spoil(path: Path, how: str, where: float) -> tuple[bytes, bytes | None]:
    before, after = path.read_bytes(), None
    path.unlink()
    at = int(len(before) * where)
    # One may have been cut to nothing before.
    if how == "cut" or (how == "flipped" and before):
        after = before[:at] if how == "cut" else before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :]
        path.write_bytes(after)
    return before, after


def _recover(world: World, node: Node, *, read_all: bool) -> None:
    """Give a place what it has lost, as far as this machine has it."""
    world.moving.append(node)
    node.renew(world.places)
    try:
        given = _given_back(node, read_all=read_all)
    except Unreachable:
        return
    finally:
        world.moving.remove(node)
    if "other-log" in (each.code for each in given):
        # All slots were lost, and somebody has begun anew.
        with contextlib.suppress(Unreachable):
            node.join(only=node.only)
        return
    # Who was set back from other slots can offer them again when those that are there are whole.
    excused = travels.damage(world, node) | travels.LACKING | {"forked"}
    # Somebody else may have claimed what was lost, or a server be set back to before it gave a token.
    excused |= {"busy", "remote-denied"} if world.fate.trouble else set()
    assert all(each.code is None or each.code in excused for each in given), given


def _given_back(node: Node, *, read_all: bool) -> list[ProjectReport]:
    try:
        return recover(node.store, read_all=read_all).projects
    except Conflict as error:
        if error.code != "nothing-to-recover":
            raise
        return []
