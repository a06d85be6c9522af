"""Drafts: what is being put together, and becomes a version.

What is added is stored when it is added: its digest is known at once, and later edits of the file do not matter. It
becomes durable, and can be seen, at commit.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Group
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from artstore.errors import ArtstoreError, Conflict, Invalid, NotFound, PathCollision, Problem, Refused, named
from artstore.lifecycle.again import Gathering, News, Since
from artstore.lifecycle.content import Content
from artstore.lifecycle.progress import Progress, Tick
from artstore.lifecycle.reading import OPEN_FLAGS, Reader, stood_still
from artstore.lifecycle.reports import Skipped, VersionInfo
from artstore.lifecycle.resolve import resolve, resolve_id
from artstore.lifecycle.scan import Found, Scan, check_folder, describe_kind
from artstore.model.digest import Digest
from artstore.model.manifest import BlobEntry, Entry, blob_of, pointer
from artstore.model.names import UNCATEGORIZED, Reference
from artstore.model.paths import entry_path, quoted
from artstore.storage import stat_cache
from artstore.storage.blobs import SMALL
from artstore.storage.files import AnyPath, as_path, read_into, read_some
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.stat_cache import NEVER, Known, StatCache, stamp_of
from artstore.storage.unseen import can_change_unseen
from artstore.storage.whole import Stored

TRIES: Final = 3
"""Reads of a file that changes meanwhile, before it is an error."""
_TICK_S: Final = 0.05


class Draft:
    """Entries for a version of one collection. End it with `commit_draft` or by leaving the `with`."""

    def __init__(self, root: Root, *, keep: bool = True, progress: Progress | None = None) -> None:
        """Begin. Where keep is False nothing is stored: digests and counts are found, and that is all."""
        root.catalog.check_writable()
        self.root = root
        self.session = root.session("put")
        self.intake = Intake(root, self.session, keep=keep)
        self._reader = Reader(self.intake)
        self._entries: dict[str, Entry] = {}
        self._is_one_folder = False
        """Whether the entries are what one scan found, and nothing else."""
        self._since: Since | None = None
        """What they are since the same folder was added last, where that is known."""
        self._is_portable = False
        """Whether no system has trouble with their paths, as far as anybody has looked."""
        self.skipped: list[Skipped] = []
        self.stores: list[Skipped] = []
        """Other stores in the folders that were added, which are left out."""
        self.warnings: list[str] = []
        """What the commit had to say, once it is done."""
        self.empty_directories = 0
        self.bytes = 0
        self._scanned: list[News] = []
        """Of folders that were added."""
        self._era = stat_cache.era(root.catalog)
        self._progress = progress
        self._ticked = 0.0
        self._more: tuple[int, int, Progress | None] = (0, 0, None)
        """Files and bytes of a folder that are in and not yet entries, and who is told."""
        self._has_ended = False

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What was added, by path."""
        return MappingProxyType(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def discard(self) -> None:
        """Forget what was not committed. May be called again, also after the commit."""
        self._has_ended = True
        self._reader.close()
        self.intake.close()
        self.session.end()

    def check_open(self) -> None:
        """Raise Conflict (draft-ended) where it was discarded: what it stored may be gone."""
        if self._has_ended:
            message = "this draft has ended, and what it stored is let go of: begin a new one"
            raise Conflict(message, code="draft-ended")

    def add_file(self, source: AnyPath, path: str | None = None, *, overwrite: bool = False) -> BlobEntry:
        """Add a file, under its own name if no other is given.

        Raises NotFound (source-not-found) and Invalid (not-a-file, bad-path), PathCollision where the path has other
        bytes already, unless overwrite, and Conflict (file-changed) where it does not stand still.
        """
        self.check_open()
        file = as_path(source)
        name = entry_path(file.name if path is None else path)
        try:
            known = self._read(str(file), name)
        except _Unreadable as problem:
            raise problem.typed(file) from problem
        entry = BlobEntry(name, known.digest, known.size)
        self._add(entry, overwrite=overwrite)
        return entry

    def add_stream(self, stream: BinaryIO, path: str, *, overwrite: bool = False) -> BlobEntry:
        """Add what a stream gives until it ends. Raises WrongType (not-bytes) where that is text."""
        self.check_open()
        name = entry_path(path)
        stored = self.intake.take_stream(stream, told=self._tick_within)
        entry = BlobEntry(name, stored.digest, stored.size)
        self._add(entry, overwrite=overwrite)
        return entry

    def add_directory(
        self,
        folder: AnyPath,
        prefix: str = "",
        *,
        skip_unreadable: bool = False,
        overwrite: bool = False,
        ignore: Sequence[str] = (),
        select: Callable[[Found, bool], bool] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add every file below a folder, or none where it raises; `progress` is told of it in place of the draft's own.

        Left out are what `ignore` has patterns of and what `select` answers False for, which is asked with each file
        and whether it is known to be unchanged.

        Raises Invalid (not-a-folder, own-store, other-store), Refused (unreadable) with all that could not be read, or
        Invalid (unkeepable) where only names and kinds of file are at fault, unless skip_unreadable: then `skipped` has
        it; and PathCollision where a path has other bytes already, unless overwrite.
        """
        self.check_open()
        folder = as_path(folder)
        self.check_folder(folder)
        self._more = 0, 0, progress
        start = f"{entry_path(prefix)}/" if prefix else ""
        where = os.path.abspath(folder)
        scan = Scan(folder, store=self.root.path, ignore=ignore)
        found = Gathering(where, start, self._usable_cache(where), self._era)

        def alone(file: Found) -> Known | None:
            try:
                return self._read(file.source, file.path)
            except _Unreadable as problem:
                scan.problem(file.source, problem.reason, unkeepable=problem.number == errno.EINVAL)
                return None

        for some in self._reader.read(found.unknown(scan, select), alone):
            found.add(some)
            self._tick(len(found.entries), found.bytes, progress)
        found.add_unchanged()
        self._tick(len(found.entries), found.bytes, progress)
        self.settle_problems(scan.problems, skip=skip_unreadable)
        self.stores += scan.stores
        is_first = not self._entries and not self._scanned
        self._add_all(found.entries, found.bytes, overwrite=overwrite)
        if is_first:
            self._is_one_folder, self._since = True, found.since()
        self._more = 0, 0, None
        self.empty_directories += scan.empty_directories
        self._scanned.append(found.news())

    def add_entry(self, entry: Entry, *, overwrite: bool = False) -> Entry:
        """Add an entry of a version that is here, or a reference to bytes that stay elsewhere; no bytes move."""
        return self._add(entry, overwrite=overwrite)

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """As add_entry, all of them or, where it raises PathCollision (path-taken), none."""
        self._add_all({entry.path: entry for entry in entries}, sum(e.size or 0 for e in entries), overwrite=False)

    def begin_again(self, entries: Iterable[Entry]) -> None:
        """Hold these entries and no others, whose bytes are here or were taken in before."""
        self._is_other()
        self._entries = {entry.path: entry for entry in entries}
        self.bytes = sum(entry.size or 0 for entry in self._entries.values())

    def add_link(
        self,
        source: VersionInfo | str,
        path: str,
        name: str | None = None,
        *,
        project: str = UNCATEGORIZED,
        overwrite: bool = False,
    ) -> Entry:
        """Add an entry that points to a file of another version, under the same path if no name is given.

        It says where the file comes from, and its bytes stay as long as this version does, whatever becomes of the
        other one. What is itself a pointer, or a reference, is taken over, so that each leads to its end in one step.
        Raises NotFound (…-not-found, path-not-found, version-deleted).
        """
        if isinstance(source, str):
            resolved = resolve(self.root, Reference.parse(source, project=project))
        else:
            resolved = resolve_id(self.root, source.project, source.id, source.ref)
        found = self.root.manifests.entry(resolved.manifest, entry_path(path))
        own = found.path if name is None else entry_path(name)
        if isinstance(found, BlobEntry):
            return self._add(pointer(own, resolved.project.name, resolved.version.id, found), overwrite=overwrite)
        return self._add(msgspec.structs.replace(found, path=own), overwrite=overwrite)

    def remove(self, path: str) -> int:
        """Remove a file, or every file below a folder; answers how many. Raises NotFound (path-not-found)."""
        name = entry_path(path)
        gone = [name] if name in self._entries else [p for p in self._entries if p.startswith(name + "/")]
        if not gone:
            message = f"the draft has no file and no folder {name!r}"
            raise NotFound(message, code="path-not-found")
        self._is_other()
        for each in gone:
            self.bytes -= self._entries.pop(each).size or 0
        return len(gone)

    def settle_problems(self, problems: list[Skipped], *, skip: bool) -> None:
        """Note what was left out, or raise Refused (unreadable), or Invalid (unkeepable), that names it."""
        if not problems:
            return
        if skip:
            self.skipped += problems
            return
        found = [Problem(problem.path, problem.reason) for problem in problems]
        message = (
            f"{len(problems)} of the sources cannot be kept, so nothing was taken: {named(found)}. Mend them, or "
            "leave them out: name them in .artstoreignore, or put with --skip-unreadable"
        )
        if all(problem.unkeepable for problem in problems):
            raise Invalid(message, code="unkeepable", problems=found)
        raise Refused(message, code="unreadable", problems=found)

    def sorted_entries(self) -> list[Entry]:
        """The entries in the order of a manifest."""
        return [self._entries[path] for path in sorted(self._entries)]

    def content(self) -> Content:
        """The entries with the digest of their manifest. Raises PathCollision for paths that cannot exist together."""
        content = Content.of(self.sorted_entries(), self._since)
        self._is_portable = not content.warnings
        return content

    def scratch(self) -> Path:
        """A folder on the store's disk for what is being written; gone with the draft."""
        return self.session.scratch()

    def check_still_stored(self, but: Group[Digest]) -> None:
        """Raise Corrupt (blob-missing) where bytes went out of the store since the draft began that it needs.

        Part of the commit transaction; the bytes `but` these.
        """
        if stat_cache.era(self.root.catalog) != self._era:
            blobs = [blob.digest for entry in self._entries.values() if (blob := blob_of(entry)) is not None]
            self.root.blobs.check_stored([digest for digest in blobs if digest not in but])

    def save_stat_caches(self, manifest: Digest) -> None:
        """Let the next scan of the same folders skip what was hashed now, which the committed manifest holds."""
        is_whole = self._is_one_folder and self._is_portable
        for findings, has_all in self._scanned:

            def holds(path: str, digest: Digest, prefix: str = findings.prefix) -> bool:
                entry = self._entries.get(prefix + path)
                return isinstance(entry, BlobEntry) and entry.digest == digest

            if has_all is not None:
                stat_cache.hand_over(self.root.path, manifest, findings, has_all, holds, is_whole=is_whole)
            elif self._is_one_folder:
                stat_cache.save(self.root.path, manifest, findings, is_whole=is_whole)
            else:
                stat_cache.save(self.root.path, manifest, findings, holds)

    def _is_other(self) -> None:
        """Note that the entries become something else than what one scan found."""
        self._is_one_folder = False
        self._since = None

    def _add(self, entry: Entry, *, overwrite: bool) -> Entry:
        before = self._entries.get(entry.path) if overwrite else self._check_free(entry)
        if before is not None:
            self.bytes -= before.size or 0
        self._is_other()
        self._entries[entry.path] = entry
        self.bytes += entry.size or 0
        self._tick()
        return entry

    def _add_all(self, new: dict[str, Entry], size: int, *, overwrite: bool) -> None:
        there = self._entries.keys() & new.keys()
        if not overwrite:
            for path in sorted(there):
                self._check_free(new[path])
        self._is_other()
        self.bytes += size - sum(self._entries[path].size or 0 for path in there)
        self._entries.update(new)

    def _check_free(self, entry: Entry) -> Entry | None:
        """What stands at the path already. Raises PathCollision (path-taken) where that is something else."""
        before = self._entries.get(entry.path)
        if before is not None and before != entry:
            message = f"{entry.path!r} was added already with other bytes: remove it first, or add under another name"
            raise PathCollision(message, code="path-taken")
        return before

    def check_folder(self, folder: Path) -> None:
        """Raise Invalid (not-a-folder, own-store, other-store) for what add_directory cannot take."""
        check_folder(folder, store=self.root.path)

    def _usable_cache(self, folder: str) -> StatCache:
        cache = stat_cache.load(self.root.path, folder, self._era)
        if cache.manifest is None or self.root.manifests.find(cache.manifest) is None:
            return StatCache()
        blobs = self.root.blobs
        if not blobs.has_all_packs():
            # What was in that one alone is stored again.
            digests = [cache.digest(at) for at in range(len(cache.paths))]
            known = blobs.known(digests)
            for at, digest in enumerate(digests):
                if digest not in known:
                    cache.disbelieve(at)
            return cache
        for at in cache.larger_than(SMALL):
            if not blobs.has_file(cache.digest(at), cache.size(at)):
                cache.disbelieve(at)
        return cache

    def _read(self, source: str, path: str) -> Known:
        """Store what a file holds, having made sure that it stood still meanwhile."""
        changed = False
        for _ in range(TRIES):
            try:
                fd = os.open(source, OPEN_FLAGS)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    # So the system refuses a socket, and a device that nothing drives.
                    raise _Unreadable(describe_kind(os.stat(source).st_mode), errno.EINVAL) from error
                raise _Unreadable(error.strerror or str(error), error.errno) from error
            try:
                before = os.fstat(fd)
                if not stat.S_ISREG(before.st_mode):
                    raise _Unreadable(describe_kind(before.st_mode), errno.EINVAL)
                size = before.st_size
                stamp = NEVER if can_change_unseen(fd, before) else stamp_of(before)
                if size > SMALL:
                    stored = self._take_file(fd, size)
                    if stored.size == size and stood_still(fd, before):
                        return Known(path, stamp, stored.digest, size)
                elif _read(fd, self.intake.slot(size + 1), size) == size and stood_still(fd, before):
                    return Known(path, stamp, self.intake.take_slot(size), size)
                changed = changed or not stood_still(fd, before)
            finally:
                os.close(fd)
        if not changed:
            reason = (
                f"it says that it has {size:,} bytes and gives others, as files do that the system makes while they "
                "are read: put what it gives by way of standard input (`-`)"
            )
            raise _Unreadable(reason, errno.EINVAL)
        raise _Unreadable(f"it changed during each of {TRIES} tries to read it", errno.EAGAIN)

    def _take_file(self, fd: int, size: int) -> Stored:
        try:
            return self.intake.take_file(fd, limit=size, told=self._tick_within)
        except Refused as error:
            # Of the source, or of the store? Only the source's own failure may be left out.
            if error.code != "unreadable":
                raise
            raise _Unreadable(error.message, errno.EIO) from error

    def _tick_within(self, done: int) -> None:
        """Say how far a large file is, on top of what was said last."""
        files, size, progress = self._more
        self._say(files, size + done, progress)

    def _tick(self, more_files: int = 0, more_bytes: int = 0, progress: Progress | None = None) -> None:
        self._more = more_files, more_bytes, progress
        self._say(more_files, more_bytes, progress)

    def _say(self, more_files: int, more_bytes: int, progress: Progress | None) -> None:
        told = progress or self._progress
        if told is not None and time.monotonic() - self._ticked > _TICK_S:
            self._ticked = time.monotonic()
            told(Tick("store", files=len(self._entries) + more_files, bytes=self.bytes + more_bytes))


class _Unreadable(Exception):
    """A source that cannot be kept, and why."""

    def __init__(self, reason: str, number: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number

    def typed(self, source: Path) -> ArtstoreError:
        """The error for the one file that was asked for."""
        # Whole, to be copied, but where no file can be called that.
        shown = quoted(str(source)) if self.number == errno.ENAMETOOLONG else repr(str(source))
        message = f"{shown} cannot be kept: {self.reason}"
        if self.number == errno.ENOENT:
            return NotFound(message, code="source-not-found")
        if self.number in {errno.EINVAL, errno.ENAMETOOLONG}:
            return Invalid(message, code="not-a-file")
        if self.number == errno.EAGAIN:
            return Conflict(message, code="file-changed")
        return Refused(message, code="unreadable")


def _read(fd: int, buffer: memoryview, size: int) -> int:
    """Read a file that should have so many bytes into a buffer of one more, so that growth shows."""
    try:
        got = read_some(fd, buffer)
        return got if got >= size else got + read_into(fd, buffer[got:])
    except OSError as error:
        raise _Unreadable(error.strerror or str(error), error.errno) from error
