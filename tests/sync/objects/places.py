"""Places: one of each kind that can hold objects, with its real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from artstore.sync.objects.families import open_objects
from artstore.sync.objects.interface import Objects
from tests.servers import Servers


class Place(NamedTuple):
    """An empty place, which other processes can reach as well."""

    url: str
    races: int = 300
    """How often many can claim a name at once within a few seconds."""

    def open(self) -> Objects:
        """As one more host would have it."""
        return open_objects(self.url)


@contextlib.contextmanager
def _folder(servers: Servers, scratch: Path) -> Iterator[Place]:
    del servers
    scratch.mkdir()
    yield Place(f"file://{scratch}")


PLACES: Final[dict[str, Callable[[Servers, Path], contextlib.AbstractContextManager[Place]]]] = {"folder": _folder}
