"""Past: runs as others look at them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from artstore.api.facts import written_time
from artstore.api.filters import unknown_field
from artstore.api.naming import checked_aliases, checked_tags
from artstore.api.paginator import Paginator
from artstore.api.stores import Hall, users_errors
from artstore.errors import Invalid

if TYPE_CHECKING:
    from artstore.lifecycle.reports import RunInfo, VersionInfo
    from artstore.store import Store

A = TypeVar("A")


class PastRun(Generic[A]):
    """A run of the store, over or not. `A` is what its artifacts are shown as."""

    def __init__(self, hall: Hall, info: RunInfo, show: Callable[[VersionInfo], A], *, owner: str) -> None:
        self._hall = hall
        self._info = info
        self._show = show
        self._owner = owner

    @property
    def id(self) -> str:
        """Unique in its project."""
        return self._info.id

    @property
    def name(self) -> str:
        """What people call it; its id if nobody does."""
        return self._info.name

    @property
    def display_name(self) -> str:
        """As `name`."""
        return self._info.name

    @property
    def project(self) -> str:
        """The project."""
        return self._info.project

    @property
    def entity(self) -> str:
        """Whose it is: everything here is of one owner."""
        return self._owner

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self._owner, self.project, self.id]

    @property
    def group(self) -> str | None:
        """The runs that belong together."""
        return self._info.group

    @property
    def job_type(self) -> str | None:
        """What it did."""
        return self._info.job_type

    @property
    def notes(self) -> str | None:
        """What a reader should know."""
        return self._info.notes

    @property
    def tags(self) -> list[str]:
        """What it is marked with."""
        return list(self._info.tags)

    @property
    def config(self) -> dict[str, Any]:
        """What it was told."""
        return dict(self._info.config)

    @property
    def state(self) -> str:
        """`running`, `finished` or `crashed`."""
        return self._info.state

    def logged_artifacts(self, per_page: int = 100) -> Paginator[A]:
        """The versions that it logged, in that order."""
        store = self._hall
        return Paginator(
            lambda: [self._show(i) for i in store.settled().outputs(self.id, project=self.project)], per_page=per_page
        )

    def used_artifacts(self, per_page: int = 100) -> Paginator[A]:
        """The versions that it used, in that order."""
        store = self._hall
        return Paginator(
            lambda: [self._show(i) for i in store.settled().inputs(self.id, project=self.project)], per_page=per_page
        )

    def use_version(self, info: VersionInfo) -> None:
        """Note that it used a version."""
        with users_errors():
            self._hall.settled().use(self.id, info.exact, project=self.project)

    def log_version(
        self, info: VersionInfo, aliases: Sequence[str] | str | None, tags: Sequence[str] | str | None
    ) -> VersionInfo:
        """Note that it logged a version of its project; answers it as it is then. Raises Invalid (other-project)."""
        if info.project != self.project:
            message = f"{info.name!r} is in project {info.project!r}, so a run of {self.project!r} cannot log it"
            raise Invalid(message, code="other-project")
        return log_again(
            self._hall.settled(), info, run=self.id, aliases=checked_aliases(aliases), tags=checked_tags(tags)
        )

    @property
    def created_at(self) -> str:
        """When it began, in UTC."""
        return written_time(self._info.started_at)

    def __repr__(self) -> str:
        return f"<Run {'/'.join(self.path)} ({self.state})>"


def log_again(store: Store, info: VersionInfo, *, run: str, aliases: list[str], tags: list[str]) -> VersionInfo:
    """Let a run of its project have logged a version that is there: no new one, but the labels, and `latest`, move."""
    with users_errors(), store.draft() as draft:
        # By its id, and under the name that its collection has by now.
        now = store.version(info.exact)
        store.build_on(draft, now.exact)
        return store.commit(
            draft, name=now.collection, type=now.type, project=now.project, aliases=aliases, run=run, tags=tags
        )


_FIELDS: Final[dict[str, Callable[[RunInfo], Any]]] = {
    "name": lambda info: info.id,
    **dict.fromkeys(("display_name", "displayName"), lambda info: info.name),
    "state": lambda info: info.state,
    "group": lambda info: info.group,
    **dict.fromkeys(("job_type", "jobType"), lambda info: info.job_type),
    "tags": lambda info: list(info.tags),
    "notes": lambda info: info.notes,
    **dict.fromkeys(("created_at", "createdAt"), lambda info: dt.datetime.fromtimestamp(info.started_at, dt.UTC)),
    "config.<key>": lambda info: info.config,
}
"""What runs may be chosen and put in an order by, in the spellings that W&B knows."""
_CONFIG: Final = "config."


def field(name: str) -> Callable[[RunInfo], Any]:
    """What reads a field of a run. Raises Invalid (bad-filter)."""
    if name.startswith(_CONFIG) and "<" not in name:
        key = name.removeprefix(_CONFIG)
        return lambda info: _inside(info.config, key)
    if name not in _FIELDS or "<" in name:
        raise unknown_field(name, _FIELDS)
    return _FIELDS[name]


def in_order_of(text: str | None) -> Callable[[list[RunInfo]], list[RunInfo]]:
    """What puts runs, which come the newest first, in an order `[+|-]field`. Raises Invalid (bad-order)."""
    if text is None:
        return list
    is_reverse = text.startswith("-")
    try:
        read = field(text[1:] if text[:1] in {"+", "-"} else text)
    except Invalid as error:
        raise Invalid(error.message, code="bad-order") from error

    def in_order(found: list[RunInfo]) -> list[RunInfo]:
        # What has no such field comes last, and numbers before texts, since nothing puts the two in an order.
        there = [(value, info) for info in found if (value := read(info)) is not None]
        there.sort(key=lambda pair: _sortable(pair[0]), reverse=is_reverse)
        return [info for _, info in there] + [info for info in found if read(info) is None]

    return in_order


def _sortable(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return 0, value
    return (1, value) if isinstance(value, dt.datetime) else (2, str(value))


def _inside(config: Mapping[str, Any], key: str) -> Any:
    """The value of a key, or at a path of them with dots between."""
    if key in config:
        return config[key]
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
