"""What is wanted of a URI: parsed at the border, before any request."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from artstore.errors import Invalid

MAX_OBJECTS: Final = 10_000
"""Objects that one URI may stand for, unless the caller says more."""

HOST_OF_AZURE: Final = ".blob.core.windows.net"
"""How the hosts end whose addresses are those of blobs."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")


class Wanted(msgspec.Struct, frozen=True):
    """A URI to be expanded, and how."""

    uri: str
    name: str | None
    """The path of a single object, the folder of several; None: their own names."""
    checksum: bool
    """Whether the present state is asked for, and later compared."""
    max_objects: int

    def below(self, relative: str) -> str:
        """The path of one of several objects."""
        return relative if self.name is None else f"{self.name.rstrip('/')}/{relative}"

    def check_count(self, count: int) -> None:
        """Raise Invalid (too-many-objects) where the URI stands for more objects than the caller wants."""
        if count > self.max_objects:
            message = (
                f"{self.uri!r} stands for more than {self.max_objects:,} objects: name a smaller part, or allow "
                "more with max_objects"
            )
            raise Invalid(message, code="too-many-objects")


def scheme_of(uri: str) -> str:
    """The scheme of a URI, in lower case. Raises Invalid (bad-reference) for what is no URI."""
    found = _SCHEME.match(uri)
    if found is None:
        message = f"{uri!r} is not a URI: it has no scheme; write file:// before a path of this machine"
        raise Invalid(message, code="bad-reference")
    return found[1].lower()
