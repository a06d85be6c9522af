"""Watch: a folder that commits itself.

Events are hints, the scan with the stat cache is the truth. A version is made when the folder was quiet for a while,
or, where it never is, after the longest wait. A file that somebody has open for writing stays in the version as it was
before, and one that never was whole is not in it. What cannot be meant is not committed: a folder that is gone, another
in its place, a disk below it that is no longer there, or the loss of every file ends the watch with an error that says
so.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec
from xxhash import xxh3_128

from artstore.errors import Conflict, Invalid, NotFound, Refused, StorageFull
from artstore.lifecycle.commit_draft import check_type, commit_draft
from artstore.lifecycle.draft import Draft
from artstore.lifecycle.events import Listener
from artstore.lifecycle.label import Label
from artstore.lifecycle.mounts import Mounts
from artstore.lifecycle.patterns import matcher
from artstore.lifecycle.prune import policy, prune
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.reports import Skipped, WatchReport
from artstore.lifecycle.resolve import Resolved, resolve
from artstore.lifecycle.scan import Found, Scan, check_folder
from artstore.model.manifest import Entry
from artstore.model.names import Reference, listed
from artstore.storage.root import Root
from artstore.storage.stat_cache import stamp_of

if sys.platform == "linux":
    import fcntl

QUIET_S: Final = 2.0
LONGEST_S: Final = 10.0

_HEARTBEAT_S: Final = 300.0
"""Between two looks at a folder whose system tells of changes: one may have been missed."""
_SHARE: Final = 1000
"""A heartbeat is at least so many times as long as a look takes."""
_POLLED_SHARE: Final = 20
"""The same, of a folder that has to be looked at."""
_RETRY_S: Final = 60.0
"""The longest wait before a file that is being written, or a store that is full, is looked at again."""
_BEING_WRITTEN: Final = "it is being written"
_CHANGING: Final = "it changed during"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When and what is committed."""

    quiet_s: float
    longest_s: float
    ignore: tuple[str, ...]
    only: tuple[str, ...]
    keep_last: int | None

    @classmethod
    def checked(
        cls,
        *,
        quiet_s: float,
        longest_s: float,
        ignore: Sequence[str],
        only: Sequence[str],
        keep_last: int | None,
    ) -> Rules:
        """Parse at the border. Raises Invalid (bad-wait, bad-policy, bad-pattern)."""
        if not 0 <= quiet_s <= longest_s:
            message = f"a quiet time of {quiet_s} s and a longest of {longest_s} s cannot be: 0 <= quiet <= longest"
            raise Invalid(message, code="bad-wait")
        if keep_last is not None and keep_last < 1:
            message = f"of a watched folder at least the last version is kept, not {keep_last}"
            raise Invalid(message, code="bad-policy")
        left_out, taken = tuple(listed(ignore, "pattern")), tuple(listed(only, "pattern"))
        for patterns in (left_out, taken):
            matcher(patterns)
        return cls(
            quiet_s=quiet_s,
            longest_s=longest_s,
            ignore=left_out,
            only=taken,
            keep_last=keep_last,
        )


class _Look(NamedTuple):
    """What a folder looked like."""

    fingerprint: bytes
    files: int
    links: int


