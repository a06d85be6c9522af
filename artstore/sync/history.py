"""History: the slots of a log, as far as a store has them.

A store that follows a log has its slots in the journal. One that follows none owns its own, of which each of its
transactions is a slot; nobody but whoever follows it by bundles ever sees those.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec

from artstore.lifecycle.upstream import TakenSlot, waiting
from artstore.model.digest import Digest
from artstore.model.fold import fold_into
from artstore.model.notes import Accepted, Attached, decode_line
from artstore.model.records import (
    AnyOp,
    Commit,
    Delete,
    DeleteCollection,
    DropPart,
    Relog,
    brings,
    decode_op,
    manifest_of,
)
from artstore.model.state import MemoryState, UnfinishedPart, Version
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.sync.protocol import FORMAT, Slot, encode_slot, frame_of

_LOG_DIGITS = 32


class History(NamedTuple):
    """A log."""

    log: str
    slots: list[TakenSlot]
    """From number 1 on."""

    def head(self, number: int) -> str | None:
        """The digest of a slot; None before the first."""
        return self.slots[number - 1].digest if number else None


class Brought(NamedTuple):
    """What slots or offers brought, as far as it is still there."""

    manifests: dict[Digest, None]
    forgotten: dict[str, Digest]
    """Versions and parts that this store cannot give, with their manifests: they were deleted on this machine alone, or
    their lists of files have not come, or are lost."""
    deleted: dict[Digest, None]
    """Manifests of versions that are no more, for anybody."""


def history(root: Root, project: Project) -> History:
    """The log that a project follows, or its own."""
    log, slots = project.log, list[TakenSlot]()
    for body in Journal(root.catalog, project).notes():
        note = decode_line(body)
        if isinstance(note, Attached):
            slots.clear()
            # What it owns after it has left another's log is in another order than before: a log of its own.
            log = note.log or Digest.of(f"{project.log} {note.nonce}".encode()).hex()[:_LOG_DIGITS]
        elif isinstance(note, Accepted):
            slots.append(TakenSlot(note.slot, note.digest, note.ops, note.frame))
    if project.upstream is None:
        slots = list(_own(root, project, log))
    return History(log, slots)


def senders(slots: Iterable[TakenSlot | Accepted], is_meant: Callable[[bytes], bool]) -> set[str]:
    """Ids of the stores that sent such ops."""
    found = (slot for slot in slots if any(is_meant(bytes(raw)) for raw in slot.ops))
    return {msgspec.json.decode(slot.frame, type=_Sender).store for slot in found}


def brought(root: Root, project: Project, bodies: Iterator[bytes], ending: Collection[str] = ()) -> Brought:
    """Which manifests some ops brought that a live version or a part needs, and which others.

    What is `ending` (see `ending_here`) lives for whoever else has these ops, and is given as far as it is kept here.
    """
    view = ProjectView(root.catalog, project.id)
    kept = Marking(root.catalog).live_manifests(project.id) if ending else set[Digest]()
    found = Brought({}, {}, {})
    for body in bodies:
        op = decode_op(body)
        named = manifest_of(op)
        if named is None:
            continue
        id_ = str(brings(str(Digest.of(body)), op))
        version, digest = view.version(id_), Digest.parse(named)
        is_ending = id_ in ending
        is_lost = (version is not None and not root.manifests.has(digest)) or (is_ending and digest not in kept)
        if version is not None and version.deleted and not is_ending:
            found.deleted[digest] = None
        elif view.is_forgotten(id_) or is_lost:
            found.forgotten[id_] = digest
        elif version is not None or view.part(id_) is not None or is_ending:
            found.manifests[digest] = None
    return found


def ending_here(root: Root, project: Project) -> set[str]:
    """The versions and parts of the log that a project follows which end with what waits here for it."""
    journal = Journal(root.catalog, project)
    waiting_here = journal.waiting() if project.upstream is not None else []
    if not any(op.void is None and _may_end(decode_op(op.body)) for op in waiting_here):
        return set()
    state, view = MemoryState(), ProjectView(root.catalog, project.id)
    for position, op in enumerate((op for op in journal.ops() if op.slot is not None), start=1):
        fold_into(state, op.id, decode_op(op.body), position)
    ended = {each.id for each in state.all(Version) if not each.deleted and _is_gone(view.version(each.id))}
    return ended | {each.id for each in state.all(UnfinishedPart) if view.part(each.id) is None}


def _may_end(op: AnyOp) -> bool:
    return isinstance(op, Delete | DeleteCollection | DropPart) or bool(isinstance(op, Commit | Relog) and op.parts)


def _is_gone(version: Version | None) -> bool:
    return version is None or version.deleted


def _own(root: Root, project: Project, log: str) -> Iterator[TakenSlot]:
    ops = [op for op in waiting(root, project.name) if op.void is None]
    before: str | None = None
    # An op that came from an earlier upstream has no transaction here, and stands for itself.
    groups = itertools.groupby(ops, key=lambda op: op.id if op.seq is None else op.seq)
    for number, (_, group) in enumerate(groups, start=1):
        raws = [msgspec.Raw(op.body) for op in group]
        slot = Slot(
            format=FORMAT,
            project=project.name,
            log=log,
            number=number,
            before=before,
            store=root.format.store_id,
            transactions=[raws],
        )
        before = str(Digest.of(encode_slot(slot)))
        yield TakenSlot(number, before, raws, frame_of(slot))


class _Sender(msgspec.Struct):
    store: str
