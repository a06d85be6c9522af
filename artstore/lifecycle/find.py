"""Find: which versions hold something.

What is asked for is a digest, a fact or a path, told by its form; where one form could be two things, the second is
tried when nothing is found as the first.

    blake3:3f2a91c0…   or 8 hex digits and more: versions with this id or manifest, and every place of this content
    lr=0.1             versions whose metadata has it; `model.layers=12` looks inside; type=, tag= and run= where the
                       metadata has no such key
    *.png, images/     paths, in gitignore's syntax; without wildcards a whole path, or a file's name in any folder
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from artstore.errors import Invalid
from artstore.lifecycle.patterns import matcher
from artstore.lifecycle.reports import Match, VersionInfo
from artstore.lifecycle.resolve import Resolved, find_project
from artstore.model.digest import ALGORITHM, SIZE, Digest
from artstore.storage.catalog import ProjectView
from artstore.storage.queries import Held, Queries
from artstore.storage.root import Root

SHORTEST: Final = 8
"""Hex digits: fewer would often be a word or a number."""

_DIGEST: Final = re.compile(rf"(?:{ALGORITHM}:)?([0-9a-f]{{{SHORTEST},{2 * SIZE}}})\Z")
WILD: Final = re.compile(r"[*?\[\\]|\A/|/\Z")
_NOT_IN_KEY: Final = re.compile(r"[*?\[\\/]")
_ABSENT: Final = object()


class _Shelf(NamedTuple):
    """The live versions that are searched, in the order in which they are shown: the newest of a collection first."""

    versions: list[Resolved]
    queries: Queries


def find(root: Root, query: str, project: str | None = None) -> list[Match]:
    """The versions, and the paths in them, that a query means; of one project, or of all.

    Versions that are deleted are not found. Raises Invalid (bad-query), NotFound (project-not-found).
    """
    check_text(query)
    with root.catalog.snapshot():
        shelf = _Shelf(list(live_versions(root, project)), Queries(root.catalog))
        digest = _DIGEST.match(query)
        if digest is not None:
            found = _by_digest(shelf, digest[1])
            if found or query.startswith(f"{ALGORITHM}:"):
                return found
        elif query.startswith(f"{ALGORITHM}:"):
            form = f"{ALGORITHM}: and {SHORTEST} to {2 * SIZE} lower-case hex digits"
            message = f"{query!r} is no digest to look for: write {form}"
            raise Invalid(message, code="bad-query")
        key, equals, value = query.partition("=")
        if equals and key and not _NOT_IN_KEY.search(key):
            found = _by_fact(shelf, key, value)
            if found:
                return found
        if not query.strip("/"):
            message = f"{query!r} says nothing to look for: write a digest, KEY=VALUE, or a path"
            raise Invalid(message, code="bad-query")
        return _by_path(shelf, query)


def check_text(query: str) -> None:
    """Raise Invalid (bad-query) for what no text in a store can be."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        message = f"{query!a} is not valid UTF-8, and no name or text in a store is such"
        raise Invalid(message, code="bad-query") from error


def holders(root: Root, digests: Collection[Digest]) -> dict[str, list[Match]]:
    """The live versions, and the paths in them, that hold each of some blobs, by digest."""
    with root.catalog.snapshot():
        shelf = _Shelf(list(live_versions(root)), Queries(root.catalog))
        blobs = {id_ for digest in digests for id_ in shelf.queries.blobs_between(digest, digest)}
        found: dict[str, list[Match]] = {}
        for match in _matches(shelf, shelf.queries.paths_of(blobs), blobs):
            found.setdefault(str(match.digest), []).append(match)
        return found


def live_versions(root: Root, project: str | None = None) -> Iterator[Resolved]:
    """Every version that is not deleted, of one project or of all, the newest of a collection first."""
    projects = root.catalog.projects() if project is None else [find_project(root, project)[0]]
    for each in projects:
        view = ProjectView(root.catalog, each.id)
        for collection in view.collections():
            for version in view.versions_of(collection.id):
                yield Resolved(each, view, collection, version)


