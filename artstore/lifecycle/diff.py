"""Diff: what lies between two versions, or between a version and a folder.

Two versions are walked side by side, so that a million equal entries cost time and no memory. What went and came with
the same content is a rename; each path takes part in one at most.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from artstore.errors import Invalid, Problem, Refused, named
from artstore.lifecycle.reports import DiffEntry, DiffReport, Renamed, Skipped
from artstore.lifecycle.resolve import Resolved
from artstore.lifecycle.scan import Scan, describe_kind
from artstore.model.digest import Digest
from artstore.model.manifest import Entry, ReferenceEntry, blob_of
from artstore.storage import stat_cache, whole
from artstore.storage.root import Root
from artstore.storage.stat_cache import StatCache, stamp_of

THREADS: Final = 4
"""Hashing lets other threads run: they help as far as there are processors."""
_OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


class _File(NamedTuple):
    """A file of a folder; its content is not known before it is hashed."""

    path: str
    size: int


class _Differences:
    """What was found so far; the content of a side is None where it is not worth knowing."""

    def __init__(self) -> None:
        self.removed: list[Entry] = []
        self.added: list[tuple[DiffEntry, object]] = []
        self.changed: list[DiffEntry] = []
        self.unchanged = 0

    def add(self, path: str, size: int | None, content: object) -> None:
        self.added.append((DiffEntry(path=path, size_after=size), content))

    def change(self, path: str, before: int | None, after: int | None) -> None:
        self.changed.append(DiffEntry(path=path, size_before=before, size_after=after))

    def report(self) -> DiffReport:
        """All of it, with what was renamed told from what went and came."""
        renamed = _renames(self.removed, self.added)
        befores = {each.before for each in renamed}
        afters = {each.after for each in renamed}
        removed = [DiffEntry(path=e.path, size_before=e.size) for e in self.removed if e.path not in befores]
        added = [entry for entry, _content in self.added if entry.path not in afters]
        changed = sorted(self.changed, key=_path)
        return DiffReport(
            added=sorted(added, key=_path),
            removed=removed,
            changed=changed,
            renamed=renamed,
            bytes_added=sum(entry.size_after or 0 for entry in [*added, *changed]),
            bytes_removed=sum(entry.size_before or 0 for entry in [*removed, *changed]),
            unchanged=self.unchanged,
        )


def diff_versions(root: Root, before: Resolved, after: Resolved) -> DiffReport:
    """What turns one version into another. Takes memory for what differs, not for what is equal."""
    if before.manifest == after.manifest:
        return DiffReport(
            added=[],
            removed=[],
            changed=[],
            renamed=[],
            bytes_added=0,
            bytes_removed=0,
            unchanged=after.version.entries,
        )
    found = _Differences()
    with root.catalog.snapshot():
        olds, news = root.manifests.apart(before.manifest, after.manifest)
        old, new = next(olds, None), next(news, None)
        while old is not None or new is not None:
            if new is None or (old is not None and old.path < new.path):
                assert old is not None
                found.removed.append(old)
                old = next(olds, None)
            elif old is None or new.path < old.path:
                found.add(new.path, new.size, _content(new))
                new = next(news, None)
            else:
                if _content(old) != _content(new):
                    found.change(new.path, old.size, new.size)
                old, new = next(olds, None), next(news, None)
    found.unchanged = after.version.entries - len(found.added) - len(found.changed)
    return found.report()


def diff_folder(root: Root, before: Resolved, folder: Path) -> DiffReport:
    """What turns a version into a folder as `put` would take it, `.artstoreignore` heeded.

    A file of another size is changed, and one that no removed entry equals in size is added, without being read. A
    reference counts as changed where the folder has a file. Raises Invalid (not-a-folder), and Refused (unreadable)
    naming what `put` would refuse: whether it differs cannot be known.
    """
    if not folder.is_dir():
        message = f"{str(folder)!r} is not a folder"
        raise Invalid(message, code="not-a-folder")
    scan = Scan(folder, store=root.path)
    files = _scanned(scan)
    found = _Differences()
    unsure: list[tuple[_File, Digest]] = []
    fresh: list[_File] = []
    place = 0
    # The rows are read to their end before anything is hashed: an open query would keep writers waiting.
    for entry in root.manifests.entries(before.manifest):
        while place < len(files) and files[place].path < entry.path:
            fresh.append(files[place])
            place += 1
        if place == len(files) or files[place].path != entry.path:
            found.removed.append(entry)
            continue
        file = files[place]
        place += 1
        blob = blob_of(entry)
        if blob is not None and blob.size == file.size:
            unsure.append((file, blob.digest))
        else:
            found.change(file.path, entry.size, file.size)
    fresh += files[place:]
    _settle(root, scan, found, unsure, fresh)
    _raise_problems(folder, scan.problems)
    return found.report()


def _scanned(scan: Scan) -> list[_File]:
    files: list[_File] = []
    for each in scan.files():
        try:
            files.append(_File(each.path, each.entry.stat().st_size))
        except OSError as error:
            scan.problem(each.source, error.strerror or str(error))
    # A scan goes folder by folder, a manifest path by path: `a.txt` stands before `a/b`.
    return sorted(files)


def _settle(
    root: Root,
    scan: Scan,
    found: _Differences,
    unsure: Sequence[tuple[_File, Digest]],
    fresh: Sequence[_File],
) -> None:
    """Hash what the sizes left open."""
    cache = stat_cache.load(root.path, os.path.abspath(scan.folder), stat_cache.era(root.catalog))
    sizes = {blob.size for entry in found.removed if (blob := blob_of(entry))}

    def digest_of(file: _File) -> Digest | None:
        source = os.path.join(scan.folder, *file.path.split("/"))
        try:
            return _hash(source, file.path, cache)
        except OSError as error:
            scan.problem(source, error.strerror or str(error))
            return None

    with ThreadPoolExecutor(THREADS, thread_name_prefix="artstore-diff") as pool:
        for (file, expected), digest in zip(unsure, pool.map(digest_of, (file for file, _ in unsure)), strict=True):
            if digest == expected:
                found.unchanged += 1
            else:
                found.change(file.path, file.size, file.size)
        likely = [file for file in fresh if file.size in sizes]
        contents = dict(zip(likely, pool.map(digest_of, likely), strict=True))
    for file in fresh:
        found.add(file.path, file.size, contents.get(file))


def _hash(source: str, path: str, cache: StatCache) -> Digest:
    fd = os.open(source, _OPEN_FLAGS)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, describe_kind(status.st_mode))
        at = cache.unchanged(path, stamp_of(status))
        return whole.measure(fd).digest if at is None else cache.digest(at)
    finally:
        os.close(fd)


def _raise_problems(folder: Path, problems: Sequence[Skipped]) -> None:
    if not problems:
        return
    found = [Problem(problem.path, problem.reason) for problem in problems]
    message = (
        f"{str(folder)!r} cannot be compared, since parts of it cannot be kept: {named(found)}. Mend or ignore them"
    )
    raise Refused(message, code="unreadable", problems=found)


def _renames(removed: Iterable[Entry], added: Iterable[tuple[DiffEntry, object]]) -> list[Renamed]:
    """Pair what went with what came and has the same content: first those of one name, then in the order of paths."""
    by_content: defaultdict[object, list[DiffEntry]] = defaultdict(list)
    for entry, content in sorted(added, key=lambda each: each[0].path):
        if content is not None:
            by_content[content].append(entry)
    gone: defaultdict[object, list[Entry]] = defaultdict(list)
    for old in removed:
        if _content(old) in by_content:
            gone[_content(old)].append(old)
    renamed: list[Renamed] = []
    for content, olds in gone.items():
        by_name: defaultdict[str, deque[DiffEntry]] = defaultdict(deque)
        for new in by_content[content]:
            by_name[_name(new.path)].append(new)
        left: list[Entry] = []
        taken: set[str] = set()
        for old in olds:
            twins = by_name.get(_name(old.path))
            if twins:
                new = twins.popleft()
                taken.add(new.path)
                renamed.append(Renamed(before=old.path, after=new.path, size=old.size))
            else:
                left.append(old)
        others = (new for new in by_content[content] if new.path not in taken)
        renamed += [Renamed(before=o.path, after=n.path, size=o.size) for o, n in zip(left, others, strict=False)]
    return sorted(renamed, key=lambda each: each.before)


def _content(entry: Entry) -> object:
    """What makes the bytes at a path the same as those at another."""
    blob = blob_of(entry)
    if blob is not None:
        return blob.digest
    assert isinstance(entry, ReferenceEntry)
    return (entry.uri, entry.checksum, entry.size, entry.extra)


def _path(entry: DiffEntry) -> str:
    return entry.path


def _name(path: str) -> str:
    return path.rpartition("/")[2]
