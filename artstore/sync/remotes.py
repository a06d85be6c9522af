"""Remotes: which places a store replicates to, noted in `remotes.toml` in its folder.

    [remotes.hub]
    url = "file:///shared/depot"
    upstream = true     # its log is the order; one remote at most
    join = true         # follow it also where a project has a log of its own
    background = true   # what is committed is pushed by a process of its own

    [remotes.hub.only."zoo/cats"]  # push no other collections
    id = "blake3:…"     # of the one that it stands for

Read when it is asked for, never kept: another process may change it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import tomli_w

from artstore.errors import Conflict, Invalid, NotFound
from artstore.lifecycle.ordering import REMOTES
from artstore.model.names import collection_name
from artstore.storage.files import storage_errors, write_file
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive
from artstore.sync.choice import Choice, Pick, called, settled
from artstore.sync.depots.depot import Depot
from artstore.sync.http.opening import Server, is_server, open_server
from artstore.sync.http.tokens import token_for
from artstore.sync.http.wire import READS
from artstore.sync.mirrors.mirror import Mirror
from artstore.sync.objects.families import open_objects
from artstore.sync.objects.folder import FolderObjects
from artstore.sync.objects.pacing import Pace, PacedObjects
from artstore.sync.objects.probe import probe
from artstore.sync.protocol import Remote
from artstore.sync.reports import RemoteInfo


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is noted of a remote."""

    url: str
    upstream: bool = False
    join: bool = False
    background: bool = False
    """Whether a process of its own keeps the store up with it, from each commit on."""
    only: dict[str, Pick] = {}
    """The collections that are pushed, by `project/collection` as it was chosen; all, if none is named."""
    token_file: str | None = None
    """Where the token for a server is, from the root of the file system on."""

    def chosen(self, project: str) -> Choice | None:
        """The collections of a project that are pushed; None: all."""
        if not self.only:
            return None
        start = f"{project}/"
        known = {each.removeprefix(start): picked for each, picked in self.only.items() if each.startswith(start)}
        return Choice(known)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    remotes: dict[str, Settings] = {}


def read_remotes(store: Path) -> dict[str, Settings]:
    """The remotes of the store in a folder, by name, the upstream first. Raises Invalid (bad-remotes)."""
    path = store / REMOTES
    try:
        with storage_errors("reading the remotes"):
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        found = msgspec.convert(tomllib.loads(text), _File).remotes
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        message = f"{str(path)!r} cannot be read: {error}. Mend it, or remove it and add the remotes again"
        raise Invalid(message, code="bad-remotes") from error
    return dict(sorted(found.items(), key=lambda item: (not item[1].upstream, item[0])))


def adding_again(store: Path, url: str) -> str:
    """The command that notes the remote at a place again, as far as an option more: `artstore remote add hub URL`."""
    name, upstream = next(
        ((name, it.upstream) for name, it in read_remotes(store).items() if it.url == url), ("NAME", True)
    )
    return f"artstore remote add {name} {url}{' --upstream' if upstream else ''}"


def add_remote(
    store: Path,
    name: str,
    url: str,
    *,
    upstream: bool,
    join: bool,
    background: bool = False,
    only: Mapping[str, Pick] | None = None,
    token_file: Path | None = None,
    instead_of: str | None = None,
) -> RemoteInfo:
    """Note a remote, having made sure that it does what it must; one of this name and URL gets the new settings.

    `only` has the collections that are pushed, by `project/collection`; a remote `instead_of` which this one is noted
    is forgotten, but for its collections and whether it is in the background. Raises Invalid (bad-name,
    not-the-upstream, unfit-remote, and what is wrong with the URL), Conflict (remote-exists, has-upstream),
    Unreachable, Denied.
    """
    collection_name(name)
    if background and not upstream:
        message = f"only the upstream is pushed to, so nothing would go to {name!r} in the background: add --upstream"
        raise Invalid(message, code="not-the-upstream")
    if only and not upstream:
        message = (
            f"only the upstream is pushed to by collections, and a mirror such as {name!r} gets all: add --upstream"
        )
        raise Invalid(message, code="not-the-upstream")
    file = None if token_file is None else str(token_file.absolute())
    settings = Settings(
        url=url, upstream=upstream, join=join, background=background, only=dict(only or {}), token_file=file
    )
    open_remote(settings)
    with Exclusive(store, "remotes"):
        known = read_remotes(store)
        old = None if instead_of is None else known.pop(instead_of, None)
        if old is not None and (instead_of, old.url) != (name, url):
            # What was to stay on this machine stays here.
            background = settings.background or old.background
            settings = msgspec.structs.replace(settings, background=background, only=settings.only or old.only)
        if name in known and known[name].url != url:
            message = f"the remote {name!r} is {known[name].url}: choose another name, or `artstore remote rm {name}`"
            raise Conflict(message, code="remote-exists")
        other = next((other for other, settings in known.items() if settings.upstream and other != name), None)
        if upstream and other is not None:
            message = f"{other!r} is the upstream of this store: `artstore remote rm {other}` first"
            raise Conflict(message, code="has-upstream")
        read_only = try_remote(settings)
        _write(store, {**known, name: settings})
    moved_from = None if old is None or old.url == url else old.url
    return msgspec.structs.replace(_info(name, settings), read_only=read_only, moved_from=moved_from)


