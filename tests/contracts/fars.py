"""Fars: one of each kind of place through which stores have the same, with its real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from artstore.sync.remotes import add_remote
from tests.servers import Servers
from tests.sync.bundle.conftest import Site, Stick
from tests.sync.conftest import Machine
from tests.sync.objects.places import PLACES, Opened, Place
from tests.sync.serving import ServerProcess, served, written


class Member(NamedTuple):
    """A store that has the same as others, by way of a far."""

    machine: Machine
    push: Callable[[], object]
    pull: Callable[[], object]


class Far:
    """A place that has nothing yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._members: list[Member] = []

    def join(self) -> Member:
        """One more store. The first is the only one until another joins."""
        self._members.append(self._join(f"member-{len(self._members)}"))
        return self._members[-1]

    def written(self) -> list[str]:
        """Names of all that was written there."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the stores."""
        for each in self._members:
            each.machine.store.close()

    def _join(self, name: str) -> Member:
        raise NotImplementedError


class _Remote(Far):
    """A remote, by its URL."""

    def __init__(self, folder: Path, url: str, names: Callable[[], list[str]]) -> None:
        super().__init__(folder)
        self._url = url
        self._names = names

    def written(self) -> list[str]:
        """See Far."""
        return self._names()

    def _join(self, name: str) -> Member:
        machine = Machine(self._folder, self._url, name)
        return Member(machine, machine.push, machine.pull)


class _Carried(Far):
    """A stick that is carried to and fro between the first store, whose log is the order, and each other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        stick = folder / "stick"
        stick.mkdir()
        self._stick = Stick(stick)

    def written(self) -> list[str]:
        """See Far."""
        return written(self._members[0].machine.store.path)

    def _join(self, name: str) -> Member:
        site = Site(self._folder, name)
        if not self._members:
            return Member(site, lambda: None, lambda: None)
        first = self._members[0].machine

        def pull() -> None:
            self._stick.carry(first, site, join=True)

        def push() -> None:
            pull()
            self._stick.carry(site, first)

        return Member(site, push, pull)


class _Mirrored(Far):
    """A mirror of the log of the first store, on which what the others made waits until that one takes it."""

    def __init__(self, folder: Path, place: Place) -> None:
        super().__init__(folder)
        self._place = place

    def written(self) -> list[str]:
        """See Far."""
        return list(self._place.open().names(""))

    def _join(self, name: str) -> Member:
        site = Site(self._folder, name)
        add_remote(site.store.path, "stick", self._place.url, upstream=False, join=bool(self._members))
        move = partial(site.move, remote="stick")
        if not self._members:
            return Member(site, partial(move, "push"), lambda: None)
        first = self._members[0].machine

        def push() -> None:
            move("sync")
            first.move("sync", remote="stick")

        return Member(site, push, partial(move, "pull"))


@contextlib.contextmanager
def _depot(opened: Callable[[Servers, Path], Opened], servers: Servers, folder: Path) -> Iterator[Far]:
    with opened(servers, folder / uuid4().hex) as place:
        yield _Remote(folder, place.url, lambda: list(place.open().names("")))


@contextlib.contextmanager
def _in_process(_servers: Servers, folder: Path) -> Iterator[Far]:
    with served(folder / "server") as server:
        yield _Remote(folder, server.url, server.written)


@contextlib.contextmanager
def _server(_servers: Servers, folder: Path) -> Iterator[Far]:
    with ServerProcess(folder / "server") as process:
        yield _Remote(folder, process.url, partial(written, process.folder))


@contextlib.contextmanager
def _mirror(opened: Callable[[Servers, Path], Opened], servers: Servers, folder: Path) -> Iterator[Far]:
    with opened(servers, folder / uuid4().hex) as place:
        yield _Mirrored(folder, place)


@contextlib.contextmanager
def _bundle(_servers: Servers, folder: Path) -> Iterator[Far]:
    yield _Carried(folder)


FARS: Final[dict[str, Callable[[Servers, Path], contextlib.AbstractContextManager[Far]]]] = {
    **{f"depot-{name}": partial(_depot, opened) for name, opened in PLACES.items()},
    "in-process": _in_process,
    "server": _server,
    "bundle": _bundle,
    "mirror": partial(_mirror, PLACES["folder"]),
}
FAR_MIRRORS: Final = {f"mirror-{name}": partial(_mirror, opened) for name, opened in PLACES.items() if name != "folder"}
"""Mirrors that are reached through a network. They are slow, and few contracts tell more of them than those above."""
