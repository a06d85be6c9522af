"""Checks: what must be so once all is whole again and everybody has had time."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artstore.model.digest import Digest
from artstore.model.fold import OF_A_DEPOT
from artstore.model.manifest import blob_of
from artstore.store import Store
from artstore.sync.rounds import exchange
from tests.sync.simulation import mirrors, travels
from tests.sync.simulation.deeds import check_content
from tests.sync.simulation.naive import Naive, fold
from tests.sync.simulation.node import PROJECT, Node
from tests.sync.simulation.places import Server

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

_ROUNDS: Final = 12
_REBUILT: Final = 0.4
"""How many catalogs are made anew whenever all are of one mind: it takes as long as all else together."""
_TENDED: Final = 3
_READ: Final = 0.7
"""How many mirrors somebody reads who sees nothing else."""


def settle(world: World) -> None:
    """Bring all to one mind, and look whether they are."""
    with world.fate.outside():
        world.fate.deliver()
    for node in world.nodes:
        assert node.does(lambda node=node: _go_home(world, node))  # type: ignore[misc]
    assert _agree(world), f"they go on sending: {world.last}"
    naive = fold(world.home.logs / PROJECT)
    for place in world.places:
        if not place.is_lost:
            void = fold(place.logs / PROJECT).void
            assert void == [], f"sent, and change nothing: {void}"
    assert len({node.hash() for node in world.nodes}) == 1, "they are not of one mind"
    seen: dict[str, Any] = {}
    for node in world.nodes:
        assert node.does(lambda node=node: check_node(world, node, naive))  # type: ignore[misc]
        if not node.may_forget and all(op.void == OF_A_DEPOT for op in node.waiting()):
            seen[node.name] = node.everything()
            # What is theirs alone: which numbers they have shown.
            del seen[node.name][-2]
    for mirror in world.mirrors if naive.seen else ():
        if world.chance.random() < _READ:
            mirrors.check_mirror(world, mirror, naive)
    first = next(iter(seen.items()), None)
    for name, each in seen.items():
        assert first is not None
        different = [(one, other) for one, other in zip(first[1], each, strict=True) if one != other]
        assert not different, f"{first[0]} and {name} differ: {different[0]}"


def check_quota(world: World, server: Server) -> None:
    """A server counts against a quota what is there of a project: all that versions need, and nothing twice."""
    if not server.has_quota:
        return
    for _ in range(_TENDED):
        # What was sent and is named by nothing counts until it is old, and a collection has begun since.
        world.fate.now_s += 3 * 3_600
        world.untroubled(server.tend)
    beside = sum(_bytes(server.folder / "hosted" / kind / PROJECT) for kind in ("log", "manifests", "uploads"))
    takes = server.takes(PROJECT) - beside
    there = {path.name: path.stat().st_size for path in (server.folder / "blobs").rglob("*") if path.is_file()}
    for pack in (server.folder / "packs").glob("*.tar"):
        with tarfile.open(pack) as members:
            there.update({member.name.rpartition("/")[2]: member.size for member in members})
    live = [each for each in fold(server.logs / PROJECT).versions.values() if not each["deleted"]]
    entries = [entry for each in live for entry in server.store.root.manifests.entries(Digest.parse(each["manifest"]))]
    needed = {blob.digest: blob.size for entry in entries if (blob := blob_of(entry)) is not None}
    least, most = sum(needed.values()), sum(there.values())
    assert least <= takes <= most, f"{server.name} counts {takes} bytes of blobs, and it is {least} to {most}"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("[!.]*"))


def _go_home(world: World, node: Node) -> None:
    node.renew(world.places)
    if node.place is not world.home:
        before = node.meanings()
        node.attach(world.home)
        travels.check_numbers(node, before)
        node.renew(world.places)
    if node.only:
        node.join(only=())


def _agree(world: World) -> bool:
    """Let all send and take what there is, until none has anything to send; whether it comes to that."""
    renumber = False
    for _ in range(_ROUNDS):
        before = [[op.id for op in node.waiting()] for node in world.nodes]
        have_nothing = [_turn(world, node, renumber=renumber) for node in world.nodes]
        if all(have_nothing):
            return True
        # Where each waits for bytes of another, to keep numbers that cannot both be kept, somebody has to say so.
        renumber = before == [[op.id for op in node.waiting()] for node in world.nodes]
    return False


def _turn(world: World, node: Node, *, renumber: bool) -> bool:
    """Let a machine send and take what there is; whether it had nothing to send."""
    before, log = node.waiting(), world.home.logs / PROJECT
    had = _last(log)
    has_ended: list[bool] = []
    assert node.does(lambda: has_ended.append(travels.move(world, node, "sync", renumber=renumber)))
    after = node.waiting()
    # What a log has lost is given back to it, though it waits nowhere.
    is_the_same = had == _last(log) and [op.id for op in before] == [op.id for op in after]
    return all(has_ended) and is_the_same and all(op.void is not None for op in after)


def _last(log: Path) -> str:
    """The last slot that is there; what is before it may be lost just now."""
    return max((path.name for path in log.glob("[!.]*")), default="")


def check_node(world: World, node: Node, naive: Naive) -> None:
    """One machine has all that the log has, and says so as others do."""
    shown, forgotten = node.shown(), node.forgotten()
    view = node.view()
    assert view is None or view.awaited() == [], f"{node.name} waits for what all have"
    assert forgotten <= node.may_forget, f"{node.name} has forgotten what nobody deleted there"
    # Refused ones have no collection here; what the log has, is.
    assert naive.shown(forgotten) == shown, f"{node.name} shows something else than the log says"
    unasked = {each["id"] for each in naive.versions.values() if each["deleted"]} - world.ended
    assert not unasked, f"nobody who has seen them has deleted {sorted(unasked)}"
    runs = {run.id: [run, *run.apart] for run in node.store.runs(project=PROJECT)}
    said = {id_: [{"config": each.config, "state": each.state} for each in some] for id_, some in runs.items()}
    assert {id_: list(begun.values()) for id_, begun in naive.runs.items()} == said, "other runs"
    assert sorted(naive.parts) == sorted(each.id for each in node.store.parts(PROJECT)), "other parts"
    waiting = {op.id for op in node.waiting()}
    lost = node.acknowledged - naive.seen - waiting - node.given_up
    assert not lost, f"{node.name} has lost what it had acknowledged: {sorted(lost)}"
    told = check_refused(world, node)
    check_quiet(world, node, looks_on=told)
    for name in shown:
        for version in node.versions(name):
            assert not version.provisional, f"{version.ref} is provisional on {node.name}"
            check_content(node, version)
    report = node.store.verify()
    assert [each for each in report.problems if not (told and " of conflict " in each.message)] == []
    if world.chance.random() < _REBUILT:
        check_rebuild(world, node)


def check_refused(world: World, node: Node) -> bool:
    """What has no place in the log is kept, with its bytes, until somebody decides; answers whether some are nowhere.

    Those of others' parts may have been freed everywhere with the version that has them, and whoever decides is told.
    """
    root = node.store.root
    if node.view() is None:
        # Nobody has made anything.
        return False
    told = [each.path for project in world.last[node.name].projects for each in project.lost]
    is_told = any(each.startswith("conflict ") for each in told)
    for manifest, is_gathered in node.refused().items():
        wanted = {blob.digest for entry in root.manifests.entries(manifest) if (blob := blob_of(entry)) is not None}
        absent = wanted - root.blobs.locate(list(wanted)).keys()
        assert not absent or (is_gathered and is_told), f"{node.name} has lost bytes of what waits for a decision"
    return is_told


def check_quiet(world: World, node: Node, *, looks_on: bool) -> None:
    """Where nothing is new, one request finds that out, and nothing is written.

    It `looks_on` for own bytes that are nowhere, and says so each time.
    """
    if node.view() is None:
        # Nobody has made anything.
        return
    before = node.written(), world.home.written()
    calls = world.fate.calls
    report = exchange(node.store, "sync", projects=[PROJECT])
    calls = world.fate.calls - calls
    assert [(0, 0, None)] == [(each.pushed.ops, each.pulled.slots, each.error) for each in report.projects]
    # A depot says of a slot that it is not there, and is asked whether the one before it still is.
    most = 1 if isinstance(world.home, Server) else 2
    assert looks_on or calls <= most, f"{calls} calls for nothing"
    assert before == (node.written(), world.home.written()), f"{node.name} writes, and nothing is new"


def check_rebuild(world: World, node: Node) -> None:
    """The catalog made anew from the journal is the same, and has nothing to send."""
    before = node.everything(), node.hash(), [op.id for op in node.waiting()]
    node.store.close()
    for path in node.folder.glob("catalog.db*"):
        path.unlink()
    shutil.rmtree(node.folder / "sync", ignore_errors=True)
    report = Store.rebuild(node.folder)
    assert report.lost == [], report.lost
    node.restart()
    after = node.everything(), node.hash(), [op.id for op in node.waiting()]
    assert before == after, f"{node.name} is another one after a rebuild"
    if node.view() is None:
        return
    there = world.home.written()
    ops = exchange(node.store, "push", projects=[PROJECT]).projects
    assert [(0, None)] == [(each.pushed.ops, each.error) for each in ops], f"{node.name} sends again"
    assert there == world.home.written()
