"""Search: everything that some words could mean, for a person who does not say what kind of thing is looked for.

`find` answers what a query means; this also looks at names. A collection is found by its name, type, tags and
description; a version by an alias, a tag, a metadata key, and whatever `find` takes; a run by its name, id, job type,
group and tags; a file by its path, in the newest version of each collection that has it. Upper and lower case are the
same in names.
"""

from __future__ import annotations

import re
from typing import Final

from artstore.errors import Invalid
from artstore.lifecycle.find import WILD, check_text, find, match, pattern
from artstore.lifecycle.listing import describe_collection
from artstore.lifecycle.reports import CollectionInfo, Match, RunInfo, SearchReport
from artstore.lifecycle.resolve import describe_by_id, find_project
from artstore.lifecycle.runs import describe_run
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.queries import Held, Queries
from artstore.storage.root import Root

_DIGEST_OR_FACT: Final = re.compile(r"blake3:|[0-9a-f]{8,64}\Z|[^=*?\[\\/]+=")


def search(root: Root, text: str, project: str | None, limit: int) -> SearchReport:
    """What some words could mean, at most `limit` of each kind, in one project or in all.

    Raises Invalid (bad-query, bad-limit), NotFound (project-not-found).
    """
    check_text(text)
    words = text.strip()
    if not words:
        message = "nothing to look for was said: write a name, an alias, a digest, KEY=VALUE or a path"
        raise Invalid(message, code="bad-query")
    if limit < 1:
        message = f"a page of {limit} is none: ask for 1 or more"
        raise Invalid(message, code="bad-limit")
    matches = find(root, words, project) if _DIGEST_OR_FACT.match(words) else []
    with root.catalog.snapshot():
        shown = root.catalog.projects() if project is None else [find_project(root, project)[0]]
        views = {each.id: (each, ProjectView(root.catalog, each.id)) for each in shown}
        queries = Queries(root.catalog)
        only = None if project is None else shown[0].id
        collections: list[CollectionInfo] = []
        for owner, id_ in queries.collections_about(words, only, limit):
            found, view = views[owner]
            collection = view.collection(id_)
            assert collection is not None
            collections.append(describe_collection(root, found.name, view, collection))
        versions = {match.version.id: match.version for match in matches if match.path is None}
        for owner, id_ in queries.versions_about(words, only, limit):
            versions.setdefault(id_, describe_by_id(*views[owner], id_))
        runs = [_run(*views[owner], id_) for owner, id_ in queries.runs_about(words, only, limit)]
        files = [match for match in matches if match.path is not None]
        files = files[:limit] or _files(queries, views, words, only, limit)
    return SearchReport(
        query=words, collections=collections, versions=list(versions.values())[:limit], runs=runs, files=files
    )


def _run(project: Project, view: ProjectView, id_: str) -> RunInfo:
    run = view.run(id_)
    assert run is not None
    return describe_run(project.name, run)


def _files(
    queries: Queries, views: dict[int, tuple[Project, ProjectView]], words: str, only: int | None, limit: int
) -> list[Match]:
    """The paths that are meant, each once a collection: in the newest of its versions that has it."""
    if WILD.search(words):
        is_meant = pattern(words)
    else:
        wanted = words.lower()

        def is_meant(path: str) -> bool:
            return wanted in path.lower()

    paths = queries.paths(is_meant)
    if not paths:
        return []
    shelf = queries.shelf(only)
    seen: set[tuple[str, int]] = set()
    found: list[tuple[int, str, int, Held]] = []
    for version, (_, held) in zip(shelf, queries.holdings([each.manifest for each in shelf], paths), strict=True):
        for path in sorted(held.keys(), key=paths.__getitem__):
            if (version.collection, path) not in seen and len(found) < limit:
                seen.add((version.collection, path))
                found.append((version.project, version.id, path, held[path]))
        if len(found) == limit:
            break
    digests = queries.blobs({held.blob for *_, held in found if held.blob is not None})
    sizes = queries.reference_sizes({held.reference for *_, held in found if held.reference is not None})
    infos = {id_: describe_by_id(*views[project], id_) for project, id_ in {(p, v) for p, v, _, _ in found}}
    return [match(infos[id_], paths[path], held, digests, sizes) for _, id_, path, held in found]
