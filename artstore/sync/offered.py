"""Offered: what has to come with ops that wait in another store, and which of them may be taken.

A version that is seen is whole. So the list of files and the bytes of each version and part that would be there, if the
ops came behind what is here, come along where they are not here; and those of content that was put again, whose version
others may delete before it counts. What comes without stays where it is, with what builds on it (`held`), and is named.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

import msgspec

from artstore.lifecycle.upstream import foreseen
from artstore.model.digest import Digest
from artstore.model.fold import fold_into
from artstore.model.manifest import blob_of
from artstore.model.records import Commit, Delete, DeleteCollection, brings, decode_op
from artstore.model.state import MemoryState, UnfinishedPart, Version
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Journal, Waiting
from artstore.storage.root import Root
from artstore.sync import held
from artstore.sync.held import Missing, need_of


def new_in(root: Root, project: str, transactions: Iterable[Sequence[msgspec.Raw]]) -> list[list[Waiting]]:
    """The ops that were never here, as they hold together."""
    found = root.catalog.project(project)
    journal = None if found is None else Journal(root.catalog, found)
    made: list[list[Waiting]] = []
    for number, raws in enumerate(transactions):
        bodies = {str(Digest.of(body)): body for body in map(bytes, raws)}
        new = [
            Waiting(id_, body, void=None, version=brings(id_, decode_op(body)), seq=number)
            for id_, body in bodies.items()
            if journal is None or not journal.has(id_)
        ]
        if new:
            made.append(new)
    return made


def needed(
    root: Root,
    project: str,
    transactions: Sequence[Sequence[Waiting]],
    slots: Iterable[bytes] = (),
) -> list[Digest]:
    """The lists of files that have to be here with new ops, if these come behind what is here and some slots' ops.

    What was deleted since travels without, also where it has no place here, so that its end has none either.
    """
    ops = [op for transaction in transactions for op in transaction]
    if not any(op.version for op in ops):
        return []
    decoded = [decode_op(op.body) for op in ops]
    ended = {op.version for op in decoded if isinstance(op, Delete)}
    ended |= {op.collection for op in decoded if isinstance(op, DeleteCollection)}
    with foreseen(root, project, itertools.chain(slots, (op.body for op in ops))) as there:
        view = ProjectView(root.catalog, there.id)
        lists = [
            need_of(view, op).manifest
            for op, made in zip(ops, decoded, strict=True)
            if not isinstance(made, Commit)
            or view.version(str(op.version)) is not None
            or ended.isdisjoint({str(op.version), made.record.collection})
        ]
    return list(dict.fromkeys(each for each in lists if each is not None))


def lists_of_log(*bodies: Iterable[bytes], but: Collection[str] = ()) -> set[Digest]:
    """The lists of files that versions and parts need where these are the ops of a log, from its beginning.

    But those of some of them, by their ids.
    """
    state = MemoryState()
    for position, body in enumerate(itertools.chain(*bodies), start=1):
        fold_into(state, str(Digest.of(body)), decode_op(body), position)
    needed = {version.manifest for version in state.all(Version) if not version.deleted and version.id not in but}
    needed |= {part.manifest for part in state.all(UnfinishedPart) if part.id not in but}
    return set(map(Digest.parse, needed))


def lists_not_here(root: Root, lists: Iterable[Digest]) -> list[Digest]:
    """Those lists of files that are not here."""
    return [each for each in dict.fromkeys(lists) if root.manifests.find(each) is None]


def blobs_not_here(root: Root, lists: Iterable[Digest]) -> dict[Digest, int]:
    """The blobs of lists of files, which must be here, that nobody may rely on having here; with their sizes."""
    blobs = {
        blob.digest: blob.size for each in lists for entry in root.manifests.entries(each) if (blob := blob_of(entry))
    }
    here = root.blobs.known(list(blobs))
    return {digest: size for digest, size in blobs.items() if digest not in here}


def parted(
    root: Root, project: str, transactions: Sequence[Sequence[Waiting]], missing: Missing
) -> tuple[list[list[Waiting]], list[list[Waiting]], str]:
    """New ops that may be taken where something is missing; those that stay where they are, and what these bring."""
    if not missing:
        return list(map(list, transactions)), [], ""
    with foreseen(root, project, (op.body for ops in transactions for op in ops)) as there:
        # What no log has accepted has no number that must not change.
        taken, left = held.parted(root, there, list(map(list, transactions)), missing, renumber=True)
        brought = [op.version for ops in left for op in ops if op.version is not None]
        return taken, left, held.called(ProjectView(root.catalog, there.id), brought)
