"""GS: objects of a bucket of Google Cloud Storage, `gs://BUCKET/PREFIX`; through Google's own library.

A name is claimed by an upload on condition that the object's generation is 0, which is that of one that is not there.
Credentials are those that gcsfs is configured with in ~/.config/fsspec, else those that every tool of Google Cloud
finds. What a killed writer has sent of a large object is dropped by the service after a week.

Sources: "Request preconditions", "Resumable uploads" and "Listing objects" in the Google Cloud Storage documentation.
"""

from __future__ import annotations

import contextlib
import io
import re
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import google.auth
import requests
from fsspec.config import conf
from google.api_core.exceptions import (
    ClientError,
    Forbidden,
    GoogleAPICallError,
    GoogleAPIError,
    NotFound,
    PreconditionFailed,
    RequestRangeNotSatisfiable,
    Unauthorized,
)
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage import Blob, Client
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from artstore.errors import ArtstoreError, Invalid, Unreachable
from artstore.sync.objects.failures import denied, missing, other_size, short, unreachable
from artstore.sync.objects.interface import check_name, check_prefix, is_name
from artstore.sync.objects.pieces import in_pieces
from artstore.sync.objects.resuming import resumed

PART: Final = 8 << 20
"""Bytes of one request: each is repeated by itself where the network fails."""
_CONNECT_S: Final = 10
_ANSWER_S: Final = 60
_AGAIN_S: Final = 8
_ANONYMOUS: Final = "anon"

_URL: Final = re.compile(r"gs://([^/@?#]+)(?:/([^?#]*))?\Z")
_NOW: Final = "Give credentials that may read, write, list and delete there, as for any tool of Google Cloud"
_PATIENCE: Final[Any] = {"timeout": (_CONNECT_S, _ANSWER_S), "retry": DEFAULT_RETRY.with_timeout(_AGAIN_S)}


def at(url: str) -> GsObjects:
    """Raises Invalid (bad-url) for what names no bucket."""
    found = _URL.match(url)
    if found is None:
        message = f"{url!r} names no bucket: write gs://BUCKET/PREFIX"
        raise Invalid(message, code="bad-url")
    prefix = (found[2] or "").strip("/")
    return GsObjects(url, found[1], f"{prefix}/" if prefix else "")


