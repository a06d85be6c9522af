"""Checkout: a version is written into a folder.

Only what differs is written, and what stands in the way is found before the first byte is. What references stand for
is fetched first; the files whose bytes are here follow; with `delete`, what the version has not goes last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, get_args

from artstore.errors import (
    ArtstoreError,
    Corrupt,
    Invalid,
    NotFound,
    PathCollision,
    Problem,
    Refused,
    StorageFull,
    named,
)
from artstore.lifecycle.fetch import Fetch, bring, naming, not_here
from artstore.lifecycle.patterns import is_plain_path, matcher
from artstore.lifecycle.progress import Progress, telling
from artstore.lifecycle.reports import GetReport
from artstore.lifecycle.resolve import Resolved
from artstore.lifecycle.scan import STORE_FOLDER, UNFINISHED
from artstore.lifecycle.target import Target
from artstore.lifecycle.write import Damaged, Mode, write_files
from artstore.model.digest import Digest
from artstore.model.manifest import ReferenceEntry
from artstore.model.paths import entry_path, find_collisions, portability_warnings, quoted
from artstore.storage.files import NO_SPACE, random_hex
from artstore.storage.manifests import Placed, placed
from artstore.storage.root import Root, holds_store

_NAMED: Final = 10
_Listed = Placed | ReferenceEntry


def checkout(
    root: Root,
    resolved: Resolved,
    target: Path,
    *,
    patterns: Sequence[str] = (),
    mode: Mode = "auto",
    delete: bool = False,
    fetch: Fetch | None = None,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> GetReport:
    """Make the files of a version that match the patterns stand in the target, which is made if it is not there.

    What references stand for is fetched, before anything else is written; without `fetch` a reference is an error,
    Invalid (is-a-reference). Those whose bytes are gone are ReferenceMissing or ReferenceChanged; with `allow_missing`
    they are left out, and the report says which.

    Raises PathCollision where a folder stands in place of a file, or a link or a file in place of a folder, Refused
    (no-reflink, no-hardlink) where the mode that was asked for cannot be had, Invalid (own-store) where the target is
    in the store, or with `delete` in any, and StorageFull or Refused (no-permission, out-of-resources, target-failed)
    where the target cannot be written; and, once all other files are written, Corrupt where the store's bytes are not
    what they should be. With `delete`, other files that match the patterns go; the folder of a store never does. Raises
    Invalid (bad-mode) for a mode that there is not.
    """
    began = time.monotonic()
    if mode not in get_args(Mode):
        message = f"{mode!r} is not a way to write files: choose one of {', '.join(get_args(Mode))}"
        raise Invalid(message, code="bad-mode")
    matches = matcher(patterns)
    _check_target(root, target, delete=delete)
    with contextlib.ExitStack() as ending:
        ending.enter_context(_target_errors(target))
        ending.enter_context(root.reading("get"))
        entries = list(_wanted(root, resolved, patterns, matches))
        blobs, references = _sorted_out(entries, fetch)
        lost = _bring_blobs(root, blobs, progress)
        ending.enter_context(_made(target, is_kept=bool(entries) or not patterns))
        is_fresh = not any(target.iterdir())
        if not is_fresh:
            _preflight(target, entries)
        _check_paths(target, entries)
        brought = bring(
            target,
            references,
            None if fetch is None else naming(fetch, resolved.name),
            is_fresh=is_fresh,
            allow_missing=allow_missing,
            progress=progress,
        )
        is_fresh = is_fresh and not references
        here = [blob for blob in blobs if blob.digest not in lost] if lost else blobs
        with _room_errors(target, sum(blob.size for blob in here)):
            counts = write_files(root, target, here, mode, is_fresh=is_fresh, progress=progress)
        away = [lost[blob.digest]._replace(path=blob.path) for blob in blobs if blob.digest in lost] if lost else []
        if damaged := [*counts.damaged, *away]:
            # Here, since a child's doubts are its own; and before anything is deleted that may be all that is left.
            for each in damaged:
                root.blobs.doubt(Digest(each.digest))
            raise _damage(resolved.name, damaged, len(entries))
        others = _delete_others(root, target, {entry.path for entry in entries}, matches) if delete else _Others(0, [])
    return GetReport(
        version=resolved.info(),
        target=str(target),
        written=counts.reflinked + counts.hardlinked + counts.copied + brought.fetched,
        unchanged=counts.unchanged + brought.unchanged,
        deleted=others.deleted,
        spared=others.spared,
        bytes_written=counts.bytes_written + brought.bytes_written,
        reflinked=counts.reflinked,
        hardlinked=counts.hardlinked,
        copied=counts.copied,
        fetched=brought.fetched,
        missing=brought.missing,
        seconds=time.monotonic() - began,
    )


def _bring_blobs(root: Root, blobs: Sequence[Placed], progress: Progress | None) -> dict[Digest, Damaged]:
    """Have the bytes here that are written; answers what is said of each blob that cannot be had."""
    try:
        root.blobs.bring([blob.digest for blob in blobs], telling(progress, "bring"))
    except Corrupt as error:
        if not error.problems:
            raise
        said = {Digest.parse(text): reason for text, reason in error.problems}
        return {digest: Damaged("", reason, error.code, bytes(digest)) for digest, reason in said.items()}
    return {}


def _wanted(
    root: Root,
    resolved: Resolved,
    patterns: Sequence[str],
    matches: Callable[[str], bool],
) -> Iterator[_Listed]:
    if patterns and all(map(is_plain_path, patterns)):
        # One file out of a million is looked up, not looked for; what is not a file may be a folder.
        with contextlib.suppress(NotFound):
            paths = sorted({entry_path(pattern.lstrip("/")) for pattern in patterns})
            yield from [placed(root.manifests.entry(resolved.manifest, path)) for path in paths]
            return
    for entry in root.manifests.placed(resolved.manifest):
        if matches(entry.path):
            yield entry


def _sorted_out(entries: Iterable[_Listed], fetch: Fetch | None) -> tuple[list[Placed], list[ReferenceEntry]]:
    """What is here and what has to be fetched. Raises where a path could lead out, and for what nobody can fetch."""
    blobs: list[Placed] = []
    references: list[ReferenceEntry] = []
    for entry in entries:
        _check_path(entry.path)
        if isinstance(entry, Placed):
            blobs.append(entry)
        elif fetch is None:
            raise not_here(entry)
        else:
            references.append(entry)
    return blobs, references


def _check_path(path: str) -> None:
    # It passed this gate when it was added; but a manifest may come from elsewhere, and this is where it is written.
    try:
        is_normal = entry_path(path) == path
    except Invalid:
        is_normal = False
    if not is_normal:
        message = f"the version has the path {quoted(path)}, which could lead out of a folder: nothing was written"
        raise Corrupt(message, code="manifest-damaged")


def _check_target(root: Root, target: Path, *, delete: bool) -> None:
    where = target.resolve()
    own = root.path.resolve()
    for folder in (where, *where.parents):
        # A store may itself have been put, and is got again like anything else: but what more it has is its own.
        if folder == own or (delete and holds_store(folder)):
            message = f"{str(target)!r} is a store's own folder, or in it ({str(folder)!r}): choose another place"
            raise Invalid(message, code="own-store")


@contextlib.contextmanager
def _room_errors(target: Path, size: int) -> Iterator[None]:
    """Say how much is written into the target, and what was free there before, where it does not fit."""
    free = shutil.disk_usage(target).free
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or free >= size:
            # It is not bytes that are lacking.
            raise
        message = (
            f"{_cannot(target, error)}: its files take {size:,} bytes, and {free:,} were free. Nothing in the store is "
            "harmed; free some space there, then repeat"
        )
        raise StorageFull(message, code="storage-full") from error


def _cannot(target: Path, error: OSError) -> str:
    what = f" ({error.filename!r})" if error.filename else ""
    return f"{str(target)!r} cannot be written{what}: {error.strerror or error}"


@contextlib.contextmanager
def _target_errors(target: Path) -> Iterator[None]:
    """Turn what the system says of the target into the error that a caller can act on."""
    try:
        yield
    except ArtstoreError:
        raise
    except OSError as error:
        message = f"{_cannot(target, error)}. Nothing in the store is harmed"
        if error.errno in NO_SPACE:
            raise StorageFull(f"{message}; free some space there, then repeat", code="storage-full") from error
        if error.errno in {errno.ENOMEM, errno.EMFILE, errno.ENFILE}:
            raise Refused(f"{message}; raise the limit, then repeat", code="out-of-resources") from error
        code = "no-permission" if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} else "target-failed"
        raise Refused(message, code=code) from error


@contextlib.contextmanager
def _made(target: Path, *, is_kept: bool) -> Iterator[None]:
    """Make the target if it is not there. After an error, or if it is not kept, it goes again while it is empty."""
    new = [folder for folder in (target, *target.parents) if not os.path.lexists(folder)]
    try:
        if not target.is_dir():
            _make_target(target)
        yield
        if is_kept:
            new = []
    finally:
        for folder in new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make_target(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{str(target)!r} is not a folder: choose another place"
        raise PathCollision(message, code="not-a-folder") from error


def _preflight(top: Path, entries: Iterable[_Listed]) -> None:
    """Find everything that stands in the way, and clear away what a `get` that was killed has left."""
    in_the_way: list[str] = []
    cleared: set[str] = set()
    with Target(top) as target:
        for entry in entries:
            folder, _, name = entry.path.rpartition("/")
            try:
                is_there = target.go_to(folder, make=False)
                if is_there and folder not in cleared:
                    target.clear()
                    cleared.add(folder)
                status = target.status(name) if is_there else None
            except PathCollision as collision:
                in_the_way.append(collision.message)
                continue
            if status is not None and stat.S_ISDIR(status.st_mode):
                in_the_way.append(f"{str(top / folder / name)!r} is a folder, and a file in the version")
    if in_the_way:
        found = list(dict.fromkeys(in_the_way))
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        message = f"nothing was written: {'; '.join(found[:_NAMED])}{more}"
        raise PathCollision(message, code="in-the-way")


def _check_paths(target: Path, entries: Sequence[_Listed]) -> None:
    """Find the paths that this file system cannot hold side by side."""
    paths = [entry.path for entry in entries]
    twins = find_collisions(paths)
    lost = [" and ".join(map(quoted, group)) for group in twins if _are_one(target, group)]
    if os.name == "nt":
        lost += [warning for path in paths for warning in portability_warnings(path)]
    if lost:
        message = f"nothing was written: this file system cannot hold {'; '.join(lost)}. Check them out one at a time"
        raise PathCollision(message, code="one-path-here")


def _are_one(target: Path, twins: Sequence[str]) -> bool:
    # What differs is tried alone, in a folder of its own: whole paths would be too long, and could be there.
    parts = [twin.rstrip("/").split("/") for twin in twins]
    names = next(set(alike) for alike in zip(*parts, strict=False) if len(set(alike)) > 1)
    probe = f"{UNFINISHED}{random_hex(8)}.probe"
    written: list[str] = []
    with Target(target) as place:
        place.go_to(probe, make=True)
        try:
            for name in sorted(names):
                if place.status(name) is not None:
                    return True
                place.write(name, b"", replaces=False)
                written.append(name)
        finally:
            for name in written:
                place.remove(name)
            os.rmdir(target / probe)
    return False


def _damage(called: str, found: Sequence[Damaged], files: int) -> Corrupt:
    """What is raised once all other files are written."""
    problems = [Problem(each.path, each.message) for each in sorted(found)]
    if len(problems) == 1:
        path, reason = problems[0]
        message = f"{quoted(path)} of {called}: {reason}"
    else:
        message = f"{len(problems):,} files of {called} are damaged: {named(problems)}"
    rest = files - len(problems)
    if rest:
        message += f". What else was asked for is there ({rest:,} of {files:,} files)"
    return Corrupt(message, code=found[0].code, problems=problems)


class _Others(NamedTuple):
    """What became of files that the version has not."""

    deleted: int
    spared: list[str]
    """Stores, other than the one in use."""


def _delete_others(root: Root, top: Path, wanted: set[str], matches: Callable[[str], bool]) -> _Others:
    """Delete the files that the version has not, and the folders that are empty then; never the folder of a store."""
    deleted = 0
    spared: list[str] = []
    folders: list[str] = []
    for folder, below, names in os.walk(top):
        prefix = os.path.relpath(folder, top).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        links = [name for name in below if os.path.islink(os.path.join(folder, name))]
        stores = [
            name for name in below if name not in links and (name == STORE_FOLDER or holds_store(Path(folder, name)))
        ]
        below[:] = [name for name in below if name not in links and name not in stores]
        spared += [prefix + name for name in stores if not Path(folder, name).samefile(root.path)]
        for name in [*names, *links]:
            if prefix + name not in wanted and matches(prefix + name):
                with Target(top) as target:
                    if target.go_to(prefix.rstrip("/"), make=False):
                        target.remove(name)
                        deleted += 1
        folders += [os.path.join(folder, name) for name in below]
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            # Not empty: it stays.
            os.rmdir(folder)
    return _Others(deleted, sorted(spared))
