"""Again: a folder is put that was put before, and what the stat cache knows of it is not read another time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from artstore.lifecycle.scan import Found, Scan
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Difference, Entry
from artstore.storage.stat_cache import Findings, Head, Known, StatCache, stamp_of


class Since(NamedTuple):
    """A manifest that was made of the same folder before, and what is another thing now."""

    manifest: Digest
    difference: Difference
    has_same_paths: bool


class News(NamedTuple):
    """What a stat cache is to have from now on."""

    findings: Findings
    """Nothing where it has all of it already."""
    has_all: Head | None
    """Whose cache it is that has all of it; None for none."""


class Gathering:
    """What is found in one folder, beside what its stat cache has."""

    def __init__(self, folder: str, prefix: str, cache: StatCache, era: bytes) -> None:
        """Begin; `prefix` is what the paths have in the draft before those in the folder."""
        self.entries: dict[str, Entry] = {}
        self.bytes = 0
        self.findings = Findings(folder, prefix, time.time_ns(), era)
        self._prefix = prefix
        self._cache = cache
        self._unchanged: list[int] = []
        self._digests: list[Digest] = []
        """Of these, in their order."""

    def unknown(self, scan: Scan, select: Callable[[Found, bool], bool] | None) -> Iterator[Found]:
        """The files that have to be read, of those that `select` wants; see Draft.add_directory."""
        for found in scan.files():
            at = self._known(found)
            if select is None or select(found, at is not None):
                if at is None:
                    yield found
                else:
                    self._unchanged.append(at)

    def add(self, read: Sequence[Known]) -> None:
        """Take some files that were read."""
        self.findings.add(read)
        for known in read:
            path = self._prefix + known.path
            self.entries[path] = BlobEntry(path, known.digest, known.size)
            self.bytes += known.size

    def add_unchanged(self) -> None:
        """Take the others, once all that is unknown was read."""
        cache = self._cache
        self._digests = [cache.digest(at) for at in self._unchanged]
        for at, digest in zip(self._unchanged, self._digests, strict=True):
            # With the cache's own strings: the new ones of the same paths are not kept.
            path = self._prefix + cache.paths[at]
            size = cache.size(at)
            self.entries[path] = BlobEntry(path, digest, size)
            self.bytes += size

    def news(self) -> News:
        """What the stat cache is to have from now on."""
        if not self.findings.paths and len(self._unchanged) == len(self._cache.paths):
            return News(self.findings, self._cache.head)
        self.findings.add_unchanged(self._cache, self._unchanged, self._digests)
        return News(self.findings, None)

    def since(self) -> Since | None:
        """What changed since the folder was put last; None where the cache cannot tell. To be asked before `news`."""
        cache, prefix, read = self._cache, self._prefix, self.findings
        if cache.manifest is None or not cache.is_whole or cache.prefix != prefix:
            return None
        if len(self.entries) != len(self._unchanged) + len(read.paths):
            return None
        before = [cache.digest_at(path) for path in read.paths]
        added = before.count(None)
        changed = [path for path, old, new in zip(read.paths, before, read.digests, strict=True) if old != new]
        gone: list[str] = []
        if len(self.entries) - added < len(cache.paths):
            gone = sorted(prefix + path for path in cache.paths if prefix + path not in self.entries)
        come = [self.entries[path] for path in sorted(prefix + path for path in changed)]
        return Since(cache.manifest, Difference(gone=gone, come=come), has_same_paths=not gone and not added)

    def _known(self, found: Found) -> int | None:
        if not self._cache.paths:
            return None
        try:
            return self._cache.unchanged(found.path, stamp_of(found.entry.stat()))
        except OSError:
            return None