def _by_digest(shelf: _Shelf, digits: str) -> list[Match]:
    start = f"{ALGORITHM}:{digits}"
    found = [
        Match(version=resolved.info())
        for resolved in shelf.versions
        if resolved.version.id.startswith(start) or resolved.version.manifest.startswith(start)
    ]
    low, high = (bytes.fromhex(digits.ljust(2 * SIZE, digit)) for digit in "0f")
    blobs = shelf.queries.blobs_between(low, high)
    if blobs:
        found += _matches(shelf, shelf.queries.paths_of(blobs), blobs)
    return found


def _by_fact(shelf: _Shelf, key: str, text: str) -> list[Match]:
    # Text as it stands, too: what was kept as "1.10" is looked for as 1.10.
    wanted: list[Any] = [text]
    with contextlib.suppress(msgspec.DecodeError):
        wanted.append(msgspec.json.decode(text))
    return [Match(version=resolved.info()) for resolved in shelf.versions if _has_fact(resolved, key, text, wanted)]


def _has_fact(resolved: Resolved, key: str, text: str, wanted: list[Any]) -> bool:
    value = _looked_up(resolved.version.metadata, key)
    if value is not _ABSENT:
        return any(_is_equal(value, each) for each in wanted)
    if key == "type":
        return resolved.collection.type == text
    if key == "run":
        return resolved.version.run == text
    return key == "tag" and any(tag.name == text for tag in resolved.view.tags_of(resolved.version.id))


def _looked_up(metadata: Any, key: str) -> Any:
    """What stands at a key, or at a dotted path of keys; a key that has the dots itself goes first."""
    if not isinstance(metadata, dict):
        return _ABSENT
    if key in metadata:
        return metadata[key]
    at = key.find(".")
    while at >= 0:
        if key[:at] in metadata and (value := _looked_up(metadata[key[:at]], key[at + 1 :])) is not _ABSENT:
            return value
        at = key.find(".", at + 1)
    return _ABSENT


def _is_equal(one: Any, other: Any) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _by_path(shelf: _Shelf, query: str) -> list[Match]:
    queries = shelf.queries
    paths = queries.paths(pattern(query)) if WILD.search(query) else queries.paths_called(query)
    return _matches(shelf, paths, None)


def pattern(query: str) -> Callable[[str], bool]:
    """Whether a path is meant by a pattern."""
    # A first `!` or `#` is part of a name here.
    return matcher([f"\\{query}" if query[0] in "!#" else query])


def _matches(shelf: _Shelf, paths: dict[int, str], blobs: set[int] | None) -> list[Match]:
    """Every live version that has something at one of the paths, or one of the blobs there if they are given."""
    if not paths:
        return []
    places: list[tuple[Resolved, dict[int, Held]]] = []
    manifests = [shelf.queries.manifest(resolved.manifest) for resolved in shelf.versions]
    held = dict(shelf.queries.holdings((row for row in manifests if row is not None), paths))
    for resolved, row in zip(shelf.versions, manifests, strict=True):
        has = {} if row is None else held[row]
        places.append((resolved, {path: what for path, what in has.items() if blobs is None or what.blob in blobs}))
    digests = shelf.queries.blobs({w.blob for _, has in places for w in has.values() if w.blob is not None})
    sizes = shelf.queries.reference_sizes(
        {w.reference for _, has in places for w in has.values() if w.reference is not None}
    )
    found: list[Match] = []
    for resolved, has in places:
        if has:
            info = resolved.info()
            found += (
                match(info, paths[path], has[path], digests, sizes) for path in sorted(has, key=paths.__getitem__)
            )
    return found


def match(
    info: VersionInfo,
    path: str,
    held: Held,
    digests: dict[int, tuple[Digest, int]],
    sizes: dict[int, int | None],
) -> Match:
    """A path of a version, with what stands there."""
    if held.blob is not None:
        digest, size = digests[held.blob]
        return Match(version=info, path=path, size=size, digest=str(digest))
    assert held.reference is not None
    return Match(version=info, path=path, size=sizes[held.reference])
