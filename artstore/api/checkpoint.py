"""Checkpoint: what a training leaves in a folder, kept in the background, the last and the best of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from artstore.api import active
from artstore.api.artifact import Artifact
from artstore.api.background import Task
from artstore.api.late import Late
from artstore.api.metadata import metadata_of
from artstore.api.naming import checked_aliases, checked_name
from artstore.api.run import Run
from artstore.api.settings import system_path
from artstore.api.stores import Hall, hall_here, project_or_default, users_errors
from artstore.api.terminal import note
from artstore.errors import Conflict, Invalid, NotFound, WrongType

if TYPE_CHECKING:
    from artstore.lifecycle import prune, standing
    from artstore.lifecycle.reports import VersionInfo
else:
    prune = Late("artstore.lifecycle.prune")
    standing = Late("artstore.lifecycle.standing")

Best = tuple[str, Literal["max", "min"], int]
"""A key of the metadata, with dots into nested ones; which end is good; and how many are kept."""
_RULE: Final = [str, str, int]


class Save:
    """One save of a checkpoint: asked for, and there when `wait` returns."""

    def __init__(self, hall: Hall, step: int | None, task: Task[VersionInfo]) -> None:
        self.step = step
        """What it was saved with."""
        self._hall = hall
        self._task = task

    def wait(self, timeout: float | None = None) -> Artifact:
        """The version, when it is durable and the policy was applied; from then on the folder may be written to.

        By `keep_best` alone it may be gone again by then, if it was not one of the best.

        Raises what the save came to, Conflict (file-changed) where the folder was written to before it was read, and
        WaitTimeoutError after `timeout` seconds.
        """
        return Artifact.of_version(self._hall, self._task.result(timeout))


class checkpoint:  # noqa: N801 - a verb for its users, as contextlib's are
    """Keep what stands in a folder at each `save`, in the background; a context manager, which drains at its end.

    Each save makes a version of the collection `name`, in the order of the calls, of the run that is given, or else of
    the active one, or else of none. Files that did not change are not stored again; nor are they
    read again, once a save has found them two seconds old.

    What is kept is what stands in the folder at the call of `save`, which takes the stamps of the files and reads none.
    So until `wait` returns, files that were there must not be changed or removed: a save that finds them so keeps
    nothing and ends with Conflict (file-changed). New files beside them do not matter, and are not in it. A save is
    never left out: saves that are asked for faster than they can be done wait for their turn, and when 64 wait, `save`
    does too. A fork, as of the workers that load data, waits for the save that is being done.

    After each save the versions of the collection go, whichever run made them, that are neither one of the `keep_last`
    saved last nor one of the best by `keep_best`, one (key, "max" or "min", count) or several; without both all stay.
    What carries an alias other than `latest`, was used by a run, or is in a portfolio always stays. `artstore gc` frees
    the space.

    What goes wrong in the background is said on standard error at once, and raised by `wait` of the save, or else by
    the end of the `with`; where the body raised, its error is what is raised, with a note of each of the others, and
    what was saved before stays. A run that is begun by a `with` around this one is then marked as crashed.

    Raises Invalid (bad-name, bad-type, bad-policy, type-clash, other-project), WrongType (not-a-run).
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str,
        type: str = "model",
        *,
        run: Run | None = None,
        keep_last: int | None = None,
        keep_best: Best | Sequence[Best] = (),
        project: str | None = None,
    ) -> None:
        """Begin; the folder need not be there before the first save. `project` is for when there is no run."""
        self._folder = _place(folder)
        self._name, self._type = checked_name(name, type)
        self._keep_last = keep_last
        self._keep_best = _bests(keep_best)
        prune.policy(keep_last=keep_last, keep_best=self._keep_best)
        if keep_last == 0 or any(count == 0 for _, _, count in self._keep_best):
            message = "a checkpoint keeps at least 1 of the last, or of the best; leave the rule out to keep all"
            raise Invalid(message, code="bad-policy")
        given: object = run
        if given is not None and not isinstance(given, Run):
            message = f"run is what artstore.init() answered, or None, not {given!r}"
            raise WrongType(message, code="not-a-run")
        working = run or active.run_of_process()
        self._run = working if isinstance(working, Run) else None
        if self._run is not None and project not in (None, self._run.project):
            message = f"the run works in project {self._run.project!r}, so it cannot save to {project!r}"
            raise Invalid(message, code="other-project")
        self._hall = hall_here() if self._run is None else self._run.hall
        self._project = project_or_default(project) if self._run is None else self._run.project
        with contextlib.suppress(NotFound):
            there = self._hall.settled().collection(self._name, project=self._project)
            if there.type != self._type:
                message = f"{self._name!r} already exists with type {there.type!r}; cannot save a {self._type!r} to it"
                raise Invalid(message, code="type-clash")
        self._tasks: list[Task[VersionInfo]] = []
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        errors = self._drain()
        if error is not None:
            for other in errors:
                error.add_note(f"and a save of {self._name!r} went wrong: {other}")
        else:
            _raise(errors)

    def save(
        self,
        source: str | os.PathLike[str] | None = None,
        *,
        step: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        aliases: Sequence[str] | str | None = None,
    ) -> Save:
        """Keep what stands in the folder now, in the background; the step becomes a key of the metadata.

        Or what stands in `source`, another folder or a single file, for a training that gives each checkpoint a place
        of its own; a version holds that one checkpoint then, and what is said of the folder is said of the source.

        Content that is a version already makes no new one: that one is the latest again, with the metadata it has. An
        infinity in the metadata is an error, and NaN, which becomes null, is never one of the best.

        Raises at once, with nothing saved: Invalid (not-a-folder, empty-draft, unkeepable, bad-alias, bad-metadata,
        no-score where the metadata lack a key of `keep_best`), Refused (unreadable), Conflict (run-ended,
        checkpoint-ended).
        """
        self._check_going_on()
        place = self._folder if source is None else _place(source)
        named = checked_aliases(aliases)
        said = self._metadata(step, metadata)
        store, run = self._hall.store, None if self._run is None else self._run.id
        draft = store.draft()
        try:
            there = standing.Standing(draft, place)
        except BaseException:
            draft.discard()
            raise

        def keep() -> VersionInfo:
            with draft, users_errors():
                there.add()
                info = store.commit(
                    draft,
                    name=self._name,
                    type=self._type,
                    project=self._project,
                    aliases=named,
                    metadata=said,
                    run=run,
                )
            for warning in draft.warnings:
                note(warning)
            self._prune()
            return info

        def work() -> VersionInfo:
            try:
                return keep()
            except BaseException as error:
                what = self._name if step is None else f"{self._name} of step {step}"
                note(f"saving {what}: {error}")
                raise

        # A training of weeks does not keep all that it ever saved.
        self._tasks = [task for task in self._tasks if not task.is_over]
        task = self._hall.queue.add(self._name, work)
        self._tasks.append(task)
        return Save(self._hall, step, task)

    def wait(self) -> None:
        """Return when all that was saved is there. Raises the first error that nobody was told of."""
        _raise(self._drain())

    @property
    def scores(self) -> list[str]:
        """The keys of the metadata that `keep_best` goes by: every save says something of each, None at least."""
        return [key for key, _, _ in self._keep_best]

    def settle(self) -> None:
        """Return when nothing is being read any more: all that was saved may be written to, or removed.

        Raises nothing; what went wrong is still there for `wait` and for the end of the `with`.
        """
        self._hall.queue.drain()

    # Inside.

    def _drain(self) -> list[BaseException]:
        self._hall.queue.drain()
        return [error for task in self._tasks if (error := task.untold()) is not None]

    def _check_going_on(self) -> None:
        if self._is_over:
            message = f"the checkpoint {self._name!r} ended with its `with`: begin another one"
            raise Conflict(message, code="checkpoint-ended")
        if self._run is not None and self._run.state != "running":
            message = f"run {self._run.id!r} is {self._run.state}: save before it ends, or begin another with init()"
            raise Conflict(message, code="run-ended")

    def _metadata(self, step: int | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
        said = metadata_of(given)
        if step is not None and said.setdefault("step", int(step)) != step:
            message = f"the step is {step}, and {said['step']!r} in the metadata: give it once"
            raise Invalid(message, code="bad-metadata")
        for key, _, _ in self._keep_best:
            if not _has(said, key):
                message = f"keep_best goes by {key!r}, which is not in the metadata of this save: give it, or None"
                raise Invalid(message, code="no-score")
        return said

    def _prune(self) -> None:
        if self._keep_last is None and not self._keep_best:
            return
        try:
            self._hall.store.prune(
                [self._name], keep_last=self._keep_last, keep_best=self._keep_best, project=self._project
            )
        except Invalid as error:
            if error.code != "bad-policy":
                raise
            # As long as every score is NaN there is no best, which is no reason to end a training.
            note(error.message)


def _place(given: str | os.PathLike[str]) -> Path:
    return system_path(given, what="folder").expanduser().absolute()


def _bests(given: Any) -> list[Best]:
    """One rule or several. Raises Invalid (bad-policy)."""
    rules = [given] if given and isinstance(given[0], str) else list(given or ())
    for rule in rules:
        if not isinstance(rule, tuple | list) or list(map(type, rule)) != _RULE:
            message = f'keep_best is (key, "max" or "min", count), or several of these, not {given!r}'
            raise Invalid(message, code="bad-policy")
    return [(key, order, count) for key, order, count in rules]


def _has(metadata: dict[str, Any], key: str) -> bool:
    if key in metadata:
        return True
    value: Any = metadata
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _raise(errors: list[BaseException]) -> None:
    if errors:
        first, *others = errors
        for other in others:
            first.add_note(f"and: {other}")
        raise first
