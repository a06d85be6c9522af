"""Way: between one project of a store and its log on a remote."""

from __future__ import annotations

from typing import NamedTuple

from artstore.lifecycle.progress import Progress, Tick
from artstore.lifecycle.upstream import Followed, followed
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.choice import Choice
from artstore.sync.protocol import Remote, Shelf


class Way(NamedTuple):
    """Who moves what."""

    root: Root
    session: Session
    remote: Remote
    project: str
    join: bool
    """Whether to follow a log also where the project has one of its own."""
    progress: Progress | None
    only: Choice | None = None
    """The collections whose ops are offered; None: all."""
    renumber: bool = False
    """Whether versions may lose numbers that a log has given them, rather than wait for what comes before them."""

    @property
    def followed(self) -> Followed | None:
        """The log that the project follows, and how far."""
        return followed(self.root, self.project)

    @property
    def place(self) -> str:
        """What to call the other end in a message."""
        return f"project {self.project!r} at {self.remote.url}"

    def shelf(self, log: str) -> Shelf:
        """The objects of a log over there."""
        return self.remote.shelf(self.root, self.project, log)

    def tell(self, tick: Tick) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(tick)
