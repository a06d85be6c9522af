"""S3: objects of a bucket, `s3://BUCKET/PREFIX`, at Amazon or at what speaks as it does; through botocore.

A name is claimed by a PUT with `If-None-Match: *`, which Amazon, SeaweedFS, MinIO, Ceph and R2 know, and others
ignore: only the probe can tell. Behind a `?` stands, with `&` between, what tells one service from another: `endpoint`
(its URL), `region`, `profile` (of ~/.aws/config). Credentials are those that s3fs is configured with in
~/.config/fsspec, else those that every tool of AWS finds.

Each piece that is sent comes with its MD5, so that what arrived damaged is not kept.

Sources: "Conditional writes", "Multipart upload limits" and "Common errors" in the Amazon S3 User Guide and API
Reference; RFC 9110, section 14 (ranges).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import random
import re
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from fsspec.config import conf

from artstore.errors import ArtstoreError, Invalid, Unreachable
from artstore.storage.files import read_exactly
from artstore.sync.objects.failures import denied, full, is_of_silence, missing, other_size, short, unfit, unreachable
from artstore.sync.objects.interface import BLOCK, STALE_S, check_name, check_prefix, is_name
from artstore.sync.objects.parallel import in_parallel
from artstore.sync.objects.pieces import in_pieces
from artstore.sync.objects.resuming import resumed

PART: Final = 8 << 20
"""Bytes of one request, of which S3 takes 10,000 for an object; larger ones have larger parts."""
_MOST_PARTS: Final = 10_000
_PARTS_AT_ONCE: Final = 4
_CONNECTIONS: Final = 64
_CONNECT_S: Final = 10
_ANSWER_S: Final = 60
"""Seconds in which nothing comes, or is taken. A link that is slow and moves is waited for as long as it takes."""
_TRIES: Final = 4
"""Of what was refused or cut, and not of what nobody answered: one such wait is enough, and there would be four."""
_AGAIN_S: Final = 0.5
"""Seconds before the second try, about; each further one waits twice as long."""

_URL: Final = re.compile(r"s3://([^/@?#]+)(?:/([^?#]*))?(?:\?([^#]*))?\Z")
_OPTIONS: Final = frozenset({"endpoint", "region", "profile"})
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_TAKEN: Final = frozenset({"412", "PreconditionFailed"})
_UNDECIDED: Final = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_UNKNOWN_CONDITION: Final = frozenset({"501", "NotImplemented"})
_PASSING: Final = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"})
_PASSING_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_OUT_OF_RANGE: Final = frozenset({"416", "InvalidRange"})
_FULL: Final = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "ServiceQuotaExceeded"})
_DENIED_STATUS: Final = frozenset({401, 403})
_DENIED: Final = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId"})
_NO_CREDENTIALS: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
_NOW: Final = "Give credentials that may read, write, list and delete there, as for any tool of AWS"


def at(url: str) -> S3Objects:
    """Raises Invalid (bad-url) for what names no bucket, or says of it what nobody asked."""
    found = _URL.match(url)
    options = dict(parse_qsl(found[3] or "", keep_blank_values=True)) if found else {}
    if found is None or not set(options) <= _OPTIONS or "@" in options.get("endpoint", ""):
        # Of what stands behind the '?' nothing is repeated: it may be a key that has no place there.
        message = (
            f"{url.partition('?')[0]!r}: write s3://BUCKET/PREFIX, and behind a '?' nothing but endpoint=, region= and "
            "profile=, with '&' between and without a user or a password"
        )
        raise Invalid(message, code="bad-url")
    prefix = (found[2] or "").strip("/")
    return S3Objects(url, found[1], f"{prefix}/" if prefix else "", options)


class S3Objects:
    """The objects below a prefix of a bucket."""

    def __init__(self, url: str, bucket: str, prefix: str, options: dict[str, str]) -> None:
        self.url = url
        self._bucket, self._prefix, self._options = bucket, prefix, options
        self._making = threading.Lock()
        self._made: Any = None

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        check_name(name)
        with self._told(f"reading {name!r}"):
            body = self._body(name, start, length)
            with contextlib.closing(body.stream):
                data: bytes = body.stream.read()
            data = data[body.skipped :] if length is None else data[body.skipped : body.skipped + length]
            if length is not None and len(data) < length:
                raise short(self.url, name, wanted=start + length, found=start + len(data))
            return data

    def stream(self, name: str, start: int = 0) -> Iterator[bytes]:
        check_name(name)
        return resumed(lambda place: self._stream(name, place), start)

    def _stream(self, name: str, start: int) -> Iterator[bytes]:
        with self._told(f"reading {name!r}"):
            body = self._body(name, start, None)
        with contextlib.closing(body.stream):
            left = body.skipped
            while True:
                with self._told(f"reading {name!r}"):
                    block: bytes = body.stream.read(BLOCK)
                if not block:
                    return
                if left < len(block):
                    yield block[left:]
                left = max(0, left - len(block))

    def write(self, name: str, chunks: Iterable[bytes], size: int) -> None:
        check_name(name)
        part = max(PART, -(-size // _MOST_PARTS))
        pieces = in_pieces(chunks, part, size, lambda found: other_size(self.url, name, wanted=size, found=found))
        if size <= part:
            data = b"".join(pieces)
            with self._told(f"writing {name!r}"):
                self._call("put_object", name, Body=data, ContentMD5=_md5(data))
            return
        with self._upload(name) as upload:
            for number, data in enumerate(pieces, 1):
                upload.send(number, data)

    def write_file(self, name: str, source: Path) -> None:
        check_name(name)
        size = source.stat().st_size
        part = max(PART, -(-size // _MOST_PARTS))
        if size <= part:
            self.write(name, [source.read_bytes()], size)
            return

        def send(number: int) -> None:
            start = (number - 1) * part
            with source.open("rb", buffering=0) as file:
                data = read_exactly(file.fileno(), min(part, size - start), start)
            if len(data) < min(part, size - start):
                raise other_size(self.url, name, wanted=size, found=start + len(data))
            upload.send(number, data)

        with self._upload(name) as upload:
            for _ in in_parallel(send, range(1, -(-size // part) + 1), at_once=_PARTS_AT_ONCE):
                pass

    def claim(self, name: str, data: bytes) -> bool:
        check_name(name)
        with self._told(f"claiming {name!r}"):
            try:
                self._call("put_object", name, Body=data, ContentMD5=_md5(data), IfNoneMatch="*")
            except ClientError as error:
                if _code(error) in _TAKEN:
                    return False
                if _code(error) in _UNKNOWN_CONDITION:
                    reason = "its service does not know the condition to put an object only if there is none"
                    raise unfit(self.url, reason) from error
                raise
        return True

    def size(self, name: str) -> int | None:
        check_name(name)
        with self._told(f"looking for {name!r}"):
            try:
                size: int = self._told_in(self._call("head_object", name), "ContentLength")
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            return size

    def names(self, prefix: str, after: str = "") -> Iterator[str]:
        return (name for name, _size in self._listed(prefix, after))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._listed(prefix, "")

    def _listed(self, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        check_prefix(prefix)
        marker = {"StartAfter": self._prefix + after} if after else {}
        while True:
            with self._told(f"listing {prefix!r}"):
                page = self._ask("list_objects_v2", Prefix=self._prefix + prefix, **marker)
                is_truncated = self._told_in(page, "IsTruncated")
            for each in page.get("Contents", ()):
                name = each["Key"][len(self._prefix) :]
                if is_name(name):
                    yield name, each["Size"]
            if not is_truncated:
                return
            marker = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, name: str) -> None:
        check_name(name)
        with self._told(f"removing {name!r}"):
            self._call("delete_object", name)

    def tidy(self) -> int:
        freed = 0
        marker: dict[str, str] = {}
        while True:
            with self._told("looking for uploads that were not finished"):
                page = self._ask("list_multipart_uploads", Prefix=self._prefix, **marker)
                is_truncated = self._told_in(page, "IsTruncated")
                now = parsedate_to_datetime(self._told_in(page["ResponseMetadata"]["HTTPHeaders"], "date"))
                for each in page.get("Uploads", ()):
                    which = {"Key": each["Key"], "UploadId": each["UploadId"]}
                    if (now - self._last_sent(which, each["Initiated"])).total_seconds() > STALE_S:
                        self._ask("abort_multipart_upload", **which)
                        freed += 1
            if not is_truncated:
                return freed
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _last_sent(self, which: dict[str, str], begun: datetime) -> datetime:
        last, marker = begun, 0
        while True:
            page = self._ask("list_parts", **which, PartNumberMarker=marker)
            last = max((part["LastModified"] for part in page.get("Parts", ())), default=last)
            if not page.get("IsTruncated"):
                return last
            marker = page["NextPartNumberMarker"]

    def _body(self, name: str, start: int, length: int | None) -> _Body:
        """What answers a question for a part of an object."""
        end = "" if length is None else start + max(length, 1) - 1
        condition = {} if (start, length) == (0, None) else {"Range": f"bytes={start}-{end}"}
        try:
            answer = self._call("get_object", name, **condition)
        except ClientError as error:
            if _code(error) in _MISSING:
                raise missing(self.url, name) from None
            if _code(error) not in _OUT_OF_RANGE:
                raise
            size = self.size(name)
            if size is None:
                raise missing(self.url, name) from None
            if size != start or length:
                raise short(self.url, name, wanted=start + (length or 0), found=size) from None
            return _Body(_Nothing(), 0)
        told, size = answer.get("ContentRange"), self._told_in(answer, "ContentLength")
        if told is None and size >= start:
            # A service without ranges gives the whole.
            return _Body(answer["Body"], start)
        if told is not None and told.startswith(f"bytes {start}-"):
            # The header says it, and not the status: rclone's gateway gives a part with a 200.
            return _Body(answer["Body"], 0)
        answer["Body"].close()
        if told is None:
            raise short(self.url, name, wanted=start, found=size)
        said = f"it was asked for the bytes from {start} on, and gave {told!r}"
        raise unreachable(self.url, f"reading {name!r}", said)

    @contextlib.contextmanager
    def _upload(self, name: str) -> Iterator[_Upload]:
        """An upload in parts, of which nothing is kept if the block raises."""
        with self._told(f"writing {name!r}"):
            answer = self._call("create_multipart_upload", name)
            upload = _Upload(self, name, self._told_in(answer, "UploadId"))
        try:
            yield upload
            upload.finish()
        except BaseException as error:
            # What stays is stale one day. Whoever is silent is not waited for once more.
            if not is_of_silence(error):
                with contextlib.suppress(ClientError, BotoCoreError):
                    self._call("abort_multipart_upload", name, UploadId=upload.id)
            raise

    def _call(self, method: str, name: str, **options: Any) -> Any:
        return self._ask(method, Key=self._prefix + name, **options)

    def _ask(self, method: str, **options: Any) -> Any:
        """Ask for something, and again where that was refused for now, or cut."""
        for number in itertools.count(1):
            try:
                # As a file it goes in pieces, and each has its time: all of it at once would have the time of one.
                body = {"Body": io.BytesIO(options["Body"])} if "Body" in options else {}
                return getattr(self._client, method)(Bucket=self._bucket, **options | body)
            except (BotoCoreError, ClientError) as error:
                if number == _TRIES or not _is_passing(error):
                    raise
            time.sleep(_AGAIN_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        raise AssertionError

    def _told_in(self, answer: dict[str, Any], what: str) -> Any:
        """A part of an answer without which it is none.

        Where a connection is cut among the headers, Python takes them for ended, and a body without a length for whole:
        a list of names would look empty.
        """
        if what not in answer:
            raise unreachable(self.url, "answering", f"its answer was cut, and has no {what}")
        return answer[what]

    @property
    def _client(self) -> Any:
        # Made when it is needed first: it takes a good part of a second, and the libraries' files are read for it.
        with self._making:
            if self._made is None:
                self._made = _client(self._options)
                weakref.finalize(self, self._made.close)
            return self._made

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn what botocore raises into an error that a caller can act on."""
        try:
            yield
        except ArtstoreError:
            raise
        except ClientError as error:
            code, told = _code(error), error.response.get("Error", {}).get("Message") or ""
            said = f"{code} {told}".strip()
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code == "NoSuchBucket":
                message = f"{self.url}: there is no bucket {self._bucket!r}: make it, or mend the name"
                raise Unreachable(message, code="bucket-missing") from error
            if code in _FULL:
                raise full(self.url, doing, said) from error
            if code in _DENIED or status in _DENIED_STATUS:
                raise denied(self.url, doing, said, now=_NOW) from error
            raise unreachable(self.url, doing, said) from error
        except _NO_CREDENTIALS as error:
            raise denied(self.url, doing, error, now=_NOW) from error
        except (ParamValidationError, ValueError) as error:
            message = f"{self.url!r} names no bucket: {error}"
            raise Invalid(message, code="bad-url") from error
        except (BotoCoreError, OSError) as error:
            raise unreachable(self.url, doing, error) from error


