"""What is Google's own: generations, and keys of every kind; against fake-gcs-server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fsspec.config import conf

from artstore.errors import ArtstoreError, Invalid, PathCollision, ReferenceMissing, Refused, Unreachable
from artstore.model.manifest import ReferenceEntry
from artstore.references.expand import expand
from artstore.references.fetch import fetch
from tests.references import emulators
from tests.servers import Servers, answering


def all_of(entry: ReferenceEntry) -> bytes:
    return b"".join(fetch(entry))


class Bucket:
    """A bucket that keeps every generation."""

    def __init__(self, system: Any) -> None:
        self.system, self.name = system, emulators.make_gcs_bucket(system, keeps_versions=True)

    def put(self, key: str, data: bytes) -> str:
        """Write an object; answers its generation."""
        path = self.system._location + "/upload/storage/v1/b/{}/o"
        told = self.system.call("POST", path, self.name, uploadType="media", name=key, data=data, json_out=True)
        return str(told["generation"])


@pytest.fixture
def bucket(servers: Servers) -> Iterator[Bucket]:
    with emulators.gcs_reached(servers.facts("gcs", emulators.start_gcs)) as system:
        yield Bucket(system)


def test_etag_generation_and_md5_are_kept(bucket: Bucket) -> None:
    generation = bucket.put("a", b"cat")

    (entry,) = expand(f"gs://{bucket.name}/a")

    extra = {"etag": entry.checksum, "versionID": generation, "md5": "d077f244def8a70e5ea758bd8352fcd8"}
    assert extra == json.loads(entry.extra)
    assert ("a", f"gs://{bucket.name}/a", 3) == (entry.path, entry.uri, entry.size)


def test_a_generation_can_be_chosen_and_does_not_stand_in_the_uri(bucket: Bucket) -> None:
    first = bucket.put("a", b"first")
    (present,) = expand(f"gs://{bucket.name}/a")
    bucket.put("a", b"second")

    (chosen,) = expand(f"gs://{bucket.name}/a#{first}")

    assert present == chosen
    assert b"first" == all_of(chosen)
    with pytest.raises(ReferenceMissing):
        expand(f"gs://{bucket.name}/a#1")


@pytest.mark.parametrize("name", ["a b", "a%20b", "a?b", "a#b", "a+b", "ä", "a[1]*", "a?generation=1"])
def test_keys_are_taken_as_they_are(bucket: Bucket, name: str) -> None:
    bucket.put(f"folder/{name}", b"cat")

    (entry,) = expand(f"gs://{bucket.name}/folder")

    assert (name, b"cat") == (entry.path, all_of(entry))


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/x", "a\x01b", "a\u202eb", ".artstore/x", "C:x", f"{'n' * 256}", "..", "a/.."]
)
def test_a_key_that_is_no_path_is_an_error_before_anything_is_recorded(bucket: Bucket, key: str) -> None:
    """Whoever may write to the bucket chooses the keys, and must not choose where my checkout writes."""
    bucket.put("prefix/a", b"harmless")
    bucket.put(f"prefix/{key}", b"hostile")

    with pytest.raises(Invalid) as caught:
        expand(f"gs://{bucket.name}/prefix")
    assert caught.value.code in {"bad-path", "bad-reference"}


def test_two_keys_for_one_path_are_an_error(bucket: Bucket) -> None:
    """`a//b` and `a/b` are two objects, and one file."""
    bucket.put("prefix/a/b", b"cat")
    bucket.put("prefix/a//b", b"dog")

    with pytest.raises(PathCollision, match="a/b"):
        expand(f"gs://{bucket.name}/prefix")


@pytest.mark.slow
def test_a_prefix_of_several_pages_is_whole_and_the_bound_is_exact(bucket: Bucket) -> None:
    names = [f"{number:05}" for number in range(1_003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bucket.put(name, name.encode()), names))

    assert names == [entry.path for entry in expand(f"gs://{bucket.name}", max_objects=1_003)]
    with pytest.raises(Invalid, match="max_objects"):
        expand(f"gs://{bucket.name}", max_objects=1_002)


def test_an_object_of_several_requests_comes_back(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artstore.references.gs.PART", 7)
    bucket.put("a", b"0123456789" * 5)

    (entry,) = expand(f"gs://{bucket.name}/a")

    assert [7] * 7 + [1] == [len(block) for block in fetch(entry)]
    assert b"0123456789" * 5 == all_of(entry)


def test_bytes_with_another_md5_than_the_owner_told_are_not_taken(bucket: Bucket) -> None:
    bucket.put("a", b"cat")
    (entry,) = expand(f"gs://{bucket.name}/a")
    wrong = ReferenceEntry(entry.path, entry.uri, entry.checksum, entry.size, entry.extra.replace("d077f", "00000"))

    with pytest.raises(ReferenceMissing, match="MD5"):
        all_of(wrong)


@pytest.mark.parametrize(
    ("status", "kind"), [(b"403 Forbidden", Refused), (b"401 Unauthorized", Refused), (b"400 Bad Request", Unreachable)]
)
def test_answers_that_are_no_object_are_told_apart(
    status: bytes, kind: type[ArtstoreError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing but the error is said of it: gcsfs logs all of what went wrong below, too."""
    monkeypatch.setattr(logging.root, "handlers", [])  # As in a script that has said nothing of logging.
    body = b'{"error": {"code": %s, "message": "no"}}' % status.split()[0]
    answer = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)
    with answering(answer) as port:
        monkeypatch.setitem(conf, "gs", {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon"})

        with pytest.raises(kind):
            expand("gs://bucket/a")
    assert ("", "") == capsys.readouterr()


def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """gcsfs would try six times, with pauses that double."""
    monkeypatch.setitem(conf, "gs", {"endpoint_url": "https://nowhere.invalid"})
    monkeypatch.setattr("artstore.references.reachable.getproxies", dict)

    with pytest.raises(Unreachable, match=r"'gs://bucket/a' cannot be reached: nowhere\.invalid has no address"):
        expand("gs://bucket/a")


@pytest.mark.parametrize("uri", ["gs://", "gs:///key", "gs://user@bucket/a"])
def test_a_uri_that_names_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(Invalid, match="names no bucket"):
        expand(uri)
