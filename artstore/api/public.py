"""Public: `Api`, which looks at the store from outside of any run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from artstore.api import active
from artstore.api.artifact import Artifact
from artstore.api.collections import ArtifactCollection, ArtifactType, order_of
from artstore.api.facts import owner
from artstore.api.filters import matcher
from artstore.api.paginator import Paginator
from artstore.api.past import PastRun, field, in_order_of
from artstore.api.stores import Hall, project_or_default, users_errors
from artstore.errors import Invalid, MissingArtifact, NotFound
from artstore.model.arguments import checked

if TYPE_CHECKING:
    from artstore.lifecycle.reports import RunInfo, VersionInfo

ORDERS: Final = ("version_index", "+version_index", "-version_index")
_PARTS: Final = 3


@checked
class Api:
    """Every artifact, collection and run of the store that is meant here; no run is needed, and none is made.

    It stays with the store of the run in which it was made, or else with the one that is meant when it is first asked.
    `overrides` may name a project for what says none: `{"project": "demo"}`. What is no text where a name belongs
    raises WrongType (wrong-type).
    """

    def __init__(
        self, overrides: dict[str, Any] | None = None, timeout: float | None = None, api_key: str | None = None
    ) -> None:
        """Look. There is nobody to wait for and nothing to prove: the last two are taken and not used."""
        del timeout, api_key
        self._project = (overrides or {}).get("project")
        self._hall = None if active.run_of_process() is None else active.hall()

    @property
    def default_entity(self) -> str:
        """Whose everything here is."""
        return owner()

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """A version, by `[[entity/]project/]name[:alias]`.

        Raises MissingArtifact, Invalid (other-type, bad-reference).
        """
        hall = self._at()
        with users_errors():
            info = hall.settled().version(name, project=self._project_of(None))
        if type is not None and info.type != type:
            message = f"{name!r} is of type {info.type!r}, not {type!r}"
            raise Invalid(message, code="other-type")
        return Artifact.of_version(hall, info)

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Whether there is such a version."""
        try:
            self.artifact(name, type)
        except (NotFound, Invalid) as error:
            if isinstance(error, NotFound) or error.code == "other-type":
                return False
            raise
        return True

    def artifacts(
        self,
        type_name: str,
        name: str,
        order: str | None = None,
        per_page: int = 50,
        tags: Sequence[str] | str | None = None,
        start: str | None = None,
    ) -> Paginator[Artifact]:
        """The versions of a collection, the newest first; those that have all the tags, if some are given.

        Order: `version_index` for the oldest first, `-version_index` for the newest. Raises MissingArtifact when it is
        looked at, Invalid (bad-order, other-type).
        """
        if order is not None and order not in ORDERS:
            message = f"the order {order!r} is not one of {', '.join(ORDERS)}"
            raise Invalid(message, code="bad-order")
        wanted = {tags} if isinstance(tags, str) else set(tags or ())
        hall = self._at()
        project = self._project_of(None)

        def load() -> list[Artifact]:
            with users_errors():
                found = hall.settled().versions(name, project=project)
            if found and found[0].type != type_name:
                message = f"{name!r} is of type {found[0].type!r}, not {type_name!r}"
                raise MissingArtifact(message, code="other-type")
            found.sort(key=lambda info: (info.link or info).number, reverse=order in (None, "-version_index"))
            return [Artifact.of_version(hall, info) for info in found if wanted <= set(info.tags)]

        return Paginator(load, per_page=per_page, start=start)

    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> Paginator[Artifact]:
        """An older word for `artifacts`."""
        return self.artifacts(type_name, name, per_page=per_page)

    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType[Artifact]:
        """A type of a project. Raises MissingArtifact (type-not-found) where nothing is of it."""
        hall, place = self._at(), self._project_of(project)
        with users_errors():
            if type_name not in hall.settled().types(place):
                message = f"nothing in project {place!r} is of type {type_name!r}"
                raise MissingArtifact(message, code="type-not-found")
        return ArtifactType(hall, place, type_name, _shown(hall), owner=owner())

    def artifact_types(self, project: str | None = None) -> Paginator[ArtifactType[Artifact]]:
        """The types of a project."""
        hall, place = self._at(), self._project_of(project)

        def load() -> list[ArtifactType[Artifact]]:
            with users_errors():
                names = hall.settled().types(place)
            return [ArtifactType(hall, place, name, _shown(hall), owner=owner()) for name in names]

        return Paginator(load)

    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection[Artifact]:
        """The collection `[[entity/]project/]name`. Raises MissingArtifact (collection-not-found, other-type)."""
        place, _, last = name.rpartition("/")
        return ArtifactType(
            self._at(), self._project_of(place or None), type_name, _shown(self._at()), owner=owner()
        ).collection(last)

    def artifact_collections(
        self,
        project_name: str | None = None,
        type_name: str | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Paginator[ArtifactCollection[Artifact]]:
        """The collections of a project, of one type if one is given, by name.

        Order: `name`, `created_at` or `updated_at`, with `-` in front for the reverse. Raises Invalid (bad-order).
        """
        hall, place = self._at(), self._project_of(project_name)
        in_order = order_of(order)

        def load() -> list[ArtifactCollection[Artifact]]:
            found = in_order(hall.settled().collections(place))
            return [
                ArtifactCollection(hall, info, _shown(hall), owner=owner())
                for info in found
                if type_name in (None, info.type)
            ]

        return Paginator(load, per_page=per_page, start=start)

    def artifact_collection_exists(self, name: str, type: str) -> bool:
        """Whether there is such a collection, of that type."""
        try:
            self.artifact_collection(type, name)
        except MissingArtifact:
            return False
        return True

    def projects(self, entity: str | None = None, per_page: int = 50) -> Paginator[str]:
        """The names of all projects."""
        del entity
        hall = self._at()
        return Paginator(lambda: hall.settled().projects(), per_page=per_page)

    def run(self, path: str) -> PublicRun:
        """A run, by `[[entity/]project/]id`. Raises MissingArtifact (run-not-found), Invalid (bad-path)."""
        parts = path.strip("/").split("/")
        if len(parts) > _PARTS or "" in parts:
            message = f"{path!r} is no path of a run: write [[entity/]project/]id"
            raise Invalid(message, code="bad-path")
        hall = self._at()
        project = parts[-2] if len(parts) > 1 else self._project_of(None)
        with users_errors():
            return PublicRun.of(hall, hall.settled().run(parts[-1], project=project))

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
    ) -> Paginator[PublicRun]:
        """The runs of `[entity/]project`, or of all projects, the newest first, or in another order.

        Or those that filters mean; see `artstore.api.filters`. They and `order`, a field with `+` or `-` in front, go
        by `name` (the id), `display_name`, `state`, `group`, `job_type`, `tags`, `notes`, `created_at`, `config.<key>`.

        Raises Invalid (bad-filter, bad-order).
        """
        hall = self._at()
        project = None if path is None else path.strip("/").split("/")[-1]
        is_meant, in_order = matcher(filters, field), in_order_of(order)

        def load() -> list[PublicRun]:
            found = hall.settled().runs(project=project)
            return [PublicRun.of(hall, info) for info in in_order([info for info in found if is_meant(info)])]

        return Paginator(load, per_page=per_page)

    def _at(self) -> Hall:
        if self._hall is None:
            self._hall = active.hall()
        return self._hall

    def _project_of(self, path: str | None) -> str:
        """The project of `[entity/]project`, or the one that is meant where nothing is said."""
        if path:
            return path.strip("/").rpartition("/")[2]
        run = active.run_of_process()
        return self._project or (run.project if run is not None else project_or_default(None))


