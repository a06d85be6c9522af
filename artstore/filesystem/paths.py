"""Paths of `artstore://`: what they mean, and what is said about what lies there."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from artstore.lifecycle.tree import Tree, VersionTree
from artstore.model.digest import ALGORITHM
from artstore.model.manifest import Entry, ReferenceEntry, blob_of
from artstore.model.paths import entry_path

IN_VERSION: Final = re.compile(r"((?:[^/:@]+/){0,2}[^/:@]+[:@][^/]*)(?:/(.*))?\Z", re.DOTALL)
ABOVE: Final = 2
"""Levels above versions: projects and collections."""

Info = dict[str, Any]


def check_free(tree: Tree, inner: str, path: str, *, is_new: bool) -> None:
    if is_new and tree.entry(inner) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    if tree.is_folder(inner):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def inside(path: str | None) -> str:
    """A path in a version, in normal form. Raises Invalid (bad-path)."""
    path = (path or "").lstrip("/")
    return entry_path(path) if path else ""


def above(path: str, folder: str) -> Iterator[str]:
    """The folders from a path down to one below it."""
    parts = folder.split("/") if folder else []
    for count in range(1, len(parts) + 1):
        yield "/".join([path, *parts[:count]])


def pinned(tree: Tree, path: str, inner: str) -> str:
    """A path that means the same file for ever, if the tree does not change."""
    return f"{tree.name}/{inner}" if isinstance(tree, VersionTree) else path


def stretch(file: Any, size: int, start: int | None, end: int | None) -> bytes:
    first, last, _ = slice(start, end).indices(size)
    file.seek(first)
    wanted = max(0, last - first)
    parts: list[bytes] = []
    while wanted and (data := file.read(wanted)):
        parts.append(data)
        wanted -= len(data)
    return b"".join(parts)


def folder_info(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory"}


def file_info(name: str, entry: Entry, tree: Tree) -> Info:
    if isinstance(entry, ReferenceEntry):
        about: Info = {"uri": entry.uri, "checksum": entry.checksum}
    else:
        about = {"digest": str(entry.digest)}
    # The name under which readers that keep copies look for what tells them that theirs is old.
    return {"name": name, "size": entry.size, "type": "file", **about, "ETag": state_of(entry), **times(tree)}


def state_of(entry: Entry) -> str:
    """Text that is another one where the bytes are others."""
    blob = blob_of(entry)
    if blob is not None:
        return str(blob.digest)
    assert isinstance(entry, ReferenceEntry)
    is_digest = entry.checksum.startswith(f"{ALGORITHM}:")
    return entry.checksum if is_digest else f"{entry.uri} {entry.checksum}"


def times(tree: Tree) -> Info:
    return {"created": tree.created_at} if isinstance(tree, VersionTree) else {}


def no_such_file(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
