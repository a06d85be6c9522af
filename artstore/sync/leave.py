"""Leave: a remote is forgotten, unless bytes that were evicted here are known to be nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from artstore.errors import NAMED, Conflict
from artstore.lifecycle.lost import evicted
from artstore.lifecycle.replay import catch_up
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.storage.catalog import ProjectView
from artstore.storage.journal import Journal
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.connect import held_elsewhere
from artstore.sync.remotes import find_remote, read_remotes, remove_remote
from artstore.sync.reports import RemoteInfo


def leave(store: Store, name: str, *, force: bool = False) -> RemoteInfo:
    """Forget a remote; nothing that is there, or came from there, is touched.

    Raises NotFound (remote-not-found); Conflict (last-copy) where versions were evicted here whose bytes no other
    remote is known to have, unless `force`.
    """
    find_remote(read_remotes(store.path), name)
    if not force:
        catch_up(store.root, thorough=True)
        lonely = _lonely(store.root, name)
        if lonely:
            more = f" and {len(lonely) - NAMED} more" if len(lonely) > NAMED else ""
            message = (
                f"{', '.join(lonely[:NAMED])}{more} were evicted here, and no other remote is known to have all their "
                f"bytes: `artstore pull --blobs` brings them here first. With --force {name!r} is forgotten all the "
                "same, and they cannot be read here"
            )
            raise Conflict(message, code="last-copy")
    return remove_remote(store.path, name)


def _lonely(root: Root, name: str) -> list[str]:
    """Versions that were evicted here, and of which some bytes are neither here nor known to be at another remote."""
    needs = dict(_evicted(root))
    wanted = sorted({digest for blobs in needs.values() for digest in blobs})
    here = root.blobs.locate(wanted)
    absent = [digest for digest in wanted if digest not in here]
    # Who cannot be asked is not known to have it.
    lonely = set(absent) - held_elsewhere(root, absent, but=name)
    return [version for version, blobs in needs.items() if not lonely.isdisjoint(blobs)]


def _evicted(root: Root) -> Iterator[tuple[str, set[Digest]]]:
    """The versions that were evicted here and are still there, as `zoo/cats:v3`, and the blobs that each needs."""
    for project in root.catalog.projects():
        view = ProjectView(root.catalog, project.id)
        for version in filter(None, map(view.version, sorted(evicted(Journal(root.catalog, project))))):
            digest, collection = Digest.parse(version.manifest), view.collection(version.collection)
            if version.deleted or collection is None or root.manifests.find(digest) is None:
                continue
            entries = root.manifests.entries(digest)
            blobs = {blob.digest for entry in entries if (blob := blob_of(entry)) is not None}
            yield f"{project.name}/{collection.name}:v{version.number}", blobs
