"""Mending the log: files of it that are gone or damaged are written again from the catalog.

Byte for byte where the chain counts: a transaction whose digest is not the one that was noted is not written.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from artstore.errors import ArtstoreError, Corrupt
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.model.notes import Accepted, AnyNote, decode_line
from artstore.model.records import (
    FORMAT,
    AnyOp,
    Commit,
    Part,
    Relog,
    Transaction,
    decode_op,
    decode_transaction,
    encode_transaction,
)
from artstore.storage.catalog import Project
from artstore.storage.files import random_hex, storage_errors, sync_directory
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.oplog import Attachments, LogFile, Prepared, read
from artstore.storage.root import Root
from artstore.storage.sessions import Session


def mend_log(root: Root, session: Session, project: Project) -> tuple[list[str], list[str]]:
    """Write the files of a log again that are missing or damaged; answers which, and which cannot be."""
    mended: list[str] = []
    left: list[str] = []
    # A log that is a chain is the truth, whatever the catalog says; one that is not holds a file of another place.
    noted = {} if _is_chain(root, project.name) else Journal(root.catalog, project).digests()
    for file in root.log.all_files(project.name):
        if not _is_good(file, noted):
            if file.last > project.seq:
                left.append(f"ops/{project.name}/{file.path.name}")
                continue
            with storage_errors("putting a damaged file of the log aside"):
                os.replace(file.path, root.path / "quarantine" / f"{time.time_ns()}-{file.path.name}")
                sync_directory(file.path.parent)
    gaps = list(_gaps(root.log.files(project.name), project.seq))
    for first, last in gaps:
        name = f"ops/{project.name}/{first}" if first == last else f"ops/{project.name}/{first}-{last}"
        try:
            _write_again(root, session, project, first, last, others=[gap for gap in gaps if gap[0] > last])
        except Corrupt:
            left.append(name)
        else:
            mended.append(name)
    return mended, left


def _is_chain(root: Root, project: str) -> bool:
    before: str | None = None
    try:
        for seq, data, _attachments in root.log.transactions(project, 0):
            transaction = decode_transaction(data)
            if (transaction.seq, transaction.before) != (seq, before):
                return False
            before = str(Digest.of(data))
    except Corrupt:
        return False
    return True


def _is_good(file: LogFile, noted: Mapping[int, str]) -> bool:
    try:
        transactions = read(file.path).transactions
    except ArtstoreError:
        return False
    digests = [str(Digest.of(data)) for data in transactions]
    return len(digests) == file.last - file.first + 1 and all(
        noted.get(seq, digest) == digest for seq, digest in enumerate(digests, start=file.first)
    )


def _gaps(files: Sequence[LogFile], end: int) -> Iterator[tuple[int, int]]:
    expected = 1
    for file in files:
        if file.first > expected:
            yield expected, file.first - 1
        expected = max(expected, file.last + 1)
    if expected <= end:
        yield expected, end


def _write_again(
    root: Root,
    session: Session,
    project: Project,
    first: int,
    last: int,
    *,
    others: Sequence[tuple[int, int]],
) -> None:
    """Write a file of these transactions; `others` are later gaps, whose manifests come with them."""
    transactions: list[bytes] = []
    named: set[Digest] = set()
    named_later: set[Digest] = set()
    before: str | None = None
    for seq, digest, ops in Journal(root.catalog, project).transactions():
        if first <= seq <= last:
            data = encode_transaction(
                Transaction(
                    format=FORMAT,
                    project=project.name,
                    log=project.log,
                    seq=seq,
                    before=before,
                    ops=[msgspec.Raw(op) for op in ops],
                ),
            )
            if str(Digest.of(data)) != digest:
                message = f"the catalog does not hold transaction {seq} of project {project.name!r} as it was written"
                raise Corrupt(message, code="log-damaged")
            transactions.append(data)
            named |= _manifests_of(ops)
        elif any(start <= seq <= end for start, end in others):
            named_later |= _manifests_of(ops)
        before = digest
    if len(transactions) != last - first + 1:
        message = f"the catalog does not hold the transactions {first} to {last} of project {project.name!r}"
        raise Corrupt(message, code="log-damaged")
    lost = _unencoded(root, project, first, named, named_later)
    attachments = Attachments(manifests=[_encode(root, manifest) for manifest in sorted(lost)])
    prepared = Prepared(session.scratch() / f"log-{random_hex(4)}", attachments)
    try:
        prepared.seal(transactions)
        root.log.publish(project.name, first, last, prepared)
    finally:
        prepared.close()


def _manifests_of(ops: Sequence[bytes]) -> set[Digest]:
    lines: list[AnyOp | AnyNote] = []
    for line in map(decode_line, ops):
        lines += map(decode_op, map(bytes, line.ops)) if isinstance(line, Accepted) else [line]
    found = [line.record.manifest for line in lines if isinstance(line, Commit | Relog)]
    found += [line.manifest for line in lines if isinstance(line, Part)]
    return set(map(Digest.parse, found))


def _unencoded(root: Root, project: Project, first: int, named: set[Digest], later: set[Digest]) -> set[Digest]:
    """The manifests that a rebuild would lack without the file that begins at `first`, as far as they are here.

    Those that its commits name, those that other files encode as differences to what only it had, and whatever else
    lives and is encoded nowhere, but for the `later`, which another file will bring.
    """
    marking = Marking(root.catalog)
    here = marking.manifests_here()
    files = root.log.files(project.name)
    written: set[Digest] = set()
    standing: set[Digest] = set()
    """Those that a rebuild would have."""
    older = [file for file in files if file.first < first]
    newer = [file for file in files if file.first > first]
    for come, group in ((set[Digest](), older), (named, newer)):
        written |= (come & here) - standing
        standing |= written
        for encoding in _encodings(group):
            if encoding.base is None or encoding.base in standing or encoding.digest in standing:
                standing.add(encoding.digest)
            elif encoding.digest in here:
                written.add(encoding.digest)
                standing.add(encoding.digest)
    return written | ((marking.live_manifests(project.id) & here) - standing - later)


def _encodings(files: Sequence[LogFile]) -> Iterator[Encoding]:
    for file in files:
        # One that is damaged and still there cannot be mended.
        with contextlib.suppress(ArtstoreError):
            yield from read(file.path).attachments.manifests


def _encode(root: Root, manifest: Digest) -> Encoding:
    return encode_full(manifest, (entry.line() for entry in root.manifests.entries(manifest)))
