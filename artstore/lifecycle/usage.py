"""Usage: what each collection holds, and what the store spends on it.

Content that two collections hold is kept once, so what a collection costs is what it has alone: that is what deleting
all of it would free.
"""

from __future__ import annotations

import os
from array import array
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from artstore.lifecycle.reports import DuReport, Usage
from artstore.lifecycle.resolve import find_project
from artstore.storage.catalog import ProjectView
from artstore.storage.files import size_on_disk
from artstore.storage.queries import Queries, Stands
from artstore.storage.root import Root


class Moment(NamedTuple):
    """A commit, and what it brought to the collections that are looked at."""

    created_us: int
    bytes: int
    """Logical."""
    new_bytes: int
    """Of content that no version before it has."""


class _Tally:
    """Who holds which blob, and which version had it first: a few bytes for each, whatever the number of versions."""

    def __init__(self, queries: Queries, rank: dict[int, int]) -> None:
        """`rank` says of the manifests that are looked at in which place they came; less is earlier."""
        known = queries.blob_sizes()
        most = known[-1][0] + 1 if known else 0
        self._sizes = array("q", bytes(8 * most))
        for id_, size in known:
            self._sizes[id_] = size
        self._owner = array("i", bytes(4 * most))
        self._is_shared = bytearray(most)
        self._never = len(rank)
        self._first = array("i", [self._never]) * most
        self._rank = rank
        self._queries = queries

    def give(self, owner: int, manifests: Collection[int]) -> int:
        """Note that an owner has all of these; answers how many bytes that is. Owners come in order, from 1 on."""
        owners, is_shared, first, never = self._owner, self._is_shared, self._first, self._never
        total = 0
        for rows in self._queries.blobs_by_manifest(manifests, self._rank):
            for manifest, blob in rows:
                rank = self._rank.get(manifest, never)
                if rank < first[blob]:  # noqa: PLR1730 - min() takes three times as long.
                    first[blob] = rank
                last = owners[blob]
                if last != owner:
                    if last:
                        is_shared[blob] = 1
                    owners[blob] = owner
                    total += self._sizes[blob]
        return total

    def unique(self) -> dict[int, int]:
        """The bytes that each owner has alone."""
        found: dict[int, int] = defaultdict(int)
        for owner, is_shared, size in zip(self._owner, self._is_shared, self._sizes, strict=True):
            if owner and not is_shared:
                found[owner] += size
        return found

    def brought(self) -> list[int]:
        """The bytes that came with each rank."""
        found = [0] * (self._never + 1)
        for rank, size in zip(self._first, self._sizes, strict=True):
            found[rank] += size
        return found[:-1]

    def absent_bytes(self) -> int:
        """The bytes of what is looked at, and not here."""
        return sum(self._sizes[id_] for id_ in self._queries.absent_blobs() if self._first[id_] < self._never)


def du(root: Root, project: str | None = None) -> DuReport:
    """What the collections of a project, or of all, hold; shared is what any collection of the store holds as well.

    Raises NotFound (project-not-found) and Corrupt (manifest-missing).
    """
    return measured(root, project)[0]


def measured(root: Root, project: str | None) -> tuple[DuReport, list[Moment]]:
    """The same, and how it came: the commits by their dates. Both are answered by one walk over the manifests."""
    with root.catalog.snapshot():
        shown = root.catalog.projects() if project is None else [find_project(root, project)[0]]
        names = {each.id: each.name for each in shown}
        queries = Queries(root.catalog)
        held: dict[tuple[int, str], list[Stands]] = defaultdict(list)
        moments: list[Stands] = []
        for version in queries.standing():
            held[version.project, version.collection].append(version)
            if version.project in names:
                moments.append(version)
        rank: dict[int, int] = {}
        for version in moments:
            rank.setdefault(version.manifest, len(rank))
        tally = _Tally(queries, rank)
        totals: dict[tuple[int, str], tuple[int, int]] = {}
        for number, (key, versions) in enumerate(sorted(held.items()), start=1):
            totals[key] = number, tally.give(number, {version.manifest for version in versions})
        unique = tally.unique()
        collections: list[Usage] = []
        for id_, name in names.items():
            sequences = [each for each in ProjectView(root.catalog, id_).collections() if each.kind == "sequence"]
            for collection in sequences:
                owner, total = totals.get((id_, collection.id), (0, 0))
                alone = unique.get(owner, 0)
                versions = held.get((id_, collection.id), [])
                collections.append(_usage(name, collection.name, versions, unique=alone, shared=total - alone))
        brought = tally.brought()
        absent = tally.absent_bytes()
    report = DuReport(
        collections=collections,
        logical_bytes=sum(usage.logical_bytes for usage in collections),
        stored_bytes=sum(brought),
        absent_bytes=absent,
        on_disk_bytes=on_disk_bytes(root.path),
    )
    return report, _moments(moments, [brought[rank[version.manifest]] for version in moments])


def _moments(versions: Sequence[Stands], brought: Sequence[int]) -> list[Moment]:
    """The commits; what a manifest brought came with the first version that has it."""
    seen: set[int] = set()
    found: list[Moment] = []
    for version, news in zip(versions, brought, strict=True):
        found.append(Moment(version.created_us, version.bytes, 0 if version.manifest in seen else news))
        seen.add(version.manifest)
    return found


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


def _usage(project: str, collection: str, versions: list[Stands], *, unique: int, shared: int) -> Usage:
    return Usage(
        project=project,
        collection=collection,
        versions=len(versions),
        files=sum(version.entries for version in versions),
        logical_bytes=sum(version.bytes for version in versions),
        unique_bytes=unique,
        shared_bytes=shared,
    )
