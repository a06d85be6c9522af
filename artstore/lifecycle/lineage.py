"""Lineage: which runs made and used which versions, and so what came from what.

A run that used a version before it made another one is how the other came to be. What it used later is not: so nothing
comes from itself, however long a run works. Content that was known already comes from who logged it first; who logged
it again has not made it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from artstore.errors import Invalid
from artstore.lifecycle.reports import EdgeKind, LineageEdge, LineageNode, LineageReport, RunInfo, VersionInfo
from artstore.lifecycle.resolve import Resolved, absent_version, find_project, find_version
from artstore.lifecycle.runs import describe_run, run_row
from artstore.model.state import Used
from artstore.storage.catalog import ProjectView
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
        for project, run, _position in root.catalog.uses_of(resolved.version.id)
    ]


def lineage(root: Root, resolved: Resolved, *, up: bool, down: bool, depth: int | None) -> LineageReport:
    """What a version came from, and what came from it; see Store.lineage."""
    if depth is not None and depth < 0:
        message = f"a depth of {depth} is none: give 0 or more, or nothing for all"
        raise Invalid(message, code="bad-depth")
    with root.catalog.snapshot():
        walk = _Walk(root, resolved.info(), depth)
        if up:
            walk.up()
        if down:
            walk.down()
    edges, loops = _without_loops(walk)
    return LineageReport(start=resolved.version.id, nodes=list(walk.nodes.values()), edges=edges, loops=loops)


class _Walk:
    """The graph as far as it was walked. Versions go by their id, runs by `run:project/id`."""

    def __init__(self, root: Root, start: VersionInfo, depth: int | None) -> None:
        self.nodes: dict[str, LineageNode] = {start.id: LineageNode(key=start.id, depth=0, version=start)}
        self.edges: dict[tuple[str, str], LineageEdge] = {}
        self._root = root
        self._start = start
        self._depth = depth
        self._views: dict[str, ProjectView | None] = {}

    def up(self) -> None:
        """Walk from the version to what it came from."""
        until: dict[str, int] = {}
        """Of each run, up to which place in the log its uses are known."""
        queue = deque([(self._start.project, self._start.id, 0)])
        while queue:
            project, id_, at = queue.popleft()
            view = self._view(project)
            if view is None or not self._goes_on(at):
                continue
            for made in view.makers_of(id_):
                run = self._run(project, view, made.run, -at - 1)
                if run is None:
                    continue
                self._edge(run, id_, "logged")
                known = until.get(run, 0)
                if made.position <= known or not self._goes_on(at + 1):
                    continue
                until[run] = made.position
                for used in view.used_by(made.run):
                    if known <= used.position < made.position:
                        version = _used_version(self._root, used)
                        if self._version(version, -at - 2):
                            queue.append((version.project, version.id, at + 2))
                        self._edge(used.version, run, "used")

    def down(self) -> None:
        """Walk from the version to what came from it."""
        since: dict[str, int] = {}
        """Of each run, from which place in the log on what it made is known."""
        queue = deque([(self._start.id, 0)])
        while queue:
            id_, at = queue.popleft()
            if not self._goes_on(at):
                continue
            for project, name, position in self._root.catalog.uses_of(id_):
                view = self._view(project)
                run = None if view is None else self._run(project, view, name, at + 1)
                if view is None or run is None:
                    continue
                self._edge(id_, run, "used")
                known = since.get(run)
                if (known is not None and position >= known) or not self._goes_on(at + 1):
                    continue
                since[run] = position
                for made in view.logged_by(name):
                    if made.relogged or made.position < position or (known is not None and made.position > known):
                        continue
                    version = find_version(self._root, project, made.version)
                    if version is not None:
                        if self._version(version, at + 2):
                            queue.append((made.version, at + 2))
                        self._edge(run, made.version, "logged")

    def _goes_on(self, at: int) -> bool:
        return self._depth is None or at < self._depth

    def _view(self, project: str) -> ProjectView | None:
        if project not in self._views:
            found = self._root.catalog.project(project)
            self._views[project] = None if found is None else ProjectView(self._root.catalog, found.id)
        return self._views[project]

    def _run(self, project: str, view: ProjectView, id_: str, depth: int) -> str | None:
        key = f"run:{project}/{id_}"
        if key not in self.nodes:
            run = view.run(id_)
            if run is None:
                return None
            self.nodes[key] = LineageNode(key=key, depth=depth, run=describe_run(project, run))
        return key

    def _version(self, version: VersionInfo, depth: int) -> bool:
        """Note a version; answers whether it is new."""
        is_new = version.id not in self.nodes
        if is_new:
            self.nodes[version.id] = LineageNode(key=version.id, depth=depth, version=version)
        return is_new

    def _edge(self, source: str, target: str, kind: EdgeKind) -> None:
        self.edges.setdefault((source, target), LineageEdge(source=source, target=target, kind=kind))


def _without_loops(walk: _Walk) -> tuple[list[LineageEdge], list[LineageEdge]]:
    """The edges, and those that would close a circle: a run that made, used and made again stands in one place only.

    What closes one is the use of the version that was made last.
    """
    edges = dict(walk.edges)
    loops: list[LineageEdge] = []
    while circle := _circle(list(edges.values())):
        uses = [edges[pair] for pair in itertools.pairwise(circle) if edges[pair].kind == "used"]
        last = max(uses, key=lambda edge: (_created_at(walk.nodes[edge.source]), edge.source))
        loops.append(edges.pop((last.source, last.target)))
    return list(edges.values()), loops


def _circle(edges: Sequence[LineageEdge]) -> list[str]:
    """Nodes that lead back to the first, in the direction of the edges; none if there are no such."""
    before: dict[str, list[str]] = {}
    for edge in edges:
        before.setdefault(edge.target, []).append(edge.source)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        # Each stands before the one behind it, or behind it: the library does not promise which.
        pairs = {(edge.source, edge.target) for edge in edges}
        return found if all(pair in pairs for pair in itertools.pairwise(found)) else found[::-1]
    return []


def _created_at(node: LineageNode) -> float:
    return 0.0 if node.version is None else node.version.created_at


def _used_version(root: Root, used: Used) -> VersionInfo:
    found = find_version(root, used.used_project, used.version)
    return found or absent_version(used.used_project, used.version, used.name, used.digest)
