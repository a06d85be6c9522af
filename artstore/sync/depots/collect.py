"""Collect: what no version of a log needs any more is freed in its depot.

Objects are condemned first, by an op in the log, and a grace later a second op says that they are swept; then they are
removed. Whoever claims a slot has read the one before it. So a push either comes before the sweep, which then keeps
what it needs, or finds out that objects on which it relied are gone, and sends their bytes again, by another name. That
holds whatever clocks say, and for any number of collectors at once: a slot has one owner. The grace only spares those
who are reading, or have just put objects there, the trouble; it counts from when the log says that an object was
condemned, and where that is still to come, from when the collector first saw it.

What was swept and not removed, since the collector was killed, the next one removes. Where a push was killed before it
claimed the first slot of a log, the collector claims it, so that the same holds for what that push left. Before all
that, many small packs are put together (`join`), so that what they were is condemned.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from artstore.errors import ArtstoreError, Conflict, Denied, Invalid, NotFound, Unreachable
from artstore.lifecycle.collect import GRACE_S, LONGEST_S
from artstore.lifecycle.commit import nonce, now_us
from artstore.lifecycle.ordering import names_upstream
from artstore.lifecycle.progress import Progress, Tick
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.upstream import Followed
from artstore.model.digest import Digest
from artstore.model.names import project_name
from artstore.model.records import Condemn, Sweep, encode_op
from artstore.storage.files import random_hex
from artstore.storage.sessions import PATIENCE_S, Exclusive
from artstore.store import Store
from artstore.sync.checked import is_object
from artstore.sync.claim import NOTHING, claim_next
from artstore.sync.connect import connect
from artstore.sync.depots.depot import Depot
from artstore.sync.depots.join import join, small_packs
from artstore.sync.depots.needs import blobs_of, read_lists, wanted
from artstore.sync.depots.shelf import KINDS, DepotShelf
from artstore.sync.mirrors.free import free
from artstore.sync.mirrors.way import MirrorWay
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.protocol import Sent
from artstore.sync.pull import pull
from artstore.sync.remotes import find_remote, open_mirror, open_remote, read_remotes
from artstore.sync.reports import CollectedProject, RemoteGcReport
from artstore.sync.standing import noting
from artstore.sync.way import Way

_TRIES: Final = 100
"""Slots that others may claim first before it is an error."""
_MANY: Final = 20_000
"""Names in one op, at most."""


def collect_remote(
    store: Store,
    name: str,
    *,
    projects: Sequence[str] | None = None,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RemoteGcReport:
    """Free what no version needs in a depot, the upstream of this store or a mirror, for some projects or all.

    A mirror gets first what it lacks of the log as this store knows it; of the upstream, what others have pushed is
    counted first, as `pull` does it. Beyond that nothing is changed on a dry run. Safe beside any push, pull, and other
    collectors. With a grace of 0 all that is not needed goes at once, and a push that is under way has to send again
    what it has put there.

    Raises NotFound (remote-not-found, project-not-found), Invalid (not-a-depot, bad-grace), Conflict (locked) while
    another process of this store moves something, Unreachable, Denied. What goes wrong with one project is in its
    report.
    """
    began = time.monotonic()
    settings = find_remote(read_remotes(store.path), name)
    if not 0 <= grace_s < LONGEST_S:
        message = f"a grace of {grace_s} s is none: give 0 s or more"
        raise Invalid(message, code="bad-grace")
    remote = open_remote(settings)
    if not isinstance(remote, Depot):
        message = (
            f"{name!r} is a server, and what is freed there is its own matter: run `artstore gc` on its machine, in "
            "the store that it serves"
        )
        raise Invalid(message, code="not-a-depot")
    mirror, root = open_mirror(settings), store.root
    if mirror is not None:
        # It gets first what it lacks, which may not be here.
        connect(store)
    root.catalog.check_writable()
    catch_up(root, thorough=True)
    with Exclusive(root.path, "sync", patience_s=PATIENCE_S), noting(root, name), root.session("gc") as session:
        way = Way(root, session, mirror or remote, "", settings.join, progress)
        chosen = _projects(mirror or remote)
        if projects is not None:
            there, chosen = set(chosen), [project_name(each) for each in projects]
            for unknown in (each for each in chosen if each not in there and root.catalog.project(each) is None):
                message = f"there is no project {unknown!r} in {name!r}, nor here"
                raise NotFound(message, code="project-not-found")
        ways = [way._replace(project=project) for project in chosen]
        if mirror is not None:
            has_one = names_upstream(root.path)
            theirs = [MirrorWay(each, mirror, has_upstream=has_one) for each in ways]
            reports = [_one_of_mirror(each, grace_s, dry_run=dry_run) for each in theirs]
        else:
            reports = [_one(each, remote, grace_s, dry_run=dry_run) for each in ways]
        leftovers = 0 if dry_run else (mirror or remote).tidy()
    return RemoteGcReport(
        remote=name, dry_run=dry_run, projects=reports, leftovers=leftovers, seconds=time.monotonic() - began
    )


def _one(way: Way, remote: Depot, grace_s: float, *, dry_run: bool) -> CollectedProject:
    collector = _Collector(way, remote, grace_s)
    try:
        return collector.foresee() if dry_run else collector.collect()
    except (Unreachable, Denied):
        raise
    except ArtstoreError as error:
        return collector.report(error)


def _one_of_mirror(there: MirrorWay, grace_s: float, *, dry_run: bool) -> CollectedProject:
    try:
        return free(there, grace_s, dry_run=dry_run)
    except (Unreachable, Denied):
        raise
    except ArtstoreError as error:
        project, code = there.way.project, error.code
        return CollectedProject(project=project, error=error.message, code=code, exit_code=error.exit_code)


def _projects(remote: Depot) -> list[str]:
    """Those that have a log there, or of which a push has left something that was killed before it had one."""
    found = set(remote.projects())
    for kind in KINDS:
        found.update(remote.projects_below(f"{kind}/"))
    return sorted(found)


class _Plan(NamedTuple):
    """What is to become of objects."""

    new: list[str]
    """To be condemned."""
    due: list[str]
    """Condemned, and the grace is over."""
    waiting: list[str]
    """Condemned, and it is not."""
    kept: list[str]
    """Condemned, and needed again."""
    dead: list[str]
    """Digests of manifests that no version has, which nobody has said yet."""


class _Needs(NamedTuple):
    """What the log says as far as it is counted here."""

    manifests: set[str]
    """Of versions, and of parts that nobody has gathered."""
    objects: set[str]
    swept: set[str]
    missing: int
    """Blobs that versions need, and that lie in no object."""
    packed: dict[str, list[Digest]]
    """Packs of which something is needed, with what."""


class _Collector:
    """Collects the objects of one project."""

    def __init__(self, way: Way, remote: Depot, grace_s: float) -> None:
        self._way = way
        self._remote = remote
        self._grace_us = int(grace_s * 1_000_000)
        self._files: dict[str, list[str]] = {}
        """What lies there, by the object that it is of."""
        self._last = Followed("", 0, None)
        """The log, and the slot behind which the next one is to be claimed."""
        self._condemned = self._condemned_bytes = self._swept = self._freed_bytes = self._joined = 0
        self._waiting = self._kept = self._missing = 0
        self._due_us = 0
        """When the grace is over of all that waits."""

    def collect(self) -> CollectedProject:
        """Do it."""
        shelf = self._begin()
        needs = self._needs(shelf)
        self._look(shelf, needs)
        self._mend(shelf, needs)
        self._remove(shelf, needs.swept)
        shelf, needs = self._join(shelf, needs)
        self._remote.tidy_checkpoints(self._way.project)
        overtaken = 0
        while (op := _next_op(plan := self._plan(shelf, needs))) is not None:
            slot = claim_next(self._way, self._last, [[encode_op(op)]], NOTHING)
            if slot is None:
                overtaken += 1
                if overtaken == _TRIES:
                    message = f"{overtaken} times in a row others wrote to {self._way.place} first: repeat later"
                    raise Conflict(message, code="busy")
                shelf = self._begin()
                needs = self._needs(shelf)
                continue
            overtaken = 0
            self._last = self._way.followed or self._last
            shelf.note(slot)
            shelf.save()
            if isinstance(op, Sweep):
                self._kept += len(op.kept)
                self._remove(shelf, op.objects)
            else:
                self._condemned += len(op.objects)
                self._condemned_bytes += self._size(shelf, op.objects)
        self._waiting = len(plan.waiting)
        if plan.waiting:
            # It counts from now for what this store saw first now.
            shelf.save()
        shelf.tidy_indexes()
        return self.report()

    def foresee(self) -> CollectedProject:
        """Say what it would come to."""
        shelf = self._begin()
        needs = self._needs(shelf)
        self._look(shelf, needs)
        plan = self._plan(shelf, needs)
        old = [f"packs/{name}" for name in small_packs(shelf, needs.packed)]
        self._joined = len(old)
        plan.new.extend(old)
        gone = [*plan.due, *(name for name in self._files if name in needs.swept)]
        gone += plan.new if self._grace_us == 0 else []
        self._condemned, self._condemned_bytes = len(plan.new), self._size(shelf, plan.new)
        self._swept, self._freed_bytes = len(gone), self._size(shelf, gone)
        if plan.new and self._grace_us:
            self._waiting = len(plan.new)
            self._due_us = now_us() + self._grace_us
        self._waiting += len(plan.waiting)
        self._kept = len(plan.kept)
        return self.report()

    def report(self, error: ArtstoreError | None = None) -> CollectedProject:
        """What was done."""
        return CollectedProject(
            project=self._way.project,
            condemned=self._condemned,
            condemned_bytes=self._condemned_bytes,
            waiting=self._waiting,
            due_at=self._due_us / 1e6 if self._waiting else None,
            swept=self._swept,
            freed_bytes=self._freed_bytes,
            kept=self._kept,
            joined=self._joined,
            missing=self._missing,
            error=None if error is None else error.message,
            code=None if error is None else error.code,
            exit_code=0 if error is None else error.exit_code,
        )

    def _begin(self) -> DepotShelf:
        pull(self._way)
        self._last = self._way.followed or Followed(random_hex(16), 0, None)
        shelf = self._remote.shelf(self._way.root, self._way.project, self._last.log)
        shelf.follow(self._remote, self._last.slot)
        return shelf

    def _look(self, shelf: DepotShelf, needs: _Needs) -> None:
        """See what lies there. What comes later is no concern of this collector."""
        for file in shelf.listed():
            name = file.removesuffix(".idx").removesuffix(".tar")
            if is_object(name):
                self._files.setdefault(name, []).append(file)
        absent = [name for name in needs.objects if len(self._files.get(name, ())) < len(shelf.files_of(name))]
        self._missing = needs.missing + len(absent)

    def _mend(self, shelf: DepotShelf, needs: _Needs) -> None:
        """Put the indexes there again that are gone while their packs are not."""
        for name in sorted(needs.objects - shelf.unread):
            files = self._files.get(name, [])
            if name.startswith("packs/") and files == [f"{name}.tar"]:
                shelf.restore_index(name)
                files.insert(0, f"{name}.idx")
                self._missing -= 1

    def _needs(self, shelf: DepotShelf) -> _Needs:
        root = self._way.root
        self._way.tell(Tick("mark"))
        manifests, swept, _newest = wanted(root, self._way.project)
        digests = {Digest.parse(digest) for digest in manifests}
        for digest in digests:
            read_lists(root, self._way.place, shelf, digest)
        small, large = shelf.members(), shelf.known.blobs
        objects = shelf.known.keeping(manifests)
        missing = 0
        packed: dict[str, list[Digest]] = {}
        for blob in blobs_of(root, digests):
            if blob in small:
                objects.add(f"packs/{small[blob].pack}")
                packed.setdefault(small[blob].pack, []).append(Digest(blob))
            elif blob.hex() in large:
                objects.add(f"blobs/{large[blob.hex()]}")
            else:
                missing += 1
        if missing:
            # They may be in there, for somebody who knows how to mend it.
            objects |= shelf.unread
        return _Needs(manifests, objects, swept, missing, packed)

    def _join(self, shelf: DepotShelf, needs: _Needs) -> tuple[DepotShelf, _Needs]:
        """Put many small packs together, so that what they were is condemned; answers how it is then."""
        way = self._way
        small = small_packs(shelf, needs.packed)
        if not small:
            return shelf, needs

        def tell(blobs: int, size: int) -> None:
            way.tell(Tick("join", blobs, size))

        before = needs.packed
        joined = join(shelf, way.root, way.session, {name: before[name] for name in small}, tell)
        for _ in range(_TRIES):
            shelf = self._begin()
            needs = self._needs(shelf)
            # Others may need more of a pack by now, or have condemned or swept it: it is no longer for this one to say.
            same = {f"packs/{name}" for name in joined.old if set(needs.packed.get(name, ())) <= set(before[name])}
            old = sorted(same & shelf.known.named() - shelf.known.condemned.keys())
            # What no slot has named yet may have been swept.
            if not old or not needs.swept.isdisjoint(f"packs/{name}" for name in joined.new):
                break
            op = encode_op(Condemn(at_us=now_us(), nonce=nonce(), objects=old))
            slot = claim_next(way, self._last, [[op]], Sent({}, joined.new, []))
            if slot is not None:
                self._last = way.followed or self._last
                shelf.note(slot)
                shelf.save()
                self._joined = len(old)
                self._condemned += len(old)
                self._condemned_bytes += self._size(shelf, old)
                needs = self._needs(shelf)
                break
        return shelf, needs

    def _plan(self, shelf: DepotShelf, needs: _Needs) -> _Plan:
        known, now = shelf.known, now_us()
        plan = _Plan([], [], [], [], [])
        self._due_us = 0
        for name, at_us in sorted(known.condemned.items()):
            # By a clock that is ahead: then it counts from when this store first saw it.
            known.condemned[name] = since_us = min(at_us, now)
            if name in needs.objects:
                plan.kept.append(name)
            elif self._grace_us == 0 or now - since_us >= self._grace_us:
                plan.due.append(name)
            else:
                plan.waiting.append(name)
                self._due_us = max(self._due_us, since_us + self._grace_us)
        others = (known.named() | self._files.keys()) - needs.objects - needs.swept - known.condemned.keys()
        plan.new.extend(sorted(others))
        held = {digest for digests in known.manifests.values() for digest in digests}
        plan.dead.extend(sorted(held - needs.manifests - known.dead))
        return plan

    def _remove(self, shelf: DepotShelf, names: Iterable[str]) -> None:
        """Remove objects that are swept, as far as they are there."""
        there = [name for name in names if name in self._files]
        if not there:
            return
        sizes = 0
        for done, (name, size) in enumerate(in_parallel(shelf.remove, there), 1):
            del self._files[name]
            sizes += size
            self._way.tell(Tick("sweep", done, sizes, len(there)))
        self._swept += len(there)
        self._freed_bytes += sizes

    def _size(self, shelf: DepotShelf, names: Sequence[str]) -> int:
        there = [file for name in names for file in self._files.get(name, ())]
        return sum(size or 0 for _file, size in in_parallel(shelf.size, there))


def _next_op(plan: _Plan) -> Condemn | Sweep | None:
    if plan.due or plan.kept:
        dead = plan.dead if plan.due else []
        # What may have lost its blobs is said before they are swept.
        due = plan.due if len(dead) <= _MANY else []
        return Sweep(at_us=now_us(), nonce=nonce(), objects=due[:_MANY], kept=plan.kept[:_MANY], manifests=dead[:_MANY])
    return Condemn(at_us=now_us(), nonce=nonce(), objects=plan.new[:_MANY]) if plan.new else None
