"""Explain: which bytes of a version a remote lacks, and why."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from artstore.errors import Invalid
from artstore.lifecycle.replay import catch_up
from artstore.lifecycle.resolve import Resolved, resolve
from artstore.lifecycle.upstream import followed
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.model.names import UNCATEGORIZED, Reference
from artstore.storage.places import Place
from artstore.storage.root import Root
from artstore.store import Store
from artstore.sync.http.opening import is_server
from artstore.sync.mirrors.mirror import mirrored
from artstore.sync.protocol import Shelf, read_slot
from artstore.sync.remotes import find_remote, open_mirror, open_remote, read_remotes
from artstore.sync.reports import ExplainedBlob, ExplainReport


@runtime_checkable
class Patching(Protocol):
    """A shelf that makes blobs from others that it has. See Shelf."""

    def patch_size(self, root: Root, place: Place) -> int | None:
        """The bytes that would be sent of a blob; None where it would go whole. Raises Unreachable, Denied."""


_FAR: Final = 1 << 40
_LOOKED_AT: Final = 1_000
"""Versions before it, at most, that are tried."""


def explain(store: Store, reference: str, name: str, *, project: str = UNCATEGORIZED) -> ExplainReport:
    """Say of each blob of a version whether it would be sent to a remote, and why; nothing is sent.

    Raises NotFound (remote-not-found, …-not-found), Invalid (not-the-upstream) where nothing is ever pushed to it,
    Unreachable, Denied.
    """
    root = store.root
    settings = find_remote(read_remotes(store.path), name)
    if is_server(settings.url) and not settings.upstream:
        message = f"{name!r} is a server and not the upstream of this store, so nothing is pushed to it"
        raise Invalid(message, code="not-the-upstream")
    catch_up(root, thorough=True)
    resolved = resolve(root, Reference.parse(reference, project=project))
    remote = open_remote(settings)
    last = followed(root, resolved.project.name) if settings.upstream else None
    shelf: Shelf | None = mirrored(open_mirror(settings), root, resolved.project.name)
    if shelf is None:
        first = read_slot(remote, resolved.project.name, 1) if last is None else None
        log = last.log if last is not None else first.slot.log if first is not None else ""
        shelf = remote.shelf(root, resolved.project.name, log)
        if log:
            shelf.follow(remote, _FAR)
    blobs = _blobs(root, shelf, resolved)
    sent = [blob for blob in blobs if blob.is_sent]
    return ExplainReport(
        ref=resolved.name,
        remote=name,
        url=settings.url,
        is_there=not shelf.lacks_manifests([resolved.manifest]),
        blobs=blobs,
        bytes=sum(blob.size for blob in blobs),
        sent_bytes=sum(blob.sent_bytes for blob in sent),
    )


def _blobs(root: Root, shelf: Shelf, resolved: Resolved) -> list[ExplainedBlob]:
    entries = [
        (entry.path, blob)
        for entry in root.manifests.entries(resolved.manifest)
        if (blob := blob_of(entry)) is not None
    ]
    lacking = set(shelf.lacks_blobs(blob.digest for _path, blob in entries))
    here = root.blobs.locate([blob.digest for _path, blob in entries])
    before, earlier = _before(root, shelf, resolved)
    seen: set[Digest] = set()
    found: list[ExplainedBlob] = []
    for path, blob in entries:
        is_sent = blob.digest in lacking and blob.digest in here and blob.digest not in seen
        sent_bytes = blob.size if is_sent else 0
        if blob.digest not in lacking:
            why = "it is there: something that was pushed has these bytes"
        elif blob.digest in seen:
            why = "a file before it in this list has the same bytes"
        elif blob.digest not in here:
            why = "it is neither here nor there: no push can send it"
        elif before is None:
            why = f"nothing of {resolved.collection.name} is there yet"
        elif path in earlier:
            why = f"{before} has other bytes in this file"
            if is_sent and isinstance(shelf, Patching):
                patch = shelf.patch_size(root, here[blob.digest])
                if patch is not None:
                    sent_bytes = patch
                    why = f"{why}, and the rest of it is there"
        else:
            why = f"{before}, the last that is there, has no file of this name, and nothing else there has these bytes"
        seen.add(blob.digest)
        found.append(
            ExplainedBlob(
                path=path, digest=str(blob.digest), size=blob.size, is_sent=is_sent, sent_bytes=sent_bytes, why=why
            )
        )
    return found


def _before(root: Root, shelf: Shelf, resolved: Resolved) -> tuple[str | None, set[str]]:
    """The last version before this one that is there, and the paths in it."""
    name, number = resolved.collection.name, resolved.version.number
    for version in resolved.view.versions_before(resolved.collection.id, number, _LOOKED_AT):
        manifest = Digest.parse(version.manifest)
        if not shelf.lacks_manifests([manifest]) and root.manifests.find(manifest) is not None:
            return f"{name}:v{version.number}", {entry.path for entry in root.manifests.entries(manifest)}
    return None, set()
