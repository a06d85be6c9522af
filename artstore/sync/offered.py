"""Offered: what waits in another store is looked at as a whole before anything of it is taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from artstore.lifecycle.upstream import foreseen
from artstore.model.digest import Digest
from artstore.model.records import brings, decode_op, manifest_of
from artstore.storage.journal import Journal
from artstore.storage.root import Root


def new_ops(root: Root, project: str, bodies: Iterable[bytes]) -> list[bytes]:
    """Those of some ops that were never here."""
    found = root.catalog.project(project)
    journal = None if found is None else Journal(root.catalog, found)
    return [body for body in bodies if journal is None or not journal.has(str(Digest.of(body)))]


def holes(root: Root, project: str, offers: Sequence[bytes], slots: Iterable[bytes] = ()) -> list[Digest]:
    """Lists of files that are not here, of versions and parts that would be there without them.

    As far as the offers bring them, if these were taken, behind some slots of the log.
    """
    lists: dict[str, Digest] = {}
    for body in new_ops(root, project, offers):
        op = decode_op(body)
        named, id_ = manifest_of(op), brings(str(Digest.of(body)), op)
        if named is not None and id_ is not None and root.manifests.find(digest := Digest.parse(named)) is None:
            lists[id_] = digest
    # What was deleted since travels without, so it may well be that none is missed.
    there = foreseen(root, project, itertools.chain(slots, offers), lists) if lists else set()
    return list(dict.fromkeys(digest for id_, digest in lists.items() if id_ in there))
