"""Scan: which files a folder holds.

Links are followed, as `cp -rL` does; one that leads back to a folder above it is a problem. What cannot be kept is
collected, not raised at once, so that one run names all of it. `.artstoreignore` files have gitignore's syntax and
reach; they are files like others, and kept. A store's own folder is never part of what is put into a store, and
neither is another store, whose files make sense only as they are together at one moment.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from artstore.errors import Invalid
from artstore.lifecycle.patterns import together
from artstore.lifecycle.reports import Skipped
from artstore.model.paths import entry_path
from artstore.storage.files import storage_errors
from artstore.storage.root import FORMAT_FILE, holds_store

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE: Final = ".artstoreignore"
STORE_FOLDER: Final = ".artstore"
_VANISHED: Final = "it vanished"
_OF_THE_NAME: Final = frozenset({errno.ELOOP, errno.ENAMETOOLONG})
UNFINISHED: Final = ".artstore-"
"""How a checkout calls a file, with `.tmp` at its end, until it is whole."""


_Ignores = tuple[tuple[str, "GitIgnoreSpec"], ...]
"""Patterns that reach a folder, each with the prefix of the folder that holds them, the nearest last."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """A file to be read."""

    path: str
    """In the folder that was scanned: relative, `/` between components, in normal form."""
    source: str
    """Where the system finds it."""
    entry: os.DirEntry[str]


class _Folder(NamedTuple):
    source: str
    prefix: str
    identity: tuple[int, int]
    ignores: _Ignores


class Scan:
    """One walk over a folder."""

    def __init__(self, folder: Path, *, store: Path, ignore: Sequence[str] = ()) -> None:
        """Begin; `ignore` has patterns as the first `.artstoreignore` would. Raises Invalid (bad-pattern)."""
        self.folder = folder
        self.problems: list[Skipped] = []
        """What cannot be kept, by its place in the system, and why."""
        self.stores: list[Skipped] = []
        """Other stores that were met, which are left out."""
        self.empty_directories = 0
        self.links = 0
        """Symbolic links that were followed."""
        self.disks: dict[str, int] = {}
        """Folders on another disk than the one above them, without links in their paths, and the number of the disk."""
        self._ignores: _Ignores = (("", together(ignore)),) if ignore else ()
        with storage_errors("looking for the store in the sources"):
            self._store = os.stat(store)

    def files(self) -> Iterator[Found]:
        """Every file, each folder's in the order of their names."""
        try:
            status = os.stat(self.folder)
        except OSError as error:
            self.problem(str(self.folder), error.strerror or str(error))
            return
        top = _Folder(str(self.folder), "", (status.st_dev, status.st_ino), self._ignores)
        stack = [iter([top])]
        above: list[tuple[int, int]] = []
        while stack:
            folder = next(stack[-1], None)
            if folder is None:
                stack.pop()
                if above:
                    above.pop()
                continue
            if folder.identity in above:
                self.problem(folder.source, "a link that leads back to a folder above it", unkeepable=True)
                continue
            above.append(folder.identity)
            below: list[_Folder] = []
            yield from self._list(folder, below)
            stack.append(iter(below))

    def problem(self, source: str, reason: str, *, unkeepable: bool = False) -> None:
        """Note what cannot be kept; `unkeepable` if no right and no other time would help."""
        self.problems.append(Skipped(path=source, reason=reason, unkeepable=unkeepable))

    def _leave_store(self, path: str) -> None:
        self.stores.append(Skipped(path=path, reason="a store of its own; `artstore backup` copies one"))

    def _list(self, folder: _Folder, below: list[_Folder]) -> Iterator[Found]:
        try:
            with os.scandir(folder.source) as listing:
                entries = sorted(listing, key=attrgetter("name"))
        except OSError as error:
            self.problem(folder.source, error.strerror or str(error))
            return
        if not entries:
            self.empty_directories += 1
        # The disk is not asked of every folder.
        if folder.prefix and any(entry.name == FORMAT_FILE for entry in entries) and holds_store(Path(folder.source)):
            self._leave_store(folder.source)
            return
        ignores = self._ignores_in(folder, entries)
        if ignores is None:
            # What would have been left out is not known, so nothing of this folder is taken.
            return
        for entry in entries:
            try:
                found = self._visit(entry, folder, ignores, below)
            except Invalid as error:
                self.problem(entry.path, error.message, unkeepable=True)
            except OSError as error:
                self.problem(entry.path, error.strerror or str(error), unkeepable=error.errno in _OF_THE_NAME)
            else:
                if found is not None:
                    yield found

    def _ignores_in(self, folder: _Folder, entries: Sequence[os.DirEntry[str]]) -> _Ignores | None:
        """The patterns that reach what a folder has, its own file of them included; None if that cannot be read."""
        ignoring = next((entry for entry in entries if entry.name == IGNORE_FILE), None)
        if ignoring is None:
            return folder.ignores
        try:
            return (*folder.ignores, (folder.prefix, _read_patterns(ignoring)))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.problem(ignoring.path, reason, unkeepable=isinstance(error, Invalid))
            return None

    def _visit(self, entry: os.DirEntry[str], folder: _Folder, ignores: _Ignores, below: list[_Folder]) -> Found | None:
        if not ignores and entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
            # Nearly all of them.
            return Found(entry_path(folder.prefix + entry.name), entry.path, entry)
        return self._judge(entry, folder, ignores, below)

    def _judge(self, entry: os.DirEntry[str], folder: _Folder, ignores: _Ignores, below: list[_Folder]) -> Found | None:
        is_directory = _is_folder(entry)
        # Before anything is asked of it: what could not be kept is left out like all else.
        if ignores and _is_ignored(folder.prefix + entry.name, ignores, is_directory=is_directory):
            return None
        if entry.name == STORE_FOLDER and os.path.isfile(os.path.join(entry.path, FORMAT_FILE)):
            if not os.path.samestat(entry.stat(), self._store):
                self._leave_store(entry.path)
            return None
        if entry.name.startswith(UNFINISHED) and entry.name.endswith(".tmp"):
            # What a killed checkout left.
            return None
        path = entry_path(folder.prefix + entry.name)
        self.links += entry.is_symlink()
        if is_directory:
            status = entry.stat()
            if not os.path.samestat(status, self._store):
                if status.st_dev != folder.identity[0]:
                    self.disks[os.path.realpath(entry.path)] = status.st_dev
                below.append(_Folder(entry.path, path + "/", (status.st_dev, status.st_ino), ignores))
            return None
        if not entry.is_file():
            kind = _kind(entry)
            self.problem(entry.path, kind, unkeepable=kind != _VANISHED)
            return None
        return Found(path, entry.path, entry)


