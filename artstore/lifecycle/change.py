"""Changes: what is written over a version, and becomes the next one of its collection.

A change is seen as the version would be: what was there, with what was written and without what was removed. What is
written is stored at once; it can be seen by others, whole or not at all, after `commit`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from artstore.errors import Conflict, Invalid, NotFound
from artstore.lifecycle.commit_draft import Onto, commit_draft
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.label import Label
from artstore.lifecycle.reports import VersionInfo
from artstore.lifecycle.resolve import find_project
from artstore.lifecycle.tree import Folder, Trees, VersionTree, digest_if_small, digest_of
from artstore.model.manifest import BlobEntry, Entry
from artstore.model.names import LATEST, Reference, type_name
from artstore.model.paths import entry_path
from artstore.storage.blob_reader import BlobReader
from artstore.storage.blobs import SMALL
from artstore.storage.files import random_hex
from artstore.storage.root import Root

_TRIES: Final = 100
"""Commits by others that may come in between before it is an error."""


class Change:
    """A change of the version that an alias names. Several threads may write to it."""

    def __init__(self, root: Root, trees: Trees, reference: Reference, *, type: str) -> None:
        """Begin. The type is that of the collection if there is none yet.

        Raises Invalid (immutable-version) where the reference names a version by number or digest, and (bad-type).
        """
        alias = reference.alias
        if alias is None:
            message = f"{reference} never changes: write to an alias, as {reference.collection}:{LATEST}"
            raise Invalid(message, code="immutable-version")
        self.reference = reference
        self._alias = alias
        self._trees = trees
        self._type = type_name(type)
        self._base = self._find_base()
        self._written: dict[str, Entry | None] = {}
        """By path; None where it was removed."""
        self._new: set[str] = set()
        """Those that must not be there when they are committed."""
        self._unsettled = False
        self._lock = threading.RLock()
        self._draft = Draft(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written or removed."""
        return not self._written

    def discard(self) -> None:
        """Forget what was not committed. May be called again, also after the commit."""
        self._draft.discard()

    def scratch(self) -> Path:
        """A new name in a folder on the store's own disk, for a file to give to `write_scratch`."""
        return self._draft.session.scratch() / f"written-{random_hex(8)}"

    def write(self, path: str, data: bytes, *, is_new: bool = False) -> None:
        """Write a file of at most SMALL bytes; it must not be there at the commit where `is_new`."""
        assert len(data) <= SMALL
        name = entry_path(path)
        with self._lock:
            self._put(BlobEntry(name, self._draft.intake.take(data), len(data)), is_new=is_new)
            self._unsettled = True

    def write_scratch(self, path: str, scratch: Path, *, is_new: bool = False) -> None:
        """Write a file whose bytes are in a file named by `scratch`, which is gone afterwards."""
        name = entry_path(path)
        with self._lock:
            stored = self._draft.intake.take_scratch(scratch)
            self._put(BlobEntry(name, stored.digest, stored.size), is_new=is_new)
            self._unsettled = True

    def write_entry(self, entry: Entry) -> None:
        """Write a file of a version that is here, or of a settled change; no bytes move."""
        with self._lock:
            self._put(entry, is_new=False)

    def remove(self, path: str) -> None:
        """Remove a file. Raises NotFound (path-not-found)."""
        with self._lock:
            if self.entry(path) is None:
                message = f"there is no file {path!r} in it"
                raise NotFound(message, code="path-not-found")
            self._written[path] = None

    def commit(self) -> VersionInfo | None:
        """Make the version; durable when this returns. None where nothing changed.

        What others committed meanwhile stays: this change is then made to theirs. Raises PathCollision where a file
        would stand in the place of a folder, Conflict (path-exists) where a new file is there already.
        """
        for _ in range(_TRIES):
            with self._lock:
                base = self._base
                before: dict[str, Entry] = {}
                if base is not None:
                    before = {entry.path: entry for entry in base.files()}
                self._check_new(before)
                entries = dict(before)
                for path, entry in self._written.items():
                    if entry is None:
                        entries.pop(path, None)
                    else:
                        entries[path] = entry
                if entries == before:
                    return None
                self._draft.begin_again(entries.values())
                try:
                    return commit_draft(self._draft, self._label(), onto=self._onto(base)).version
                except Conflict as conflict:
                    if conflict.code != "moved-on":
                        raise
                    self._base = self._find_base()
        message = f"{self.reference} did not stand still for {_TRIES} tries to change it: repeat later"
        raise Conflict(message, code="moved-on")

    # As a Tree.

    def entry(self, path: str) -> Entry | None:
        """See Tree."""
        if path in self._written:
            return self._written[path]
        return None if self._base is None else self._base.entry(path)

    def is_folder(self, path: str) -> bool:
        """See Tree."""
        if not path:
            return True
        before = f"{path}/"
        touched = [entry for name, entry in list(self._written.items()) if name.startswith(before)]
        if any(touched):
            return True
        if self._base is None or not touched:
            return self._base is not None and self._base.is_folder(path)
        return next(self.files(path), None) is not None

    def folder(self, path: str) -> Folder:
        """See Tree."""
        before = f"{path}/" if path else ""
        folders: set[str] = set()
        files: dict[str, Entry] = {}
        if self._base is not None:
            there = self._base.folder(path)
            folders.update(name for name in there.folders if self.is_folder(before + name))
            files.update((entry.path, entry) for entry in there.files)
        for name, entry in list(self._written.items()):
            if not name.startswith(before):
                continue
            first, slash, _ = name[len(before) :].partition("/")
            if entry is None:
                files.pop(name, None)
            elif slash:
                folders.add(first)
            else:
                files[name] = entry
        return Folder(sorted(folders), [files[name] for name in sorted(files)])

    def files(self, path: str = "") -> Iterator[Entry]:
        """See Tree."""
        before = f"{path}/" if path else ""
        found = {} if self._base is None else {entry.path: entry for entry in self._base.files(path)}
        for name, entry in list(self._written.items()):
            if entry is None:
                found.pop(name, None)
            elif name.startswith(before):
                found[name] = entry
        yield from (found[name] for name in sorted(found))

    def small(self, path: str) -> bytes | None:
        """See Tree."""
        if digest_if_small(self.entry(path), path) is None:
            return None
        with self.open(path) as reader:
            return reader.readall()

    def open(self, path: str) -> BlobReader:
        """See Tree."""
        with self._lock:
            digest = digest_of(self.entry(path), path)
            if path in self._written:
                self.settle()
        return self._draft.root.blobs.open(digest)

    def settle(self) -> None:
        """Return when what was written is durable and can be read. It is in no version yet."""
        with self._lock:
            if self._unsettled:
                self._draft.intake.settle()
                self._unsettled = False

    def _put(self, entry: Entry, *, is_new: bool) -> None:
        if is_new:
            self._new.add(entry.path)
        self._written[entry.path] = entry

    def _check_new(self, before: Mapping[str, Entry]) -> None:
        there = next((path for path in self._new if path in before), None)
        if there is not None:
            message = f"{there!r} is there already: it was to be a new file"
            raise Conflict(message, code="path-exists")

    def _find_base(self) -> VersionTree | None:
        try:
            return self._trees.get(str(self.reference), self.reference.project)
        except NotFound as error:
            if error.code in {"project-not-found", "collection-not-found", "alias-not-found", "version-not-found"}:
                return None
            raise

    def _label(self) -> Label:
        return Label.checked(
            project=self.reference.project,
            name=self.reference.collection,
            type=self._type_there() or self._type,
            aliases=[] if self._alias == LATEST else [self._alias],
        )

    def _type_there(self) -> str | None:
        if self._base is not None:
            return self._base.version.collection.type
        try:
            _, view = find_project(self._draft.root, self.reference.project)
        except NotFound:
            return None
        collection = view.collection_named(self.reference.collection)
        return None if collection is None else collection.type

    def _onto(self, base: VersionTree | None) -> Onto:
        return Onto(self._alias, None if base is None else base.version.version.id)
