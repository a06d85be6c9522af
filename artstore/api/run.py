"""Run: what makes versions and what it uses; begun by `init`."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from artstore.api import active, exits, sharing
from artstore.api.artifact import Artifact
from artstore.api.background import Task, at_end
from artstore.api.config import Config, recorded
from artstore.api.facts import owner, written_time
from artstore.api.naming import safe_name
from artstore.api.stores import Hall, users_errors, version_of_id
from artstore.api.terminal import note
from artstore.errors import ArtstoreError, Conflict, Invalid, NotAModel, WrongType

if TYPE_CHECKING:
    from artstore.lifecycle.reports import RunInfo, VersionInfo
    from artstore.store import Store

UNSPECIFIED: Final = "unspecified"
"""The type of what is logged without one."""
_MODEL: Final = "model"
_SCHEMES: Final = ("wandb-artifact://", "artstore://")
_BY_ID: Final = "_id/"


class Run:
    """A run that goes on: a context manager, which ends well or is marked as crashed.

    Versions that it logs come in the order of the calls. What is done in the background is done before `finish`
    returns, and before the interpreter ends. Then it ends as the script does: crashed where an exception or a
    `sys.exit` with another code than 0 ended that.
    """

    def __init__(self, hall: Hall, info: RunInfo, *, folder: Path) -> None:
        """Go on with a run that was started; use `artstore.init`."""
        self._hall = hall
        self._info = info
        self._dir = folder
        self._tasks: list[tuple[weakref.ref[Artifact], Task[Any]]] = []
        self._is_over = False
        self._is_shared = False
        self._pid = os.getpid()
        self._hold = hall.store.hold_run(info.id, project=info.project)
        self._config = Config(info.config, self._keep_config)
        active.enter(self)
        _going_on.append(self)
        exits.watch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and exits.is_good(error)):
            self.finish()
        else:
            self._end("crashed")

    def __repr__(self) -> str:
        return f"<Run {self.path} ({self.state})>"

    # What it is.

    @property
    def hall(self) -> Hall:
        """The store that it works with."""
        return self._hall

    @property
    def id(self) -> str:
        """Unique in its project."""
        return self._info.id

    @property
    def project(self) -> str:
        """The project that it works in."""
        return self._info.project

    @property
    def entity(self) -> str:
        """Whose it is: everything here is of one owner."""
        return owner()

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{owner()}/{self.project}/{self.id}"

    @property
    def name(self) -> str:
        """What people call it; its id if nobody does."""
        return self._info.name

    @name.setter
    def name(self, text: str) -> None:
        self._edit(name=text)

    @property
    def notes(self) -> str | None:
        """What a reader should know."""
        return self._info.notes

    @notes.setter
    def notes(self, text: str | None) -> None:
        self._edit(notes=text or "")

    @property
    def tags(self) -> tuple[str, ...]:
        """What it is marked with."""
        return tuple(self._info.tags)

    @tags.setter
    def tags(self, names: Sequence[str]) -> None:
        self._edit(tags=list(names))

    @property
    def group(self) -> str | None:
        """The runs that belong together."""
        return self._info.group

    @property
    def job_type(self) -> str | None:
        """What it does."""
        return self._info.job_type

    @property
    def config(self) -> Config:
        """What it was told; see Config."""
        return self._config

    @property
    def state(self) -> str:
        """`running`, `finished` or `crashed`."""
        return self._info.state

    @property
    def dir(self) -> str:
        """The folder that it was begun in, or that `init` was given."""
        return str(self._dir)

    @property
    def start_time(self) -> float:
        """UTC seconds."""
        return self._info.started_at

    @property
    def created_at(self) -> str:
        """The same as text."""
        return written_time(self._info.started_at)

    # Artifacts.

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        tags: Sequence[str] | str | None = None,
    ) -> Artifact:
        """Make a version of an artifact, or of a file, a folder or a URI, in the background; `wait()` for it.

        Of a path comes what stands there now. More than 32 MiB are read in the background: until `wait` returns such
        files must stay as they are, else there is no version, and `wait` and `finish` raise Conflict (file-changed).

        It is called `run-<id>-<last name>` and is of the type `unspecified` if nothing else is said. The aliases move
        to it, `latest` as well. Content equal to that of an earlier version makes no new one: that is the version then.

        Raises Invalid (bad-alias, bad-tag, type-clash, not-a-path, other-project), WrongType, Conflict (run-ended).
        What goes wrong later is raised by `wait` and by `finish`.
        """
        self._check_going_on("log_artifact")
        artifact = self._artifact(artifact_or_path, name, type or UNSPECIFIED)
        return self._log(artifact, aliases=aliases, tags=tags)

    def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Note that this run reads a version, and answer it: `[[entity/]project/]name[:alias]`, or an artifact.

        A draft is logged first, with the aliases. Raises MissingArtifact, Invalid (other-type, bad-reference).
        """
        self._check_going_on("use_artifact")
        given: object = artifact_or_name
        if isinstance(given, Artifact):
            artifact = given
            if artifact.is_draft():
                artifact = (self._log(artifact, aliases=aliases) if artifact.is_new else artifact).wait()
        elif isinstance(given, str):
            with users_errors():
                info = _version_named(self._hall.settled(), given, self.project)
            artifact = Artifact.of_version(self._hall, info)
        else:
            message = f"an artifact or its name is used, not {given!r}"
            raise WrongType(message, code="not-an-artifact")
        if type is not None and artifact.type != type:
            message = f"{artifact.name!r} is of type {artifact.type!r}, not {type!r}"
            raise Invalid(message, code="other-type")
        with users_errors():
            self._hall.settled().use(self.id, artifact.info.exact, project=self.project)
        artifact.note_use(use_as)
        return artifact

    def upsert_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Add a part to a version that several runs make together, in the background; `wait()` until it is safe.

        The parts of one name belong together that have the same distributed_id, or by default the runs' same group.
        Nobody sees them before `finish_artifact`; what comes after that belongs to the next version. What a run adds a
        second time is there once.

        Where the store has an upstream, the part is sent there before `wait` returns, so that runs with other stores
        can gather it. If that cannot be, a line says so: it is safe here, and goes when the run ends or with the next
        `artstore push`.

        Raises WrongType (no-distributed-id) where there is neither, ArtifactFinalizedError for what was logged already,
        and as log_artifact.
        """
        self._check_going_on("upsert_artifact")
        shared = self._distributed_id(distributed_id, "upsert")
        artifact = self._artifact(artifact_or_path, name, type or UNSPECIFIED)
        with users_errors():
            task = artifact.add_part_to(self._hall, self.project, self.id, shared, aliases=aliases)
        self._is_shared = True
        return self._remember(artifact, task)

    def finish_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        distributed_id: str | None = None,
        *,
        expect: int | None = None,
    ) -> Artifact:
        """Make the version of all parts and of this, in the background; `wait()` for it.

        It does not depend on the order of the parts. `wait` and `finish` raise PathCollision where two parts have
        different bytes for one path, and Conflict (parts-missing) where there are fewer than `expect`; then the parts
        are there still. Raises as upsert_artifact.

        Where the store has an upstream, what other stores have sent there is gathered too, without its bytes, and the
        version is sent there. Then `wait` and `finish` also raise Unreachable (parts-unknown) where the upstream cannot
        be asked, unless `expect` parts are here; and Conflict (parts-gathered) where somebody else was faster, and made
        another version of the same parts.
        """
        self._check_going_on("finish_artifact")
        shared = self._distributed_id(distributed_id, "finish")
        artifact = self._artifact(artifact_or_path, name, type or UNSPECIFIED)
        with users_errors():
            task = artifact.finish_parts_in(self._hall, self.project, self.id, shared, aliases=aliases, expect=expect)
        self._is_shared = True
        return self._remember(artifact, task)

    def logged_artifacts(self) -> list[Artifact]:
        """What it logged so far, in that order."""
        return [Artifact.of_version(self._hall, i) for i in self._hall.settled().outputs(self.id, project=self.project)]

    def used_artifacts(self) -> list[Artifact]:
        """What it used so far, in that order."""
        return [Artifact.of_version(self._hall, i) for i in self._hall.settled().inputs(self.id, project=self.project)]

    def log_model(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        aliases: Sequence[str] | str | None = None,
    ) -> Artifact:
        """Log a file or folder as an artifact of the type `model`."""
        return self.log_artifact(path, name=name, type=_MODEL, aliases=aliases)

    def use_model(self, name: str) -> str:
        """Use a model, write its files, and answer the file, or, where there are several, their folder.

        Raises NotAModel where its type does not say that it is one, and as use_artifact.
        """
        artifact = self.use_artifact(name)
        if _MODEL not in artifact.type.lower():
            message = f"{artifact.name!r} is of type {artifact.type!r}, which does not say that it is a model"
            raise NotAModel(message, code="not-a-model")
        folder = artifact.download()
        entries = list(artifact.manifest.entries)
        return str(Path(folder, entries[0])) if len(entries) == 1 else folder

    def link_artifact(
        self, artifact: Artifact, target_path: str, aliases: Sequence[str] | str | None = None
    ) -> Artifact:
        """Put an artifact into a portfolio, and answer the link; see Artifact.link. A draft is logged by this run."""
        self._check_going_on("link_artifact")
        if artifact.is_new:
            self._log(artifact)
        return artifact.link(target_path, aliases)

    def link_model(
        self,
        path: str | os.PathLike[str],
        registered_model_name: str,
        name: str | None = None,
        aliases: Sequence[str] | str | None = None,
    ) -> Artifact:
        """Log a file or folder as a model, put it into the portfolio of the registered name, and answer the link."""
        return self.link_artifact(self.log_model(path, name=name), registered_model_name, aliases)

    def log_code(
        self,
        root: str | os.PathLike[str] = ".",
        name: str | None = None,
        include_fn: Callable[..., bool] | None = None,
        exclude_fn: Callable[..., bool] | None = None,
    ) -> Artifact | None:
        """Log the Python files and Dockerfiles below a folder as an artifact of the type `code`.

        Or those that include_fn(path) wants and exclude_fn(path) does not. Answers None where there are none.
        """
        self._check_going_on("log_code")
        top = Path(root).absolute()
        named = safe_name(name or f"code-{self.project}-{Path(sys.argv[0]).stem or 'python'}")
        artifact = Artifact(named, "code")
        for path in sorted(top.rglob("*")):
            wanted = _is_code(path) if include_fn is None else include_fn(str(path))
            if wanted and path.is_file() and not (exclude_fn is not None and exclude_fn(str(path))):
                artifact.add_file(path, path.relative_to(top))
        return self._log(artifact) if artifact.manifest.entries else None

    # What artstore does not keep.

    def log(self, *given: object, **more: object) -> None:
        """Raise Invalid (no-metrics): artstore keeps artifacts, not the metrics of a run."""
        del given, more
        raise no_metrics()

    @property
    def summary(self) -> Any:
        """Raise Invalid (no-metrics), as `log`."""
        raise no_metrics()

    # Its end.

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run, when all that it logged is there. May be called again.

        Raises the first error of a log that nobody was told of; the others are its notes, and the run counts as
        crashed then, as it does with an exit_code other than 0.
        """
        del quiet
        errors = self._end("crashed" if exit_code else "finished")
        if errors:
            first, *others = errors
            for other in others:
                first.add_note(f"and: {other}")
            raise first

    def _end(self, state: Literal["finished", "crashed"]) -> list[BaseException]:
        """End, and answer what went wrong; where it is a crash anyway, that is said and not answered."""
        if self._is_over or self._pid != os.getpid():
            return []
        self._is_over = True
        active.leave(self)
        _going_on.remove(self)
        self._hall.queue.drain()
        errors = [error for _, task in self._tasks if (error := task.untold()) is not None]
        for reference, task in self._tasks:
            artifact = reference()
            if artifact is not None and task.is_well:
                artifact.wait()
        store = self._hall.store
        try:
            self._info = store.finish_run(self.id, state="crashed" if errors else state, project=self.project)
        finally:
            self._hold.release()
        if self._is_shared:
            sharing.send(store, self.project, f"the end of run {self.id!r}")
        if state == "crashed":
            for error in errors:
                note(f"not logged: {error}")
            return []
        return errors

    # Inside.

    def _artifact(self, given: object, name: str | None, type: str) -> Artifact:
        """The artifact that is meant, or one of what is at a path. Raises WrongType, Invalid (not-a-path)."""
        if isinstance(given, Artifact):
            return given
        if not isinstance(given, str | os.PathLike):
            message = f"an artifact or a path is logged, not {given!r}"
            raise WrongType(message, code="not-an-artifact")
        path = os.fspath(given)
        last = os.path.basename(path.rstrip("/\\"))
        artifact = Artifact(name or f"run-{self.id}-{last}", type)
        if os.path.isfile(path) or os.path.isdir(path):
            artifact.add_later(path)
        elif "://" in path:
            artifact.add_reference(path)
        else:
            message = f"{path!r} is not there: log a file, a folder, or a URI such as s3://bucket/path"
            raise Invalid(message, code="not-a-path")
        return artifact

    def _log(self, artifact: Artifact, *, aliases: object = None, tags: object = None) -> Artifact:
        with users_errors():
            task = artifact.log_to(self._hall, self.project, self.id, aliases=aliases, tags=tags)
        return self._remember(artifact, task)

    def _remember(self, artifact: Artifact, task: Task[Any]) -> Artifact:
        # A run of weeks does not keep all that it ever logged.
        self._tasks = [(there, each) for there, each in self._tasks if there() is not None or not each.is_over]
        self._tasks.append((weakref.ref(artifact), task))
        return artifact

    def _distributed_id(self, given: str | None, verb: str) -> str:
        shared = given or self.group
        if shared is None:
            message = f"cannot {verb} an artifact unless the run is in a group or a distributed_id is provided"
            raise WrongType(message, code="no-distributed-id")
        return shared

    def _keep_config(self, values: dict[str, Any], remove: list[str]) -> None:
        self._check_going_on("config")
        kept = recorded({key: self._config_value(value) for key, value in values.items()})
        self._edit(config=kept, remove=remove)

    def _config_value(self, value: Any) -> Any:
        if isinstance(value, Artifact) or (isinstance(value, str) and value.startswith(_SCHEMES)):
            return self.use_artifact(value).json_encode()
        return value

    def _edit(self, **changes: Any) -> None:
        self._check_going_on("this")
        self._info = self._hall.settled().edit_run(self.id, project=self.project, **changes)

    def _check_going_on(self, verb: str) -> None:
        if self._is_over:
            # A thread may come while the end of the run waits for what it logged.
            state = "ending" if self.state == "running" else self.state
            message = f"run {self.id!r} is {state}: {verb} needs one that goes on, so begin another with init()"
            raise Conflict(message, code="run-ended")
        if self._pid != os.getpid():
            message = f"run {self.id!r} was begun by the process {self._pid}: begin one in each process with init()"
            raise Conflict(message, code="other-process")


_going_on: Final[list[Run]] = []


def no_metrics() -> Invalid:
    """The error for whoever logs metrics."""
    message = (
        "artstore keeps artifacts, not metrics: put a figure into `run.config` or the metadata of an artifact, and a "
        "table into an artifact with `artifact.add(table, name)`"
    )
    return Invalid(message, code="no-metrics")


def _end_all() -> None:
    """End the runs that nobody has ended, when the interpreter ends: as crashed where it ends because of a failure."""
    failed = exits.is_failure()
    for run in tuple(_going_on):
        with contextlib.suppress(ArtstoreError):
            for error in run._end("crashed" if failed else "finished"):  # noqa: SLF001 - of this module
                note(f"not logged: {error}")


at_end(_end_all)


def _version_named(store: Store, text: str, project: str) -> VersionInfo:
    """The version of `[[entity/]project/]name[:alias]`, a scheme before it or not, or of `_id/<id>`."""
    for scheme in _SCHEMES:
        text = text.removeprefix(scheme)
    if text.startswith(_BY_ID):
        return version_of_id(store, text.removeprefix(_BY_ID))
    return store.version(text, project=project)


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or fnmatch.fnmatch(path.name, "Dockerfile*")
