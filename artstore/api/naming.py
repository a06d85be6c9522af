"""Naming: which names, types, aliases and tags an artifact may have.

The rules are W&B's where artstore's own (`artstore.model.names`) do not say more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from artstore.api.late import Late
from artstore.errors import Invalid, WrongType

if TYPE_CHECKING:
    from artstore.model import names
else:
    names = Late("artstore.model.names")

_NOT_SAFE = re.compile(r"[^A-Za-z0-9_.-]")
_RESERVED: Final = (("run_table", "run-"), ("code", "source-"))
"""Types whose artifacts of these names W&B makes itself."""


def checked_name(name: object, type: object) -> tuple[str, str]:
    """The name and the type, if an artifact may be called so. Raises Invalid (bad-name, bad-type)."""
    if not isinstance(name, str) or not isinstance(type, str):
        message = f"an artifact's name and type are text, not {name!r} and {type!r}"
        raise WrongType(message, code="bad-name")
    for reserved, prefix in _RESERVED:
        if type == reserved and name.startswith(prefix):
            message = f"artifacts of type {type!r} whose names begin with {prefix!r} are W&B's own: choose another name"
            raise Invalid(message, code="bad-name")
    return names.collection_name(name), names.type_name(type)


def safe_name(text: str) -> str:
    """A name that is made of any text."""
    name = _NOT_SAFE.sub("_", text)[:128]
    return name if name and name[0] not in "-." else f"_{name[:127]}"


def checked_aliases(aliases: object) -> list[str]:
    """Aliases, given as one or as several, `latest` among them at most once. Raises Invalid (bad-alias)."""
    return [names.alias_name(alias) for alias in dict.fromkeys(_texts(aliases, "aliases"))]


def checked_tags(tags: object) -> list[str]:
    """Tags, given as one or as several, each once and in order. Raises Invalid (bad-tag)."""
    return [names.tag_name(tag) for tag in dict.fromkeys(_texts(tags, "tags"))]


def without_latest(aliases: Iterable[str]) -> list[str]:
    """The aliases that are moved by hand; `latest` follows the last version by itself."""
    return [alias for alias in aliases if alias != names.LATEST]


def _texts(given: object, what: str) -> list[str]:
    if given is None:
        return []
    if isinstance(given, str):
        return [given]
    if isinstance(given, Iterable):
        found = list(given)
        if all(isinstance(each, str) for each in found):
            return found
    message = f"{what} are text or a list of texts, not {given!r}"
    raise WrongType(message, code="bad-alias" if what == "aliases" else "bad-tag")