class _Body(NamedTuple):
    """An answer, and how many bytes of it come before those that were asked for."""

    stream: Any
    skipped: int


class _Nothing:
    """The body of an answer that was not asked for: there is nothing to read."""

    def read(self, _size: int = -1) -> bytes:
        return b""

    def close(self) -> None:
        pass


class _Upload:
    """An object that comes in parts, in any order, from any thread."""

    def __init__(self, objects: S3Objects, name: str, upload_id: str) -> None:
        self.id = upload_id
        self._objects, self._name = objects, name
        self._parts: dict[int, str] = {}

    def send(self, number: int, data: bytes) -> None:
        with self._objects._told(f"writing {self._name!r}"):  # noqa: SLF001 - one thing in two classes
            answer = self._objects._call(  # noqa: SLF001 - as above
                "upload_part", self._name, UploadId=self.id, PartNumber=number, Body=data, ContentMD5=_md5(data)
            )
            self._parts[number] = self._objects._told_in(answer, "ETag")  # noqa: SLF001 - as above

    def finish(self) -> None:
        parts = [{"PartNumber": number, "ETag": self._parts[number]} for number in sorted(self._parts)]
        with self._objects._told(f"writing {self._name!r}"):  # noqa: SLF001 - as above
            self._objects._call(  # noqa: SLF001 - as above
                "complete_multipart_upload", self._name, UploadId=self.id, MultipartUpload={"Parts": parts}
            )


def _client(options: dict[str, str]) -> Any:
    configured: dict[str, Any] = conf.get("s3", {})
    session = botocore.session.Session(profile=options.get("profile", configured.get("profile")))
    more = dict(configured.get("client_kwargs", {}))
    more.setdefault("endpoint_url", configured.get("endpoint_url"))
    more |= {"endpoint_url": options["endpoint"]} if "endpoint" in options else {}
    more |= {"region_name": options["region"]} if "region" in options else {}
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_session_token": "token"}
    if "profile" not in options:
        more |= {ours: configured[theirs] for ours, theirs in keys.items() if theirs in configured}
    settings = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_ANSWER_S,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 1},
        signature_version=UNSIGNED if configured.get("anon") else None,
        tcp_keepalive=True,
        # Many services that speak as S3 does do not know its newer checksums, and every piece comes with an MD5.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.create_client("s3", config=settings, **more)


def _is_passing(error: BotoCoreError | ClientError) -> bool:
    """Whether it may well go the next time."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        # Amazon decides for none of two that came at once.
        return _code(error) in _PASSING | _UNDECIDED or status in _PASSING_STATUS
    return isinstance(error, HTTPClientError) and not is_of_silence(error)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