class GsObjects:
    """The objects below a prefix of a bucket."""

    def __init__(self, url: str, bucket: str, prefix: str) -> None:
        self.url = url
        self._bucket, self._prefix = bucket, prefix
        self._idle: list[Client] = []
        weakref.finalize(self, _close, self._idle)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        with self._told(f"reading {name!r}"):
            if length is None and start:
                length = max(0, self._whole_size(name) - start)
            try:
                data = self._part(name, start, length)
            except NotFound as error:
                raise self._not_found(name, error) from error
            except RequestRangeNotSatisfiable:
                data = b""
            if length is None or (data and len(data) == length):
                return data
            size = self._whole_size(name)
            if size < start + length:
                raise short(self.url, name, wanted=start + length, found=size)
            if length:
                raise unreachable(self.url, f"reading {name!r}", f"{len(data)} of {length} bytes came")
            return b""

    def _part(self, name: str, start: int, length: int | None) -> bytes:
        """What is asked for of an object, or less where the answer was cut or the object ends; all if no length."""
        with self._asked(name) as blob, _let_go():
            if length is None:
                whole: bytes = blob.download_as_bytes(raw_download=True, checksum="crc32c", **_PATIENCE)
                # Where a connection is cut among the headers, Python takes them for ended, and the body for empty.
                if blob.crc32c is None:
                    raise unreachable(self.url, f"reading {name!r}", "its answer was cut")
                return whole
            # Checksums are of whole objects; who reads a part compares it with a digest.
            end = start + max(length, 1) - 1
            part: bytes = blob.download_as_bytes(start=start, end=end, raw_download=True, checksum=None, **_PATIENCE)
            return part

    def _whole_size(self, name: str) -> int:
        size = self.size(name)
        if size is None:
            raise missing(self.url, name)
        return size

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        return resumed(lambda place: self._stream(name, place), start)

    def _stream(self, name: str, start: int) -> Iterator[bytes]:
        size = self._whole_size(name)
        if start > size:
            raise short(self.url, name, wanted=start, found=size)
        while start < size:
            yield self.read(name, start, min(PART, size - start))
            start += PART

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        check_name(name)
        pieces = in_pieces(chunks, PART, size, lambda found: other_size(self.url, name, wanted=size, found=found))
        with self._told(f"writing {name!r}"):
            if size <= PART:
                data = b"".join(_outside(pieces))
                with self._asked(name) as blob:
                    blob.upload_from_string(data, **_PATIENCE)
            else:
                with self._asked(name, chunk_size=PART) as blob:
                    blob.upload_from_file(_Source(pieces), size=size, **_PATIENCE)

    def write_file(self, name: str, source: Path) -> None:
        size = source.stat().st_size
        with source.open("rb", buffering=0) as file:
            self.write(name, iter(lambda: file.read(PART), b""), size)

    def claim(self, name: str, data: bytes) -> bool:
        check_name(name)
        with self._told(f"claiming {name!r}"), self._asked(name) as blob:
            try:
                blob.upload_from_string(data, if_generation_match=0, **_PATIENCE)
            except PreconditionFailed:
                return False
        return True

    def size(self, name: str) -> int | None:
        check_name(name)
        with self._told(f"looking for {name!r}"), self._asked(name) as blob:
            try:
                blob.reload(**_PATIENCE)
            except NotFound as error:
                if _is_of_the_bucket(error):
                    raise
                return None
            return int(blob.size)

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        return (name for name, _size in self._listed(prefix, after, "name"))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._listed(prefix, "", "name,size")

    def _listed(self, prefix: str, after: str, fields: str) -> Iterator[tuple[str, int]]:
        check_prefix(prefix)
        behind = {"start_offset": self._prefix + after} if after else {}
        about: dict[str, Any] = {"prefix": self._prefix + prefix, "fields": f"items({fields}),nextPageToken", **behind}
        with self._told(f"listing {prefix!r}"), contextlib.ExitStack() as ending:
            client = ending.enter_context(self._lent())
            found = iter(client.list_blobs(self._bucket, **about, **_PATIENCE))
            keep = ending.pop_all()
        with keep:
            while True:
                with self._told(f"listing {prefix!r}"):
                    blob = next(found, None)
                if blob is None:
                    return
                name = blob.name[len(self._prefix) :]
                if name > after and is_name(name):
                    yield name, blob.size or 0

    def remove(self, name: str) -> None:
        check_name(name)
        with self._told(f"removing {name!r}"), self._asked(name) as blob:
            try:
                blob.delete(**_PATIENCE)
            except NotFound as error:
                if _is_of_the_bucket(error):
                    raise

    def tidy(self) -> int:
        """As promised; the service does it by itself."""
        return 0

    def _not_found(self, name: str, error: NotFound) -> Exception:
        return error if _is_of_the_bucket(error) else missing(self.url, name)

    @contextlib.contextmanager
    def _lent(self) -> Iterator[Client]:
        """A client for one piece of work: what it sends requests by is not made for several threads."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = _client()
        try:
            yield client
        finally:
            self._idle.append(client)

    @contextlib.contextmanager
    def _asked(self, name: str, *, chunk_size: int | None = None) -> Iterator[Blob]:
        """An object, to be asked for something."""
        with self._lent() as client:
            yield client.bucket(self._bucket).blob(self._prefix + name, chunk_size=chunk_size)

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn what Google's libraries raise into an error that a caller can act on."""
        try:
            yield
        except _OfTheSource as error:
            raise error.args[0] from None
        except ArtstoreError:
            raise
        except NotFound as error:
            message = f"{self.url}: there is no bucket {self._bucket!r}: make it, or mend the name"
            raise Unreachable(message, code="bucket-missing") from error
        except (Forbidden, Unauthorized) as error:
            raise denied(self.url, doing, error.message, now=_NOW) from error
        except (DataCorruption, TransportError, requests.RequestException, GoogleAPIError, OSError) as error:
            raise unreachable(self.url, doing, error) from error
        except GoogleAuthError as error:
            raise denied(self.url, doing, error, now=_NOW) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The library takes for granted that what it was answered is whole, and so trips over half an answer.
            raise unreachable(self.url, doing, f"its answer was cut ({error})") from error


class _OfTheSource(Exception):
    """Carries what the source raised through the library, which would take it for the network's."""


class _Source(io.RawIOBase):
    """Pieces, read as a file is."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = _outside(pieces)
        self._place = 0

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        """The next piece, which is as long as is asked for."""
        del size
        data = next(self._pieces, b"")
        self._place += len(data)
        return data


def _outside(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except Exception as error:
        raise _OfTheSource(error) from error


def _is_of_the_bucket(error: ClientError) -> bool:
    return "bucket does not exist" in error.message


@contextlib.contextmanager
def _let_go() -> Iterator[None]:
    """Close what was answered instead of an object, which the library leaves open."""
    try:
        yield
    except GoogleAPICallError as error:
        if error.response is not None:
            error.response.close()
        raise


def _close(clients: list[Client]) -> None:
    for client in clients:
        client.close()


def _client() -> Client:
    configured: dict[str, Any] = conf.get("gs", {})
    options = {"api_endpoint": configured["endpoint_url"]} if "endpoint_url" in configured else None
    credentials, project = _credentials(configured.get("token"))
    return Client(project=configured.get("project", project or "none"), credentials=credentials, client_options=options)


def _credentials(given: object) -> tuple[Any, str | None]:
    """Those that gcsfs would take: a name of its own for none, a file of Google's, or what is found around us."""
    if given == _ANONYMOUS:
        return AnonymousCredentials(), None  # type: ignore[no-untyped-call]
    if isinstance(given, str) and Path(given).is_file():
        found: tuple[Any, str | None] = google.auth.load_credentials_from_file(given)  # type: ignore[no-untyped-call]
        return found
    return google.auth.default()
