"""Doctor: whether the ground under a store bears it.

What can be asked is asked, and what can only be tried is tried, with files in a session's own folder that are gone
afterwards. A finding that is not well says what to do; nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artstore.lifecycle.reports import Check
from artstore.storage import quarantine
from artstore.storage.database import is_wal_safe, sqlite_version
from artstore.storage.driver import sqlite3
from artstore.storage.files import is_open_elsewhere, reflink, storage_errors, sync_file, write_all
from artstore.storage.mounts import file_system, is_network
from artstore.storage.queries import Queries
from artstore.storage.root import Root
from artstore.storage.sessions import try_lock
from artstore.storage.stat_cache import MARGIN_NS

SYNCS: Final = 9
"""How often a durable write is timed; the one in the middle counts."""
TOO_FAST_S: Final = 20e-6
"""No disk and no drive with a protected cache answers sooner: whoever does has written nothing."""
TOO_SLOW_S: Final = 50e-3
LOW_SPACE: Final = 1 << 30
LOW_INODES: Final = 10_000

_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_TRIED: Final = ("reflink", "hard links", "durable write", "locks", "clock", "case of names")


def doctor(root: Root) -> list[Check]:
    """Every finding, in the same order each time. A store that cannot be written is asked and not tried."""
    checks = [
        Check(name="artstore", value=_own_version(), ok=True),
        Check(name="Python", value=f"{platform.python_implementation()} {platform.python_version()}", ok=True),
        sqlite(sqlite_version(), sqlite3.__name__.partition(".")[0]),
        _journal(root),
        _file_system(root),
        *_room(root.path),
        _sessions(root.path),
        _quarantine(root.path),
    ]
    if root.read_only:
        advice = "nothing can be put or freed here: look at the rights on the folder, or install a newer artstore"
        checks.append(Check(name="writable", value="no", ok=False, advice=advice))
        return checks + [Check(name=name, value="not tried: the store is read-only", ok=True) for name in _TRIED]
    checks.append(Check(name="writable", value="yes", ok=True))
    with storage_errors("trying the disk"), root.session("doctor") as session:
        return checks + list(_tried(session.scratch()))


def sqlite(version: tuple[int, int, int], module: str) -> Check:
    """Whether this SQLite may keep a write-ahead log."""
    value = f"{'.'.join(map(str, version))} ({module})"
    advice = (
        "its write-ahead log loses commits, so a slower journal is used: `pip install pysqlite3` where it has a wheel"
    )
    return _found("SQLite", value, ok=is_wal_safe(version), advice=advice)


def durable_write(seconds: float) -> Check:
    """What the time of one small durable write says about the disk."""
    advice = ""
    if seconds < TOO_FAST_S:
        advice = (
            "no disk is that fast: what is acknowledged may not survive a power cut. Do not keep the only copy here"
        )
    elif seconds > TOO_SLOW_S:
        advice = "each commit waits for a few of these: put the store on a faster disk"
    value = f"{seconds * 1e6:,.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"  # noqa: PLR2004
    return _found("durable write", value, ok=not advice, advice=advice)


def clock(difference_s: float) -> Check:
    """What it says that the file system's time is so many seconds ahead of this machine's."""
    is_near = abs(difference_s) < MARGIN_NS / 1e9
    value = "agrees with the file system's" if is_near else f"{-difference_s:+,.1f} s from the file system's"
    advice = "files that change could be taken for unchanged, and a time to live ends at another time: set the clocks"
    return _found("clock", value, ok=is_near, advice=advice)


def space(free: int) -> Check:
    """Whether so many free bytes are enough to go on."""
    advice = "`artstore gc --grace 0` frees what nothing needs; `artstore prune` says what else could go"
    return _found("free space", f"{free / (1 << 30):,.1f} GiB", ok=free >= LOW_SPACE, advice=advice)


def inodes(free: int, total: int) -> Check:
    """Whether so many more files can be made; a file system that makes them as needed has a total of 0."""
    value = f"{free:,}" if total else "as many as fit"
    advice = "each large file takes one: `artstore gc --grace 0` frees some"
    return _found("free inodes", value, ok=total == 0 or free >= LOW_INODES, advice=advice)


def _found(name: str, value: str, *, ok: bool, advice: str) -> Check:
    return Check(name=name, value=value, ok=ok, advice="" if ok else advice)


def _own_version() -> str:
    # Loaded only here: it takes 10 ms, of every start.
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("artstore")
    except metadata.PackageNotFoundError:
        return "not installed: runs from a checkout"


def _journal(root: Root) -> Check:
    # Asked of the open connection: another process may have changed the file's mode since.
    mode = Queries(root.catalog).journal_mode()
    if root.read_only:
        return Check(name="journal", value=f"{mode}, not written", ok=True)
    wanted = "wal" if root.catalog.wal else "delete"
    advice = f"this artstore sets {wanted!r} when it opens a store: close every other program that has the catalog open"
    return _found("journal", mode, ok=mode == wanted, advice=advice)


def _file_system(root: Root) -> Check:
    kind = file_system(root.path)
    if is_network(root.path):
        advice = "two machines would lose each other's commits: keep the store on a disk of this machine"
        return Check(
            name="file system", value=f"{kind}, over the network", ok=root.format.host is not None, advice=advice
        )
    advice = "it is gone when the machine stops: `artstore backup` to a disk"
    return _found("file system", kind, ok=kind not in _MEMORY, advice=advice)


def _room(folder: Path) -> Iterator[Check]:
    yield space(shutil.disk_usage(folder).free)
    if hasattr(os, "statvfs"):
        found = os.statvfs(folder)
        yield inodes(found.f_favail, found.f_files)


def _sessions(root: Path) -> Check:
    """What sessions left that are dead, which their free locks prove."""
    ids: set[str] = set()
    dead = 0
    for path in (root / "locks").iterdir():
        epoch, dash, id_ = path.name.partition("-")
        if dash and epoch.isdigit():
            ids.add(id_)
            dead += _is_free(path)
    left = dead + sum(name not in ids and not is_open_elsewhere(name) for name in os.listdir(root / "tmp"))
    advice = "processes were killed here; nothing is lost. `artstore gc` clears away what they left"
    return _found("leftover sessions", str(left), ok=left == 0, advice=advice)


def _quarantine(root: Path) -> Check:
    """What is kept of damaged files."""
    kept = [path for path in (root / quarantine.FOLDER).iterdir() if not is_open_elsewhere(path.name)]
    value = f"{quarantine.on_disk_bytes(root) / (1 << 20):,.1f} MiB in {len(kept):,}" if kept else "empty"
    advice = (
        "this was found damaged. `artstore verify` says what is missing, `artstore repair` mends it; once nothing is, "
        f"delete what lies in {str(root / quarantine.FOLDER)!r}"
    )
    return _found("quarantine", value, ok=not kept, advice=advice)


def _is_free(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        # It ended meanwhile, or its lock cannot be tried here.
        return False
    try:
        return try_lock(fd)
    finally:
        os.close(fd)


def _tried(folder: Path) -> Iterator[Check]:
    yield _reflink(folder)
    yield _hard_links(folder)
    yield durable_write(_sync_seconds(folder))
    yield _locks(folder)
    yield clock(_seconds_ahead(folder))
    yield _case(folder)


def _reflink(folder: Path) -> Check:
    with _file(folder / "shared-from") as source, _file(folder / "shared-to") as target:
        write_all(source, b"artstore" * 512)
        is_possible = reflink(source, target)
    return Check(name="reflink", value="yes" if is_possible else "no: large files are copied in and out", ok=True)


def _hard_links(folder: Path) -> Check:
    with _file(folder / "first-name"):
        try:
            os.link(folder / "first-name", folder / "second-name")
        except OSError as error:
            return Check(
                name="hard links", value=f"no ({error.strerror}): files are renamed into place instead", ok=True
            )
    return Check(name="hard links", value="yes", ok=True)


def _sync_seconds(folder: Path) -> float:
    taken: list[float] = []
    with _file(folder / "synced") as fd:
        for _ in range(SYNCS):
            write_all(fd, b"artstore" * 512)
            began = time.perf_counter()
            sync_file(fd)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _locks(folder: Path) -> Check:
    """Two descriptors of one file, as two processes would have."""
    with _file(folder / "locked") as first:
        second = os.open(folder / "locked", os.O_RDWR)
        try:
            if not try_lock(first):
                value = "cannot be taken"
            elif try_lock(second):
                value = "do not keep others out"
            else:
                value = "work"
        finally:
            os.close(second)
    advice = "`gc` could free what a running commit needs: put the store on another file system"
    return _found("locks", value, ok=value == "work", advice=advice)


def _seconds_ahead(folder: Path) -> float:
    before = time.time()
    with _file(folder / "dated") as fd:
        write_all(fd, b"now")
        written = os.fstat(fd).st_mtime
    after = time.time()
    # Between the two it is as good as equal.
    return min(written - before, 0.0) + max(written - after, 0.0)


def _case(folder: Path) -> Check:
    with _file(folder / "case-of-names"):
        counts = not (folder / "CASE-OF-NAMES").exists()
    value = "counts" if counts else "does not count: versions with a.txt and A.txt cannot be written out here"
    return Check(name="case of names", value=value, ok=True)


@contextlib.contextmanager
def _file(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
