"""Snippets: how a version is used, to be copied.

A reference has only letters that mean nothing to a shell or in a string; a path may have others, and is quoted.
"""

from __future__ import annotations

from shlex import quote
from typing import NamedTuple

from artstore.lifecycle.reports import ConflictInfo, MovedNumber, VersionInfo

_SHOWN = 12


class Snippet(NamedTuple):
    """A few lines, and where they are at home."""

    title: str
    text: str


def of_version(version: VersionInfo) -> list[Snippet]:
    """How a whole version is used."""
    return [
        Snippet("Command line", f"artstore get {quote(version.ref)} {quote(version.collection)}"),
        Snippet(
            "Python, in a run",
            "import artstore\n\n"
            f"with artstore.init(project={version.project!r}) as run:\n"
            f"    used = run.use_artifact({version.ref!r})\n"
            "    folder = used.download()",
        ),
        Snippet("fsspec", f"import fsspec\n\nfs = fsspec.filesystem('artstore')\nfs.find({version.ref!r})"),
    ]


def of_file(version: VersionInfo, path: str) -> list[Snippet]:
    """How one file is used."""
    url = f"artstore://{version.ref}/{path}"
    return [
        Snippet("Command line", f"artstore cat {quote(version.ref)} {quote(path)}"),
        Snippet("fsspec", f"import fsspec\n\nwith fsspec.open({url!r}) as file:\n    data = file.read()"),
    ]


def of_conflict(conflict: ConflictInfo) -> list[str]:
    """The commands that settle it, of which one is to be chosen."""
    begin = f"artstore resolve {conflict.id.rpartition(':')[2][:_SHOWN]}"
    ways = {"alias": ["--mine"], "type": ["--rename NAME"], "edit": []}[conflict.kind]
    return [f"{begin} {way}" for way in (*ways, "--theirs")]


def of_moved(moved: MovedNumber) -> list[str]:
    """The command that accepts the numbers of its collection."""
    return [f"artstore numbers accept {quote(f'{moved.project}/{moved.collection}')}"]
