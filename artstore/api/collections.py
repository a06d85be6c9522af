"""Collections: the series of versions of one name, and the types that they have."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from artstore.api.facts import written_time
from artstore.api.filters import matcher, unknown_field
from artstore.api.late import Late
from artstore.api.naming import checked_tags
from artstore.api.paginator import Paginator
from artstore.api.stores import Hall, users_errors
from artstore.errors import Invalid, MissingArtifact

if TYPE_CHECKING:
    from artstore.lifecycle.reports import CollectionInfo, VersionInfo
    from artstore.model import names
else:
    names = Late("artstore.model.names")

A = TypeVar("A")

ORDERS: Final = {
    "name": "name",
    **dict.fromkeys(("created_at", "createdAt"), "created_at"),
    **dict.fromkeys(("updated_at", "updatedAt"), "updated_at"),
}
"""What collections can be put in order by, in the spellings that W&B knows."""


class ArtifactCollection(Generic[A]):
    """All versions of one name. Name, type, description and tags may be changed; `save` keeps that."""

    def __init__(self, hall: Hall, info: CollectionInfo, show: Callable[[VersionInfo], A], *, owner: str) -> None:
        self._hall = hall
        self._show = show
        self._owner = owner
        self.tags: list[str] = []
        """What it is marked with. May be changed in place."""
        self._become(info)

    def _become(self, info: CollectionInfo) -> None:
        self._info = info
        self._name = info.name
        self._type = info.type
        self.description = info.description
        self.tags[:] = info.tags

    def __repr__(self) -> str:
        return f"<ArtifactCollection {self._info.name} ({self._info.type})>"

    @property
    def id(self) -> str:
        """`project/name`, which is unique in the store."""
        return f"{self._info.project}/{self._info.name}"

    @property
    def entity(self) -> str:
        """Whose it is: everything here is of one owner."""
        return self._owner

    @property
    def project(self) -> str:
        """The project."""
        return self._info.project

    @property
    def name(self) -> str:
        """What it is called; its versions keep numbers and aliases under another name."""
        return self._name

    @name.setter
    def name(self, text: str) -> None:
        self._name = names.collection_name(text)

    @property
    def type(self) -> str:
        """What its versions are."""
        return self._type

    @type.setter
    def type(self, text: str) -> None:
        self._type = names.type_name(text)

    @property
    def aliases(self) -> list[str]:
        """The aliases of its versions, `latest` among them."""
        return list(self._info.aliases)

    @property
    def created_at(self) -> str:
        """When it was made, in UTC."""
        return written_time(self._info.created_at)

    @property
    def updated_at(self) -> str:
        """When its latest version was made, in UTC."""
        return written_time(self._info.updated_at)

    def is_sequence(self) -> bool:
        """Whether its versions are its own, and not links to those of others."""
        return self._info.kind == "sequence"

    def artifacts(self, per_page: int = 50) -> Paginator[A]:
        """Its versions, the newest first."""

        def load() -> list[A]:
            with users_errors():
                return [
                    self._show(info) for info in self._hall.settled().versions(self._info.name, project=self.project)
                ]

        return Paginator(load, per_page=per_page)

    def save(self) -> None:
        """Keep what was changed. Raises Conflict (name-taken), Invalid (bad-tag)."""
        info, store = self._info, self._hall.settled()
        tags = checked_tags(self.tags)
        with users_errors():
            if self._name != info.name:
                store.rename(info.name, self._name, project=info.project)
            if self._type != info.type:
                store.retype(self._name, self._type, project=info.project)
            if self.description != info.description:
                store.describe(self._name, self.description, project=info.project)
            if added := [tag for tag in tags if tag not in info.tags]:
                store.tag_collection(self._name, added, project=info.project)
            if removed := [tag for tag in info.tags if tag not in tags]:
                store.untag_collection(self._name, removed, project=info.project)
            self._become(store.collection(self._name, project=info.project))

    def change_type(self, new_type: str) -> None:
        """An older way to set the type and save."""
        self.type = new_type
        self.save()

    def delete(self) -> None:
        """Delete it with all its versions; `artstore gc` frees what only they held."""
        with users_errors():
            self._hall.settled().delete_collection(self._info.name, force=True, project=self.project)


def order_of(text: str | None) -> Callable[[list[CollectionInfo]], list[CollectionInfo]]:
    """What puts collections in an order: by name, or as `[+|-]field` says. Raises Invalid (bad-order)."""
    wanted = "name" if text is None else text
    is_reverse = wanted.startswith("-")
    attribute = ORDERS.get(wanted[1:] if is_reverse else wanted.removeprefix("+"))
    if attribute is None:
        message = f"the order {text!r} is none: give one of {', '.join(ORDERS)}, with - in front for the reverse"
        raise Invalid(message, code="bad-order")

    def in_order(found: list[CollectionInfo]) -> list[CollectionInfo]:
        # What is equal stays by name.
        by_name = sorted(found, key=lambda info: info.name)
        return sorted(by_name, key=attrgetter(attribute), reverse=is_reverse)

    return in_order


def _field(name: str) -> Callable[[CollectionInfo], Any]:
    if name not in _FIELDS:
        raise unknown_field(name, _FIELDS)
    return _FIELDS[name]


_FIELDS: Final[dict[str, Callable[[CollectionInfo], Any]]] = {
    "name": lambda info: info.name,
    "type": lambda info: info.type,
    "description": lambda info: info.description,
    **dict.fromkeys(("tag", "tags"), lambda info: list(info.tags)),
    **dict.fromkeys(("created_at", "createdAt"), lambda info: dt.datetime.fromtimestamp(info.created_at, dt.UTC)),
    **dict.fromkeys(("updated_at", "updatedAt"), lambda info: dt.datetime.fromtimestamp(info.updated_at, dt.UTC)),
}
"""What filters may go by, in the spellings that W&B knows."""


class ArtifactType(Generic[A]):
    """What the versions of some collections of a project are."""

    def __init__(self, hall: Hall, project: str, name: str, show: Callable[[VersionInfo], A], *, owner: str) -> None:
        self._hall = hall
        self._project = project
        self._name = name
        self._show = show
        self._owner = owner

    def __repr__(self) -> str:
        return f"<ArtifactType {self._name}>"

    @property
    def id(self) -> str:
        """`project/type`, which is unique in the store."""
        return f"{self._project}/{self._name}"

    @property
    def name(self) -> str:
        """The type."""
        return self._name

    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Paginator[ArtifactCollection[A]]:
        """Its collections, by name, or in another order; see `Api.artifact_collections`.

        Or those that filters mean, by `name`, `description`, `tags`, `created_at` and `updated_at`; see
        `artstore.api.filters`. Raises Invalid (bad-order, bad-filter).
        """
        in_order, is_meant = order_of(order), matcher(filters, _field)

        def load() -> list[ArtifactCollection[A]]:
            found = in_order(self._hall.settled().collections(self._project))
            return [self._collection(info) for info in found if info.type == self._name and is_meant(info)]

        return Paginator(load, per_page=per_page, start=start)

    def collection(self, name: str) -> ArtifactCollection[A]:
        """The collection of a name. Raises MissingArtifact (collection-not-found, other-type)."""
        with users_errors():
            info = self._hall.settled().collection(name, project=self._project)
        if info.type != self._name:
            message = f"{self._project}/{info.name} is of type {info.type!r}, not {self._name!r}"
            raise MissingArtifact(message, code="other-type")
        return self._collection(info)

    def _collection(self, info: CollectionInfo) -> ArtifactCollection[A]:
        return ArtifactCollection(self._hall, info, self._show, owner=self._owner)
