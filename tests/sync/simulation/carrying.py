"""Carrying: bundles come from one machine to another, by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from artstore.errors import Conflict, Denied, NotFound, Unreachable
from artstore.sync.bundle.apply import apply_bundle
from artstore.sync.bundle.create import create_bundle
from artstore.sync.bundle.receipt import make_receipt
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.travels import check_numbers

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_NOT_NOW: Final = frozenset({"needs-join", "bundle-gap", "bundle-incomplete", "rolled-back", "other-upstream"})
"""Why a bundle is not taken, with nothing wrong."""
_KEPT_RECEIPTS: Final = 4


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
        other.does(lambda: _say(other))
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


def _say(node: Node) -> None:
    node.receipts = [*node.receipts, make_receipt(node.store)][-_KEPT_RECEIPTS:]


def take(world: World, file: Path, node: Node) -> None:
    """What a bundle carries is taken. Who has an upstream that can be asked does not leave it for this."""
    before = node.meanings()
    node.took_slots = True
    join = node.place is None and world.chance.random() < 0.7
    report = apply_bundle(node.store, file, join=join)
    for project in report.projects:
        assert project.code is None or project.code in _NOT_NOW, f"{node.name}: {project.error}"
    check_numbers(node, before)