def check_folder(folder: Path, *, store: Path) -> None:
    """Raise Invalid (not-a-folder, own-store, other-store) for what no version of this store can hold."""
    if not folder.is_dir():
        message = f"{str(folder)!r} is not a folder"
        raise Invalid(message, code="not-a-folder")
    if store.resolve() in (folder.resolve(), *folder.resolve().parents):
        message = f"{str(folder)!r} is the store's own folder, or in it: `artstore backup` copies a store"
        raise Invalid(message, code="own-store")
    if holds_store(folder):
        message = (
            f"{str(folder)!r} is a store of its own, whose files change together: copy it with "
            f"`artstore --store {folder} backup DIR`, or put it as one file by way of tar"
        )
        raise Invalid(message, code="other-store")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, or where nobody may look: `is_file` says which.
        return False


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return "a link to nothing" if entry.is_symlink() else _VANISHED
    return describe_kind(mode)


def describe_kind(mode: int) -> str:
    """What a path is, where it is not a file that can be kept."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe (FIFO)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    )
    return next((f"it is {words}, not a file" for test, words in kinds if test(mode)), "it is not a file")


def _read_patterns(entry: os.DirEntry[str]) -> GitIgnoreSpec:
    if not entry.is_file():
        # Opening a pipe would wait for somebody who writes to it.
        raise ValueError(_kind(entry))
    lines: Any = Path(entry.path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return together(lines, line="line {}: ")


def _is_ignored(path: str, ignores: _Ignores, *, is_directory: bool) -> bool:
    for prefix, patterns in reversed(ignores):
        verdict = patterns.check_file(path[len(prefix) :] + ("/" if is_directory else "")).include
        if verdict is not None:
            return verdict
    return False
