"""Collect: what nothing needs any more is freed. Nothing else deletes bytes.

What is freed was condemned first, so that no session which began later relies on it, and every session that began
before has ended, which their kernel locks prove; clocks only ever delay. What is condemned and needed again is
acquitted. Bytes go to the trash, and from there, at the earliest with the second collection that comes after, when the
grace is over; with a grace of 0 they go at once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from artstore.errors import Conflict, Corrupt, Invalid, StorageFull
from artstore.lifecycle.compact import compact
from artstore.lifecycle.let_go import let_go
from artstore.lifecycle.progress import Progress, Tick
from artstore.lifecycle.replay import adopt_packs, catch_up
from artstore.lifecycle.reports import GcReport, SessionInfo
from artstore.lifecycle.trash import Bin, Tally, files_below, trash_bytes
from artstore.lifecycle.upstream import hiding
from artstore.model.digest import Digest
from artstore.model.manifest import difference_between
from artstore.storage import packs, quarantine, reserve, stat_cache, whole
from artstore.storage.files import (
    is_open_elsewhere,
    publish,
    random_hex,
    read_exactly,
    storage_errors,
    sync_directory,
    sync_file,
)
from artstore.storage.gather import PACK_SIZE
from artstore.storage.marking import Marking, PackUse
from artstore.storage.packs import PackWriter
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session, current_epoch, live_sessions

LONGEST_S: Final = 1e11
GRACE_S: Final = 86_400.0
"""How long the trash is kept at least, if nothing is said."""
MIN_LIVE_SHARE: Final = 0.5
"""A pack of which less is needed is written anew."""
SMALL_PACK: Final = 4 << 20
MANY_SMALL_PACKS: Final = 32
"""So many packs under SMALL_PACK bytes are put together: inodes are metered too."""

_Alive = tuple[int, dict[str, object]]
"""A live session: its epoch, and what it says of itself."""


class _Elsewhere(NamedTuple):
    """What was deleted elsewhere."""

    versions: list[str]
    bytes: int
    goes: bool


def collect(
    root: Root,
    *,
    dry_run: bool = False,
    grace_s: float = GRACE_S,
    deleted: bool = False,
    progress: Progress | None = None,
) -> GcReport:
    """Free what no version, no live session and no unfinished upload needs.

    What was deleted elsewhere has its bytes here until `deleted` is given; the report names it. Where others write to a
    log that is kept here, what they have brought is theirs to delete.

    Safe beside running commits and checkouts. A dry run of a store that is read-only does not ask who else is at work
    there. Raises Conflict (locked) if another `gc` runs, Invalid (bad-grace).
    """
    if not 0 <= grace_s < LONGEST_S:
        message = f"a grace of {grace_s} s is none: give 0 s or more"
        raise Invalid(message, code="bad-grace")
    began = time.monotonic()
    if dry_run and root.read_only:
        with storage_errors("collecting"):
            catch_up(root, thorough=True)
            return _foresee(root, grace_s, deleted=deleted, sessions=[], began=began)
    root.catalog.check_writable()
    with storage_errors("collecting"), Exclusive(root.path, "gc"), root.session("gc") as session:
        leftovers = len(os.listdir(root.path / "tmp"))
        sessions = live_sessions(root.path, but=session)
        leftovers -= len(os.listdir(root.path / "tmp"))
        catch_up(root, thorough=True, wait=True)
        if dry_run:
            return _foresee(root, grace_s, deleted=deleted, sessions=sessions, began=began)
        _check_current(root)
        marking, hidden = _marking(root, deleted=deleted)
        if deleted:
            let_go(root, session)
        tally = Tally(leftovers=leftovers)
        _tick(progress, "mark")
        limit = _condemn(root, marking, session)
        # Who was killed meanwhile may have committed, and not noted it in the catalog.
        catch_up(root, thorough=True, wait=True)
        _check_current(root)
        marking.acquit()
        # A session of the new epoch may have found the old form of what is flattened now, so it is freed another time.
        _flatten(root, marking, current_epoch(root.path / "locks"))
        stat_cache.tidy(root.path, lambda manifest: root.manifests.find(manifest) is not None)
        marking.free_manifests(limit)
        _tick(progress, "free")
        bin_ = Bin(root, session.id, grace_s, tally)
        freed = marking.free_blobs(limit)
        for blob in freed:
            if blob.was_whole:
                _free_whole(root, marking, bin_, blob.digest)
        _tick(progress, "repack")
        with contextlib.suppress(StorageFull):
            # What is freed below may make room for it the next time.
            _repack(root, marking, session, bin_)
        _free_orphans(root, marking, session, bin_)
        bin_.empty_old()
        if bin_.has_taken:
            # A copy of the catalog that was made meanwhile knows of less than is gone now. Before what needs much room.
            root.begin_epoch()
        _tick(progress, "compact")
        compacted = 0
        for project in root.catalog.projects():
            with contextlib.suppress(Conflict, StorageFull):
                # A commit that is one of every so many is at it; or there is no room for what only tidies up.
                compacted += compact(root, session, project, least=2)
        root.catalog.settle()
        reserve.fill(root.path)
        return _report(
            root,
            began,
            tally,
            live_sessions(root.path, but=session),
            dry_run=False,
            blobs=len(freed),
            kept=marking.waiting(),
            compacted=compacted,
            hidden=hidden,
        )


def _check_current(root: Root) -> None:
    """Raise where the catalog does not say what the log says: what the log would have kept must not be freed."""
    for damage in root.damaged.values():
        raise damage
    # On a full disk only a copy in memory could follow, and what is freed would be so for this process alone.
    root.catalog.check_writable()


def _marking(root: Root, *, deleted: bool) -> tuple[Marking, _Elsewhere]:
    """What `gc` asks, and what was deleted elsewhere."""
    marking = Marking(root.catalog, hiding(root))
    versions, size = marking.hidden()
    names = [each.name for each in versions]
    return Marking(root.catalog) if deleted else marking, _Elsewhere(names, size, goes=deleted)


def _foresee(root: Root, grace_s: float, *, deleted: bool, sessions: list[_Alive], began: float) -> GcReport:
    """What the same call would come to, were it not a dry run; what packs take beside their blobs is not counted."""
    for damage in root.damaged.values():
        raise damage
    marking, hidden = _marking(root, deleted=deleted)
    blobs, size = marking.dead()
    kept = 0
    if sessions:
        # What was condemned before all of them began is no concern of theirs.
        freeable, size = marking.dead(before=min(epoch for epoch, _about in sessions))
        kept, blobs = blobs - freeable, freeable
    old = Bin(root, "", grace_s, Tally()).old_bytes()
    freed, trashed = (size, 0) if grace_s == 0 else (0, size)
    tally = Tally(freed_bytes=freed + old, trashed_bytes=trashed)
    report = _report(root, began, tally, sessions, dry_run=True, blobs=blobs, kept=kept, compacted=0, hidden=hidden)
    return msgspec.structs.replace(report, trash_bytes=report.trash_bytes - old + trashed)


def _condemn(root: Root, marking: Marking, session: Session) -> int:
    """Condemn what nothing needs, begin an epoch, and answer up to which epoch all sessions have ended."""
    epoch = current_epoch(root.path / "locks")
    _flatten(root, marking, epoch)
    marking.condemn(epoch)
    root.begin_epoch()
    alive = [began for began, _about in live_sessions(root.path, but=session)]
    return min([epoch, *(began - 1 for began in alive)])


def _flatten(root: Root, marking: Marking, epoch: int) -> None:
    """Make live manifests independent of bases that nothing else needs.

    One stands on the next live manifest below it, or on the first other that stood on the same dead base, or is full.
    """
    stands_on: dict[int, Digest] = {}
    while orphans := marking.orphans():
        for orphan in orphans:
            below = marking.live_ancestor(orphan.base) or stands_on.get(orphan.base)
            marking.replace_manifest(orphan.id, _write_manifest(root, orphan.digest, below), epoch)
            stands_on.setdefault(orphan.base, orphan.digest)


def _write_manifest(root: Root, digest: Digest, below: Digest | None) -> int:
    base = None if below is None else root.manifests.find(below)
    # Not while they are read: a query that is open keeps its connection from writing.
    entries = list(root.manifests.entries(digest))
    if below is not None and base is not None:
        difference = difference_between(root.manifests.entries(below), entries)
        if root.manifests.can_build_on(base, difference.weight, len(entries)):
            return root.manifests.add_difference(digest, base, difference, len(entries), stored_only=False)
    return root.manifests.add_full(digest, entries, stored_only=False)


def _free_whole(root: Root, marking: Marking, bin_: Bin, digest: Digest) -> None:
    # Under the write lock: a session that stores the same bytes now either has its row already, or finds no file.
    with root.catalog.write():
        if not marking.is_known(digest):
            bin_.take(whole.path_of(root.path, digest), digest.path)


def _repack(root: Root, marking: Marking, session: Session, bin_: Bin) -> None:
    """Free packs that nothing needs, and write those anew that are mostly dead, or small and many."""
    uses = settled(root, marking, session)
    empty = [use for use in uses if use.live_blobs == 0]
    absent = marking.absent() if empty else set()
    for use in empty:
        if not _holds_any(root.path / "packs" / use.name, absent):
            marking.forget_pack(use.id)
            bin_.take(root.path / "packs" / use.name, f"packs/{use.name}")
    alive = [use for use in uses if use.live_blobs > 0]
    small = [use for use in alive if use.size < SMALL_PACK]
    chosen = small if len(small) >= MANY_SMALL_PACKS else []
    chosen += [use for use in alive if use not in chosen and use.live_bytes < MIN_LIVE_SHARE * use.size]
    group: list[PackUse] = []
    for use in chosen:
        group.append(use)
        if sum(each.live_bytes for each in group) >= PACK_SIZE:
            _replace(root, marking, session, bin_, group)
            group = []
    if group:
        _replace(root, marking, session, bin_, group)


def _holds_any(path: Path, absent: Collection[Digest]) -> bool:
    """Whether a pack may have what is known and nowhere: its file may have come back."""
    if not absent:
        return False
    try:
        return any(member.digest in absent for member in packs.members(path))
    except FileNotFoundError:
        return False
    except (Corrupt, OSError):
        return True


def settled(root: Root, marking: Marking, session: Session) -> list[PackUse]:
    """The packs whose rows are all there: a live session may have noted a pack and not yet its blobs."""
    noted = marking.pack_names()
    alive = {about.get("id") for _epoch, about in live_sessions(root.path, but=session)}
    return [use for use in marking.packs() if use.name in noted and use.name.partition("-")[0] not in alive]


def _replace(root: Root, marking: Marking, session: Session, bin_: Bin, group: list[PackUse]) -> None:
    for use in write_anew(root, session, group):
        marking.forget_pack(use.id)
        bin_.take(root.path / "packs" / use.name, f"packs/{use.name}")
        bin_.count_repacked()


def write_anew(root: Root, session: Session, group: Sequence[PackUse]) -> list[PackUse]:
    """Put what is needed of some packs into a new one; answers which of them nothing needs now.

    A pack with a damaged blob stays as it is, for `repair`.
    """
    marking = Marking(root.catalog)
    directory = root.path / "packs"
    pack = PackWriter(session.scratch() / f"{session.id}-{random_hex(4)}{packs.SUFFIX}")
    emptied: list[PackUse] = []
    with storage_errors("repacking"):
        try:
            for use in group:
                members = list(_verified_members(directory / use.name, marking.pack_members(use.id)))
                if all(data is not None for _digest, data in members):
                    emptied.append(use)
                    for digest, data in members:
                        assert data is not None
                        pack.add(digest, data, xxh3_64_intdigest(data))
            pack.finish()
            sync_file(pack.fd)
        finally:
            pack.close()
        if not pack.members:
            os.unlink(pack.path)
            return emptied
        publish(str(pack.path), str(directory / pack.path.name))
        sync_directory(directory)
    root.blobs.add_pack(pack.path.name, pack.size, pack.members, acquit=False)
    return emptied


def _verified_members(path: Path, members: list[tuple[Digest, int, int]]) -> Iterator[tuple[Digest, bytes | None]]:
    if path.is_symlink() or not path.is_file():
        yield from ((digest, None) for digest, _size, _offset in members)
        return
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        for digest, size, offset in members:
            data = read_exactly(fd, size, offset)
            yield digest, data if blake3(data).digest() == digest else None
    finally:
        os.close(fd)


def _free_orphans(root: Root, marking: Marking, session: Session, bin_: Bin) -> None:
    """Free files that have a name and no row: their session was killed in between."""
    directory = root.path / "packs"
    adopt_packs(root)
    named = sorted(os.listdir(directory))
    blobs = [
        (path, digest) for path in files_below(root.path / "blobs") if (digest := whole.digest_of(path)) is not None
    ]
    alive = {about.get("id") for _epoch, about in live_sessions(root.path, but=session)}
    known = marking.pack_names()
    for name in named:
        if name not in known and name.partition("-")[0] not in alive and not is_open_elsewhere(name):
            bin_.take_leftover(directory / name, f"packs/{name}")
    if alive:
        # A live session may have named a large blob and not yet noted it; a later collection will see.
        return
    rows = marking.whole_digests()
    absent = marking.absent() if any(digest not in rows for _path, digest in blobs) else set()
    for path, digest in blobs:
        if digest not in rows and digest not in absent:
            with root.catalog.write():
                if digest not in marking.whole_digests():
                    bin_.take_leftover(path, digest.path)


def _report(
    root: Root,
    began: float,
    tally: Tally,
    sessions: list[_Alive],
    *,
    dry_run: bool,
    blobs: int,
    kept: int,
    compacted: int,
    hidden: _Elsewhere,
) -> GcReport:
    return GcReport(
        dry_run=dry_run,
        freed_blobs=blobs,
        freed_bytes=tally.freed_bytes,
        trashed_bytes=tally.trashed_bytes,
        trash_bytes=trash_bytes(root),
        repacked_packs=tally.repacked,
        kept_by_sessions=kept,
        sessions=session_infos(sessions),
        compacted_ops=compacted,
        removed_leftovers=tally.leftovers,
        quarantine_bytes=quarantine.on_disk_bytes(root.path),
        deleted_versions=hidden.versions,
        deleted_bytes=hidden.bytes,
        deleted_go=hidden.goes,
        seconds=time.monotonic() - began,
    )


def session_infos(sessions: list[_Alive]) -> list[SessionInfo]:
    """Live sessions as reports show them; one that has not yet said what it is has no words."""
    blank = {"pid": 0, "host": "", "verb": "", "since": 0.0}
    return [msgspec.convert({**blank, **about}, SessionInfo) for _epoch, about in sessions]


def _tick(progress: Progress | None, phase: str) -> None:
    if progress is not None:
        progress(Tick(phase))
