"""Repair: what is missing or damaged is made whole from what is left.

Blobs come from the trash, from other copies in the store, and from files and folders that are given, each taken only if
its digest is the one that is missing. A file of the log that is gone or damaged is written again from the catalog, byte
for byte where the chain counts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from artstore.errors import ArtstoreError, Corrupt, NotFound
from artstore.lifecycle.collect import settled, write_anew
from artstore.lifecycle.examine import NO_FILE
from artstore.lifecycle.replay import adopt_packs, catch_up
from artstore.lifecycle.reports import RepairReport
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
from artstore.storage import packs, stat_cache, whole
from artstore.storage.blobs import SMALL
from artstore.storage.catalog import Project
from artstore.storage.files import random_hex, read_exactly, storage_errors, sync_directory
from artstore.storage.intake import Intake
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking, PackUse
from artstore.storage.oplog import Attachments, LogFile, Prepared, read
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session


def repair(root: Root, sources: Sequence[Path] = ()) -> RepairReport:
    """Mend what can be mended. Run `verify` first: it says what is damaged, and this looks for what is missing.

    Raises NotFound (source-not-found) for a source that is not there, Conflict (locked) beside `gc` or a compaction.
    """
    for source in sources:
        if not source.exists():
            message = f"there is no {str(source)!r} to repair from"
            raise NotFound(message, code="source-not-found")
    mended: list[str] = []
    with contextlib.ExitStack() as ending:
        ending.enter_context(storage_errors("repairing"))
        ending.enter_context(Exclusive(root.path, "gc"))
        # It would unlink files of the log between their listing and their reading.
        ending.enter_context(Exclusive(root.path, "compact"))
        session = ending.enter_context(root.session("repair"))
        broken: list[str] = []
        for project in root.catalog.projects():
            done, left = _mend_log(root, session, project)
            mended += done
            broken += left
        # What was wrong may be mended; what still is, is found again.
        root.damaged.clear()
        catch_up(root, thorough=True, wait=True)
        broken += [
            f"ops/{name}" for name in root.damaged if not any(left.startswith(f"ops/{name}/") for left in broken)
        ]
        marking = Marking(root.catalog)
        mended += [f"packs/{name}" for name in adopt_packs(root)]
        gone = _forget_gone_packs(root, session)
        missing = dict(marking.missing(received=True))
        if gone or missing:
            # The cache takes blobs for stored as long as a manifest names them.
            stat_cache.forget(root.path)
        with Intake(root, session) as intake:
            quarantine = _from_path(root.path / "quarantine")
            for data_of in (_from_trash(root), _from_packs(root), quarantine, *map(_from_path, sources)):
                for candidate in data_of:
                    if missing.get(candidate.digest) == candidate.size and candidate.give(intake):
                        mended.append(str(candidate.digest))
                        del missing[candidate.digest]
            intake.settle()
        # Not before: what they hold beside the damage may be what was looked for.
        mended += [*gone, *_mend_packs(root, session)]
        if mended:
            # A copy of the catalog from before would look for bytes where they are no longer.
            root.begin_epoch()
        return RepairReport(mended=mended, still_damaged=[*broken, *(str(digest) for digest, _ in marking.missing())])


def _forget_gone_packs(root: Root, session: Session) -> list[str]:
    """Forget packs in whose place there is no file; answers which."""
    marking = Marking(root.catalog)
    gone: list[str] = []
    for use in _complete(root, marking, session):
        path = root.path / "packs" / use.name
        if not path.is_file() or path.is_symlink():
            _forget_pack(root, marking, use)
            gone.append(f"packs/{use.name}")
    return gone


def _mend_packs(root: Root, session: Session) -> list[str]:
    """Write packs anew that hold damage; answers which.

    What `verify` found damaged in a pack no longer counts as stored there, but a rebuild would take it for good again.
    """
    marking = Marking(root.catalog)
    mended: list[str] = []
    for use in _complete(root, marking, session):
        if not _is_as_noted(marking, use, root.path / "packs" / use.name) and write_anew(root, session, [use]):
            _forget_pack(root, marking, use)
            mended.append(f"packs/{use.name}")
    if mended:
        stat_cache.forget(root.path)
    return mended


def _complete(root: Root, marking: Marking, session: Session) -> list[PackUse]:
    """The packs of no live session whose blobs are all noted: of others it is not known what they should hold."""
    return [use for use in settled(root, marking, session) if root.blobs.has_pack(use.name)]


def _forget_pack(root: Root, marking: Marking, use: PackUse) -> None:
    path = root.path / "packs" / use.name
    marking.forget_pack(use.id)
    if os.path.lexists(path):
        with storage_errors("putting a damaged pack aside"):
            os.replace(path, root.path / "quarantine" / f"{time.time_ns()}-{use.name}")
            sync_directory(path.parent)


def _is_as_noted(marking: Marking, use: PackUse, path: Path) -> bool:
    noted = {digest for digest, _size, _offset in marking.pack_members(use.id)}
    try:
        return all(member.digest in noted or not marking.is_known(member.digest) for member in packs.members(path))
    except Corrupt:
        return False
    except OSError as error:
        # What cannot be read now is not known to be damaged.
        return error.errno not in NO_FILE


class _Candidate(msgspec.Struct, frozen=True):
    """Bytes that may be a missing blob."""

    digest: Digest
    size: int
    path: Path
    offset: int

    def give(self, intake: Intake) -> bool:
        """Take the bytes in if they are what they should be."""
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            # Not readable: it mends nothing.
            return False
        try:
            os.lseek(fd, self.offset, os.SEEK_SET)
            if self.size <= SMALL:
                try:
                    data = read_exactly(fd, self.size, self.offset)
                except OSError:
                    return False
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
    try:
        yield _Candidate(whole.digest_of_bytes(path), path.stat().st_size, path, 0)
    except OSError:
        # Not readable: it mends nothing.
        return


def _mend_log(root: Root, session: Session, project: Project) -> tuple[list[str], list[str]]:
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
