"""Rounds: push, pull, or both, for the projects of a store.

A project that cannot be moved stops alone, and the report says why; where the remote cannot be reached at all, that is
the error.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Literal

from artstore.errors import ArtstoreError, Conflict, Denied, Invalid, NotFound, Unreachable
from artstore.lifecycle.conflicts import undecided
from artstore.lifecycle.ordering import names_upstream
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import Skipped
from artstore.lifecycle.resolve import find_collection, resolve
from artstore.lifecycle.upstream import followed, want_again
from artstore.model.digest import Digest
from artstore.model.names import LATEST, UNCATEGORIZED, Reference, project_name
from artstore.storage.catalog import ProjectView
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive, Session
from artstore.store import Store
from artstore.sync.awaited import is_awaiting, see_awaited
from artstore.sync.bring import bring_manifests, bring_unplaced
from artstore.sync.choice import called, choose
from artstore.sync.connect import connect
from artstore.sync.foresee import foresee
from artstore.sync.mirrors.from_mirror import pull_from_mirror
from artstore.sync.mirrors.mirror import Mirror
from artstore.sync.mirrors.to_mirror import push_to_mirror
from artstore.sync.mirrors.way import MirrorWay, together
from artstore.sync.objects.pacing import Pace
from artstore.sync.protocol import Remote
from artstore.sync.pull import check_head, check_join, counted, new_slots, pull
from artstore.sync.push import Pushed, next_offer, push
from artstore.sync.remotes import (
    Settings,
    find_remote,
    open_mirror,
    open_remote,
    read_remotes,
    settle_choice,
    upstream_of,
)
from artstore.sync.reports import Moved, ProjectReport, SyncReport
from artstore.sync.standing import Attempt, noting
from artstore.sync.staying import staying
from artstore.sync.way import Way

Verb = Literal["push", "pull", "sync"]


def exchange(
    store: Store,
    verb: Verb,
    *,
    remote: str | None = None,
    projects: Sequence[str] | None = None,
    references: Sequence[str] = (),
    blobs: bool = False,
    dry_run: bool = False,
    pace: Pace | None = None,
    renumber: bool = False,
    unplaced: bool = True,
    progress: Progress | None = None,
    patience_s: float = PATIENCE_S,
) -> SyncReport:
    """Move what is new between a store and its upstream, or the mirror that is named, for some projects or all.

    A push to the upstream pulls first, since what is offered has to come behind what is there; where nothing waits, it
    only looks whether the upstream still has what was taken from it. With `blobs` the bytes of all versions are brought
    too. With `references`, `[project/]name[:version]`, a push sends what waits of these collections, each whole, with
    the runs that made it, and a pull brings the bytes of these versions; of a collection whose versions were all
    deleted there are none to bring. On a dry run nothing is moved, what is pushed is counted as if nobody else
    wrote meanwhile, and its bytes are read. `pace` is how fast bytes may go, both ways, in all rounds that have it.

    Bytes that no remote gives as they should be hold up no others, and the report names their files. A version whose
    bytes are missing here stays, with what builds on it, and the report says so; where a log has given numbers before,
    what comes behind it in its collection stays too, unless `renumber`. The bytes of versions that have no place, and
    for which somebody is to decide, are brought as long as they can be had, unless that is done at once (`unplaced`).

    Raises NotFound (no-upstream, remote-not-found, project-not-found, and for what a push names collection-not-found,
    version-not-found and the like), Invalid (not-the-upstream) where the remote is a server that is not, Invalid
    (not-chosen) for a collection that the remote was not noted for, Conflict (locked) where another process is at it
    for longer than the patience, Unreachable, Denied.
    """
    began = time.monotonic()
    name, settings = _chosen(store, remote)
    root = store.root
    root.catalog.check_writable()
    asked = [Reference.parse(each, project=projects[0] if projects else UNCATEGORIZED) for each in references]
    _check_asked(root, verb, name, settings, asked)
    if asked:
        projects = sorted({each.project for each in asked})
    connect(store, pace)
    catch_up(root, thorough=True)
    told = contextlib.nullcontext(Attempt()) if dry_run else noting(root, name)
    with Exclusive(root.path, "sync", patience_s=patience_s), told as attempt, root.session(verb) as session:
        if not dry_run:
            settings = settle_choice(root, name)
            for each in asked if verb != "push" else ():
                _want_again(root, session, each)
        round_ = _round(root, session, (name, settings), pace, progress)
        wanted = round_.projects(verb) if projects is None else [project_name(each) for each in projects]
        if projects is not None:
            _check_there(root, round_, verb, wanted)
        if not wanted:
            # Whether it can be reached is found out all the same.
            next(iter(round_.remote.projects()), None)
        reports = [
            round_.one(
                verb, project, asked, blobs=blobs, dry_run=dry_run, renumber=renumber, unplaced=unplaced and not dry_run
            )
            for project in wanted
        ]
        if round_.denied and len(round_.denied) == len(reports):
            raise round_.denied[0]
        attempt.failure = "\n".join(f"{each.project}: {each.error}" for each in reports if each.error) or None
        if not dry_run:
            # What came has given names to collections.
            settle_choice(root, name)
        stays = None if verb == "pull" or asked else staying(root, settings, projects)
    seconds = time.monotonic() - began
    return SyncReport(remote=name, verb=verb, dry_run=dry_run, projects=reports, seconds=seconds, stays=stays)


def _chosen(store: Store, remote: str | None) -> tuple[str, Settings]:
    if remote is None:
        return upstream_of(store.path)
    return remote, find_remote(read_remotes(store.path), remote)


def _round(
    root: Root, session: Session, chosen: tuple[str, Settings], pace: Pace | None, progress: Progress | None
) -> _Round:
    name, settings = chosen
    if settings.upstream:
        return _Round(root, session, open_remote(settings, pace), settings, progress)
    mirror = open_mirror(settings, pace)
    if mirror is None:
        message = (
            f"{name!r} is a server and not the upstream of this store, so only bytes are fetched from it: a mirror is "
            "a folder or a bucket"
        )
        raise Invalid(message, code="not-the-upstream")
    return _MirrorRound(root, session, mirror, settings, progress)


class _Round:
    """What is the same for each project."""

    def __init__(
        self, root: Root, session: Session, remote: Remote, settings: Settings, progress: Progress | None
    ) -> None:
        self._root = root
        self.remote = remote
        self._settings = settings
        self.denied: list[Denied] = []
        """What the remote did not allow, project by project."""
        self._way = Way(root, session, remote, "", settings.join, progress)

    def projects(self, verb: Verb) -> list[str]:
        """Those that may have something to be moved, as far as can be seen from here."""
        here = [project.name for project in self._root.catalog.projects()]
        if verb == "push":
            return [name for name in here if followed(self._root, name) is not None or self._has_offer(name)]
        if verb == "pull":
            here = [name for name in here if followed(self._root, name) is not None]
        return sorted({*here, *self.remote.projects()})

    def _has_offer(self, project: str) -> bool:
        try:
            return next_offer(self._root, project, self._settings.chosen(project)) is not None
        except Conflict:
            # Its push says so, and no other waits for it.
            return True

    def one(
        self,
        verb: Verb,
        project: str,
        asked: Sequence[Reference],
        *,
        blobs: bool,
        dry_run: bool,
        renumber: bool,
        unplaced: bool,
    ) -> ProjectReport:
        """Move one project, or say what would be moved; what is asked for of it alone, if something is."""
        here = [each for each in asked if each.project == project]
        names = [each.collection for each in here]
        only = choose(self._root, project, names) if here else self._settings.chosen(project)
        way = self._way._replace(project=project, only=only, renumber=renumber)
        pulled = pushed = Moved()
        error: ArtstoreError | None = None
        lost: list[Skipped] = []
        try:
            pulled, pushed, error = self.move(way, verb, dry_run=dry_run)
            if verb != "push" and not dry_run and (here or blobs):
                named = [each for each in here if not _is_empty(self._root, each)]
                manifests = [resolve(self._root, each).manifest for each in named] if here else _live(way)
                brought = bring_manifests(self._root, project, manifests, way.progress)
                pulled, lost = pulled.plus(brought.moved), brought.lost
                error = brought.error if error is None else error
            if unplaced:
                # Whoever gathered parts offline may never have had their bytes, and a remote may not keep them. Where
                # they are nowhere any more, all else goes on, and whoever decides is told.
                is_news = bool(pulled.slots or pushed.slots)
                brought = bring_unplaced(self._root, project, way.progress, others=is_news)
                pulled = pulled.plus(brought.moved)
                lost += [each for each in brought.lost if each not in lost]
        except Unreachable:
            raise
        except ArtstoreError as problem:
            # A token may be for one project: the others are not held up by it.
            error = problem if error is None else error
            if isinstance(problem, Denied):
                self.denied.append(problem)
        return ProjectReport(
            project=project,
            pulled=pulled,
            pushed=pushed,
            conflicts=undecided(self._root, project),
            error=None if error is None else error.message,
            code=None if error is None else error.code,
            exit_code=0 if error is None else error.exit_code,
            lost=lost,
        )

    def move(self, way: Way, verb: Verb, *, dry_run: bool) -> Pushed:
        """Pull, push or both, or find out what it would be."""
        if dry_run:
            return _foresee(way, verb)
        if verb == "push" and next_offer(self._root, way.project, way.only) is None:
            # What others have pushed is taken only where something has to come behind it.
            check_head(way)
            return Pushed(Moved(), Moved())
        pulled, lost = self._see_awaited(way) if verb != "push" else (Moved(), None)
        moved = Pushed(pull(way), Moved()) if verb == "pull" else push(way)
        return Pushed(pulled.plus(moved.pulled), moved.pushed, together(moved.left, lost))

    def _see_awaited(self, way: Way) -> tuple[Moved, ArtstoreError | None]:
        """Look for the lists of files of versions that are awaited, if there are such, in all that the log says."""
        if not is_awaiting(way.root, way.project):
            return Moved(), None
        pulled = pull(way)
        seen, lost = see_awaited(way)
        return pulled.plus(seen), lost


class _MirrorRound(_Round):
    """What is the same for each project, with a mirror."""

    def __init__(
        self, root: Root, session: Session, mirror: Mirror, settings: Settings, progress: Progress | None
    ) -> None:
        super().__init__(root, session, mirror, settings, progress)
        self._mirror = mirror
        self._has_upstream = names_upstream(root.path)

    def projects(self, verb: Verb) -> list[str]:
        """See _Round."""
        here = [] if verb == "pull" else [project.name for project in self._root.catalog.projects()]
        return sorted({*here, *(() if verb == "push" else self._mirror.projects())})

    def move(self, way: Way, verb: Verb, *, dry_run: bool) -> Pushed:
        """See _Round."""
        there = MirrorWay(way, self._mirror, has_upstream=self._has_upstream)
        pulled, not_taken = (Moved(), None) if verb == "push" else pull_from_mirror(there, dry_run=dry_run)
        pushed, not_sent = (Moved(), None) if verb == "pull" else push_to_mirror(there, dry_run=dry_run)
        return Pushed(pulled, pushed, together(not_taken, not_sent))


def _foresee(way: Way, verb: Verb) -> Pushed:
    check_join(way)
    pulled = counted(found.slot for found in new_slots(way))
    pushed, left = (Moved(), None) if verb == "pull" else foresee(way)
    return Pushed(pulled, pushed, left)


def _live(way: Way) -> list[Digest]:
    """The manifests of all versions of a project, also of collections whose ops are not offered."""
    found = way.root.catalog.project(way.project)
    return [] if found is None else sorted(Marking(way.root.catalog).live_manifests(found.id))


def _want_again(root: Root, session: Session, reference: Reference) -> None:
    """Have a version that is asked for by its number or id back, if it was deleted on this machine alone."""
    with contextlib.suppress(NotFound, Conflict, Invalid):
        found = resolve(root, reference, unseen=True)
        if found.view.is_forgotten(found.version.id) and not found.view.is_awaited(found.version.id):
            want_again(root, session, found.project.name, found.version.id)


def _is_empty(root: Root, reference: Reference) -> bool:
    """Whether a collection is meant, and each of its versions was deleted, so that nothing of it is to be brought."""
    found = root.catalog.project(reference.project)
    view = None if found is None else ProjectView(root.catalog, found.id)
    collection = None if view is None else view.collection_named(reference.collection)
    if view is None or collection is None or reference.selector != LATEST or collection.kind == "portfolio":
        return False
    return view.latest(collection.id) is None


def _check_asked(root: Root, verb: Verb, name: str, settings: Settings, asked: Sequence[Reference]) -> None:
    """Raise where what is asked for cannot be moved, before anything is."""
    for each in asked if verb != "pull" else ():
        if settings.only and not _is_chosen(root, settings, each):
            only = ", ".join(sorted(called(root, settings.only)))
            message = f"{name!r} was noted with --only {only}: note it again to push others too"
            raise Invalid(message, code="not-chosen")
        if not settings.upstream:
            message = f"{name!r} is a mirror, which gets all that this store knows: push to it without naming versions"
            raise Invalid(message, code="not-the-upstream")
        if verb == "push":
            find_collection(root, each.project, each.collection)
            if each.selector != LATEST:
                resolve(root, each)


def _is_chosen(root: Root, settings: Settings, asked: Reference) -> bool:
    project, choice = root.catalog.project(asked.project), settings.chosen(asked.project)
    if project is None or choice is None:
        return choice is not None and asked.collection in choice.picks
    chosen = choice.chosen(root, project)
    there = ProjectView(root.catalog, project.id).collection_named(asked.collection)
    return asked.collection in chosen.names if there is None else there.id in chosen.ids


def _check_there(root: Root, round_: _Round, verb: Verb, projects: Sequence[str]) -> None:
    """Raise NotFound (project-not-found) for one that is neither here nor, where others are taken in, there."""
    unknown = [each for each in projects if root.catalog.project(each) is None]
    there = set(round_.remote.projects()) if unknown and verb != "push" else set()
    for each in unknown:
        if each not in there:
            where = "this store" if verb == "push" else "this store or at the remote"
            message = f"there is no project {each!r} in {where}"
            raise NotFound(message, code="project-not-found")
