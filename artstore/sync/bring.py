"""Bring: the bytes of versions that only remotes have. One that cannot be had holds up no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from artstore.errors import Corrupt, Problem, Unreachable, named
from artstore.lifecycle.conflicts import lists_of_others, lists_unplaced
from artstore.lifecycle.progress import Progress, telling
from artstore.lifecycle.reports import Skipped
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.storage.catalog import ProjectView
from artstore.storage.places import MISSING_NOW
from artstore.storage.root import Root
from artstore.sync.reports import Moved

_AT_ONCE: Final = 64 << 20
"""Bytes of versions that are fetched together: what a death in between costs at the most, but for large blobs."""

_LEAST: Final = 1 << 10
"""Bytes that a small one counts as: a version of a million empty files is not looked up with a thousand others."""
_NO_LIST: Final = "its list of files is not here. Run `artstore verify`, which says what can be done"


class Brought(NamedTuple):
    """What came, and what did not."""

    moved: Moved
    lost: list[Skipped]
    """Files that cannot be had, as `cats:v3/a/b`, and why."""

    @property
    def error(self) -> Corrupt | None:
        """What to say of these."""
        if not self.lost:
            return None
        problems = [Problem(each.path, each.reason) for each in self.lost]
        message = f"all else is here, and this cannot be had: {named(problems)}"
        return Corrupt(message, code="blob-missing", problems=problems)


def bring_manifests(root: Root, project: str, manifests: Sequence[Digest], progress: Progress | None) -> Brought:
    """Fetch the bytes that manifests of a project name and that are not here.

    Raises Unreachable, Denied, StorageFull.
    """
    moved = Moved()
    lost: list[Skipped] = []
    here = {each: None for each in manifests if root.manifests.find(each) is not None}
    lost += [Skipped(path=called(root, project, each), reason=_NO_LIST) for each in manifests if each not in here]
    for group in _groups(root, here):
        absent = list(dict.fromkeys(digest for digests in group.values() for digest in digests))
        said = _bring(root, absent, progress)
        came = root.blobs.locate(absent)
        moved = moved.plus(Moved(blobs=len(came), bytes=sum(place.size for place in came.values())))
        for manifest, digests in group.items() if len(came) < len(absent) else ():
            away = {digest: said.get(digest) for digest in digests if digest not in came}
            lost += lost_files(root, project, manifest, away) if away else ()
    return Brought(moved, lost)


def bring_unplaced(root: Root, project: str, progress: Progress | None, *, others: bool) -> Brought:
    """Fetch the bytes of versions that have no place, and wait for somebody to decide.

    Where no remote can be reached that may have them, they come another time. What others made, and of which the bytes
    were never here, nobody here misses; it is asked for with `others`. Raises Denied, StorageFull.
    """
    theirs = lists_of_others(root, project)
    own = [digest for digest in lists_unplaced(root, project) if digest not in theirs]
    try:
        brought = bring_manifests(root, project, own, progress)
        more = bring_manifests(root, project, theirs if others else [], progress)
    except Unreachable:
        return Brought(Moved(), [])
    return brought._replace(moved=brought.moved.plus(more.moved))


def _groups(root: Root, manifests: Iterable[Digest]) -> Iterator[dict[Digest, list[Digest]]]:
    """Manifests with what is not here of each, as many together as are worth a round of requests."""
    group: dict[Digest, list[Digest]] = {}
    size = 0
    for manifest in manifests:
        sizes = {blob.digest: blob.size for entry in root.manifests.entries(manifest) if (blob := blob_of(entry))}
        here = root.blobs.locate(list(sizes))
        absent = [digest for digest in sizes if digest not in here]
        if absent:
            group[manifest] = absent
            size += sum(max(sizes[digest], _LEAST) for digest in absent)
        if size > _AT_ONCE:
            yield group
            group, size = {}, 0
    if group:
        yield group


def _bring(root: Root, digests: Sequence[Digest], progress: Progress | None) -> dict[Digest, str]:
    """Fetch blobs; answers what is said of those that cannot be had."""
    try:
        root.blobs.bring(digests, telling(progress, "bring"))
    except Corrupt as error:
        return dict.fromkeys(digests, error.message) | {Digest.parse(text): why for text, why in error.problems}
    return {}


def lost_files(root: Root, project: str, manifest: Digest, said: Mapping[Digest, str | None]) -> Iterator[Skipped]:
    """The files of a version whose bytes cannot be had, as `cats:v3/a/b`, and why, as far as something was said."""
    of = called(root, project, manifest)
    for entry in root.manifests.entries(manifest):
        blob = blob_of(entry)
        if blob is not None and blob.digest in said:
            why = said[blob.digest] or f"no remote has blob {blob.digest}. {MISSING_NOW}"
            yield Skipped(path=f"{of}/{entry.path}", reason=why)


def called(root: Root, project: str, manifest: Digest) -> str:
    """A version or a conflict that has a manifest, or what stands for it where only a part has it."""
    found = root.catalog.project(project)
    assert found is not None
    view = ProjectView(root.catalog, found.id)
    for collection in view.collections():
        for version in view.versions_of(collection.id):
            if version.manifest == str(manifest):
                return f"{collection.name}:v{version.number}"
    return lists_unplaced(root, project).get(manifest, str(manifest))
