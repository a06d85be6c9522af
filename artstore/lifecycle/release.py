"""Release: bytes that somebody else is known to have are freed here.

That they are elsewhere has to be proven by whoever calls: what is freed here is gone from this machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial

from artstore.lifecycle.collect import settled, write_anew
from artstore.lifecycle.commit import commit, nonce, now_us
from artstore.model.digest import Digest
from artstore.model.notes import Evicted
from artstore.storage import stat_cache, whole
from artstore.storage.catalog import ProjectView
from artstore.storage.files import storage_errors, sync_directory
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.storage.sessions import Exclusive, Session, alone


def release(root: Root, session: Session, versions: Mapping[str, Sequence[str]], digests: Sequence[Digest]) -> None:
    """Note for versions, by project, that their bytes may be missing here, and free some blobs at once.

    Others at work in the store are waited for. Raises Conflict (busy) where that takes too long, before anything is
    freed, and Conflict (locked) beside `gc`.
    """
    with storage_errors("freeing space"), Exclusive(root.path, "gc"), alone(root.path, session):
        for project, ids in versions.items():
            # First: bytes that are gone, and that a version is said to have, would be damage.
            notes = [Evicted(at_us=now_us(), nonce=nonce(), versions=list(ids))]
            commit(root, session, project, partial(_as_they_are, notes))
        stat_cache.forget(root.path, root.catalog)
        _free(root, session, digests)
        # A copy of the catalog from before would look for bytes that are gone.
        root.begin_epoch()


def _as_they_are(notes: Sequence[Evicted], _view: ProjectView) -> Sequence[Evicted]:
    return notes


def _free(root: Root, session: Session, digests: Sequence[Digest]) -> None:
    marking = Marking(root.catalog)
    touched: set[str] = set()
    for digest in digests:
        for place in root.blobs.places_of(digest):
            root.blobs.forget_place(place)
            if place.is_whole:
                path = whole.path_of(root.path, digest)
                path.unlink(missing_ok=True)
                sync_directory(path.parent)
            else:
                touched.add(os.path.basename(place.path))
    uses = [use for use in settled(root, marking, session) if use.name in touched]
    for use in write_anew(root, session, uses):
        marking.forget_pack(use.id)
        (root.path / "packs" / use.name).unlink(missing_ok=True)
