"""Repair: what is missing or damaged is made whole from what is left.

Blobs come from the trash, from other copies in the store, and from files and folders that are given, each taken only if
its digest is the one that is missing. A file of the log that is gone or damaged is written again from the catalog, byte
for byte where the chain counts.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from artstore.errors import ArtstoreError, Corrupt, NotFound
from artstore.lifecycle.collect import settled, write_anew
from artstore.lifecycle.replay import adopt_packs, catch_up
from artstore.lifecycle.reports import RepairReport
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full
from artstore.model.records import FORMAT, Transaction, decode_transaction, encode_transaction
from artstore.storage import packs
from artstore.storage.blobs import SMALL
from artstore.storage.catalog import Project
from artstore.storage.files import storage_errors, sync_directory
from artstore.storage.intake import Intake
from artstore.storage.marking import Marking, PackUse
from artstore.storage.oplog import Attachments, LogFile, Prepared, read
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session


def repair(root: Root, sources: Sequence[Path] = ()) -> RepairReport:
    """Mend what can be mended. Run `verify` first: it says what is damaged, and this looks for what is missing.

    Raises NotFound (source-not-found) for a source that is not there.
    """
    for source in sources:
        if not source.exists():
            message = f"there is no {str(source)!r} to repair from"
            raise NotFound(message, code="source-not-found")
    mended: list[str] = []
    with storage_errors("repairing"), Exclusive(root.path, "gc"), root.session("repair") as session:
        broken: list[str] = []
        for project in root.catalog.projects():
            done, left = _mend_log(root, session, project)
            mended += done
            broken += left
        if not broken:
            catch_up(root, thorough=True)
        marking = Marking(root.catalog)
        mended += [f"packs/{name}" for name in adopt_packs(root)]
        mended += _mend_packs(root, session)
        missing = dict(marking.missing())
        with Intake(root, session) as intake:
            quarantine = _from_path(root.path / "quarantine")
            for data_of in (_from_trash(root), _from_packs(root), quarantine, *map(_from_path, sources)):
                for candidate in data_of:
                    if missing.get(candidate.digest) == candidate.size and candidate.give(intake):
                        mended.append(str(candidate.digest))
                        del missing[candidate.digest]
            intake.settle()
        return RepairReport(mended=mended, still_damaged=[*broken, *(str(digest) for digest, _ in marking.missing())])


def _mend_packs(root: Root, session: Session) -> list[str]:
    """Write packs anew that hold damage, and forget those that are gone; answers which.

    What `verify` found damaged in a pack no longer counts as stored there, but a rebuild would take it for good again.
    """
    marking = Marking(root.catalog)
    mended: list[str] = []
    for use in settled(root, marking, session):
        path = root.path / "packs" / use.name
        is_file = path.is_file() and not path.is_symlink()
        if is_file and (_is_as_noted(marking, use, path) or not write_anew(root, session, [use])):
            continue
        marking.forget_pack(use.id)
        if os.path.lexists(path):
            with storage_errors("putting a damaged pack aside"):
                os.replace(path, root.path / "quarantine" / f"{time.time_ns()}-{use.name}")
                sync_directory(path.parent)
        mended.append(f"packs/{use.name}")
    return mended


def _is_as_noted(marking: Marking, use: PackUse, path: Path) -> bool:
    noted = {digest for digest, _size, _offset in marking.pack_members(use.id)}
    try:
        return all(member.digest in noted or not marking.is_known(member.digest) for member in packs.members(path))
    except (Corrupt, OSError):
        return False


class _Candidate(msgspec.Struct, frozen=True):
    """Bytes that may be a missing blob."""

    digest: Digest
    size: int
    path: Path
    offset: int

    def give(self, intake: Intake) -> bool:
        """Take the bytes in if they are what they should be."""
        fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            os.lseek(fd, self.offset, os.SEEK_SET)
            if self.size <= SMALL:
                data = os.read(fd, self.size)
                return blake3(data).digest() == self.digest and intake.take(data) == self.digest
            return intake.take_file(fd, limit=self.size).digest == self.digest
        finally:
            os.close(fd)


def _from_trash(root: Root) -> Iterator[_Candidate]:
    for folder, _below, names in os.walk(root.path / "trash"):
        for name in names:
            path = Path(folder, name)
            if name.endswith(packs.SUFFIX):
                yield from _members(path)
            elif path.parent.name == "blake3":
                yield _Candidate(Digest(bytes.fromhex(name)), path.stat().st_size, path, 0)


def _from_packs(root: Root) -> Iterator[_Candidate]:
    """Copies that the catalog has lost sight of."""
    for path in sorted((root.path / "packs").iterdir()):
        yield from _members(path)


def _members(path: Path) -> Iterator[_Candidate]:
    try:
        for member in packs.members(path):
            yield _Candidate(member.digest, member.size, path, member.offset)
    except (Corrupt, OSError):
        # What came before the damage is given already.
        return


def _from_path(source: Path) -> Iterator[_Candidate]:
    if source.is_file():
        yield from _whole_file(source)
        return
    for folder, _below, names in os.walk(source):
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                yield from _whole_file(path)


def _whole_file(path: Path) -> Iterator[_Candidate]:
    if path.name.endswith(packs.SUFFIX):
        yield from _members(path)
    hasher = blake3(max_threads=blake3.AUTO)
    try:
        hasher.update_mmap(path)
        yield _Candidate(Digest(hasher.digest()), path.stat().st_size, path, 0)
    except OSError:
        # Not readable: it mends nothing.
        return


def _mend_log(root: Root, session: Session, project: Project) -> tuple[list[str], list[str]]:
    """Write the files of a log again that are missing or damaged; answers which, and which cannot be."""
    mended: list[str] = []
    left: list[str] = []
    # A log that is a chain is the truth, whatever the catalog says; one that is not holds a file of another place.
    noted = {} if _is_chain(root, project.name) else root.catalog.log_digests(project)
    for file in root.log.all_files(project.name):
        if not _is_good(file, noted):
            if file.last > project.seq:
                left.append(f"ops/{project.name}/{file.path.name}")
                continue
            with storage_errors("putting a damaged file of the log aside"):
                os.replace(file.path, root.path / "quarantine" / f"{time.time_ns()}-{file.path.name}")
                sync_directory(file.path.parent)
    for first, last in _gaps(root.log.files(project.name), project.seq):
        _write_again(root, session, project, first, last)
        mended.append(f"ops/{project.name}/{first}" if first == last else f"ops/{project.name}/{first}-{last}")
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


def _write_again(root: Root, session: Session, project: Project, first: int, last: int) -> None:
    transactions: list[bytes] = []
    before: str | None = None
    for seq, digest, ops in root.catalog.log_entries(project):
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
        before = digest
    # Full encodings of all that lives: which of them the lost files held is not known.
    live = Marking(root.catalog).live_manifests(project.id)
    attachments = Attachments(manifests=[_encode(root, manifest) for manifest in sorted(live)])
    prepared = Prepared(session.scratch() / f"log-{secrets.token_hex(4)}", attachments)
    try:
        prepared.seal(transactions)
        root.log.publish(project.name, first, last, prepared)
    finally:
        prepared.close()


def _encode(root: Root, manifest: Digest) -> Encoding:
    return encode_full(manifest, (entry.line() for entry in root.manifests.entries(manifest)))
