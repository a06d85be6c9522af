"""Discovery: which store and which project are meant. The only place that reads the environment and the home directory.

A store is, in this order, what `--store` names, what ARTSTORE_DIR names, the nearest `.artstore` from the working
directory upward, or the user's own. One that ARTSTORE_DIR or the default names is made when it is first used; `--store`
and an upward search name something that is there, and a typing error must not make another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import platformdirs

from artstore.cli.output import note
from artstore.errors import Conflict, NotFound
from artstore.model.names import UNCATEGORIZED
from artstore.store import Store

if TYPE_CHECKING:
    from artstore.cli.options import Call

FOLDER: Final = ".artstore"


class Place(NamedTuple):
    """Where a store is, or should be."""

    root: Path
    made_on_use: bool


def find_place(named: Path | None, environment: Mapping[str, str], directory: Path | None) -> Place:
    """Decide which store is meant, seen from a directory; None where the working directory is gone."""
    if named is not None:
        return Place(named, made_on_use=False)
    if chosen := environment.get("ARTSTORE_DIR"):
        return Place(Path(chosen).expanduser(), made_on_use=True)
    if directory is not None:
        for parent in (directory, *directory.parents):
            # os.path answers False where a parent may not be looked into; Path.is_dir raises.
            if os.path.isdir(parent / FOLDER):  # noqa: PTH112
                return Place(parent / FOLDER, made_on_use=False)
    # A folder of its own in the user's data: on some systems that is also where configuration lies.
    return Place(platformdirs.user_data_path("artstore", appauthor=False) / "store", made_on_use=True)


def find_store(call: Call) -> Path:
    """Name the folder of the store that is meant, without opening it."""
    return find_place(call.store, os.environ, _working_directory()).root


def open_store(call: Call) -> Store:
    """Open the store that is meant. Raises NotFound (store-not-found) where there is none and none may be made.

    Raises Conflict (not-empty) where one may be made, and something else lies.
    """
    place = find_place(call.store, os.environ, _working_directory())
    try:
        return Store.open(place.root)
    except NotFound:
        if not place.made_on_use:
            raise
    try:
        store = Store.init(place.root)
    except Conflict as error:
        if error.code != "already-a-store":
            raise
        # Another first user was faster; theirs is as good.
        return Store.open(place.root)
    if not call.json:
        note(f"made a store in {place.root}")
    return store


def project_of(call: Call) -> str:
    """Name the project of references that do not say theirs."""
    return chosen_project(call) or UNCATEGORIZED


def chosen_project(call: Call) -> str | None:
    """Name the project that was asked for; None means that nobody narrowed it down."""
    return call.project or os.environ.get("ARTSTORE_PROJECT") or None


def names_another_store() -> bool:
    """Whether ARTSTORE_DIR stands in front of a store in the working directory."""
    return bool(os.environ.get("ARTSTORE_DIR"))


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
