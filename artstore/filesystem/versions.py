"""The file system that fsspec knows as `artstore`: what is written to it becomes versions."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
from fsspec.compression import compr
from fsspec.core import get_compression

from artstore.errors import Invalid
from artstore.filesystem.files import Compressing, Ending, SmallFile, Text, Writing, opened
from artstore.filesystem.paths import IN_VERSION, check_free, inside, no_such_file
from artstore.filesystem.reading import SCHEME, Reading
from artstore.filesystem.transaction import Together
from artstore.lifecycle.change import Change
from artstore.model.names import Reference


class ArtstoreFileSystem(Reading):
    """The versions of a store as folders and files.

    `store` is the store's folder. Without it the store is found as by every door: ARTSTORE_DIR, the nearest
    `.artstore` from the working directory upward, the user's own. `project` is for paths that name none, `type` for
    collections that writing makes.

    What is not there is FileNotFoundError, what never changes PermissionError; what else goes wrong is artstore's own
    error. What a reference stands for is fetched when it is opened, whole, and compared before its first byte is given;
    where it is gone or another it is Corrupt. Safe to share between threads, to use after a fork and to pickle.
    """

    transaction_type = Together

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
                else SmallFile(data, path.removeprefix(SCHEME))
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
