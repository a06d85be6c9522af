"""GS: objects of Google Cloud Storage, `gs://BUCKET/KEY`; through gcsfs.

Every state of an object has a generation, which is recorded and fetched, and nothing else: where the bucket keeps no
older ones, a changed object has the recorded one no more.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Generator, Iterator
from typing import Any, Final

import aiohttp
import requests
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError

from artstore.errors import ArtstoreError, Invalid, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.objects import Found, Place, expand_in, lost
from artstore.references.reachable import check_host, told_once
from artstore.references.wanted import Wanted

PART: Final = 16 << 20
"""Bytes of one request: each is repeated by itself where the network fails."""
_PAGE: Final = 1000

_URI = re.compile(r"gc?s://([^/@?#]+)(?:/(.*))?\Z", re.IGNORECASE | re.DOTALL)
_GENERATION = re.compile(r"#([0-9]+)\Z")
_NOT_ALLOWED: Final = frozenset({401, 403, "401", "403"})


def expand(wanted: Wanted) -> list[ReferenceEntry]:
    """An object, or the objects of a prefix; `#GENERATION` behind a key means that state."""
    generation = _GENERATION.search(wanted.uri)
    name, key = _parts(wanted.uri[: generation.start()] if generation else wanted.uri)
    with _told(wanted.uri):
        return expand_in(_Bucket(name, wanted.uri), Place(key, generation[1] if generation else None), wanted)


def fetch(entry: ReferenceEntry) -> Generator[bytes, None, None]:
    """The object in the generation that was recorded; where none was, in its present one."""
    name, key = _parts(entry.uri)
    with _told(entry.uri):
        bucket = _Bucket(name, entry.uri)
        found = bucket.look(key, json.loads(entry.extra).get("versionID"))
        if found is None or (entry.checksum not in {entry.uri, found.etag}):
            raise lost(entry, is_there=bucket.look(key, None) is not None)
        for start in range(0, found.size, PART):
            end = min(start + PART, found.size)
            yield bucket.system.cat_file(f"{name}/{key}", start=start, end=end, generation=found.version)


class _Bucket:
    """A bucket, as gcsfs was configured to reach it."""

    def __init__(self, name: str, asked: str) -> None:
        # As nobody: to find out who the user is, gcsfs would ask the network already.
        check_host(asked, GCSFileSystem(use_listings_cache=False, token="anon").base)  # noqa: S106 - the word for no token
        # Not what the package registers: that asks by gRPC first, which hangs where only HTTP is answered.
        self.system: Any = GCSFileSystem(use_listings_cache=False)
        self._name = name

    def uri(self, key: str) -> str:
        return f"gs://{self._name}/{key}"

    def look(self, key: str, version: str | None) -> Found | None:
        options = {} if version is None else {"generation": version}
        try:
            told = self.system.call("GET", "b/{}/o/{}", self._name, key, json_out=True, **options)
        except FileNotFoundError:
            return None
        return _found(told)

    def below(self, prefix: str) -> Iterator[Found]:
        marker: dict[str, str] = {}
        while True:
            options = {"prefix": prefix, "maxResults": _PAGE, **marker}
            page = self.system.call("GET", "b/{}/o", self._name, json_out=True, **options)
            yield from map(_found, page.get("items", ()))
            if not page.get("nextPageToken"):
                return
            marker = {"pageToken": page["nextPageToken"]}


def _found(told: dict[str, Any]) -> Found:
    try:
        md5 = base64.b64decode(told["md5Hash"], validate=True).hex() if told.get("md5Hash") else None
    except binascii.Error:
        md5 = None
    return Found(told["name"], told["etag"].strip('"'), int(told["size"]), told["generation"], md5)


def _parts(uri: str) -> tuple[str, str]:
    found = _URI.match(uri)
    if found is None:
        message = f"{uri!r} names no bucket: write gs://BUCKET/KEY, without a user or a password"
        raise Invalid(message, code="bad-reference")
    return found[1], found[2] or ""


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what gcsfs and its libraries raise into an error that a caller can act on."""
    try:
        with told_once("gcsfs"):
            yield
    except ArtstoreError:
        raise
    except FileNotFoundError as error:
        message = f"{uri!r} is not there: {error}"
        raise ReferenceMissing(message, code="reference-missing") from error
    except (OSError, ValueError, HttpError, GoogleAuthError, aiohttp.ClientError, requests.RequestException) as error:
        told = str(error) or type(error).__name__
        is_refused = isinstance(error, GoogleAuthError) or getattr(error, "code", None) in _NOT_ALLOWED
        if is_refused or told.startswith("Forbidden"):
            message = f"{uri!r} is refused: {told}. Give credentials as for any tool of Google Cloud"
            raise Refused(message, code="reference-refused") from error
        message = f"{uri!r} cannot be reached: {told}"
        raise Unreachable(message, code="reference-unreachable") from error
