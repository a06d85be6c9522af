"""Artifact: what is put together and logged, and what it is from then on; two lives in one class, as W&B has it.

In its first life it is a draft that can be added to; `log_artifact` or `save` ends that. In its second life, which
`wait` begins, it is a version: its files never change, its labels may, with `save`. What only a version has raises
ArtifactNotLoggedError before, and what only a draft can do raises ArtifactFinalizedError after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict

from artstore.api import active, sharing
from artstore.api.background import Task
from artstore.api.collections import ArtifactCollection
from artstore.api.drafting import Drafting
from artstore.api.facts import owner
from artstore.api.labels import Labels
from artstore.api.late import Late
from artstore.api.naming import checked_aliases, checked_name, checked_tags
from artstore.api.past import PastRun, log_again
from artstore.api.stores import Hall, hall_at, project_or_default, users_errors
from artstore.api.terminal import note
from artstore.api.unheeded import BLAKE3, check_digest_algorithm, check_storage_region
from artstore.errors import (
    AliasedArtifact,
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    Conflict,
    Invalid,
    NotFound,
)

if TYPE_CHECKING:
    from artstore.api import data_types
    from artstore.lifecycle.draft import Draft
    from artstore.lifecycle.reports import LinkInfo, RunInfo, VersionInfo
    from artstore.references import expand
    from artstore.references import wanted as limits
else:
    data_types = Late("artstore.api.data_types")
    expand = Late("artstore.references.expand")
    limits = Late("artstore.references.wanted")

AUTOMATIC: Final = "auto"
"""The job type of a run that is made because there is none."""


class Artifact(Drafting):
    """A named, typed set of files, with a description and metadata; logged, a version of its collection.

    Name: letters, digits, `_`, `-` and `.`, up to 128; type: what it is, `dataset` or `model` for example; a name has
    one type. Metadata: a dictionary, or the JSON text of one, copied as JSON can say it, with up to 100 keys on its top
    level. With `incremental` the version begins with the entries of the latest one, and what is added here comes on
    top. `use_as` is taken as W&B takes it, and means nothing. So do a `storage_region`, since the bytes are kept where
    the store is, and the other algorithms that W&B has for digests, `MD5` and `XXH128`; a warning says so once.

    Raises Invalid (bad-name, bad-type, bad-metadata, too-many-keys, bad-storage-region, bad-digest-algorithm),
    WrongType (bad-metadata).
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: dict[str, Any] | str | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
        digest_algorithm: str = BLAKE3,
    ) -> None:
        self._name, self._type = checked_name(name, type)
        check_storage_region(storage_region)
        check_digest_algorithm(digest_algorithm)
        self._begin(Labels(description, metadata), incremental=incremental, use_as=use_as)

    def __repr__(self) -> str:
        return f"<Artifact {self.id or self.name}>"

    def __reduce__(self) -> tuple[Callable[..., Artifact], tuple[str, str]]:
        """To another process goes which version it is, in which store; there it is looked up.

        Raises ArtifactNotLoggedError for a draft: what was added to it is held by the process that did.
        """
        if self._info is None:
            message = (
                f"{self._name!r} is a draft, and cannot go to another process, or be copied: log it and wait() for it "
                "first, or make an artifact in each process"
            )
            raise ArtifactNotLoggedError(message, code="not-logged", name="__reduce__", obj=self)
        info = self._info
        assert self._hall is not None
        where = info.link or info
        return _fetched, (str(self._hall.store.path), f"{where.project}/{where.collection}@{info.id}")

    def save(self, project: str | None = None, settings: object = None) -> None:
        """Keep it: a draft is logged, a version's changed labels are written.

        A draft is logged by the active run, in the background; without one by a run of its own, of the job type
        `auto`, and then it is there when this returns. `settings` is taken and means nothing.
        """
        del settings
        if self._task is not None or self._info is not None:
            self.wait()
            assert self._hall is not None
            with users_errors():
                self._become(self._hall, self._labels.save(self._hall.settled()))
            return
        run = active.run_of_process()
        if run is not None:
            run.log_artifact(self)
            return
        hall = self._contents.hall or active.hall()
        wanted = project_or_default(project or (self._base.project if self._base else None))
        automatic = hall.settled().start_run(project=wanted, job_type=AUTOMATIC)
        try:
            self.log_to(hall, wanted, automatic.id)
            self.wait()
        except BaseException:
            hall.settled().finish_run(automatic.id, state="crashed", project=wanted)
            raise
        hall.settled().finish_run(automatic.id, project=wanted)

    def log_to(
        self,
        hall: Hall,
        project: str,
        run: str,
        *,
        aliases: object = None,
        tags: object = None,
    ) -> Task[VersionInfo]:
        """Ask for the version to be made, after all that was asked for before; users call `Run.log_artifact`."""
        named, marked = checked_aliases(aliases), checked_tags(tags)
        if not self.is_new:
            return self._log_again(hall, project, run, named, marked)
        return self._become_later(hall, self._commit(self._hand_over(hall, project), project, run, named, marked))

    def add_part_to(self, hall: Hall, project: str, run: str, distributed_id: str, *, aliases: object) -> Task[str]:
        """Ask for a part of a version to be made, that several writers make; users call `Run.upsert_artifact`."""
        named = checked_aliases(aliases)
        self._check_new("upsert_artifact")
        self._distributed_id = distributed_id
        handed = self._hand_over(hall, project)
        label = self._label(project, run, named)

        def make() -> str:
            with handed as draft:
                id_ = hall.store.add_part(draft, distributed_id=distributed_id, **label)
            sharing.send(hall.store, project, f"a part of {label['name']!r}", part=id_)
            return id_

        self._part = hall.queue.add(self._name, make)
        return self._part

    def finish_parts_in(
        self, hall: Hall, project: str, run: str, distributed_id: str, *, aliases: object, expect: int | None
    ) -> Task[VersionInfo]:
        """Ask for the version of all parts and this to be made; users call `Run.finish_artifact`."""
        named = checked_aliases(aliases)
        self._check_new("finish_artifact")
        self._distributed_id = distributed_id
        handed = self._hand_over(hall, project)
        label = self._label(project, run, named)
        ttl_s = self._labels.ttl_s

        def make() -> VersionInfo:
            with handed as draft:

                def finish() -> VersionInfo:
                    return hall.store.finish_parts(
                        draft, distributed_id=distributed_id, ttl_s=ttl_s, expect=expect, **label
                    )

                info = sharing.finish(hall.store, project, finish, expect=expect)
                _tell(draft)
                return info

        return self._become_later(hall, make)

    def wait(self, timeout: float | None = None) -> Self:
        """Return when it is a version, with all that only a version has; or, of a part, when that is safe.

        Raises what the logging came to, WaitTimeoutError after `timeout` seconds, ArtifactNotLoggedError for a draft.
        """
        if self._part is not None:
            self._part.result(timeout)
            return self
        if self._task is None:
            if self._info is None:
                raise self._not_logged("wait")
            return self
        info = self._task.result(timeout)
        self._task = None
        assert self._hall is not None
        self._become(self._hall, info)
        return self

    def new_draft(self) -> Artifact:
        """A draft with the entries, description and metadata of this version; logged, it is the next one.

        No file is read again. Aliases, tags and the time to live stay behind.
        """
        info = self._now("new_draft")
        assert self._hall is not None
        made = Artifact(info.collection, info.type, self.description, self.metadata)
        made._base = info
        with users_errors():
            self._hall.settled().build_on(made._contents.settle_in(self._hall), info.exact)
        return made

    # What happens to a version.

    @property
    def collection(self) -> ArtifactCollection[Artifact]:
        """The collection that it is a version of; of a link, the portfolio."""
        return self._collection(self._version("collection").link or self._now("collection"))

    @property
    def source_collection(self) -> ArtifactCollection[Artifact]:
        """The collection where it was logged."""
        return self._collection(self._now("source_collection"))

    @property
    def source_artifact(self) -> Artifact:
        """The version itself, where this is a link."""
        info = self._version("source_artifact")
        if info.link is None:
            return self
        assert self._hall is not None
        with users_errors():
            return Artifact.of_version(self._hall, self._hall.settled().version(info.exact))

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The version as it is in each portfolio."""
        info, hall = self._version("linked_artifacts"), self._hall
        assert hall is not None
        with users_errors():
            return [Artifact.of_version(hall, each) for each in hall.settled().links_of(info.exact)]

    def link(self, target_path: str, aliases: Sequence[str] | str | None = None) -> Artifact:
        """Put the version into the portfolio `[[entity/]project/]name`, made if it is not there, and answer the link.

        A draft is logged first. In the portfolio it has a number and aliases of its own; the same version again keeps
        its number. Raises Invalid (not-a-portfolio, type-clash, bad-alias, bad-reference).
        """
        if self._info is None:
            if self._task is None:
                self.save()
            self.wait()
        info, hall = self._version("link"), self._hall
        assert hall is not None
        run = active.run_of_process()
        project = info.project if run is None else run.project
        with users_errors():
            linked = hall.settled().link(info.exact, target_path, aliases=checked_aliases(aliases), project=project)
        return Artifact.of_version(hall, linked)

    def unlink(self) -> None:
        """Take the version out of the portfolio through which it was reached. Raises Invalid (not-a-link)."""
        link = self._version("unlink").link
        if link is None:
            message = f"{self.name!r} is no link, but the version itself: use `Artifact.delete` to delete it"
            raise Invalid(message, code="not-a-link")
        with users_errors():
            self._store("unlink").unlink(link.ref)
        self._is_deleted = True

    def logged_by(self) -> PastRun[Artifact] | None:
        """The run that made it; None where that is not known here."""
        with users_errors():
            info = self._store("logged_by").logged_by(self._version("logged_by").exact)
        return None if info is None else self._run(info)

    def used_by(self) -> list[PastRun[Artifact]]:
        """The runs that used it, in that order."""
        with users_errors():
            found = self._store("used_by").used_by(self._version("used_by").exact)
        return [self._run(info) for info in found]

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version; `artstore gc` frees what only it held. A link is taken out of its portfolio, no more.

        Raises AliasedArtifact while an alias other than `latest` stands on it, or a portfolio has it, unless
        delete_aliases.
        """
        info = self._version("delete")
        if info.link is not None:
            self.unlink()
            return
        try:
            with users_errors():
                self._store("delete").delete(info.exact, force=delete_aliases)
        except AliasedArtifact as error:
            raise AliasedArtifact(f"{error.message} with delete_aliases=True", code=error.code) from error
        self._is_deleted = True

    def json_encode(self) -> dict[str, Any]:
        """How the config of a run says which version is meant."""
        info = self._version("json_encode")
        return {
            "_type": "artifactVersion",
            "_version": "v0",
            "id": info.id,
            "version": f"v{info.number}",
            "sequenceName": info.collection,
            "usedAs": self._use_as,
        }

    # Inside.

    @property
    def hall(self) -> Hall | None:
        """The store that it is in, or will be."""
        return self._hall or self._contents.hall

    def _now(self, member: str) -> VersionInfo:
        """The version, as its collection is called by now."""
        with users_errors():
            return self._store(member).version(self._version(member).exact)

    def _collection(self, where: VersionInfo | LinkInfo) -> ArtifactCollection[Artifact]:
        hall = self._hall
        assert hall is not None
        with users_errors():
            found = hall.settled().collection(where.collection, project=where.project)
        return ArtifactCollection(hall, found, lambda version: Artifact.of_version(hall, version), owner=owner())

    def _run(self, info: RunInfo) -> PastRun[Artifact]:
        hall = self._hall
        assert hall is not None
        return PastRun(hall, info, lambda version: Artifact.of_version(hall, version), owner=owner())

    def _check_type(self, hall: Hall, project: str) -> None:
        """Raise at once what else would reach only who waits, where the name is known already."""
        with contextlib.suppress(NotFound):
            there = hall.store.version(f"{project}/{self._name}")
            if there.type != self._type:
                message = (
                    f"artifact {self._name!r} already exists with type {there.type!r}; cannot create another with type "
                    f"{self._type!r}"
                )
                raise Invalid(message, code="type-clash")

    def _hand_over(self, hall: Hall, project: str) -> contextlib.AbstractContextManager[Draft]:
        """End the first life: the draft, checked as far as that can be done at once."""
        home = self._base
        if home is not None and home.project != project:
            message = f"{self._name!r} comes from project {home.project!r}, so it cannot be logged to {project!r}"
            raise Invalid(message, code="other-project")
        self._labels.set_metadata(self._labels.metadata)
        self._check_type(hall, project)
        draft = self._contents.hand_over(hall)
        self._is_final = True
        self._hall = hall
        self._labels.note_logged()
        return draft

    def _label(self, project: str, run: str, aliases: list[str]) -> _Label:
        """What is said about the version: a copy, which nobody can change meanwhile."""
        description, metadata = self._labels.logged()
        return {
            "name": self._name,
            "type": self._type,
            "project": project,
            "aliases": aliases,
            "description": description,
            "metadata": metadata,
            "run": run,
        }

    def _become_later(self, hall: Hall, make: Callable[[], VersionInfo]) -> Task[VersionInfo]:
        self._task = hall.queue.add(self._name, make)
        return self._task

    def _commit(
        self,
        handed: contextlib.AbstractContextManager[Draft],
        project: str,
        run: str,
        aliases: list[str],
        tags: list[str],
    ) -> Callable[[], VersionInfo]:
        """What makes the version; it holds no part of this object that could change meanwhile."""
        hall, label, incremental = self._hall, self._label(project, run, aliases), self._incremental
        ttl_s = self._labels.ttl_s
        assert hall is not None
        store = hall.store

        def make() -> VersionInfo:
            with handed as draft:
                info = store.commit(draft, ttl_s=ttl_s, tags=tags, incremental=incremental, **label)
                _tell(draft)
                return info

        return make

    def _check_new(self, verb: str) -> None:
        if not self.is_new:
            message = f"{self.name!r} was logged already: {verb} takes an artifact that is new, such as a new_draft()"
            raise ArtifactFinalizedError(message, code="finalized", name=verb, obj=self)

    def _log_again(self, hall: Hall, project: str, run: str, aliases: list[str], tags: list[str]) -> Task[VersionInfo]:
        """The same content once more: no new version, but the run counts as one that logged it."""
        if self._hall is not hall:
            message = f"{self.name!r} is in another store than the run's: download it, and log the files there"
            raise Conflict(message, code="other-store")
        before, task, name = self._info, self._task, self._name

        def make() -> VersionInfo:
            info = before if before is not None else task.result() if task is not None else None
            assert info is not None
            if info.project != project:
                message = f"{name!r} exists in project {info.project!r}, so it cannot be logged to {project!r}"
                raise Invalid(message, code="other-project")
            return log_again(hall.store, info, run=run, aliases=aliases, tags=tags)

        self._task = hall.queue.add(self._name, make)
        return self._task


def _fetched(root: str, reference: str) -> Artifact:
    hall = hall_at(Path(root))
    with users_errors():
        return Artifact.of_version(hall, hall.settled().version(reference))


class _Label(TypedDict):
    """What the verbs of the store that make versions take alike."""

    name: str
    type: str
    project: str
    aliases: list[str]
    description: str | None
    metadata: dict[str, Any]
    run: str


def _tell(draft: Draft) -> None:
    for warning in draft.warnings:
        note(warning)
