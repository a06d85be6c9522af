"""Verify: everything that was acknowledged is still there, and still what it was, or is named.

Checks, in this order: that the log is a whole chain and the catalog follows it; that the state folded anew from the log
is the catalog's; that the logs which are kept for others have all their slots; that each live version's manifest is
what its digest says and each of its blobs is somewhere, be it at a remote; that each blob's bytes are what its digest
says. With `fast` bytes are compared with the XXH3 checksums kept beside them, which finds damage and not forgery.

Reports, and deletes nothing: what is damaged is copied or moved into the quarantine and no longer counts as stored, so
that the next `put` of the same bytes, or `repair`, mends it. What could not be read stays where it is: the bytes may be
good.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final, Self

import msgspec

from artstore.errors import ArtstoreError, Corrupt
from artstore.lifecycle.compare import check_catalog, check_log, check_state
from artstore.lifecycle.conflicts import files_unplaced
from artstore.lifecycle.examine import Examined, batches, examine, examine_pack
from artstore.lifecycle.find import holders, live_versions
from artstore.lifecycle.lost import lost, nowhere, relying
from artstore.lifecycle.progress import Progress
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import Problem, VerifyReport
from artstore.lifecycle.resolve import Resolved
from artstore.lifecycle.served import check_served
from artstore.lifecycle.share import share
from artstore.lifecycle.tally import Tally
from artstore.model.digest import ALGORITHM, Digest
from artstore.model.manifest import blob_of, digest_of_lines
from artstore.model.paths import quoted
from artstore.storage import packs, stat_cache
from artstore.storage.blob_index import Portion
from artstore.storage.files import storage_errors
from artstore.storage.marking import Marking
from artstore.storage.places import NO_FILE, Place
from artstore.storage.root import Root
from artstore.storage.whole import Told

_OF_BLOBS: Final = frozenset({"blob-damaged", "blob-missing", "unreadable"})
_OF_MANIFESTS: Final = frozenset({"manifest-damaged", "manifest-missing"})
_LOOKED_UP: Final = 1_000
"""Damaged blobs of which it is said what they are: each costs a look at every version."""
_NAMED: Final = 3


class _Seen(msgspec.Struct):
    """What a look at some part of the store gave."""

    problems: list[Problem] = []
    suspects: list[bytes] = []
    blobs: int = 0
    size: int = 0
    """Bytes."""

    @classmethod
    def of(cls, found: Examined, problems: Sequence[Problem] = ()) -> Self:
        """As it was found, with what is wrong beside."""
        return cls([*problems], found.suspects, found.blobs, found.size)


def verify(root: Root, *, fast: bool = False, progress: Progress | None = None) -> VerifyReport:
    """Check the whole store."""
    began = time.monotonic()
    problems: list[Problem] = []
    with storage_errors("verifying"), root.reading("verify"):
        problems += check_catalog(root)
        if problems:
            # Its rows may say anything, of the bytes too.
            return VerifyReport(
                ok=False,
                checked_blobs=0,
                checked_bytes=0,
                checked_versions=0,
                problems=problems,
                seconds=time.monotonic() - began,
            )
        # A log that is not whole has to be mended before anything can be compared with it.
        # A folder of it may be gone as a whole.
        names = {*root.log.projects(), *(project.name for project in root.catalog.projects())}
        damaged_logs = {name: found for name in sorted(names) if (found := check_log(root, name))}
        problems += [problem for found in damaged_logs.values() for problem in found]
        catch_up(root, thorough=True, wait=True)
        for project in root.catalog.projects():
            if project.name not in damaged_logs:
                problems += check_state(root, project)
        # Where the rows are not what the log says, neither is what they say of who relies on a remote.
        gone = [] if problems else lost(root)
        problems += check_served(root, fast=fast)
        seen = _look_at_all(root, fast=fast, progress=progress)
        problems += seen.problems
        problems += _put_aside(root, seen.suspects)
        # What was put aside just now is missing since, and is named already.
        named = {problem.subject for problem in problems}
        absent = {digest: _missing(digest, size) for digest, size in Marking(root.catalog).missing()}
        absent = {digest: _lost(digest, size) for digest, size in gone} | absent
        problems += [absent[digest] for digest in sorted(absent) if str(digest) not in named]
        _forget_hashed(root, problems)
        problems = _with_what_is_hurt(root, _with_what_helps(problems))
    return VerifyReport(
        ok=not problems,
        checked_blobs=seen.blobs,
        checked_bytes=seen.size,
        checked_versions=root.catalog.counts()[1],
        problems=problems,
        seconds=time.monotonic() - began,
    )


def verify_version(
    root: Root,
    resolved: Resolved,
    *,
    fast: bool = False,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check one version: its manifest, and the bytes of each of its files."""
    began = time.monotonic()
    with root.reading("verify"):
        problems = _check_manifest(root, resolved.manifest)
        places: list[Place] = []
        absent: dict[Digest, int] = {}
        entries = [blob for entry in root.manifests.entries(resolved.manifest) if (blob := blob_of(entry))]
        found = root.blobs.locate([entry.digest for entry in entries])
        for digest, group in groupby(sorted(entries, key=lambda entry: entry.digest), key=lambda entry: entry.digest):
            place = found.get(digest)
            if place is not None:
                places.append(place)
            elif resolved.view.is_received(resolved.version.id):
                # It may never have come: it is fetched, and compared, when it is needed.
                absent[digest] = next(group).size
            else:
                problems.append(_missing(digest, next(group).size))
        if absent and resolved.version.id in relying(root, resolved.project):
            problems += [_lost(digest, absent[digest]) for digest in nowhere(root, list(absent))]
        places.sort(key=lambda place: (place.path, place.offset))
        seen = _look([partial(_look_at_places, batch, fast=fast) for batch in batches(places)], progress)
        problems += _put_aside(root, seen.suspects)
        _forget_hashed(root, problems)
        problems = _with_what_is_hurt(root, problems)
    return VerifyReport(
        ok=not problems,
        checked_blobs=seen.blobs,
        checked_bytes=seen.size,
        checked_versions=1,
        problems=problems,
        seconds=time.monotonic() - began,
    )


