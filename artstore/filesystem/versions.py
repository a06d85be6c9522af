"""The file system that fsspec knows as `artstore`."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import msgspec
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem
from fsspec.transaction import Transaction

from artstore.errors import Conflict, Corrupt, Invalid, NotFound, ReferenceMissing
from artstore.filesystem.files import Compressing, Ending, LargeFile, SmallFile, Text, Writing, opened
from artstore.filesystem.globbing import split_pattern, versions_in, versions_like
from artstore.filesystem.opened import HereAndNow, store_at
from artstore.filesystem.paths import (
    ABOVE,
    IN_VERSION,
    Info,
    above,
    check_free,
    file_info,
    folder_info,
    inside,
    no_such_file,
    pinned,
    state_of,
    stretch,
    times,
)
from artstore.lifecycle.change import Change
from artstore.lifecycle.tree import Tree, VersionTree
from artstore.model.digest import Digest
from artstore.model.names import Reference

PROTOCOL: Final = "artstore"
_SCHEME: Final = f"{PROTOCOL}://"


class _Together(Transaction):  # type: ignore[misc]  # As above.
    """What is written in one `fs.transaction` becomes one version of each collection.

    One that is begun within another is part of it: all is kept when the outermost ends well, and nothing if any failed.
    """

    fs: Any
    files: Any

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self._depth = 0
        self._thread = 0
        self._is_failed = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # The inherited one would end the outermost as well.
        self.complete(commit=kind is None)

    def start(self) -> None:
        """Begin, or go on with, the transaction of this thread. Raises Conflict (transaction-open)."""
        if self._depth and self._thread != threading.get_ident():
            message = (
                "another thread has begun a transaction of this file system, and would commit what this one has half "
                "done: write in the one that is open, or use a file system with skip_instance_cache=True"
            )
            raise Conflict(message, code="transaction-open")
        if not self._depth:
            super().start()
            self._thread = threading.get_ident()
        self._depth += 1

    def complete(self, commit: bool = True) -> None:  # noqa: FBT001, FBT002  # fsspec's own signature.
        """Commit, or forget. Raises Conflict (transaction-failed) where one within it failed, and nobody was told."""
        self._depth -= 1
        self._is_failed = self._is_failed or not commit
        if self._depth > 0:
            return
        fs: Any = self.fs
        is_good = not self._is_failed
        try:
            for file in self.files:
                file.commit() if is_good else file.discard()
            if is_good:
                fs.commit_changes()
        finally:
            for file in self.files:
                file.discard()
            self.files.clear()
            fs.discard_changes()
            fs._intrans = False  # noqa: SLF001  # So does fsspec's.
            fs._transaction = None  # noqa: SLF001
            self.fs = None
        if commit and not is_good:
            message = "a transaction within this one failed, so nothing of either was kept: repeat all of it"
            raise Conflict(message, code="transaction-failed")


class ArtstoreFileSystem(AbstractFileSystem, metaclass=HereAndNow):  # type: ignore[misc]  # As above.
    """The versions of a store as folders and files.

    `store` is the store's folder. Without it the store is found as by every door: ARTSTORE_DIR, the nearest
    `.artstore` from the working directory upward, the user's own. `project` is for paths that name none, `type` for
    collections that writing makes.

    What is not there is FileNotFoundError, what never changes PermissionError; what else goes wrong is artstore's own
    error. What a reference stands for is fetched when it is opened, whole, and compared before its first byte is given;
    where it is gone or another it is Corrupt. Safe to share between threads, to use after a fork and to pickle.
    """

    protocol = PROTOCOL
    root_marker = ""
    transaction_type = _Together

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        *,
        project: str | None = None,
        type: str = "dataset",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        # HereAndNow has decided.
        assert store is not None
        assert project is not None
        self._store = store_at(store)
        self.project = project
        self.type = type
        self._changes: dict[str, Change] = {}
        """What the transaction gathers, from whichever thread."""
        self._own = threading.local()
        """What one call gathers in its thread."""
        self._near: tuple[str, str] | None = None
        """How the paths of the version begin that was read last, and the reference to it in them."""

    @property
    def fsid(self) -> str:
        """The same for all who see the same store."""
        return f"{PROTOCOL}-{self._store.id}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = str(path)
        return text.removeprefix(_SCHEME).strip("/")

    # What is there.

    def info(self, path: str, **_: Any) -> Info:
        """A file's name, size and digest; of a folder that it is one."""
        path = self._strip_protocol(path)
        found = IN_VERSION.match(path)
        if found is None:
            self._list_above(path)
            return folder_info(path)
        tree = self._tree(found[1], path)
        inner = inside(found[2])
        entry = tree.entry(inner) if inner else None
        if entry is not None:
            return file_info(path, entry, tree)
        if not tree.is_folder(inner):
            raise no_such_file(path)
        return {**folder_info(path), **times(tree)} if not inner else folder_info(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002  # As above.
        """What is in a folder; a file is alone in its list."""
        path = self._strip_protocol(path)
        found = IN_VERSION.match(path)
        if found is None:
            listed = [folder_info(name) for name in self._list_above(path)]
        else:
            tree = self._tree(found[1], path)
            inner = inside(found[2])
            folder = tree.folder(inner)
            before = f"{path}/"
            listed = [folder_info(before + name) for name in folder.folders]
            listed += [file_info(before + entry.path.rpartition("/")[2], entry, tree) for entry in folder.files]
            if not listed and inner:
                listed = [self.info(path)]
        return listed if detail else [info["name"] for info in listed]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002  # As above.
        detail: bool = False,  # noqa: FBT001, FBT002
        **_: Any,
    ) -> Any:
        """Every file below a path; with one query, however many folders there are."""
        path = self._strip_protocol(path)
        found = IN_VERSION.match(path)
        if found is None or maxdepth is not None:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail)
        infos: dict[str, Info] = {}
        with contextlib.suppress(FileNotFoundError):
            tree = self._tree(found[1], path)
            inner = inside(found[2])
            skip = len(inner) + 1 if inner else 0
            folder = ""
            if withdirs and tree.is_folder(inner):
                infos[path] = self.info(path)
            for entry in tree.files(inner):
                below = entry.path[skip:]
                if withdirs and (parent := below.rpartition("/")[0]) != folder:
                    folder = parent
                    infos.update((name, folder_info(name)) for name in above(path, parent) if name not in infos)
                name = f"{path}/{below}"
                infos[name] = file_info(name, entry, tree)
            if not infos and inner and (alone := tree.entry(inner)) is not None:
                infos[path] = file_info(path, alone, tree)
        names = sorted(infos)
        return {name: infos[name] for name in names} if detail else names

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> Any:
        """See fsspec. A pattern may also stand for versions, as in `cats:v*/loss.csv`, collections and projects."""
        pattern = split_pattern(str(path).removeprefix(_SCHEME).lstrip("/"))
        if pattern is None:
            return super().glob(path, maxdepth=maxdepth, **options)
        versions, rest = pattern
        found = [
            super(ArtstoreFileSystem, self).glob(f"{version}{rest}", maxdepth=maxdepth, **options)
            for version in versions_like(self._store, versions, self.project)
        ]
        if options.get("detail"):
            return {name: info for each in found for name, info in each.items()}
        return [name for each in found for name in each]

    def checksum(self, path: str) -> int:
        """The digest as a number: equal where the bytes are, whatever the path and the version.

        Of a reference it is that of its `ukey`, unless the digest of its bytes was recorded.
        """
        key = self.ukey(path)
        try:
            return int.from_bytes(Digest.parse(key))
        except Invalid:
            return int.from_bytes(Digest.of(key.encode()))

    def ukey(self, path: str) -> str:
        """The digest: `blake3:<hex>`. Of a reference without one, where it is and what tells its state."""
        path = self._strip_protocol(path)
        tree, inner = self._find_file(path)
        entry = tree.entry(inner) if inner else None
        if entry is None:
            raise self._why_no_file(path, tree, inner)
        return state_of(entry)

    def du(self, path: str, total: bool = True, maxdepth: int | None = None, **options: Any) -> Any:  # noqa: FBT001, FBT002
        """Bytes below a path, or those of each file; what stands behind a reference of unknown size counts as none."""
        sizes = super().du(path, total=False, maxdepth=maxdepth, **options)
        sizes = {name: size or 0 for name, size in sizes.items()}
        return sum(sizes.values()) if total else sizes

    def created(self, path: str) -> datetime:
        """When the version was committed, in UTC."""
        path = self._strip_protocol(path)
        self.info(path)
        found = IN_VERSION.match(path)
        tree = None if found is None else self._tree(found[1], path)
        if not isinstance(tree, VersionTree):
            message = f"{path!r} is not in a version that was committed"
            raise FileNotFoundError(errno.ENOENT, message, path)
        return datetime.fromtimestamp(tree.created_at, UTC)

    modified = created

    # Reading.

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a file, or of a stretch of it; negative numbers count from its end."""
        if start is None and end is None and (data := self._at_hand(path)) is not None:
            return data
        path = self._strip_protocol(path)
        tree, inner = self._find_file(path)
        is_whole = start is None and end is None
        with self._reading(path, tree, inner):
            if is_whole and (data := tree.small(inner)) is not None:
                return data
            with contextlib.closing(opened(tree, inner)) as reader:
                return reader.readall() if is_whole else stretch(reader, reader.size, start, end)

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Stretches of files, each file opened once."""
        if max_gap is not None:
            raise NotImplementedError
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if len(starts) != len(paths) or len(ends) != len(paths):
            message = f"{len(paths)} paths, {len(starts)} starts and {len(ends)} ends: give as many of each"
            raise ValueError(message)
        found: list[Any] = [b""] * len(paths)
        with contextlib.ExitStack() as opened:
            files: dict[str, Any] = {}
            for at, (path, start, end) in enumerate(zip(paths, starts, ends, strict=True)):
                try:
                    if path not in files:
                        files[path] = opened.enter_context(self.open(path, "rb"))
                    found[at] = stretch(files[path], files[path].size, start, end)
                except Exception as error:
                    if on_error != "return":
                        raise
                    found[at] = error
        return found

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: Any = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """See fsspec. A small file is read and verified at once, of a large one what is read of it."""
        if mode == "rb" and compression is None:
            data = self._at_hand(path)
            return (
                self._open_to_read(self._strip_protocol(path))
                if data is None
                else SmallFile(data, path.removeprefix(_SCHEME))
            )
        if "r" in mode:
            return super().open(path, mode, block_size, cache_options, compression, **options)
        how = {key: options.pop(key) for key in ("encoding", "errors", "newline") if key in options}
        binary = mode if "b" in mode else f"{mode.replace('t', '')}b"
        file = super().open(path, binary, block_size, cache_options, **options)
        if compression is not None:
            file = Compressing(compr[get_compression(path, compression)](file, mode="w"), file)
        return file if binary == mode else Text(file, **how)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,  # noqa: ARG002  # fsspec's own signature; blocks are those that are verified.
        autocommit: bool = True,  # noqa: FBT001, FBT002
        **_: Any,
    ) -> BinaryIO:
        if mode == "rb":
            return self._open_to_read(path)
        if mode not in {"wb", "xb", "ab"}:
            message = f"mode {mode!r} is not possible: a file is read (rb), written (wb), made (xb) or continued (ab)"
            raise ValueError(message)
        change, inner, is_alone = self._begin(path)
        ending = (Ending.AT_CLOSE if autocommit else Ending.WHEN_ASKED) if is_alone else Ending.TOGETHER
        writing = Writing(change, inner, path, ending, is_new=mode == "xb")
        try:
            check_free(change, inner, path, is_new=mode == "xb")
            if mode == "ab" and change.entry(inner) is not None:
                with self._reading(path, change, inner), opened(change, inner) as before:
                    writing.writelines(before.blocks())
        except BaseException:
            writing.discard()
            raise
        file: Any = writing
        return file  # type: ignore[no-any-return]

    def _open_to_read(self, path: str) -> BinaryIO:
        tree, inner = self._find_file(path)
        with self._reading(path, tree, inner):
            data = tree.small(inner)
            if data is not None:
                return SmallFile(data, path)
            return LargeFile(self, pinned(tree, path, inner), opened(tree, inner))

    # Writing.

    def put(self, *arguments: Any, **options: Any) -> None:
        """See fsspec. All of it is one version."""
        with self._together():
            super().put(*arguments, **options)

    def copy(self, *arguments: Any, **options: Any) -> None:
        """See fsspec. No bytes move, and all of it is one version."""
        with self._together():
            super().copy(*arguments, **options)

    def mv(self, *arguments: Any, **options: Any) -> None:
        """See fsspec. No bytes move, and all of it is one version of each collection."""
        with self._together():
            super().mv(*arguments, **options)

    def pipe(self, *arguments: Any, **options: Any) -> None:
        """See fsspec. All of it is one version."""
        with self._together():
            super().pipe(*arguments, **options)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: FBT001, FBT002
        """Make a version without some files; the versions that have them stay."""
        with self._together():
            for each in reversed(self.expand_path(path, recursive=recursive, maxdepth=maxdepth)):
                change, inner, _ = self._begin(each)
                if inner and change.entry(inner) is not None:
                    change.remove(inner)
                elif not recursive and maxdepth is None:
                    if change.is_folder(inner):
                        raise IsADirectoryError(errno.EISDIR, "a folder is removed with recursive=True", each)
                    raise no_such_file(each)

    def rm_file(self, path: str) -> None:
        """Make a version without a file."""
        self.rm(path)

    def _rm(self, path: str) -> None:
        self.rm(path)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Make a version that has a file of this store under another path. No bytes move."""
        source = self._strip_protocol(path1)
        if self.isdir(source):
            return
        with self._together():
            tree, inner = self._find_file(source)
            entry = tree.entry(inner)
            if entry is None:
                raise no_such_file(source)
            if isinstance(tree, Change):
                tree.settle()
            change, goal = self._begin(self._strip_protocol(path2))[:2]
            change.write_entry(msgspec.structs.replace(entry, path=goal))

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:  # noqa: ARG002, FBT001, FBT002
        """Do nothing, since folders are what paths imply. Raises FileExistsError where a file stands there."""
        self.makedirs(path, exist_ok=True)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        """Do nothing. Raises FileExistsError where something is there, or, with exist_ok, a file is."""
        path = self._strip_protocol(path)
        if self.isfile(path) or (not exist_ok and self.isdir(path)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def rmdir(self, path: str) -> None:
        """Do nothing: a folder without files is not there. Raises OSError where it has some."""
        path = self._strip_protocol(path)
        if self.isdir(path) and self.ls(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)

    def start_transaction(self) -> Any:
        """Begin a transaction; `with fs.transaction` also ends it. Raises Conflict (transaction-open)."""
        self.transaction.start()
        return self.transaction

    def end_transaction(self) -> None:
        """Commit what was written since `start_transaction`. Without one, do nothing."""
        if self._intrans:
            self.transaction.complete()

    def commit_changes(self) -> None:
        """Commit what a transaction has gathered: one version of each collection."""
        for change in self._changes.values():
            change.commit()

    def discard_changes(self) -> None:
        """Forget what a transaction has gathered and not committed."""
        for change in self._changes.values():
            change.discard()
        self._changes.clear()

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Make one version of each collection of what this thread does, or leave it to who gathers already."""
        if self._gathered() is not None:
            yield
            return
        gathered: dict[str, Change] = {}
        self._own.changes = gathered
        try:
            yield
            for change in gathered.values():
                change.commit()
        finally:
            self._own.changes = None
            for change in gathered.values():
                change.discard()

    def _gathered(self) -> dict[str, Change] | None:
        """What is to be committed together, if anything is."""
        own: dict[str, Change] | None = getattr(self._own, "changes", None)
        return self._changes if own is None and self._intrans else own

    def _begin(self, path: str) -> tuple[Change, str, bool]:
        """The change that a path belongs to, the path in it, and whether the change is for this path alone."""
        found = IN_VERSION.match(path)
        if found is None:
            message = "nothing can be written above versions; write to artstore://[project/]name:latest/…"
            raise PermissionError(errno.EPERM, message, path)
        reference = Reference.parse(found[1], project=self.project)
        inner = inside(found[2])
        gathered = self._gathered()
        change = None if gathered is None else gathered.get(str(reference))
        if change is not None:
            return change, inner, False
        try:
            fresh = self._store.change(str(reference), type=self.type)
        except Invalid as error:
            if error.code != "immutable-version":
                raise
            raise PermissionError(errno.EROFS, error.message, path) from error
        if gathered is None:
            return fresh, inner, True
        change = gathered.setdefault(str(reference), fresh)
        if change is not fresh:
            # Another thread was faster.
            fresh.discard()
        return change, inner, False

    # Where it is.

    def _at_hand(self, path: str) -> bytes | None:
        """All of a small file of the version that was read last, as most reads want it, without taking apart its path.

        None if it has to be looked for, or nothing is there.
        """
        if self._near is None or self._gathered() is not None or not isinstance(path, str):
            return None
        beginning, reference = self._near
        path = path.removeprefix(_SCHEME)
        if not path.startswith(beginning):
            return None
        try:
            return self._store.tree(reference, project=self.project).at_hand(path[len(beginning) :])
        except (NotFound, Invalid):
            return None

    def _tree(self, reference: str, path: str) -> Tree:
        """The version that a reference means; in a transaction what it is going to be."""
        gathered = self._gathered()
        if gathered:
            with contextlib.suppress(Invalid):
                change = gathered.get(str(Reference.parse(reference, project=self.project)))
                if change is not None:
                    return change
        try:
            return self._store.tree(reference, project=self.project)
        except (NotFound, Invalid) as error:
            raise FileNotFoundError(errno.ENOENT, error.message, path) from error

    def _find_file(self, path: str) -> tuple[Tree, str]:
        found = IN_VERSION.match(path)
        if found is None:
            self._list_above(path)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        tree = self._tree(found[1], path)
        if isinstance(tree, VersionTree):
            self._near = f"{found[1]}/", found[1]
        return tree, inside(found[2])

    @contextlib.contextmanager
    def _reading(self, path: str, tree: Tree, inner: str) -> Iterator[None]:
        """Turn what is said of a file that cannot be read into what users of fsspec expect."""
        try:
            yield
        except ReferenceMissing as error:
            # Not as a missing file, which the catalog knows it is not: zarr would take it for a part full of zeros.
            raise Corrupt(error.message, code=error.code) from error
        except NotFound as error:
            raise self._why_no_file(path, tree, inner) from error

    def _why_no_file(self, path: str, tree: Tree, inner: str) -> OSError:
        if tree.is_folder(inner):
            return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return no_such_file(path)

    def _list_above(self, path: str) -> list[str]:
        """The names in a folder above versions: projects, collections, or versions."""
        parts = path.split("/") if path else []
        projects = sorted({collection.project for collection in self._store.collections()})
        if not parts:
            return projects
        if parts[0] in projects and len(parts) == 1:
            return [f"{path}/{collection.name}" for collection in self._store.collections(parts[0])]
        if parts[0] in projects and len(parts) == ABOVE:
            with contextlib.suppress(NotFound, Invalid):
                return [f"{path}:{version}" for version in versions_in(self._store, path)]
        message = "there is no such project or collection; a file is artstore://[project/]name:alias/path"
        name, _, rest = path.partition("/")
        if any(collection.name == name for collection in self._store.collections(self.project)):
            message = f"no version is named; the latest is artstore://{name}:latest/{rest}"
        raise FileNotFoundError(errno.ENOENT, message, path)
