"""Backup target: the folder that becomes a backup, or is one already.

A first backup is marked as unfinished, and is no store, until it is whole. One that was stopped is gone on with.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from artstore.errors import Conflict, Corrupt, Invalid, UpgradeNeeded
from artstore.lifecycle.replay import catch_up
from artstore.storage import rights
from artstore.storage.files import make_directory, sync_directory, write_file
from artstore.storage.queries import Queries
from artstore.storage.root import FORMAT, Format, Root, is_store

FORMAT_FILE: Final = "format.json"
UNFINISHED: Final = "unfinished-backup.json"
"""What a first backup has in place of `format.json` until it is whole."""


def check_target(root: Root, target: Path) -> None:
    """Make sure that a folder may become a backup of this store.

    Raises Invalid (bad-target), Conflict (not-empty, other-store), and UpgradeNeeded for a store of a newer format.
    """
    if root.format.format > FORMAT:
        message = (
            f"the store has the format {root.format.format}, which this artstore may not copy: install a newer one"
        )
        raise UpgradeNeeded(message, code="newer-store")
    here, there = root.path.resolve(), target.resolve()
    if there == here or here in there.parents:
        message = f"{str(target)!r} lies in the store itself: name a folder elsewhere"
        raise Invalid(message, code="bad-target")
    if not target.exists():
        return
    if not target.is_dir():
        message = f"{str(target)!r} is a file: name a folder"
        raise Invalid(message, code="bad-target")
    if all(name.startswith(UNFINISHED) for _folder, _below, names in os.walk(target) for name in names):
        # Empty, or a run was stopped before it had left its mark.
        return
    about = next((name for name in (FORMAT_FILE, UNFINISHED) if (target / name).exists()), None)
    if about is None:
        message = f"{str(target)!r} is neither empty nor a backup: name another folder"
        raise Conflict(message, code="not-empty")
    with contextlib.suppress(msgspec.MsgspecError):
        if msgspec.json.decode((target / about).read_bytes(), type=Format).store_id == root.format.store_id:
            return
    message = f"{str(target)!r} holds another store: name another folder"
    raise Conflict(message, code="other-store")


def lay_out(root: Root, target: Path) -> None:
    """Make the folders, and the mark of a backup that is not finished."""
    make_directory(target)
    is_closed = rights.close(target)
    with os.scandir(root.path) as entries:
        for entry in entries:
            if entry.is_dir():
                make_directory(target / entry.name)
                rights.close(target / entry.name)
    if not is_store(target):
        # A copy that is bound to a machine would be of no use once that machine is gone.
        about = msgspec.structs.replace(root.format, host=None, open_to_others=not is_closed)
        write_file(target / "tmp", target / UNFINISHED, msgspec.json.format(msgspec.json.encode(about)) + b"\n")


def check_not_diverged(root: Root, target: Path) -> None:
    """Raise Conflict (diverged) where something was committed to the backup itself."""
    if not is_store(target):
        return
    copy = Root(target)
    try:
        copy.check_catalog()
        catch_up(copy, thorough=True, wait=True)
        queries = Queries(root.catalog)
        for project in copy.catalog.projects():
            if project.seq and queries.transaction_digest(project.name, project.log, project.seq) != project.head:
                message = (
                    f"project {project.name!r} in {str(target)!r} has commits that this store has not, so it is no "
                    "backup of it any more: name another folder"
                )
                raise Conflict(message, code="diverged")
    except Corrupt as error:
        message = (
            f"the backup in {str(target)!r} is damaged itself ({error.code}). Run `artstore --store {target} rebuild`, "
            "then repeat; or name another folder"
        )
        raise Corrupt(message, code=error.code) from error
    finally:
        copy.close()


def finish(target: Path) -> None:
    """Make a store of a first backup that is whole; the folder's names are on the disk afterwards."""
    if not is_store(target):
        os.replace(target / UNFINISHED, target / FORMAT_FILE)
    sync_directory(target)