def _look_at_all(root: Root, *, fast: bool, progress: Progress | None) -> _Seen:
    """Read everything that versions and blobs stand on."""
    manifests = sorted(Marking(root.catalog).live_manifests())
    return _look(
        [
            *(partial(_look_at_manifest, root, each) for each in manifests),
            *(partial(_look_at_portion, root, each, fast=fast) for each in root.blobs.portions()),
        ],
        progress,
    )


def _look(works: Sequence[Callable[[Told | None], _Seen]], progress: Progress | None) -> _Seen:
    """Let all processors look."""
    total = _Seen()
    tally = None if progress is None else Tally("verify", len(works), None, None, progress)

    def look(number: int) -> _Seen:
        return works[number](None if tally is None else tally.counter(number))

    for number, seen in share(look, len(works), _Seen, waiting=None if tally is None else tally.tell):
        total.problems += seen.problems
        total.suspects += seen.suspects
        total.blobs += seen.blobs
        total.size += seen.size
        if tally is not None:
            tally.add(number, seen.blobs, seen.size)
    return total


def _look_at_manifest(root: Root, manifest: Digest, _told: Told | None) -> _Seen:
    return _Seen(problems=_check_manifest(root, manifest))


def _look_at_places(places: Sequence[Place], told: Told | None, *, fast: bool) -> _Seen:
    return _Seen.of(examine(places, fast=fast, told=told))


def _look_at_portion(root: Root, portion: Portion, told: Told | None, *, fast: bool) -> _Seen:
    if portion.name is None:
        return _look_at_places(root.blobs.places_in(portion), told, fast=fast)
    path = root.blobs.path_of_pack(portion.name)
    found = examine_pack(path, root.blobs.lying_in(portion.pack), fast=fast)
    # What the catalog does not know of it has to be walked.
    problems = [] if found.is_plain else _check_pack(root, portion.name)
    return _Seen.of(found, problems)


def _check_manifest(root: Root, manifest: Digest) -> list[Problem]:
    try:
        found = digest_of_lines(entry.line() for entry in root.manifests.entries(manifest))
    except ArtstoreError as error:
        return [Problem(kind=error.code, subject=str(manifest), message=error.message)]
    if found == manifest:
        return []
    message = f"the catalog's rows of manifest {manifest} make {found}. Run `artstore rebuild`"
    return [Problem(kind="manifest-damaged", subject=str(manifest), message=message)]


def _check_pack(root: Root, name: str) -> list[Problem]:
    """Whether a pack can still be read without artstore: its headers must be those that were written."""
    try:
        for _member in packs.members(Path(root.blobs.path_of_pack(name))):
            pass
    except FileNotFoundError:
        if name not in Marking(root.catalog).pack_names():
            # Repacked meanwhile.
            return []
        return [Problem(kind="pack-missing", subject=f"packs/{name}", message="its file is gone")]
    except (Corrupt, OSError) as error:
        is_damage = isinstance(error, Corrupt) or error.errno in NO_FILE
        return [
            Problem(kind="pack-damaged" if is_damage else "unreadable", subject=f"packs/{name}", message=str(error))
        ]
    return []


