"""The root: the folder of one store, opened, with all that is in it.

format.json      which format this is, and the store's random id
catalog.db       the state, for queries; can be lost
ops/             the log, which is the truth
blobs/  packs/   bytes, in files of their own and together
stat_cache/      which files were hashed already; may be deleted
locks/  tmp/     live sessions and what they have not finished
runs/            which runs live on this machine
trash/           what `gc` took out, for a while
quarantine/      what was found damaged
reserve/         space that is given up where there is none left to free some
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from artstore.errors import (
    ArtstoreError,
    Conflict,
    Corrupt,
    NotFound,
    ReadOnlyStore,
    Refused,
    StorageFull,
    UpgradeNeeded,
)
from artstore.storage import reserve, rights, schema
from artstore.storage.blobs import Blobs
from artstore.storage.catalog import FILE_NAME, Catalog
from artstore.storage.database import PATIENCE_S
from artstore.storage.files import make_directory, random_hex, storage_errors, sync_directory, write_file
from artstore.storage.journal import Journal
from artstore.storage.manifests import Manifests
from artstore.storage.mounts import file_system, is_network
from artstore.storage.oplog import OpLog
from artstore.storage.sessions import Exclusive, Session, begin_epoch, current_epoch

T = TypeVar("T")

FORMAT: Final = 1
FORMAT_FILE: Final = "format.json"
_FOLDERS: Final = (
    *("ops", "blobs", "packs", "stat_cache", "locks", "runs", "tmp", "trash", "quarantine"),
    reserve.FOLDER,
)
_UNFINISHED: Final = (FILE_NAME, *(f"{FILE_NAME}-{end}" for end in ("wal", "shm", "journal")))
"""What a `create` that was killed, or still goes on, has made besides: such a folder can still be made a store."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What `format.json` says."""

    artstore: str = "store"
    format: int
    min_reader: int
    """The oldest format number whose artstore may read this store."""
    store_id: str
    created_at: float
    host: str | None = None
    """The only machine that may open the store, where it lies on a network file system."""
    open_to_others: bool = False
    """Whether the file system knows no rights, so that it cannot be said who may write here."""


