"""Received: manifests that came from elsewhere are checked before anything here says that they are there.

What is checked of each, `lifecycle.sound` says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from artstore.errors import ArtstoreError, Corrupt
from artstore.lifecycle.replay import take_attachments, take_full
from artstore.lifecycle.sound import entries_of
from artstore.model.digest import Digest
from artstore.model.manifest import Encoding, encode_full, satisfies
from artstore.storage.oplog import Attachments
from artstore.storage.root import Root
from artstore.sync.lengths import why_swelling
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


def _take(root: Root, where: str, encoding: Encoding, taken: dict[Digest, Encoding]) -> Encoding:
    here = root.manifests.find(encoding.digest)
    try:
        if here is not None and encoding.base is None and here.entries == encoding.entries and satisfies(encoding):
            # It was checked when it came.
            return encoding
        if (why := why_swelling(encoding)) is not None:
            message = f"stores take {why}"
            raise Corrupt(message, code="manifest-damaged")
        entries = entries_of(root, encoding)
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
