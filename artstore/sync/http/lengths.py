"""Lengths: how long a list of files may be that goes to a server.

A few KB can say that millions of files follow, and each takes memory and a row wherever the list is read.
"""

from __future__ import annotations

from typing import Final

from artstore.model.manifest import Encoding, measure
from artstore.sync.http.wire import LONGEST_LINES, LONGEST_MANIFESTS, MOST_ENTRIES

_HEAD: Final = 1 << 10
"""What stands around a list in a body, with room to spare."""


def why_too_long(encoding: Encoding) -> str | None:
    """What the lists of files keep to that a server takes, where this one does not, found before it is read.

    Raises Corrupt (manifest-damaged).
    """
    lines = size = 0
    if encoding.entries > MOST_ENTRIES:
        return f"versions of at most {MOST_ENTRIES} files, and one has {encoding.entries}"
    if len(encoding.data) + _HEAD > LONGEST_MANIFESTS:
        return f"lists of files of at most {LONGEST_MANIFESTS} bytes, and one has {len(encoding.data)} when compressed"
    for length in measure(encoding):
        lines, size = lines + 1, size + length
        # A difference has a line for what went, too; the full form has one that says what it is.
        if lines > 2 * MOST_ENTRIES:
            return f"versions of at most {MOST_ENTRIES} files, and one has more than it says"
        if size > LONGEST_LINES:
            return f"versions whose paths, digests and addresses have at most {LONGEST_LINES} bytes, and one has more"
    return None
