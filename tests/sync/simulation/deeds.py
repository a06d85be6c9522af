"""Deeds: what somebody does on one machine, whether or not a network is there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artstore.errors import AmbiguousVersion, ArtstoreError, Conflict, Corrupt, Denied, Invalid, NotFound, Unreachable
from artstore.lifecycle.reports import VersionInfo
from artstore.store import Store
from tests.sync.simulation.node import PROJECT, Node

if TYPE_CHECKING:
    from tests.sync.simulation.world import World

Deed = Callable[["World", Node], None]

NAMES: Final = ("cats", "dogs")
ALIASES: Final = ("best", "prod")
_LARGE: Final = 1_100_000
_EPOCH: Final[dict[str, Any]] = {"distributed_id": "epoch", "type": "dataset", "project": PROJECT}
_LATELY: Final = 4
_CHOSEN: Final = 4
_BOTH: Final = 0.5
"""How often the same parts are gathered by two."""


def put(world: World, node: Node) -> None:
    """A version is made, often of what somebody else has too."""
    chance = world.chance
    draft = _draft(world, node)
    kind = "model" if chance.random() < world.habits.clashing else "dataset"
    aliases = [alias for alias in ALIASES if chance.random() < 0.15]
    runs = [run for run in node.store.runs(project=PROJECT) if run.state == "running"] if chance.random() < 0.2 else []
    run = chance.choice(runs).id if runs else None
    name = chance.choice(NAMES)
    try:
        report = node.store.put([draft], name=name, type=kind, project=PROJECT, aliases=aliases, run=run)
    except Invalid as error:
        if error.code != "type-clash":
            raise
        return
    assert report.version is not None
    node.may_forget.discard(report.version.id)
    world.makers.setdefault(report.version.id, node.name)


def part(world: World, node: Node) -> None:
    """One of several writers adds its part; the parts that are there are gathered, now and then by two at once."""
    chance = world.chance
    there = node.parts()
    if not there or chance.random() < 0.5:
        with node.store.draft() as draft:
            draft.add_file(_draft(world, node) / "x", f"{node.name}-{chance.randrange(30)}")
            _of_parts(lambda: node.store.add_part(draft, name=chance.choice(NAMES), **_EPOCH))
        return
    name = chance.choice(there)
    _of_parts(lambda: node.store.finish_parts(name=name, **_EPOCH))
    others = [each for each in world.nodes if each is not node and each not in world.moving and name in each.parts()]
    if others and chance.random() < _BOTH:
        other = chance.choice(others)
        if other.does(lambda: _of_parts(lambda: other.store.finish_parts(name=name, **_EPOCH))):
            other.note_acknowledged()


def _of_parts(work: Callable[[], object]) -> None:
    try:
        work()
    except (Unreachable, Denied):
        # Of what others have added, the bytes may have to come first.
        return
    except ArtstoreError as error:
        if error.code not in {"no-parts", "type-clash", "parts-clash", "blob-missing"}:
            raise


def alias(world: World, node: Node) -> None:
    """An alias moves, comes or goes."""
    version = node.any_version()
    if version is not None:
        name = world.chance.choice(ALIASES)
        if name in version.aliases:
            node.store.unalias(version.exact, [name])
        else:
            node.store.alias(version.exact, [name])


def tag(_world: World, node: Node) -> None:
    """A tag comes or goes."""
    version = node.any_version()
    if version is not None:
        (node.store.untag if "seen" in version.tags else node.store.tag)(version.exact, ["seen"])


def edit(world: World, node: Node) -> None:
    """A key of the metadata is set, or goes."""
    version = node.any_version()
    if version is not None:
        key = world.chance.choice("ab")
        gone = [key] if key in version.metadata and world.chance.random() < 0.3 else []
        node.store.set_metadata(version.exact, {} if gone else {key: world.chance.randrange(9)}, remove=gone)


def describe(world: World, node: Node) -> None:
    """A version is described."""
    version = node.any_version()
    if version is not None:
        node.store.describe(version.exact, f"{world.chance.randrange(9)}")


def rename(world: World, node: Node) -> None:
    """A collection gets another name, or its old one back."""
    there = node.names()
    if there:
        name = world.chance.choice(there)
        target = world.chance.choice([*NAMES, "birds"])
        if target not in there:
            node.store.rename(f"{PROJECT}/{name}", target)


def retype(world: World, node: Node) -> None:
    """A collection becomes one of another type."""
    there = node.names()
    if there:
        node.store.retype(f"{PROJECT}/{world.chance.choice(there)}", world.chance.choice(("model", "dataset")))


def end_collection(world: World, node: Node) -> None:
    """A collection is deleted, with what is seen of it."""
    there = node.names()
    if there:
        name = world.chance.choice(there)
        # As in `delete`: what is forgotten while a place has lost something may be had nowhere then.
        everywhere = world.is_shaken
        # Taken from all, it goes with what was forgotten here before.
        seen = node.all_of(name) if everywhere else {version.id for version in node.versions(name)}
        node.may_forget |= seen
        was_ended, world.ended = world.ended, world.ended | seen
        try:
            try:
                gone = node.store.delete_collection(f"{PROJECT}/{name}", everywhere=everywhere)
            except Conflict:
                gone = node.store.delete_collection(f"{PROJECT}/{name}", force=True, everywhere=everywhere)
        except NotFound as error:
            if error.code != "version-forgotten" or seen:
                raise
            # All that the others have of it was deleted here before.
            return
        if gone.state == "forgotten":
            view = node.view()
            assert view is not None
            seen = {id_ for id_ in seen if not view.is_forgotten(id_)}
            world.ended = was_ended | seen
            world.something_was_freed()
        if not everywhere:
            _check_own(world, node, seen)


def delete(world: World, node: Node) -> None:
    """A version is deleted, here or everywhere."""
    version = node.any_version()
    if version is not None:
        node.may_forget.add(version.id)
        # Who forgets what the others may be about to need has lost it, and nobody else is to blame.
        everywhere = world.is_shaken or world.chance.random() < 0.5
        was_ended, world.ended = world.ended, world.ended | {version.id}
        try:
            gone = node.store.delete(version.exact, everywhere=everywhere)
        except Conflict:
            gone = node.store.delete(version.exact, force=True, everywhere=everywhere)
        assert not everywhere or gone.state == "deleted"
        if gone.state == "forgotten":
            world.ended = was_ended
            world.something_was_freed()
        elif not everywhere:
            assert version.provisional or not node.store.following(), "what others have ends for them too"
            _check_own(world, node, [version.id])


def _check_own(world: World, node: Node, ended: Iterable[str]) -> None:
    """What was ended without a word of the others is its maker's to end, where another log is to be the order."""
    theirs = [id_ for id_ in ended if node.place is not None and world.makers.get(id_, node.name) != node.name]
    assert not theirs, f"{node.name} ended {theirs}, which others made"


