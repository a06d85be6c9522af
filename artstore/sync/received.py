"""Received: manifests that came from elsewhere are checked before anything here says that they are there.

An encoding satisfies a name if what it decodes to hashes to it. Its paths are held to the rules for paths that are
given here: no way leads out of a folder.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence

from artstore.errors import ArtstoreError, Corrupt
from artstore.lifecycle.replay import take_attachments, take_full
from artstore.model.digest import Digest
from artstore.model.manifest import (
    Encoding,
    Entry,
    apply,
    blob_of,
    decode_difference,
    decode_full,
    digest_of_lines,
    encode_full,
    satisfies,
)
from artstore.model.paths import entry_path, find_collisions
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.sync.protocol import corrupt

Instead = Callable[[Digest], Encoding | None]
"""Asks a place that knows for a manifest whose base is nowhere; None where no version there needs it any more."""
Find = Callable[[Digest], Sequence[Encoding]]
"""Asks the remote for an object that has a manifest; empty if none has."""


def take_each(
    root: Root, where: str, encodings: Sequence[Encoding], find: Find, said: ArtstoreError | None = None
) -> tuple[list[Encoding], ArtstoreError | None]:
    """As `take_manifests`; one that is not what it should be holds up no other.

    With what was said of the first such, or before.
    """
    try:
        return take_manifests(root, where, encodings, find), said
    except Corrupt as error:
        said = said or error
    taken: dict[Digest, Encoding] = {}
    for encoding in encodings:
        with contextlib.suppress(Corrupt):
            taken.update((each.digest, each) for each in take_manifests(root, where, [encoding], find))
    return list(taken.values()), said


def take_manifests(
    root: Root, where: str, encodings: Sequence[Encoding], find: Find, instead: Instead | None = None
) -> list[Encoding]:
    """Make rows of manifests that came, each after its base; answers what the journal has to carry of them.

    One whose base is nowhere comes by `instead`, or is passed over where no version needs it any more. Raises Corrupt
    (remote-corrupt) where one is not what it should be, or its base is nowhere and nobody can be asked.
    """
    by_digest = {encoding.digest: encoding for encoding in encodings}
    taken: dict[Digest, Encoding] = {}

    def take(encoding: Encoding) -> None:
        # A chain of bases is as long as a log at most, so it is not walked by recursion.
        chain = [encoding]
        while (base := chain[-1].base) is not None and base not in taken and root.manifests.find(base) is None:
            found = by_digest.get(base) or next((each for each in find(base) if each.digest == base), None)
            if found is not None and found not in chain:
                chain.append(found)
            elif instead is None:
                raise corrupt(f"{where} has manifest {chain[-1].digest} as a difference to {base}, which is nowhere")
            else:
                chain = _without_base(chain, instead)
                if not chain:
                    return
        for each in reversed(chain):
            if each.digest not in taken:
                taken[each.digest] = _take(root, where, each, taken)

    for encoding in encodings:
        take(encoding)
    return list(taken.values())


def _without_base(chain: list[Encoding], instead: Instead) -> list[Encoding]:
    """A chain from what is wanted to the first of its bases that can be had whole; empty where none is needed."""
    for length in range(len(chain), 0, -1):
        whole = instead(chain[length - 1].digest)
        if whole is not None:
            return [*chain[: length - 1], whole]
    return []


def is_sound(root: Root, encoding: Encoding) -> bool:
    """Whether an encoding is what it says, as far as that can be seen with the manifests that are here."""
    if encoding.base is not None and root.manifests.find(encoding.base) is None:
        return True
    try:
        _check(_entries(root, encoding), encoding)
    except ArtstoreError:
        return False
    return encoding.base is not None or satisfies(encoding)


def _take(root: Root, where: str, encoding: Encoding, taken: dict[Digest, Encoding]) -> Encoding:
    here = root.manifests.find(encoding.digest)
    try:
        if here is not None and encoding.base is None and here.entries == encoding.entries and satisfies(encoding):
            # It was checked when it came.
            return encoding
        entries = _entries(root, encoding)
        _check(entries, encoding)
    except ArtstoreError as error:
        raise corrupt(f"manifest {encoding.digest} of {where} cannot be taken: {error.message}") from error
    if here is None and encoding.base is None:
        take_full(root, encoding.digest, entries)
    elif here is None:
        take_attachments(root, Attachments(manifests=[encoding]))
    if encoding.base is None or encoding.base in taken:
        return encoding
    # What this journal holds of the base may be left out of it one day, with the last version that named it.
    return encode_full(encoding.digest, (entry.line() for entry in entries))


def _entries(root: Root, encoding: Encoding) -> list[Entry]:
    if encoding.base is None:
        return list(decode_full(encoding))
    entries = list(apply(root.manifests.entries(encoding.base), decode_difference(encoding)))
    if digest_of_lines(entry.line() for entry in entries) != encoding.digest:
        message = "it decodes to another one"
        raise Corrupt(message, code="digest-mismatch")
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
