"""Node: a machine with a store of its own, which works whether or not a place can be reached."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from artstore.errors import Conflict, Corrupt, NotFound
from artstore.lifecycle import upstream
from artstore.lifecycle.reports import VersionInfo
from artstore.model.digest import Digest
from artstore.model.fold import NEEDED
from artstore.model.manifest import blob_of
from artstore.model.notes import decode_line
from artstore.model.records import (
    Commit,
    Create,
    Delete,
    DeleteCollection,
    Relog,
    Rename,
    decode_op,
    made_by,
    manifest_of,
)
from artstore.model.state import Version
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Journal, Waiting
from artstore.storage.marking import Marking
from artstore.store import Store
from artstore.sync.adopt import add_upstream
from artstore.sync.bundle.head import Receipt
from artstore.sync.connect import connect
from artstore.sync.remotes import add_remote, read_remotes, remove_remote, upstream_of
from tests.sync.simulation.fate import Death, Fate, Machine
from tests.sync.simulation.naive import Json
from tests.sync.simulation.places import Place, Server

PROJECT = "zoo"
_ATTEMPTS = 3


class Node(Machine):
    """A machine."""

    def __init__(self, fate: Fate, folder: Path, name: str) -> None:
        super().__init__(name, folder / name)
        self.fate = fate
        self.place: Place | None = None
        """Its upstream; None: it has none, or one that is reached by bundles only."""
        self.acknowledged: set[str] = set()
        """Ops that it has said to have."""
        self.given_up: set[str] = set()
        """Of those, what somebody decided to give up."""
        self.took_slots = False
        """Whether a bundle may have brought slots, which may be of another log than that of its place."""
        self.at_stake: set[str] = set()
        """What may have been given up, if it dies now."""
        self.looks: dict[str, int] = {}
        """When its own clock first said that it saw an object condemned in a depot, in microseconds since 1970."""
        self.may_forget: set[str] = set()
        """Versions that somebody deleted on this machine, alone perhaps."""
        self.receipts: list[Receipt] = []
        """What it has said to have, at some time."""
        with fate.acts(self):
            self.store = Store.init(self.folder)
            connect(self.store)

    def does(self, work: Callable[[], object]) -> bool:
        """Do something; False where the machine died of it, and was started again."""
        with self.fate.acts(self):
            try:
                work()
            except Death:
                assert self.is_dead
                is_done = False
            else:
                is_done = True
        if not is_done:
            self.restart()
            self.given_up |= self.at_stake
            self.at_stake = set()
        return is_done

    def restart(self) -> None:
        """Begin again with what is on the disk, and perhaps die of that too."""
        mortality = self.fate.mortality
        for attempt in range(_ATTEMPTS):
            with self.fate.acts(self), contextlib.suppress(Death):
                with contextlib.suppress(Death):
                    self.store.close()
                self.let_go()
                self.fate.begin_again(self)
                if attempt == _ATTEMPTS - 1:
                    self.fate.mortality = 0.0
                self._open()
                break
        self.fate.mortality = mortality
        assert not self.is_dead

    def _open(self) -> None:
        try:
            self.store = Store.open(self.folder)
        except Corrupt as error:
            if error.code != "catalog-missing":
                raise
            # It died of making one.
            report = Store.rebuild(self.folder)
            assert report.lost == [], report.lost
            self.store = Store.open(self.folder)
        connect(self.store)

    def note_acknowledged(self) -> None:
        """Remember what it says to have."""
        self.acknowledged.update(op.id for op in self.waiting())

    def waiting(self) -> list[Waiting]:
        """The ops that no upstream has accepted."""
        return upstream.waiting(self.store.root, PROJECT)

    def refused(self) -> dict[Digest, bool]:
        """The manifests of what was committed here, has no place in the log, and was not deleted here either.

        With whether it was gathered, so that some of its bytes may never have been here.
        """
        view = self.view()
        waiting = [(op, decode_op(op.body)) for op in self.waiting()]
        # What was deleted elsewhere before anybody had accepted it came with its end, and without its bytes.
        ended = {op.version for _, op in waiting if isinstance(op, Delete)} | self.may_forget
        # An end that others have made void is to be decided itself.
        ends = [op for at, op in waiting if isinstance(op, DeleteCollection) and at.void != NEEDED]
        gone = {op.collection for op in ends}
        ended.update(id_ for op in ends for id_ in op.versions)
        void = [(op.version, made) for op, made in waiting if op.void is not None and op.version is not None]
        own = [made for id_, made in void if view and not view.is_received(id_) and id_ not in ended]
        own = [made for made in own if not isinstance(made, Commit | Relog) or made.record.collection not in gone]
        return {Digest.parse(str(manifest_of(made))): isinstance(made, Commit) and bool(made.parts) for made in own}

    # Its upstream.

    def attach(self, place: Place, *, only: Sequence[str] = ()) -> None:
        """Follow what is at a place from now on, and send it these collections alone, if some are named.

        What was followed before can still give bytes.
        """
        known = read_remotes(self.store.path)
        token_file = None
        if isinstance(place, Server):
            token_file = self.folder.with_suffix(f".{place.name}")
            place.admit(token_file)
        old, self.place = self.place, None
        for name, settings in known.items():
            if settings.upstream and name != place.name:
                file = None if settings.token_file is None else Path(settings.token_file)
                if old is None or old.is_lost:
                    remove_remote(self.store.path, name)
                else:
                    add_remote(self.store.path, name, settings.url, upstream=False, join=False, token_file=file)
        try:
            self._follow(place.name, place.url, join=False, only=only, token_file=token_file)
        except Conflict as error:
            if error.code != "needs-join":
                raise
            self._follow(place.name, place.url, join=True, only=only, token_file=token_file)
        self.place = place

    @property
    def only(self) -> list[str]:
        """The collections that are sent to its upstream; all, if none is named."""
        found = [] if self.place is None else upstream_of(self.store.path)[1].only
        return [name.partition("/")[2] for name in found]

    def called(self, collection: str) -> set[str]:
        """All that a collection was ever called, what was refused and is called otherwise since included."""
        view, project = self.view(), self.store.root.catalog.project(PROJECT)
        assert view is not None
        assert project is not None
        journal = Journal(self.store.root.catalog, project)
        ops = {each.id: decode_op(each.body) for each in journal.ops()}
        # What was given up counts no more, and was said here.
        own = {str(Digest.of(body)): decode_line(body) for _, _, bodies in journal.transactions() for body in bodies}
        names: set[str] = set()
        for id_, op in (own | ops).items():
            if isinstance(op, Create | Rename):
                found = view.collection(made_by(id_, op) if isinstance(op, Create) else op.collection)
                names |= {op.name} if found is not None and found.id == collection else set()
        return names

    def join(self, *, only: Sequence[str]) -> None:
        """Say that what was made here may come behind what is there, and what of it is sent."""
        name, settings = upstream_of(self.store.path)
        file = None if settings.token_file is None else Path(settings.token_file)
        self._follow(name, settings.url, join=True, only=only, token_file=file)

    def _follow(self, name: str, url: str, *, join: bool, only: Sequence[str], token_file: Path | None) -> None:
        chosen = [f"{PROJECT}/{each}" for each in only]
        add_upstream(self.store, name, url, join=join, only=chosen, token_file=token_file)

    def renew(self, places: Sequence[Place]) -> None:
        """Ask whoever keeps the servers for other tokens."""
        noted = read_remotes(self.store.path)
        for place in places:
            file = noted[place.name].token_file if place.name in noted else None
            if file is not None and not place.is_lost:
                place.admit(Path(file))

    # What can be seen.

    def view(self) -> ProjectView | None:
        """The state of the project, if there is one."""
        found = self.store.root.catalog.project(PROJECT)
        return None if found is None else ProjectView(self.store.root.catalog, found.id)

    def whole(self) -> set[Digest]:
        """The live manifests of which it has all bytes."""
        root = self.store.root
        project = root.catalog.project(PROJECT)
        found: set[Digest] = set()
        for manifest in Marking(root.catalog).live_manifests(project.id) if project is not None else ():
            blobs = [blob.digest for entry in root.manifests.entries(manifest) if (blob := blob_of(entry)) is not None]
            if len(root.blobs.locate(blobs)) == len(set(blobs)):
                found.add(manifest)
        return found

    def parts(self) -> list[str]:
        """What those parts are of that nobody has gathered."""
        return [] if self.view() is None else sorted({each.name for each in self.store.parts(PROJECT)})

    def numbers(self) -> dict[str, int]:
        """What each version that can be seen is called here."""
        return {id_: number for (_name, number), id_ in self.meanings().items()}

    def meanings(self) -> dict[tuple[str, int], str]:
        """What each number of each collection means here."""
        view = self.view()
        if view is None:
            return {}
        live = [each for each in view.collections() if each.kind == "sequence"]
        return {(each.name, version.number): version.id for each in live for version in view.versions_of(each.id)}

    def renames_refused(self) -> set[tuple[str, str]]:
        """Versions with the names that their collections were given here and have not, since others had them first."""
        view = self.view()
        void = [decode_op(op.body) for op in self.waiting() if op.void is not None]
        found: set[tuple[str, str]] = set()
        for op in [each for each in void if isinstance(each, Rename)]:
            collection = None if view is None else view.collection(op.collection)
            if view is not None and collection is not None and collection.name != op.name:
                found |= {(version.id, op.name) for version in view.versions_of(collection.id)}
        return found

    def forgotten(self) -> set[str]:
        """The versions that others see, and that are not seen here."""
        view = self.view()
        live = [] if view is None else view.all(Version, "deleted = 0")
        return {each.id for each in live if view is not None and view.is_forgotten(each.id)}

    def names(self) -> list[str]:
        """Its collections."""
        return [each.name for each in self.store.collections(PROJECT)]

    def versions(self, name: str) -> list[VersionInfo]:
        """The versions of a collection."""
        try:
            return self.store.versions(f"{PROJECT}/{name}")
        except NotFound:
            return []

    def all_of(self, name: str) -> set[str]:
        """The versions of a collection, with those that are not seen here."""
        view = self.view()
        assert view is not None
        (id_,) = [each.id for each in view.collections() if each.name == name]
        return {each.id for each in view.all(Version, "collection = ? AND deleted = 0", id_)}

    def any_version(self) -> VersionInfo | None:
        """Some version, if there is one."""
        view = self.view()
        if view is None:
            return None
        ids = sorted(self.numbers().items(), key=lambda item: (item[1], item[0]))
        if not ids:
            return None
        id_, _number = self.fate.chance.choice(ids)
        version = view.version(id_)
        assert version is not None
        collection = view.collection(version.collection)
        assert collection is not None
        return self.store.version(f"{PROJECT}/{collection.name}@{id_}")

    def shown(self) -> Json:
        """What is seen here, as the naive fold shows it."""
        found: Json = {}
        for collection in self.store.collections(PROJECT):
            found[collection.name] = [
                {
                    "number": each.number,
                    "id": each.id,
                    "digest": each.digest,
                    "type": each.type,
                    "metadata": each.metadata,
                    "description": each.description,
                    "tags": each.tags,
                    "aliases": each.aliases,
                    "run": each.run,
                }
                for each in self.versions(collection.name)
            ]
        return found

    def everything(self) -> Any:
        """All that `ls`, `log`, `show --json`, `runs`, `conflicts` and `numbers` say here."""
        store = self.store
        collections = store.collections(PROJECT)
        return msgspec.to_builtins(
            [
                collections,
                [self.versions(each.name) for each in collections],
                [self.store.history(f"{PROJECT}/{each.name}") for each in collections],
                store.parts(PROJECT),
                store.runs(project=PROJECT),
                store.conflicts(),
                store.moved_numbers(),
                store.following(),
            ]
        )

    def hash(self) -> str:
        """One text for what the upstream's order makes."""
        project = self.store.root.catalog.project(PROJECT)
        return "" if project is None else str(Journal(self.store.root.catalog, project).state_hash())

    def written(self) -> list[str]:
        """The files of its journal."""
        return sorted(str(path) for path in (self.folder / "ops").rglob("*"))

    def lose_help(self) -> None:
        """Lose what sync keeps beside the journal, which is only a help."""
        shutil.rmtree(self.folder / "sync", ignore_errors=True)
