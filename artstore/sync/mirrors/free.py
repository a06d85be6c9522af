"""Free: bytes in a mirror that no version needs any more, and nothing that waits there.

Objects are condemned first, and swept a grace later. Both are said beside the pages, behind all that was read there, so
no push can be overlooked (see `mirror`), and who is slow, or was killed, does no harm: on what was swept nobody relies
again. What waits in a store, or is forgotten or deleted there alone, ends nothing here but what waits with it. Lists of
files stay: they are small, and whoever follows the log reads them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from artstore.errors import Conflict, Corrupt, MissingObject
from artstore.lifecycle.commit import now_us
from artstore.lifecycle.progress import Tick
from artstore.model.digest import Digest
from artstore.sync.checked import is_object
from artstore.sync.depots.known import names_of
from artstore.sync.depots.needs import blobs_of, needed_by, read_lists, wanted_by
from artstore.sync.history import History, history
from artstore.sync.mirrors.mirror import MirrorShelf
from artstore.sync.mirrors.pages import Lying, More, Page, Pending
from artstore.sync.mirrors.to_mirror import push_to_mirror
from artstore.sync.mirrors.way import MirrorWay, check_same
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.reports import CollectedProject

_TRIES: Final = 100


def free(there: MirrorWay, grace_s: float, *, dry_run: bool) -> CollectedProject:
    """Free what is not needed of one project; the mirror gets first what it lacks of the log.

    Raises Conflict (behind) where it has more of the log than this store, Conflict (other-log, busy), Corrupt where it
    is not known what something needs, Unreachable, Denied.
    """
    if not dry_run:
        # What cannot be had for it keeps nothing there.
        push_to_mirror(there)
    root = there.way.root
    project = root.catalog.project(there.way.project)
    # Where nobody has met the upstream yet there is no log, and all that is needed there waits.
    known = History("", [])
    if there.mirror.log(there.way.project) is not None:
        if project is None:
            raise _behind(there)
        known = history(root, project)
    work = _Work(there, known, int(grace_s * 1_000_000))
    return work.foresee() if dry_run else work.collect()


class _Seen(NamedTuple):
    """What lies there."""

    shelf: MirrorShelf
    files: dict[str, list[str]]
    """By the object that they are of."""
    keep: set[str]
    """Objects that are needed."""
    lists: set[str]
    """Digests of lists of files that are needed."""
    missing: int
    """Blobs that are needed, and in no object that anything names."""
    newest_us: int
    """The newest time that the log says."""


class _Plan(NamedTuple):
    """What is to become of objects."""

    new: list[str]
    """To be condemned."""
    due: list[str]
    """To be swept."""
    waiting: dict[str, int]
    """Condemned, and the grace is not over, with when it began."""
    kept: list[str]
    """Condemned, and needed again."""


class _Work:
    """Frees the objects of one project."""

    def __init__(self, there: MirrorWay, known: History, grace_us: int) -> None:
        self._there = there
        self._project = there.way.project
        self._known = known
        self._grace_us = grace_us

    def collect(self) -> CollectedProject:
        """Do it."""
        for _ in range(_TRIES):
            seen = self._look()
            plan, known = self._plan(seen), seen.shelf.known
            # For what this store saw first now, it counts from now.
            seen.shelf.save()
            held = {digest for digests in known.manifests.values() for digest in digests}
            more = More(
                before=known.told,
                condemned={} if not self._grace_us else dict.fromkeys(plan.new, max(now_us(), seen.newest_us)),
                kept=plan.kept,
                swept=plan.due,
                lacks=sorted(held - seen.lists - known.dead) if plan.due else [],
            )
            is_new = bool(more.condemned or more.kept or more.swept)
            if not is_new or self._there.mirror.said.tell(self._project, known.more + 1, more):
                break
        else:
            message = f"{_TRIES} times in a row others were at work at {self._there.way.place}: repeat later"
            raise Conflict(message, code="busy")
        gone, condemned = self._gone(seen, plan), _size(seen, plan.new)
        sizes = 0
        for done, (_name, size) in enumerate(in_parallel(seen.shelf.remove, gone), 1):
            sizes += size
            self._there.way.tell(Tick("sweep", done, sizes, len(gone)))
        return self._told(seen, plan, condemned, len(gone), sizes)

    def foresee(self) -> CollectedProject:
        """Say what it would come to."""
        seen = self._look()
        plan = self._plan(seen)
        gone = self._gone(seen, plan)
        return self._told(seen, plan, _size(seen, plan.new), len(gone), _size(seen, gone))

    def _look(self) -> _Seen:
        """See what lies there and what of it is needed. All of it is asked for by its name: a listing may be old."""
        way, mirror, known = self._there.way, self._there.mirror, self._known
        shelf = self._there.look()
        mirror.read_anew(way.project)
        check_same(self._there, known, min(mirror.last(way.project), len(known.slots)))
        pages = list(self._pages())
        slots = sum(len(page.slots) for page in pages)
        if slots > len(known.slots):
            raise _behind(self._there)
        if slots < shelf.known.marked:
            message = f"what others have put at {way.place} cannot be seen here yet: repeat in a minute"
            raise Conflict(message, code="busy")
        way.tell(Tick("mark"))
        waiting = self._waiting(shelf.known.waits)
        named = set(_names([*pages, *(more for _number, _digest, more in mirror.said.more(way.project)), *waiting]))
        log = [bytes(raw) for slot in known.slots for raw in slot.ops]
        wanted = wanted_by(log)
        needed = (needed_by((bytes(raw) for ops in each.transactions for raw in ops), log) for each in waiting)
        lists = {Digest.parse(each) for each in wanted.manifests.union(*needed)}
        blobs = self._blobs(waiting, lists)
        files: dict[str, list[str]] = {}
        for file in shelf.listed():
            name = file.removesuffix(".idx").removesuffix(".tar")
            if is_object(name) and not name.startswith("manifests/"):
                files.setdefault(name, []).append(file)
        contents = shelf.contents(name.removeprefix("packs/") for name in named & files.keys() if "packs/" in name)
        holding = {f"packs/{name}": members & blobs for name, members in contents.items()}
        holding |= {name: {_digest_in(name)} & blobs for name in named & files.keys() if "blobs/" in name}
        relied = [some for name, some in holding.items() if name not in shelf.known.swept]
        held = set[bytes]().union(*relied)
        # On what was swept nobody relies, but it may be all that is left.
        keep = {name for name, some in holding.items() if (some - held if name in shelf.known.swept else some)}
        missing = blobs.difference(*holding.values())
        if missing:
            # They may be in what nothing names any more, or in what cannot be read, for who knows how to mend that.
            keep |= files.keys() - holding.keys()
        return _Seen(shelf, files, keep, set(map(str, lists)), len(missing), wanted.newest_us)

    def _pages(self) -> Iterator[Page]:
        number = 1
        while (found := self._there.mirror.page(self._project, number)) is not None:
            yield found.page
            number += len(found.page.slots)

    def _waiting(self, told: Mapping[str, int]) -> list[Pending]:
        """What waits there. Raises Corrupt where something of that cannot be read."""
        found: list[Pending] = []
        for _store, _count, pending in self._there.mirror.said.pending(self._project, told):
            if isinstance(pending, Corrupt):
                raise pending
            found.append(pending)
        return found

    def _blobs(self, waiting: Iterable[Pending], lists: set[Digest]) -> set[bytes]:
        """The blobs of lists of files. Raises Corrupt where one is nowhere: it is not known what it needs."""
        root, place, shelf = self._there.way.root, self._there.way.place, self._there.shelf.beside()
        for pending in waiting:
            shelf.put(pending)
        for digest in lists:
            with contextlib.suppress(MissingObject):
                read_lists(root, place, shelf, digest)
            if root.manifests.find(digest) is None:
                message = (
                    f"the list of files {digest} of a version is neither here nor at {place}, so it is not known what "
                    "can go there: push there from a store that has it, or run this in that one"
                )
                raise Corrupt(message, code="manifest-missing")
        return set(blobs_of(root, lists))

    def _plan(self, seen: _Seen) -> _Plan:
        known, now = seen.shelf.known, now_us()
        plan = _Plan([], [], {}, [])
        for name, at_us in sorted(known.condemned.items()):
            # By a clock that is ahead: then it counts from when this store first saw it.
            known.condemned[name] = since_us = min(at_us, now)
            if name in seen.keep:
                plan.kept.append(name)
            elif self._grace_us == 0 or now - since_us >= self._grace_us:
                plan.due.append(name)
            else:
                plan.waiting[name] = since_us
        plan.new.extend(sorted(seen.files.keys() - seen.keep - known.condemned.keys() - known.swept))
        if self._grace_us == 0:
            plan.due.extend(plan.new)
        else:
            plan.waiting.update(dict.fromkeys(plan.new, now))
        return plan

    def _gone(self, seen: _Seen, plan: _Plan) -> list[str]:
        """What is there still of all that is swept."""
        swept = seen.shelf.known.swept.union(plan.due)
        return [name for name in seen.files if name in swept and name not in seen.keep]

    def _told(self, seen: _Seen, plan: _Plan, condemned: int, swept: int, freed: int) -> CollectedProject:
        return CollectedProject(
            project=self._project,
            condemned=len(plan.new),
            condemned_bytes=condemned,
            waiting=len(plan.waiting),
            due_at=(max(plan.waiting.values()) + self._grace_us) / 1e6 if plan.waiting else None,
            swept=swept,
            freed_bytes=freed,
            kept=len(plan.kept),
            missing=seen.missing,
        )


def _behind(there: MirrorWay) -> Conflict:
    message = f"{there.way.place} has more of the log than this store: pull from it, or from the upstream, and repeat"
    return Conflict(message, code="behind")


def _names(lying: Iterable[Lying]) -> Iterator[str]:
    for each in lying:
        yield from names_of(each.packs, each.blobs, ())


def _digest_in(name: str) -> bytes:
    """The digest of the large blob that an object is."""
    return bytes.fromhex(name.removeprefix("blobs/").partition(".")[0])


def _size(seen: _Seen, names: Iterable[str]) -> int:
    there = [file for name in names for file in seen.files.get(name, ())]
    return sum(size or 0 for _file, size in in_parallel(seen.shelf.size, there))
