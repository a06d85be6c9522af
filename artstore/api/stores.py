"""Stores: what this process has open, each with the queue of what is logged to it."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from artstore.api.background import Queue
from artstore.api.late import Late
from artstore.api.settings import setting
from artstore.api.terminal import note
from artstore.errors import AliasedArtifact, Conflict, Invalid, MissingArtifact, NotFound

if TYPE_CHECKING:
    import artstore.discovery as discovery  # noqa: PLR0402 - the root is not imported from
    from artstore.discovery import Place
    from artstore.lifecycle.reports import VersionInfo
    from artstore.store import Store
else:
    discovery = Late("artstore.discovery")

UNCATEGORIZED: Final = "uncategorized"
POINTERS: Final = ("artstore", "wandb-artifact")
"""Schemes of URIs that mean a file of a version."""

_open: Final[dict[Path, Hall]] = {}
_opening: Final = threading.RLock()
_found: Final[list[Place]] = []
"""The store that was found last by the working directory."""


class Hall:
    """A store that is open here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.queue = Queue()

    @property
    def store(self) -> Store:
        """The store, for the queue's own work."""
        return self._store

    def settled(self) -> Store:
        """The store, when all that this process has logged to it is there."""
        self.queue.drain()
        return self._store


def hall_here() -> Hall:
    """The store that is meant here and now, made if it is the user's own or ARTSTORE_DIR names it.

    Who goes on in a folder that has none, as scripts do whose launcher gives them one, stays with the one found before.
    """
    place = discovery.here()
    if not place.made_on_use:
        _found[:] = [place]
    elif _found and not discovery.names_another_store() and _found[0].root.exists():
        place = _found[0]
    return _hall(place)


def hall_at(root: Path) -> Hall:
    """The store in a folder. Raises NotFound (store-not-found)."""
    return _hall(discovery.Place(root, made_on_use=False))


def hall_for_once() -> Hall:
    """A store that is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="artstore-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _hall(discovery.Place(folder / "store", made_on_use=True), quietly=True)


def project_or_default(project: str | None) -> str:
    """The project that is meant: this one, the environment's, or else `uncategorized`."""
    return project or setting("PROJECT") or UNCATEGORIZED


def pointed_to(store: Store, uri: str) -> tuple[VersionInfo, str] | None:
    """The version and the path in it that `artstore://<project>/<version id>/<path>` means; None for any other URI.

    Raises MissingArtifact (version-not-found).
    """
    scheme, _, rest = uri.partition("://")
    project, _, rest = rest.partition("/")
    id_, _, path = rest.partition("/")
    if scheme not in POINTERS or not id_.startswith("blake3:") or not path:
        return None
    return version_of_id(store, id_, project=project), path


def named_by_uri(store: Store, uri: str, project: str) -> tuple[VersionInfo, str] | None:
    """The version and the path in it that `artstore://[[entity/]project/]name:alias/path` means; None for another URI.

    Raises MissingArtifact, Invalid (bad-reference).
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in POINTERS:
        return None
    parts = rest.split("/")
    end = next((number for number, part in enumerate(parts, 1) if ":" in part or "@" in part), len(parts))
    path = "/".join(parts[end:])
    if not path:
        message = f"{uri!r} names no file of a version: write artstore://[project/]name:alias/path"
        raise Invalid(message, code="bad-reference")
    with users_errors():
        return store.version("/".join(parts[:end]), project=project), path


def version_of_id(store: Store, id: str, *, project: str | None = None) -> VersionInfo:
    """The version with an id, of a project or of any. Raises MissingArtifact (version-not-found)."""
    found = next((match.version for match in store.find(id, project=project) if match.version.id == id), None)
    if found is None:
        message = f"no version here has the id {id!r}"
        raise MissingArtifact(message, code="version-not-found")
    return found


@contextlib.contextmanager
def users_errors() -> Iterator[None]:
    """Raise what W&B's users catch where something is not here, or an alias is in the way."""
    try:
        yield
    except NotFound as error:
        if type(error) is NotFound:
            raise MissingArtifact(error.message, code=error.code) from error
        raise
    except Conflict as error:
        if error.code in {"aliased", "linked"}:
            raise AliasedArtifact(error.message, code=error.code) from error
        raise


def _hall(place: Place, *, quietly: bool = False) -> Hall:
    with _opening:
        root = place.root.expanduser().absolute()
        hall = _open.get(root)
        if hall is None or not root.exists():
            opened = discovery.open_place(place)
            if opened.made and not quietly:
                note(f"made a store in {root}")
            hall = _open[root] = Hall(opened.store)
        return hall
