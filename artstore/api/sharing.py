"""Sharing: what runs with stores of their own make together goes through the upstream of these stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from artstore.api.late import Late
from artstore.api.terminal import note

if TYPE_CHECKING:
    import artstore.discovery as discovery  # noqa: PLR0402 - the root is not imported from
    from artstore.lifecycle.reports import VersionInfo
    from artstore.store import Store
else:
    discovery = Late("artstore.discovery")


def send(store: Store, project: str, what: str, *, part: str | None = None) -> None:
    """Push what waits of a project, if the store has an upstream; if that cannot be, say that it waits, and why."""
    through = discovery.shared_work(store)
    _tell(what, None if through is None else through.send(store, project, part=part))


def finish(store: Store, project: str, make: Callable[[], VersionInfo], *, expect: int | None) -> VersionInfo:
    """Make a version of all parts that there are here and at the upstream; see artstore.sync.parts.finish."""
    through = discovery.shared_work(store)
    if through is None:
        return make()
    done: tuple[VersionInfo, str | None] = through.finish(store, project, make, expect=expect)
    version, waits = done
    _tell(version.name, waits)
    return version


def _tell(what: str, waits: str | None) -> None:
    if waits is not None:
        note(f"{what} waits here, and goes with the next `artstore push`: {waits}")
