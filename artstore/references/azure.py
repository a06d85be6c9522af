"""Azure: blobs of Azure's storage, `https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB`; through adlfs.

`az://CONTAINER/BLOB` and `abfs://CONTAINER/BLOB` are in the account that adlfs is configured for. A blob is fetched in
the recorded version, or on condition that its ETag is the recorded one; if it is not, a version that has it will do.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Final, NamedTuple

import fsspec
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from fsspec.asyn import get_loop, sync
from yarl import URL

from artstore.errors import ArtstoreError, Invalid, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.address import check_address
from artstore.references.objects import Found, Place, expand_in, lost
from artstore.references.reachable import check_host, told_once
from artstore.references.wanted import HOST_OF_AZURE, Wanted

_VERSION: Final = "versionid"
_NOT_ALLOWED: Final = frozenset({401, 403})
_SCOPE: Final = "https://storage.azure.com/.default"
"""What a token has to be good for."""


class _Address(NamedTuple):
    """What a URI names."""

    account: str | None
    container: str
    blob: str
    version: str | None


def expand(wanted: Wanted) -> list[ReferenceEntry]:
    """A blob, or the blobs of a prefix; `?versionid=` behind a name means that version."""
    address = _address(wanted.uri)
    with _told(wanted.uri):
        return expand_in(_Container(wanted.uri, address), Place(address.blob, address.version), wanted)


def fetch(entry: ReferenceEntry) -> Generator[bytes, None, None]:
    """The blob in the state that was recorded; where none was, in its present one."""
    address = _address(entry.uri)
    with _told(entry.uri):
        chunks = _Container(entry.uri, address).get(entry, address.blob)
        while (block := sync(get_loop(), anext, chunks, None)) is not None:
            yield block


class _Container:
    """A container, as adlfs was configured to reach it."""

    def __init__(self, uri: str, address: _Address) -> None:
        options = {} if address.account is None else {"account_name": address.account}
        try:
            system = fsspec.filesystem("abfs", use_listings_cache=False, **options)
        except ValueError as error:
            message = f"{uri!r} is in no account that is configured: {error}"
            raise Refused(message, code="reference-refused") from error
        service: Any = system.service_client
        if address.account not in {None, service.account_name}:
            message = f"{uri!r}: what is configured for Azure is for the account {service.account_name!r}"
            raise Refused(message, code="reference-refused")
        check_host(uri, service.url)
        _sign_in(system)
        self._container = service.get_container_client(address.container)
        self._base = (
            f"az://{address.container}/"
            if address.account is None
            else f"https://{address.account}{HOST_OF_AZURE}/{address.container}/"
        )
        self._is_address = address.account is not None

    def uri(self, key: str) -> str:
        return self._base + (URL.build(path=f"/{key}").raw_path.removeprefix("/") if self._is_address else key)

    def look(self, key: str, version: str | None) -> Found | None:
        blob = self._container.get_blob_client(key, version_id=version)
        try:
            return _found(sync(get_loop(), blob.get_blob_properties))
        except ResourceNotFoundError:
            return None

    def below(self, prefix: str) -> Iterator[Found]:
        for each in self._listed(prefix):
            yield _found(each)

    def get(self, entry: ReferenceEntry, key: str) -> AsyncIterator[bytes]:
        """What gives the recorded state, a part at a time."""
        version = json.loads(entry.extra).get("versionID")
        is_tracked = entry.checksum != entry.uri
        answer = self._answer(entry, key, version)
        if answer is None and is_tracked and (older := self._older(entry, key)):
            answer = self._answer(entry, key, older)
        if answer is None:
            raise lost(entry, is_there=self.look(key, None) is not None)
        return aiter(answer.chunks())

    def _answer(self, entry: ReferenceEntry, key: str, version: str | None) -> Any | None:
        """The blob, if it has the recorded state; None where it has not."""
        etag = None if entry.checksum == entry.uri else entry.checksum
        # Where there is nothing, a condition is not met either.
        with contextlib.suppress(ResourceModifiedError, ResourceNotFoundError):
            answer = self._download(key, version, etag)
            if etag in {None, _bare(answer.properties.etag)}:
                return answer
        return None

    def _download(self, key: str, version: str | None, etag: str | None) -> Any:
        condition = {} if etag is None else {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        return sync(get_loop(), self._container.get_blob_client(key, version_id=version).download_blob, **condition)

    def _older(self, entry: ReferenceEntry, key: str) -> str | None:
        """A version of the blob that has the recorded state."""
        with contextlib.suppress(HttpResponseError):
            # Not every account keeps versions, and not everybody may list them.
            for each in self._listed(key, include=["versions"]):
                if each.name == key and _bare(each.etag) == entry.checksum and each.version_id:
                    return str(each.version_id)
                if each.name > key:
                    break
        return None

    def _listed(self, prefix: str, **options: Any) -> Iterator[Any]:
        async def taken(pages: Any) -> list[Any] | None:
            page = await anext(pages, None)
            return None if page is None else [blob async for blob in page]

        pages = self._container.list_blobs(name_starts_with=prefix, **options).by_page()
        while (page := sync(get_loop(), taken, pages)) is not None:
            yield from page


def _sign_in(system: Any) -> None:
    """Ask for a token, where one is needed: a request without would be tried for a minute before it is refused."""
    if hasattr(system.credential, "get_token"):
        sync(get_loop(), system.credential.get_token, _SCOPE)


def _found(told: Any) -> Found:
    digest = told.content_settings.content_md5
    return Found(
        told.name,
        _bare(told.etag),
        told.size,
        told.version_id or None,
        bytes(digest).hex() if digest else None,
        # How a folder of a hierarchical account shows itself to those who ask for blobs.
        is_folder=(told.metadata or {}).get("hdi_isfolder") == "true",
    )


def _bare(etag: str) -> str:
    return etag.strip('"')


def _address(uri: str) -> _Address:
    if not uri.lower().startswith("https://"):
        container, _, blob = uri.partition("://")[2].partition("/")
        if not container or not container.replace("-", "").isalnum():
            message = f"{uri!r} names no container: write az://CONTAINER/BLOB"
            raise Invalid(message, code="bad-reference")
        return _Address(None, container, blob, None)
    check_address(uri)
    address = URL(uri)
    if set(address.query) - {_VERSION} or address.fragment:
        # What stands there may be a signature that opens the container, and would be kept for ever.
        message = f"the URI of {address.path!r} has more behind it than ?{_VERSION}=: configure credentials for adlfs"
        raise Invalid(message, code="credentials-in-uri")
    container, _, blob = address.path.removeprefix("/").partition("/")
    if not container:
        message = f"{uri!r} names no container"
        raise Invalid(message, code="bad-reference")
    assert address.host is not None
    return _Address(address.host.removesuffix(HOST_OF_AZURE), container, blob, address.query.get(_VERSION))


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what adlfs and its libraries raise into an error that a caller can act on."""
    try:
        with told_once("azure"):
            yield
    except ArtstoreError:
        raise
    except ResourceNotFoundError as error:
        message = f"{uri!r} is not there: {error.reason or error.message}"
        raise ReferenceMissing(message, code="reference-missing") from error
    except (AzureError, OSError) as error:
        told = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        if isinstance(error, ClientAuthenticationError) or getattr(error, "status_code", None) in _NOT_ALLOWED:
            message = f"{uri!r} is refused: {told}. Give credentials as for adlfs (AZURE_STORAGE_…)"
            raise Refused(message, code="reference-refused") from error
        message = f"{uri!r} cannot be reached: {told}"
        raise Unreachable(message, code="reference-unreachable") from error
