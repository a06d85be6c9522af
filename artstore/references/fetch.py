"""Fetch: the bytes that a reference stands for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from hashlib import md5

from artstore.errors import Invalid, ReferenceChanged, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.model.paths import quoted
from artstore.references.families import family_of
from artstore.references.wanted import scheme_of


def fetch(entry: ReferenceEntry) -> Generator[bytes, None, None]:
    """The bytes that an entry stands for, in blocks; valid once the last was taken and nothing was raised.

    Raises ReferenceMissing where they are gone, ReferenceChanged where others stand in their place, Refused
    (reference-refused), Unreachable (reference-unreachable, reference-cut-short), Invalid (unknown-scheme), and
    NotFound (extra-missing). The error may come after the last block, so whoever writes the bytes somewhere gives them
    their name only then.
    """
    family = family_of(entry.uri)
    if family is None:
        message = f"{quoted(entry.path)} is at {entry.uri!r}, and nothing here can fetch {scheme_of(entry.uri)}://"
        raise Invalid(message, code="unknown-scheme")
    told = json.loads(entry.extra).get("md5")
    hasher = md5(usedforsecurity=False)
    size = 0
    with contextlib.closing(family.fetch(entry)) as blocks:
        for block in blocks:
            size += len(block)
            if entry.size is not None and size > entry.size:
                message = f"{entry.uri!r} is longer than the {entry.size:,} bytes it had: it was changed"
                raise ReferenceChanged(message, code="reference-changed")
            if told is not None:
                hasher.update(block)
            yield block
    if entry.size is not None and size < entry.size:
        message = f"{entry.uri!r} ended after {size:,} of {entry.size:,} bytes: repeat it, unless it was cut there"
        raise Unreachable(message, code="reference-cut-short")
    if told is not None and hasher.hexdigest() != told:
        message = f"{entry.uri!r} gave bytes with another MD5 than its owner told: repeat it"
        raise ReferenceChanged(message, code="reference-changed")
