"""The worker: random verbs on a store that others use too, each noted in a ledger before and after.

A worker has a collection and aliases of its own, so what must be there follows from the ledger alone, and puts into one
collection that all share. Thresholds are lowered so that the rare becomes common: nothing else is changed.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from artstore.errors import ArtstoreError, Conflict, NotFound
from artstore.lifecycle import collect, compact
from artstore.lifecycle.reports import PutReport, VersionInfo
from artstore.storage import reserve, stat_cache
from artstore.store import Store
from tests.faults.ledger import KEYS, Ledger, Tree, content, digest_of

PATHS: Final = tuple(f"{folder}{name}" for folder in ("", "a/", "b/c/") for name in "klm")
ALIASES: Final = ("best", "good")
EXCUSES: Final = frozenset({"locked", "version-deleted", "aliased", "alias-not-found", "busy"})
"""Refusals that others' work explains."""
VERBS: Final = {
    "put": 30,
    "put_shared": 12,
    "put_back": 4,
    "alias": 8,
    "unalias": 3,
    "delete": 12,
    "prune": 4,
    "gc": 12,
    "rebuild": 2,
    "get": 3,
    "reopen": 3,
}
"""How often each is chosen."""

SHARED: Final = "shared"
KIND: Final = "data"


def lower_thresholds() -> None:
    """Compact and repack every few commits, and set little space aside."""
    compact.EVERY = 6  # type: ignore[misc]
    collect.MANY_SMALL_PACKS = 5  # type: ignore[misc]
    reserve.SIZE = 16 << 10  # type: ignore[misc]


def believe_at_once() -> None:
    """Rely on the stat cache however young a file is: a worker never writes to one that it has put."""
    stat_cache.MARGIN_NS = 0  # type: ignore[misc]