def use(world: World, node: Node) -> None:
    """A run begins, reads a version, and ends perhaps."""
    seed = world.chance.randrange(9)
    # One id may be chosen on several machines.
    chosen = f"trial-{seed % 2}" if seed < _CHOSEN else None
    run = node.store.start_run(project=PROJECT, id=chosen, config={"seed": seed})
    version = node.any_version()
    if version is not None:
        node.store.use(run.id, version.exact, project=PROJECT)
    if world.chance.random() < 0.5:
        node.store.finish_run(run.id, project=PROJECT)


def look(world: World, node: Node) -> None:
    """A number that somebody has written down is looked up: it means what it meant, or is refused."""
    versions = [each for name in node.names() for each in node.versions(name)]
    if versions:
        version = world.chance.choice(versions)
        moved = {each.before for each in node.store.moved_numbers() if each.collection == version.collection}
        try:
            found = node.store.version(version.ref).id
        except AmbiguousVersion:
            found = None
        expected = None if version.number in moved else version.id
        assert found == expected, f"{version.ref} is {found}, and should be {expected}"


def gc(world: World, node: Node) -> None:
    """What nothing needs is freed."""
    if node.store.gc(grace_s=0).freed_blobs:
        world.something_was_freed()


def read(world: World, node: Node) -> None:
    """A version is read, wherever its bytes are; a large one rather than others, since much may happen to it."""
    several = [each for each in (node.any_version() for _ in range(3)) if each is not None]
    version = max(several, key=lambda each: each.bytes, default=None)
    if version is not None and world.has_bytes(node, version):
        with contextlib.suppress(Unreachable, Denied):
            check_content(node, version)


