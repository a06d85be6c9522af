"""Replay: transactions of the log, folded into the catalog."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from artstore.errors import Conflict, Corrupt, Refused, UpgradeNeeded
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, Entry, blob_of, decode_difference, decode_full
from artstore.model.records import decode_transaction
from artstore.storage import packs, stat_cache, whole
from artstore.storage.blob_index import WHOLE
from artstore.storage.catalog import Project
from artstore.storage.database import PATIENCE_S
from artstore.storage.files import storage_errors
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.storage.sessions import begin_epoch, current_epoch


def catch_up(root: Root, *, thorough: bool = False, wait: bool = False) -> None:
    """Fold what the log has and the catalog has not: a killed process linked it, or the catalog is an old copy.

    Where somebody is writing, that is left to the next one who finds the lock free, so that a reader need not wait for
    writers; only for what this process was told is committed it does. With `wait` it waits in any case.

    A store that cannot be written is brought up to date in memory. `thorough` lists the log's folders instead of asking
    for each project's next file, and so finds projects that the catalog has never heard of. Where a log is damaged,
    `root.damaged` has the error for the verbs of its project.
    """
    with storage_errors("reading the log"):
        behind = _behind(root, thorough=thorough)
    try:
        _replay_each(root, behind, wait=wait)
        _follow_frees(root)
    except (Refused, UpgradeNeeded) as refusal:
        if isinstance(refusal, UpgradeNeeded) and not root.read_only:
            # The log has what this artstore does not know.
            raise
        # Nowhere to write: the answer is the same, and only this process has it, so it must not write from here on.
        root.read_only = True
        root.catalog.load_into_memory(refusal)
        _replay_each(root, behind, wait=wait)
        _follow_frees(root)


def _follow_frees(root: Root) -> None:
    """Where the catalog is a copy from before the last `gc`, forget what it takes for stored and is not.

    No log tells of what `gc` does, so the catalog and the folder of the sessions both say how often it was at work.
    """
    locks = root.path / "locks"
    # In this order: what begins now is in the catalog first.
    epoch = current_epoch(locks)
    noted = root.catalog.epoch()
    if noted > epoch and not root.read_only:
        # A `gc` was killed in between, or the folder is another one.
        begin_epoch(locks, noted)
    if noted >= epoch:
        return
    with root.catalog.write():
        if root.catalog.epoch() >= epoch:
            # Another process did.
            return
        if not root.read_only:
            stat_cache.forget(root.path, root.catalog)
        _forget_gone(root)
        adopt_packs(root)
        root.catalog.set_epoch(epoch)


def _forget_gone(root: Root) -> None:
    marking = Marking(root.catalog)
    for use in marking.packs():
        if not (root.path / "packs" / use.name).exists():
            marking.forget_pack(use.id)
    for digest in map(Digest, marking.whole_digests()):
        if not whole.path_of(root.path, digest).exists():
            root.blobs.forget(digest, WHOLE)


def _replay_each(root: Root, behind: list[str], *, wait: bool) -> None:
    for name in behind:
        must_wait = wait or name in root.acknowledged
        try:
            with root.catalog.write(patience_s=PATIENCE_S if must_wait else 0):
                if replay_project(root, name) > 1:
                    # More than a killed process leaves: the catalog is an older copy, with the packs of its own time.
                    adopt_packs(root)
        except Corrupt as error:
            # Of this project alone: what is whole can be used, and `repair` can be run.
            root.damaged[name] = error
        except Conflict:
            if must_wait:
                raise
        else:
            root.damaged.pop(name, None)
            root.acknowledged.discard(name)


def replay_project(root: Root, name: str) -> int:
    """Fold all that the log of a project has beyond the catalog, inside a write transaction; answers how much.

    Where it raises, every transaction is in or out as a whole.
    """
    project = root.catalog.project(name)
    before = 0 if project is None else project.seq
    done = 0
    for seq, data, attachments in root.log.transactions(name, before):
        with root.catalog.step():
            take_attachments(root, attachments)
            project = take_transaction(root, name, seq, data)
        done += 1
    if done and project is not None and not root.read_only:
        # Whoever linked the newest may have been killed before its sync.
        root.log.sync(name, project.seq)
    return done


def take_transaction(root: Root, name: str, seq: int, data: bytes) -> Project:
    """Fold one transaction. Raises Corrupt (log-chain) where it does not follow what was folded last."""
    transaction = decode_transaction(data)
    project = root.catalog.project(name) or root.catalog.add_project(name, transaction.log)
    fits = (transaction.project, transaction.log, transaction.seq) == (name, project.log, seq)
    if not fits or seq != project.seq + 1 or transaction.before != project.head:
        message = (
            f"transaction {seq} of the log of project {name!r} does not follow the one before it: the log was changed "
            "from outside. Restore it from a copy (`artstore backup` makes one)"
        )
        raise Corrupt(message, code="log-chain")
    Journal(root.catalog, project).append(seq, str(Digest.of(data)), [bytes(op) for op in transaction.ops])
    return root.catalog.project_by_id(project.id)


def take_attachments(root: Root, attachments: Attachments) -> None:
    """Make known what a file of the log brought: packs, large blobs, manifests."""
    missing = [name for name in attachments.packs if not root.blobs.has_pack(name)]
    if missing and not all(index_pack(root, name) for name in missing):
        # Repacked since: its blobs are in packs whose names only the folder knows.
        index_new_packs(root)
    here = [
        whole.Stored(sums.digest, sums.size, sums.sums)
        for sums in attachments.sums
        if whole.path_of(root.path, sums.digest).exists()
    ]
    root.blobs.add_whole(here)
    for encoding in attachments.manifests:
        if root.manifests.find(encoding.digest) is None:
            _take_manifest(root, encoding)


def take_full(root: Root, digest: Digest, entries: Sequence[Entry]) -> None:
    """Make a manifest known by its entries, which are what its digest says."""
    root.blobs.expect([(blob.digest, blob.size) for entry in entries if (blob := blob_of(entry))])
    root.manifests.add_full(digest, entries, stored_only=False)


def index_new_packs(root: Root) -> list[str]:
    """Make the blobs of all packs known that are in the folder and not in the catalog; answers which are damaged."""
    names = sorted(name for name in os.listdir(root.path / "packs") if name.endswith(packs.SUFFIX))
    damaged: list[str] = []
    for name in names:
        if not root.blobs.has_pack(name):
            try:
                index_pack(root, name)
            except Corrupt as error:
                if error.code != "pack-damaged":
                    raise
                damaged.append(f"packs/{name}")
    return damaged


def adopt_packs(root: Root) -> list[str]:
    """Make packs known that hold what is missing elsewhere; answers which.

    Where the catalog is an older copy, packs were written and others freed since, of which no log tells.
    """
    marking = Marking(root.catalog)
    directory = root.path / "packs"
    there = {name for name in os.listdir(directory) if name.endswith(packs.SUFFIX)}
    strangers = sorted(there - marking.pack_names())
    if not strangers:
        return []
    for use in marking.packs():
        if use.name not in there and not (directory / use.name).exists():
            marking.forget_pack(use.id)
    adopted: list[str] = []
    missing = {digest for digest, _size in marking.missing(received=True)}
    for name in strangers:
        if not missing:
            break
        members: set[Digest] = set()
        with contextlib.suppress(Corrupt, OSError):
            # What comes before the damage is good.
            members.update(member.digest for member in packs.members(directory / name))
        if members & missing:
            with contextlib.suppress(Corrupt):
                index_pack(root, name)
            adopted.append(name)
            missing -= members
    return adopted


def index_pack(root: Root, name: str) -> bool:
    """Make the blobs of a pack known from its headers; False if it is not there."""
    path = root.path / "packs" / name
    found: list[packs.Member] = []
    try:
        size = path.stat().st_size
        # What comes before the damage is good, and is made known in any case.
        for member in packs.members(path):
            found.append(member)  # noqa: PERF402
    except FileNotFoundError:
        return False
    except Corrupt:
        root.blobs.add_pack(name, size, found, acquit=False)
        raise
    root.blobs.add_pack(name, size, found, acquit=False)
    return True


def _take_manifest(root: Root, encoding: Encoding) -> None:
    if encoding.base is None:
        take_full(root, encoding.digest, list(decode_full(encoding)))
        return
    difference = decode_difference(encoding)
    try:
        base = root.manifests.get(encoding.base)
    except Corrupt as error:
        if error.code != "manifest-missing":
            raise
        # A file of the log was lost with it. What no version names is not missed, and `verify` names what is.
        return
    root.blobs.expect([(blob.digest, blob.size) for entry in difference.come if (blob := blob_of(entry))])
    root.manifests.add_difference(encoding.digest, base, difference, encoding.entries, stored_only=False)


def _behind(root: Root, *, thorough: bool) -> list[str]:
    known = {project.name: project.seq for project in root.catalog.projects()}
    for name in [name for name in root.damaged if root.log.last(name) <= known.get(name, 0)]:
        # What failed for this process has been done by another.
        del root.damaged[name]
    if thorough:
        return [name for name in root.log.projects() if root.log.last(name) > known.get(name, 0)]
    return [name for name, seq in known.items() if root.log.has(name, seq + 1)]
