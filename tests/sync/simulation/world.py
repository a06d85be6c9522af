"""A world of a few machines and a depot, in which everything may go wrong, in an order that a seed decides.

The machines run the real store and the real sync, in memory; only the network and the disk's syncs are replaced. A
fault is an answer that is lost before or after the work, or the death of the machine at that moment.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from artstore.errors import ArtstoreError, Conflict, NotFound, Unreachable
from artstore.lifecycle import upstream
from artstore.lifecycle.reports import VersionInfo
from artstore.model.records import decode_op, manifest_of
from artstore.storage.journal import Journal
from artstore.store import Store
from artstore.sync import remotes
from artstore.sync.collect import collect_remote
from artstore.sync.connect import connect
from artstore.sync.objects.interface import Objects
from artstore.sync.rounds import Verb, exchange
from tests.sync.simulation.naive import Json, Naive, fold

PROJECT = "zoo"
NAMES = ("cats", "dogs")
ALIASES = ("best", "prod")


class Death(BaseException):
    """The machine is gone, in the middle of whatever it did."""


class Network:
    """Between the machines and the depot. Faults come at the calls, as often as `trouble` says."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.trouble = 0.0
        self.calls = 0
        self.dies_at: int | None = None
        """The call in which the machine dies for certain."""
        self.meddle: Callable[[], None] = lambda: None
        """Is called when somebody is about to claim a slot: others may be faster."""

    def between(self, objects: Objects) -> Objects:
        return _Wire(objects, self)

    def call(self, work: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls == self.dies_at:
            raise Death
        fate = self.chance.random()
        if fate < self.trouble / 4:
            raise Unreachable("the network is gone", code="unreachable")
        if fate < self.trouble / 2:
            raise Death
        answer = work()
        if fate < self.trouble * 3 / 4:
            raise Unreachable("the answer is lost", code="unreachable")
        if fate < self.trouble:
            raise Death
        return answer


class _Wire:
    """Objects behind a network."""

    def __init__(self, objects: Objects, network: Network) -> None:
        self._objects = objects
        self._call = network.call
        self._network = network
        self.url = objects.url

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        data: bytes = self._call(lambda: self._objects.read(name, start, length))
        return data

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        data: bytes = self._call(lambda: b"".join(self._objects.stream(name, start)))
        yield data

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        self._call(lambda: self._objects.write(name, chunks, size))

    def write_file(self, name: str, source: Path) -> None:
        self._call(lambda: self._objects.write_file(name, source))

    def claim(self, name: str, data: bytes) -> bool:
        self._network.meddle()
        won: bool = self._call(lambda: self._objects.claim(name, data))
        return won

    def size(self, name: str) -> int | None:
        found: int | None = self._call(lambda: self._objects.size(name))
        return found

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        yield from self._call(lambda: list(self._objects.names(prefix, after)))

    def remove(self, name: str) -> None:
        self._call(lambda: self._objects.remove(name))

    def tidy(self) -> int:
        return 0


class Node:
    """A machine."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.folder = world.folder / name
        self.store = Store.init(self.folder)
        remotes.add_remote(self.folder, "hub", f"file://{world.depot}", upstream=True, join=True)
        connect(self.store)
        self.forgotten: set[str] = set()
        """Versions that were deleted here alone."""

    def restart(self) -> None:
        """Begin again with what is on the disk."""
        self.store.close()
        self.store = Store.open(self.folder)
        connect(self.store)

    def move(self, verb: Verb) -> None:
        """A round with the depot, which may fail and may kill the machine."""
        self.world.moving.append(self)
        before = self.numbers()
        try:
            report = exchange(self.store, verb, projects=[PROJECT])
        except Unreachable:
            return
        except Death:
            self.restart()
            return
        finally:
            self.world.moving.remove(self)
        for project in report.projects:
            assert project.error is None, f"{self.name}: {project.error}"
        moved = {(each.id, each.before) for each in self.store.moved_numbers()}
        lost = {(id_, number) for id_, number in before.items() if self.numbers().get(id_, number) != number}
        assert lost <= moved, f"{self.name}: numbers mean something else, and nobody is told"

    def collect(self, grace_s: float) -> None:
        """Free what no version needs in the depot, which may fail and may kill the machine."""
        self.world.moving.append(self)
        try:
            (report,) = collect_remote(self.store, "hub", projects=[PROJECT], grace_s=grace_s).projects
        except Unreachable:
            return
        except Death:
            self.restart()
            return
        finally:
            self.world.moving.remove(self)
        assert report.error is None, f"{self.name}: {report.error}"
        assert report.missing == 0, f"{self.name}: {report.missing} objects that versions need are gone"

    def numbers(self) -> dict[str, int]:
        """What each version is called here."""
        return {each.id: each.number for name in NAMES for each in self.versions(name)}

    def versions(self, name: str) -> list[VersionInfo]:
        try:
            return self.store.versions(name, project=PROJECT)
        except NotFound:
            return []

    def shown(self) -> Json:
        """What is seen here, as the naive fold shows it."""
        found: Json = {}
        for collection in self.store.collections(PROJECT):
            found[collection.name] = [
                {
                    "number": each.number,
                    "id": each.id,
                    "digest": each.digest,
                    "metadata": each.metadata,
                    "description": each.description,
                    "tags": each.tags,
                    "aliases": each.aliases,
                }
                for each in self.store.versions(f"{PROJECT}/{collection.name}")
            ]
        return found

    def hash(self) -> str:
        project = self.store.root.catalog.project(PROJECT)
        return "" if project is None else str(Journal(self.store.root.catalog, project).state_hash())


class World:
    """All of it."""

    def __init__(self, folder: Path, seed: int, nodes: int) -> None:
        self.folder = folder
        self.depot = folder / "depot"
        self.depot.mkdir(parents=True)
        self.chance = random.Random(seed)
        self.network = Network(self.chance)
        self.nodes = [Node(self, f"node{number}") for number in range(nodes)]
        self.acknowledged: dict[str, str] = {}
        """What was committed, by id: the digest of its manifest."""
        self.deleted: set[str] = set()
        """Of those, what somebody deleted, here or everywhere, or gave up."""
        self.history: list[str] = []
        self.network.meddle = self.meddle
        self.moving: list[Node] = []

    @property
    def log(self) -> Path:
        return self.depot / "log" / PROJECT

    def step(self) -> None:
        """Something happens somewhere."""
        node = self.chance.choice(self.nodes)
        deeds = [
            *[self.put] * 5,
            *[self.push] * 4,
            *[self.pull] * 3,
            *[self.alias] * 5,
            self.tag,
            self.edit,
            self.describe,
            self.delete,
            *[self.gc] * 2,
            *[self.collect] * 2,
            self.rebuild,
            self.read,
            *[self.decide] * 3,
            self.accept,
            self.lose_help,
            self.use,
        ]
        deed = self.chance.choice(deeds)
        self.history.append(f"{node.name} {deed.__name__}")
        deed(node)

    def meddle(self) -> None:
        """Somebody else pushes, just before the one who moves claims a slot."""
        idle = [node for node in self.nodes if node not in self.moving]
        if len(self.moving) == 1 and idle and self.network.trouble and self.chance.random() < 0.3:
            other = self.chance.choice(idle)
            if self.chance.random() < 0.7:
                other.move("push")
            else:
                other.collect(0.0)

    # What may happen.

    def put(self, node: Node) -> None:
        content = f"{self.chance.randrange(5)}".encode() if self.chance.random() < 0.5 else self.chance.randbytes(9)
        draft = node.folder.parent / f"{node.name}-draft"
        draft.mkdir(exist_ok=True)
        (draft / "x").write_bytes(content)
        (draft / "same").write_bytes(b"same")
        if self.chance.random() < 0.05:
            (draft / "large").write_bytes(self.chance.randbytes(1_100_000))
        # One time in many somebody takes the name for something else.
        kind = "model" if self.chance.random() < 0.12 else "dataset"
        aliases = [alias for alias in ALIASES if self.chance.random() < 0.15]
        name = self.chance.choice(NAMES)
        try:
            report = node.store.put([draft], name=name, type=kind, project=PROJECT, aliases=aliases)
        except ArtstoreError as error:
            if error.code != "type-clash":
                raise
            return
        finally:
            shutil.rmtree(draft)
        assert report.version is not None
        node.forgotten.discard(report.version.id)
        self.deleted.discard(report.version.id)
        self.acknowledged[report.version.id] = report.version.digest

    def push(self, node: Node) -> None:
        node.move(self.chance.choice(["push", "sync"]))

    def pull(self, node: Node) -> None:
        node.move("pull")

    def any_version(self, node: Node) -> VersionInfo | None:
        versions = node.versions(self.chance.choice(NAMES))
        return self.chance.choice(versions) if versions else None

    def alias(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            alias = self.chance.choice(ALIASES)
            if alias in version.aliases:
                node.store.unalias(version.exact, [alias])
            else:
                node.store.alias(version.exact, [alias])

    def tag(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            (node.store.untag if "seen" in version.tags else node.store.tag)(version.exact, ["seen"])

    def edit(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            key = self.chance.choice("ab")
            gone = [key] if key in version.metadata and self.chance.random() < 0.3 else []
            node.store.set_metadata(version.exact, {} if gone else {key: self.chance.randrange(9)}, remove=gone)

    def describe(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            node.store.describe(version.exact, f"{self.chance.randrange(9)}")

    def delete(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            everywhere = self.chance.random() < 0.5
            gone = node.store.delete(version.exact, force=True, everywhere=everywhere)
            if gone.state == "forgotten":
                node.forgotten.add(version.id)
            else:
                self.deleted.add(version.id)

    def gc(self, node: Node) -> None:
        node.store.gc(grace_s=0)

    def collect(self, node: Node) -> None:
        node.collect(self.chance.choice([0.0, 0.0, 3600.0]))

    def rebuild(self, node: Node) -> None:
        before = node.shown(), node.hash(), [each.id for each in node.store.conflicts()], node.store.moved_numbers()
        node.store.close()
        (node.folder / "catalog.db").unlink()
        report = Store.rebuild(node.folder)
        assert report.lost == [], report.lost
        node.restart()
        after = node.shown(), node.hash(), [each.id for each in node.store.conflicts()], node.store.moved_numbers()
        assert before == after

    def read(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            with contextlib.suppress(Unreachable):
                try:
                    self.check_content(node, version)
                except Death:
                    node.restart()

    def decide(self, node: Node) -> None:
        """Somebody looks at a conflict."""
        for conflict in node.store.conflicts()[:1]:
            if conflict.kind == "type":
                name = f"{self.chance.choice(NAMES)}-{node.name}"
                if name in [each.name for each in node.store.collections(PROJECT)]:
                    continue
                node.store.rename_mine(conflict.id, name)
            elif conflict.kind == "alias" and self.chance.random() < 0.5:
                try:
                    node.store.keep_mine(conflict.id)
                except Conflict as error:
                    if error.code != "moved-on":
                        raise
                    # The alias is gone here, by another change that waits.
                    node.store.drop_mine(conflict.id)
            else:
                node.store.drop_mine(conflict.id)
            assert conflict.id not in [each.id for each in node.store.conflicts()], "what was decided is asked again"

    def accept(self, node: Node) -> None:
        names = sorted({each.collection for each in node.store.moved_numbers()})
        if names:
            node.store.accept_numbers(names, project=PROJECT)

    def lose_help(self, node: Node) -> None:
        """What sync keeps beside the journal is only a help."""
        node.store.close()
        shutil.rmtree(node.folder / "sync", ignore_errors=True)
        node.restart()

    def use(self, node: Node) -> None:
        version = self.any_version(node)
        if version is not None:
            run = node.store.start_run(project=PROJECT)
            node.store.use(run.id, version.exact, project=PROJECT)

    # What must be so.

    def check_content(self, node: Node, version: VersionInfo) -> None:
        for entry in node.store.entries(version.exact):
            data = b"".join(node.store.read(version.exact, entry.path))
            assert len(data) == entry.size

    def settle(self) -> Naive:
        """The network is whole again, and everybody has time. All must be of one mind then."""
        self.network.trouble = 0.0
        is_quiet = False
        for _ in range(10):
            reports = [exchange(node.store, "sync", projects=[PROJECT]) for node in self.nodes]
            # A move that came too late may be in time again, once somebody moved the alias back.
            is_quiet = not any(project.pushed.ops for report in reports for project in report.projects)
            if is_quiet:
                break
        assert is_quiet, "they go on sending"
        naive = fold(self.log)
        assert naive.void == [], f"sent, and change nothing: {naive.void}"
        expected = naive.shown()
        assert len({node.hash() for node in self.nodes}) == 1, "they are not of one mind"
        for node in self.nodes:
            self.check_node(node, expected)
        self.check_acknowledged(naive)
        return naive

    def check_node(self, node: Node, expected: Json) -> None:
        shown = node.shown()
        if not node.forgotten:
            # Refused ones have no collection here; what the log has, is.
            assert expected == shown, f"{node.name} shows something else"
        ops = exchange(node.store, "push", projects=[PROJECT]).projects
        assert [0] == [project.pushed.ops for project in ops], f"{node.name} sends again"
        for version in [each for name in shown for each in node.store.versions(f"{PROJECT}/{name}")]:
            assert not version.provisional
            self.check_content(node, version)
        report = node.store.verify()
        assert report.ok, report.problems

    def check_acknowledged(self, naive: Naive) -> None:
        """Whatever a put has answered is in the log, or waits for a decision where it was made, or was deleted."""
        waiting = {digest for node in self.nodes for digest in refused(node)}
        digests = {each["manifest"] for each in naive.versions.values()}
        for id_, digest in self.acknowledged.items():
            if id_ not in self.deleted:
                assert id_ in naive.versions or digest in digests or digest in waiting, f"{id_} is lost"


def refused(node: Node) -> set[str]:
    """The manifests of what was committed here and has no place in the log."""
    found: set[str] = set()
    for op in upstream.waiting(node.store.root, PROJECT):
        if op.void is not None and op.version is not None:
            found.add(str(manifest_of(decode_op(op.body))))
    return found