def settle_choice(root: Root, name: str) -> Settings:
    """Note which collections the names have come to stand for that a remote was noted for: they go on to.

    Answers what is noted now. Raises NotFound (remote-not-found).
    """
    settings = find_remote(read_remotes(root.path), name)
    if settled(root, settings.only) == settings.only:
        return settings
    with Exclusive(root.path, "remotes", patience_s=PATIENCE_S):
        known = read_remotes(root.path)
        settings = find_remote(known, name)
        settings = msgspec.structs.replace(settings, only=settled(root, settings.only))
        _write(root.path, {**known, name: settings})
    return settings


def remove_remote(store: Path, name: str) -> RemoteInfo:
    """Forget a remote; nothing that is there, or came from there, is touched. Raises NotFound (remote-not-found)."""
    with Exclusive(store, "remotes"):
        known = read_remotes(store)
        settings = find_remote(known, name)
        _write(store, {other: kept for other, kept in known.items() if other != name})
    return _info(name, settings)


def list_remotes(root: Root) -> list[RemoteInfo]:
    """What is noted, the upstream first, with the collections as they are called now."""
    found: list[RemoteInfo] = []
    for name, settings in read_remotes(root.path).items():
        names = called(root, settings.only)
        info = _info(name, settings)
        found.append(
            msgspec.structs.replace(info, only=sorted(names), unknown=sorted(each for each in names if not names[each]))
        )
    return found


def find_remote(known: dict[str, Settings], name: str) -> Settings:
    """What is noted of a remote. Raises NotFound (remote-not-found)."""
    if name not in known:
        there = ", ".join(known) or "none"
        message = f"there is no remote {name!r} (there is: {there}): `artstore remote add` notes one"
        raise NotFound(message, code="remote-not-found")
    return known[name]


def upstream_of(store: Path) -> tuple[str, Settings]:
    """The upstream of a store. Raises NotFound (no-upstream)."""
    found = next(((name, each) for name, each in read_remotes(store).items() if each.upstream), None)
    if found is None:
        message = "this store has no upstream: `artstore remote add NAME URL --upstream` names one"
        raise NotFound(message, code="no-upstream")
    return found


def open_remote(settings: Settings, pace: Pace | None = None) -> Remote:
    """A remote, which is not asked for anything yet; its bytes go at a pace, if one is given.

    Raises Invalid and NotFound as `open_objects`.
    """
    if is_server(settings.url):
        return _server(settings, pace)
    objects = open_objects(settings.url)
    return Depot(objects if pace is None else PacedObjects(objects, pace))


def open_mirror(settings: Settings, pace: Pace | None = None) -> Mirror | None:
    """What a remote mirrors; None where it is the upstream, or a server, which mirrors nothing."""
    if settings.upstream or is_server(settings.url):
        return None
    objects = open_objects(settings.url)
    return Mirror(objects if pace is None else PacedObjects(objects, pace))


def token_of(settings: Settings) -> str | None:
    """The token that is shown to a server now; None where there is none. Raises as `open_remote`."""
    return token_for(settings.url, settings.token_file) if is_server(settings.url) else None


def try_remote(settings: Settings) -> bool:
    """Find out whether a remote is there and does what it must. Answers whether its token may only read there.

    Raises Invalid (unfit-remote), Unreachable, Denied.
    """
    if is_server(settings.url):
        return _server(settings).about().scope == READS
    objects = open_objects(settings.url)
    if isinstance(objects, FolderObjects):
        objects.check_apart()
    probe(objects)
    return False


def _info(name: str, settings: Settings) -> RemoteInfo:
    return RemoteInfo(
        name=name,
        url=settings.url,
        upstream=settings.upstream,
        background=settings.background,
        only=list(settings.only),
        unknown=[each for each, picked in settings.only.items() if picked.id is None],
    )


def _server(settings: Settings, pace: Pace | None = None) -> Server:
    return open_server(settings.url, token_of(settings), pace)


def _write(store: Path, remotes: dict[str, Settings]) -> None:
    with storage_errors("noting the remotes"):
        data = tomli_w.dumps(msgspec.to_builtins(_File(remotes)))
        write_file(store / "tmp", store / REMOTES, data.encode())
