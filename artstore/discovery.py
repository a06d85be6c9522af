"""Discovery: which store and which project are meant, for every door alike.

A store is, in this order, what the caller names, what ARTSTORE_DIR names, the nearest `.artstore` from the working
directory upward, or the user's own. One that ARTSTORE_DIR or the default names is made when it is first used; a name
that was given and an upward search name something that is there, and a typing error must not make another.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from artstore.errors import Conflict, NotFound, Refused
from artstore.lifecycle.ordering import REMOTES
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.upstream import HOSTED
from artstore.storage.rights import owner_is_another
from artstore.storage.root import Root
from artstore.store import Store as Hall

FOLDER: Final = ".artstore"
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class Store(Hall):
    """The store at the front door: what its remotes have is fetched when needed, and what is committed travels on."""

    def __init__(self, root: Root) -> None:
        """See artstore.store.Store: use `Store.open` or `Store.init`."""
        super().__init__(root)
        heed_s3_endpoint()
        connect_remotes(self)
        root.on_commit = partial(_nudge, root.path)


class Place(NamedTuple):
    """Where a store is, or should be."""

    root: Path
    made_on_use: bool


class Opened(NamedTuple):
    """A store, and whether it was made just now."""

    store: Hall
    made: bool


def find_place(named: Path | None, environment: Mapping[str, str], directory: Path | None) -> Place:
    """Decide which store is meant, seen from a directory; None where the working directory is gone.

    Raises Refused (other-owner) where the search upward meets another user's store, which nobody has named, and
    NotFound (store-not-found) where it meets something else of a store's name: what is put must not go to another store
    because a disk is not mounted.
    """
    if named is not None:
        return Place(named, made_on_use=False)
    if chosen := environment.get("ARTSTORE_DIR"):
        return Place(Path(chosen).expanduser(), made_on_use=True)
    if directory is not None:
        for parent in (directory, *directory.parents):
            # os.path answers False where a parent may not be looked into; Path.is_dir raises.
            if os.path.isdir(parent / FOLDER):  # noqa: PTH112
                _check_owner(parent / FOLDER, environment)
                return Place(parent / FOLDER, made_on_use=False)
            if os.path.lexists(parent / FOLDER):
                raise NotFound(_unlike_a_store(parent / FOLDER), code="store-not-found")
    # Loaded only here: it takes 8 ms, of every start.
    import platformdirs  # noqa: PLC0415

    # A folder of its own in the user's data: on some systems that is also where configuration lies.
    return Place(platformdirs.user_data_path("artstore", appauthor=False) / "store", made_on_use=True)


def _unlike_a_store(root: Path) -> str:
    what = "a link to nothing" if root.is_symlink() else "not a folder"
    then = "mount the disk that it leads to, or take it" if root.is_symlink() else "move it"
    return (
        f"{str(root)!r} is {what}, where the store of this folder should be: {then} away, or name another store with "
        "--store or ARTSTORE_DIR"
    )


def _check_owner(root: Path, environment: Mapping[str, str]) -> None:
    # Anybody can make a store in /tmp: what is put below it would go there.
    if owner_is_another(root, on_behalf_of=environment.get("SUDO_UID")):
        message = (
            f"the store in {str(root)!r} belongs to another user, and was found only by looking upward: if you mean "
            "it, name it with --store or ARTSTORE_DIR"
        )
        raise Refused(message, code="other-owner")


def here(named: Path | None = None) -> Place:
    """Which store is meant by this process, here and now."""
    return find_place(named, os.environ, _working_directory())


def open_place(place: Place) -> Opened:
    """Open the store at a place. Raises NotFound (store-not-found) where there is none and none may be made.

    Raises Conflict (not-empty) where one may be made, and something else lies.
    """
    try:
        return Opened(Store.open(place.root), made=False)
    except NotFound:
        if not place.made_on_use:
            raise
    try:
        return Opened(Store.init(place.root), made=True)
    except Conflict as error:
        if error.code != "already-a-store":
            raise
        # Another first user was faster; theirs is as good.
        return Opened(Store.open(place.root), made=False)


def connect_remotes(store: Hall) -> None:
    """Let a store that has remotes ask them for bytes; may be called again, for one that had none before."""
    if store.root.blobs.elsewhere is not None or not (store.path / REMOTES).exists():
        return
    # By name: the folder `sync` may be left out of an installation.
    if importlib.util.find_spec("artstore.sync") is not None:
        heed_tokens()
        importlib.import_module("artstore.sync.connect").connect(store)


def heed_tokens() -> None:
    """Let the server in ARTSTORE_SERVER be shown the token in ARTSTORE_TOKEN, others what the user's keyring has."""
    token, server = os.environ.get("ARTSTORE_TOKEN") or None, os.environ.get("ARTSTORE_SERVER") or None
    importlib.import_module("artstore.sync.http.tokens").give(token, server, _keyring)


