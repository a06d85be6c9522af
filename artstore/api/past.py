"""Past: runs as others look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from artstore.api.naming import checked_aliases
from artstore.api.paginator import Paginator
from artstore.api.stores import Hall, users_errors
from artstore.errors import Invalid

if TYPE_CHECKING:
    from artstore.lifecycle.reports import RunInfo, VersionInfo

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
            self._hall.settled().use(self.id, f"{info.project}/{info.collection}@{info.id}", project=self.project)

    def log_version(
        self, info: VersionInfo, aliases: Sequence[str] | str | None, tags: Sequence[str] | str | None
    ) -> None:
        """Note that it logged a version of its own project. Raises Invalid (other-project)."""
        if info.project != self.project:
            message = f"{info.name!r} is in project {info.project!r}, so a run of {self.project!r} cannot log it"
            raise Invalid(message, code="other-project")
        store = self._hall.settled()
        with users_errors(), store.draft() as draft:
            store.build_on(draft, f"{info.project}/{info.collection}@{info.id}")
            store.commit(
                draft,
                name=info.collection,
                type=info.type,
                project=self.project,
                aliases=checked_aliases(aliases),
                run=self.id,
                tags=list(tags or []) if not isinstance(tags, str) else [tags],
            )

    def __repr__(self) -> str:
        return f"<Run {'/'.join(self.path)} ({self.state})>"