def rebuild(_world: World, node: Node) -> None:
    """The catalog is lost, and made anew from the journal."""
    before = node.everything(), node.hash()
    node.store.close()
    for path in node.folder.glob("catalog.db*"):
        path.unlink()
    report = Store.rebuild(node.folder)
    assert report.lost == [], report.lost
    node.restart()
    after = node.everything(), node.hash()
    assert before == after, f"{node.name} is another one after a rebuild"


def decide(world: World, node: Node) -> None:
    """Somebody looks at a conflict, and says what becomes of it."""
    chance = world.chance
    waited = node.waiting()
    before = {op.id for op in waited}
    node.at_stake = {op.id for op in node.waiting() if op.void is not None}
    for conflict in node.store.conflicts()[:1]:
        keeps = False
        try:
            if conflict.kind == "type" and chance.random() < 0.7:
                node.store.rename_mine(conflict.id, f"{chance.choice(NAMES)}-{node.name}")
                keeps = True
            elif chance.random() < 0.5:
                node.store.keep_mine(conflict.id)
                keeps = True
            else:
                node.store.drop_mine(conflict.id)
        except (Conflict, Corrupt, Invalid) as error:
            if error.code not in {"name-taken", "blob-missing", "cannot-be-done-again"}:
                raise
            node.store.drop_mine(conflict.id)
        except (Denied, Unreachable):
            # Its bytes have to come first, and it is decided another time.
            break
        assert conflict.id not in [each.id for each in node.store.conflicts()], "what was decided is asked again"
        lost = {op.version for op in waited} - {op.version for op in node.waiting()}
        assert not (keeps and lost), "what was kept is called by another id"
    node.given_up |= before - {op.id for op in node.waiting()}
    node.at_stake = set()


def accept(_world: World, node: Node) -> None:
    """Numbers that moved are taken note of."""
    names = sorted({each.collection for each in node.store.moved_numbers()})
    if names:
        node.store.accept_numbers(names, project=PROJECT)


def lose_help(_world: World, node: Node) -> None:
    """What sync keeps beside the journal is lost."""
    node.store.close()
    node.lose_help()
    node.restart()


def check_content(node: Node, version: VersionInfo) -> None:
    """Every byte of a version can be read, and is verified on the way."""
    for entry in node.store.entries(version.exact):
        data = b"".join(node.store.read(version.exact, entry.path))
        assert len(data) == entry.size


def _draft(world: World, node: Node) -> Path:
    chance = world.chance
    draft = node.folder.with_suffix(".draft")
    with world.fate.outside():
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        (draft / "x").write_bytes(_content(world))
        (draft / "same").write_bytes(b"same")
        if chance.random() < world.habits.large:
            (draft / "large").write_bytes(chance.randbytes(_LARGE))
    return draft


def _content(world: World) -> bytes:
    """What many have, what somebody had not long ago, or something new."""
    chance = world.chance
    if chance.random() < 0.4:
        return b"%d" % chance.randrange(3)
    if not world.contents or chance.random() < 0.6:
        world.contents.append(chance.randbytes(9))
    return chance.choice(world.contents[-_LATELY:])
