"""S3: objects of Amazon's service, and of what speaks as it does, `s3://BUCKET/KEY`; through s3fs.

Where a bucket keeps versions the recorded one is fetched. Elsewhere, and where the bucket was given none yet, an object
is fetched on condition that its ETag is the recorded one; if it is not, an older version that has it will do.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Iterator
from typing import Any

import aiohttp
import fsspec
from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

from artstore.errors import ArtstoreError, Invalid, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.objects import Found, Place, expand_in, lost
from artstore.references.streaming import blocks_of
from artstore.references.wanted import Wanted

_URI = re.compile(r"s3a?://([^/@?#]+)(?:/(.*))?\Z", re.IGNORECASE | re.DOTALL)
_VERSION = re.compile(r"\?versionId=([^?&#]+)\Z")
_FOLDER = "application/x-directory"
_NO_SUCH = frozenset({"404", "405", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "MethodNotAllowed"})
_OTHER_STATE = frozenset({"412", "PreconditionFailed"})


def expand(wanted: Wanted) -> list[ReferenceEntry]:
    """An object, or the objects of a prefix; `?versionId=` behind a key means that version."""
    version = _VERSION.search(wanted.uri)
    name, key = _parts(wanted.uri[: version.start()] if version else wanted.uri)
    with _told(wanted.uri):
        return expand_in(_Bucket(name), Place(key, version[1] if version else None), wanted)


def fetch(entry: ReferenceEntry) -> Generator[bytes, None, None]:
    """The object in the state that was recorded; where none was, in its present one."""
    name, key = _parts(entry.uri)
    with _told(entry.uri):
        bucket = _Bucket(name)
        body = bucket.get(entry, key)["Body"]
        try:
            yield from blocks_of(body.read)
        finally:
            bucket.system.loop.call_soon_threadsafe(body.close)


class _Bucket:
    """A bucket, as s3fs was configured to reach it."""

    def __init__(self, name: str) -> None:
        self.system = fsspec.filesystem("s3", use_listings_cache=False)
        self._name = name

    def uri(self, key: str) -> str:
        return f"s3://{self._name}/{key}"

    def look(self, key: str, version: str | None) -> Found | None:
        options = {} if version is None else {"VersionId": version}
        try:
            head = self.system.call_s3("head_object", Bucket=self._name, Key=key, **options)
        except OSError as error:
            if _code(error) in _NO_SUCH:
                return None
            raise
        return Found(
            key,
            head["ETag"].strip('"'),
            head["ContentLength"],
            _kept(head.get("VersionId")),
            is_folder=head.get("ContentType", "").startswith(_FOLDER),
        )

    def below(self, prefix: str) -> Iterator[Found]:
        if not self._keeps_versions():
            for each in self._pages("list_objects_v2", "Contents", prefix):
                yield Found(each["Key"], each["ETag"].strip('"'), each["Size"], None)
            return
        for each in self._pages("list_object_versions", "Versions", prefix):
            if each["IsLatest"]:
                yield Found(each["Key"], each["ETag"].strip('"'), each["Size"], _kept(each["VersionId"]))

    def get(self, entry: ReferenceEntry, key: str) -> Any:
        """The answer that has the recorded state as its body."""
        version = json.loads(entry.extra).get("versionID")
        is_tracked = entry.checksum != entry.uri
        condition = {"VersionId": version} if version else {"IfMatch": f'"{entry.checksum}"'} if is_tracked else {}
        answer = self._answer(entry, key, condition)
        if answer is None and is_tracked and (older := self._older(entry, key)):
            answer = self._answer(entry, key, {"VersionId": older})
        if answer is None:
            raise lost(entry, is_there=self.look(key, None) is not None)
        return answer

    def _answer(self, entry: ReferenceEntry, key: str, condition: dict[str, str]) -> Any | None:
        """The object, if the condition is met; None where it is not, or is met by another state."""
        try:
            answer = self.system.call_s3("get_object", Bucket=self._name, Key=key, **condition)
        except OSError as error:
            if _code(error) not in _NO_SUCH | _OTHER_STATE:
                raise
            return None
        # Not every service knows the conditions.
        if entry.checksum in {entry.uri, answer["ETag"].strip('"')}:
            return answer
        self.system.loop.call_soon_threadsafe(answer["Body"].close)
        return None

    def _older(self, entry: ReferenceEntry, key: str) -> str | None:
        """A version of the object that has the recorded state."""
        with contextlib.suppress(OSError):
            # Not every service keeps versions, and not everybody may list them.
            for each in self._pages("list_object_versions", "Versions", key):
                is_same = each["ETag"].strip('"') == entry.checksum and each["Size"] == entry.size
                if each["Key"] == key and is_same:
                    return str(each["VersionId"])
                if each["Key"] > key:
                    break
        return None

    def _keeps_versions(self) -> bool:
        try:
            status = self.system.call_s3("get_bucket_versioning", Bucket=self._name).get("Status")
        except OSError:
            # Not every service has this question, and not everybody may ask it: then ETags have to do.
            return False
        return status in {"Enabled", "Suspended"}

    def _pages(self, method: str, what: str, prefix: str) -> Iterator[dict[str, Any]]:
        marker: dict[str, str] = {}
        while True:
            page = self.system.call_s3(method, Bucket=self._name, Prefix=prefix, **marker)
            yield from page.get(what, ())
            if not page.get("IsTruncated"):
                return
            if "NextContinuationToken" in page:
                marker = {"ContinuationToken": page["NextContinuationToken"]}
            else:
                marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}


def _parts(uri: str) -> tuple[str, str]:
    found = _URI.match(uri)
    if found is None:
        message = f"{uri!r} names no bucket: write s3://BUCKET/KEY, without a user or a password"
        raise Invalid(message, code="bad-reference")
    return found[1], found[2] or ""


def _kept(version: str | None) -> str | None:
    return None if version in {None, "", "null"} else version


def _code(error: OSError) -> str:
    """The service's own word for what s3fs turned into an error of Python's."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what s3fs and its libraries raise into an error that a caller can act on."""
    try:
        yield
    except ArtstoreError:
        raise
    except (PermissionError, NoCredentialsError, PartialCredentialsError) as error:
        message = f"{uri!r} is refused: {error}. Give credentials as for any tool of AWS, or anon to s3fs"
        raise Refused(message, code="reference-refused") from error
    except FileNotFoundError as error:
        message = f"{uri!r} is not there: {error}"
        raise ReferenceMissing(message, code="reference-missing") from error
    except (OSError, BotoCoreError, aiohttp.ClientError, TimeoutError) as error:
        message = f"{uri!r} cannot be reached: {str(error) or type(error).__name__}"
        raise Unreachable(message, code="reference-unreachable") from error
