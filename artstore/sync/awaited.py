"""Awaited: versions whose lists of files have not come are seen as soon as these can be had, wherever that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from artstore.errors import NAMED, ArtstoreError, Corrupt, MissingObject
from artstore.lifecycle.upstream import see
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding
from artstore.storage.catalog import ProjectView
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.held import called
from artstore.sync.mirrors.mirror import Mirror, mirrored
from artstore.sync.protocol import Shelf, read_slot
from artstore.sync.received import Find, take_each
from artstore.sync.remotes import Settings, open_mirror, open_remote, read_remotes
from artstore.sync.reports import Moved
from artstore.sync.way import Way


def is_awaiting(root: Root, project: str) -> bool:
    """Whether a project has versions whose lists of files have not come."""
    found = root.catalog.project(project)
    return found is not None and bool(ProjectView(root.catalog, found.id).awaited())


def take_awaited(
    root: Root, session: Session, project: str, where: str, find: Find
) -> tuple[Moved, ArtstoreError | None]:
    """Let those of them be seen whose lists can be found, or are here by now; answers how many these are.

    With what was said of the first list that is not what it should be, and is as if it were not there.
    """
    there = root.catalog.project(project)
    awaited = [] if there is None else ProjectView(root.catalog, there.id).awaited()
    if there is None or not awaited:
        return Moved(), None
    live = Marking(root.catalog).live_manifests(there.id)
    found: dict[Digest, Encoding] = {}
    came: list[str] = []
    for version in awaited:
        digest = Digest.parse(version.manifest)
        if digest not in live and digest not in found:
            # Rows alone do not tell: of what no version here needs the journal may say nothing.
            found.update({each.digest: each for each in find(digest) if each.digest == digest})
        if digest in live or digest in found:
            came.append(version.id)
    taken, said = take_each(root, where, list(found.values()), find)
    if said is not None:
        whole = {encoding.digest for encoding in taken} | live
        came = [version.id for version in awaited if Digest.parse(version.manifest) in whole]
    if came:
        see(root, session, project, came, Attachments(manifests=taken))
    return Moved(versions=len(came)), said


def see_awaited(way: Way) -> tuple[Moved, ArtstoreError | None]:
    """As `take_awaited`, from whichever remote has such a list.

    One that the upstream has lost holds up nothing else: the error names the versions.
    """
    lists = _Lists(way)
    last = way.followed
    if last is not None and not isinstance(way.remote, Mirror):
        shelf = way.shelf(last.log)
        shelf.follow(way.remote, last.slot)
        lists.first = shelf.manifest
    moved, said = take_awaited(way.root, way.session, way.project, way.place, lists.find)
    return moved, lost_lists(way, lists.error or said)


def lost_lists(way: Way, why: ArtstoreError | None) -> Corrupt | None:
    """The error for lists that versions still await, and that are not at a place as they were; None: there are none."""
    found = way.root.catalog.project(way.project)
    if found is None or why is None:
        return None
    view = ProjectView(way.root.catalog, found.id)
    awaited = [version for version in view.awaited() if way.root.manifests.find(Digest.parse(version.manifest)) is None]
    if not awaited:
        return None
    recover = "`artstore remote recover`"
    if isinstance(way.remote, Mirror):
        options = looking_at(list(dict.fromkeys(version.manifest for version in awaited)))
        recover = f"`artstore remote recover NAME{options}`, NAME being what this mirror is called there,"
    names = [f"{way.project}/{called(view, [version.id])}" for version in awaited[:NAMED]]
    message = (
        f"lists of files of {called(view, [version.id for version in awaited])} are lost at {way.place}: {why.message}."
        f" All else was moved. In a store that has them, {recover} puts them there again; pull again "
        f"then. Where none has them, `artstore delete {' '.join(names)}` waits for them no more"
    )
    return Corrupt(message, code="blob-missing")


def looking_at(digests: Sequence[Digest | str]) -> str:
    """The options that let `remote recover` look at some blobs and lists of files."""
    return "".join(f" --damaged {digest}" for digest in digests) if len(digests) <= NAMED else " --read-all"


class _Lists:
    """Looks for lists of files in one place after the other. What one of them has lost is as if it were not there."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._shelves: list[Shelf] | None = None
        self.first: Find = lambda _digest: []
        """Asks the place of which there is more to be said than of the others."""
        self.error: ArtstoreError | None = None
        """What that one said of the first list that is gone or damaged there, and is nowhere else."""

    def find(self, digest: Digest) -> Sequence[Encoding]:
        """The lists that lie together with one, and it; empty where it is nowhere."""
        said: ArtstoreError | None = None
        found: Sequence[Encoding] = []
        try:
            found = self.first(digest)
        except (MissingObject, Corrupt) as error:
            said = error
        if any(each.digest == digest for each in found):
            return found
        if self._shelves is None:
            self._shelves = list(self._others())
        for shelf in self._shelves:
            with contextlib.suppress(ArtstoreError):
                found = shelf.manifest(digest)
                if any(each.digest == digest for each in found):
                    return found
        self.error = self.error or said
        return []

    def _others(self) -> Iterator[Shelf]:
        for settings in read_remotes(self._way.root.path).values():
            # The upstream has been asked.
            with contextlib.suppress(ArtstoreError):
                yield from () if settings.upstream else self._of(settings)

    def _of(self, settings: Settings) -> Iterator[Shelf]:
        """What a remote has for the project: as a mirror, and as what it may have been before."""
        root, project = self._way.root, self._way.project
        kept = mirrored(open_mirror(settings), root, project)
        if kept is not None:
            yield kept
        remote = open_remote(settings)
        slot = read_slot(remote, project, 1)
        if slot is not None:
            shelf = remote.shelf(root, project, slot.slot.log)
            shelf.follow(remote, _FAR)
            yield shelf


_FAR = 1 << 40
