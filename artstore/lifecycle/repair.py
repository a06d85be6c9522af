"""Repair: what is missing or damaged is made whole from what is left.

Blobs come from the trash, from other copies in the store, and from files and folders that are given, each taken only if
its digest is the one that is missing. What the log has lost is written again from the catalog.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from artstore.errors import Corrupt, Denied, NotFound, Unreachable
from artstore.lifecycle.collect import settled, write_anew
from artstore.lifecycle.lost import lost
from artstore.lifecycle.mend_log import mend_log
from artstore.lifecycle.replay import adopt_packs, catch_up
from artstore.lifecycle.reports import RepairReport
from artstore.model.digest import Digest
from artstore.storage import packs, stat_cache, whole
from artstore.storage.blobs import SMALL
from artstore.storage.files import read_exactly, storage_errors, sync_directory
from artstore.storage.intake import Intake
from artstore.storage.marking import Marking, PackUse
from artstore.storage.places import NO_FILE
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
            done, left = mend_log(root, session, project)
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
            stat_cache.forget(root.path, root.catalog)
        with Intake(root, session) as intake:
            quarantine = _from_path(root.path / "quarantine")
            own = _from_places(root, list(missing.items()))
            for data_of in (own, _from_trash(root), _from_packs(root), quarantine, *map(_from_path, sources)):
                for candidate in data_of:
                    if missing.get(candidate.digest) == candidate.size and candidate.give(intake):
                        mended.append(str(candidate.digest))
                        del missing[candidate.digest]
            intake.settle()
        wanted = dict(marking.missing()) | dict(lost(root))
        reasons = _bring(root, sorted(wanted), mended)
        # Not before: what they hold beside the damage may be what was looked for.
        mended += [*gone, *_mend_packs(root, session)]
        if mended:
            # A copy of the catalog from before would look for bytes where they are no longer.
            root.begin_epoch()
        here = root.blobs.locate(sorted(wanted))
        left = [str(digest) for digest in sorted(wanted) if digest not in here]
        return RepairReport(
            mended=mended,
            still_damaged=[*broken, *left],
            reasons={each: reasons[each] for each in left if each in reasons},
        )


def _bring(root: Root, digests: Sequence[Digest], mended: list[str]) -> dict[str, str]:
    """Ask remotes for what nothing here has; answers why some of it cannot be had."""
    said: dict[str, str] = {}
    try:
        root.blobs.bring(digests)
    except (Unreachable, Denied, Corrupt) as error:
        # Another remote may have it, the next time; what came of it stays.
        said = dict(error.problems) or {str(digest): error.message for digest in digests}
    here = root.blobs.locate(digests)
    mended += [str(digest) for digest in digests if digest in here]
    return {text: why for text, why in said.items() if Digest.parse(text) not in here}


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
        stat_cache.forget(root.path, root.catalog)
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


def _from_places(root: Root, missing: Sequence[tuple[Digest, int]]) -> Iterator[_Candidate]:
    """Files that were gone when `verify` looked, and have come back."""
    for digest, size in missing:
        path = whole.path_of(root.path, digest)
        if size > SMALL and path.is_file():
            yield _Candidate(digest, size, path, 0)


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
