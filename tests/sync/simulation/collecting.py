"""Collecting: what no version needs is freed in a depot, beside all that others do there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from artstore.errors import NotFound, Unreachable
from artstore.sync.depots.collect import collect_remote
from tests.sync.simulation import naive, travels
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Depot

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_TROUBLE: Final = (0.1, 1.0)
"""How much of the trouble there is: of so many calls some would be lost, mostly."""
_DELETED: Final = 0.8
"""How often something is deleted everywhere before a depot is collected."""


def collect(world: World, node: Node) -> None:
    """What no version needs is freed in a depot, with a grace or at once, often after something was deleted."""
    version = node.any_version()
    if version is not None and isinstance(node.place, Depot) and world.chance.random() < _DELETED:
        node.may_forget.add(version.id)
        world.ended.add(version.id)
        node.store.delete(version.exact, force=True, everywhere=True)
        travels.move(world, node, "push")
    free_there(world, node, world.chance.choice((0.0, 0.0, 3600.0)))


def free_there(world: World, node: Node, grace_s: float) -> None:
    """Collect the depot that is the upstream of a machine."""
    if not isinstance(node.place, Depot) or node.place.is_lost:
        return
    damage = travels.damage(world, node)
    before, slots = node.meanings(), 0 if damage else len(naive.slots(node.place.logs / PROJECT))
    at_us = world.fate.time_ns() // 1000
    for name in set() if damage else condemned_in(node.place):
        node.looks.setdefault(name, at_us)
    trouble, world.fate.trouble = world.fate.trouble, world.fate.trouble * world.chance.choice(_TROUBLE)
    world.moving.append(node)
    try:
        (report,) = collect_remote(node.store, node.place.name, projects=[PROJECT], grace_s=grace_s).projects
    except Unreachable:
        return
    except NotFound:
        # Nobody has made anything yet.
        assert not node.place.logs.exists() or not naive.slots(node.place.logs / PROJECT)
        return
    finally:
        world.moving.remove(node)
        world.fate.trouble = trouble
    world.freed += report.swept
    assert report.code in {None, "needs-join", "other-log", "rolled-back"} | damage, f"{node.name}: {report.error}"
    assert damage or report.missing == 0, f"{node.name}: {report.missing} objects that versions need are gone"
    travels.check_numbers(node, before)
    if not damage:
        check_swept(node, node.place, slots, grace_s)


def condemned_in(depot: Depot) -> set[str]:
    """The objects that are condemned in a depot, of which some may be needed again."""
    found: set[str] = set()
    for slot in naive.slots(depot.logs / PROJECT):
        for op in (op for transaction in slot["transactions"] for op in transaction):
            if op["op"] == "condemn":
                found.update(op["objects"])
            elif op["op"] == "sweep":
                found.difference_update(op["objects"] + op["kept"])
    return found


def check_swept(node: Node, depot: Depot, before: int, grace_s: float) -> None:
    """What a machine has swept with the slots behind one was condemned before, for as long as was said.

    Where a clock says that it is to be condemned years from now, the machine has seen it for so long.
    """
    condemned: dict[str, int] = {}
    for number, slot in enumerate(naive.slots(depot.logs / PROJECT), start=1):
        for op in (op for transaction in slot["transactions"] for op in transaction):
            if op["op"] == "condemn":
                condemned = {**dict.fromkeys(op["objects"], op["at_us"]), **condemned}
            elif op["op"] == "sweep":
                if number > before and slot["store"] == node.store.root.format.store_id:
                    ages_us = {
                        name: max(op["at_us"] - at_us for at_us in (condemned[name], node.looks.get(name, op["at_us"])))
                        for name in op["objects"]
                        if name in condemned
                    }
                    assert ages_us.keys() >= {*op["objects"]}, f"{node.name} has swept what nobody had condemned"
                    is_early = bool(grace_s) and any(age_us < grace_s * 1e6 for age_us in ages_us.values())
                    assert not is_early, f"{node.name} has swept within the grace"
                condemned = {name: at_us for name, at_us in condemned.items() if name not in op["objects"] + op["kept"]}
        named = {f"packs/{name}" for name in slot["packs"]} | {f"blobs/{name}" for name in slot["blobs"]}
        named |= {f"manifests/{name}" for name in slot["manifests"]}
        condemned = {name: at_us for name, at_us in condemned.items() if name not in named}
