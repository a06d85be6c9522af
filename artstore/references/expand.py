"""Expand: which entries a URI stands for."""

from __future__ import annotations

from typing import Final

import msgspec

from artstore.errors import Invalid, PathCollision
from artstore.model.manifest import ReferenceEntry, reference
from artstore.model.paths import entry_path, quoted
from artstore.references.families import family_of
from artstore.references.wanted import MAX_OBJECTS, Wanted, scheme_of
from artstore.references.warning import warn

_NAMED: Final = 3


def expand(
    uri: str,
    *,
    name: str | None = None,
    checksum: bool = True,
    max_objects: int = MAX_OBJECTS,
) -> list[ReferenceEntry]:
    """The entries that a URI stands for: one for an object, one for each object below a folder or a prefix.

    `name` is the path of a single object, and the folder of several; without it an object has the last name of its URI,
    and several the names that they have below theirs. Without `checksum` the present state is not asked for, and not
    compared when it is fetched: whatever stands there then is taken. A URI of a scheme that is not known here becomes
    an entry of this `name`, that cannot be fetched; a warning says so, as for a target whose state cannot be told.

    Raises Invalid (bad-reference, bad-path, name-missing, too-many-objects, credentials-in-uri), PathCollision,
    ReferenceMissing, Refused (reference-refused), Unreachable, and NotFound (extra-missing) where the scheme needs a
    library that is not installed.
    """
    scheme = scheme_of(uri)
    if max_objects < 1:
        message = f"max_objects is {max_objects}: a reference stands for one object at least"
        raise Invalid(message, code="bad-reference")
    wanted = Wanted(uri, name, checksum, max_objects)
    family = family_of(uri)
    entries = [_untracked(wanted, scheme)] if family is None else family.expand(wanted)
    return _with_paths(uri, entries)


def _untracked(wanted: Wanted, scheme: str) -> ReferenceEntry:
    if wanted.name is None:
        message = f"nothing here knows {scheme}://, so the entry for {wanted.uri!r} needs a name"
        raise Invalid(message, code="name-missing")
    warn(f"nothing here knows {scheme}://: {wanted.uri!r} is recorded as it is, and cannot be fetched")
    return reference(wanted.name, wanted.uri, checksum=wanted.uri, size=None, extra={})


def _with_paths(uri: str, entries: list[ReferenceEntry]) -> list[ReferenceEntry]:
    """The entries with their paths in normal form, sorted; object names are other people's input."""
    normal = [msgspec.structs.replace(entry, path=entry_path(entry.path)) for entry in entries]
    by_path: dict[str, ReferenceEntry] = {}
    twins = [entry.path for entry in normal if by_path.setdefault(entry.path, entry) is not entry]
    if twins:
        named = ", ".join(map(quoted, twins[:_NAMED]))
        message = f"{uri!r} has several objects for one path: {named}. Reference them one by one, by other names"
        raise PathCollision(message, code="path-taken")
    return [by_path[path] for path in sorted(by_path)]
