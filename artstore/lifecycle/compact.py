"""Compact: many small files of a log become one segment, with the same transactions byte for byte.

Encodings of manifests that no version names any more are left out; one that was a difference to such a manifest is
encoded anew. The segment is published and synced before what it replaces is unlinked, so a crash leaves both, and the
next run removes what is covered.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from artstore.errors import Conflict, Corrupt, StorageFull
from artstore.lifecycle.replay import replay_project
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.storage.catalog import Project
from artstore.storage.files import random_hex, storage_errors, sync_directory
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments, LogFile, Prepared, Sums, read
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session

EVERY: Final = 256
"""Transactions after which a log is compacted by itself."""
_GROWTH: Final = 4
"""A segment is taken into the next one while it is at most so many times as large as what is newer."""
_ALWAYS_BELOW: Final = 1 << 20
_LARGEST: Final = 256 << 20


def compact_if_due(root: Root, session: Session, name: str, seq: int) -> None:
    """Compact the log of a project if this transaction is one of every so many. Somebody else may be at it already."""
    if seq % EVERY:
        return
    project = root.catalog.project(name)
    if project is not None:
        with contextlib.suppress(Conflict):
            compact(root, session, project, least=EVERY // 2)


def compact(root: Root, session: Session, project: Project, *, least: int) -> int:
    """Put the newest files of a log into one segment, if they are so many at least; answers how many there were.

    Raises Conflict (locked) if another process is at it.
    """
    with Exclusive(root.path, "compact"), storage_errors("compacting the log"):
        _remove_covered(root, project.name)
        with root.catalog.write():
            replay_project(root, project.name)
            files = _newest(root.log.files(project.name))
            # Also what no version names any more, while it has rows: a session may be about to commit a difference to
            # it. Under the same lock, so that no commit comes in between.
            manifests = Marking(root.catalog).manifests_here()
        if len(files) < least:
            return 0
        attachments, transactions = _merge(root, project, files, manifests)
        prepared = Prepared(session.scratch() / f"segment-{random_hex(4)}", attachments)
        try:
            prepared.seal(transactions)
            root.log.publish(project.name, files[0].first, files[-1].last, prepared)
        except StorageFull:
            # What is half written takes the room that the caller needs for more than this.
            with contextlib.suppress(OSError):
                os.unlink(prepared.path)
            raise
        finally:
            prepared.close()
        _remove_covered(root, project.name)
        return len(files)


def _remove_covered(root: Root, project: str) -> None:
    """Unlink the files of a log whose transactions a segment holds too."""
    covered = root.log.covered(project)
    for file in covered:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.path)
    if covered:
        sync_directory(covered[0].path.parent)


def _newest(files: list[LogFile]) -> list[LogFile]:
    """The files at the end of the log that are worth putting together: each byte is copied a few times in all."""
    chosen: list[LogFile] = []
    total = 0
    for file in reversed(files):
        size = file.path.stat().st_size
        if chosen and size > max(_GROWTH * total, _ALWAYS_BELOW):
            break
        if total + size > _LARGEST and chosen:
            break
        chosen.append(file)
        total += size
    return chosen[::-1]


def _merge(
    root: Root,
    project: Project,
    files: list[LogFile],
    needed: set[Digest],
) -> tuple[Attachments, list[bytes]]:
    marking = Marking(root.catalog)
    whole = marking.whole_digests()
    packs = marking.pack_names()
    transactions: list[bytes] = []
    manifests: dict[Digest, Encoding] = {}
    sums: dict[Digest, Sums] = {}
    names: list[str] = []
    # What older files encode stays there, live or not, and can be built on.
    held = _encoded_before(root, project, files[0].first)
    for file in files:
        contents = read(file.path)
        transactions += contents.transactions
        names += [name for name in contents.attachments.packs if name in packs]
        sums.update({each.digest: each for each in contents.attachments.sums if each.digest in whole})
        for encoding in contents.attachments.manifests:
            if encoding.digest in needed and encoding.digest not in held and encoding.digest not in manifests:
                manifests[encoding.digest] = _standing(root, encoding, held.union(manifests))
    if len(transactions) != files[-1].last - files[0].first + 1:
        message = (
            f"the log of project {project.name!r} has a gap between {files[0].first} and {files[-1].last}: it is left "
            "as it is. Run `artstore repair`"
        )
        raise Corrupt(message, code="log-gap")
    return Attachments(manifests=list(manifests.values()), sums=list(sums.values()), packs=names), transactions


def _standing(root: Root, encoding: Encoding, held: set[Digest]) -> Encoding:
    """The encoding, or a full one where its base is not kept."""
    if encoding.base is None or encoding.base in held:
        return encoding
    return encode_full(encoding.digest, (entry.line() for entry in root.manifests.entries(encoding.digest)))


def _encoded_before(root: Root, project: Project, first: int) -> set[Digest]:
    older = [file for file in root.log.files(project.name) if file.last < first]
    return {encoding.digest for file in older for encoding in read(file.path).attachments.manifests}
