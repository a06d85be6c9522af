"""Script: what a script calls on the module itself: `init`, and the verbs of the run that is active."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from artstore.api import active
from artstore.api.artifact import Artifact
from artstore.api.config import Config, as_mapping
from artstore.api.run import Run, no_metrics
from artstore.api.settings import setting, system_path, words
from artstore.api.stores import Hall, hall_for_once, hall_here, project_or_default, users_errors
from artstore.api.terminal import note
from artstore.errors import Conflict, Invalid, MissingArtifact, NotFound
from artstore.model.arguments import checking

MODES: Final = ("online", "offline", "dryrun", "shared", "disabled")
RESUME: Final = ("allow", "auto", "must", "never")
ONLY_ONLINE: Final = frozenset(
    {
        *("allow_val_change", "anonymous", "config_exclude_keys", "config_include_keys", "force", "fork_from"),
        *("magic", "monitor_gym", "resume_from", "save_code", "settings", "sync_tensorboard", "tensorboard"),
    }
)
"""What W&B's `init` takes besides, and what means nothing without its server and its metrics."""


@checking
def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | str | None = None,
    config: Any = None,
    *,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    **others: object,
) -> Run:
    """Begin a run and make it the active one of this thread; use it as a context manager, or `finish()` it.

    While this thread has one that goes on, that one is answered, unless reinit is `finish_previous` (or True) or
    `create_new`. The store is the one that `artstore` commands would use here, whatever `dir` says, which is the run's
    own folder, made if it is not there; `mode="disabled"` works in a store that is gone when the process ends, and the
    other modes mean the same here. Project, group, job type, name, id, tags and notes may come from the environment, as
    ARTSTORE_PROJECT, ARTSTORE_RUN_GROUP, ARTSTORE_JOB_TYPE, ARTSTORE_NAME, ARTSTORE_RUN_ID, ARTSTORE_TAGS and
    ARTSTORE_NOTES, or with WANDB_ in front. A run with an `id` that is there goes on; resume="must" wants it there,
    "never" does not. One that was begun with it on another machine, and is not known here yet, is the same run when the
    two meet; what was said of each, such as its config, is kept beside what was said of the first, as `artstore run ID`
    shows. `entity` is taken and ignored: everything here is of one owner.

    Raises Invalid (bad-name, bad-mode, bad-tag, bad-metadata), WrongType (wrong-type, not-text), MissingArtifact
    (run-not-found), Conflict (run-exists).
    """
    del entity
    _check_others(others)
    before = active.run_of_process() if reinit == "return_previous" else active.run_of_thread()
    if isinstance(before, Run):
        if reinit in (None, False, "default", "return_previous"):
            return before
        if reinit != "create_new":
            before.finish()
    wanted = mode or setting("MODE") or "online"
    if wanted not in MODES:
        message = f"the mode {wanted!r} is not one of {', '.join(MODES)}"
        raise Invalid(message, code="bad-mode")
    folder = None if dir is None else system_path(dir, what="dir").expanduser().absolute()
    hall = hall_for_once() if wanted == "disabled" else hall_here()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    place = project_or_default(project)
    values = as_mapping(config)
    run_id = id or setting("RUN_ID")
    _check_resume(hall, place, run_id, resume)
    with users_errors():
        info = hall.settled().start_run(
            project=place,
            id=run_id,
            name=name or setting("NAME"),
            job_type=job_type or setting("JOB_TYPE"),
            group=group or setting("RUN_GROUP"),
            notes=notes or setting("NOTES"),
            tags=tags or words("TAGS") or (),
        )
    run = Run(hall, info, folder=folder or Path.cwd())
    try:
        if values:
            run.config.update(values)
    except BaseException as error:
        # Nobody has it, so nobody could end it.
        run.__exit__(type(error), error, error.__traceback__)
        raise
    return run


def active_run() -> Run | None:
    """The run that is active here, if one is."""
    run = active.run_of_process()
    return run if isinstance(run, Run) else None


def active_config() -> Config:
    """The config of the active run; without one it is empty, and to read or set a key raises Conflict (no-run)."""
    run = active_run()
    return _NoConfig({}, _keep_nothing) if run is None else run.config


def log_artifact(
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Sequence[str] | str | None = None,
    tags: Sequence[str] | str | None = None,
) -> Artifact:
    """As `Run.log_artifact`, of the active run. Raises Conflict (no-run) as well."""
    return _active("log_artifact").log_artifact(artifact_or_path, name, type, aliases, tags)


def use_artifact(
    artifact_or_name: Artifact | str,
    type: str | None = None,
    aliases: Sequence[str] | str | None = None,
    use_as: str | None = None,
) -> Artifact:
    """As `Run.use_artifact`, of the active run. Raises Conflict (no-run) as well."""
    return _active("use_artifact").use_artifact(artifact_or_name, type, aliases, use_as)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the active run, if there is one. Raises as `Run.finish`."""
    run = active_run()
    if run is not None:
        run.finish(exit_code, quiet)


def log(*given: object, **more: object) -> None:
    """Raise Invalid (no-metrics): artstore keeps artifacts, not the metrics of a run."""
    del given, more
    raise no_metrics()


def login(*given: object, **more: object) -> bool:
    """Answer True: there is nobody to log in to."""
    del given, more
    return True


class _NoConfig(Config):
    """The config of no run."""

    def __getitem__(self, key: str) -> Any:
        raise _no_run(f"config[{key!r}]")

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            # Python and its tools look for these in anything.
            raise AttributeError(key)
        raise _no_run(f"config.{key}")


def _keep_nothing(values: dict[str, Any], remove: list[str]) -> None:
    del values, remove
    raise _no_run("config")


def _active(verb: str) -> Run:
    run = active_run()
    if run is None:
        raise _no_run(verb)
    return run


def _no_run(verb: str) -> Conflict:
    return Conflict(f"{verb} needs a run: call artstore.init() first", code="no-run")


def _check_others(others: dict[str, object]) -> None:
    unknown = sorted(set(others) - ONLY_ONLINE)
    if unknown:
        message = f"init() got an unexpected keyword argument {unknown[0]!r}"
        raise TypeError(message)
    for name, value in others.items():
        if value is not None:
            note(f"init({name}=…) means nothing without a server, and is not heeded")


def _check_resume(hall: Hall, project: str, id: str | None, resume: bool | str | None) -> None:
    if resume not in (None, True, False, *RESUME):
        message = f"resume is {resume!r}; it may be {', '.join(map(repr, RESUME))}, True or False"
        raise Invalid(message, code="bad-resume")
    if resume == "must" and id is None:
        message = "resume='must' needs the id of the run that is to go on"
        raise Invalid(message, code="bad-resume")
    if id is None or resume not in ("must", "never"):
        return
    try:
        hall.settled().run(id, project=project)
        is_there = True
    except NotFound:
        is_there = False
    if resume == "must" and not is_there:
        message = f"there is no run {id!r} in project {project!r} that could go on"
        raise MissingArtifact(message, code="run-not-found")
    if resume == "never" and is_there:
        message = f"run {id!r} is in project {project!r} already: choose another id"
        raise Conflict(message, code="run-exists")
