"""Lengths: how long a list of files may be that comes from elsewhere.

A few KB can say that millions of files follow, and each takes memory and a row wherever the list is read. So a server
takes none that is very long, and nobody one that is very long and comes of few bytes.
"""

from __future__ import annotations

from typing import Final

from artstore.model.manifest import Encoding, measure

LONGEST_MANIFESTS: Final = 256 << 20
MOST_ENTRIES: Final = 2_000_000
"""Of one manifest. A few KB can say that millions follow, and each takes memory and a row wherever it is read."""
LONGEST_LINES: Final = 512 << 20
"""Bytes of the lines of one manifest."""
MOST_TIMES: Final = 32
"""How many times its own bytes a list may hold that is longer. Digests do not compress: of different files it is 3 to
5, of references with checksums 5, and 16 to 25 without. Of the same file, again and again, it is 100."""
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


def why_swelling(encoding: Encoding) -> str | None:
    """What the lists of files keep to that anybody takes, where this one does not, found before it is kept.

    Raises Corrupt (manifest-damaged).
    """
    lines = size = 0
    for length in measure(encoding):
        lines, size = lines + 1, size + length + 1
        if encoding.base is None and lines > encoding.entries + 1:
            return f"no version of {encoding.entries} files that has more"
        if (lines > MOST_ENTRIES + 1 or size > LONGEST_LINES) and size > MOST_TIMES * len(encoding.data):
            return f"no version of more than {MOST_ENTRIES} files where so many are the same"
    return None
