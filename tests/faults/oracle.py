"""The oracle: whether a store holds what a ledger says was acknowledged, and nothing by halves.

Every answer is a list of violations in words; an empty one means that all is well. It uses only what users have.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from artstore.errors import ArtstoreError, NotFound
from artstore.lifecycle.reports import VersionInfo
from artstore.storage import whole
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.store import Store
from tests.faults.equipment import memory
from tests.faults.ledger import KEYS, Expected, Tree, content, digest_of, has_tree

SAMPLE: Final = 2
"""Versions that are checked out byte for byte each time."""


def check(path: Path, expected: Expected, *, seed: int) -> list[str]:
    """Open a store and compare it with what is expected of it."""
    try:
        with Store.open(path) as store:
            return [*expected.complaints, *_verified(store), *_compare(store, expected, random.Random(seed))]
    except (ArtstoreError, OSError) as error:
        return [*expected.complaints, f"the store cannot be checked: {error!r}"]


def check_thoroughly(path: Path, expected: Expected, *, seed: int) -> list[str]:
    """As check; then that `gc` leaves no leftovers, and that the log alone brings everything back."""
    steps: tuple[Callable[[Path], list[str]], ...] = (_collected, _rebuilt)
    wrong = check(path, expected, seed=seed)
    for step in steps:
        if not wrong:
            wrong = [
                f"after {step.__name__.strip('_')}: {each}" for each in (*step(path), *check(path, expected, seed=seed))
            ]
    return wrong


def _verified(store: Store) -> list[str]:
    report = store.verify()
    return [] if report.ok else [f"verify: {problem}" for problem in report.problems]


def _compare(store: Store, expected: Expected, chance: random.Random) -> list[str]:
    wrong: list[str] = []
    here = {info.ref: info for info in _all_versions(store)}
    for ref, version in expected.versions.items():
        info = here.get(ref)
        if ref in expected.deleted:
            if info is not None:
                wrong.append(f"{ref} was deleted, and is back")
            else:
                wrong += _must_be_gone(store, ref)
        elif info is None:
            if ref not in expected.endangered:
                wrong.append(f"{ref} was acknowledged, and is gone")
        elif (info.id, info.digest) != (version.id, version.digest):
            wrong.append(f"{ref} was acknowledged as {version.id}, and is {info.id} now")
        else:
            wrong += _same_content(store, ref, version.tree)
    for ref, info in here.items():
        if ref not in expected.versions:
            wrong += _unanswered(store, info, expected)
    wrong += _aliases(store, here, expected)
    for ref in chance.sample(sorted(here), min(SAMPLE, len(here))):
        wrong += _checked_out(store, ref)
    return wrong


def _all_versions(store: Store) -> list[VersionInfo]:
    return [
        version
        for collection in store.collections()
        for version in store.versions(collection.name, project=collection.project)
    ]


def _must_be_gone(store: Store, ref: str) -> list[str]:
    try:
        store.version(ref)
    except NotFound as error:
        return [] if error.code == "version-deleted" else [f"{ref} was deleted, and the store says {error}"]
    return [f"{ref} was deleted, and can be resolved"]


def _content_of(store: Store, ref: str) -> dict[str, tuple[int | None, str | None]]:
    return {entry.path: (entry.size, entry.digest) for entry in store.entries(ref)}


def _in_words(tree: Tree) -> dict[str, tuple[int | None, str | None]]:
    return {path: (len(content(key)), digest_of(key)) for path, key in tree.items()}


def _same_content(store: Store, ref: str, tree: Tree) -> list[str]:
    found = _content_of(store, ref)
    return [] if found == _in_words(tree) else [f"{ref} holds {found}, and should hold {tree}"]


def _unanswered(store: Store, info: VersionInfo, expected: Expected) -> list[str]:
    """A version that nobody was told of must be one that somebody tried to put, whole."""
    found = _content_of(store, info.ref)
    tried = expected.trees.get(f"{info.project}/{info.collection}", [])
    return [] if any(found == _in_words(tree) for tree in tried) else [f"{info.ref} is nothing that was put: {found}"]


def _aliases(store: Store, here: dict[str, VersionInfo], expected: Expected) -> list[str]:
    wrong: list[str] = []
    standing = {
        (f"{info.project}/{info.collection}", alias): ref for ref, info in here.items() for alias in info.aliases
    }
    for (collection, alias), wanted in expected.aliases.items():
        ref = standing.get((collection, alias))
        if ref in wanted or (ref is None and any(_may_be_gone(each, here, expected) for each in wanted)):
            continue
        tree = expected.versions[ref].tree if ref in expected.versions else None
        found = None if ref is None else _content_of(store, ref)
        unsure = [each for each in wanted if each is not None and "?" in each]
        if tree is not None and any(has_tree(each, tree) for each in unsure):
            continue
        tried = [t for t in expected.trees.get(collection, []) if any(has_tree(each, t) for each in unsure)]
        if found is not None and any(found == _in_words(tree) for tree in tried):
            continue
        wrong.append(f"alias {alias!r} of {collection} stands on {ref}, and should on {sorted(map(str, wanted))}")
    return wrong


def _may_be_gone(ref: str | None, here: dict[str, VersionInfo], expected: Expected) -> bool:
    """An alias goes with the version on which it stands."""
    return ref is None or ref in expected.deleted or (ref in expected.endangered and ref not in here)


def _checked_out(store: Store, ref: str) -> list[str]:
    wanted = _content_of(store, ref)
    keys = _by_digest()
    target = Path(tempfile.mkdtemp(prefix="artstore-get-", dir=memory()))
    try:
        store.get(ref, target)
        found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    finally:
        shutil.rmtree(target)
    right = {path: content(keys[digest]) for path, (_size, digest) in wanted.items() if digest in keys}
    return [] if found == right and len(right) == len(wanted) else [f"{ref} is checked out with other bytes"]


def _by_digest() -> dict[str | None, int]:
    return {digest_of(key): key for key in range(KEYS)}


def _collected(path: Path) -> list[str]:
    """Two collections with no other session free everything that the killed ones left."""
    with Store.open(path) as store:
        for _ in range(2):
            store.gc(grace_s=0)
    wrong: list[str] = []
    wrong += [f"left in tmp: {each.name}" for each in (path / "tmp").iterdir()]
    wrong += [f"left in trash: {each.name}" for each in (path / "trash").iterdir()]
    wrong += [f"left in locks: {each.name}" for each in (path / "locks").iterdir() if each.name[0].isdigit()]
    return wrong + _strangers(path)


def _strangers(path: Path) -> list[str]:
    """Files of blobs and packs of which the catalog knows nothing."""
    root = Root(path)
    try:
        marking = Marking(root.catalog)
        packs, blobs = marking.pack_names(), marking.whole_digests()
        waiting = marking.waiting()
        names = {use.name for use in marking.packs() if use.live_blobs == 0}
    finally:
        root.close()
    wrong = [
        f"a pack without a row is left: {each.name}" for each in (path / "packs").iterdir() if each.name not in packs
    ]
    wrong += [
        f"a blob without a row is left: {each}"
        for each in (path / "blobs").rglob("*")
        if each.is_file() and whole.digest_of(each) not in blobs
    ]
    wrong += [f"{waiting} blobs are condemned and not freed"] if waiting else []
    return wrong + [f"an empty pack is kept: {name}" for name in names]


def _rebuilt(path: Path) -> list[str]:
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-journal"):
        (path / name).unlink(missing_ok=True)
    report = Store.rebuild(path)
    return [f"rebuild lost {each}" for each in report.lost]
