"""Stores that file systems share: one open store for each folder and process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from artstore.discovery import Place, connect_remotes, here, open_place, project_here
from artstore.model.names import UNCATEGORIZED
from artstore.store import Store

_stores: dict[Path, tuple[tuple[int, int, int], Store]] = {}
"""By folder, with what its format file was when it was opened."""


class HereAndNow(type(AbstractFileSystem)):  # type: ignore[misc]  # fsspec has no types.
    """Decides which store and project are meant before fsspec looks for an instance with the same arguments."""

    def __call__(cls, store: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        place = here(None if store is None else Path(store).expanduser())
        folder = place.root.absolute()
        if _open_at(Place(folder, place.made_on_use)):
            cls.clear_instance_cache()
        options["project"] = options.get("project") or project_here() or UNCATEGORIZED
        return super().__call__(store=str(folder), **options)


def store_at(folder: str | os.PathLike[str]) -> Store:
    """The store in a folder that was opened by `HereAndNow`."""
    return _stores[Path(folder)][1]


def _open_at(place: Place) -> bool:
    """Have the store at a place in `_stores`; answers whether another one stood there before."""
    with contextlib.suppress(OSError):
        known = _stores.get(place.root)
        if known is not None and known[0] == _identity(place.root):
            connect_remotes(known[1])
            return False
    store = open_place(place).store
    before = _stores.pop(place.root, None)
    _stores[place.root] = _identity(place.root), store
    return before is not None


def _identity(folder: Path) -> tuple[int, int, int]:
    status = (folder / "format.json").stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns
