"""Backup: a second store with all that the first had at one moment, made while others go on working.

Read in this order: the catalog, the log, the bytes. The log only grows, and a transaction is in it before it is in the
catalog, so the copied log has all that the copied catalog has folded; opening the copy folds the rest. Bytes are there
before a row or an op names them, so what is copied last holds all that both name. A session keeps what could be freed
meanwhile, but for packs that `gc` writes anew: where the copied catalog names a file that is gone, and that the first
store no longer names, a newer catalog is taken, with the log and the bytes that go with it.

Written in the other order, each part synced before the next: bytes, what is kept for others, log, catalog. So a backup
that is brought up to date and stopped half-way is the backup that it was, or better. A first one is no store before
`format.json` is there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, NamedTuple

from blake3 import blake3

from artstore.errors import Conflict, Corrupt, Refused
from artstore.lifecycle.backup_served import Served
from artstore.lifecycle.backup_target import check_not_diverged, check_target, finish, lay_out
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import BackupReport
from artstore.model.digest import Digest
from artstore.storage import packs, quarantine, whole
from artstore.storage.blobs import Blobs
from artstore.storage.catalog import Catalog
from artstore.storage.files import (
    make_directory,
    make_read_only,
    random_hex,
    read_exactly,
    reflink,
    storage_errors,
    sync_directory,
    sync_file,
)
from artstore.storage.marking import Marking
from artstore.storage.oplog import LogFile, read
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session, begin_epoch, current_epoch, live_sessions

TRIES: Final = 10
"""Catalogs that are taken before the store counts as never standing still."""
THREADS: Final = 4

_TAIL: Final = 64
"""Bytes at the end of a log file: they hold its digest."""
_READ_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_WRITE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

_How = Literal["copied", "reflinked", "kept", "gone", "unreadable", "damaged"]


class _Done(NamedTuple):
    """What became of one file."""

    name: str
    """Relative to the store."""
    how: _How
    size: int
    is_damaged: bool = False
    """Whether what was copied is not what its name says."""


def backup(root: Root, target: Path) -> BackupReport:
    """Make a folder hold all that this store holds at a moment of the run: a store, complete in itself, and synced.

    The folder is empty, not there yet, or an earlier backup of this store, of which only what is new is written. Bytes
    are shared where the file system can, which saves space and no disk. What is copied is checked; of what an
    earlier backup brought the log is, and bytes by their size: `verify` on the copy reads them, and what it puts aside
    is copied again by the next backup. Damage takes the place of nothing that an earlier backup has.
    What a server keeps for others goes along, its tokens too. Trash, quarantine and what is only half sent to a server
    stay behind. A file that the store itself has lost, or has only damaged, is in the report.

    The copy has the store's id, and takes over where the store is lost, on whatever machine. As long as both live,
    commit to one of them only: a log that was continued twice cannot be joined again.

    Raises Conflict (not-empty, other-store, diverged, in-use, locked, never-still) and Invalid (bad-target).
    """
    began = time.monotonic()
    target = target.absolute()
    check_target(root, target)
    with contextlib.ExitStack() as ending:
        ending.enter_context(storage_errors(f"backing up to {str(target)!r}"))
        if not root.read_only:
            ending.enter_context(root.session("backup"))
        lay_out(root, target)
        session = ending.enter_context(Session(target, "backup"))
        # A collection there would take new bytes for what a killed process left.
        ending.enter_context(Exclusive(target, "gc"))
        ending.enter_context(Exclusive(target, "hosting"))
        if live_sessions(target, but=session):
            message = f"others are at work in {str(target)!r}: repeat when they are done"
            raise Conflict(message, code="in-use")
        catch_up(root, thorough=True)
        check_not_diverged(root, target)
        copy = _Copy(root, target, session.scratch())
        ending.callback(copy.close)
        copy.take()
        copy.publish()
        finish(target)
    return BackupReport(
        target=str(target),
        copied_files=len(copy.sizes("copied")),
        copied_bytes=sum(copy.sizes("copied")),
        reflinked_files=len(copy.sizes("reflinked")),
        kept_files=len(copy.sizes("kept")),
        missing=copy.missing,
        seconds=time.monotonic() - began,
    )


class _Copy:
    """The copy while it is made."""

    def __init__(self, root: Root, target: Path, scratch: Path) -> None:
        self._root = root
        self._target = target
        self._scratch = scratch
        self._catalog = Catalog(scratch, read_only=False)
        self._logs: list[tuple[Path, Path]] = []
        self._served = Served(root.path, target, scratch)
        self._epoch = 0
        self._done: dict[str, _Done] = {}
        self._newer_packs: set[str] = set()
        """Those that the log names behind what the catalog has folded."""
        self.missing: list[str] = []
        """What the store itself has lost."""

    def sizes(self, how: _How) -> list[int]:
        """The sizes of the files, of the log and of bytes, that came to be there in this way."""
        return [done.size for done in self._done.values() if done.how == how]

    def close(self) -> None:
        """Let go of the files."""
        self._catalog.close()

    def take(self) -> None:
        """Bring a moment of the store together: bytes in their place, log and catalog in the scratch folder."""
        for _ in range(TRIES):
            _copy_catalog(self._root.catalog, self._catalog)
            # Not before the catalog: no row of it was condemned in a later epoch.
            self._epoch = current_epoch(self._root.path / "locks")
            self.missing = []
            self._newer_packs = set()
            self._logs = [pair for project in self._root.log.projects() for pair in self._stage_log(project)]
            self._served.list_slots()
            self._copy_bytes()
            named = _named(self._catalog)
            absent = [name for name in named if not os.path.exists(self._target / name)]
            if not absent or self._is_lost(absent):
                self.missing += [named[name] for name in absent]
                self._complete_catalog()
                return
        message = (
            "the store was collected all the while, so that no moment of it could be kept: repeat when `gc` is done"
        )
        raise Conflict(message, code="never-still")

    def publish(self) -> None:
        """Let what the store keeps for others, the log and the catalog follow the bytes."""
        for name in self._served.publish(self._copy_served):
            self.missing.append(name)
        for staged, place in self._logs:
            make_directory(place.parent)
            os.replace(staged, place)
        for folder in {place.parent for _staged, place in self._logs}:
            sync_directory(folder)
        catalog = Catalog(self._target, read_only=False)
        try:
            # Through SQLite, not over its file: whatever journal lies beside that one is heeded.
            _copy_catalog(self._catalog, catalog)
        finally:
            catalog.close()
        if self._epoch > current_epoch(self._target / "locks"):
            begin_epoch(self._target / "locks", self._epoch)

    def _copy_served(self, source: Path, place: Path, name: str) -> bool:
        done = self._copy_file(source, place, name)
        self._note(done)
        return done.how in {"copied", "reflinked"}

    def _complete_catalog(self) -> None:
        """Make the packs and large blobs known that became known while the catalog was copied, or after it.

        The log may not say all of it: a pack that was written anew since is in no transaction, and a large blob that
        was sent to a server in none of its own.
        """
        blobs = Blobs(self._target, self._catalog)
        named = Marking(self._catalog).pack_names()
        for name in sorted(done.name for done in self._done.values() if done.name.startswith("packs/")):
            path = self._target / name
            # One whose name is known may still lack rows: they come in several steps, before an op names the pack.
            if path.exists() and (path.name not in named or path.name in self._newer_packs):
                # What of it cannot be read is found by `verify`, as it would be in the store.
                with contextlib.suppress(Corrupt):
                    blobs.add_pack(path.name, path.stat().st_size, list(packs.members(path)), acquit=False)
        whole_digests = set(Marking(self._catalog).whole_digests())
        came = [(whole.digest_of(Path(done.name)), done) for done in self._done.values() if done.how != "gone"]
        blobs.add_whole(
            [
                whole.Stored(digest, (self._target / done.name).stat().st_size, b"")
                for digest, done in came
                if digest is not None and digest not in whole_digests and (self._target / done.name).exists()
            ]
        )

    def _stage_log(self, project: str) -> Iterator[tuple[Path, Path]]:
        """Copy the files of a log as they stand together at one time; answers each with the place it is to have."""
        known = self._catalog.project(project)
        last = 0 if known is None else known.seq
        for attempt in range(1, TRIES + 1):
            files = self._root.log.files(project)
            gap = _first_gap(files, last)
            if gap is not None and attempt < TRIES:
                # A folder that is listed while a segment takes the place of other files may show neither.
                continue
            staged = {file: self._stage(file, self._target / "ops" / project / file.path.name) for file in files}
            if attempt < TRIES and any(done.how == "gone" for done, _ in staged.values()):
                continue
            if gap is not None:
                self.missing.append(f"ops/{project}/{gap:012d}")
            for file, (done, path) in staged.items():
                self._note(done)
                place = self._target / done.name
                if done.how in {"gone", "unreadable", "damaged"}:
                    self.missing.append(done.name)
                    continue
                if file.last > last:
                    with contextlib.suppress(Corrupt):
                        self._newer_packs.update(read(place if done.how == "kept" else path).attachments.packs)
                if done.how != "kept":
                    yield path, place
            return

    def _stage(self, file: LogFile, place: Path) -> tuple[_Done, Path]:
        name = f"ops/{place.parent.name}/{place.name}"
        staged = self._scratch / f"log-{random_hex(8)}"
        with contextlib.suppress(FileNotFoundError):
            if _tail(file.path) == _tail(place) and _is_whole(place):
                return _Done(name, "kept", 0), staged
        try:
            # Under whatever name: a segment counts instead of the files of which the target has whole ones.
            read(file.path)
        except FileNotFoundError:
            return _Done(name, "gone", 0), staged
        except Corrupt:
            return _Done(name, "damaged", 0), staged
        return self._copy_file(file.path, staged, name), staged

    def _copy_bytes(self) -> None:
        """Copy the blobs and packs that the copy has not."""
        names = list(_files_below(self._root.path, "packs")) + list(_files_below(self._root.path, "blobs"))
        folders: set[Path] = set()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="artstore-backup") as pool:
            for done in pool.map(self._copy_one, names):
                self._note(done)
                if done.how == "damaged" or done.is_damaged:
                    self.missing.append(_word(done.name))
                if done.how in {"copied", "reflinked"}:
                    folders.add((self._target / done.name).parent)
        for folder in folders:
            sync_directory(folder)

    def _copy_one(self, name: str) -> _Done:
        source, place = self._root.path / name, self._target / name
        with contextlib.suppress(FileNotFoundError):
            # What has a name here got it whole and never changes; another size is damage, which is mended so.
            if os.lstat(place).st_size == os.lstat(source).st_size:
                return _Done(name, "kept", 0)
            if not _is_intact(source, name):
                return _Done(name, "damaged", 0)
        temporary = self._scratch / f"blob-{random_hex(8)}"
        done = self._copy_file(source, temporary, name)
        if done.how in {"copied", "reflinked"}:
            # What is damaged here is better than nothing, and half of a pack may be whole; but it is said.
            done = done._replace(is_damaged=not _is_intact(temporary, name))
            make_directory(place.parent)
            if place.is_dir() and not place.is_symlink():
                # No file can take its place, and what somebody has put there is not ours to delete.
                os.replace(place, self._target / quarantine.FOLDER / f"{time.time_ns()}-{place.name}")
            os.replace(temporary, place)
        return done

    def _copy_file(self, source: Path, place: Path, name: str) -> _Done:
        """Make a synced copy of a file that does not change; nothing is left of one that cannot be read."""
        try:
            source_fd = os.open(source, _READ_FLAGS)
        except FileNotFoundError:
            return _Done(name, "gone", 0)
        try:
            size = os.fstat(source_fd).st_size
            fd = os.open(place, _WRITE_FLAGS, 0o644)
            try:
                how: _How = "reflinked" if reflink(source_fd, fd) else "copied"
                if how == "copied":
                    whole.copy_file(source_fd, fd, limit=size)
                make_read_only(fd, place)
                sync_file(fd)
            finally:
                os.close(fd)
        except Refused:
            # The source fails, not the copy: the rest is worth all the more.
            os.unlink(place)
            return _Done(name, "unreadable", 0)
        finally:
            os.close(source_fd)
        return _Done(name, how, size)

    def _note(self, done: _Done) -> None:
        # A later round finds what an earlier one brought: that is no news.
        before = self._done.get(done.name)
        if before is None or done.how != "kept":
            self._done[done.name] = done

    def _is_lost(self, absent: list[str]) -> bool:
        """Whether all of these are gone for good, not moved to where a newer catalog says."""
        now = _named(self._root.catalog)
        unreadable = {done.name for done in self._done.values() if done.how == "unreadable"}
        return all(name in now and (name in unreadable or not (self._root.path / name).exists()) for name in absent)


def _is_intact(path: Path, name: str) -> bool:
    """Whether a file of bytes holds what its name in the store or its headers say."""
    try:
        fd = os.open(path, _READ_FLAGS)
        try:
            if not name.endswith(packs.SUFFIX):
                return whole.measure(fd).digest == whole.digest_of(Path(name))
            return all(
                blake3(read_exactly(fd, member.size, member.offset)).digest() == member.digest
                for member in packs.members(path)
            )
        finally:
            os.close(fd)
    except (Corrupt, OSError):
        return False


def _is_whole(log: Path) -> bool:
    try:
        read(log)
    except Corrupt:
        return False
    return True


def _word(name: str) -> str:
    """What a report calls a file of bytes."""
    digest = whole.digest_of(Path(name))
    return name if digest is None else str(digest)


def _copy_catalog(source: Catalog, target: Catalog) -> None:
    try:
        with target.checked():
            source.connection.backup(target.connection)
    except Corrupt:
        # The copy is new, so what is damaged is the source; unless that is whole.
        source.check()
        raise


def _named(catalog: Catalog) -> dict[str, str]:
    """The files of bytes that a catalog names, as paths in the store, each with the word for it in a report."""
    marking = Marking(catalog)
    names = {f"packs/{name}": f"packs/{name}" for name in marking.pack_names()}
    for digest in map(Digest, marking.whole_digests()):
        names[whole.path_of(Path(), digest).as_posix()] = str(digest)
    return names


def _first_gap(files: list[LogFile], last: int) -> int | None:
    """The first transaction that no file has, of those up to the newest file's and up to `last`."""
    expected = 1
    for file in files:
        if file.first > expected:
            return expected
        expected = file.last + 1
    return expected if expected <= last else None


def _tail(path: Path) -> tuple[int, bytes]:
    """The size of a log file and the digest at its end: equal for equal bytes only."""
    fd = os.open(path, _READ_FLAGS)
    try:
        size = os.fstat(fd).st_size
        return size, read_exactly(fd, _TAIL, max(size - _TAIL, 0))
    finally:
        os.close(fd)


def _files_below(store: Path, name: str) -> Iterator[str]:
    for folder, _below, names in os.walk(store / name):
        place = Path(folder).relative_to(store).as_posix()
        yield from (f"{place}/{each}" for each in sorted(names))
