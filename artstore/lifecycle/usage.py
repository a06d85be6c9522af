"""Usage: what each collection holds, and what the store spends on it.

Content that two collections hold is kept once, so what a collection costs is what it has alone: that is what deleting
all of it would free.
"""

from __future__ import annotations

import os
from array import array
from collections import defaultdict
from pathlib import Path

from artstore.errors import Corrupt
from artstore.lifecycle.reports import DuReport, Usage
from artstore.lifecycle.resolve import find_project
from artstore.model.digest import Digest
from artstore.storage.catalog import ProjectView
from artstore.storage.files import size_on_disk
from artstore.storage.queries import Live, Queries
from artstore.storage.root import Root


class _Owners:
    """Who holds which blob: a few bytes for each, whatever the number of collections."""

    def __init__(self, queries: Queries) -> None:
        self.sizes = array("q")
        for id_, size in queries.blob_sizes():
            self.sizes.extend([0] * (id_ - len(self.sizes)))
            self.sizes.append(size)
        self._last = array("i", bytes(4 * len(self.sizes)))
        self._is_shared = bytearray(len(self.sizes))
        self._is_shown = bytearray(len(self.sizes))

    def give(self, owner: int, blob: int, *, shown: bool) -> int:
        """Note that an owner has a blob; answers how many bytes are news. Owners come in order, from 1 on."""
        if self._last[blob] == owner:
            return 0
        self._is_shared[blob] |= self._last[blob] > 0
        self._is_shown[blob] |= shown
        self._last[blob] = owner
        return self.sizes[blob]

    def unique(self) -> dict[int, int]:
        """The bytes that each owner has alone."""
        found: dict[int, int] = defaultdict(int)
        for blob, owner in enumerate(self._last):
            if owner and not self._is_shared[blob]:
                found[owner] += self.sizes[blob]
        return found

    def shown_bytes(self) -> int:
        """The bytes of all blobs that are shown, each once."""
        return sum(size for size, shown in zip(self.sizes, self._is_shown, strict=True) if shown)


def du(root: Root, project: str | None = None) -> DuReport:
    """What the collections of a project, or of all, hold; shared is what any collection of the store holds as well.

    Raises NotFound (project-not-found) and Corrupt (manifest-missing).
    """
    with root.catalog.snapshot():
        shown = root.catalog.projects() if project is None else [find_project(root, project)[0]]
        queries = Queries(root.catalog)
        live: dict[tuple[int, str], list[Live]] = defaultdict(list)
        for version in queries.live():
            live[version.project, version.collection].append(version)
        names = {each.id: each.name for each in shown}
        owners = _Owners(queries)
        held: dict[tuple[int, str], tuple[int, int]] = {}
        for number, (key, versions) in enumerate(sorted(live.items()), start=1):
            manifests = {_row(queries, version.manifest) for version in versions}
            total = sum(owners.give(number, blob, shown=key[0] in names) for blob in queries.blobs_in(manifests))
            held[key] = number, total
        unique = owners.unique()
        collections: list[Usage] = []
        for id_, name in names.items():
            sequences = [each for each in ProjectView(root.catalog, id_).collections() if each.kind == "sequence"]
            for collection in sequences:
                owner, total = held.get((id_, collection.id), (0, 0))
                alone = unique.get(owner, 0)
                versions = live.get((id_, collection.id), [])
                collections.append(_usage(name, collection.name, versions, unique=alone, shared=total - alone))
    return DuReport(
        collections=collections,
        logical_bytes=sum(usage.logical_bytes for usage in collections),
        stored_bytes=owners.shown_bytes(),
        on_disk_bytes=on_disk_bytes(root.path),
    )


def on_disk_bytes(folder: Path) -> int:
    """What a folder takes with all that is below it, folders included; links are not followed."""
    total = 0
    stack = [str(folder)]
    while stack:
        place = stack.pop()
        try:
            total += size_on_disk(os.lstat(place))
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        total += size_on_disk(os.lstat(entry.path))
        except FileNotFoundError:
            # Others are at work here, and what they finished with is gone.
            continue
    return total


def _row(queries: Queries, digest: Digest) -> int:
    row = queries.manifest(digest)
    if row is None:
        message = f"manifest {digest} is not in the catalog. Run `artstore rebuild`"
        raise Corrupt(message, code="manifest-missing")
    return row


def _usage(project: str, collection: str, versions: list[Live], *, unique: int, shared: int) -> Usage:
    return Usage(
        project=project,
        collection=collection,
        versions=len(versions),
        files=sum(version.entries for version in versions),
        logical_bytes=sum(version.bytes for version in versions),
        unique_bytes=unique,
        shared_bytes=shared,
    )
