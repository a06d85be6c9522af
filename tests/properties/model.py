"""What a store should be: the same verbs on plain dictionaries, and the comparison of the two."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from artstore import Store
from artstore.errors import NotFound
from artstore.model.digest import Digest
from artstore.model.fold import fold_into
from artstore.model.notes import Order, decode_line
from artstore.model.records import decode_op, decode_transaction
from artstore.model.state import MemoryState
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.queries import Queries

Files = dict[str, int]
"""Path to the number of its content."""


class Pointer(int):
    """The number of a content that is said to be a file of another version."""

    to: str
    """The version's id and the path in it."""

    @classmethod
    def make(cls, number: int, to: str) -> Pointer:
        made = cls(number)
        made.to = to
        return made


def kept_as(number: int) -> tuple[bytes, str | None]:
    """What makes two files of two versions the same."""
    return content(number), number.to if isinstance(number, Pointer) else None


LARGE = 1000
"""Contents from this number on are files of their own."""
_SIZES = {1000: (1 << 20) + 1, 1001: (2 << 20) + 512, 1002: 1 << 20, 1003: (1 << 20) + 1}


@functools.cache
def content(number: int) -> bytes:
    """Some bytes, the same for the same number; some of the first ones are empty."""
    if number >= LARGE:
        block = hashlib.sha256(b"%d" % number).digest()
        size = _SIZES[number]
        return (block * (size // len(block) + 1))[:size]
    parts = number % 7 if number < 30 else number % 7 + 1
    return b"".join(hashlib.sha256(b"%d %d" % (number, part)).digest() for part in range(parts))[: number * 5]


@functools.cache
def digest_of(number: int) -> str:
    return str(Digest.of(content(number)))


@dataclasses.dataclass(eq=False)
class Version:
    """A version as a dictionary would have it."""

    number: int
    files: Files
    logged: int
    metadata: dict[str, Any]
    description: str | None
    ttl_s: float | None = None
    tags: set[str] = dataclasses.field(default_factory=set)
    used: bool = False
    deleted: bool = False

    @property
    def bytes(self) -> int:
        return sum(len(content(number)) for number in self.files.values())


@dataclasses.dataclass(eq=False)
class Collection:
    """A collection as a dictionary would have it."""

    type: str
    description: str | None = None
    tags: set[str] = dataclasses.field(default_factory=set)
    versions: list[Version] = dataclasses.field(default_factory=list)
    aliases: dict[str, Version] = dataclasses.field(default_factory=dict)

    @property
    def live(self) -> list[Version]:
        return [version for version in self.versions if not version.deleted]

    @property
    def latest(self) -> Version | None:
        return max(self.live, key=lambda version: version.logged, default=None)

    def aliases_of(self, version: Version) -> list[str]:
        return sorted(name for name, target in self.aliases.items() if target is version)


@dataclasses.dataclass(eq=False)
class Run:
    """A run as a dictionary would have it."""

    config: dict[str, Any]
    notes: str | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    state: str = "running"
    inputs: list[Version] = dataclasses.field(default_factory=list)
    outputs: list[Version] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Portfolio:
    """A portfolio as a dictionary would have it."""

    type: str
    links: dict[Version, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """To each version its number, and when it was last linked."""
    aliases: dict[str, Version] = dataclasses.field(default_factory=dict)
    next_number: int = 0

    def unlink(self, version: Version) -> None:
        del self.links[version]
        self.aliases = {name: each for name, each in self.aliases.items() if each is not version}

    @property
    def latest(self) -> Version | None:
        return max(self.links, key=lambda version: self.links[version][1], default=None)


class Model:
    """The store as dictionaries: project, then name, then collection; portfolios, and the runs of project `p`."""

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Collection]] = {}
        self.runs: dict[str, Run] = {}
        self.portfolios: dict[str, Portfolio] = {}
        """By project: each has one at most, `best`."""
        self.parts: dict[tuple[str, str], list[tuple[str, Files]]] = {}
        """By project and name: the type and the files of each part."""
        self.gone: list[tuple[str, str, Collection]] = []
        """Deleted collections, with the project and the name that they had."""
        self._clock = 0

    def collection(self, project: str, name: str) -> Collection | None:
        return self.projects.get(project, {}).get(name)

    def collections(self) -> list[tuple[str, str, Collection]]:
        return [(project, name, each) for project, named in self.projects.items() for name, each in named.items()]

    def live(self) -> list[tuple[str, str, Version]]:
        return [(project, name, version) for project, name, each in self.collections() for version in each.live]

    def put(
        self,
        project: str,
        name: str,
        kind: str,
        files: Files,
        *,
        aliases: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        description: str | None = None,
        ttl_s: float | None = None,
        run: str | None = None,
    ) -> tuple[Version, bool]:
        """The version that has this content now, and whether it is new."""
        self._clock += 1
        collection = self.projects.setdefault(project, {}).setdefault(name, Collection(kind))
        wanted = {path: kept_as(number) for path, number in files.items()}
        version = next(
            (each for each in collection.live if {path: kept_as(n) for path, n in each.files.items()} == wanted),
            None,
        )
        made = version is None
        if version is None:
            version = Version(len(collection.versions), dict(files), 0, dict(metadata or {}), description)
            collection.versions.append(version)
        version.logged = self._clock
        if ttl_s is not None:
            version.ttl_s = ttl_s
        for alias in aliases:
            collection.aliases[alias] = version
        if run is not None and version not in self.runs[run].outputs:
            self.runs[run].outputs.append(version)
        return version, made

    def link(self, project: str, type: str, version: Version, aliases: Iterable[str]) -> None:
        self._clock += 1
        portfolio = self.portfolios.setdefault(project, Portfolio(type))
        number = portfolio.links.get(version, (portfolio.next_number, 0))[0]
        portfolio.next_number = max(portfolio.next_number, number + 1)
        portfolio.links[version] = number, self._clock
        portfolio.aliases.update(dict.fromkeys(aliases, version))

    def is_linked(self, version: Version) -> bool:
        return any(version in portfolio.links for portfolio in self.portfolios.values())

    def delete(self, collection: Collection, version: Version) -> None:
        version.deleted = True
        for portfolio in self.portfolios.values():
            if version in portfolio.links:
                portfolio.unlink(version)
        version.tags.clear()
        for alias in collection.aliases_of(version):
            del collection.aliases[alias]

    def delete_collection(self, project: str, name: str) -> None:
        collection = self.projects[project].pop(name)
        for version in collection.live:
            self.delete(collection, version)
        self.gone.append((project, name, collection))

    def union(self, project: str, name: str) -> Files | None:
        """What the parts of a version have together; None where two differ on a path."""
        found: Files = {}
        for _type, files in self.parts[project, name]:
            for path, number in files.items():
                if content(found.setdefault(path, number)) != content(number):
                    return None
        return found

    def prune(
        self,
        collection: Collection,
        *,
        keep_last: int | None,
        keep_best: Sequence[tuple[str, str, int]],
        keep_within_s: float | None,
    ) -> set[int]:
        """Delete by policy; answers the numbers. A time to live under a second counts as over."""
        kept: set[int] = set()
        by_log = sorted(collection.live, key=lambda version: -version.logged)
        kept.update(version.number for version in by_log[: keep_last or 0])
        for key, order, count in keep_best:
            scored = [version for version in collection.live if key in version.metadata]
            sign = -1 if order == "max" else 1
            scored.sort(key=lambda version: (sign * version.metadata[key], -version.number))
            kept.update(version.number for version in scored[:count])
        if keep_within_s is not None and keep_within_s > 1:
            kept.update(version.number for version in collection.live)
        has_rules = keep_last is not None or bool(keep_best) or keep_within_s is not None
        gone = set()
        for version in collection.live:
            is_over = version.ttl_s is not None and version.ttl_s < 1
            is_held = bool(collection.aliases_of(version)) or version.used or self.is_linked(version)
            if not is_held and (is_over or (has_rules and version.number not in kept)):
                gone.add(version.number)
        for version in collection.live:
            if version.number in gone:
                self.delete(collection, version)
        return gone


def check_state(store: Store, model: Model) -> None:
    """Everything that is said about versions and collections is what the model says."""
    expected = {(project, name) for project, name, _ in model.collections()}
    found = {(each.project, each.name): each for each in store.collections() if each.kind == "sequence"}
    assert expected == set(found)
    for project, name, collection in model.collections():
        info = found[project, name]
        latest = collection.latest
        wanted = None if latest is None else f"v{latest.number}"
        assert (collection.type, collection.description, len(collection.live), wanted) == (
            info.type,
            info.description,
            info.versions,
            info.latest,
        )
        standing = [*collection.aliases, *(["latest"] if latest else [])]
        assert (sorted(collection.tags), sorted(standing)) == (info.tags, info.aliases)
        versions = {version.number: version for version in store.versions(name, project=project)}
        assert {version.number for version in collection.live} == set(versions)
        for version in collection.live:
            shown = versions[version.number]
            aliases = [*collection.aliases_of(version), *(["latest"] if version is latest else [])]
            assert sorted(aliases) == shown.aliases
            assert sorted(version.tags) == shown.tags
            assert json.dumps(version.metadata, sort_keys=True) == json.dumps(shown.metadata, sort_keys=True)
            assert (version.description, version.ttl_s, len(version.files), version.bytes) == (
                shown.description,
                shown.ttl_s,
                shown.files,
                shown.bytes,
            )
        for version in collection.versions:
            if version.deleted:
                check_gone(store, f"{project}/{name}:v{version.number}")
    expected_parts = sorted((*key, kind, len(files)) for key, some in model.parts.items() for kind, files in some)
    assert expected_parts == sorted((part.project, part.name, part.type, part.files) for part in store.parts())
    check_portfolios(store, model)
    check_runs(store, model)


def check_portfolios(store: Store, model: Model) -> None:
    """Each portfolio has its links, and each link is the version."""
    named = {version: f"{project}/{name}:v{version.number}" for project, name, version in model.live()}
    assert set(model.portfolios) == {each.project for each in store.collections() if each.kind == "portfolio"}
    for project, portfolio in model.portfolios.items():
        info = store.collection("best", project=project)
        assert (portfolio.type, len(portfolio.links)) == (info.type, info.versions)
        expected = {
            (number, named[version], tuple(sorted(name for name, each in portfolio.aliases.items() if each is version)))
            for version, (number, _logged) in portfolio.links.items()
        }
        shown = [(each.link, each.ref) for each in store.versions("best", project=project) if each.link]
        plain = {(link.number, ref, tuple(a for a in link.aliases if a != "latest")) for link, ref in shown}
        assert expected == plain
        if portfolio.latest is not None:
            assert named[portfolio.latest] == store.version("best", project=project).ref


def check_runs(store: Store, model: Model) -> None:
    """Each run says what it said, and has made and used what it did."""
    every = [*model.collections(), *model.gone]
    named = {id(v): f"{p}/{n}:v{v.number}" for p, n, each in every for v in each.versions}
    assert set(model.runs) == {run.id for run in store.runs(project="p")}
    for name, run in model.runs.items():
        shown = store.run(name, project="p")
        assert (run.config, run.notes, run.tags, run.state) == (shown.config, shown.notes, shown.tags, shown.state)
        assert [named[id(v)] for v in run.inputs] == [v.ref for v in store.inputs(name, project="p")]
        assert [named[id(v)] for v in run.outputs] == [v.ref for v in store.outputs(name, project="p")]


def check_gone(store: Store, reference: str) -> None:
    try:
        store.version(reference)
    except NotFound as error:
        assert error.code == "version-deleted"  # noqa: PT017  # cheaper than pytest.raises, and there are thousands
    else:
        message = f"{reference} was deleted, and is there"
        raise AssertionError(message)


def check_entries(store: Store, model: Model) -> None:
    """Each live version has its paths, sizes and digests."""
    for project, name, version in model.live():
        expected = [(path, len(content(number)), digest_of(number)) for path, number in sorted(version.files.items())]
        found = store.entries(f"{project}/{name}:v{version.number}")
        shown = list(found)
        assert expected == [(entry.path, entry.size, entry.digest) for entry in shown]
        pointers = {path: number.to for path, number in version.files.items() if isinstance(number, Pointer)}
        uris = {entry.path: entry.uri.split("/", 3)[3] for entry in shown if entry.uri is not None}
        assert pointers == uris


def check_bytes(store: Store, model: Model, *, each_once: bool = False) -> None:
    """Each file of each live version is handed out byte for byte; or each content once, to save time."""
    seen: set[int] = set()
    for project, name, version in model.live():
        for path, number in version.files.items():
            if each_once and number in seen:
                continue
            seen.add(number)
            data = b"".join(store.read(f"{project}/{name}:v{version.number}", path))
            assert content(number) == data


def check_fold(store: Store) -> None:
    """The catalog's state is what the log folds to in memory."""
    root = store._root
    for project in root.catalog.projects():
        order = Order()
        for _seq, data, _attachments in root.log.transactions(project.name, 0):
            for raw in decode_transaction(data).ops:
                order.take(str(Digest.of(bytes(raw))), bytes(raw), decode_line(bytes(raw)))
        state = MemoryState()
        for position, op in enumerate(order.ops(), start=1):
            fold_into(state, op.id, decode_op(op.body), position)
        assert state.hash() == Journal(root.catalog, project).hash_of_tables()


def check_everything(store: Store, model: Model, *, each_once: bool = False) -> None:
    """All of the above."""
    check_state(store, model)
    check_entries(store, model)
    check_bytes(store, model, each_once=each_once)
    check_fold(store)


def unique_live_bytes(model: Model) -> int:
    """What one copy of each content takes that a live version has."""
    contents = {content(number) for _, _, version in model.live() for number in version.files.values()}
    contents |= {content(n) for parts in model.parts.values() for _, files in parts for n in files.values()}
    return sum(map(len, contents))


def stored_bytes(store: Store) -> int:
    """What the catalog says is stored, each blob once."""
    return Queries(store._root.catalog).totals().stored_bytes


def nothing_is_left_over(store: Store) -> None:
    """No file of the store is without a row, and no row without a file."""
    root = store._root
    marking = Marking(root.catalog)
    assert marking.pack_names() == {path.name for path in (root.path / "packs").iterdir()}
    files = {path for path in (root.path / "blobs").rglob("*") if path.is_file()}
    assert len(marking.whole_digests()) == len(files)
    assert [] == list((root.path / "tmp").iterdir())
