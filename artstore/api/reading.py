"""Reading: the files of a version, written to where a script wants them and looked at there."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from artstore.api.late import Late
from artstore.api.settings import download_folder, on_disk, system_path
from artstore.api.stores import users_errors
from artstore.api.terminal import note
from artstore.errors import Invalid, MissingFile

if TYPE_CHECKING:
    from artstore.lifecycle.reports import VersionInfo
    from artstore.references import fetch
    from artstore.store import Store
else:
    fetch = Late("artstore.references.fetch")

_SPECIAL: Final = re.compile(r"([\\*?\[\]!# ])")
"""Characters that mean something in a pattern."""


def download(
    store: Store,
    version: VersionInfo,
    root: object = None,
    *,
    path_prefix: object = None,
    allow_missing: bool = False,
) -> str:
    """Write the files below a folder; see Artifact.download. Answers the folder as it was given, or in full."""
    folder = _folder(root, version.name)
    patterns = [] if not path_prefix else [beginning_with(str(path_prefix))]
    with users_errors():
        report = store.get(
            version.exact, Path(folder), patterns=patterns, fetch=fetch.fetch, allow_missing=allow_missing
        )
    for missing in report.missing:
        note(f"left out {missing.path}: {missing.reason}")
    return folder


def checkout(store: Store, version: VersionInfo, root: object = None) -> str:
    """Make a folder hold the files of the version and no others."""
    folder = _folder(root, version.collection)
    with users_errors():
        store.get(version.exact, Path(folder), delete=True, fetch=fetch.fetch)
    return folder


def write_entry(store: Store, version: VersionInfo, path: str, root: object = None) -> str:
    """Write one file below a folder; answers where it is."""
    folder = _folder(root, version.name)
    with users_errors():
        store.get(version.exact, Path(folder), patterns=[exactly(path)], fetch=fetch.fetch)
    return str(Path(folder, path))


def open_file(store: Store, version: VersionInfo, path: str) -> BinaryIO:
    """A file of a version, to read."""
    with users_errors():
        return io.BufferedReader(store.open_file(version.exact, path, fetch=fetch.fetch))


def the_file(store: Store, version: VersionInfo, root: object = None) -> str:
    """Write the only file of a version. Raises Invalid (several-files)."""
    paths = [entry.path for entry in store.entries(version.exact)]
    if len(paths) != 1:
        message = f"{version.name} has {len(paths)} files and not one: call `.download()` to get all of them"
        raise Invalid(message, code="several-files")
    folder = str(Path("artifacts") / on_disk(version.name)) if root is None else root
    return write_entry(store, version, paths[0], folder)


def verify(store: Store, version: VersionInfo, root: object = None) -> None:
    """Raise where a folder does not hold the files of the version, byte for byte, and no others.

    Raises Invalid (not-a-member), MissingFile (file-missing), Invalid (digest-mismatch). References are not looked at.
    """
    folder = Path(download_folder(version.name)) if root is None else system_path(root, what="root")
    if not folder.is_dir():
        message = f"there is no folder {str(folder)!r}: download {version.name} first"
        raise MissingFile(message, code="file-missing")
    references = {entry.path for entry in store.entries(version.exact) if entry.digest is None}
    found = store.diff(version.exact, folder)
    strangers = sorted([*(entry.path for entry in found.added), *(each.after for each in found.renamed)])
    if strangers:
        message = f"found file {strangers[0]!r}, which is not a member of artifact {version.name}"
        raise Invalid(message, code="not-a-member")
    missing = sorted({*(e.path for e in found.removed), *(each.before for each in found.renamed)} - references)
    if missing:
        message = f"no such file: {missing[0]!r} of {version.name} is not in {str(folder)!r}"
        raise MissingFile(message, code="file-missing")
    changed = sorted({entry.path for entry in found.changed} - references)
    if changed:
        message = f"digest mismatch for file: {changed[0]!r} in {str(folder)!r} is not what {version.name} has"
        raise Invalid(message, code="digest-mismatch")
    if references:
        note(f"skipped verification of {len(references)} references of {version.name}")


def _folder(root: object, name: str) -> str:
    """The folder as it was given, slashes at its end and all, or that of this name in full."""
    if root is None:
        return download_folder(name)
    return root if isinstance(root, str) else str(system_path(root, what="root"))


def exactly(path: str) -> str:
    """The pattern that means one path."""
    return "/" + _SPECIAL.sub(r"\\\1", path)


def beginning_with(prefix: str) -> str:
    """The pattern that means all paths that begin so, in the middle of a name too."""
    return exactly(prefix) + "*"
