"""Label: what a version is called, and what is said about it, checked before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from artstore.errors import Invalid
from artstore.lifecycle.commit import time_us
from artstore.model.names import LATEST, alias_name, collection_name, listed, project_name, run_id, tag_name, type_name

DEEPEST: Final = 64
"""Levels of metadata."""
LONGEST_TTL_S: Final = 1e11


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is called, and what is said about it."""

    project: str
    name: str
    type: str
    aliases: list[str]
    description: str | None
    metadata: dict[str, Any]
    ttl_s: float | None
    run: str | None
    tags: list[str]
    created_us: int | None
    """When it was made, if not now."""

    @classmethod
    def checked(
        cls,
        *,
        project: str,
        name: str,
        type: str,
        aliases: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl_s: float | None = None,
        run: str | None = None,
        tags: Sequence[str] = (),
        created_at: float | None = None,
    ) -> Label:
        """Parse at the border.

        Raises Invalid (bad-name, -type, -alias, -description, -metadata, -ttl, -run-id, -tag, -time).
        """
        check_ttl(ttl_s)
        return cls(
            project=project_name(project),
            name=collection_name(name),
            type=type_name(type),
            aliases=[alias for alias in dict.fromkeys(map(alias_name, listed(aliases, "alias"))) if alias != LATEST],
            description=checked_text(description),
            metadata=checked_metadata(metadata or {}),
            ttl_s=ttl_s,
            run=None if run is None else run_id(run),
            tags=list(dict.fromkeys(map(tag_name, listed(tags, "tag")))),
            created_us=None if created_at is None else time_us(created_at),
        )


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy through JSON.

    Raises Invalid (bad-metadata) for what JSON cannot say, and for more than DEEPEST levels: what this process can
    write another one, with less stack left, could not read, and the log with it.
    """
    try:
        # Through bytes, since a log has no place for text that is not Unicode.
        copied = json.loads(json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the metadata is not JSON: {error}"
        raise Invalid(message, code="bad-metadata") from error
    assert isinstance(copied, dict)
    check_depth(copied)
    return copied


def check_depth(metadata: Mapping[str, Any]) -> None:
    """Raise Invalid (bad-metadata) for what has more than DEEPEST levels: whoever shows it walks down them."""
    level: list[Any] = [metadata]
    for _ in range(DEEPEST):
        level = [value for each in level for value in (each.values() if isinstance(each, dict) else each)]
        level = [value for value in level if isinstance(value, dict | list)]
    if level:
        message = f"the metadata are nested deeper than {DEEPEST} levels: flatten them"
        raise Invalid(message, code="bad-metadata")


def checked_text(text: str | None) -> str | None:
    """The text of a description, if it can be written. Raises Invalid (bad-description)."""
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        message = f"the description is not valid UTF-8: {error.object[error.start : error.end]!a}"
        raise Invalid(message, code="bad-description") from error
    return text


def check_ttl(ttl_s: float | None) -> None:
    """Raise Invalid (bad-ttl) for a time to live that is none."""
    if ttl_s is not None and not 0 < ttl_s < LONGEST_TTL_S:
        message = (
            f"a time to live of {ttl_s:g} s is not one: give more than 0 s, less than {LONGEST_TTL_S:g} s, or none"
        )
        raise Invalid(message, code="bad-ttl")