class Root:
    """An open store on this machine's disk."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises Refused (not-utf8, open-to-others, other-host), NotFound (store-not-found), UpgradeNeeded."""
        _check_encoding()
        self.path = path
        with storage_errors("opening the store"):
            self.format = _read_format(path)
            _make_missing(path, self.format)
            _check_rights(path, self.format)
            # Newer formats may be read where they say so, and never written.
            newer = _newer(path, self.format) if self.format.format > FORMAT else None
            self.read_only = newer is not None or not os.access(path / "locks", os.W_OK)
            self.catalog = Catalog(path, read_only=self.read_only, refusal=newer)
        self.manifests = Manifests(self.catalog)
        self.blobs = Blobs(path, self.catalog)
        self.log = OpLog(path)
        self.damaged: dict[str, ArtstoreError] = {}
        """What keeps the catalog from following the log of a project."""
        self.followed: set[str] = set()
        """Projects of which this process knows that the catalog is of their log."""
        self.acknowledged: set[str] = set()
        """Projects of which this process was told that something is committed, when the catalog could not follow."""
        self.on_commit: Callable[[], None] | None = None
        """Is called when ops were committed that others may want, after all is done; raises nothing."""

    @classmethod
    def create(cls, path: Path, *, single_host: bool = False) -> Root:
        """Make a store in a folder that is empty or not there yet, or that was one and has lost its format file.

        Another that makes it is waited for. Raises Conflict (already-a-store, not-empty, not-a-folder), and Refused
        (not-utf8), and (network-file-system) unless single_host.
        """
        _check_encoding()
        with storage_errors(f"making a store in {str(path)!r}"):
            there = next((folder for folder in (path, *path.parents) if os.path.lexists(folder)), None)
            if there is not None and not there.is_dir():
                what = "a link to nothing" if there.is_symlink() else "not a folder"
                message = f"{str(there)!r} is {what}, so no store can be made in {str(path)!r}: name another place"
                raise Conflict(message, code="not-a-folder")
            make_directory(path)
            if (path / FORMAT_FILE).exists():
                message = f"{str(path)!r} is a store already: use it as it is"
                raise Conflict(message, code="already-a-store")
            # Another process may be making the store at this moment.
            strangers = sorted(set(os.listdir(path)) - {*_FOLDERS, *_UNFINISHED, FORMAT_FILE})
            if strangers and not _was_store(path):
                message = f"{str(path)!r} is not empty (it has {strangers[0]!r}): name a folder of the store's own"
                raise Conflict(message, code="not-empty")
            if is_network(path) and not single_host:
                message = (
                    f"{str(path)!r} lies on a network file system ({file_system(path)}), where two machines would "
                    "lose each other's commits: put the store on a disk of this machine, or say --single-host if no "
                    "other opens it"
                )
                raise Refused(message, code="network-file-system")
            is_closed = rights.close(path)
            for name in _FOLDERS:
                make_directory(path / name)
                rights.close(path / name)
        with Exclusive(path, "init", patience_s=PATIENCE_S), storage_errors(f"making a store in {str(path)!r}"):
            if (path / FORMAT_FILE).exists():
                message = f"{str(path)!r} was made a store just now: use it as it is"
                raise Conflict(message, code="already-a-store")
            catalog = Catalog(path, read_only=False)
            catalog.create()
            catalog.close()
            about = Format(
                format=FORMAT,
                min_reader=FORMAT,
                store_id=random_hex(16),
                created_at=time.time(),
                host=platform.node() if single_host and is_network(path) else None,
                open_to_others=not is_closed,
            )
            # Last: a folder without it is not a store yet, and may be made one again.
            write_file(path / "tmp", path / FORMAT_FILE, msgspec.json.format(msgspec.json.encode(about)) + b"\n")
            sync_directory(path)
        reserve.fill(path)
        return cls(path)

    def check_catalog(self) -> None:
        """Make sure that the catalog can be used.

        Raises Corrupt (catalog-damaged, catalog-missing), Refused (linked-catalog), UpgradeNeeded.
        """
        with storage_errors("opening the store"):
            is_there = (self.path / FILE_NAME).exists()
        if not is_there:
            message = (
                f"the catalog of {str(self.path)!r} is missing. Run `artstore rebuild`: the log has all that it held"
            )
            raise Corrupt(message, code="catalog-missing")
        self._check_alone()
        connection = self.catalog.connection
        with self.catalog.checked():
            version = schema.version_of(connection)
            schema.check_readable(connection, version)
        if version == 0:
            message = (
                f"the catalog of {str(self.path)!r} is empty. Run `artstore rebuild`: the log has all that it held"
            )
            raise Corrupt(message, code="catalog-missing")
        if not self.read_only:
            schema.check_writable(version)
        if version < schema.VERSION:
            self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        try:
            self._migrate()
        except (Refused, UpgradeNeeded) as refusal:
            # Nowhere to write: only this process has the newer one, so it must not write from here on.
            self.read_only = True
            self.catalog.load_into_memory(refusal)
            self._migrate()

    def _migrate(self) -> None:
        with self.catalog.write():
            if self.catalog.create():
                for project in self.catalog.projects():
                    Journal(self.catalog, project).fold_again()

    def _check_alone(self) -> None:
        """Raise Refused (linked-catalog) where the catalog is that of another store too."""
        with storage_errors("opening the store"):
            names = os.stat(self.path / FILE_NAME).st_nlink
        if names > 1:
            message = (
                f"the catalog of {str(self.path)!r} has a second name (a hard link, as `cp -l` makes), and two stores "
                f"that write into one file destroy it. Run `artstore --store {self.path} rebuild`: it makes one anew"
            )
            raise Refused(message, code="linked-catalog")

    def begin_epoch(self) -> int:
        """Begin a new epoch, before something is freed; answers the one that ends.

        The catalog says it first, and the folder of the sessions too: a catalog that says less than the folder is an
        older copy, which takes what was freed since for stored.
        """
        locks = self.path / "locks"
        epoch = max(current_epoch(locks), self.catalog.epoch())
        self.catalog.set_epoch(epoch + 1)
        begin_epoch(locks, epoch + 1)
        return epoch

    def session(self, verb: str) -> Session:
        """Begin a piece of work; what it relies on stays until it ends. Raises ReadOnlyStore."""
        try:
            return Session(self.path, verb)
        except ReadOnlyStore:
            # Not of a file among the locks, but of the store.
            self.catalog.check_writable()
            raise

    @contextlib.contextmanager
    def reading(self, verb: str) -> Iterator[None]:
        """As `session`, for who only reads; does without where there is no place for one.

        What a live version needs is never freed; a session is for the version that is deleted meanwhile.
        """
        with contextlib.ExitStack() as ending:
            if not self.read_only:
                with contextlib.suppress(StorageFull, ReadOnlyStore):
                    ending.enter_context(self.session(verb))
            yield

    def with_reserve(self, work: Callable[[], T], *, keep: int = 0) -> T:
        """Do what frees space, with the reserve where there is none left to do it in, but for so many files of it."""
        while True:
            try:
                return work()
            except StorageFull:
                if not reserve.release(self.path, keep=keep):
                    raise
            self.reconsider(has_more_room=True)
            self.catalog.settle()

    def reconsider(self, *, has_more_room: bool = False) -> None:
        """Write again where only a full disk prevented it, and does no longer. Raises Conflict (store-closed)."""
        self.check_open()
        if self.catalog.reconsider(has_more_room=has_more_room):
            self.read_only = False

    def check_open(self) -> None:
        """Raise Conflict (store-closed) where it is not any more."""
        self.catalog.check_open()

    def close(self) -> None:
        """Let go of the files, for good."""
        self.blobs.close()
        self.catalog.end()


