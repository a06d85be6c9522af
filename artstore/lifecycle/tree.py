"""Trees: a version as folders and files, answered by the catalog.

A tree stays what it is: the entries are those of an immutable manifest. Folders are what paths imply, so there is no
empty one. Names are looked up one by one; only who reads many small files pays once to have all their places in memory.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from artstore.errors import Invalid, NotFound
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.resolve import Resolved, resolve
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Entry, ReferenceEntry, blob_of
from artstore.model.names import Reference
from artstore.storage.blob_reader import BlobReader
from artstore.storage.blobs import SMALL, Packed
from artstore.storage.catalog import Project
from artstore.storage.root import Root

_READS_BEFORE_ALL: Final = 32
"""Small files read one by one, before the places of all are fetched: about 2 µs each, a look-up takes 30. They are
fetched again after as many reads more, doubled each time: `gc` moves them."""
_MOST_PLACES: Final = 400_000
"""Entries of a version whose places are kept in memory: about 100 MB."""
_AHEAD: Final = 256 << 10
"""Bytes of small files that are brought along with the second one that is not here, four times as many with each after
it: one by one they would take a request, a pack and its syncs each."""
_MOST_AHEAD: Final = 64 << 20
_LOOKUP: Final = 5_000
_LOOK_S: Final = 0.05
"""Between two looks at the log, which take as long as reading a small file."""
_KEPT: Final = 8
"""Versions that stay at hand."""


class Folder(NamedTuple):
    """What is directly in a folder, by name."""

    folders: list[str]
    files: list[Entry]


class Tree(Protocol):
    """Folders and files. Paths are in normal form; `""` is the top folder, which is always there."""

    def entry(self, path: str) -> Entry | None:
        """The file at a path."""

    def is_folder(self, path: str) -> bool:
        """Whether there is a file below a path."""

    def folder(self, path: str) -> Folder:
        """What is in a folder; nothing where there is none."""

    def files(self, path: str = "") -> Iterator[Entry]:
        """Every file below a folder, by path."""

    def small(self, path: str) -> bytes | None:
        """All bytes, verified, of a file that is better read at once than opened; None for a large one or a reference.

        Raises NotFound (path-not-found).
        """

    def open(self, path: str) -> BlobReader:
        """A file, whose reads are verified. Raises NotFound (path-not-found), Invalid (is-a-reference)."""


class VersionTree:
    """The tree of a committed version."""

    def __init__(self, root: Root, resolved: Resolved) -> None:
        self._root = root
        self.version = resolved
        self._manifest = resolved.manifest
        self._packed: dict[str, Packed] = {}
        self._packs: dict[int, str] = {}
        self._reads_before_all = _READS_BEFORE_ALL
        self._reads = 0
        self._ahead = 0
        """Bytes of other small files that are brought along with the next one that is not here."""
        self._along: list[Digest] = []
        """Those that were brought along last."""

    @property
    def name(self) -> str:
        """The reference that always means this version: `project/cats:v3`."""
        return self.version.name

    @property
    def created_at(self) -> float:
        """When it was committed, in UTC seconds."""
        return self.version.version.created_us / 1e6

    def entry(self, path: str) -> Entry | None:
        """See Tree."""
        try:
            return self._root.manifests.entry(self._manifest, path)
        except NotFound:
            return None

    def is_folder(self, path: str) -> bool:
        """See Tree."""
        return not path or self._root.manifests.is_folder(self._manifest, path)

    def folder(self, path: str) -> Folder:
        """See Tree."""
        return Folder(*self._root.manifests.folder(self._manifest, path))

    def files(self, path: str = "") -> Iterator[Entry]:
        """See Tree."""
        manifests = self._root.manifests
        return manifests.entries_below(self._manifest, path) if path else manifests.entries(self._manifest)

    def is_here(self, digest: Digest) -> bool:
        """Whether the bytes of a blob are in this store, and need not be fetched."""
        return bool(self._root.blobs.places_of(digest))

    def at_hand(self, path: str) -> bytes | None:
        """All bytes of a small file, verified, if its place is in memory; None for every other path, in whatever form.

        The way of most reads: it asks nobody.
        """
        packed = self._packed.get(path)
        return None if packed is None else self._root.blobs.read_packed(packed, self._packs[packed[3]])

    def small(self, path: str) -> bytes | None:
        """See Tree."""
        data = self.at_hand(path)
        if data is not None:
            return data
        digest = digest_if_small(self.entry(path), path)
        if digest is None:
            return None
        self._reads += 1
        if self._reads >= self._reads_before_all and self.version.version.entries <= _MOST_PLACES:
            self._reads_before_all *= 2
            with self._root.catalog.snapshot():
                packs, packed = self._root.blobs.pack_names(), self._root.manifests.packed(self._manifest)
            # Other threads read meanwhile, so a place never comes before the name of its pack.
            self._packs = {**self._packs, **packs}
            self._packed = packed
        return self._root.blobs.read(digest, beside=lambda: self._beside(path))

    def _beside(self, path: str) -> list[Digest]:
        """The small files that come after a path, and then those before it, that are not here; more each time."""
        if self._along and not self._root.blobs.locate(self._along[:1]):
            # One of the last was damaged, so none of them came.
            self._ahead = 0
        budget, self._ahead = self._ahead, min(_MOST_AHEAD, max(_AHEAD, 4 * self._ahead))
        folder = path.rpartition("/")[0] if self.version.version.entries > _MOST_PLACES else ""
        after: list[BlobEntry] = []
        before: list[BlobEntry] = []
        for entry in self.files(folder) if budget else ():
            blob = blob_of(entry)
            if blob is not None and blob.size <= SMALL and entry.path != path:
                (after if entry.path > path else before).append(blob)
        self._along = self._absent([*after, *before], budget)
        return self._along

    def _absent(self, blobs: list[BlobEntry], budget: int) -> list[Digest]:
        """The first of them that are not here, as many as have so many bytes together."""
        found: list[Digest] = []
        for start in range(0, len(blobs), _LOOKUP):
            some = blobs[start : start + _LOOKUP]
            here = self._root.blobs.locate([blob.digest for blob in some])
            for blob in (each for each in some if each.digest not in here):
                budget -= blob.size
                if budget < 0:
                    return found
                found.append(blob.digest)
        return found

    def open(self, path: str) -> BlobReader:
        """See Tree."""
        return self._root.blobs.open(digest_of(self.entry(path), path))


class Trees:
    """The trees of a store, by reference. What a reference means is asked anew where anything changed."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._here = threading.local()
        self._looked = 0.0
        self._kept: dict[tuple[str, str], VersionTree] = {}

    def get(self, reference: str, project: str) -> VersionTree:
        """The tree of a version. Raises as `resolve`."""
        known = self._known()
        tree = known.get((reference, project))
        if tree is not None and not self._is_behind(tree.version.project):
            return tree
        self._root.reconsider()
        catch_up(self._root)
        # Kept under the state that it was asked in, whatever came meanwhile.
        known = self._known()
        tree = known[reference, project] = self._keep(resolve(self._root, Reference.parse(reference, project=project)))
        return tree

    def _known(self) -> dict[tuple[str, str], VersionTree]:
        state = self._root.catalog.state()
        here = self._here
        if getattr(here, "state", None) != state:
            here.state, here.known = state, {}
        known: dict[tuple[str, str], VersionTree] = here.known
        return known

    def _is_behind(self, project: Project) -> bool:
        """Whether a process was killed between its commit and telling the catalog; looked at now and then."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return False
        self._looked = now
        return self._root.log.has(project.name, project.seq + 1)

    def _keep(self, resolved: Resolved) -> VersionTree:
        key = resolved.version.id, resolved.name
        tree = self._kept.pop(key, None) or VersionTree(self._root, resolved)
        self._kept[key] = tree
        while len(self._kept) > _KEPT:
            with contextlib.suppress(KeyError, RuntimeError):
                # Another thread may be at it too.
                del self._kept[next(iter(self._kept))]
        return tree


def digest_if_small(entry: Entry | None, path: str) -> Digest | None:
    """The digest of a file that is better read at once than opened. Raises NotFound (path-not-found)."""
    if entry is None:
        raise _no_file(path)
    blob = blob_of(entry)
    return blob.digest if blob is not None and blob.size <= SMALL else None


def digest_of(entry: Entry | None, path: str) -> Digest:
    """The digest of a file's bytes. Raises NotFound (path-not-found), Invalid (is-a-reference)."""
    if entry is None:
        raise _no_file(path)
    blob = blob_of(entry)
    if blob is None:
        assert isinstance(entry, ReferenceEntry)
        message = f"{path!r} is a reference: its bytes are at {entry.uri!r}, not in this store"
        raise Invalid(message, code="is-a-reference")
    return blob.digest


def _no_file(path: str) -> NotFound:
    return NotFound(f"there is no file {path!r} in it", code="path-not-found")
