"""Lives: what an artifact is now, a draft or a version, and what it says of what it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self, cast

from artstore.api.background import Task
from artstore.api.contents import Contents
from artstore.api.entries import ArtifactManifest, Parent
from artstore.api.labels import Labels
from artstore.api.stores import Hall
from artstore.errors import ArtifactFinalizedError, ArtifactNotLoggedError

if TYPE_CHECKING:
    from artstore.lifecycle.reports import VersionInfo
    from artstore.store import Store


_ANEW: Final = "what was added went with it, so begin another Artifact"


class Lives:
    """A draft, until it is logged and waited for; then a version. What only one of them has raises in the other."""

    _name: str
    _type: str

    def _begin(self, labels: Labels, *, incremental: bool = False, use_as: str | None = None) -> None:
        self._labels = labels
        self._incremental = incremental
        self._use_as = use_as
        self._contents = Contents(cast("Parent", self))
        self._is_final = False
        self._base: VersionInfo | None = None
        self._distributed_id: str | None = None
        self._hall: Hall | None = None
        self._task: Task[VersionInfo] | None = None
        self._part: Task[str] | None = None
        self._info: VersionInfo | None = None
        self._manifest: ArtifactManifest | None = None
        self._is_deleted = False

    @classmethod
    def of_version(cls, hall: Hall, info: VersionInfo) -> Self:
        """A version that is there already, in its second life at once; its name and type were checked long ago."""
        return cls.__new__(cls)._in_second_life(hall, info)  # noqa: SLF001 - its own

    def _in_second_life(self, hall: Hall, info: VersionInfo) -> Self:
        self._name, self._type = info.collection, info.type
        self._begin(Labels(None, None))
        self._is_final = True
        self._become(hall, info)
        return self

    @property
    def id(self) -> str | None:
        """The digest of the version's record; None for a draft."""
        return None if self._info is None else self._info.id

    @property
    def name(self) -> str:
        """`cats`, and from `wait` on `cats:v3`; of a link, its name in the portfolio."""
        return self._name if self._info is None else (self._info.link or self._info).name

    @property
    def source_name(self) -> str:
        """The name in the collection where it was logged."""
        return self._name if self._info is None else self._info.name

    @property
    def type(self) -> str:
        """What it is."""
        return self._type

    @property
    def state(self) -> str:
        """`PENDING` for a draft, `COMMITTED`, or `DELETED`."""
        if self._is_deleted:
            return "DELETED"
        return "PENDING" if self._info is None else "COMMITTED"

    def is_draft(self) -> bool:
        """Whether it is no version yet, as far as this object has waited for it."""
        return self._info is None

    @property
    def is_new(self) -> bool:
        """Whether nobody has logged it yet."""
        return self._info is None and self._task is None and self._part is None

    @property
    def _has_failed(self) -> bool:
        task = self._task or self._part
        return task is not None and task.is_failed

    def note_use(self, use_as: str | None) -> None:
        """Remember as what a run uses it, for `json_encode`."""
        self._use_as = use_as or self._use_as

    def _become(self, hall: Hall, info: VersionInfo) -> None:
        self._hall = hall
        self._info = info
        self._labels.take(info)

    @property
    def info(self) -> VersionInfo:
        """What the store says of the version. Raises ArtifactNotLoggedError."""
        return self._version("info")

    def _store(self, member: str) -> Store:
        self._version(member)
        assert self._hall is not None
        return self._hall.settled()

    def _version(self, member: str) -> VersionInfo:
        if self._info is None:
            raise self._not_logged(member)
        return self._info

    def _not_logged(self, member: str) -> ArtifactNotLoggedError:
        way = "call wait() first" if self._task is not None else "log it first, with log_artifact() or save()"
        way = f"its logging failed; {_ANEW}" if self._has_failed else way
        way = way if self._part is None else "it is a part, and finish_artifact() makes the version"
        message = f"'Artifact.{member}' is what only a logged artifact has, and {self._name!r} is none yet: {way}"
        return ArtifactNotLoggedError(message, code="not-logged", name=member, obj=self)

    def _check_open(self, method: str) -> None:
        if self._has_failed:
            message = f"'Artifact.{method}' on {self.name!r}, whose logging failed; {_ANEW}"
            raise ArtifactFinalizedError(message, code="finalized", name=method, obj=self)
        if self._is_final:
            message = f"'Artifact.{method}' on {self.name!r}, which is finalized: change a new_draft() of it instead"
            raise ArtifactFinalizedError(message, code="finalized", name=method, obj=self)
