"""Ended: an older bundle carries bytes of versions that were deleted here since, which are left in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from artstore.model.digest import Digest
from artstore.model.records import decode_op, manifest_of
from artstore.storage.catalog import Project
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.sync.offered import blobs_not_here


def ended_lists(root: Root, project: Project, lists: Collection[Digest], bodies: Iterable[bytes]) -> set[Digest]:
    """Those lists of files that only versions name which are deleted or not wanted here, and no op that is new here."""
    ended = Marking(root.catalog).ended_manifests(project.id).intersection(lists)
    if ended:
        journal = Journal(root.catalog, project)
        new = (body for body in bodies if not journal.has(str(Digest.of(body))))
        ended.difference_update(map(Digest.parse, filter(None, (manifest_of(decode_op(body)) for body in new))))
    return ended


def blobs_of_ended(root: Root, ended: Iterable[Digest], kept: Iterable[Digest]) -> set[Digest]:
    """The blobs that are not here, and that only these lists of files need: none of those that are kept."""
    found, needed = (
        blobs_not_here(root, [each for each in lists if root.manifests.find(each) is not None])
        for lists in (ended, kept)
    )
    return {*found} - {*needed} - {digest for digest, _size in Marking(root.catalog).missing(received=True)}
