"""Reading: the versions of a store as folders and files, listed from the catalog and read from the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from fsspec.spec import AbstractFileSystem

from artstore.errors import Corrupt, Invalid, NotFound, ReferenceMissing
from artstore.filesystem.files import LargeFile, SmallFile, opened
from artstore.filesystem.globbing import split_pattern, versions_in, versions_like
from artstore.filesystem.opened import HereAndNow, store_at
from artstore.filesystem.paths import (
    ABOVE,
    IN_VERSION,
    Info,
    above,
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
SCHEME: Final = f"{PROTOCOL}://"


class Reading(AbstractFileSystem, metaclass=HereAndNow):  # type: ignore[misc]  # fsspec has no types.
    """What a file system answers without changing anything.

    In a transaction it answers as if what was gathered until now were committed.
    """

    protocol = PROTOCOL
    root_marker = ""

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
        return text.removeprefix(SCHEME).strip("/")

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

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002  # fsspec's own.
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
        withdirs: bool = False,  # noqa: FBT001, FBT002  # fsspec's own.
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
        pattern = split_pattern(str(path).removeprefix(SCHEME).lstrip("/"))
        if pattern is None:
            return super().glob(path, maxdepth=maxdepth, **options)
        versions, rest = pattern
        found = [
            super(Reading, self).glob(f"{version}{rest}", maxdepth=maxdepth, **options)
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

    def _open_to_read(self, path: str) -> BinaryIO:
        tree, inner = self._find_file(path)
        with self._reading(path, tree, inner):
            data = tree.small(inner)
            if data is not None:
                return SmallFile(data, path)
            return LargeFile(self, pinned(tree, path, inner), opened(tree, inner))

    # Where it is.

    def _at_hand(self, path: str) -> bytes | None:
        """All of a small file of the version that was read last, as most reads want it, without taking apart its path.

        None if it has to be looked for, or nothing is there.
        """
        if self._near is None or self._gathered() is not None or not isinstance(path, str):
            return None
        beginning, reference = self._near
        path = path.removeprefix(SCHEME)
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

    def _gathered(self) -> dict[str, Change] | None:
        """What is to be committed together, if anything is."""
        own: dict[str, Change] | None = getattr(self._own, "changes", None)
        return self._changes if own is None and self._intrans else own
