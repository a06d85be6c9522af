"""Sound: whether an encoding of a manifest is what it says, wherever it came from.

It satisfies a name if what it decodes to hashes to that. Its paths are held to the rules for paths that are given here:
no way leads out of a folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence

from artstore.errors import ArtstoreError, Corrupt
from artstore.model.manifest import (
    Encoding,
    Entry,
    apply,
    blob_of,
    decode_difference,
    decode_full,
    digest_of_lines,
    satisfies,
)
from artstore.model.paths import entry_path, find_collisions
from artstore.storage.root import Root


def is_sound(root: Root, encoding: Encoding, beside: Container[str]) -> bool:
    """Whether an encoding is what it says, as far as that can be seen with the manifests that are here.

    What is a difference to one that is neither here nor `beside` it, by its digest, is not.
    """
    try:
        if encoding.base is not None and root.manifests.find(encoding.base) is None:
            # Its bytes have a checksum, and how many entries it comes to is known where the manifest itself is here.
            decode_difference(encoding)
            is_here = root.manifests.find(encoding.digest) is not None
            counts = not is_here or root.manifests.get(encoding.digest).entries == encoding.entries
            return counts and str(encoding.base) in beside
        entries_of(root, encoding)
    except ArtstoreError:
        return False
    return encoding.base is not None or satisfies(encoding)


def entries_of(root: Root, encoding: Encoding) -> list[Entry]:
    """What an encoding decodes to, with the base that is here. That a full one hashes to its name `satisfies` says.

    Raises Corrupt (digest-mismatch, manifest-damaged), and Invalid for a path that nobody may give.
    """
    if encoding.base is None:
        entries = list(decode_full(encoding))
    else:
        entries = list(apply(root.manifests.entries(encoding.base), decode_difference(encoding)))
        if digest_of_lines(entry.line() for entry in entries) != encoding.digest:
            message = "it decodes to another one"
            raise Corrupt(message, code="digest-mismatch")
    _check(entries, encoding)
    return entries


def _check(entries: Sequence[Entry], encoding: Encoding) -> None:
    paths = [entry.path for entry in entries]
    if len(paths) != encoding.entries or any(a >= b for a, b in itertools.pairwise(paths)):
        message = "its entries are not in order, or not as many as it says"
        raise Corrupt(message, code="manifest-damaged")
    for entry in entries:
        blob = blob_of(entry)
        if entry_path(entry.path) != entry.path or (blob is not None and blob.size < 0):
            message = f"it has the entry {entry.line()!r}"
            raise Corrupt(message, code="manifest-damaged")
    find_collisions(paths)
