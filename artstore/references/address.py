"""Addresses: URIs that name a host, and what must not stand in them."""

from __future__ import annotations

from urllib.parse import urlsplit

from yarl import URL

from artstore.errors import Invalid


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