def _put_aside(root: Root, suspects: Sequence[bytes]) -> list[Problem]:
    """Put damaged bytes aside; they no longer count as stored.

    Where the whole pack is gone, that is said once, and no damage of what nobody needs or what is whole in another
    place.
    """
    problems = []
    lost: list[Place] = []
    for digest in dict.fromkeys(map(Digest, suspects)):
        verdicts = [(place, root.blobs.put_aside(place)) for place in root.blobs.places_of(digest)]
        is_whole = any(verdict == "whole" for _, verdict in verdicts)
        for place, verdict in verdicts:
            if isinstance(verdict, OSError):
                message = (
                    f"{place.size} bytes in {place.file} cannot be read now: {verdict.strerror}. They stay as they are"
                )
                problems.append(Problem(kind="unreadable", subject=str(digest), message=message))
            elif verdict == "damaged" and (place.is_whole or os.path.lexists(place.path)):
                problems.append(_damaged(place))
            elif verdict == "damaged" and not is_whole:
                lost.append(place)
    needed = Marking(root.catalog).needed([place.digest for place in lost]) if lost else set()
    return problems + [_damaged(place) for place in lost if place.digest in needed]


def _missing(digest: Digest, size: int) -> Problem:
    message = f"{size} bytes that a version needs are nowhere"
    return Problem(kind="blob-missing", subject=str(digest), message=message)


def _lost(digest: Digest, size: int) -> Problem:
    message = (
        f"{size} bytes that a version needs are not here, and no remote has them that is known. Note one that has "
        "them, with `artstore remote add`, put the same bytes again, or run `artstore repair PATH`; if nobody has "
        "them any more, `artstore delete` gives the version up"
    )
    return Problem(kind="blob-missing", subject=str(digest), message=message)


def _damaged(place: Place) -> Problem:
    message = f"{place.size} bytes in {place.file} are not what their digest says, or are gone. Run `artstore repair`"
    return Problem(kind="blob-damaged", subject=str(place.digest), message=message)


def _with_what_helps(problems: Sequence[Problem]) -> list[Problem]:
    """Say of gone packs what that means."""
    if any(problem.kind in _OF_BLOBS for problem in problems):
        means = ". Run `artstore repair`"
    else:
        means = ", and nothing that a version needs is lost with it. `artstore repair` takes it out of the catalog"
    return [
        msgspec.structs.replace(problem, message=problem.message + means) if problem.kind == "pack-missing" else problem
        for problem in problems
    ]


def _with_what_is_hurt(root: Root, problems: Sequence[Problem]) -> list[Problem]:
    """Say of damaged blobs and manifests which files of which live versions they are."""
    # A pack can be unreadable too, and is none of these.
    blobs = [each.subject for each in problems if each.kind in _OF_BLOBS and each.subject.startswith(ALGORITHM)]
    del blobs[_LOOKED_UP:]
    manifests = {problem.subject for problem in problems if problem.kind in _OF_MANIFESTS}
    hurt: dict[str, list[str]] = {}
    if blobs:
        for digest, matches in holders(root, set(map(Digest.parse, blobs))).items():
            hurt[digest] = [f"{quoted(match.path or '')} of {match.version.ref}" for match in matches]
        for digest, path, conflict in files_unplaced(root, set(blobs)):
            hurt.setdefault(digest, []).append(f"{quoted(path)} of {conflict}")
    if manifests:
        for resolved in live_versions(root):
            if resolved.version.manifest in manifests:
                hurt.setdefault(resolved.version.manifest, []).append(resolved.name)
    named: list[Problem] = []
    for problem in problems:
        message = problem.message
        if problem.subject in hurt:
            some = hurt[problem.subject]
            more = f", and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
            message = f"{', '.join(some[:_NAMED])}{more}: {message}"
        elif problem.subject in blobs:
            message = f"no live version needs it: {message}"
        named.append(msgspec.structs.replace(problem, message=message))
    return named


def _forget_hashed(root: Root, problems: Sequence[Problem]) -> None:
    if not root.read_only and any(problem.kind == "blob-missing" for problem in problems):
        # The cache takes blobs for stored as long as a manifest names them.
        stat_cache.forget(root.path, root.catalog)
