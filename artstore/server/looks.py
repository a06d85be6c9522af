"""Looks: what each page shows, asked of the store.

One function a page: it takes the store and what was asked, and answers a frozen value, which becomes HTML by a template
or JSON as it is. Everything is paged: `next` is what to ask for to go on, None at the end.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from artstore.errors import AmbiguousVersion, Invalid, NotFound
from artstore.lifecycle.reports import (
    CollectionInfo,
    DiffReport,
    DuReport,
    EntryInfo,
    FolderReport,
    GrowthPoint,
    HistoryLine,
    LineageEdge,
    LineageReport,
    MovedNumber,
    RunInfo,
    SearchReport,
    StatusReport,
    VersionInfo,
)
from artstore.server import links
from artstore.server.asked import Asked
from artstore.server.previews import Preview, preview
from artstore.store import Store

PAGE: Final = 100
"""Versions, runs or collections on a page."""
FOLDER_PAGE: Final = 500
"""Files and folders on a page."""
NODES: Final = 300
"""Of a lineage: more can be neither laid out at once nor looked at."""
STEPS: Final = 6
"""How far a lineage goes, if nobody says."""


class ProjectShelf(msgspec.Struct, frozen=True, kw_only=True):
    """A project and some of its collections."""

    project: str
    collections: list[CollectionInfo]
    total: int
    """How many collections it has."""


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """The store at a glance."""

    status: StatusReport
    conflicts: int
    """Changes of this store that others made impossible, and that wait for a decision."""
    projects: list[ProjectShelf]


class ProjectLook(msgspec.Struct, frozen=True, kw_only=True):
    """The collections of a project."""

    project: str
    collections: list[CollectionInfo]
    total: int
    next: int | None
    """`start` of the next page."""


class CollectionLook(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of a collection, the newest first."""

    collection: CollectionInfo
    lines: list[HistoryLine]
    next: int | None
    """`before` of the next page."""


