"""Bring: the bytes that a bundle carries, and a store lacks, come in, each verified."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from artstore.errors import ArtstoreError, Corrupt
from artstore.lifecycle.progress import Progress, Tick
from artstore.model.digest import Digest
from artstore.storage.intake import Intake
from artstore.storage.root import Root
from artstore.storage.sessions import Session
from artstore.sync.bundle.archive import BundleReader
from artstore.sync.bundle.contents import blobs_in
from artstore.sync.bundle.patches import patches_in, take_patch
from artstore.sync.download import Wanted, download
from artstore.sync.reports import Moved

_AT_ONCE: Final = 5_000
"""Blobs that are settled together: what is settled stays where an apply is killed."""
_AT_ONCE_BYTES: Final = 256 << 20


def bring(
    root: Root,
    session: Session,
    reader: BundleReader,
    numbers: Iterable[int],
    *,
    left: Collection[Digest],
    progress: Progress | None,
) -> tuple[Moved, dict[Digest, ArtstoreError]]:
    """Take in the blobs that are not here, but for those `left` in it; answers what was said of damaged ones."""
    bad: dict[Digest, ArtstoreError] = {}
    lying: dict[Digest, Wanted] = {}
    patched: dict[Digest, str] = {}
    for number in numbers:
        lying.update(blobs_in(reader, number))
        patched.update(patches_in(reader, number))
    here = {*root.blobs.known([*lying, *patched]), *left}
    patched = {digest: name for digest, name in patched.items() if digest not in here}
    absent = [each for each in lying.values() if each.digest not in here]
    sizes = {each.digest: reader.size_of(each.name) if each.size is None else each.size for each in absent}
    done = size = 0
    with Intake(root, session) as intake:
        for some in _batches(absent, sizes):
            bad.update(download(reader, intake, some, None))
            intake.settle()
            came = [each for each in some if each.digest not in bad]
            done, size = done + len(came), size + sum(sizes[each.digest] for each in came)
            if progress is not None:
                progress(Tick("apply", done, size, len(absent), sum(sizes.values())))
        for digest, name in patched.items():
            # Where it cannot be made, what is missing is named later.
            try:
                made = take_patch(root, session, reader, intake, name=name, digest=digest)
            except Corrupt as error:
                bad[digest] = error
                continue
            if made is not None:
                intake.settle()
                done, size = done + 1, size + made
    return Moved(blobs=done, bytes=size), bad


def _batches(blobs: Sequence[Wanted], sizes: Mapping[Digest, int]) -> Iterator[list[Wanted]]:
    some: list[Wanted] = []
    size = 0
    for blob in blobs:
        some.append(blob)
        size += sizes[blob.digest]
        if len(some) >= _AT_ONCE or size >= _AT_ONCE_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
