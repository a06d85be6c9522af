"""Evict: the bytes of versions that a remote has are freed here, and fetched again when somebody needs them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from artstore.errors import Conflict, Invalid, NotFound, Unreachable
from artstore.lifecycle.find import holders
from artstore.lifecycle.release import release
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.resolve import resolve
from artstore.lifecycle.upstream import TakenSlot, hiding, keeps_log
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.names import UNCATEGORIZED, Reference
from artstore.model.records import brings, decode_op
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.storage.sessions import PATIENCE_S, Exclusive, Session
from artstore.store import Store
from artstore.sync.history import History, history
from artstore.sync.mirrors.mirror import Mirror, mirrored
from artstore.sync.protocol import Remote, Shelf
from artstore.sync.pull import check_head
from artstore.sync.remotes import open_mirror, open_remote, read_remotes
from artstore.sync.reports import EvictReport
from artstore.sync.way import Way

_FAR: Final = 1 << 40
_SHOWN: Final = 3


class _Chosen(NamedTuple):
    """A version that may go."""

    project: str
    id: str
    manifest: Digest
    name: str


def evict(
    store: Store,
    references: Sequence[str] = (),
    *,
    to_fit: int | None = None,
    project: str = UNCATEGORIZED,
    read_all: bool = False,
    dry_run: bool = False,
) -> EvictReport:
    """Free the bytes of versions, or of the oldest ones until the store's files fit in `to_fit` bytes.

    A remote has to show first that it has them: each object in its whole length, with a stretch of it as it is here,
    or all of it with `read_all`. What other versions need too, whose bytes have to be here, stays; and so does what
    waits to be pushed, and what was deleted elsewhere and is kept, whatever the remotes have of it for others.
    Versions, labels and lists of files stay in any case.

    Raises NotFound (no-remote, …-not-found), Conflict (last-copy) where no remote has shown it, before anything is
    freed; for `to_fit`, such versions are passed over. Raises Unreachable where one that may have it is out of reach,
    and no other shows it; Denied, Conflict (busy, locked), and
    (rolled-back, other-log) where the upstream's log is not the one that was followed, or an older state of it.
    """
    began = time.monotonic()
    if bool(references) == (to_fit is not None):
        message = "say which versions, or into how many bytes the store is to fit"
        raise Invalid(message, code="bad-choice")
    root = store.root
    root.catalog.check_writable()
    if not read_remotes(store.path):
        message = "this store has no remote, so all that it has is the last copy: `artstore remote add` names one"
        raise NotFound(message, code="no-remote")
    catch_up(root, thorough=True)
    marking = Marking(root.catalog, hiding(root))
    with Exclusive(root.path, "sync", patience_s=PATIENCE_S), root.session("evict") as session:
        shelves = _Shelves(root, session)
        if to_fit is None:
            chosen = [_named(root, reference, project) for reference in references]
            lonely = next((each for each, there in shelves.of(chosen).items() if not there), None)
            if lonely is not None and shelves.away is not None:
                raise shelves.away
            if lonely is not None:
                message = f"{lonely.name} is in no remote's log, so this may be the last copy: `artstore push` first"
                raise Conflict(message, code="last-copy")
        else:
            chosen = _oldest(marking, [each for each, there in shelves.of(_all(root)).items() if there], to_fit)
        sizes = dict(marking.evictable([each.id for each in chosen]))
        proven = shelves.proven({*chosen, *_received(root)}, list(sizes), read_all=read_all)
        if shelves.away is not None and len(proven) < (1 if to_fit is not None else len(sizes)):
            raise shelves.away
        if to_fit is None and len(proven) < len(sizes):
            raise _last_copy([digest for digest in sizes if digest not in proven])
        if proven and not dry_run:
            versions: dict[str, list[str]] = {}
            for each in chosen:
                versions.setdefault(each.project, []).append(each.id)
            release(root, session, versions, sorted(proven))
        held = [] if to_fit is not None else shelves.held(chosen, sizes)
        return EvictReport(
            dry_run=dry_run,
            versions=[each.name for each in chosen],
            blobs=len(proven),
            bytes=sum(sizes[digest] for digest in proven),
            kept_blobs=len(sizes) - len(proven),
            held_blobs=len(held),
            held_by=_holders(root, held, chosen),
            held_deleted=[each.name for each in marking.hidden_with(held)[:_SHOWN]],
            stored_bytes=marking.stored_bytes(),
            seconds=time.monotonic() - began,
        )


class _Holder(NamedTuple):
    """A remote that has a log."""

    shelf: Shelf
    versions: frozenset[str]
    """Those that stand in the log there. What only waits may lose there what others, deleted by then, had for it."""


class _Shelves:
    """What the remotes have, by project."""

    def __init__(self, root: Root, session: Session) -> None:
        self._root = root
        self._session = session
        settings = read_remotes(root.path).values()
        self._upstreams = [open_remote(each) for each in settings if each.upstream]
        self._mirrors = [mirror for each in settings if (mirror := open_mirror(each)) is not None]
        self._by_project: dict[str, list[_Holder]] = {}
        self.away: Unreachable | None = None
        """What was said of the first remote that is out of reach, and so shows nothing."""

    def of(self, versions: Iterable[_Chosen]) -> dict[_Chosen, list[Shelf]]:
        """Those that have each version; none where others have it from this very store.

        All together: a question for each would be thousands over a network.
        """
        found: dict[_Chosen, list[Shelf]] = {version: [] for version in versions}
        for project in dict.fromkeys(version.project for version in found):
            for shelf, there in () if keeps_log(self._root, project) else self._all(project):
                held = [version for version in found if version.project == project and version.id in there]
                with self._if_reached():
                    lacking = set(shelf.lacks_manifests([version.manifest for version in held])) if held else set()
                    for version in held:
                        if version.manifest not in lacking:
                            found[version].append(shelf)
        return found

    def proven(self, versions: Iterable[_Chosen], digests: list[Digest], *, read_all: bool) -> set[Digest]:
        """Those of some blobs that remotes show to have, for each of these versions that needs them one that has it."""
        needs: dict[tuple[int, ...], tuple[list[Shelf], dict[Digest, None]]] = {}
        for version, shelves in self.of(versions).items():
            needs.setdefault(tuple(map(id, shelves)), (shelves, {}))[1][version.manifest] = None
        found = set(digests)
        for shelves, manifests in needs.values():
            unproven = found if len(needs) == 1 else found & self._blobs_of(manifests)
            for shelf in shelves:
                rest = [digest for digest in digests if digest in unproven]
                with self._if_reached():
                    unproven = unproven.difference(shelf.prove(self._root, rest, read_all=read_all) if rest else ())
            found = found - unproven
        return found

    def held(self, versions: Iterable[_Chosen], but: Container[Digest]) -> list[Digest]:
        """The blobs of some versions that are here and stay, since something else needs them: those but these."""
        blobs = [each for each in self._blobs_of(version.manifest for version in versions) if each not in but]
        here = self._root.blobs.locate(blobs)
        return sorted(digest for digest in blobs if digest in here)

    def _blobs_of(self, manifests: Iterable[Digest]) -> set[Digest]:
        kept = self._root.manifests
        entries = (entry for each in manifests if kept.find(each) is not None for entry in kept.entries(each))
        return {blob.digest for entry in entries if (blob := blob_of(entry)) is not None}

    def _all(self, name: str) -> list[_Holder]:
        if name not in self._by_project:
            project = self._root.catalog.project(name)
            assert project is not None
            known = history(self._root, project)
            holders: list[_Holder | None] = []
            for remote in self._upstreams:
                with self._if_reached():
                    holders.append(self._at_upstream(remote, project, known))
            for mirror in self._mirrors:
                with self._if_reached():
                    holders.append(self._at_mirror(mirror, project, known))
            self._by_project[name] = [holder for holder in holders if holder is not None]
        return self._by_project[name]

    @contextlib.contextmanager
    def _if_reached(self) -> Iterator[None]:
        """Let one remote be out of reach: another may show all that is asked for."""
        try:
            yield
        except Unreachable as error:
            self.away = self.away or error

    def _at_upstream(self, remote: Remote, project: Project, known: History) -> _Holder | None:
        if project.upstream is None:
            return None
        # What the log there names no longer is not kept there either.
        check_head(Way(self._root, self._session, remote, project.name, join=False, progress=None))
        shelf = remote.shelf(self._root, project.name, project.upstream)
        shelf.follow(remote, _FAR)
        return _Holder(shelf, _versions_in(known.slots))

    def _at_mirror(self, mirror: Mirror, project: Project, known: History) -> _Holder | None:
        shelf = mirrored(mirror, self._root, project.name)
        if shelf is None or mirror.log(project.name) != known.log:
            return None
        # Of what nobody has said to stay yet, a collector that has looked before may free it.
        slots = min(mirror.last(project.name), shelf.known.marked)
        return _Holder(shelf, _versions_in(known.slots[:slots]))


def _versions_in(slots: Iterable[TakenSlot]) -> frozenset[str]:
    """What some slots bring: versions, and what may be one where another is deleted."""
    bodies = (bytes(raw) for slot in slots for raw in slot.ops)
    found = (brings(str(Digest.of(body)), decode_op(body)) for body in bodies)
    return frozenset(id_ for id_ in found if id_ is not None)


def _received(root: Root) -> list[_Chosen]:
    """Versions whose bytes may be missing here, so that they rely on what their remote has."""
    views = {project.name: ProjectView(root.catalog, project.id) for project in root.catalog.projects()}
    return [each for each in _all(root) if views[each.project].is_received(each.id)]


def _holders(root: Root, blobs: Sequence[Digest], versions: Iterable[_Chosen]) -> list[str]:
    """Other versions that need the first of some blobs."""
    ids = {version.id for version in versions}
    found = [match.version for some in holders(root, blobs[:_SHOWN]).values() for match in some] if blobs else []
    return list(dict.fromkeys(version.ref for version in found if version.id not in ids))[:_SHOWN]


def _named(root: Root, reference: str, project: str) -> _Chosen:
    resolved = resolve(root, Reference.parse(reference, project=project))
    return _Chosen(resolved.project.name, resolved.version.id, resolved.manifest, resolved.name)


def _all(root: Root) -> list[_Chosen]:
    """Every version, the oldest first, but those that are the latest of a collection last."""
    found: list[tuple[bool, int, _Chosen]] = []
    for project in root.catalog.projects():
        view = ProjectView(root.catalog, project.id)
        for collection in view.collections():
            latest = view.latest(collection.id)
            found += [
                (latest is not None and version.id == latest.id, version.created_us, chosen)
                for version in view.versions_of(collection.id)
                for chosen in [_chosen(project, collection.name, version.id, version.manifest, version.number)]
            ]
    return [chosen for *_order, chosen in sorted(found)]


def _chosen(project: Project, collection: str, id_: str, manifest: str, number: int) -> _Chosen:
    return _Chosen(project.name, id_, Digest.parse(manifest), f"{project.name}/{collection}:v{number}")


def _oldest(marking: Marking, candidates: list[_Chosen], to_fit: int) -> list[_Chosen]:
    """So many of the first ones that what stays fits; all, if that is not enough."""
    excess = marking.stored_bytes() - to_fit
    if excess <= 0:
        return []
    few, many = 0, len(candidates)
    while few < many:
        middle = (few + many) // 2
        freed = sum(size for _digest, size in marking.evictable([each.id for each in candidates[:middle]]))
        if freed >= excess:
            many = middle
        else:
            few = middle + 1
    return candidates[:many]


def _last_copy(digests: Sequence[Digest]) -> Conflict:
    more = f" and {len(digests) - _SHOWN} more" if len(digests) > _SHOWN else ""
    message = (
        f"no remote shows that it has {', '.join(map(str, digests[:_SHOWN]))}{more}, so nothing was freed: these may "
        "be the last copies. `artstore remote test` tries a remote"
    )
    return Conflict(message, code="last-copy")