class Watch:
    """One folder, watched. `run` it, or use it as a context manager: then it runs in a thread of its own."""

    def __init__(
        self,
        root: Root,
        folder: Path,
        label: Label,
        rules: Rules,
        tell: Callable[[WatchReport], None] | None = None,
    ) -> None:
        """Take a folder, which has to be there. Raises Invalid (not-a-folder, own-store, other-store, type-clash)."""
        self.folder = Path(os.path.abspath(folder))
        self._root = root
        self._label = label
        self._rules = rules
        self._tell = tell or (lambda _report: None)
        self._only = matcher(rules.only)
        check_folder(folder, store=root.path)
        check_type(root, label)
        self._mounts = Mounts(self.folder)
        self._changed = threading.Condition()
        self._first: float | None = None
        """When the first change came that is not committed, as time.monotonic has it."""
        self._last = 0.0
        self._stopped = threading.Event()
        self._seen: bytes | None = None
        """How the folder looked when it was last looked at."""
        self._done: bytes | None = None
        """How it looked when all of it was committed."""
        self._look_s = 0.0
        self._links = 0
        self._retry_s = 0.0
        self._next_look = 0.0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.join()

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self._run_aside, name=f"artstore-watch {self.folder}")
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended. Raises what ended it."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def stop(self) -> None:
        """End the watch: what has changed is committed first. May be called from a signal handler."""
        self._stopped.set()
        # Without the lock, which the thread that was interrupted may hold.
        threading.Thread(target=self._wake, daemon=True).start()

    def run(self) -> None:
        """Commit what is there, then whatever changes, until `stop`.

        Raises Refused (folder-gone, folder-replaced, folder-emptied), and what a commit raises that no waiting mends.
        """
        listener = Listener(self.folder, self._root.path, self.hint)
        is_told = True
        try:
            self._first, self._last = time.monotonic(), -self._rules.quiet_s
            while not self._stopped.is_set():
                if is_told and listener.refusal is not None:
                    is_told, self._next_look = False, 0.0
                    notice = f"{str(self.folder)!r} is looked at every few seconds: {listener.refusal}"
                    self._tell(WatchReport(folder=str(self.folder), notice=notice))
                if self._is_due():
                    self._commit()
                elif self._next_look and time.monotonic() >= self._next_look:
                    self._find_changes(is_told=is_told)
                else:
                    self._wait(is_told=is_told)
        finally:
            listener.close()
        # Whatever was told: the events of the last save may not have come yet.
        self._commit()

    def once(self) -> None:
        """Make one version as soon as the folder stands still, or after the longest wait. Raises as `run`."""
        until = time.monotonic() + self._rules.longest_s
        before = self._look().fingerprint
        while time.monotonic() < until and not self._stopped.is_set():
            self._pause(self._rules.quiet_s)
            now = self._look().fingerprint
            if now == before:
                break
            before = now
        self._commit()

    def hint(self) -> None:
        """Something may have changed."""
        with self._changed:
            self._last = time.monotonic()
            if self._first is None:
                self._first = self._last
                self._changed.notify_all()

    def _run_aside(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001  # `join` raises it, which may be much later.
            self._error = error
            self._tell(WatchReport(folder=str(self.folder), notice=f"the watch has ended: {error}"))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(self._stopped.is_set, seconds)

    def _due_at(self) -> float | None:
        if self._first is None:
            return None
        return min(self._last + self._rules.quiet_s, self._first + self._rules.longest_s)

    def _is_due(self) -> bool:
        due = self._due_at()
        return due is not None and time.monotonic() >= due

    def _wait(self, *, is_told: bool) -> None:
        """Sleep until something is to be done; without a change that is a heartbeat."""
        with self._changed:
            if self._stopped.is_set():
                return
            if not self._next_look:
                self._plan_look(is_told=is_told)
            due = self._due_at()
            until = self._next_look if due is None else min(due, self._next_look)
            self._changed.wait(max(0.0, until - time.monotonic()))

    def _plan_look(self, *, is_told: bool) -> None:
        if self._retry_s:
            pause = self._retry_s
        elif is_told and not self._links:
            pause = max(_HEARTBEAT_S, self._look_s * _SHARE)
        else:
            pause = max(self._rules.quiet_s / 2, 0.5, self._look_s * _POLLED_SHARE)
        self._next_look = time.monotonic() + pause

    def _find_changes(self, *, is_told: bool) -> None:
        self._plan_look(is_told=is_told)
        fingerprint = self._look().fingerprint
        if fingerprint != self._seen or fingerprint != self._done:
            if self._first is None or fingerprint != self._seen:
                self.hint()
            self._seen = fingerprint

    def _look(self) -> _Look:
        """Walk over the folder, without opening a file. Raises Refused (folder-gone, folder-replaced)."""
        self._mounts.check()
        began = time.monotonic()
        scan = Scan(self.folder, store=self._root.path, ignore=self._rules.ignore)
        hasher = xxh3_128()
        files = 0
        for found in scan.files():
            if self._is_wanted(found):
                try:
                    status = found.entry.stat()
                except OSError:
                    continue
                hasher.update(found.path.encode() + b"\0" + stamp_of(status))
                files += 1
        self._look_s = time.monotonic() - began
        self._mounts.add(scan.disks)
        self._links = scan.links
        return _Look(hasher.digest(), files, scan.links)

    def _commit(self) -> None:
        """Make a version, unless the folder is as it was at the last one."""
        with self._changed:
            self._first = None
        look = self._look()
        self._seen = look.fingerprint
        if look.fingerprint == self._done:
            return
        try:
            report = self._put(look)
        except (StorageFull, Conflict) as error:
            self._retry_later()
            notice = f"not committed yet, tried again in {self._retry_s:.0f} s: {error.message}"
            self._tell(WatchReport(folder=str(self.folder), notice=notice))
            return
        if any(map(_is_transient, report.kept_back)):
            self._done = None
            self._retry_later()
        else:
            self._done, self._retry_s, self._next_look = look.fingerprint, 0.0, 0.0
        if report.version is not None:
            self._tell(report)

    def _retry_later(self) -> None:
        self._retry_s = min(_RETRY_S, max(1.0, self._rules.quiet_s, self._retry_s * 2))
        self._next_look = time.monotonic() + self._retry_s

    def _put(self, look: _Look) -> WatchReport:
        self._root.reconsider()
        catch_up(self._root)
        latest = self._latest()
        before: dict[str, Entry] = {}
        if latest is not None:
            before = {entry.path: entry for entry in self._root.manifests.entries(latest.manifest)}
        if before and not look.files:
            message = (
                f"{str(self.folder)!r} has no file left, which may be a disk that is not there: nothing was committed. "
                f"If it is meant, `artstore delete {self._label.name}` says so"
            )
            raise Refused(message, code="folder-emptied")
        kept_back: list[Skipped] = []
        read: dict[str, bytes] = {}
        with Draft(self._root) as draft:

            def select(found: Found, is_known: bool) -> bool:  # noqa: FBT001 - as `add_directory` asks
                if is_known or not self._is_wanted(found):
                    return is_known and self._is_wanted(found)
                stamp = self._stamp_at_rest(found.source)
                if stamp is None:
                    kept_back.append(Skipped(path=found.source, reason=_BEING_WRITTEN))
                    return False
                read[found.source] = stamp
                return True

            draft.add_directory(self.folder, skip_unreadable=True, ignore=self._rules.ignore, select=select)
            # Not opened before and unchanged after it was read, and not open now: nobody was in the middle of it.
            moved = [path for path, stamp in read.items() if self._stamp_at_rest(path) != stamp]
            kept_back += [Skipped(path=path, reason=_BEING_WRITTEN) for path in moved]
            kept_back += [each for each in draft.skipped if _is_transient(each)]
            for each in (*draft.skipped, *kept_back):
                _keep_as_before(draft, os.path.relpath(each.path, self.folder), before)
            self._mounts.check()
            if not draft.entries:
                return WatchReport(folder=str(self.folder), kept_back=kept_back)
            digest = draft.content().digest
            if latest is not None and latest.manifest == digest:
                draft.save_stat_caches(digest)
                return WatchReport(folder=str(self.folder), kept_back=kept_back)
            outcome = commit_draft(draft, self._label)
            new_bytes = draft.intake.new_bytes
        return WatchReport(
            folder=str(self.folder),
            version=outcome.version,
            new_bytes=new_bytes,
            kept_back=[*kept_back, *(each for each in draft.skipped if not _is_transient(each))],
            pruned=self._prune(),
        )

    def _prune(self) -> int:
        if self._rules.keep_last is None:
            return 0
        rules = policy(keep_last=self._rules.keep_last)
        report = prune(self._root, [(self._label.project, self._label.name)], rules, dry_run=False)
        return len(report.deleted)

    def _latest(self) -> Resolved | None:
        try:
            return resolve(self._root, Reference(project=self._label.project, collection=self._label.name))
        except NotFound:
            return None

    def _stamp_at_rest(self, path: str) -> bytes | None:
        """What tells a file from a changed one; None while somebody writes it."""
        if _is_being_written(path, self._rules.quiet_s):
            return None
        try:
            return stamp_of(os.stat(path))
        except OSError:
            # Whoever reads it will say why, or it is gone.
            return b""

    def _is_wanted(self, found: Found) -> bool:
        return self._only(found.path)


def _is_transient(skipped: Skipped) -> bool:
    """Whether a file was left out for what passes by itself."""
    return skipped.reason == _BEING_WRITTEN or skipped.reason.startswith(_CHANGING)


def _keep_as_before(draft: Draft, path: str, before: dict[str, Entry]) -> None:
    """Let what could not be taken, a file or a whole folder, be what it was."""
    name = path.replace(os.sep, "/")
    if name in draft.entries:
        draft.remove(name)
    here = before.get(name)
    for old in (here,) if here is not None else before.values():
        if name in {old.path, "."} or old.path.startswith(f"{name}/"):
            draft.add_entry(old, overwrite=True)


def _is_being_written(path: str, quiet_s: float) -> bool:
    """Whether somebody has a file open for writing; where the system does not say, whether it changed just now."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False  # Who reads it will say why.
    try:
        said = _has_writer(fd)
        return time.time() - os.fstat(fd).st_mtime < quiet_s if said is None else said
    finally:
        os.close(fd)


def _has_writer(fd: int) -> bool | None:
    """Whether an open file is open for writing as well; None where the system does not say.

    A read lease is given only where nobody writes (fcntl(2)), to the owner of the file. Who opens it for writing in the
    microseconds of the lease waits for its end, and this process gets a signal that is ignored.
    """
    if sys.platform != "linux":
        return None
    lease: Any = fcntl
    try:
        lease.fcntl(fd, lease.F_SETSIG, signal.SIGURG)
        lease.fcntl(fd, lease.F_SETLEASE, lease.F_RDLCK)
        lease.fcntl(fd, lease.F_SETLEASE, lease.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
