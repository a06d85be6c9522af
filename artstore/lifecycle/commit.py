"""Commit: ops become part of the log.

The link of the journal file is the commit: before it back, after it always forward. So after the link nothing is
reported as failed: the answer was read before it, from the state that the ops lead to. If the catalog cannot follow,
a warning of the logger `artstore` says that it is behind, and whoever reads next brings it up to date.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from artstore.errors import ArtstoreError, Conflict, Corrupt, Invalid
from artstore.lifecycle.compact import compact_if_due
from artstore.lifecycle.replay import replay_project
from artstore.model.digest import Digest
from artstore.model.notes import decode_line, is_note
from artstore.model.records import FORMAT, LONGEST_CHANGE, Op, Transaction, encode_op, encode_transaction
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.files import random_hex, storage_errors
from artstore.storage.journal import Journal
from artstore.storage.oplog import Attachments, Prepared, read
from artstore.storage.root import Root
from artstore.storage.sessions import Session

T = TypeVar("T")

_LAST_TIME_S: Final = 253_402_300_800.0
"""The year 10000, which no calendar of Python's has."""

_logger: Final = logging.getLogger("artstore")


def commit(
    root: Root,
    session: Session,
    project: str,
    plan: Callable[[ProjectView], Sequence[Op]],
    attachments: Attachments | None = None,
) -> None:
    """Commit the ops and notes that `plan` answers, all or none.

    `plan` is asked under the write lock, with the state that the ops will meet, and may raise to stop; nothing is
    written then. What it answers must apply.
    """
    commit_and_answer(root, session, project, plan, answer=lambda _project, _view: None, attachments=attachments)


def commit_and_answer(
    root: Root,
    session: Session,
    project: str,
    plan: Callable[[ProjectView], Sequence[Op]],
    *,
    answer: Callable[[Project, ProjectView], T],
    attachments: Attachments | None = None,
) -> T:
    """As `commit`; answers what `answer` finds in the state that the ops lead to, which is asked before the link."""
    root.catalog.check_writable()
    prepared = Prepared(session.scratch() / f"log-{random_hex(4)}", attachments or Attachments())
    try:
        done, found = _commit(root, project, plan, answer, prepared)
    finally:
        prepared.close()
    if done is not None:
        with contextlib.suppress(ArtstoreError, OSError):
            # Committed is committed: what goes wrong here is tried again by the next compaction.
            compact_if_due(root, session, project, done.seq)
        if done.travels and root.on_commit is not None:
            root.on_commit()
    return found


class _Done(NamedTuple):
    seq: int
    """The place in the log."""
    travels: bool
    """Whether anything of it is more than a note."""


def _is_behind(root: Root, name: str, seq: int) -> bool:
    """Whether the log goes on behind the transaction that the catalog has seen last."""
    if root.log.has(name, seq + 1):
        return True
    # Where that one is in a segment others may be, and the catalog an older one, or that of another store.
    with storage_errors("reading the log"):
        return not root.log.has(name, seq) and root.log.last(name) > seq


def _check_head(root: Root, project: Project) -> None:
    """Raise Corrupt (catalog-of-another-log) where the log holds something else than the catalog has seen last.

    Once for each process, and not in a segment, which is long: by then the log has grown, or the catalog is caught out
    by its length.
    """
    if project.name in root.followed or not root.log.has(project.name, project.seq):
        return
    try:
        (data,) = read(root.log.path_of(project.name, project.seq)).transactions
    except (FileNotFoundError, Corrupt):
        # Compacted just now; or damaged, of which `verify` says more.
        return
    if str(Digest.of(data)) != project.head:
        message = (
            f"the catalog of {str(root.path)!r} is of another log: it has seen another transaction {project.seq} of "
            f"project {project.name!r}. Run `artstore rebuild`: the log has what is committed here"
        )
        raise Corrupt(message, code="catalog-of-another-log")
    root.followed.add(project.name)


