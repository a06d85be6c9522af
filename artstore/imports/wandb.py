"""Import what the real wandb package has left on this machine: its runs, and the artifacts that they logged.

What becomes of it:

    run folder            a run with its id, name, notes, tags, group, job type, config, start and end; crashed where
                          the log says no good end
    logged artifact       a version in the collection of its name, in the order in which it was logged, with its date,
                          description, metadata, tags, aliases and time to live; equal content is no new version
    parts (upsert)        gathered by their `finish_artifact`
    incremental           what the collection's last imported version holds, and what was added
    reference             a reference with the state that was recorded; into another artifact of these logs, its bytes

An artifact is carried over whole, every byte checked against its manifest before the commit, or it is in the report.
Numbers count what is here, so v3 need not be what W&B's server calls v3. Importing again adds what is new since; a run
that an earlier import could not end is gone through once more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from artstore.errors import ArtstoreError, Invalid, NotFound
from artstore.imports.reports import ImportedRun, ImportedVersion, ImportReport, Left
from artstore.imports.wandb_files import Whereabouts
from artstore.imports.wandb_runs import LoggedArtifact, LoggedEntry, LoggedRun, read_runs
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.label import checked_metadata
from artstore.lifecycle.reports import RunInfo
from artstore.model.digest import Digest
from artstore.model.manifest import Entry, reference
from artstore.model.names import LATEST, UNCATEGORIZED, alias_name, tag_name
from artstore.model.paths import entry_path
from artstore.store import Store

_OWN: Final = "wandb-client-artifact"
_SERVER: Final = "wandb-artifact"
_NAMED: Final = 3
"""Files that a reason names."""


def import_wandb(
    store: Store,
    folder: Path,
    *,
    places: Sequence[Path] = (),
    project: str | None = None,
) -> ImportReport:
    """Import every run whose log lies below a folder.

    places are folders that hold W&B's `artifacts`: its cache and its data folder; `folder` is looked in as well.
    project takes the place of the runs' own projects. Raises NotFound (folder-not-found, no-runs).
    """
    began = time.monotonic()
    if not folder.is_dir():
        message = f"there is no folder {str(folder)!r}"
        raise NotFound(message, code="folder-not-found")
    runs, left = read_runs(folder)
    if not runs and not left:
        message = f"no run of W&B has left a log below {str(folder)!r}: name the folder that holds `wandb`"
        raise NotFound(message, code="no-runs")
    work = _Import(store, [*places, folder], project, left)
    for run in runs:
        work.begin(run)
    for artifact in sorted((each for run in runs for each in run.artifacts), key=lambda each: each.logged_at):
        work.take(artifact)
    work.end()
    return ImportReport(
        source=str(folder),
        runs=work.runs,
        versions=work.versions,
        left=work.left,
        seconds=time.monotonic() - began,
    )


class _Here:
    """A run in the store."""

    def __init__(self, logged: LoggedRun, project: str, earlier: RunInfo | None, known: Counter[str]) -> None:
        self.logged = logged
        self.project = project
        self.was_ended = earlier is not None and earlier.state != "running"
        self._known = known
        self._seen: set[tuple[str, str]] = set()

    def has(self, name: str, digest: str) -> bool:
        """Whether an earlier import has brought this content; its collection may have another name by now."""
        if not self.was_ended:
            return False
        if (name, digest) not in self._seen:
            if not self._known[digest]:
                return False
            self._known[digest] -= 1
            self._seen.add((name, digest))
        return True


class _Import:
    """One import, and what came of it so far."""

    def __init__(self, store: Store, places: Sequence[Path], project: str | None, left: list[Left]) -> None:
        self._store = store
        self._places = places
        self._project = project
        self._here: dict[tuple[str, str], _Here] = {}
        self._parts: dict[tuple[str, str, str], list[LoggedArtifact]] = {}
        self._entries: dict[str, Mapping[str, Entry]] = {}
        self.left = left
        self.runs: list[ImportedRun] = []
        self.versions: list[ImportedVersion] = []

    def begin(self, run: LoggedRun) -> None:
        """Make the run, if it is not here."""
        project = self._project or run.project or UNCATEGORIZED
        try:
            earlier = self._run(run.id, project)
            if earlier is None:
                self._store.start_run(
                    project=project,
                    id=run.id,
                    name=run.name,
                    job_type=run.job_type,
                    group=run.group,
                    notes=run.notes,
                    tags=self._labels(run.tags, "tag", run.id),
                    config=self._metadata(run.config, run.id),
                    started_at=run.started_at or None,
                )
        except Invalid as error:
            why = f"{error.message}: all of the run is left; --project names another project"
            self._leave("run", run.id, why)
            return
        outputs = [] if earlier is None else self._store.outputs(run.id, project=project)
        known = Counter(digest for _, digest in {(version.collection, version.digest) for version in outputs})
        self._here[run.project, run.id] = _Here(run, project, earlier, known)
        self.runs.append(ImportedRun(id=run.id, project=project, made=earlier is None))

    def take(self, artifact: LoggedArtifact) -> None:
        """Make a version of an artifact, or say why not."""
        here = self._here.get((artifact.project, artifact.run))
        if here is None:
            return  # `begin` has said why.
        parts = [artifact]
        if artifact.distributed_id:
            key = here.project, artifact.name, artifact.distributed_id
            parts = [*self._parts.get(key, []), artifact]
            if not artifact.is_final:
                self._parts[key] = parts
                return
            self._parts.pop(key, None)
        where = f"{artifact.run}: {artifact.name} ({artifact.type})"
        try:
            with self._store.draft() as draft:
                problems = [why for part in parts for why in self._fill(draft, part, where)]
                if problems:
                    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
                    self._leave("artifact", where, "; ".join(problems[:_NAMED]) + more)
                else:
                    self._commit(draft, artifact, here, where)
        except (ArtstoreError, OSError) as error:
            self._leave("artifact", where, str(error))

    def end(self) -> None:
        """End the runs that were not, and name the parts that were never gathered."""
        for (_, name, distributed), parts in self._parts.items():
            why = f"{len(parts)} parts of the distributed artifact {distributed!r} were never finished"
            self._leave("artifact", f"{parts[0].run}: {name} ({parts[0].type})", why)
        for here in self._here.values():
            if not here.was_ended:
                self._store.finish_run(
                    here.logged.id,
                    project=here.project,
                    state="finished" if here.logged.exit_code == 0 else "crashed",
                    ended_at=here.logged.ended_at or None,
                )

    def _commit(self, draft: Draft, artifact: LoggedArtifact, here: _Here, where: str) -> None:
        if artifact.is_incremental:
            self._build_on_last(draft, artifact, here, where)
        digest = str(draft.content().digest)
        is_here = here.has(artifact.name, digest)
        if artifact.client_id:
            self._entries[artifact.client_id] = dict(draft.entries)
        if is_here:
            same = [each for each in self._store.outputs(artifact.run, project=here.project) if each.digest == digest]
            version = next((each for each in same if each.collection == artifact.name), same[0])
        else:
            before = {each.id for each in self._versions(artifact.name, here.project)}
            version = self._store.commit(
                draft,
                name=artifact.name,
                type=artifact.type,
                project=here.project,
                aliases=self._labels([each for each in artifact.aliases if each != LATEST], "alias", where),
                tags=self._labels(artifact.tags, "tag", where),
                description=artifact.description,
                metadata=self._metadata(artifact.metadata, where),
                ttl_s=artifact.ttl_s if artifact.ttl_s > 0 else None,
                run=artifact.run,
                created_at=artifact.logged_at or None,
            )
            is_here = version.id in before
        self.versions.append(
            ImportedVersion(
                run=artifact.run,
                ref=version.ref,
                type=version.type,
                files=version.files,
                bytes=version.bytes,
                made=not is_here,
            ),
        )

    def _fill(self, draft: Draft, artifact: LoggedArtifact, where: str) -> list[str]:
        """Add the entries of an artifact to a draft; answers what could not be added."""
        here = self._here[artifact.project, artifact.run]
        whereabouts = Whereabouts(here.logged.folders, self._places)
        problems = []
        for entry in artifact.entries:
            if entry.reference is None:
                why = whereabouts.store(draft, entry)
            elif entry.reference.startswith(f"{_OWN}://"):
                why = self._add_from_own(draft, entry)
            else:
                draft.add_entry(self._reference(entry, where))
                why = None
            if why is not None:
                problems.append(f"{entry.path!r}: {why}")
        return problems

    def _add_from_own(self, draft: Draft, entry: LoggedEntry) -> str | None:
        """Add an entry of another artifact of these logs."""
        target = urlsplit(entry.reference or "")
        there = self._entries.get(target.netloc.partition(":")[0], {}).get(unquote(target.path.lstrip("/")))
        if there is None:
            return f"it points at {entry.reference!r}, which no log here has"
        draft.add_entry(_at(there, entry.path))
        return None

    def _reference(self, entry: LoggedEntry, where: str) -> Entry:
        uri = entry.reference or ""
        scheme = urlsplit(uri).scheme
        checksum = entry.digest
        if scheme == "file":
            checksum, why = _state_of_file(uri, entry.digest)
            if why is not None:
                self._leave(
                    "reference", where, f"{entry.path!r}: {why}; it stays as a reference, and `get` will say so"
                )
        elif scheme == _SERVER:
            why = f"it points at {uri!r}, an artifact on W&B's server; it stays as a reference that cannot be fetched"
            self._leave("reference", where, f"{entry.path!r}: {why}")
        return reference(entry_path(entry.path), uri, checksum=checksum, size=entry.size, extra=entry.extra)

    def _build_on_last(self, draft: Draft, artifact: LoggedArtifact, here: _Here, where: str) -> None:
        try:
            self._store.build_on(draft, artifact.name, project=here.project)
        except NotFound:
            why = "it was logged as an addition to a version that only W&B's server has: it holds the additions alone"
            self._leave("base", where, why)

    def _labels(self, names: Sequence[str], what: str, where: str) -> list[str]:
        """Those that can be one here."""
        check = tag_name if what == "tag" else alias_name
        found = []
        for name in names:
            try:
                found.append(check(name))
            except Invalid as error:
                self._leave("label", where, error.message)
        return found

    def _metadata(self, given: str | Mapping[str, Any], where: str) -> dict[str, Any]:
        """As JSON can hold it; none where it cannot."""
        try:
            return checked_metadata(json.loads(given or "{}") if isinstance(given, str) else given)
        except (Invalid, ValueError, TypeError, RecursionError) as error:
            self._leave("metadata", where, str(error))
            return {}

    def _run(self, id_: str, project: str) -> RunInfo | None:
        try:
            return self._store.run(id_, project=project)
        except NotFound:
            return None

    def _versions(self, name: str, project: str) -> Sequence[Any]:
        try:
            return self._store.versions(name, project=project)
        except NotFound:
            return []

    def _leave(self, what: str, where: str, why: str) -> None:
        self.left.append(Left(what=what, where=where, why=why))


def _at(entry: Entry, path: str) -> Entry:
    """The entry under another path."""
    return type(entry)(**{name: getattr(entry, name) for name in entry.__struct_fields__} | {"path": entry_path(path)})


def _state_of_file(uri: str, digest: str) -> tuple[str, str | None]:
    """What artstore calls the state of a local file that W&B knows by MD5; and why it cannot, if so.

    W&B's digest of what it did not look into is that of the URI.
    """
    if base64.b64encode(hashlib.md5(uri.encode(), usedforsecurity=False).digest()).decode() == digest:
        return uri, None
    try:
        data = Path(url2pathname(urlsplit(uri).path)).read_bytes()
    except OSError as error:
        return digest, f"{uri!r} cannot be read ({error.strerror})"
    if base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode() != digest:
        return digest, f"{uri!r} has been changed since"
    return str(Digest.of(data)), None
