"""Receipt: what a store has, to be carried to where the next bundle for it is made."""

from __future__ import annotations

import time

from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.upstream import waiting
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.storage.catalog import Project, ProjectView
from artstore.storage.marking import Marking
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.bundle.head import FORMAT, Receipt, Stand
from artstore.sync.history import brought, history


def make_receipt(store: Store) -> Receipt:
    """Say what a store has. It promises nothing after a later `gc` or `evict` there."""
    root = store.root
    catch_up(root, thorough=True)
    with root.catalog.snapshot():
        absent = {digest for digest, _size in Marking(root.catalog).missing(received=True)}
        stands = {project.name: _stand(root, project, absent) for project in root.catalog.projects() if project.seq}
    return Receipt(format=FORMAT, store=store.id, made_at=time.time(), projects=stands)


def _stand(root: Root, project: Project, absent: set[Digest]) -> Stand:
    known = history(root, project)
    there = brought(root, project, (bytes(raw) for slot in known.slots for raw in slot.ops))
    own = [] if project.upstream is None else [op.body for op in waiting(root, project.name) if op.void is None]
    pending = brought(root, project, iter(own))
    ended = {*there.forgotten.values(), *there.deleted} - {*there.manifests, *pending.manifests}
    return Stand(
        log=known.log,
        slot=len(known.slots),
        head=known.head(len(known.slots)),
        lacks=[str(each) for each in there.manifests if not is_whole(root, each, absent)],
        ended=sorted(map(str, ended)),
        absent=[version.manifest for version in ProjectView(root.catalog, project.id).awaited()],
        has=[str(each) for each in pending.manifests if is_whole(root, each, absent)],
    )


def is_whole(root: Root, manifest: Digest, absent: set[Digest]) -> bool:
    """Whether none of the bytes of a manifest are among those that are absent."""
    if root.manifests.find(manifest) is None:
        return False
    return not absent or not any(
        (blob := blob_of(entry)) is not None and blob.digest in absent for entry in root.manifests.entries(manifest)
    )
