"""What is wanted of a URI: parsed at the border, before any request."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec
from yarl import URL

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


def last_name(uri: str) -> str:
    """What stands behind the last slash of a URI's path, query included.

    Raises Invalid (name-missing) if nothing does.
    """
    parts = urlsplit(uri)
    name = parts.path.rpartition("/")[2]
    if not name:
        message = f"{uri!r} has no last name to call the entry by: give it a name"
        raise Invalid(message, code="name-missing")
    return f"{name}?{parts.query}" if parts.query else name


def check_address(uri: str) -> None:
    """Raise Invalid for what is no address (bad-reference) and for one with a user in it (credentials-in-uri).

    What is recorded is kept for ever, and a password with it.
    """
    try:
        address = URL(uri)
        host = address.host
    except ValueError as error:
        message = f"{uri!r} is no address: {error}"
        raise Invalid(message, code="bad-reference") from error
    if not host:
        message = f"{uri!r} names no host"
        raise Invalid(message, code="bad-reference")
    if address.user is not None or address.password is not None:
        message = (
            f"the {address.scheme}:// URI holds a user or a password, and would be kept for ever: leave it out, and "
            "configure credentials where the scheme's library looks for them"
        )
        raise Invalid(message, code="credentials-in-uri")
