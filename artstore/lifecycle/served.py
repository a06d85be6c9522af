"""Served: whether the slots of the logs that a store keeps for others are there as they were taken, and their lists.

The journal has the digest of each slot that it has counted. Of those behind, which a server that was killed, or a store
that was restored in part, has not counted yet, each names the one before.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from artstore.errors import Corrupt, Invalid
from artstore.lifecycle.reports import Problem
from artstore.lifecycle.sound import is_sound
from artstore.lifecycle.upstream import HOSTED, keeps_log
from artstore.model.digest import Digest
from artstore.model.manifest import decode_encodings
from artstore.model.notes import Accepted, Attached, decode_line
from artstore.model.parts import part_of, project_of
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.root import Root

SLOTS: Final = f"{HOSTED}/log"
"""Folder in a store's that has the slots, in a folder for each project."""
LISTS: Final = f"{HOSTED}/manifests"
"""Folder in a store's that has the lists of files which slots name, in a folder for each project."""
_NUMBER: Final = re.compile(r"[0-9]{12}\Z")


class LostSlot(NamedTuple):
    """A slot that is not there as it was taken."""

    project: str
    number: int
    digest: str | None
    """Of the bytes that it had; None where nothing here says that."""
    is_damaged: bool
    """Other bytes are there."""

    @property
    def name(self) -> str:
        """Its file, in the store's folder."""
        return f"{SLOTS}/{part_of(self.project)}/{self.number:012d}"


def check_served(root: Root, *, fast: bool) -> list[Problem]:
    """What is wrong with the logs that are kept for others; `fast` leaves lists of files unread."""
    folders = (root.path / SLOTS).iterdir() if (root.path / SLOTS).is_dir() else iter(())
    there = {project for folder in folders if (project := project_of(folder.name)) is not None}
    kept = {project.name for project in root.catalog.projects() if keeps_log(root, project.name)}
    problems: list[Problem] = []
    for project in sorted(there | kept):
        problems += map(_problem, lost_slots(root, project))
        problems += _bad_lists(root, project, fast=fast)
    return problems


def lost_slots(root: Root, project: str) -> list[LostSlot]:
    """The slots of a project's log that are lost or damaged, in order; all are read."""
    folder = root.path / SLOTS / part_of(project)
    taken = taken_slots(root, project)
    end = max([*taken, *_numbers(folder)], default=0)
    found: list[LostSlot] = []
    said: str | None = None
    for number in range(end, 0, -1):
        digest = taken.get(number, said)
        data = _read(folder / f"{number:012d}")
        before = None if data is None else _before(data)
        if data is None or before is None or (digest is not None and str(Digest.of(data)) != digest):
            found.append(LostSlot(project, number, digest, data is not None))
            before = None
        said = None if before is None else before.before
    return found[::-1]


def _bad_lists(root: Root, project: str, *, fast: bool) -> Iterator[Problem]:
    """The objects of manifests that slots name and that are gone, or damaged as far as that can be seen here."""
    folder, lists = root.path / SLOTS / part_of(project), root.path / LISTS / part_of(project)
    there = {path.name for path in lists.iterdir()} if lists.is_dir() else set()
    live = live_manifests(root, project)
    slots: dict[int, _Chained] = {}
    for number in sorted(_numbers(folder)):
        data = _read(folder / f"{number:012d}")
        if data is not None and (slot := _before(data)) is not None:
            slots[number] = slot
    # The base of one may have come in another object, also of the same slot, or in one of a slot that is lost.
    named = {digest for slot in slots.values() for digests in slot.manifests.values() for digest in digests}
    named.update(digest for slot in slots.values() for digest in slot.bases)
    for number, slot in slots.items():
        for name, digests in sorted(slot.manifests.items()):
            if name not in there:
                is_fine = can_be_spared(root, live, digests)
            else:
                is_fine = fast or _is_whole(root, lists / name, digests, named)
            if is_fine:
                continue
            what = "damaged" if name in there else "lost"
            message = (
                f"lists of files that slot {number} of the log of project {project!r} brought, which is kept here for "
                f"others, are {what}. `artstore repair` makes them again"
            )
            yield Problem(kind=f"lists-{what}", subject=f"{LISTS}/{part_of(project)}/{name}", message=message)


def live_manifests(root: Root, project: str) -> set[Digest]:
    """The manifests that versions of a project need."""
    found = root.catalog.project(project)
    return set() if found is None else Marking(root.catalog).live_manifests(found.id)


def can_be_spared(root: Root, live: Container[Digest], digests: Iterable[str]) -> bool:
    """Whether an object with lists of files cannot be made again, and nobody needs that.

    The catalog has freed some of what it held, of versions that are no more. All else in it who asks is given apart.
    """
    try:
        absent = [digest for digest in map(Digest.parse, digests) if root.manifests.find(digest) is None]
    except Invalid:
        # The slot that says so is damaged itself.
        return False
    return bool(absent) and not any(digest in live for digest in absent)


def _is_whole(root: Root, path: Path, digests: list[str], named: Container[str]) -> bool:
    try:
        encodings = decode_encodings(_read(path) or b"")
    except Corrupt:
        return False
    return [str(each.digest) for each in encodings] == digests and all(
        is_sound(root, each, named) for each in encodings
    )


def taken_slots(root: Root, project: str) -> dict[int, str]:
    """The digests of the slots that the journal has counted, by number, of a project whose log is kept here."""
    found = root.catalog.project(project)
    digests: dict[int, str] = {}
    if found is not None and keeps_log(root, project):
        for note in map(decode_line, Journal(root.catalog, found).notes()):
            if isinstance(note, Attached):
                digests.clear()
            elif isinstance(note, Accepted):
                digests[note.slot] = note.digest
    return digests


class _Chained(msgspec.Struct):
    """What of a slot says which one is before it, and what lies beside it."""

    before: str | None
    manifests: dict[str, list[str]] = {}
    bases: list[str] = []


def _before(data: bytes) -> _Chained | None:
    try:
        return msgspec.json.decode(data, type=_Chained)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _numbers(folder: Path) -> Iterator[int]:
    if folder.is_dir():
        yield from (int(path.name) for path in folder.iterdir() if _NUMBER.match(path.name))


def _problem(lost: LostSlot) -> Problem:
    what = "damaged" if lost.is_damaged else "lost"
    message = (
        f"slot {lost.number} of the log of project {lost.project!r}, which is kept here for others, is {what}. Run "
        "`artstore repair` here, or `artstore remote recover` in a store that has followed the log until there: it is "
        "put back as it was"
    )
    return Problem(kind=f"slot-{what}", subject=lost.name, message=message)