def _keyring() -> Path:
    # As above.
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_config_path("artstore", appauthor=False) / "tokens.toml"


def _nudge(store: Path) -> None:
    """Let a store be kept up with its upstream, where that is wished; returns soon, raises nothing."""
    if (store / REMOTES).exists() and importlib.util.find_spec("artstore.sync") is not None:
        importlib.import_module("artstore.sync.nudge").nudge(store)


def push(store: Hall, project: str, progress: Progress | None) -> Any:
    """Send what waits of a project to its upstream: the report and the errors of `artstore.sync.rounds.exchange`."""
    heed_tokens()
    return importlib.import_module("artstore.sync.rounds").exchange(
        store, "push", projects=[project], progress=progress
    )


def remotes_of(store: Hall) -> list[Any]:
    """How it is with each remote of a store: `artstore.sync.standing.standings`."""
    if (store.path / REMOTES).exists() and importlib.util.find_spec("artstore.sync") is not None:
        found: list[Any] = importlib.import_module("artstore.sync.standing").standings(store)
        return found
    return []


def served_by(store: Hall) -> list[Any]:
    """What each project takes of a store that is a server: `artstore.sync.hosting.usage.served`."""
    if (store.path / HOSTED).exists() and importlib.util.find_spec("artstore.sync") is not None:
        found: list[Any] = importlib.import_module("artstore.sync.hosting.usage").served(store)
        return found
    return []


def mend_served(store: Hall) -> Any:
    """Put back slots that a store keeps for others, if it does: `artstore.sync.hosting.mend.mend_logs`."""
    if (store.path / HOSTED).exists() and importlib.util.find_spec("artstore.sync") is not None:
        return importlib.import_module("artstore.sync.hosting.mend").mend_logs(store)
    return None


def shared_work(store: Hall) -> Any:
    """What sends parts to the upstream of a store, `artstore.sync.parts`; None for a store without remotes."""
    if (store.path / REMOTES).exists() and importlib.util.find_spec("artstore.sync") is not None:
        connect_remotes(store)
        return importlib.import_module("artstore.sync.parts")
    return None


def heed_s3_endpoint() -> None:
    """Let AWS_S3_ENDPOINT_URL, W&B's word for another service than Amazon's, mean to AWS's libraries what theirs do.

    Theirs win where they are set.
    """
    wanted = os.environ.get("AWS_S3_ENDPOINT_URL")
    if wanted and not any(map(os.environ.get, _ENDPOINTS)):
        os.environ[_ENDPOINTS[0]] = wanted


def project_here() -> str | None:
    """The project that the environment chooses for references that do not say theirs."""
    return os.environ.get("ARTSTORE_PROJECT") or None


def names_another_store() -> bool:
    """Whether ARTSTORE_DIR stands in front of a store in the working directory."""
    return bool(os.environ.get("ARTSTORE_DIR"))


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def folders_of(program: str) -> tuple[Path, Path]:
    """The data folder and the cache folder that this system gives to another program."""
    # As above.
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_data_path(program), platformdirs.user_cache_path(program)
