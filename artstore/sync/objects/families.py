"""Families: which module knows a scheme."""

from __future__ import annotations

from importlib import import_module
from typing import Final, Protocol, cast

from artstore.errors import Invalid, NotFound
from artstore.sync.objects.interface import Objects

FAMILIES: Final = {"file": "folder", "s3": "s3", "gs": "gs", "sftp": "sftp"}
"""Scheme to module; the extra of the scheme's name brings what the module needs besides."""


class Family(Protocol):
    """What a module of this folder offers."""

    def at(self, url: str) -> Objects:
        """The objects at a URL of its scheme. Raises Invalid (bad-url)."""


def open_objects(url: str) -> Objects:
    """The objects at a URL; the place is not asked for anything yet.

    Raises Invalid (unknown-scheme, password-in-url, bad-url) and NotFound (extra-missing).
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in FAMILIES or not rest:
        schemes = ", ".join(f"{each}://" for each in FAMILIES)
        message = (
            f"{_without_password(url)!r} is no remote that artstore knows: it begins with {schemes}, or https:// for a "
            "server"
        )
        raise Invalid(message, code="unknown-scheme")
    if _without_password(url) != url:
        message = (
            f"{_without_password(url)!r} was given with a password, which would be kept with the remote: leave it out, "
            "and give it where the scheme's own tools look for it"
        )
        raise Invalid(message, code="password-in-url")
    try:
        family = cast("Family", import_module(f"artstore.sync.objects.{FAMILIES[scheme]}"))
    except ModuleNotFoundError as error:
        message = f"{scheme}:// remotes need {error.name}, which is not installed: pip install 'artstore[{scheme}]'"
        raise NotFound(message, code="extra-missing") from error
    return family.at(f"{scheme}://{rest}")


def _without_password(url: str) -> str:
    scheme, there, rest = url.partition("://")
    authority = rest.partition("/")[0]
    user, at, host = authority.rpartition("@")
    if ":" not in user:
        return url
    return f"{scheme}{there}{user.partition(':')[0]}{at}{host}{rest[len(authority) :]}"