class VersionLook(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about a version, and its top folder."""

    line: HistoryLine
    made_by: RunInfo | None
    used_by: list[RunInfo]
    links: list[VersionInfo]
    """How it is in portfolios."""
    moved: list[MovedNumber]
    """What had its number on this machine before."""
    folder: FolderReport


class FilesLook(msgspec.Struct, frozen=True, kw_only=True):
    """What is at a path of a version: one of folder and file."""

    version: VersionInfo
    moved: list[MovedNumber]
    """As in VersionLook."""
    path: str
    folder: FolderReport | None = None
    file: EntryInfo | None = None
    preview: Preview | None = None


class LineageLook(msgspec.Struct, frozen=True, kw_only=True):
    """What a version came from, and what came from it, as far as it is shown."""

    version: VersionInfo
    moved: list[MovedNumber]
    """As in VersionLook."""
    report: LineageReport
    addresses: dict[str, str]
    """Of each node, by its key, where its page is."""
    steps: int
    left_out: int
    """Nodes that are further away, and not shown."""


class DiffLook(msgspec.Struct, frozen=True, kw_only=True):
    """What lies between two versions of a collection; of each kind of difference at most `limit` are told."""

    before: VersionInfo | None
    """None where there is no earlier one."""
    after: VersionInfo
    moved: list[MovedNumber]
    """As in VersionLook, of `after`."""
    report: DiffReport | None
    counts: dict[str, int]
    limit: int


class RunsLook(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, the newest first."""

    project: str | None
    runs: list[RunInfo]
    total: int
    next: int | None
    """`start` of the next page."""


class RunLook(msgspec.Struct, frozen=True, kw_only=True):
    """A run, what it used and what it made."""

    run: RunInfo
    inputs: list[VersionInfo]
    outputs: list[VersionInfo]


class SearchLook(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; None where nothing was asked."""

    query: str
    found: SearchReport | None


class SpaceLook(msgspec.Struct, frozen=True, kw_only=True):
    """Where the space goes."""

    project: str | None
    usage: DuReport
    growth: list[GrowthPoint]


def home(store: Store, asked: Asked) -> Home:
    """Every project with the collections that changed last."""
    most = asked.number("collections", 20)
    shelves: list[ProjectShelf] = []
    for project in store.projects():
        known = sorted(store.collections(project), key=lambda each: -each.updated_at)
        shelves.append(ProjectShelf(project=project, collections=known[:most], total=len(known)))
    return Home(status=store.status(), conflicts=len(store.conflicts()), projects=shelves)


def project(store: Store, asked: Asked) -> ProjectLook:
    """A project's collections, by name."""
    name = asked.path["project"]
    start = asked.number("start", 0, least=0, most=2**53)
    limit = asked.number("limit", PAGE)
    if name not in store.projects():
        message = f"there is no project {name!r} in this store"
        raise NotFound(message, code="project-not-found")
    known = store.collections(name)
    more = start + limit if start + limit < len(known) else None
    return ProjectLook(project=name, collections=known[start : start + limit], total=len(known), next=more)


def collection(store: Store, asked: Asked) -> CollectionLook:
    """A page of a collection's versions."""
    name = asked.path["collection"]
    owner = asked.path["project"]
    page = store.history(name, project=owner, before=asked.number_or_none("before"), limit=asked.number("limit", PAGE))
    return CollectionLook(collection=store.collection(name, project=owner), lines=page.lines, next=page.next)


def version(store: Store, asked: Asked) -> VersionLook:
    """A version with all that belongs to it."""
    reference = reference_of(store, asked)
    line = store.history_line(reference)
    return VersionLook(
        line=line,
        made_by=store.logged_by(reference),
        used_by=store.used_by(reference),
        links=store.links_of(reference),
        moved=_moved(store, line.version),
        folder=_folder(store, reference, "", asked),
    )


def files(store: Store, asked: Asked) -> FilesLook:
    """A folder of a version, or a file with its beginning."""
    reference = reference_of(store, asked)
    path = asked.path["path"].strip("/")
    info = store.version(reference)
    tree = store.tree(reference)
    moved = _moved(store, info)
    entry = tree.entry(path) if path else None
    if entry is None:
        folder = _folder(store, reference, path, asked)
        return FilesLook(version=info, moved=moved, path=path, folder=folder)
    found = preview(tree, entry)
    return FilesLook(version=info, moved=moved, path=path, file=store.entry(reference, path), preview=found)


def lineage(store: Store, asked: Asked) -> LineageLook:
    """The graph around a version: its nearest nodes."""
    reference = reference_of(store, asked)
    steps = asked.number("steps", STEPS, least=0)
    report = store.lineage(reference, depth=steps)
    shown = sorted(report.nodes, key=lambda node: abs(node.depth))[:NODES]
    keys = {node.key for node in shown}

    def among(edges: list[LineageEdge]) -> list[LineageEdge]:
        return [edge for edge in edges if edge.source in keys and edge.target in keys]

    version = store.version(reference)
    return LineageLook(
        version=version,
        moved=_moved(store, version),
        report=LineageReport(start=report.start, nodes=shown, edges=among(report.edges), loops=among(report.loops)),
        addresses={node.key: links.to_node(node) for node in shown},
        steps=steps,
        left_out=len(report.nodes) - len(shown),
    )


def diff(store: Store, asked: Asked) -> DiffLook:
    """What a version changed, of an earlier one that is named or else of the one before it."""
    after = store.version(reference_of(store, asked))
    limit = asked.number("limit", FOLDER_PAGE)
    moved = _moved(store, after)
    number = asked.number_or_none("before")
    if number is None:
        earlier = store.history(after.collection, project=after.project, before=after.number, limit=1).lines
        if not earlier:
            return DiffLook(before=None, after=after, moved=moved, report=None, counts={}, limit=limit)
        number = earlier[0].version.number
    before = store.version(_numbered(store, after.project, after.collection, number))
    report = store.diff(before.exact, after.exact)
    kinds: tuple[Literal["added", "removed", "changed", "renamed"], ...] = ("added", "removed", "changed", "renamed")
    cut = {kind: getattr(report, kind)[:limit] for kind in kinds}
    return DiffLook(
        before=before,
        after=after,
        moved=moved,
        report=msgspec.structs.replace(report, **cut),
        counts={kind: len(getattr(report, kind)) for kind in kinds},
        limit=limit,
    )


def runs(store: Store, asked: Asked) -> RunsLook:
    """A page of runs, of a project or of all."""
    name = asked.text("project")
    start = asked.number("start", 0, least=0, most=2**53)
    limit = asked.number("limit", PAGE)
    page = store.run_page(project=name, group=asked.text("group"), start=start, limit=limit)
    more = start + limit if start + limit < page.total else None
    return RunsLook(project=name, runs=page.runs, total=page.total, next=more)


def run(store: Store, asked: Asked) -> RunLook:
    """A run."""
    id_, owner = asked.text("id"), asked.text("project")
    if id_ is None or owner is None:
        message = "which run? Ask for /run?project=NAME&id=ID"
        raise Invalid(message, code="bad-query")
    return RunLook(
        run=store.run(id_, project=owner),
        inputs=store.inputs(id_, project=owner),
        outputs=store.outputs(id_, project=owner),
    )


def search(store: Store, asked: Asked) -> SearchLook:
    """Whatever some words could mean."""
    words = (asked.text("q") or "").strip()
    if not words:
        return SearchLook(query="", found=None)
    found = store.search(words, project=asked.text("project"), limit=asked.number("limit", PAGE // 2))
    return SearchLook(query=words, found=found)


def space(store: Store, asked: Asked) -> SpaceLook:
    """What the collections hold, and how that came."""
    name = asked.text("project")
    report = store.growth(name)
    return SpaceLook(project=name, usage=report.usage, growth=report.points)


def reference_of(store: Store, asked: Asked) -> str:
    """The version that has the number in an address now, as a reference.

    Where it had another on this machine before, pages say so (`moved`); they are led to by what others see.
    """
    return _numbered(store, asked.path["project"], asked.path["collection"], asked.path["number"])


def _numbered(store: Store, project: str, collection: str, number: int) -> str:
    reference = f"{project}/{collection}:v{number}"
    try:
        store.version(reference)
    except AmbiguousVersion:
        lines = store.history(collection, project=project, before=number + 1, limit=1).lines
        found = lines[0].version if lines else None
        if found is None or (found.link or found).number != number:
            raise
        return found.exact if found.link is None else f"{found.link.project}/{found.link.collection}@{found.id}"
    return reference


def _moved(store: Store, version: VersionInfo) -> list[MovedNumber]:
    """What the number of a version meant on this machine, and nobody has accepted that it does not any more."""
    return [
        each
        for each in store.moved_numbers(version.project)
        if (each.collection, each.before) == (version.collection, version.number)
    ]


def _folder(store: Store, reference: str, path: str, asked: Asked) -> FolderReport:
    return store.folder(reference, path, after=asked.text("after") or "", limit=asked.number("limit", FOLDER_PAGE))