class Worker:
    """One process at work."""

    def __init__(
        self,
        path: Path,
        ledger: Ledger,
        slot: int,
        seed: int,
        scratch: Path,
        *,
        tell: Callable[[str], None] = lambda _verb: None,
    ) -> None:
        self._path = path
        self._ledger = ledger
        self._collection = f"own{slot}"
        self._chance = random.Random(seed)
        self._scratch = scratch / f"sources{slot}"
        self._store: Store | None = None
        # What one that was killed has left is gone on with: the stat cache may know most of it.
        left = {path: key for path in PATHS if (key := _key_of(self._scratch / path)) is not None}
        fresh = {path: self._chance.randrange(KEYS) for path in self._chance.sample(PATHS, 5)}
        self._tree: Tree = left if len(left) > 2 else fresh
        self.verb = ""
        """What is being done now, also told to whoever wants to know; empty between two verbs."""
        self._tell = tell
        self.turns = 0

    @property
    def store(self) -> Store:
        """The open store, made if there is none."""
        if self._store is None:
            while not (self._path / "format.json").exists():
                # Another may be making it, or be killed in the middle.
                with contextlib.suppress(Conflict):
                    Store.init(self._path).close()
            self._store = Store.open(self._path)
        return self._store

    def work(self, plan: Sequence[str] = (), *, turns: int | None = None) -> None:
        """Do what is planned, then what chance says, without end if turns is None. An error is noted, and ends it."""
        names, weights = list(VERBS), list(VERBS.values())
        chosen = (self._chance.choices(names, weights)[0] for _ in itertools.count())
        for verb in itertools.islice(itertools.chain(plan, chosen), turns):
            self._turn(verb)
            self.turns += 1
            act: Callable[[], None] = getattr(self, f"_{verb}")
            try:
                act()
            except ArtstoreError as error:
                if error.code not in EXCUSES:
                    self._ledger.complain(f"{verb} raised {error!r}")
                    raise
            self._turn("")

    def _turn(self, verb: str) -> None:
        self.verb = verb
        self._tell(verb)

    def close(self) -> None:
        """Let the store go."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _put(self) -> None:
        self._put_into(self._collection, self._chance.choice(((), (), (), ("best",), ALIASES)))

    def _put_shared(self) -> None:
        self._put_into(SHARED, ())

    def _put_into(self, collection: str, aliases: Sequence[str]) -> None:
        for path in self._chance.sample(PATHS, self._chance.randrange(1, 3)):
            if path in self._tree and len(self._tree) > 2 and self._chance.random() < 0.2:
                del self._tree[path]
            else:
                self._tree[path] = self._chance.randrange(KEYS)
        self._put_tree(collection, aliases, is_streamed=self._chance.random() < 0.5)

    def _put_tree(self, collection: str, aliases: Sequence[str], *, is_streamed: bool) -> VersionInfo:
        tree = dict(sorted(self._tree.items()))
        full = f"uncategorized/{collection}"
        key = self._ledger.attempt("put", collection=full, tree=tree, aliases=aliases)
        version = self._commit(tree, collection, aliases, is_streamed=is_streamed)
        self._ledger.answer(key, ref=version.ref, id=version.id, digest=version.digest)
        return version

    def _put_back(self) -> None:
        """Put a folder again, as it lies there, whose version was deleted and may be freed by now."""
        self._tree |= {path: self._chance.randrange(KEYS) for path in self._chance.sample(PATHS, 2)}
        version = self._put_tree(self._collection, (), is_streamed=False)
        if not set(version.aliases) <= {"latest"}:
            return
        key = self._ledger.attempt("delete", refs=[version.ref])
        self.store.delete(version.ref)
        self._ledger.answer(key)
        self._gc()
        self._put_tree(self._collection, (), is_streamed=False)

    def _commit(self, tree: Tree, collection: str, aliases: Sequence[str], *, is_streamed: bool) -> VersionInfo:
        if is_streamed:
            with self.store.draft() as draft:
                for path, key in tree.items():
                    draft.add_stream(io.BytesIO(content(key)), path)
                return self.store.commit(draft, name=collection, type=KIND, aliases=aliases)
        self._lay_out(tree)
        report: PutReport = self.store.put([self._scratch], name=collection, type=KIND, aliases=aliases)
        assert report.version is not None
        return report.version

    def _lay_out(self, tree: Tree) -> None:
        """Make the folder hold this, and leave what it holds already as it is."""
        for path in set(PATHS) - tree.keys():
            (self._scratch / path).unlink(missing_ok=True)
        for path, key in tree.items():
            target = self._scratch / path
            if _key_of(target) != key:
                target.parent.mkdir(parents=True, exist_ok=True)
                # Another file, since within the grain of a time stamp the same one would be taken for unchanged.
                new = self._scratch.with_name(f"{self._scratch.name}.new")
                new.write_bytes(content(key))
                new.replace(target)

    def _own(self) -> list[VersionInfo]:
        try:
            return self.store.versions(self._collection)
        except NotFound:
            return []

    def _alias(self) -> None:
        if own := self._own():
            version, alias = self._chance.choice(own), self._chance.choice(ALIASES)
            collection = f"uncategorized/{self._collection}"
            key = self._ledger.attempt("alias", collection=collection, alias=alias, ref=version.ref)
            self.store.alias(version.ref, [alias])
            self._ledger.answer(key)

    def _unalias(self) -> None:
        aliased = [(version, alias) for version in self._own() for alias in version.aliases if alias != "latest"]
        if aliased:
            version, alias = self._chance.choice(aliased)
            collection = f"uncategorized/{self._collection}"
            key = self._ledger.attempt("unalias", collection=collection, alias=alias)
            self.store.unalias(version.ref, [alias])
            self._ledger.answer(key)

    def _delete(self) -> None:
        own = [version for version in self._own() if set(version.aliases) <= {"latest"}]
        if len(own) > 1:
            version = self._chance.choice(own)
            key = self._ledger.attempt("delete", refs=[version.ref])
            self.store.delete(version.ref)
            self._ledger.answer(key)

    def _prune(self) -> None:
        if len(self._own()) > 4:
            keep = self._chance.randrange(1, 4)
            foreseen = self.store.prune([self._collection], keep_last=keep, dry_run=True)
            key = self._ledger.attempt("prune", refs=[each.ref for each in foreseen.deleted])
            done = self.store.prune([self._collection], keep_last=keep)
            if [each.ref for each in done.deleted] != [each.ref for each in foreseen.deleted]:
                self._ledger.complain(f"prune deleted {done.deleted}, and foresaw {foreseen.deleted}")
            self._ledger.answer(key)

    def _gc(self) -> None:
        self.store.gc(grace_s=self._chance.choice((0, 0, 0, 0.001, 3600)))

    def _rebuild(self) -> None:
        # There must be one.
        self.store.close()
        self.close()
        report = Store.rebuild(self._path)
        if report.lost:
            self._ledger.complain(f"rebuild lost {report.lost}")

    def _get(self) -> None:
        """Read the newest of one's own, which nobody else touches."""
        for version in self._own()[:1]:
            for entry in self.store.entries(version.ref):
                data = b"".join(self.store.read(version.ref, entry.path))
                if entry.digest not in {digest_of(key) for key in range(KEYS) if content(key) == data}:
                    self._ledger.complain(f"{entry.path} of {version.ref} is read with other bytes")

    def _reopen(self) -> None:
        self.close()


def _key_of(file: Path) -> int | None:
    """The key whose bytes a file holds; None for no file, or one that was not written to its end."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    key = data[0] if data else 0
    return key if key < KEYS and content(key) == data else None