class PublicRun(PastRun[Artifact]):
    """A run of the store, as `Api` and `logged_by` show it."""

    @classmethod
    def of(cls, hall: Hall, info: RunInfo) -> PublicRun:
        """The run that a store has told of."""
        return cls(hall, info, _shown(hall), owner=owner())

    def use_artifact(self, artifact: Artifact, use_as: str | None = None) -> Artifact:
        """Note that it used a version. Raises Invalid (not-logged) for a draft."""
        self.use_version(_logged(artifact))
        artifact.note_use(use_as)
        return artifact

    def log_artifact(
        self, artifact: Artifact, aliases: Sequence[str] | str | None = None, tags: Sequence[str] | str | None = None
    ) -> Artifact:
        """Note that it logged a version, and answer that with the aliases and tags that it has then.

        Raises Invalid (not-logged, other-project, bad-alias, bad-tag).
        """
        return self._show(self.log_version(_logged(artifact), aliases, tags))


def _shown(hall: Hall) -> Callable[[VersionInfo], Artifact]:
    return lambda version: Artifact.of_version(hall, version)


def _logged(artifact: Artifact) -> VersionInfo:
    if artifact.is_draft():
        message = f"{artifact.name!r} is a draft: only what is logged can be linked to a run that way"
        raise Invalid(message, code="not-logged")
    return artifact.info