def now_us() -> int:
    """The time that ops carry: microseconds since 1970."""
    return time.time_ns() // 1000


def time_us(seconds: float | None) -> int:
    """A time that was given, in seconds since 1970, as ops carry it; now, if none was. Raises Invalid (bad-time)."""
    if seconds is None:
        return now_us()
    if not 0 < seconds < _LAST_TIME_S:
        message = f"{seconds} is no time: give seconds since 1970"
        raise Invalid(message, code="bad-time")
    return round(seconds * 1e6)


def nonce() -> str:
    """What makes an op unlike every other: 16 random hex digits."""
    return random_hex(8)


def _commit(
    root: Root,
    name: str,
    plan: Callable[[ProjectView], Sequence[Op]],
    answer: Callable[[Project, ProjectView], T],
    prepared: Prepared,
) -> tuple[_Done | None, T]:
    """Answers also what was committed; None if there was nothing to commit."""
    linked: tuple[_Done, T] | None = None
    try:
        with root.catalog.write():
            project = root.catalog.project(name)
            if _is_behind(root, name, 0 if project is None else project.seq):
                replay_project(root, name)
                project = root.catalog.project(name)
            if project is not None:
                _check_head(root, project)
            else:
                refuse_twin(root, name)
                project = root.catalog.add_project(name, random_hex(16))
            view = ProjectView(root.catalog, project.id)
            planned = plan(view)
            ops = [_checked(op) for op in planned]
            _check_length(planned, ops)
            if not ops:
                return None, answer(project, view)
            transaction = Transaction(
                format=FORMAT,
                project=name,
                log=project.log,
                seq=project.seq + 1,
                before=project.head,
                ops=[msgspec.Raw(op) for op in ops],
            )
            data = encode_transaction(transaction)
            # Before the link, so that all that can fail afterwards is the catalog's own COMMIT.
            Journal(root.catalog, project).append(transaction.seq, str(Digest.of(data)), ops)
            found = answer(project, view)
            prepared.seal([data])
            _link(root, name, transaction.seq, prepared)
            linked = _Done(transaction.seq, not all(map(is_note, planned))), found
    except Exception as error:
        if linked is None:
            raise
        root.acknowledged.add(name)
        _logger.warning("committed, and the catalog is behind until it is next read: %s", error)
    assert linked is not None
    return linked


def _link(root: Root, name: str, seq: int, prepared: Prepared) -> None:
    if not root.log.publish(name, seq, seq, prepared):
        message = f"transaction {seq} of project {name!r} is in the log already: repeat"
        raise Conflict(message, code="log-moved")


def _checked(op: Op) -> bytes:
    """The bytes of an op that can be read back: one that cannot would lock everybody out of the log."""
    try:
        data = encode_op(op)
        decode_line(data)
    except (Corrupt, TypeError, ValueError, RecursionError) as error:
        message = f"that cannot be recorded: {error.__cause__ or error}"
        raise Invalid(message, code="bad-value") from error
    return data


def _check_length(planned: Sequence[Op], bodies: Sequence[bytes]) -> None:
    """What is larger than others take would hold up all that is behind it."""
    size = sum(len(body) for op, body in zip(planned, bodies, strict=True) if not is_note(op))
    if size > LONGEST_CHANGE:
        message = (
            f"{size} bytes would be recorded at once, and {LONGEST_CHANGE} are the most: put large metadata or a long "
            "description into a file of the artifact, or make a change of so many things in several steps"
        )
        raise Invalid(message, code="too-large")


def refuse_twin(root: Root, name: str) -> None:
    """Raise Conflict (case-twin) before a project begins beside one whose name differs only in case."""
    # Logs are folders: where case does not count, two such names would be one.
    twin = next((p.name for p in root.catalog.projects() if p.name.casefold() == name.casefold()), None)
    if twin is not None:
        message = f"project {name!r} differs from {twin!r} only in case: use one spelling"
        raise Conflict(message, code="case-twin")
