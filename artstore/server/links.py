"""Links: where the page of a thing is. The only place that puts an address together.

Every part is quoted, so that no name can begin another address, and all begin with `/`: nothing leads away from here.
A run's id may be `..`, which a browser takes for a step however it is written; so it stands behind the question mark.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from artstore.lifecycle.reports import CollectionInfo, LineageNode, MovedNumber, RunInfo, Usage, VersionInfo


def to_project(project: str) -> str:
    """A project's collections."""
    return f"/projects/{_part(project)}"


def to_collection(collection: CollectionInfo) -> str:
    """A collection's versions."""
    return f"{to_project(collection.project)}/{_part(collection.name)}"


def to_version(version: VersionInfo) -> str:
    """A version; of one that is gone, the collection that it was in."""
    place = to_collection_of(version)
    return f"{place}/v{version.number}" if version.state == "committed" else place


def to_collection_of(version: VersionInfo) -> str:
    """The collection that a version is in."""
    return f"{to_project(version.project)}/{_part(version.collection)}"


def to_link(version: VersionInfo) -> str:
    """The portfolio through which a version was found."""
    assert version.link is not None
    return f"{to_project(version.link.project)}/{_part(version.link.collection)}"


def to_usage(usage: Usage) -> str:
    """The collection whose space it is."""
    return f"{to_project(usage.project)}/{_part(usage.collection)}"


def to_moved(moved: MovedNumber) -> str:
    """A version whose number changed, or the page of the conflicts, where it waits in one."""
    if moved.now is None or moved.now_in is None:
        return "/remotes"
    return f"{to_project(moved.project)}/{_part(moved.now_in)}/v{moved.now}"


def to_file(version: VersionInfo, path: str = "") -> str:
    """A file or folder of a version."""
    return f"{to_version(version)}/files/{quote(path)}"


def to_raw(version: VersionInfo, path: str) -> str:
    """The bytes of a file."""
    return f"{to_version(version)}/raw/{quote(path)}"


def to_lineage(version: VersionInfo) -> str:
    """What a version came from, and what came from it."""
    return f"{to_version(version)}/lineage"


def to_diff(version: VersionInfo, before: int | None = None) -> str:
    """What lies between an earlier version and this one."""
    return f"{to_version(version)}/diff" + ("" if before is None else f"?before={before}")


def to_run(run: RunInfo) -> str:
    """A run."""
    return to_run_of(run.project, run.id)


def to_run_of(project: str, id: str) -> str:
    """A run, of which only the id is known."""
    return with_query("/run", project=project, id=id)


def to_node(node: LineageNode) -> str:
    """What a node of the lineage stands for."""
    if node.version is not None:
        return to_version(node.version)
    assert node.run is not None
    return to_run(node.run)


def with_query(address: str, **values: object) -> str:
    """An address with what is asked of it; None is left out."""
    return f"{address}?{urlencode({name: value for name, value in values.items() if value is not None})}"


def _part(name: str) -> str:
    return quote(name, safe="")
