"""Lost: bytes that versions need and that nobody who is known has, neither this store nor a remote.

A version that came from an upstream, or was evicted, may have its bytes there alone. Where it was evicted this store
has had them, and answers for them; and where it waits to be sent, the log that had accepted it is followed no more. Of
all other versions that came, whoever keeps their log has to answer for what never was here.
"""

from __future__ import annotations

from artstore.model.digest import Digest
from artstore.model.notes import Evicted
from artstore.storage.catalog import Project
from artstore.storage.journal import Journal
from artstore.storage.marking import Marking
from artstore.storage.root import Root


def lost(root: Root) -> list[tuple[Digest, int]]:
    """The blobs, with their sizes, that are not here, and that no remote has which is known and can be asked."""
    ids = [id_ for project in root.catalog.projects() for id_ in relying(root, project)]
    absent = dict(Marking(root.catalog).absent_of(ids)) if ids else {}
    return [(digest, absent[digest]) for digest in nowhere(root, list(absent))]


def nowhere(root: Root, digests: list[Digest]) -> list[Digest]:
    """Those of some blobs, which are not here, that are known to be nowhere else either.

    Who cannot be asked may have all of them, and a store that cannot be written asks nobody.
    """
    if root.read_only or not digests:
        return []
    elsewhere = root.blobs.elsewhere
    return digests if elsewhere is None else elsewhere.lacks(digests)


def relying(root: Root, project: Project) -> set[str]:
    """The versions and parts whose bytes may be missing here, and for which it is not the followed log that answers."""
    journal = Journal(root.catalog, project)
    return evicted(journal) | journal.received_waiting()


def evicted(journal: Journal) -> set[str]:
    """The versions whose bytes were freed here because a remote had them."""
    return {id_ for note in journal.notes_of(Evicted) for id_ in note.versions}
