"""Objects: what a URI means in a store of objects, whoever runs it.

An object has a key, and a bucket has no folders: a key is one where an object of just this name is not there and others
have its name and a slash before theirs, or where it is marked as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from artstore.errors import Invalid, ReferenceChanged, ReferenceMissing
from artstore.model.manifest import ReferenceEntry, reference
from artstore.model.paths import quoted
from artstore.references.wanted import Wanted
from artstore.references.warning import warn


class Found(NamedTuple):
    """An object as its service tells of it."""

    key: str
    etag: str
    """Without quotes."""
    size: int
    version: str | None
    """None where the bucket keeps one state only."""
    md5: str | None = None
    """Of the content, 32 hex digits, where the service knows it."""
    is_folder: bool = False
    """Whether it is no more than a mark that a folder is there."""


class Bucket(Protocol):
    """A bucket, as one of the services has it."""

    def look(self, key: str, version: str | None) -> Found | None:
        """An object, in its present state if no other is named; None if it is not there."""

    def below(self, prefix: str) -> Iterator[Found]:
        """The objects whose keys begin so, in their present state; asked for as they are taken."""

    def uri(self, key: str) -> str:
        """The URI of an object, without a version."""


class Place(NamedTuple):
    """What a URI names in a bucket."""

    key: str
    version: str | None


def expand_in(bucket: Bucket, place: Place, wanted: Wanted) -> list[ReferenceEntry]:
    """One entry for an object, and one for each object below a folder, but for empty ones.

    Raises ReferenceMissing where there is neither, and Invalid (too-many-objects, name-missing).
    """
    key, version = place
    if not wanted.checksum:
        path = wanted.name or key
        if not path:
            message = f"{wanted.uri!r} is a whole bucket: without checksums it is one entry, which needs a name"
            raise Invalid(message, code="name-missing")
        uri = bucket.uri(key)
        extra = {} if version is None else {"versionID": version}
        return [reference(path, uri, checksum=uri, size=None, extra=extra)]
    if key and not key.endswith("/"):
        found = bucket.look(key, version)
        if found is not None and not found.is_folder:
            return [_entry(bucket, found, wanted.name or key.rpartition("/")[2])]
    if version is not None:
        message = f"{wanted.uri!r}: there is no such object, or no such version of it"
        raise ReferenceMissing(message, code="reference-missing")
    return _below(bucket, key, wanted)


def lost(entry: ReferenceEntry, *, is_there: bool) -> ReferenceMissing:
    """The error for an object whose recorded state its service has no more, whether or not it has another."""
    if is_there:
        message = f"{entry.uri!r} was changed, and its state with the ETag {entry.checksum!r} is not kept there"
        return ReferenceChanged(message, code="reference-changed")
    message = f"{entry.uri!r} is not there any more"
    return ReferenceMissing(message, code="reference-missing")


def _below(bucket: Bucket, key: str, wanted: Wanted) -> list[ReferenceEntry]:
    prefix = f"{key.rstrip('/')}/" if key else ""
    entries: list[ReferenceEntry] = []
    keys: list[str] = []
    empty: list[str] = []
    for found in bucket.below(prefix):
        keys.append(found.key)
        if found.is_folder or found.key.endswith("/"):
            continue
        if not found.size:
            empty.append(found.key)
            continue
        wanted.check_count(len(entries) + 1)
        entries.append(_entry(bucket, found, wanted.below(found.key[len(prefix) :])))
    if not keys:
        message = f"{wanted.uri!r}: there is no such object, and none below it"
        raise ReferenceMissing(message, code="reference-missing")
    if empty := sorted(set(empty) - set(_folders(keys))) if empty else []:
        count = f"{len(empty):,} empty object{'s' if len(empty) > 1 else ''}"
        such = quoted(empty[0])
        warn(f"left out below {wanted.uri!r}: {count}, such as {such}; reference it by itself if it matters")
    return entries


def _folders(keys: list[str]) -> Iterator[str]:
    """Every key that, with a slash behind it, begins another: an empty object of this name may be a mark alone."""
    for key in keys:
        above = key.rpartition("/")[0]
        while above:
            yield above
            above = above.rpartition("/")[0]


def _entry(bucket: Bucket, found: Found, path: str) -> ReferenceEntry:
    extra = {"etag": found.etag}
    if found.version is not None:
        extra["versionID"] = found.version
    if found.md5 is not None:
        extra["md5"] = found.md5
    return reference(path, bucket.uri(found.key), checksum=found.etag, size=found.size, extra=extra)
