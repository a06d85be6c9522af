"""Globbing: which versions a pattern means, such as `zoo/*:v*`.

fsspec's own looks for as many folders as the pattern has, while versions lie beside their collection and not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from glob import has_magic

from artstore.filesystem.paths import IN_VERSION
from artstore.store import Store


def split_pattern(path: str) -> tuple[str, str] | None:
    """The part of a pattern that chooses versions, and the rest; None where it names one version, or none at all."""
    found = IN_VERSION.match(path)
    if found is None or not has_magic(found[1]):
        return None
    return found[1], path[len(found[1]) :]


def versions_like(store: Store, pattern: str, project: str) -> Iterator[str]:
    """The versions that a pattern means, each called as the pattern calls it, the first first.

    `*`, `?` and `[…]` stand for parts of a project, of a collection and of `vN`; an alias is what it is.
    """
    *owners, last = pattern.split("/")
    collection, _, version = last.partition(":")
    for owner in store.projects() if owners else [project]:
        if owners and not fnmatchcase(owner, owners[-1]):
            continue
        before = "/".join([*owners[:-1], owner, ""]) if owners else ""
        for found in store.collections(owner):
            if fnmatchcase(found.name, collection):
                for name in _names(store, f"{owner}/{found.name}", version):
                    yield f"{before}{found.name}:{name}"


def versions_in(store: Store, collection: str) -> list[str]:
    """What the versions in a collection or portfolio are called in it, `v0` first, as far as they can be read."""
    found = reversed(store.versions(collection))
    return [f"v{(each.link or each).number}" for each in found if each.state == "committed"]


def _names(store: Store, collection: str, version: str) -> list[str]:
    if not has_magic(version):
        return [version]
    return [name for name in versions_in(store, collection) if fnmatchcase(name, version)]
