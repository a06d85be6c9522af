"""Mirrors: depots that stand in for an upstream, which may be out of reach of some."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from artstore.errors import Denied, Invalid, NotFound, Unreachable
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.sync.depots.collect import collect_remote
from artstore.sync.remotes import add_remote, read_remotes
from artstore.sync.rounds import Verb, exchange
from tests.sync.simulation.deeds import check_content, put
from tests.sync.simulation.naive import Json, Naive, canonical, digest
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Depot, Place
from tests.sync.simulation.travels import LACKING, check_numbers

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_MADE: Final = 0.7
"""How often something is made that can wait in a mirror."""
_DELETED: Final = 0.4
"""How often something is deleted everywhere before a mirror is freed of it."""
_JOINING: Final = 0.8
"""How often a log in a mirror is followed also by who has one of its own."""


def mirror(world: World, node: Node) -> None:
    """What a machine knows goes to a mirror, or it takes what that has."""
    if not world.mirrors:
        return
    there = world.chance.choice(world.mirrors)
    verb: Verb = world.chance.choice(("push", "push", "pull", "sync"))
    if verb != "pull" and world.chance.random() < _MADE:
        put(world, node)
        node.note_acknowledged()
    before = node.meanings()
    world.moving.append(node)
    try:
        _note(world, node, there)
        node.took_slots |= verb != "push"
        (report,) = exchange(node.store, verb, remote=there.name, projects=[PROJECT]).projects
    except (Unreachable, Denied):
        node.renew(world.places)
        return
    except NotFound as error:
        if error.code != "project-not-found" or node.view() is not None:
            raise
        return
    except Invalid as error:
        if error.code != "unfit-remote" or not world.fate.trouble:
            raise
        return
    finally:
        world.moving.remove(node)
    excused = {None, "other-log", "needs-join", "other-upstream"} | LACKING
    # What was evicted here may have to come from a place that was set back since.
    excused |= {"object-missing"} if world.is_shaken else set()
    assert report.code in excused, f"{node.name}: {report.error}"
    check_numbers(node, before)
    if report.code is None and verb != "pull":
        note_waiting(world, node, there)
    if report.code == "other-log" and node.place is world.home:
        empty(world, there)


def _note(world: World, node: Node, mirror: Depot) -> None:
    """A machine knows a mirror from now on."""
    if mirror.name not in read_remotes(node.store.path):
        join = world.chance.random() < _JOINING
        add_remote(node.store.path, mirror.name, mirror.url, upstream=False, join=join)


def free(world: World, node: Node) -> None:
    """What no version needs is freed in a mirror, with a grace or at once."""
    if not world.mirrors:
        return
    there = world.chance.choice(world.mirrors)
    version = node.any_version()
    if version is not None and node.place is not None and world.chance.random() < _DELETED:
        # It waits, or is no more.
        node.may_forget.add(version.id)
        world.ended.add(version.id)
        node.store.delete(version.exact, force=True, everywhere=True)
    grace_s = world.chance.choice((0.0, 0.0, 3600.0))
    before = node.meanings()
    world.moving.append(node)
    try:
        _note(world, node, there)
        (report,) = collect_remote(node.store, there.name, projects=[PROJECT], grace_s=grace_s).projects
    except (Unreachable, Denied):
        node.renew(world.places)
        return
    except NotFound as error:
        if error.code != "project-not-found":
            raise
        return
    except Invalid as error:
        if error.code != "unfit-remote" or not world.fate.trouble:
            raise
        return
    finally:
        world.moving.remove(node)
    world.freed += report.swept
    excused = {None, "behind", "other-log"} | LACKING
    assert report.code in excused, f"{node.name}: {report.error}"
    check_numbers(node, before)
    check_waiting(world, there)


class Waiting(NamedTuple):
    """What waits in a mirror of one machine."""

    said: bytes
    blobs: frozenset[str]
    """What that needs, by the hex of their digests."""


def note_waiting(world: World, node: Node, mirror: Depot) -> None:
    """A machine knows by now that what waits in it is there."""
    root = node.store.root
    for path in sorted(mirror.folder.glob(f"mirror/pending/*/{root.format.store_id}/[!.]*"))[-1:]:
        said = path.read_bytes()
        ops = [op for transaction in json.loads(said)["transactions"] for op in transaction]
        # What ends again behind it needs no bytes.
        ended = {id_ for op in ops for id_ in (op.get("version"), op.get("part"), *op.get("versions", ())) if _ends(op)}
        made = [op.get("record", op) for op in ops]
        made = [each for each in made if digest(canonical(each)) not in ended]
        lists = [Digest.parse(each["manifest"]) for each in made if "manifest" in each]
        entries = [entry for each in lists for entry in root.manifests.entries(each)]
        blobs = frozenset(blob.digest.hex() for entry in entries if (blob := blob_of(entry)) is not None)
        world.waiting[path] = Waiting(said, blobs)


def _ends(op: Json) -> bool:
    return op["op"] in {"delete", "delete-collection", "drop-part"}


def check_waiting(world: World, mirror: Depot) -> None:
    """What is known to wait in a mirror is there with its bytes."""
    there = {path.name.partition(".")[0] for path in mirror.folder.glob("mirror/blobs/*/[!.]*")}
    for path in mirror.folder.glob("mirror/packs/*/[!.]*.tar"):
        with tarfile.open(path) as members:
            there.update(member.name.rpartition("/")[2] for member in members)
    for path, waiting in world.waiting.items():
        if path.is_relative_to(mirror.folder) and path.exists() and path.read_bytes() == waiting.said:
            assert waiting.blobs <= there, f"{mirror.name} has freed what waits there"


def begin_anew(world: World, _node: Node) -> None:
    """Somebody needs the disk that a mirror was on, and it becomes one again."""
    if world.mirrors:
        empty(world, world.chance.choice(world.mirrors))


def empty(world: World, mirror: Depot) -> None:
    """A mirror is begun anew, if all that it has is elsewhere."""
    is_elsewhere = not world.is_shaken and all(node.place is not None for node in world.nodes)
    if not world.moving and (is_elsewhere or world.can_do_without(mirror)):
        with world.fate.outside():
            world.fate.late.clear()
            mirror.empty()


def check_mirror(world: World, mirror: Depot, naive: Naive) -> None:
    """Who sees a mirror alone has all that the log has, with its bytes."""
    knowing = [node for node in world.nodes if mirror.name in read_remotes(node.store.path)]
    writer = world.chance.choice(knowing or world.nodes)
    codes: list[str | None] = []

    def bring() -> None:
        add_remote(writer.store.path, mirror.name, mirror.url, upstream=False, join=True)
        (report,) = exchange(writer.store, "push", remote=mirror.name, projects=[PROJECT]).projects
        codes.append(report.code)

    assert writer.does(bring)
    assert codes[0] in {None, "other-log"}, f"{writer.name} cannot bring {mirror.name} what it lacks: {codes[0]}"
    if codes[0] == "other-log" or not naive.seen:
        return
    check_reader(
        world,
        mirror,
        naive,
        lambda reader: add_remote(reader.store.path, mirror.name, mirror.url, upstream=False, join=True),
    )


def check_reader(world: World, place: Place, naive: Naive, begin: Callable[[Node], object]) -> None:
    """A machine that is new, and sees a place alone, has all that the log has, with its bytes."""
    reader = Node(world.fate, world.folder, f"reader{len(world.history)}-{place.name}")

    def read() -> None:
        begin(reader)
        (report,) = exchange(reader.store, "pull", remote=place.name, projects=[PROJECT], blobs=True).projects
        assert report.error is None, report.error
        forgotten = reader.forgotten()
        assert forgotten <= set().union(*(node.may_forget for node in world.nodes)), "a place lacks what all have"
        offered = {op.id for op in reader.waiting() if op.void is None}
        # What was refused where it was made, or given up since it came there, may have a place as things are now.
        undecided = {op.id for node in world.nodes for op in node.waiting() if op.void is not None}
        assert offered <= undecided.union(*(node.given_up for node in world.nodes)), f"{place.name} has others' offers"
        is_same = naive.shown(forgotten) == reader.shown()
        assert is_same or offered, f"{place.name} shows something else than the log says"
        for name in reader.names():
            for version in reader.versions(name):
                check_content(reader, version)

    assert reader.does(read)
    reader.store.close()
