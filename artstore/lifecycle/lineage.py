"""Lineage: which runs made and used which versions."""

from __future__ import annotations

from artstore.lifecycle.reports import RunInfo, VersionInfo
from artstore.lifecycle.resolve import Resolved, absent_version, find_project, find_version
from artstore.lifecycle.runs import describe_run, run_row
from artstore.model.state import Used
from artstore.storage.root import Root


def inputs(root: Root, project: str, run: str) -> list[VersionInfo]:
    """What a run used, in that order; a version that is not here is `absent`. Raises NotFound (run-not-found)."""
    run_row(root, project, run)
    _, view = find_project(root, project)
    return [_used_version(root, used) for used in view.used_by(run)]


def outputs(root: Root, project: str, run: str) -> list[VersionInfo]:
    """What a run logged, in that order, known content included. Raises NotFound (run-not-found)."""
    run_row(root, project, run)
    _, view = find_project(root, project)
    found = (find_version(root, project, logged.version) for logged in view.logged_by(run))
    return [version for version in found if version is not None]


def producer(resolved: Resolved) -> RunInfo | None:
    """The run that made a version, if one did that is known here."""
    run = None if resolved.version.run is None else resolved.view.run(resolved.version.run)
    return None if run is None else describe_run(resolved.project.name, run)


def consumers(root: Root, resolved: Resolved) -> list[RunInfo]:
    """The runs of this store that used a version, the first first."""
    return [
        describe_run(project, run_row(root, project, run))
        for project, run in root.catalog.users_of(resolved.version.id)
    ]


def _used_version(root: Root, used: Used) -> VersionInfo:
    found = find_version(root, used.used_project, used.version)
    return found or absent_version(used.used_project, used.version, used.name, used.digest)