def is_store(path: Path) -> bool:
    """Whether a folder holds a store."""
    return (path / FORMAT_FILE).is_file()


def holds_store(path: Path) -> bool:
    """Whether a folder is a store's own, even one that is damaged; a file of the format's name can be anybody's."""
    # os.path answers False for what may not be looked at, and a copy may lack the folders that were empty.
    return os.path.isfile(path / FORMAT_FILE) and os.path.isdir(path / "ops")


def _check_encoding() -> None:
    # Names in a store are UTF-8. What Python makes of a file's name in another encoding is another name, and a name
    # that the encoding lacks cannot be written.
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        message = (
            f"the names of files are read and written as {encoding!r} here, and a store keeps them as UTF-8: set "
            "PYTHONUTF8=1 before Python starts, or choose a UTF-8 locale (LC_ALL=C.UTF-8)"
        )
        raise Refused(message, code="not-utf8")


def _make_missing(path: Path, found: Format) -> None:
    """Make folders again that somebody deleted, or that a copy left out since they were empty."""
    missing = [path / name for name in _FOLDERS if not os.path.lexists(path / name)]
    if missing and found.format <= FORMAT and os.access(path, os.W_OK):
        for folder in missing:
            make_directory(folder)
            if not found.open_to_others:
                rights.close(folder)


def _read_format(path: Path) -> Format:
    try:
        data = (path / FORMAT_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if _was_store(path):
            message = (
                f"the store in {str(path)!r} has lost its {FORMAT_FILE!r}: take that of a backup, or run "
                f"`artstore init {path}`: all that the store holds is kept, and it gets a new id"
            )
            raise Corrupt(message, code="store-damaged") from error
        message = f"there is no store in {str(path)!r}: make one with `artstore init {path}`"
        raise NotFound(message, code="store-not-found") from error
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        found = msgspec.json.decode(data, type=Format)
        if found.artstore == "store":
            _check_format(path, found)
            return found
    message = (
        f"{str(path / FORMAT_FILE)!r} is not the format file of a store. If a store was here, move that file away and "
        f"run `artstore init {path}`: all that the store holds is kept, and it gets a new id"
    )
    raise Corrupt(message, code="store-damaged")


def _was_store(path: Path) -> bool:
    """Whether a folder has a store's log; where a `create` was killed, or goes on, that is empty."""
    log = path / "ops"
    beside = any(os.path.lexists(path / name) for name in (FILE_NAME, "packs", "blobs"))
    return beside and log.is_dir() and any(log.iterdir())


def _check_rights(path: Path, found: Format) -> None:
    if found.open_to_others:
        return
    for name in ("", *_FOLDERS):
        folder = path / name
        if folder.is_dir() and rights.is_open(folder):
            message = (
                f"others may write into {str(folder)!r}, so what this store says may be theirs: look whether it is as "
                f"it should be, then take that right away (chmod -R go-w {path})"
            )
            raise Refused(message, code="open-to-others")


def _check_format(path: Path, found: Format) -> None:
    if found.min_reader > FORMAT:
        raise _newer(path, found)
    if found.host is not None and found.host != platform.node():
        message = f"the store in {str(path)!r} belongs to the machine {found.host!r} alone: open it there"
        raise Refused(message, code="other-host")


def _newer(path: Path, found: Format) -> UpgradeNeeded:
    can = "cannot read" if found.min_reader > FORMAT else "reads and never writes"
    message = f"the store in {str(path)!r} has the format {found.format}, which this artstore {can}: "
    return UpgradeNeeded(f"{message}install a newer artstore", code="newer-store")
