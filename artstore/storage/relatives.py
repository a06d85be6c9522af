"""Relatives: what stood at the place of a blob in other versions, of which it may be a changed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from artstore.errors import NotFound
from artstore.model.digest import Digest
from artstore.model.manifest import blob_of
from artstore.storage.root import Root

_NEAREST: Final = 8
"""Versions that are looked at, to either side."""
_LOOKUP: Final = 5_000
# There is no index on the blob: it would cost each put more than this one walk costs here.
_NAMED: Final = """
SELECT DISTINCT blob.digest, path.path, project, collection, number FROM entry
JOIN blob ON blob.id = entry.blob JOIN path ON path.id = entry.path JOIN manifest ON manifest.id = entry.manifest
JOIN version ON version.manifest = manifest.digest
WHERE deleted = 0 AND entry.blob IN (SELECT id FROM blob WHERE digest IN ({marks})) ORDER BY number
"""
_NEAR: Final = "SELECT manifest FROM version WHERE project = ? AND collection = ? AND deleted = 0 AND "
_BEFORE: Final = _NEAR + "number < ? ORDER BY number DESC LIMIT ?"
_BEHIND: Final = _NEAR + "number > ? ORDER BY number LIMIT ?"


def relatives(root: Root, digests: Sequence[Digest]) -> dict[Digest, list[Digest]]:
    """Of each blob that a version names, those at its path in versions nearby: earlier ones first, then the nearest.

    They may be here or not.
    """
    found: dict[Digest, list[Digest]] = {digest: [] for digest in digests}
    for start in range(0, len(digests), _LOOKUP):
        some = digests[start : start + _LOOKUP]
        sql = _NAMED.format(marks=",".join("?" * len(some)))
        for raw, path, project, collection, number in root.catalog.rows(sql, tuple(some)):
            near = [
                Digest(manifest)
                for sql in (_BEFORE, _BEHIND)
                for (manifest,) in root.catalog.rows(sql, (project, collection, number, _NEAREST))
            ]
            others = (_at(root, manifest, path) for manifest in near)
            found[Digest(raw)] += [other for other in others if other is not None and other != raw]
    return {digest: list(dict.fromkeys(others)) for digest, others in found.items()}


def _at(root: Root, manifest: Digest, path: str) -> Digest | None:
    if root.manifests.find(manifest) is None:
        return None
    try:
        blob = blob_of(root.manifests.entry(manifest, path))
    except NotFound:
        return None
    return None if blob is None else blob.digest
